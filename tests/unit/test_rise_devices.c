/* test_rise_devices.c - RISE: against plain loops over masks drawn again here; its mean over all masks, told exactly on a
 * linear network, and how fast samples come near it; what it refuses. Runs on every device (SPADE_TEST_DEVICE). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "spade/spade.h"
#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"

enum { CHANNELS = 2, HEIGHT = 9, WIDTH = 14, PIXELS = HEIGHT * WIDTH, SIZE = CHANNELS * PIXELS, CLASSES = 3 };

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    bool linear;
    float weights[CLASSES * SIZE], x[SIZE];
} fixture;

/* x [-> sigmoid] -> flatten -> fc */
static void fixture_open(fixture *f, bool linear)
{
    static const int64_t dims[2] = {CLASSES, SIZE};
    f->linear = linear;
    for (int i = 0; i < CLASSES * SIZE; i++) { f->weights[i] = pseudo_random(1, (uint32_t)i); }
    for (int i = 0; i < SIZE; i++) { f->x[i] = 3 * pseudo_random(2, (uint32_t)i); }
    wire network = graph_of(CHANNELS, HEIGHT, WIDTH, CLASSES);
    if (!linear) { put_node(&network, node_of("sigmoid", "Sigmoid", "x", "a")); }
    put_node(&network, node_of("flatten", "Flatten", linear ? "x" : "a", "b"));
    put_tensor(&network, tensor_of("fc.weight", 2, dims, f->weights));
    put_node(&network, with_int(node_of("fc", "Gemm", "b fc.weight", "y"), "transB", 1));
    f->context = test_context(test_device(), 0);
    if (spade_model_load(f->context, test_save("rise.onnx", model_of(network)), NULL, &f->model) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
}

static void fixture_close(fixture *f)
{
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

static spade_status attribute(const fixture *f, const char *method, const int64_t *classes, int n, float *maps)
{
    spade_attribution *attribution;
    if (spade_attribution_create(f->context, method, &attribution) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    spade_status status =
        spade_attribute(f->context, f->model, NULL, attribution, f->x, targets_of(classes, n), n, maps, NULL);
    spade_attribution_destroy(attribution);
    return status;
}

static double class_value(const fixture *f, const double *image, int class_index, bool softmax)
{
    double z[CLASSES] = {0}, sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        for (int i = 0; i < SIZE; i++) {
            z[c] += f->weights[c * SIZE + i] * (f->linear ? image[i] : 1 / (1 + exp(-image[i])));
        }
    }
    for (int c = 0; c < CLASSES; c++) { sum += exp(z[c] - z[class_index]); }
    return softmax ? 1 / sum : z[class_index];
}

/* ---- masks, once more: the enlarged grid as a sum over its cells, each a tent about its centre */

/* How much cell `cell` of `grid` counts at position i of `size`; beyond the outermost centres the grid is mirrored there. */
static double tent(int cell, int i, int grid, int size)
{
    double at = (i + 0.5) / size * grid - 0.5;
    if (at < 0) { at = -at; }
    if (at > grid - 1) { at = grid - 1 - (at - (grid - 1)); }
    return fmax(0, 1 - fabs(at - cell));
}

/* shares [grid, length]: of each cell at the positions from `shift` on. */
static void find_shares(int grid, int length, int shift, double *shares)
{
    const int cell_size = (length + grid - 1) / grid;
    for (int cell = 0; cell < grid; cell++) {
        for (int i = 0; i < length; i++) {
            shares[cell * length + i] = tent(cell, shift + i, grid, (grid + 1) * cell_size);
        }
    }
}

static void draw(uint64_t key, uint32_t image, uint32_t block, double out[2])
{
    const uint32_t words[2] = {(uint32_t)key, (uint32_t)(key >> 32)}, counter[4] = {image, block, 0, 1};
    uint32_t random[4];
    spade_philox(words, counter, random);
    out[0] = spade_uniform(random[0], random[1]);
    out[1] = spade_uniform(random[2], random[3]);
}

enum { MAX_GRID = 9 };
static void make_mask(const fixture *f, uint64_t seed, int image, int grid, double probability, double *mask)
{
    const uint64_t key = spade_hash(f->x, sizeof f->x, seed);
    double uniform[2], rows[MAX_GRID * HEIGHT], columns[MAX_GRID * WIDTH];
    draw(key, (uint32_t)image, 0, uniform);
    find_shares(grid, HEIGHT, (int)floor(uniform[0] * ((HEIGHT + grid - 1) / grid)), rows);
    find_shares(grid, WIDTH, (int)floor(uniform[1] * ((WIDTH + grid - 1) / grid)), columns);
    memset(mask, 0, PIXELS * sizeof *mask);
    for (int cell = 0; cell < grid * grid; cell++) {
        draw(key, (uint32_t)image, 1 + (uint32_t)cell / 2, uniform);
        if (uniform[cell % 2] >= probability) { continue; }
        for (int p = 0; p < PIXELS; p++) {
            mask[p] += rows[cell / grid * HEIGHT + p / WIDTH] * columns[cell % grid * WIDTH + p % WIDTH];
        }
    }
}

static void test_plain_loops(void **state)
{
    (void)state;
    static const struct {
        int samples, grid;
        double probability, baseline;
        bool softmax;
        int seed;
    } cases[] = {
        {1, 7, 0.5, 0, false, 0},   {37, 7, 0.5, 0, true, 0},      {64, 4, 0.3, -0.5, false, 5},
        {100, 2, 0.9, 0, false, 1}, {21, 9, 0.05, 1.5, false, 77}, {16, 5, 0.99, 0, true, 2},
    };
    static const int64_t classes[2] = {2, 0};
    fixture f;
    fixture_open(&f, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        float maps[2 * PIXELS];
        double should[2 * PIXELS] = {0}, largest = 0;
        snprintf(text, sizeof text, "rise:samples=%d:grid=%d:probability=%g:baseline=%g:output=%s:seed=%d",
                 cases[i].samples, cases[i].grid, cases[i].probability, cases[i].baseline,
                 cases[i].softmax ? "scores" : "logits", cases[i].seed);
        if (attribute(&f, text, classes, 2, maps) != SPADE_OK) { fail_msg("%s", spade_message(f.context)); }
        for (int sample = 0; sample < cases[i].samples; sample++) {
            double mask[PIXELS], image[SIZE];
            make_mask(&f, (uint64_t)cases[i].seed, sample, cases[i].grid, cases[i].probability, mask);
            for (int e = 0; e < SIZE; e++) {
                image[e] = mask[e % PIXELS] * f.x[e] + (1 - mask[e % PIXELS]) * cases[i].baseline;
            }
            for (int c = 0; c < 2; c++) {
                const double value = class_value(&f, image, (int)classes[c], cases[i].softmax);
                for (int p = 0; p < PIXELS; p++) {
                    should[c * PIXELS + p] += value * mask[p] / cases[i].samples / cases[i].probability;
                }
            }
        }
        for (int e = 0; e < 2 * PIXELS; e++) { largest = fmax(largest, fabs(should[e])); }
        assert_true(largest > 1e-3);
        for (int e = 0; e < 2 * PIXELS; e++) {
            if (!(fabs(maps[e] - should[e]) <= 1e-4 * largest)) {
                fail_msg("%s, number %d: %g, should be %g", text, e, (double)maps[e], should[e]);
            }
        }
    }
    fixture_close(&f);
}

/* ---- the mean over all masks, for a linear F = w x: E[F(m x) m(q)] / P = sum over p of w_p x_p E[m(p) m(q)] / P, and by
 * the cells' independence E[m(p) m(q)] = P^2 + P (1 - P) * the mean over the places of a cut of sum over cells of their
 * shares at p and q. */
static void exact_mean(const fixture *f, int grid, double probability, double *map)
{
    const int row_shifts = (HEIGHT + grid - 1) / grid, column_shifts = (WIDTH + grid - 1) / grid;
    double contribution[PIXELS] = {0}, sum = 0;
    for (int e = 0; e < SIZE; e++) { contribution[e % PIXELS] += (double)f->weights[e] * f->x[e]; }
    for (int p = 0; p < PIXELS; p++) { sum += contribution[p]; }
    for (int q = 0; q < PIXELS; q++) { map[q] = probability * sum; }
    for (int shift = 0; shift < row_shifts * column_shifts; shift++) {
        double rows[MAX_GRID * HEIGHT], columns[MAX_GRID * WIDTH];
        find_shares(grid, HEIGHT, shift / column_shifts, rows);
        find_shares(grid, WIDTH, shift % column_shifts, columns);
        for (int cell = 0; cell < grid * grid; cell++) {
            const double *row = rows + cell / grid * HEIGHT, *column = columns + cell % grid * WIDTH;
            double covered = 0;
            for (int p = 0; p < PIXELS; p++) { covered += contribution[p] * row[p / WIDTH] * column[p % WIDTH]; }
            for (int q = 0; q < PIXELS; q++) {
                map[q] += (1 - probability) * covered * row[q / WIDTH] * column[q % WIDTH] / row_shifts / column_shifts;
            }
        }
    }
}

/* Root mean square error of maps of so many samples, over pixels and seeds. */
static double sampling_error(const fixture *f, const double *exact, int samples, int seeds)
{
    const int64_t target = 0;
    double sum = 0;
    for (int seed = 0; seed < seeds; seed++) {
        float map[PIXELS];
        char text[64];
        snprintf(text, sizeof text, "rise:samples=%d:grid=3:seed=%d", samples, seed);
        if (attribute(f, text, &target, 1, map) != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
        for (int p = 0; p < PIXELS; p++) { sum += (map[p] - exact[p]) * (map[p] - exact[p]); }
    }
    return sqrt(sum / PIXELS / seeds);
}

static void test_convergence(void **state)
{
    (void)state;
    double exact[PIXELS];
    fixture f;
    fixture_open(&f, true);
    exact_mean(&f, 3, 0.5, exact);
    const int seeds = test_is_emulated() ? 12 : 40;
    const double few = sampling_error(&f, exact, 32, seeds), many = sampling_error(&f, exact, 512, seeds);
    print_message("error of 32 samples %g, of 512 %g\n", few, many);
    assert_true(few / many > 2.8 && few / many < 5.6); /* 4: the root of 16 */
    fixture_close(&f);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"rise:samples=0", "rise: samples: 0 is not from 1 to 100000"},
        {"rise:grid=1", "rise: grid: 1 is not from 2 to 64"},
        {"rise:probability=1.0", "rise: probability: 1.0 is not from 0.01 to 0.99"},
    };
    const int64_t good = 0, bad = CLASSES;
    float map[PIXELS];
    fixture f;
    fixture_open(&f, false);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        spade_attribution *attribution;
        assert_int_equal(spade_attribution_create(f.context, texts[i][0], &attribution), SPADE_ERROR_ARGUMENT);
        assert_string_equal(spade_message(f.context), texts[i][1]);
    }
    assert_int_equal(attribute(&f, "rise:samples=2:grid=10", &good, 1, map), SPADE_ERROR_ARGUMENT);
    assert_string_equal(spade_message(f.context),
                        "rise: grid=10: the input is 14 x 9, a grid has at most 9 cells a side");
    assert_int_equal(attribute(&f, "rise:samples=2", &bad, 1, map), SPADE_ERROR_ARGUMENT);
    assert_string_equal(spade_message(f.context), "class 3: the network has the classes 0 to 2");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_loops),
        cmocka_unit_test(test_convergence),
        cmocka_unit_test(test_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_remove_folder();
    return failed;
}
