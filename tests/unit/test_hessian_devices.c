/*
 * Every form of the Hessian that applies on every device present, against plain loops over the definition: convolutions
 * of every kind, linear layers, both precisions, both layouts; on the processor one and two threads. Exact zeros on the
 * diagonal, blocks of one kernel position.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/devices.h"

enum { ONE_THREAD, TWO_THREADS, GPU, DEVICE_COUNT };
static spade_context *contexts[DEVICE_COUNT]; /* GPU: NULL where there is none */

static int open_devices(void **state)
{
    (void)state;
    contexts[ONE_THREAD] = open_device("cpu", 1, 0);
    contexts[TWO_THREADS] = open_device("cpu", 2, 0);
    contexts[GPU] = open_device("cuda", 2, 0);
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICE_COUNT; i++) {
        if (contexts[i]) { assert_int_equal(contexts[i]->used, contexts[i]->device->own_bytes); }
        spade_context_destroy(contexts[i]);
    }
    return 0;
}

static double uniform(uint32_t *count)
{
    const uint32_t key[2] = {9, 9};
    uint32_t counter[4] = {(*count)++, 0, 0, 0}, random[4];
    spade_philox(key, counter, random);
    return spade_uniform(random[0], random[1]);
}

static int64_t between(uint32_t *count, int64_t low, int64_t high)
{
    return low + (int64_t)(uniform(count) * (double)(high - low + 1));
}

/* Activations: about a third are zero; channel 1 is dead. */
static float *random_input(uint32_t *count, const spade_shape *shape, bool linear)
{
    int64_t size = spade_shape_size(shape), channels = linear ? shape->dims[shape->rank - 1] : shape->dims[1];
    int64_t inner = linear || shape->layout == SPADE_CHANNELS_LAST ? 1 : shape->dims[2] * shape->dims[3];
    float *x = malloc((size_t)size * sizeof *x);
    for (int64_t i = 0; i < size; i++) {
        x[i] = i / inner % channels == 1 ? 0.0f : (float)fmax(uniform(count) - 0.3, 0);
    }
    return x;
}

/* x at [n, c, y, x], 0 outside the image */
static double at(const spade_hessian_desc *p, const float *x, int64_t n, int64_t c, int64_t row, int64_t column)
{
    const int64_t *d = p->x.dims;
    if (row < 0 || row >= d[2] || column < 0 || column >= d[3]) { return 0; }
    return p->x.layout == SPADE_CHANNELS_LAST ? x[((n * d[2] + row) * d[3] + column) * d[1] + c]
                                              : x[((n * d[1] + c) * d[2] + row) * d[3] + column];
}

/* Patch of one output position and group -> patch [K] in (row, column, channel) order */
static void patch_of(const spade_hessian_desc *p, const float *x, int64_t position, int64_t group, double *patch)
{
    const spade_window *w = &p->window;
    if (p->linear) {
        int64_t k = p->x.dims[p->x.rank - 1];
        for (int64_t i = 0; i < k; i++) { patch[i] = x[position * k + i]; }
        return;
    }
    int64_t area = p->out_height * p->out_width, n = position / area, channels = p->x.dims[1] / p->groups;
    int64_t top = position % area / p->out_width * w->stride[0] - w->pad[0];
    int64_t left = position % p->out_width * w->stride[1] - w->pad[1];
    for (int64_t r = 0; r < w->kernel[0]; r++) {
        for (int64_t c = 0; c < w->kernel[1]; c++) {
            for (int64_t i = 0; i < channels; i++) {
                *patch++ = at(p, x, n, group * channels + i, top + r * w->dilation[0], left + c * w->dilation[1]);
            }
        }
    }
}

static int64_t columns_of(const spade_hessian_desc *p)
{
    if (p->linear) { return p->x.dims[p->x.rank - 1]; }
    return p->x.dims[1] / p->groups * p->window.kernel[0] * p->window.kernel[1];
}

static int64_t positions_of(const spade_hessian_desc *p)
{
    return p->linear ? spade_shape_size(&p->x) / columns_of(p) : p->x.dims[0] * p->out_height * p->out_width;
}

static void *device_memory(spade_device *device, size_t bytes)
{
    void *memory = NULL;
    assert_int_equal(device->backend->alloc(device, bytes, "test", &memory), SPADE_OK);
    return memory;
}

/* Two updates, so that adding is seen. -> an accumulator, device memory; the workspace has not a byte too many */
static void *run_update(spade_device *device, const spade_hessian_desc *p, const float *x, double alpha, size_t *bytes)
{
    const spade_backend *backend = device->backend;
    size_t x_bytes = (size_t)spade_shape_size(&p->x) * sizeof *x;
    size_t workspace_bytes = backend->hessian->workspace_bytes(device, p);
    *bytes = backend->hessian->bytes(device, p);
    void *accumulator = device_memory(device, *bytes), *input = device_memory(device, x_bytes);
    void *workspace = device_memory(device, workspace_bytes);
    assert_int_equal(backend->upload(device, input, x, x_bytes), SPADE_OK);
    assert_int_equal(backend->zero(device, accumulator, *bytes), SPADE_OK);
    for (int capture = 0; capture < 2; capture++) {
        spade_status status = backend->hessian->update(device, p, input, alpha, accumulator, workspace);
        if (status != SPADE_OK) { printf("%s\n", spade_message(device->context)); }
        assert_int_equal(status, SPADE_OK);
    }
    backend->free(device, workspace, workspace_bytes);
    backend->free(device, input, x_bytes);
    return accumulator;
}

/* H of one group, full, columns (channel, row, column) */
static void definition(const spade_hessian_desc *p, const float *x, int64_t group, double alpha, double *h)
{
    int64_t k = columns_of(p), positions = positions_of(p),
            taps = p->linear ? 1 : p->window.kernel[0] * p->window.kernel[1];
    int64_t channels = k / taps;
    double *patch = malloc((size_t)k * sizeof *patch);
    memset(h, 0, (size_t)(k * k) * sizeof *h);
    for (int64_t i = 0; i < positions; i++) {
        patch_of(p, x, i, group, patch);
        for (int64_t r = 0; r < k; r++) {
            for (int64_t c = 0; c < k && patch[r] != 0; c++) {
                int64_t row = r % channels * taps + r / channels, column = c % channels * taps + c / channels;
                h[row * k + column] += 2 * alpha * patch[r] * patch[c];
            }
        }
    }
    free(patch);
}

/*
 * The error of h [n, n], upper triangle, whose rows are `row` of the definition's: relative to the energies of the two
 * channels, that is the largest diagonal numbers of all their kernel positions, as a lag form has to take one sum of
 * that size from another.
 */
static void compare(const double *h, int64_t n, const double *expected, int64_t k, int64_t taps, int64_t first,
                    int64_t step, double tolerance)
{
    double *energy = calloc((size_t)k, sizeof *energy);
    for (int64_t i = 0; i < k; i++) {
        for (int64_t t = 0; t < taps; t++) {
            int64_t j = i / taps * taps + t;
            energy[i] = fmax(energy[i], sqrt(expected[j * k + j]));
        }
    }
    for (int64_t r = 0; r < n; r++) {
        for (int64_t c = r; c < n; c++) {
            int64_t i = first + r * step, j = first + c * step;
            double value = h[r * n + c], wanted = expected[i * k + j];
            assert_true(fabs(value - wanted) <= tolerance * energy[i] * energy[j]);
            if (expected[i * k + i] == 0 || expected[j * k + j] == 0) { assert_true(value == 0); }
        }
        double own = expected[(first + r * step) * (k + 1)];
        assert_true(fabs(h[r * n + r] - own) <= tolerance * own);
    }
    free(energy);
}

static void check_form(spade_device *device, const spade_hessian_desc *p, const float *x, const double *expected)
{
    const spade_backend *backend = device->backend;
    int64_t k = columns_of(p), taps = p->linear ? 1 : p->window.kernel[0] * p->window.kernel[1];
    double tolerance = p->precision == SPADE_FP64 ? 1e-13 : 2e-6;
    size_t bytes, h_bytes = (size_t)(k * k) * sizeof(double);
    void *accumulator = run_update(device, p, x, 0.37, &bytes), *out = device_memory(device, h_bytes);
    double *h = malloc(h_bytes);
    for (int64_t g = 0; g < p->groups; g++) {
        assert_int_equal(backend->hessian->read(device, p, accumulator, g, -1, out), SPADE_OK);
        assert_int_equal(backend->download(device, h, out, h_bytes), SPADE_OK);
        compare(h, k, expected + g * k * k, k, taps, 0, 1, tolerance);
        assert_int_equal(backend->hessian->read(device, p, accumulator, g, taps / 2, out), SPADE_OK);
        assert_int_equal(backend->download(device, h, out, h_bytes / (size_t)(taps * taps)), SPADE_OK);
        compare(h, k / taps, expected + g * k * k, k, taps, taps / 2, taps, tolerance);
    }
    free(h);
    backend->free(device, out, h_bytes);
    backend->free(device, accumulator, bytes);
}

/* The samples of every group times their transpose are its Hessian; those of one kernel position, a block of it. */
static void check_samples(spade_device *device, const spade_hessian_desc *p, const float *x, const double *expected)
{
    const spade_backend *backend = device->backend;
    const int64_t k = columns_of(p), n = positions_of(p),
                  taps = p->linear ? 1 : p->window.kernel[0] * p->window.kernel[1];
    const size_t x_bytes = (size_t)spade_shape_size(&p->x) * sizeof *x, bytes = (size_t)(k * n) * sizeof(float);
    float *samples = malloc(bytes);
    double *h = malloc((size_t)(k * k) * sizeof *h);
    void *input = device_memory(device, x_bytes), *out = device_memory(device, bytes);
    assert_int_equal(backend->upload(device, input, x, x_bytes), SPADE_OK);
    for (int64_t g = 0; g < p->groups; g++) {
        for (int part = 0; part < 2; part++) {
            const int64_t tap = part ? taps / 2 : 0, step = part ? taps : 1, columns = k / step;
            assert_int_equal(backend->hessian->samples(device, p, input, g, part ? tap : -1, out), SPADE_OK);
            assert_int_equal(backend->download(device, samples, out, (size_t)(columns * n) * sizeof(float)), SPADE_OK);
            assert_int_equal(backend->synchronize(device), SPADE_OK);
            for (int64_t i = 0; i < columns; i++) {
                for (int64_t j = i; j < columns; j++) {
                    double sum = 0;
                    for (int64_t s = 0; s < n; s++) { sum += (double)samples[i * n + s] * (double)samples[j * n + s]; }
                    h[i * columns + j] = 2 * 0.37 * sum; /* as of two updates */
                }
            }
            compare(h, columns, expected + g * k * k, k, taps, tap, step, 1e-12);
        }
    }
    backend->free(device, out, bytes);
    backend->free(device, input, x_bytes);
    free(h);
    free(samples);
}

/* The processor's accumulators do not depend on the threads. */
static void check_threads(const spade_hessian_desc *p, const float *x)
{
    size_t bytes, same;
    spade_device *one = contexts[ONE_THREAD]->device, *two = contexts[TWO_THREADS]->device;
    void *accumulator = run_update(two, p, x, 0.37, &bytes), *other = run_update(one, p, x, 0.37, &same);
    assert_int_equal(bytes, same);
    assert_memory_equal(accumulator, other, bytes);
    two->backend->free(two, accumulator, bytes);
    one->backend->free(one, other, same);
}

static int seen[DEVICE_COUNT][SPADE_HESSIAN_FORM_COUNT]; /* times that each form was compared */

static void check_device(int index, spade_hessian_desc patches, const float *x, const double *expected)
{
    spade_device *device = contexts[index]->device;
    for (int form = 0; form < SPADE_HESSIAN_FORM_COUNT; form++) {
        patches.form = (spade_hessian_form)form;
        if (device->backend->hessian->cost(device, &patches) < 0) { continue; }
        for (int precision = SPADE_FP32; precision <= SPADE_FP64; precision++) {
            patches.precision = (spade_precision)precision;
            check_form(device, &patches, x, expected);
            if (index == TWO_THREADS) { check_threads(&patches, x); }
        }
        seen[index][form]++;
    }
    check_samples(device, &patches, x, expected);
}

static void check(uint32_t *count, const spade_hessian_desc *p)
{
    float *x = random_input(count, &p->x, p->linear);
    int64_t k = columns_of(p);
    double *expected = malloc((size_t)(p->groups * k * k) * sizeof *expected);
    for (int64_t g = 0; g < p->groups; g++) { definition(p, x, g, 0.37, expected + g * k * k); }
    for (int i = TWO_THREADS; i < DEVICE_COUNT; i++) {
        if (contexts[i]) { check_device(i, *p, x, expected); }
    }
    free(expected);
    free(x);
}

static spade_hessian_desc convolution(int64_t n, int64_t c, int64_t height, int64_t width, spade_window window,
                                      int64_t groups, spade_layout layout)
{
    spade_hessian_desc p = {
        .x = {.rank = 4, .dims = {n, c, height, width}, .layout = layout}, .window = window, .groups = groups};
    const spade_window *w = &p.window;
    p.out_height = (height + w->pad[0] + w->pad[2] - w->dilation[0] * (w->kernel[0] - 1) - 1) / w->stride[0] + 1;
    p.out_width = (width + w->pad[1] + w->pad[3] - w->dilation[1] * (w->kernel[1] - 1) - 1) / w->stride[1] + 1;
    return p;
}

static void test_convolutions(void **state)
{
    (void)state;
    uint32_t count = 0;
    for (int t = 0; t < 40; t++) {
        const int64_t group_counts[] = {1, 1, 2, 3};
        int64_t groups = group_counts[between(&count, 0, 3)], channels = groups * between(&count, 1, 9);
        spade_window w = {
            .kernel = {between(&count, 1, 3), between(&count, 1, 3)},
            .stride = {between(&count, 1, 2), between(&count, 1, 2)},
            .dilation = {between(&count, 1, 2), between(&count, 1, 2)},
            .pad = {between(&count, 0, 1), between(&count, 0, 2), between(&count, 0, 1), between(&count, 0, 1)}};
        spade_hessian_desc p =
            convolution(between(&count, 1, 3), channels, between(&count, 5, 14), between(&count, 5, 14), w, groups,
                        uniform(&count) < 0.3 ? SPADE_ROW_MAJOR : SPADE_CHANNELS_LAST);
        check(&count, &p);
    }
}

static void test_depthwise(void **state)
{
    (void)state;
    uint32_t count = 1000000;
    const int64_t channels[] = {2, 16, 40, 67};
    for (int t = 0; t < 8; t++) {
        int64_t k = t % 2 ? 5 : 3, c = channels[t / 2];
        spade_window w = {.kernel = {k, k},
                          .stride = {1 + t % 3 / 2, 1 + t % 3 / 2},
                          .dilation = {1, 1},
                          .pad = {k / 2, k / 2, k / 2, k / 2}};
        spade_hessian_desc p =
            convolution(t % 2 ? 1 : 2, c, 11, 9, w, c, t == 2 ? SPADE_ROW_MAJOR : SPADE_CHANNELS_LAST);
        check(&count, &p);
    }
}

/* More positions than a chunk, more columns than a tile. */
static void test_large(void **state)
{
    (void)state;
    uint32_t count = 2000000;
    spade_window three = {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}};
    spade_window one = {.kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}};
    spade_hessian_desc a = convolution(2, 33, 25, 25, three, 1, SPADE_CHANNELS_LAST);
    spade_hessian_desc b = convolution(2, 300, 24, 25, one, 1, SPADE_CHANNELS_LAST);
    check(&count, &a);
    check(&count, &b);
}

static void test_linear(void **state)
{
    (void)state;
    uint32_t count = 3000000;
    spade_hessian_desc a = {.x = {.rank = 2, .dims = {7, 130}}, .linear = true, .groups = 1};
    spade_hessian_desc b = {.x = {.rank = 3, .dims = {3, 5, 24}}, .linear = true, .groups = 1};
    check(&count, &a);
    check(&count, &b);
}

/* What the lag forms must get right: windows at every border, images smaller than the kernel, a single pixel. */
static void test_stride_one(void **state)
{
    (void)state;
    uint32_t count = 4000000;
    for (int t = 0; t < 60; t++) {
        const int64_t group_counts[] = {1, 1, 1, 2};
        int64_t groups = group_counts[between(&count, 0, 3)],
                kernel[2] = {between(&count, 1, 5), between(&count, 1, 5)};
        spade_window w = {.kernel = {kernel[0], kernel[1]}, .stride = {1, 1}, .dilation = {1, 1}};
        for (int side = 0; side < 4; side++) { w.pad[side] = between(&count, 0, kernel[side % 2] - 1 + (t % 5 == 0)); }
        int64_t height = between(&count, 1, 9), width = between(&count, 1, 9);
        if (height + w.pad[0] + w.pad[2] < kernel[0] || width + w.pad[1] + w.pad[3] < kernel[1]) { continue; }
        spade_hessian_desc p = convolution(between(&count, 1, 3), groups * between(&count, 1, 40), height, width, w,
                                           groups, SPADE_CHANNELS_LAST);
        check(&count, &p);
    }
}

/* Several bands and runs of frequencies, several tiles of channels. */
static void test_stride_one_large(void **state)
{
    (void)state;
    uint32_t count = 5000000;
    spade_window three = {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}};
    spade_hessian_desc a = convolution(16, 70, 9, 8, three, 1, SPADE_CHANNELS_LAST);
    spade_hessian_desc b = convolution(16, 17, 45, 40, three, 1, SPADE_CHANNELS_LAST);
    check(&count, &a);
    check(&count, &b);
}

/* Shapes that are worked on in several pieces on a GPU, too large for the definition: against the processor's float64.
 */
static void check_large(uint32_t *count, spade_hessian_desc p, spade_hessian_form form)
{
    if (!contexts[GPU]) { return; }
    spade_device *cpu = contexts[TWO_THREADS]->device;
    float *x = random_input(count, &p.x, false);
    int64_t k = columns_of(&p);
    size_t bytes;
    double *expected = malloc((size_t)(k * k) * sizeof *expected);
    p.form = form;
    p.precision = SPADE_FP64;
    void *accumulator = run_update(cpu, &p, x, 0.37, &bytes);
    assert_int_equal(cpu->backend->hessian->read(cpu, &p, accumulator, 0, -1, expected), SPADE_OK);
    cpu->backend->free(cpu, accumulator, bytes);
    for (int precision = SPADE_FP32; precision <= SPADE_FP64; precision++) {
        p.precision = (spade_precision)precision;
        check_form(contexts[GPU]->device, &p, x, expected);
    }
    free(expected);
    free(x);
}

static void test_several_pieces(void **state)
{
    (void)state;
    uint32_t count = 6000000;
    spade_window five = {.kernel = {5, 5}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {2, 2, 2, 2}};
    spade_window row = {.kernel = {1, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {0, 1, 0, 1}};
    spade_window two = {.kernel = {3, 3}, .stride = {2, 2}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}};
    /* border pixels; bands of frequencies; steps of chunks */
    check_large(&count, convolution(20, 64, 8, 260, five, 1, SPADE_CHANNELS_LAST), SPADE_HESSIAN_SPECTRAL);
    check_large(&count, convolution(2, 64, 40, 260, row, 1, SPADE_CHANNELS_LAST), SPADE_HESSIAN_SPECTRAL);
    check_large(&count, convolution(10, 64, 112, 112, two, 1, SPADE_CHANNELS_LAST), SPADE_HESSIAN_UNFOLD);
}

/* On the emulated GPU, whose libraries fail when they are told to; counted from the process's first call. */
static void test_failures(void **state)
{
    (void)state;
    static const char *const calls[] = {"cublasSgemmStridedBatched", "cublasDgemmStridedBatched"};
    const char *library = getenv("SPADE_CUDA_LIBRARY");
    if (!contexts[GPU] || !library || !strstr(library, "emulated")) { return; }
    spade_device *device = contexts[GPU]->device;
    const spade_backend *backend = device->backend;
    spade_window three = {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}};
    for (int precision = SPADE_FP32; precision <= SPADE_FP64; precision++) {
        spade_hessian_desc p = convolution(1, 4, 5, 5, three, 1, SPADE_CHANNELS_LAST);
        p.precision = (spade_precision)precision;
        for (int i = 0; i < 2; i++) {
            p.form = i ? SPADE_HESSIAN_SPECTRAL : SPADE_HESSIAN_UNFOLD;
            size_t bytes = backend->hessian->bytes(device, &p), space = backend->hessian->workspace_bytes(device, &p);
            void *h = device_memory(device, bytes), *workspace = device_memory(device, space);
            void *x = device_memory(device, 100 * sizeof(float));
            assert_int_equal(backend->zero(device, x, 100 * sizeof(float)), SPADE_OK);
            setenv("SPADE_STANDIN_FAIL", calls[precision], 1); /* its first call */
            spade_status status = backend->hessian->update(device, &p, x, 1, h, workspace);
            unsetenv("SPADE_STANDIN_FAIL");
            assert_int_equal(status, i ? SPADE_OK : SPADE_ERROR_DEVICE);
            if (!i) { assert_non_null(strstr(spade_message(contexts[GPU]), calls[precision])); }
            backend->free(device, x, 100 * sizeof(float));
            backend->free(device, workspace, space);
            backend->free(device, h, bytes);
        }
    }
}

/* A GPU does without shifts: backend/cuda/hessian/hessian.h says why. */
static void test_every_form_was_compared(void **state)
{
    (void)state;
    for (int i = TWO_THREADS; i < DEVICE_COUNT; i++) {
        for (int form = 0; contexts[i] && form < SPADE_HESSIAN_FORM_COUNT; form++) {
            bool offered = i != GPU || form != SPADE_HESSIAN_SHIFT;
            assert_true(offered ? seen[i][form] >= 2 : seen[i][form] == 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures), /* first: it counts calls */
        cmocka_unit_test(test_convolutions),   cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_large),          cmocka_unit_test(test_linear),
        cmocka_unit_test(test_stride_one),     cmocka_unit_test(test_stride_one_large),
        cmocka_unit_test(test_several_pieces), cmocka_unit_test(test_every_form_was_compared),
    };
    return cmocka_run_group_tests_name("hessian", tests, open_devices, close_devices);
}
