/*
 * test_attribution_devices.c - the operations behind maps on every backend present, against plain loops: points with
 * and without noise and baselines, gradients times the directions of their lines, inputs with parts replaced or
 * faded, seeds of logits and softmax scores, weighted sums of gradients and of their squares, finished maps; random
 * sizes, odd ones and single elements among them.
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
enum { DEVICES = sizeof devices / sizeof *devices, ROUNDS = 24 };

/* A size that is sometimes 1, sometimes several pieces of a loop, sometimes a multiple of 4. */
static int64_t draw_size(random_stream *random)
{
    double kind = random_unit(random);
    if (kind < 0.1) { return 1; }
    if (kind < 0.2) { return random_int(random, 30000, 40000); }
    return kind < 0.6 ? 4 * random_int(random, 1, 200) : random_int(random, 1, 800);
}

static void fill(random_stream *random, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        out[i] = random_unit(random) < 0.1 ? 0.0f : (float)(4 * random_unit(random) - 2);
    }
}

static void to_host(spade_context *context, void *to, void *from, size_t bytes)
{
    const spade_backend *backend = context->device->backend;
    ok(context, backend->download(context->device, to, from, bytes));
    ok(context, backend->synchronize(context->device));
    backend->free(context->device, from, bytes);
}

/* exact: the last bit counts; else what another library's log, exp, sin and cos may move. */
static void compare(const char *what, int round, bool exact, const float *got, const float *expected, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - (double)expected[i]);
        if (!(error <= (exact ? 0.0 : 3e-7 * fmax(1.0, fabs((double)expected[i]))))) {
            fail_msg("%s, round %d, element %lld: %.9g, should be %.9g", what, round, (long long)i, (double)got[i],
                     (double)expected[i]);
        }
    }
}

/* ---- points */

/* The ends of the line of image i at element e. baselines: on the host. */
static void expected_ends(const spade_points *p, const float *x, const float *baselines, int64_t i, int64_t e,
                          double *from, double *to)
{
    const uint32_t key[2] = {(uint32_t)p->key, (uint32_t)(p->key >> 32)};
    *to = x[e];
    *from = baselines ? baselines[p->baseline[i] * p->size + e] : 0;
    if (p->deviation != 0) {
        const uint32_t counter[4] = {p->sample[i], (uint32_t)(e / 2), 0, 0};
        double z[2];
        spade_normal(key, counter, z);
        *to += p->deviation * z[e % 2];
    }
    if (p->uniform.pixels) {
        const uint32_t counter[4] = {p->sample[i], (uint32_t)(e / 4), 0, 4};
        const int64_t c = e / p->uniform.pixels;
        uint32_t random[4];
        spade_philox(key, counter, random);
        *from = p->uniform.low[c] + (random[e % 4] + 0.5) / 4294967296.0 * (p->uniform.high[c] - p->uniform.low[c]);
    }
}

static void expected_points(const spade_points *p, const float *x, const float *baselines, float *out)
{
    for (int64_t i = 0; i < p->count; i++) {
        for (int64_t e = 0; e < p->size; e++) {
            double from, to;
            expected_ends(p, x, baselines, i, e, &from, &to);
            out[i * p->size + e] = (float)(p->scale[i] * to + (1 - p->scale[i]) * from);
        }
    }
}

static void expected_products(const spade_points *p, const float *x, const float *baselines, const float *gradients,
                              float *out)
{
    for (int64_t i = 0; i < p->count; i++) {
        for (int64_t e = 0; e < p->size; e++) {
            double from, to;
            expected_ends(p, x, baselines, i, e, &from, &to);
            out[i * p->size + e] = (float)((to - from) * gradients[i * p->size + e]);
        }
    }
}

/* Lines from 0, from given baselines, from random ones, in turn. */
enum { FROM_ZERO, FROM_PICTURES, FROM_RANDOM, LINE_KINDS, PICTURES = 3 };
static void draw_baselines(random_stream *random, int round, spade_points *p, uint32_t *baseline, float *pictures)
{
    fill(random, PICTURES * p->size, pictures);
    for (int64_t i = 0; i < p->count; i++) { baseline[i] = (uint32_t)random_int(random, 0, PICTURES - 1); }
    if (round % LINE_KINDS != FROM_RANDOM) { return; }
    const int64_t channels = p->size % 3 == 0 ? 3 : 1;
    p->uniform.pixels = p->size / channels;
    for (int64_t c = 0; c < channels; c++) {
        p->uniform.low[c] = -2 * random_unit(random);
        p->uniform.high[c] = 3 * random_unit(random);
    }
}

static void test_points(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 815};
        for (int round = 0; context && round < ROUNDS; round++) {
            double scale[SPADE_MAX_POINTS];
            uint32_t sample[SPADE_MAX_POINTS], baseline[SPADE_MAX_POINTS];
            spade_points p = {.size = draw_size(&random), .scale = scale, .sample = sample, .baseline = baseline};
            p.count = round == 0 ? SPADE_MAX_POINTS : random_int(&random, 1, 9);
            p.deviation = round % 2 ? random_unit(&random) : 0; /* with LINE_KINDS all pairs come */
            p.key = (uint64_t)(random_unit(&random) * 0x1p64);
            for (int i = 0; i < p.count; i++) {
                scale[i] = random_unit(&random) < 0.3 ? 1 : random_unit(&random);
                sample[i] = (uint32_t)random_int(&random, 0, 10000);
            }
            size_t bytes = (size_t)p.size * sizeof(float), all = bytes * (size_t)p.count;
            float *x = make(bytes), *expected = make(all), *got = make(all), *gradients = make(all);
            float *pictures = make(PICTURES * bytes), *given = round % LINE_KINDS == FROM_PICTURES ? pictures : NULL;
            const bool exact = d == 0 || p.deviation == 0;
            fill(&random, p.size, x);
            fill(&random, p.size * p.count, gradients);
            draw_baselines(&random, round, &p, baseline, pictures);
            expected_points(&p, x, given, expected);
            void *dx = to_device(context, x, bytes), *dy = to_device(context, NULL, all);
            void *dg = to_device(context, gradients, all), *dp = to_device(context, NULL, all);
            void *db = to_device(context, pictures, PICTURES * bytes);
            p.baselines = given ? db : NULL;
            if (p.deviation == 0 && !p.uniform.pixels) { p.sample = NULL; }
            ok(context, context->device->backend->points(context->device, &p, dx, dy));
            ok(context, context->device->backend->path_products(context->device, &p, dx, dg, dp));
            to_host(context, got, dy, all);
            compare("points", round, exact, got, expected, p.size * p.count);
            p.sample = sample;
            expected_products(&p, x, given, gradients, expected);
            to_host(context, got, dp, all);
            compare("path products", round, exact, got, expected, p.size * p.count);
            context->device->backend->free(context->device, dx, bytes);
            context->device->backend->free(context->device, dg, all);
            context->device->backend->free(context->device, db, PICTURES * bytes);
            float *host[] = {x, expected, got, gradients, pictures};
            for (size_t h = 0; h < sizeof host / sizeof *host; h++) { free(host[h]); }
        }
        if (context) { assert_int_equal(context->used, context->device->own_bytes); }
        spade_context_destroy(context);
    }
}

/* ---- masked inputs */

static void test_mask_inputs(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 819};
        for (int round = 0; context && round < ROUNDS; round++) {
            spade_mask_inputs_args args = {.count = random_int(&random, 1, 9),
                                           .channels = random_int(&random, 1, 4),
                                           .pixels = draw_size(&random),
                                           .cell_count = round == 0 ? 1 : random_int(&random, 1, 600)};
            const int64_t size = args.channels * args.pixels, count = args.count, cells = args.cell_count;
            const size_t bytes = (size_t)size * sizeof(float), of_cells = (size_t)args.pixels * sizeof(int32_t);
            const size_t all = bytes * (size_t)count, of_masks = (size_t)(count * cells);
            float *x = make(bytes), *baseline = make(bytes), *expected = make(all), *got = make(all);
            int32_t *cell = make(of_cells);
            uint8_t *masks = make(of_masks);
            fill(&random, size, x);
            fill(&random, size, baseline);
            x[0] = -0.0f; /* kept as it is */
            baseline[size - 1] = NAN;
            for (int64_t p = 0; p < args.pixels; p++) { cell[p] = (int32_t)random_int(&random, 0, cells - 1); }
            for (size_t m = 0; m < of_masks; m++) {
                masks[m] = random_bool(&random) ? 0 : (uint8_t)random_int(&random, 1, 255);
            }
            for (int64_t e = 0; e < count * size; e++) {
                const uint8_t kept = masks[e / size * cells + cell[e % args.pixels]];
                expected[e] = kept ? x[e % size] : baseline[e % size];
            }
            void *dx = to_device(context, x, bytes), *db = to_device(context, baseline, bytes);
            void *dc = to_device(context, cell, of_cells), *dm = to_device(context, masks, of_masks);
            void *out = to_device(context, NULL, all);
            args.x = dx, args.baseline = db, args.cells = dc, args.masks = dm, args.out = out;
            ok(context, context->device->backend->mask_inputs(context->device, &args));
            to_host(context, got, out, all);
            context->device->backend->free(context->device, dx, bytes);
            context->device->backend->free(context->device, db, bytes);
            context->device->backend->free(context->device, dc, of_cells);
            context->device->backend->free(context->device, dm, of_masks);
            assert_memory_equal(got, expected, all);
            free(x);
            free(baseline);
            free(expected);
            free(got);
            free(cell);
            free(masks);
        }
        if (context) { assert_int_equal(context->used, context->device->own_bytes); }
        spade_context_destroy(context);
    }
}

/* Positions between the cells of a grid, some of them on a cell. */
static spade_grid_position *draw_positions(random_stream *random, int64_t count, int64_t grid)
{
    spade_grid_position *out = make((size_t)count * sizeof *out);
    for (int64_t i = 0; i < count; i++) {
        out[i] = (spade_grid_position){.share = random_unit(random) < 0.3 ? 0 : random_unit(random),
                                       .first = (int32_t)random_int(random, 0, grid - 1),
                                       .second = (int32_t)random_int(random, 0, grid - 1)};
    }
    return out;
}

static void expected_blend(const spade_blend_inputs_args *a, float *out)
{
    const int64_t pixels = a->height * a->width;
    for (int64_t e = 0; e < a->count * a->channels * pixels; e++) {
        const int64_t i = e / (a->channels * pixels), p = e % pixels, of_one = e % (a->channels * pixels);
        const spade_grid_position r = a->rows[a->shifts[2 * i] + p / a->width];
        const spade_grid_position c = a->columns[a->shifts[2 * i + 1] + p % a->width];
        double corner[2][2];
        for (int k = 0; k < 4; k++) {
            const int64_t row = k / 2 ? r.second : r.first, column = k % 2 ? c.second : c.first;
            corner[k / 2][k % 2] = a->masks[(i * a->grid + row) * a->grid + column];
        }
        const double upper = (1 - c.share) * corner[0][0] + c.share * corner[0][1];
        const double lower = (1 - c.share) * corner[1][0] + c.share * corner[1][1];
        const double m = (1 - r.share) * upper + r.share * lower;
        out[e] = (float)(m * a->x[of_one] + (1 - m) * a->baseline[of_one]);
    }
}

static void test_blend_inputs(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 831};
        for (int round = 0; context && round < ROUNDS; round++) {
            const int64_t wide = round % 4 == 3 ? 300 : 20; /* a picture of several blocks */
            spade_blend_inputs_args args = {.count = random_int(&random, 1, 9),
                                            .channels = random_int(&random, 1, 4),
                                            .height = random_int(&random, 1, 20),
                                            .width = random_int(&random, 1, wide),
                                            .grid = random_int(&random, 1, 9)};
            const int64_t size = args.channels * args.height * args.width, most = 5; /* the largest shift */
            const size_t bytes = (size_t)size * sizeof(float), all = bytes * (size_t)args.count;
            const size_t of_masks = (size_t)(args.count * args.grid * args.grid);
            const size_t of_shifts = (size_t)args.count * 2 * sizeof(int32_t);
            const size_t of_rows = (size_t)(args.height + most) * sizeof(spade_grid_position);
            const size_t of_columns = (size_t)(args.width + most) * sizeof(spade_grid_position);
            float *x = make(bytes), *baseline = make(bytes), *expected = make(all), *got = make(all);
            uint8_t *masks = make(of_masks);
            int32_t *shifts = make(of_shifts);
            spade_grid_position *rows = draw_positions(&random, args.height + most, args.grid);
            spade_grid_position *columns = draw_positions(&random, args.width + most, args.grid);
            fill(&random, size, x);
            fill(&random, size, baseline);
            for (size_t m = 0; m < of_masks; m++) { masks[m] = random_bool(&random); }
            for (int64_t i = 0; i < 2 * args.count; i++) { shifts[i] = (int32_t)random_int(&random, 0, most); }
            args.x = x, args.baseline = baseline, args.masks = masks, args.shifts = shifts;
            args.rows = rows, args.columns = columns;
            expected_blend(&args, expected);
            void *block[] = {to_device(context, x, bytes),        to_device(context, baseline, bytes),
                             to_device(context, masks, of_masks), to_device(context, shifts, of_shifts),
                             to_device(context, rows, of_rows),   to_device(context, columns, of_columns)};
            const size_t sizes[] = {bytes, bytes, of_masks, of_shifts, of_rows, of_columns};
            args.x = block[0], args.baseline = block[1], args.masks = block[2], args.shifts = block[3];
            args.rows = block[4], args.columns = block[5], args.out = to_device(context, NULL, all);
            ok(context, context->device->backend->blend_inputs(context->device, &args));
            to_host(context, got, args.out, all);
            for (int b = 0; b < 6; b++) { context->device->backend->free(context->device, block[b], sizes[b]); }
            compare("blended inputs", round, true, got, expected, args.count * size);
            void *host[] = {x, baseline, expected, got, masks, shifts, rows, columns};
            for (int h = 0; h < 8; h++) { free(host[h]); }
        }
        if (context) { assert_int_equal(context->used, context->device->own_bytes); }
        spade_context_destroy(context);
    }
}

/* ---- seed */

/* F of a class, and dF/dz [n]. */
static double class_seed(int64_t n, spade_score score_of, int64_t class_index, const float *z, double *seed)
{
    memset(seed, 0, (size_t)n * sizeof *seed);
    if (score_of != SPADE_SCORE_SOFTMAX) { /* F is a function of one output */
        const double sign = n == 1 && class_index == 0 ? -1 : 1, logit = sign * z[n == 1 ? 0 : class_index];
        const double sigmoid = 1 / (1 + exp(-logit)), rest = 1 / (1 + exp(logit));
        const bool is_logit = score_of == SPADE_SCORE_LOGIT;
        seed[n == 1 ? 0 : class_index] = is_logit ? sign : sign * sigmoid * rest;
        return is_logit ? logit : sigmoid;
    }
    double largest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++) { largest = fmax(largest, z[j]); }
    for (int64_t j = 0; j < n; j++) { sum += exp(z[j] - largest); }
    double score = exp(z[class_index] - largest) / sum;
    for (int64_t j = 0; j < n; j++) { seed[j] = score * ((j == class_index) - exp(z[j] - largest) / sum); }
    return score;
}

static double expected_seed(const spade_seed_args *args, spade_seed_target target, const float *z, float *seed)
{
    enum { MAX_OUTPUTS = 1200 };
    double plus[MAX_OUTPUTS], minus[MAX_OUTPUTS] = {0}, value;
    value = class_seed(args->outputs, args->score, target.plus, z, plus);
    if (target.minus >= 0) { value -= class_seed(args->outputs, args->score, target.minus, z, minus); }
    for (int64_t j = 0; j < args->outputs; j++) {
        seed[j] = (float)((plus[j] - minus[j]) * (args->times_output ? z[j] : 1));
    }
    return value;
}

/* Every other one is a contrast. */
static spade_seed_target random_target(random_stream *random, int64_t classes)
{
    spade_seed_target target = {random_int(random, 0, classes - 1), -1};
    if (random_int(random, 0, 1)) { target.minus = (target.plus + random_int(random, 1, classes - 1)) % classes; }
    return target;
}

static void test_seed(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 816};
        for (int round = 0; context && round < ROUNDS; round++) {
            spade_seed_args args = {.batch = random_int(&random, 1, 9), .score = (spade_score)(round % 3)};
            args.outputs =
                round < 6 && round % 3 != SPADE_SCORE_SOFTMAX ? 1 : random_int(&random, 2, round % 3 ? 1200 : 40);
            args.times_output = args.score == SPADE_SCORE_LOGIT && round % 2;
            int64_t rows = args.batch, n = args.outputs;
            spade_seed_target targets[9];
            size_t bytes = (size_t)(rows * n) * sizeof(float), of_values = (size_t)rows * sizeof(double);
            float *z = make(bytes), *expected = make(bytes), *got = make(bytes);
            double values[9], alone[9], should[9];
            fill(&random, rows * n, z);
            for (int64_t i = 0; i < rows; i++) {
                targets[i] = random_target(&random, n == 1 ? 2 : n);
                z[i * n + random_int(&random, 0, n - 1)] *= 60; /* far apart: exp without the maximum would overflow */
                should[i] = expected_seed(&args, targets[i], z + i * n, expected + i * n);
            }
            void *dz = to_device(context, z, bytes), *dt = to_device(context, targets, sizeof targets);
            void *dseed = to_device(context, NULL, bytes), *dvalues = to_device(context, NULL, of_values);
            args.z = dz, args.targets = dt, args.seed = dseed, args.values = dvalues;
            ok(context, context->device->backend->seed(context->device, &args));
            to_host(context, got, dseed, bytes);
            to_host(context, values, dvalues, of_values);
            double *dalone = to_device(context, NULL, of_values); /* F without the seed: the same bits */
            args.seed = NULL, args.values = dalone;
            ok(context, context->device->backend->seed(context->device, &args));
            to_host(context, alone, dalone, of_values);
            context->device->backend->free(context->device, dz, bytes);
            context->device->backend->free(context->device, dt, sizeof targets);
            compare("seed", round, args.score == SPADE_SCORE_LOGIT || (d == 0 && args.score == SPADE_SCORE_SOFTMAX),
                    got, expected, rows * n);
            for (int64_t i = 0; i < rows; i++) { assert_true(fabs(values[i] - should[i]) <= 1e-12); }
            assert_memory_equal(values, alone, of_values);
            free(z);
            free(expected);
            free(got);
        }
        if (context) { assert_int_equal(context->used, context->device->own_bytes); }
        spade_context_destroy(context);
    }
}

/* ---- sums and maps */

static void expected_map(const float *gradients, const double *weight, int64_t count, double divisor, bool absolute,
                         const float *x, int64_t n, float *map)
{
    for (int64_t e = 0; e < n; e++) {
        double sum = 0;
        for (int64_t i = 0; i < count; i++) { sum += weight[i] * gradients[i * n + e]; }
        double value = (x ? x[e] * sum : sum) / divisor;
        map[e] = (float)(absolute ? fabs(value) : value);
    }
}

/* A sum in two calls, as of a class whose points lie in two micro-batches, then its map. */
static void test_sums_and_maps(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 817};
        for (int round = 0; context && round < ROUNDS; round++) {
            const spade_backend *backend = context->device->backend;
            double weight[SPADE_MAX_POINTS], divisor = round % 3 ? 1 : 13;
            int64_t n = draw_size(&random), count = round == 0 ? SPADE_MAX_POINTS : random_int(&random, 1, 9);
            int64_t first = random_int(&random, 1, count);
            bool absolute = round % 2, times_input = round % 4 > 1;
            size_t bytes = (size_t)n * sizeof(float), all = bytes * (size_t)count;
            float *x = make(bytes), *gradients = make(all), *expected = make(bytes), *got = make(bytes);
            fill(&random, n, x);
            fill(&random, n * count, gradients);
            for (int64_t i = 0; i < count; i++) { weight[i] = random_unit(&random) < 0.3 ? 1 : random_unit(&random); }
            expected_map(gradients, weight, count, divisor, absolute, times_input ? x : NULL, n, expected);
            void *dx = to_device(context, x, bytes), *dg = to_device(context, gradients, all);
            void *dsum = to_device(context, NULL, 2 * bytes), *dmap = to_device(context, NULL, bytes);
            ok(context, backend->sum_gradients(context->device, n, first, weight, dg, false, false, dsum));
            if (first < count) {
                ok(context, backend->sum_gradients(context->device, n, count - first, weight + first,
                                                   (float *)dg + first * n, false, true, dsum));
            }
            ok(context,
               backend->finish_map(context->device, n, dsum, times_input ? dx : NULL, divisor, absolute, dmap));
            to_host(context, got, dmap, bytes);
            context->device->backend->free(context->device, dx, bytes);
            context->device->backend->free(context->device, dg, all);
            context->device->backend->free(context->device, dsum, 2 * bytes);
            compare("map", round, true, got, expected, n);
            free(x);
            free(gradients);
            free(expected);
            free(got);
        }
        if (context) { assert_int_equal(context->used, context->device->own_bytes); }
        spade_context_destroy(context);
    }
}

/* variance: of `count` gradients; else the weighted sum of their squares over the divisor. */
static void expected_squares(const float *gradients, const double *weight, int64_t count, double divisor, bool variance,
                             int64_t n, float *map)
{
    for (int64_t e = 0; e < n; e++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < count; i++) {
            const double g = gradients[i * n + e];
            sum += weight[i] * g;
            squares += weight[i] * (g * g);
        }
        double value = squares / divisor - (variance ? (sum / divisor) * (sum / divisor) : 0);
        map[e] = (float)(value < 0 ? 0 : value);
    }
}

/* Sums of squares and variances in two calls, some of gradients that are all the same, whose variance is never below 0. */
static void test_squares_and_variances(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 818};
        for (int round = 0; context && round < ROUNDS; round++) {
            const spade_backend *backend = context->device->backend;
            const bool variance = round % 2, same = round % 6 == 5;
            double weight[SPADE_MAX_POINTS];
            int64_t n = draw_size(&random), count = round == 0 ? SPADE_MAX_POINTS : random_int(&random, 1, 9);
            const int64_t first = random_int(&random, 1, count);
            const double divisor = variance ? (double)count : 1 + random_unit(&random);
            size_t bytes = (size_t)n * sizeof(float), all = bytes * (size_t)count;
            float *gradients = make(all), *expected = make(bytes), *got = make(bytes);
            fill(&random, n * count, gradients);
            for (int64_t i = 0; i < count; i++) {
                weight[i] = variance ? 1 : random_unit(&random);
                if (same) { memcpy(gradients + i * n, gradients, bytes); }
            }
            expected_squares(gradients, weight, count, divisor, variance, n, expected);
            void *dg = to_device(context, gradients, all), *dmap = to_device(context, NULL, bytes);
            double *sums[2] = {to_device(context, NULL, 2 * bytes), to_device(context, NULL, 2 * bytes)};
            for (int squared = 0; squared < 2; squared++) {
                ok(context,
                   backend->sum_gradients(context->device, n, first, weight, dg, squared, false, sums[squared]));
                if (first == count) { continue; }
                ok(context, backend->sum_gradients(context->device, n, count - first, weight + first,
                                                   (float *)dg + first * n, squared, true, sums[squared]));
            }
            if (variance) {
                ok(context, backend->finish_variance(context->device, n, sums[0], sums[1], divisor, dmap));
            } else {
                ok(context, backend->finish_map(context->device, n, sums[1], NULL, divisor, false, dmap));
            }
            to_host(context, got, dmap, bytes);
            backend->free(context->device, dg, all);
            for (int i = 0; i < 2; i++) { backend->free(context->device, sums[i], 2 * bytes); }
            compare("squares", round, true, got, expected, n);
            for (int64_t e = 0; e < n; e++) { assert_true(got[e] >= 0 && (!same || got[e] < 1e-14)); }
            free(gradients);
            free(expected);
            free(got);
        }
        if (context) { assert_int_equal(context->used, context->device->own_bytes); }
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),        cmocka_unit_test(test_mask_inputs),
        cmocka_unit_test(test_blend_inputs),  cmocka_unit_test(test_seed),
        cmocka_unit_test(test_sums_and_maps), cmocka_unit_test(test_squares_and_variances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
