/*
 * test_visualize_devices.c - the operations of feature visualisation on every backend present, against plain loops: colours and
 * their gradient, a picture seen through an affine map and the transpose of that, steps of Adam; random sizes and maps, maps that
 * look beside the picture among them.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/devices.h"
#include "support/random.h"

static const char *const devices[] = {"cpu", "cuda"};
enum { DEVICES = sizeof devices / sizeof *devices, ROUNDS = 16 };

static float *random_floats(random_stream *random, int64_t n)
{
    float *out = make(sizeof *out * (size_t)n);
    for (int64_t i = 0; i < n; i++) { out[i] = random_float(random); }
    return out;
}

static float *read_back(spade_context *context, void *from, int64_t n)
{
    const spade_backend *backend = context->device->backend;
    float *out = make(sizeof *out * (size_t)n);
    ok(context, backend->download(context->device, out, from, sizeof *out * (size_t)n));
    ok(context, backend->synchronize(context->device));
    return out;
}

static void release(spade_context *context, void *from, int64_t n)
{
    context->device->backend->free(context->device, from, sizeof(float) * (size_t)n);
}

static float *floats_to_device(spade_context *context, const float *from, int64_t n)
{
    return to_device(context, from, sizeof *from * (size_t)n);
}

static void compare(const char *what, int round, const float *got, const double *expected, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (fabs(got[i] - expected[i]) <= 1e-6 * fmax(1, fabs(expected[i]))) { continue; }
        fail_msg("%s, round %d, element %lld: %.9g, should be %.9g", what, round, (long long)i, (double)got[i],
                 expected[i]);
    }
}

/* ---- colours */

static void expect_colours(const spade_colours_args *a, const float *matrix, const float *x, const float *gradient,
                           double *picture, double *x_gradient)
{
    const int64_t n = a->channels, pixels = a->pixels;
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t c = 0; c < n; c++) { x_gradient[c * pixels + p] = 0; }
        for (int64_t c = 0; c < n; c++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++) { sum += (double)matrix[c * n + k] * (double)x[k * pixels + p]; }
            const double value = 1 / (1 + exp(-sum));
            picture[c * pixels + p] = value;
            for (int64_t k = 0; k < n; k++) {
                x_gradient[k * pixels + p] +=
                    (double)matrix[c * n + k] * value * (1 - value) * (double)gradient[c * pixels + p];
            }
        }
    }
}

static void colours_round(spade_context *context, random_stream *random, int round)
{
    const spade_backend_visualize *ops = context->device->backend->visualize;
    const int64_t n = random_int(random, 1, 5), pixels = random_int(random, 1, round % 4 ? 300 : 20000),
                  size = n * pixels;
    float *matrix = random_floats(random, n * n), *x = random_floats(random, size),
          *gradient = random_floats(random, size);
    double *picture = make(sizeof *picture * (size_t)size), *x_gradient = make(sizeof *picture * (size_t)size);
    float *on_device[] = {floats_to_device(context, matrix, n * n), floats_to_device(context, x, size),
                          floats_to_device(context, NULL, size), floats_to_device(context, gradient, size),
                          floats_to_device(context, NULL, size)};
    const spade_colours_args args = {.channels = n,
                                     .pixels = pixels,
                                     .matrix = on_device[0],
                                     .x = on_device[1],
                                     .picture = on_device[2],
                                     .gradient = on_device[3],
                                     .x_gradient = on_device[4]};
    ok(context, ops->colours(context->device, &args));
    ok(context, ops->colours_backward(context->device, &args));
    expect_colours(&args, matrix, x, gradient, picture, x_gradient);
    float *got_picture = read_back(context, on_device[2], size), *got_gradient = read_back(context, on_device[4], size);
    compare("colours", round, got_picture, picture, size);
    compare("their gradient", round, got_gradient, x_gradient, size);
    for (int i = 0; i < 5; i++) { release(context, on_device[i], i ? size : n * n); }
    void *all[] = {matrix, x, gradient, picture, x_gradient, got_picture, got_gradient};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) { free(all[i]); }
}

static void test_colours(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 71};
        for (int round = 0; context && round < ROUNDS; round++) { colours_round(context, &random, round); }
        spade_context_destroy(context);
    }
}

/* ---- warp */

/* Turned, scaled and moved: some pixels look beside the picture, and of some rounds all do. */
static void draw_map(random_stream *random, int round, spade_warp_args *a)
{
    const double angle = 0.4 * random_unit(random) - 0.2, far = round % 8 == 7 ? 1000 : 0;
    const double scale[2] = {0.5 + 1.5 * random_unit(random), 0.5 + 1.5 * random_unit(random)};
    const double at[2][3] = {{scale[0] * cos(angle), -scale[1] * sin(angle), 6 * random_unit(random) - 3 + far},
                             {scale[0] * sin(angle), scale[1] * cos(angle), 6 * random_unit(random) - 3}};
    const double determinant = at[0][0] * at[1][1] - at[0][1] * at[1][0];
    memcpy(a->at, at, sizeof at);
    a->back[0][0] = at[1][1] / determinant;
    a->back[0][1] = -at[0][1] / determinant;
    a->back[1][0] = -at[1][0] / determinant;
    a->back[1][1] = at[0][0] / determinant;
    if (round % 5 == 0) { /* whole pixels: the picture itself, moved */
        const double whole[2][3] = {{1, 0, floor(at[0][2])}, {0, 1, floor(at[1][2])}};
        memcpy(a->at, whole, sizeof whole);
        memcpy(a->back, ((double[2][2]){{1, 0}, {0, 1}}), sizeof a->back);
    }
}

static double pixel_or_fill(const spade_warp_args *a, const float *picture, int64_t c, int64_t i, int64_t j)
{
    const bool inside = i >= 0 && i < a->height && j >= 0 && j < a->width;
    return inside ? (double)picture[(c * a->height + i) * a->width + j] : a->fill;
}

static void expect_warp(const spade_warp_args *a, const float *picture, const float *mean, const float *deviation,
                        double *out)
{
    for (int64_t e = 0; e < a->channels * a->out_height * a->out_width; e++) {
        const int64_t c = e / (a->out_height * a->out_width), y = e / a->out_width % a->out_height,
                      x = e % a->out_width;
        const double row = a->at[0][0] * (double)y + a->at[0][1] * (double)x + a->at[0][2];
        const double column = a->at[1][0] * (double)y + a->at[1][1] * (double)x + a->at[1][2];
        const int64_t i = (int64_t)floor(row), j = (int64_t)floor(column);
        const double down = row - floor(row), right = column - floor(column);
        const double above =
            (1 - right) * pixel_or_fill(a, picture, c, i, j) + right * pixel_or_fill(a, picture, c, i, j + 1);
        const double below =
            (1 - right) * pixel_or_fill(a, picture, c, i + 1, j) + right * pixel_or_fill(a, picture, c, i + 1, j + 1);
        out[e] = ((1 - down) * above + down * below - (double)mean[c]) / (double)deviation[c];
    }
}

/* <warp'(dx), dy> = <dx, transpose dy>, where warp' is the change of the result with the picture. */
static void check_transpose(const spade_warp_args *a, int round, const float *picture, const float *out,
                            const float *out_of_zero, const float *gradient, const float *picture_gradient)
{
    double left = 0, right = 0, size = 0;
    for (int64_t e = 0; e < a->channels * a->out_height * a->out_width; e++) {
        const double term = ((double)out[e] - (double)out_of_zero[e]) * (double)gradient[e];
        left += term;
        size += fabs(term);
    }
    for (int64_t e = 0; e < a->channels * a->height * a->width; e++) {
        right += (double)picture[e] * (double)picture_gradient[e];
    }
    if (!(fabs(left - right) <= 1e-5 * fmax(size, 1e-3))) {
        fail_msg("transpose of a warp, round %d: %.9g and %.9g", round, left, right);
    }
}

static void warp_round(spade_context *context, random_stream *random, int round)
{
    const spade_backend *backend = context->device->backend;
    spade_warp_args args = {.channels = random_int(random, 1, 4), .fill = random_unit(random)};
    int64_t *sides[] = {&args.height, &args.width, &args.out_height, &args.out_width};
    for (int i = 0; i < 4; i++) { *sides[i] = random_int(random, 1, 40); }
    const int64_t n = args.channels, size = n * args.height * args.width,
                  out_size = n * args.out_height * args.out_width;
    draw_map(random, round, &args);
    float *picture = random_floats(random, size), *gradient = random_floats(random, out_size);
    float *mean = random_floats(random, n), *deviation = random_floats(random, n);
    for (int64_t c = 0; c < n; c++) { deviation[c] = fabsf(deviation[c]) + 0.1f; }
    double *expected = make(sizeof *expected * (size_t)out_size);
    float *dp = floats_to_device(context, picture, size), *dout = floats_to_device(context, NULL, out_size);
    float *dg = floats_to_device(context, gradient, out_size), *dpg = floats_to_device(context, NULL, size);
    float *dm = floats_to_device(context, mean, n), *dd = floats_to_device(context, deviation, n);
    args.picture = dp, args.out = dout, args.gradient = dg, args.picture_gradient = dpg;
    args.mean = dm, args.deviation = dd;
    ok(context, backend->visualize->warp(context->device, &args));
    ok(context, backend->visualize->warp_backward(context->device, &args));
    float *out = read_back(context, dout, out_size), *picture_gradient = read_back(context, dpg, size);
    expect_warp(&args, picture, mean, deviation, expected);
    compare("warp", round, out, expected, out_size);
    ok(context, backend->zero(context->device, dp, sizeof(float) * (size_t)size));
    ok(context, backend->visualize->warp(context->device, &args));
    float *out_of_zero = read_back(context, dout, out_size);
    check_transpose(&args, round, picture, out, out_of_zero, gradient, picture_gradient);
    float *const on_device[] = {dp, dpg, dout, dg, dm, dd};
    for (int i = 0; i < 6; i++) { release(context, on_device[i], i < 2 ? size : i < 4 ? out_size : n); }
    void *all[] = {picture, gradient, mean, deviation, expected, out, picture_gradient, out_of_zero};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) { free(all[i]); }
}

static void test_warp(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 72};
        for (int round = 0; context && round < 2 * ROUNDS; round++) { warp_round(context, &random, round); }
        spade_context_destroy(context);
    }
}

/* ---- Adam */

enum { STATE = 4, STEPS = 5 }; /* m, v, parameters, scaled */

static void expect_adam(spade_adam_args *a, int step, const float *scale, const float *gradient,
                        double *const state[STATE])
{
    a->correction1 = 1 - pow(a->beta1, step);
    a->correction2 = 1 - pow(a->beta2, step);
    for (int64_t i = 0; i < a->size; i++) {
        const double g = (double)scale[i] * (double)gradient[i];
        state[0][i] = a->beta1 * state[0][i] + (1 - a->beta1) * g;
        state[1][i] = a->beta2 * state[1][i] + (1 - a->beta2) * g * g;
        state[2][i] += a->rate * (state[0][i] / a->correction1) / (sqrt(state[1][i] / a->correction2) + a->epsilon);
        state[3][i] = (double)scale[i] * state[2][i];
    }
}

static void adam_round(spade_context *context, random_stream *random, int round)
{
    const spade_backend *backend = context->device->backend;
    const int64_t n = random_int(random, 1, round % 4 ? 200 : 40000);
    spade_adam_args args = {.size = n, .rate = 0.05, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    float *scale = random_floats(random, n), *gradient = random_floats(random, n), *on_device[STATE];
    double *state[STATE];
    float *ds = floats_to_device(context, scale, n), *dg = floats_to_device(context, NULL, n);
    for (int s = 0; s < STATE; s++) {
        state[s] = make(sizeof *state[s] * (size_t)n);
        memset(state[s], 0, sizeof *state[s] * (size_t)n);
        on_device[s] = floats_to_device(context, NULL, n);
        ok(context, backend->zero(context->device, on_device[s], sizeof(float) * (size_t)n));
    }
    args.scale = ds, args.gradient = dg;
    args.m = on_device[0], args.v = on_device[1], args.parameters = on_device[2], args.scaled = on_device[3];
    for (int step = 1; step <= STEPS; step++) {
        for (int64_t i = 0; i < n; i++) { gradient[i] = i % 7 ? random_float(random) : 0; }
        ok(context, backend->upload(context->device, dg, gradient, sizeof *gradient * (size_t)n));
        expect_adam(&args, step, scale, gradient, state);
        ok(context, backend->visualize->adam(context->device, &args));
    }
    for (int s = 0; s < STATE; s++) {
        float *got = read_back(context, on_device[s], n);
        compare("Adam", round, got, state[s], n);
        release(context, on_device[s], n);
        free(state[s]);
        free(got);
    }
    release(context, ds, n);
    release(context, dg, n);
    free(scale);
    free(gradient);
}

static void test_adam(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 73};
        for (int round = 0; context && round < ROUNDS; round++) { adam_round(context, &random, round); }
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_colours), cmocka_unit_test(test_warp),
                                       cmocka_unit_test(test_adam)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
