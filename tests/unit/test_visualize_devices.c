/*
 * test_visualize_devices.c - the parts of feature visualisation: inverse transforms of random sizes against plain sums, and their
 * transposes; the gradient of all that lies between the spectrum and an objective against differences; what an objective is of a
 * value; the moves; what is refused.
 */
#include <math.h>

#include "support/context.h"
#include "support/devices.h"
#include "support/model.h"
#include "support/random.h"
#include "visualize/visualizer.h"

enum { CHANNELS = 3, SIDE = 12, MAPS = 5, CLASSES = 4 };
#define PI 3.14159265358979323846

/* ---- Fourier transforms */

static float *device_floats(spade_context *context, const float *from, int64_t n)
{
    return to_device(context, from, sizeof *from * (size_t)n);
}

static float *host_floats(spade_context *context, float *from, int64_t n)
{
    const spade_backend *backend = context->device->backend;
    float *out = make(sizeof *out * (size_t)n);
    ok(context, backend->download(context->device, out, from, sizeof *out * (size_t)n));
    ok(context, backend->synchronize(context->device));
    return out;
}

static void release(spade_context *context, float *from, int64_t n)
{
    context->device->backend->free(context->device, from, sizeof *from * (size_t)n);
}

static float *random_floats(random_stream *random, int64_t n)
{
    float *out = make(sizeof *out * (size_t)n);
    for (int64_t i = 0; i < n; i++) { out[i] = random_float(random); }
    return out;
}

/* Pixel (y, x): the sum over all frequencies, of which those that are not there are the conjugates of their mirror images. */
static double plain_pixel(const visualize_fourier *f, const float *spectrum, int64_t c, int64_t y, int64_t x)
{
    double sum = 0;
    for (int64_t k = 0; k < f->height; k++) {
        for (int64_t j = 0; j < f->width; j++) {
            const bool mirrored = j >= f->frequencies;
            const int64_t row = mirrored ? (f->height - k) % f->height : k, column = mirrored ? f->width - j : j;
            const float *at = spectrum + (c * f->height + row) * 2 * f->frequencies + column;
            const double angle = 2 * PI * ((double)(k * y) / (double)f->height + (double)(j * x) / (double)f->width);
            sum += (double)at[0] * cos(angle) - (mirrored ? -1 : 1) * (double)at[f->frequencies] * sin(angle);
        }
    }
    return sum / sqrt((double)(f->height * f->width)) / 4;
}

/* Frequencies 0 and 1/2 across are their own mirror images: there the transform takes a spectrum's Hermitian part. */
static void make_hermitian(const visualize_fourier *f, float *spectrum)
{
    for (int64_t c = 0; c < f->channels; c++) {
        for (int64_t j = 0; j < f->frequencies; j++) {
            if (j != 0 && 2 * j != f->width) { continue; }
            for (int64_t k = 0; k <= f->height / 2; k++) {
                float *a = spectrum + (c * f->height + k) * 2 * f->frequencies + j;
                float *b = spectrum + (c * f->height + (f->height - k) % f->height) * 2 * f->frequencies + j;
                b[0] = a[0];
                b[f->frequencies] = a == b ? 0 : -a[f->frequencies];
            }
        }
    }
}

static void check_transform(spade_context *context, random_stream *random)
{
    visualize_fourier f;
    const int64_t channels = random_int(random, 1, 3), height = random_int(random, 1, 19),
                  width = random_int(random, 1, 19);
    ok(context, visualize_fourier_create(context, channels, height, width, &f));
    const int64_t size = visualize_fourier_size(&f), pixels = channels * height * width;
    float *spectrum = random_floats(random, size), *gradient = random_floats(random, pixels);
    make_hermitian(&f, spectrum);
    float *ds = device_floats(context, spectrum, size), *dx = device_floats(context, NULL, pixels);
    float *dg = device_floats(context, gradient, pixels), *dsg = device_floats(context, NULL, size);
    ok(context, visualize_fourier_inverse(&f, ds, dx));
    ok(context, visualize_fourier_gradient(&f, dg, dsg));
    float *x = host_floats(context, dx, pixels), *spectrum_gradient = host_floats(context, dsg, size);
    double left = 0, right = 0, total = 0;
    for (int64_t p = 0; p < pixels; p++) {
        const double plain = plain_pixel(&f, spectrum, p / (height * width), p / width % height, p % width);
        if (!(fabs(x[p] - plain) < 1e-5)) {
            fail_msg("%lld x %lld, pixel %lld: %.7f, should be %.7f", (long long)height, (long long)width, (long long)p,
                     (double)x[p], plain);
        }
        left += (double)x[p] * (double)gradient[p];
        total += fabs((double)x[p] * (double)gradient[p]);
    }
    for (int64_t i = 0; i < size; i++) { right += (double)spectrum[i] * (double)spectrum_gradient[i]; }
    if (!(fabs(left - right) <= 1e-5 * (total + 1e-3))) { fail_msg("transposed: %.9g and %.9g", left, right); }
    release(context, ds, size);
    release(context, dsg, size);
    release(context, dx, pixels);
    release(context, dg, pixels);
    visualize_fourier_clear(&f);
    float *const all[] = {spectrum, gradient, x, spectrum_gradient};
    for (int i = 0; i < 4; i++) { free(all[i]); }
}

static void test_fourier(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 2);
    random_stream random = {.key = 91};
    for (int round = 0; round < 24; round++) { check_transform(context, &random); }
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
}

static void test_scale(void **state)
{
    (void)state;
    const visualize_fourier f = {.channels = 2, .height = 6, .width = 4, .frequencies = 3};
    float scale[2 * 6 * 6];
    visualize_fourier_scale(&f, scale);
    assert_true(fabsf(scale[0] - 6) < 1e-6f);                           /* the mean: as the lowest frequency, 1/6 */
    assert_true(fabsf(scale[1] - 4) < 1e-6f);                           /* 1/4 across */
    assert_true(fabsf(scale[1 * 6] - 6) < 1e-5f);                       /* 1/6 down, */
    assert_true(fabsf(scale[5 * 6] - 6) < 1e-5f);                       /* and -1/6 */
    assert_true(fabs((double)scale[3 * 6 + 2] - 1 / sqrt(0.5)) < 1e-6); /* 1/2 both ways */
    for (int i = 0; i < 36; i++) {
        assert_true(scale[i] == scale[36 + i] && scale[i] == scale[i / 6 * 6 + (i % 6 + 3) % 6]);
    }
}

/* ---- a network whose functions are smooth */

typedef struct fixture {
    spade_context *context;
    spade_model *model;
} fixture;

static wire smooth_network(void)
{
    static const int64_t first[4] = {MAPS, CHANNELS, 3, 3}, last[2] = {MAPS, CLASSES}, pads[4] = {1, 1, 1, 1},
                         square[2] = {MAPS, MAPS};
    static const int64_t strides[2] = {2, 2}, window[2] = {3, 3};
    wire graph = graph_of(CHANNELS, SIDE, SIDE, CLASSES);
    put_tensor(&graph, tensor_random("first.weight", 4, first, 1));
    put_tensor(&graph, tensor_random("middle.weight", 2, square, 2));
    put_tensor(&graph, tensor_random("last.weight", 2, last, 3));
    put_node(&graph, with_ints(node_of("/first/Conv", "Conv", "x first.weight", "a"), "pads", 4, pads));
    put_node(&graph, node_of("/act/Tanh", "Tanh", "a", "b"));
    put_node(&graph,
             with_ints(with_ints(node_of("/pool/AveragePool", "AveragePool", "b", "c"), "kernel_shape", 2, window),
                       "strides", 2, strides));
    put_node(&graph, node_of("/mean/GlobalAveragePool", "GlobalAveragePool", "c", "d"));
    put_node(&graph, node_of("/flat/Flatten", "Flatten", "d", "e"));
    put_node(&graph, node_of("/middle/MatMul", "MatMul", "e middle.weight", "f"));
    put_node(&graph, node_of("/middle/Sigmoid", "Sigmoid", "f", "g"));
    put_node(&graph, node_of("/last/Gemm", "Gemm", "g last.weight", "y"));
    return model_of(graph);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->context = test_context(test_device(), 2);
    ok(f->context, spade_model_load(f->context, test_save("smooth.onnx", smooth_network()), NULL, &f->model));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    spade_model_destroy(f->model);
    const int left = f->context->used != f->context->device->own_bytes;
    spade_context_destroy(f->context);
    free(f);
    return left;
}

/* ---- the gradient of the whole chain */

static visualizer open_chain(fixture *f, const spade_objective *objective, int64_t height, int64_t width)
{
    visualizer z = {.context = f->context, .device = f->context->device, .shape = {CHANNELS, height, width}};
    spade_visualize_options_init(&z.options);
    spade_preprocess_init(&z.preprocess, height, width);
    ok(f->context, visualize_objective_find(f->context, f->model, objective, &z.objective));
    ok(f->context, visualizer_open(&z, f->model, NULL));
    return z;
}

static double measure_moved(visualizer *z, const spade_warp_args *warp, const float *spectrum, const float *direction,
                            double step)
{
    const int64_t size = visualize_fourier_size(&z->fourier);
    float *moved = make(sizeof *moved * (size_t)size);
    double value;
    for (int64_t i = 0; i < size; i++) { moved[i] = (float)(spectrum[i] + step * direction[i]); }
    ok(z->context, z->device->backend->upload(z->device, z->spectrum, moved, sizeof *moved * (size_t)size));
    ok(z->context, visualizer_measure(z, warp, &value));
    free(moved);
    return value;
}

static void check_chain(fixture *f, const spade_objective *objective, int64_t height, int64_t width, uint32_t draw)
{
    visualizer z = open_chain(f, objective, height, width);
    const int64_t size = visualize_fourier_size(&z.fourier);
    spade_warp_args warp = visualizer_warp(&z);
    random_stream random = {.key = 17 + draw};
    visualize_moves_none(&warp);
    if (draw) { visualize_moves_draw(z.key, draw, &warp); }
    ok(f->context, visualizer_make_input(&z, &warp));
    ok(f->context, visualizer_gradient(&z, &warp));
    float *spectrum = host_floats(f->context, z.spectrum, size),
          *gradient = host_floats(f->context, z.spectrum_gradient, size);
    float *scale = host_floats(f->context, z.scale, size);
    for (int round = 0; round < 4; round++) {
        float *direction = random_floats(&random, size);
        double along = 0, norm = 0;
        for (int64_t i = 0; i < size; i++) {
            direction[i] *= scale[i];
            along += (double)gradient[i] * (double)direction[i];
            norm += pow((double)gradient[i] * (double)scale[i], 2);
        }
        const double step = 2e-2, up = measure_moved(&z, &warp, spectrum, direction, step);
        const double difference = (up - measure_moved(&z, &warp, spectrum, direction, -step)) / (2 * step);
        if (!(norm > 0 && fabs(along - difference) < 0.01 * sqrt(norm))) {
            fail_msg("%s:%lld, %lld x %lld, move %u: gradient %.6f, difference %.6f, norm %.6f",
                     objective->layer ? objective->layer : "class", (long long)objective->index, (long long)height,
                     (long long)width, draw, along, difference, sqrt(norm));
        }
        free(direction);
    }
    free(spectrum);
    free(gradient);
    free(scale);
    visualizer_close(&z);
}

static void test_chain(void **state)
{
    static const spade_objective objectives[] = {{NULL, 2, false},    {"first", 1, false}, {"first", 4, true},
                                                 {"act", 0, true},    {"pool", 3, false},  {"mean", 2, false},
                                                 {"middle", 1, false}};
    static const int64_t sizes[][2] = {{SIDE, SIDE}, {19, 10}, {30, 41}};
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++) {
        for (uint32_t k = 0; k < 3; k++) {
            check_chain(*state, &objectives[i], sizes[k][0], sizes[k][1], k * (uint32_t)(i + 1));
        }
    }
}

/* ---- objectives */

static void test_objective(void **state)
{
    fixture *f = *state;
    visualize_objective found;
    float weights[MAPS * SIDE * SIDE];
    double sum = 0;
    int counted = 0;
    ok(f->context, visualize_objective_find(f->context, f->model, &(spade_objective){"act", 3, false}, &found));
    assert_int_equal(found.size, MAPS * SIDE * SIDE);
    visualize_objective_weights(&found, weights);
    for (int i = 0; i < MAPS * SIDE * SIDE; i++) {
        sum += (double)weights[i];
        counted += weights[i] != 0;
    }
    assert_true(fabs(sum - 1) < 1e-5);
    assert_int_equal(counted, SIDE * SIDE);
    ok(f->context, visualize_objective_find(f->context, f->model, &(spade_objective){"act", 3, true}, &found));
    visualize_objective_weights(&found, weights);
    counted = 0;
    for (int i = 0; i < MAPS * SIDE * SIDE; i++) {
        counted += weights[i] != 0;
        if (weights[i] != 0) { assert_true(weights[i] == 1); }
    }
    assert_int_equal(counted, 1);
}

static void expect_refused(fixture *f, const spade_objective *objective, const spade_visualize_options *options,
                           const char *words)
{
    int64_t shape[3];
    assert_int_equal(spade_visualize_shape(f->context, f->model, objective, options, shape), SPADE_ERROR_ARGUMENT);
    if (!strstr(spade_message(f->context), words)) { fail_msg("%s: not in: %s", words, spade_message(f->context)); }
    spade_error_clear(f->context);
}

static void test_refused(void **state)
{
    fixture *f = *state;
    const spade_objective good = {"first", 0, false};
    spade_visualize_options options;
    int64_t shape[3];
    spade_visualize_options_init(&options);
    ok(f->context, spade_visualize_shape(f->context, f->model, &good, &options, shape));
    assert_true(shape[0] == CHANNELS && shape[1] == SIDE && shape[2] == SIDE);
    expect_refused(f, &(spade_objective){"frst", 0, false}, &options, "close to it: first");
    expect_refused(f, &(spade_objective){"first", MAPS, false}, &options, "first:5: the layer has the channels 0 to 4");
    expect_refused(f, &(spade_objective){"first", -1, false}, &options, "channels 0 to 4");
    expect_refused(f, &(spade_objective){NULL, CLASSES, false}, &options,
                   "class 4: the network has the classes 0 to 3");
    options.steps = 0;
    expect_refused(f, &good, &options, "0 steps: 1 to 100000");
    options.steps = 1;
    options.rate = NAN;
    expect_refused(f, &good, &options, "learning rate");
    options.rate = 0.05;
    options.width = 7;
    expect_refused(f, &good, &options, "width of 7 pixels: 8 to 2048");
    options.width = 0;
    options.size = 3;
    expect_refused(f, &good, &options, "spade_visualize_options_init()");
}

/* ---- moves */

static void test_moves(void **state)
{
    (void)state;
    double least = 10, most = 0;
    spade_warp_args warp = {.height = 224, .width = 224, .out_height = 224, .out_width = 224};
    visualize_moves_none(&warp);
    for (int a = 0; a < 2; a++) {
        for (int k = 0; k < 3; k++) { assert_true(fabs(warp.at[a][k] - (k == a)) < 1e-12); }
    }
    for (uint32_t step = 1; step < 400; step++) {
        visualize_moves_draw(5, step, &warp);
        const double scale =
            sqrt(warp.at[0][0] * warp.at[1][1] - warp.at[0][1] * warp.at[1][0]); /* one size of pixels */
        const double turned = atan2(warp.at[0][1], warp.at[0][0]) * 180 / PI;
        assert_true(scale > 236.0 / 224 / 1.1 - 1e-9 && scale < 236.0 / 224 / 0.9 + 1e-9 && fabs(turned) <= 10 + 1e-9);
        least = scale < least ? scale : least;
        most = scale > most ? scale : most;
        for (int a = 0; a < 2; a++) { /* the middle of the input: near that of the picture; the inverse */
            const double middle = spade_warp_position(warp.at[a], 112, 112);
            assert_true(fabs(middle - 112) < 4 + 2.0 / 0.9 + 1);
            for (int b = 0; b < 2; b++) {
                const double product = warp.back[a][0] * warp.at[0][b] + warp.back[a][1] * warp.at[1][b];
                assert_true(fabs(product - (a == b)) < 1e-12);
            }
        }
    }
    assert_true(least < 236.0 / 224 / 1.09 && most > 236.0 / 224 / 0.91);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fourier),
                                       cmocka_unit_test(test_scale),
                                       cmocka_unit_test_setup_teardown(test_chain, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_objective, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                                       cmocka_unit_test(test_moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
