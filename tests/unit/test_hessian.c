/*
 * The direct Hessian against plain loops over the definition: convolutions of every kind, linear layers, both
 * precisions, both layouts.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "backend/backend.h"

static spade_context *make_context(int threads)
{
    spade_context_options options;
    spade_context *context = NULL;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.threads = threads;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    return context;
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
static double at(const spade_patches *p, const float *x, int64_t n, int64_t c, int64_t row, int64_t column)
{
    const int64_t *d = p->x.dims;
    if (row < 0 || row >= d[2] || column < 0 || column >= d[3]) { return 0; }
    return p->x.layout == SPADE_CHANNELS_LAST ? x[((n * d[2] + row) * d[3] + column) * d[1] + c]
                                              : x[((n * d[1] + c) * d[2] + row) * d[3] + column];
}

/* Patch of one output position and group -> patch [K] in (row, column, channel) order */
static void patch_of(const spade_patches *p, const float *x, int64_t position, int64_t group, double *patch)
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

static int64_t columns_of(const spade_patches *p)
{
    if (p->linear) { return p->x.dims[p->x.rank - 1]; }
    return p->x.dims[1] / p->groups * p->window.kernel[0] * p->window.kernel[1];
}

static int64_t positions_of(const spade_patches *p)
{
    return p->linear ? spade_shape_size(&p->x) / columns_of(p) : p->x.dims[0] * p->out_height * p->out_width;
}

static void *run_update(int threads, const spade_patches *p, const float *x, double alpha, spade_precision precision)
{
    spade_context *context = make_context(threads);
    spade_device *device = context->device;
    int64_t k = columns_of(p);
    size_t bytes = (size_t)(p->groups * k * k) * (precision == SPADE_FP64 ? sizeof(double) : sizeof(float));
    void *h = calloc(1, bytes), *workspace = malloc(device->backend->hessian_workspace_bytes(device, p, precision) + 1);
    for (int repeat = 0; repeat < 2; repeat++) {
        assert_int_equal(device->backend->hessian_update(device, p, x, alpha, precision, h, workspace), SPADE_OK);
    }
    free(workspace);
    spade_context_destroy(context);
    return h;
}

/* Two updates, so that adding is seen. */
static void check(uint32_t *count, const spade_patches *p)
{
    float *x = random_input(count, &p->x, p->linear);
    int64_t k = columns_of(p), positions = positions_of(p);
    double alpha = 0.37, *expected = malloc((size_t)(k * k) * sizeof *expected),
           *patch = malloc((size_t)k * sizeof *patch);
    for (int precision = SPADE_FP32; precision <= SPADE_FP64; precision++) {
        size_t element = precision == SPADE_FP64 ? sizeof(double) : sizeof(float);
        void *h = run_update(2, p, x, alpha, (spade_precision)precision);
        void *one = run_update(1, p, x, alpha, (spade_precision)precision);
        for (int64_t g = 0; g < p->groups; g++) {
            memset(expected, 0, (size_t)(k * k) * sizeof *expected);
            for (int64_t i = 0; i < positions; i++) {
                patch_of(p, x, i, g, patch);
                for (int64_t r = 0; r < k; r++) {
                    for (int64_t c = 0; c <= r; c++) { expected[r * k + c] += 2 * alpha * patch[r] * patch[c]; }
                }
            }
            for (int64_t r = 0; r < k; r++) {
                for (int64_t c = 0; c <= r; c++) {
                    int64_t i = (g * k + r) * k + c;
                    double value = precision == SPADE_FP64 ? ((double *)h)[i] : (double)((float *)h)[i];
                    double scale = sqrt(expected[r * k + r] * expected[c * k + c]);
                    assert_true(fabs(value - expected[r * k + c]) <= (precision == SPADE_FP64 ? 1e-13 : 2e-6) * scale);
                    assert_memory_equal((char *)h + (size_t)i * element, (char *)one + (size_t)i * element, element);
                }
            }
        }
        free(h);
        free(one);
    }
    free(x);
    free(expected);
    free(patch);
}

static spade_patches convolution(int64_t n, int64_t c, int64_t height, int64_t width, spade_window window,
                                 int64_t groups, spade_layout layout)
{
    spade_patches p = {
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
        spade_patches p = convolution(between(&count, 1, 3), channels, between(&count, 5, 14), between(&count, 5, 14),
                                      w, groups, uniform(&count) < 0.3 ? SPADE_ROW_MAJOR : SPADE_CHANNELS_LAST);
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
                          .stride = {1 + t / 4, 1 + t / 4},
                          .dilation = {1, 1},
                          .pad = {k / 2, k / 2, k / 2, k / 2}};
        spade_patches p = convolution(2, c, 11, 9, w, c, t == 3 ? SPADE_ROW_MAJOR : SPADE_CHANNELS_LAST);
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
    spade_patches a = convolution(2, 33, 25, 25, three, 1, SPADE_CHANNELS_LAST);
    spade_patches b = convolution(2, 300, 24, 25, one, 1, SPADE_CHANNELS_LAST);
    check(&count, &a);
    check(&count, &b);
}

static void test_linear(void **state)
{
    (void)state;
    uint32_t count = 3000000;
    spade_patches a = {.x = {.rank = 2, .dims = {7, 130}}, .linear = true, .groups = 1};
    spade_patches b = {.x = {.rank = 3, .dims = {3, 5, 24}}, .linear = true, .groups = 1};
    check(&count, &a);
    check(&count, &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests_name("hessian", tests, NULL, NULL);
}
