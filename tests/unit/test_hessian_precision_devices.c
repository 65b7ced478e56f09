/*
 * Hessians where the network's precision is TF32 or bfloat16, on a GPU or the emulated one: of random layers of every
 * kind, with few samples and with many, by every form that applies.
 *
 * The direct form is the Gram matrix of the inputs rounded once, whose products and sums differ by float32's rounding
 * only; with unit roundoff u of the inputs it is within 2 u + u^2 of the exact one, relative to sqrt(H_ii H_jj). The other
 * forms are as exact as without rounding. All are positive semidefinite but for float32's rounding of sums: a damping
 * far below the default is enough to factorise them.
 *
 * SPADE_TEST_EXHAUSTIVE: a layer of 2304 columns as well, and the numbers of each layer.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cblas.h>
#include <cmocka.h>
#include <lapacke.h>

#include "support/devices.h"
#include "support/random.h"

enum { TF32, BF16, PRECISIONS };
static const char *const names[PRECISIONS] = {"TF32", "bfloat16"};
static const int significant_bits[PRECISIONS] = {11, 8};
static spade_context *processor, *gpu[PRECISIONS]; /* gpu: NULL where there is none */
static int compared[PRECISIONS][SPADE_HESSIAN_FORM_COUNT];
static double largest[PRECISIONS][2]; /* errors: of the other forms, of the direct form */

/* Sums in float32: of the forms in float32, relative to the energies of the channels; of a chunk of positions on tensor
 * cores, which cut off what does not fit instead of rounding it. */
#define SUM_TOLERANCE 2e-6
#define CHUNK_TOLERANCE 2e-5
#define LEAST_DAMPING 1e-4 /* of the mean of the diagonal; the solver's is 0.01 */
#define ALPHA 0.37

static int open_devices(void **state)
{
    (void)state;
    processor = open_device("cpu", 2, 0);
    for (int i = 0; i < PRECISIONS; i++) {
        spade_context_options options;
        spade_context_options_init(&options);
        options.device = "cuda";
        options.precision = i == TF32 ? SPADE_NETWORK_TF32 : SPADE_NETWORK_BF16;
        if (spade_context_create(&options, &gpu[i]) == SPADE_OK) { continue; }
        printf("skipped: %s\n", spade_message(gpu[i]));
        spade_context_destroy(gpu[i]);
        gpu[i] = NULL;
    }
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    spade_context_destroy(processor);
    for (int i = 0; i < PRECISIONS; i++) { spade_context_destroy(gpu[i]); }
    return 0;
}

/* ---- what is expected */

static double rounded(double value, int bits)
{
    int exponent;
    double mantissa = frexp(value, &exponent);
    return ldexp(nearbyint(ldexp(mantissa, bits)), exponent - bits);
}

static int64_t columns_of(const spade_hessian_desc *p)
{
    return p->linear ? p->x.dims[p->x.rank - 1] : p->x.dims[1] / p->groups * p->window.kernel[0] * p->window.kernel[1];
}

static int64_t positions_of(const spade_hessian_desc *p)
{
    return p->linear ? spade_shape_size(&p->x) / columns_of(p) : p->x.dims[0] * p->out_height * p->out_width;
}

/* ALPHA * the Gram matrix of one group's patches, whose numbers are rounded to so many bits -> [k, k], upper triangle */
static double *gram(const spade_hessian_desc *p, const float *x, int64_t group, int bits)
{
    const int64_t k = columns_of(p), n = positions_of(p);
    float *patches = make((size_t)(k * n) * sizeof *patches);
    double *wide = make((size_t)(k * n) * sizeof *wide), *h = make((size_t)(k * k) * sizeof *h);
    ok(processor, processor->device->backend->hessian->samples(processor->device, p, x, group, -1, patches));
    for (int64_t i = 0; i < k * n; i++) { wide[i] = rounded((double)patches[i], bits); }
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, (int)k, (int)n, ALPHA, wide, (int)n, 0, h, (int)k);
    free(patches);
    free(wide);
    return h;
}

/* ---- what the device gives */

/* One update by the form of the description -> [groups][k, k], upper triangles */
static double *update(spade_context *context, const spade_hessian_desc *p, const float *x)
{
    spade_device *device = context->device;
    const spade_backend *backend = device->backend;
    const int64_t k = columns_of(p);
    const size_t bytes = backend->hessian->bytes(device, p), size = (size_t)(k * k) * sizeof(double);
    const size_t space = backend->hessian->workspace_bytes(device, p),
                 x_bytes = (size_t)spade_shape_size(&p->x) * sizeof *x;
    void *accumulator = to_device(context, NULL, bytes), *workspace = to_device(context, NULL, space);
    void *input = to_device(context, x, x_bytes), *out = to_device(context, NULL, size);
    double *h = make((size_t)p->groups * size);
    ok(context, backend->zero(device, accumulator, bytes));
    ok(context, backend->hessian->update(device, p, input, ALPHA, accumulator, workspace));
    for (int64_t group = 0; group < p->groups; group++) {
        ok(context, backend->hessian->read(device, p, accumulator, group, -1, out));
        ok(context, backend->download(device, h + group * k * k, out, size));
    }
    ok(context, backend->synchronize(device));
    backend->free(device, out, size);
    backend->free(device, input, x_bytes);
    backend->free(device, workspace, space);
    backend->free(device, accumulator, bytes);
    return h;
}

/* The largest difference, relative to sqrt(H_ii H_jj), or to the energies of the channels: the largest diagonal numbers of
 * all their kernel positions, of which a lag form takes differences. */
static double difference(const double *h, const double *expected, int64_t k, int64_t taps, bool of_channels)
{
    double worst = 0, *size = make((size_t)k * sizeof *size);
    for (int64_t i = 0; i < k; i++) {
        size[i] = sqrt(expected[i * k + i]);
        for (int64_t t = i / taps * taps; of_channels && t < (i / taps + 1) * taps; t++) {
            size[i] = fmax(size[i], sqrt(expected[t * k + t]));
        }
    }
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = i; j < k; j++) {
            double error = fabs(h[i * k + j] - expected[i * k + j]);
            assert_true(error == 0 || size[i] * size[j] > 0); /* exact zeros of dead inputs */
            if (error > 0) { worst = fmax(worst, error / (size[i] * size[j])); }
        }
    }
    free(size);
    return worst;
}

/* The least of some dampings with which it has a Cholesky factor; infinity: with none. */
static double damping_needed(const double *h, int64_t k)
{
    static const double dampings[] = {1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1};
    double mean = 0, needed = INFINITY, *copy = make((size_t)(k * k) * sizeof *copy);
    for (int64_t i = 0; i < k; i++) { mean += h[i * k + i] / (double)k; }
    for (size_t d = 0; d < sizeof dampings / sizeof *dampings && isinf(needed); d++) {
        memcpy(copy, h, (size_t)(k * k) * sizeof *copy);
        for (int64_t i = 0; i < k; i++) { copy[i * k + i] += dampings[d] * mean + (h[i * k + i] == 0 ? 1 : 0); }
        if (LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'U', (int)k, copy, (int)k) == 0) { needed = dampings[d]; }
    }
    free(copy);
    return needed;
}

static void check_form(int precision, const spade_hessian_desc *p, const float *x)
{
    const int64_t k = columns_of(p), taps = p->linear ? 1 : p->window.kernel[0] * p->window.kernel[1];
    const bool direct = p->form == SPADE_HESSIAN_UNFOLD || p->form == SPADE_HESSIAN_RANK_K;
    const int bits = direct ? significant_bits[precision] : 24;
    const double unit = ldexp(1, -bits), tolerance = direct ? CHUNK_TOLERANCE : SUM_TOLERANCE;
    double *h = update(gpu[precision], p, x);
    for (int64_t group = 0; group < p->groups; group++) {
        double *own = h + group * k * k, *exact = gram(p, x, group, 24), *once = gram(p, x, group, bits);
        double error = difference(own, exact, k, taps, !direct), sums = difference(own, once, k, taps, !direct);
        double damping = damping_needed(own, k);
        if (getenv("SPADE_TEST_EXHAUSTIVE")) {
            print_message(
                "%s, form %d, %lld columns, %lld samples: error %.1e, of sums %.1e, damping that is enough %.0e\n",
                names[precision], (int)p->form, (long long)k, (long long)positions_of(p), error, sums, damping);
        }
        assert_true(error <= 2 * unit + unit * unit + tolerance);
        assert_true(sums <= tolerance);
        assert_true(damping <= LEAST_DAMPING);
        largest[precision][direct] = fmax(largest[precision][direct], error);
        free(exact);
        free(once);
    }
    free(h);
    compared[precision][p->form]++;
}

/* Activations as behind a ReLU: of channels with means of their own, some zero; channel 1 is dead. */
static float *activations(random_stream *random, const spade_hessian_desc *p)
{
    const int64_t size = spade_shape_size(&p->x), channels = p->x.dims[p->linear ? p->x.rank - 1 : 1];
    const int64_t inner = p->linear || p->x.layout == SPADE_CHANNELS_LAST ? 1 : p->x.dims[2] * p->x.dims[3];
    const double spread = random_bool(random) ? 1 : 0.1;
    float *x = make((size_t)size * sizeof *x);
    double *mean = make((size_t)channels * sizeof *mean);
    for (int64_t c = 0; c < channels; c++) { mean[c] = random_unit(random); }
    for (int64_t i = 0; i < size; i++) {
        int64_t c = i / inner % channels;
        x[i] = c == 1 ? 0 : (float)fmax(mean[c] + spread * (double)random_float(random), 0);
    }
    free(mean);
    return x;
}

static void check(random_stream *random, spade_hessian_desc p)
{
    float *x = activations(random, &p);
    for (int precision = 0; precision < PRECISIONS && gpu[precision]; precision++) {
        spade_device *device = gpu[precision]->device;
        for (int form = 0; form < SPADE_HESSIAN_FORM_COUNT; form++) {
            p.form = (spade_hessian_form)form;
            if (device->backend->hessian->cost(device, &p) >= 0) { check_form(precision, &p, x); }
        }
    }
    free(x);
}

static spade_hessian_desc convolution(int64_t n, int64_t channels, int64_t height, int64_t width, int64_t kernel,
                                      int64_t stride, int64_t groups, spade_layout layout)
{
    const int64_t pad = kernel / 2;
    return (spade_hessian_desc){.x = {4, {n, channels, height, width}, layout},
                                .window = {{kernel, kernel}, {stride, stride}, {1, 1}, {pad, pad, pad, pad}},
                                .groups = groups,
                                .out_height = (height + 2 * pad - kernel) / stride + 1,
                                .out_width = (width + 2 * pad - kernel) / stride + 1};
}

/* 3x3, with stride, in groups, of single channels, 1x1; channels that 16 bytes hold and others; both layouts. */
static void test_convolutions(void **state)
{
    (void)state;
    random_stream random = {16, 0};
    for (int t = 0; t < 16; t++) {
        const int64_t groups = t % 4 == 2 ? random_int(&random, 2, 3) : 1, kernel = t % 4 == 3 ? 1 : 3;
        const int64_t channels = t % 2 ? random_int(&random, 3, 20) : 4 * random_int(&random, 1, 5);
        const int64_t images = t < 8 ? 1 : random_int(&random, 3, 5), size = t < 8 ? 3 : 9; /* few samples, many */
        check(&random, convolution(images, groups * channels, size, size + random_int(&random, 0, 2), kernel,
                                   t % 4 == 1 ? 2 : 1, groups, t == 5 ? SPADE_ROW_MAJOR : SPADE_CHANNELS_LAST));
    }
    check(&random, convolution(4, 9, 8, 7, 3, 1, 9, SPADE_CHANNELS_LAST));
    spade_hessian_desc uneven = convolution(2, 12, 9, 8, 3, 1, 1, SPADE_CHANNELS_LAST);
    uneven.window = (spade_window){{3, 2}, {2, 1}, {1, 2}, {0, 2, 1, 1}};
    uneven.out_height = 4, uneven.out_width = 9;
    check(&random, uneven);
}

static void test_linear(void **state)
{
    (void)state;
    random_stream random = {17, 0};
    check(&random, (spade_hessian_desc){.x = {.rank = 2, .dims = {7, 132}}, .linear = true, .groups = 1});
    check(&random, (spade_hessian_desc){.x = {.rank = 3, .dims = {30, 9, 50}}, .linear = true, .groups = 1});
}

/* Several chunks of positions, the last one short; several tiles. */
static void test_chunks_and_tiles(void **state)
{
    (void)state;
    random_stream random = {18, 0};
    check(&random, convolution(3, 12, 27, 26, 1, 1, 1, SPADE_CHANNELS_LAST));
    check(&random, convolution(2, 40, 5, 5, 3, 1, 1, SPADE_CHANNELS_LAST));
    if (getenv("SPADE_TEST_EXHAUSTIVE")) { check(&random, convolution(16, 256, 14, 14, 3, 1, 1, SPADE_CHANNELS_LAST)); }
}

/* float64 is float64 whatever the network's precision. */
static void test_float64(void **state)
{
    (void)state;
    random_stream random = {19, 0};
    if (!gpu[BF16]) { return; }
    spade_hessian_desc p = convolution(2, 8, 6, 6, 3, 1, 1, SPADE_CHANNELS_LAST);
    const int64_t k = columns_of(&p);
    float *x = activations(&random, &p);
    double *exact = gram(&p, x, 0, 24);
    p.precision = SPADE_FP64;
    for (int form = SPADE_HESSIAN_UNFOLD; form <= SPADE_HESSIAN_SPECTRAL; form += SPADE_HESSIAN_SPECTRAL) {
        p.form = (spade_hessian_form)form;
        double *h = update(gpu[BF16], &p, x);
        assert_true(difference(h, exact, k, 9, true) < 1e-13);
        free(h);
    }
    free(exact);
    free(x);
}

static void test_every_form_was_compared(void **state)
{
    (void)state;
    for (int precision = 0; precision < PRECISIONS && gpu[precision]; precision++) {
        for (int form = 0; form < SPADE_HESSIAN_FORM_COUNT; form++) {
            const bool offered = form != SPADE_HESSIAN_SHIFT; /* on a GPU */
            assert_true(offered ? compared[precision][form] >= 1 : compared[precision][form] == 0);
        }
        print_message("%s: largest error %.1e of the direct form, %.1e of the others\n", names[precision],
                      largest[precision][1], largest[precision][0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_chunks_and_tiles),
        cmocka_unit_test(test_float64),
        cmocka_unit_test(test_every_form_was_compared),
    };
    return cmocka_run_group_tests_name("precision of Hessians", tests, open_devices, close_devices);
}
