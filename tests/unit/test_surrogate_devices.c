/* test_surrogate_devices.c - LIME and KernelSHAP: against scikit-learn's Lasso (golden/data/lime.json, made by
 * golden/lime.py), Shapley values by their definition, the limit of many samples; superpixels by grid, SLIC and file; what
 * is refused. Runs on every device (SPADE_TEST_DEVICE). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "attribution/superpixels.h"
#include "attribution/surrogate.h"
#include "spade/spade.h"
#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"

/* ---- a network told by hand: x -> sigmoid -> flatten -> fc; the numbers are those of golden/lime.py */
enum { CHANNELS = 2, HEIGHT = 9, WIDTH = 14, PIXELS = HEIGHT * WIDTH, SIZE = CHANNELS * PIXELS, CLASSES = 3 };

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    float weights[CLASSES * SIZE], x[SIZE];
} fixture;

static void fixture_open(fixture *f)
{
    static const int64_t dims[2] = {CLASSES, SIZE};
    for (int i = 0; i < CLASSES * SIZE; i++) { f->weights[i] = (float)sin(1 + 0.37 * i); }
    for (int i = 0; i < SIZE; i++) { f->x[i] = (float)(2 * sin(0.5 + 1.7 * i)); }
    wire network = graph_of(CHANNELS, HEIGHT, WIDTH, CLASSES);
    put_node(&network, node_of("sigmoid", "Sigmoid", "x", "a"));
    put_node(&network, node_of("flatten", "Flatten", "a", "b"));
    put_tensor(&network, tensor_of("fc.weight", 2, dims, f->weights));
    put_node(&network, with_int(node_of("fc", "Gemm", "b fc.weight", "y"), "transB", 1));
    f->context = test_context(test_device(), 0);
    if (spade_model_load(f->context, test_save("surrogate.onnx", model_of(network)), NULL, &f->model) != SPADE_OK) {
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

static void attribute_well(const fixture *f, const char *method, const int64_t *classes, int n, float *maps)
{
    if (attribute(f, method, classes, n, maps) != SPADE_OK) { fail_msg("%s: %s", method, spade_message(f->context)); }
}

/* The coalition's bits say which segments are x's; the others are the baseline's. */
static double coalition_value(const fixture *f, const int *segment_of, uint32_t coalition, double baseline, int target)
{
    double z = 0;
    for (int e = 0; e < SIZE; e++) {
        const double value = coalition >> segment_of[e % PIXELS] & 1 ? f->x[e] : baseline;
        z += f->weights[target * SIZE + e] / (1 + exp(-value));
    }
    return z;
}

/* Every pixel has the value of its segment. */
static void compare_map(const char *what, const float *map, const int *segment_of, int segments, const double *should,
                        double tolerance)
{
    double largest = 0;
    for (int s = 0; s < segments; s++) { largest = fmax(largest, fabs(should[s])); }
    assert_true(largest > 1e-3);
    for (int p = 0; p < PIXELS; p++) {
        if (!(fabs(map[p] - should[segment_of[p]]) <= tolerance * largest)) {
            fail_msg("%s, pixel %d: %.7g, should be %.7g", what, p, (double)map[p], should[segment_of[p]]);
        }
    }
}

/* Rectangles as superpixels=grid makes them; returns their number. */
static int grid_segments(int wanted, int *segment_of)
{
    const double spacing = sqrt((double)PIXELS / wanted);
    const int rows = (int)round(HEIGHT / spacing), columns = (int)round((double)wanted / rows);
    for (int p = 0; p < PIXELS; p++) {
        segment_of[p] = p / WIDTH * rows / HEIGHT * columns + p % WIDTH * columns / WIDTH;
    }
    return rows * columns;
}

/* ---- LIME */

static void test_lime_is_scikit_learns(void **state)
{
    (void)state;
    static const int64_t classes[CLASSES] = {0, 1, 2};
    json_error_t error;
    json_t *data = json_load_file(SPADE_TEST_DATA "/lime.json", 0, &error), *one;
    assert_non_null(data);
    fixture f;
    size_t index;
    fixture_open(&f);
    assert_true(json_array_size(json_object_get(data, "cases")) >= 4);
    json_array_foreach(json_object_get(data, "cases"), index, one)
    {
        const char *method = json_string_value(json_object_get(one, "method"));
        int segment_of[PIXELS];
        float maps[CLASSES * PIXELS];
        const int count = grid_segments((int)strtol(strstr(method, "segments=") + 9, NULL, 10), segment_of);
        assert_int_equal(count, json_integer_value(json_object_get(one, "segments")));
        attribute_well(&f, method, classes, CLASSES, maps);
        for (int c = 0; c < CLASSES; c++) {
            const json_t *list = json_array_get(json_object_get(one, "coefficients"), (size_t)c);
            double should[PIXELS];
            assert_int_equal(json_array_size(list), count);
            for (int s = 0; s < count; s++) { should[s] = json_number_value(json_array_get(list, (size_t)s)); }
            compare_map(method, maps + c * PIXELS, segment_of, count, should, 1e-4);
        }
    }
    json_decref(data);
    fixture_close(&f);
}

/* The Lasso by another way, steps along the gradient, each followed by shrinking. */
static void plain_lasso(int n, const double *gram, const double *correlation, double alpha, double *w)
{
    double trace = 0;
    for (int i = 0; i < n; i++) { trace += gram[i * n + i]; }
    memset(w, 0, (size_t)n * sizeof *w);
    for (int round = 0; round < 20000; round++) {
        double next[32];
        for (int i = 0; i < n; i++) {
            double slope = -correlation[i];
            for (int k = 0; k < n; k++) { slope += gram[i * n + k] * w[k]; }
            const double moved = w[i] - slope / trace;
            next[i] = copysign(fmax(0, fabs(moved) - alpha / trace), moved);
        }
        memcpy(w, next, (size_t)n * sizeof *w);
    }
}

/* What LIME's coefficients tend to: every coalition once, for they are equally likely. */
static void lime_limit(const fixture *f, const int *segment_of, int segments, double alpha, double width, int target,
                       double *w)
{
    enum { MAX = 12 };
    const int all = 1 << segments;
    double sum = 0, mean_value = 0, mean[MAX] = {0}, gram[MAX * MAX] = {0}, correlation[MAX] = {0};
    double *weight = malloc(sizeof *weight * (size_t)all), *value = malloc(sizeof *value * (size_t)all);
    assert_true(segments <= MAX && weight && value);
    for (int i = 0; i < all; i++) {
        double dot = 0, whole = 0, square = 0;
        for (int e = 0; e < SIZE; e++) {
            const double kept = i >> segment_of[e % PIXELS] & 1 ? f->x[e] : 0;
            dot += kept * f->x[e];
            square += kept * kept;
            whole += (double)f->x[e] * f->x[e];
        }
        const double distance = square > 0 ? 1 - dot / sqrt(whole * square) : 1;
        weight[i] = exp(-distance * distance / (2 * width * width));
        value[i] = coalition_value(f, segment_of, (uint32_t)i, 0, target);
        sum += weight[i];
    }
    for (int i = 0; i < all; i++) {
        mean_value += weight[i] / sum * value[i];
        for (int s = 0; s < segments; s++) { mean[s] += weight[i] / sum * (i >> s & 1); }
    }
    for (int i = 0; i < all; i++) {
        for (int s = 0; s < segments; s++) {
            const double left = weight[i] / sum * ((i >> s & 1) - mean[s]);
            correlation[s] += left * (value[i] - mean_value);
            for (int k = 0; k < segments; k++) { gram[s * segments + k] += left * ((i >> k & 1) - mean[k]); }
        }
    }
    plain_lasso(segments, gram, correlation, alpha, w);
    free(weight);
    free(value);
}

/* Root mean square error over seeds and pixels of `method` with so many samples. */
static double sampling_error(const fixture *f, const char *method, const int *segment_of, const double *exact,
                             int target, int samples, int seeds)
{
    const int64_t class_index = target;
    double sum = 0;
    for (int seed = 0; seed < seeds; seed++) {
        char text[160];
        float map[PIXELS];
        snprintf(text, sizeof text, "%s:samples=%d:seed=%d", method, samples, seed);
        attribute_well(f, text, &class_index, 1, map);
        for (int p = 0; p < PIXELS; p++) {
            const double difference = map[p] - exact[segment_of[p]];
            sum += difference * difference;
        }
    }
    return sqrt(sum / PIXELS / seeds);
}

/* The error falls with the root of the number of samples: by 4 for 16 times as many. */
static void expect_convergence(const fixture *f, const char *method, const int *segment_of, const double *exact,
                               int target, int samples)
{
    const int seeds = test_is_emulated() ? 10 : 30;
    const double few = sampling_error(f, method, segment_of, exact, target, samples, seeds);
    const double many = sampling_error(f, method, segment_of, exact, target, 16 * samples, seeds);
    print_message("%s: error of %d samples %g, of %d %g\n", method, samples, few, 16 * samples, many);
    assert_true(few / many > 2.8 && few / many < 5.6);
}

static void test_lime_converges(void **state)
{
    (void)state;
    int segment_of[PIXELS];
    double exact[12];
    fixture f;
    fixture_open(&f);
    assert_int_equal(grid_segments(12, segment_of), 12);
    lime_limit(&f, segment_of, 12, 0.02, 0.5, 1, exact);
    expect_convergence(&f, "lime:superpixels=grid:segments=12:alpha=0.02:kernel_width=0.5", segment_of, exact, 1, 128);
    fixture_close(&f);
}

/* The Lasso on random problems, some singular: the conditions of its minimum. */
static void test_lasso_conditions(void **state)
{
    (void)state;
    enum { MOST = 20, ROWS = 15 };
    for (uint32_t round = 0; round < 50; round++) {
        const int n = 1 + (int)(round % MOST);
        double rows[ROWS * MOST], gram[MOST * MOST] = {0}, correlation[MOST] = {0}, w[MOST], scratch[MOST];
        const double alpha = 0.01 + 0.02 * (round % 7);
        for (int i = 0; i < ROWS * n; i++) { rows[i] = pseudo_random(round, (uint32_t)i); }
        for (int i = 0; round % 3 == 0 && i < ROWS; i++) { rows[i * n] = 0; } /* a column without a word */
        for (int r = 0; r < ROWS; r++) {
            for (int i = 0; i < n; i++) {
                correlation[i] += rows[r * n + i] * pseudo_random(99 + round, (uint32_t)r) / ROWS;
                for (int k = 0; k < n; k++) { gram[i * n + k] += rows[r * n + i] * rows[r * n + k] / ROWS; }
            }
        }
        assert_true(surrogate_lasso(n, gram, correlation, alpha, w, scratch));
        for (int i = 0; i < n; i++) {
            double slope = -correlation[i];
            for (int k = 0; k < n; k++) { slope += gram[i * n + k] * w[k]; }
            if (w[i] != 0) {
                assert_true(fabs(slope + copysign(alpha, w[i])) < 1e-8);
            } else {
                assert_true(fabs(slope) < alpha + 1e-8);
            }
        }
    }
}

/* ---- KernelSHAP */

/* 10 segments of odd shapes, with numbers that are neither in order nor without gaps, saved as a file. */
static const char *save_segmentation(int *segment_of)
{
    static const int64_t dims[2] = {HEIGHT, WIDTH};
    float labels[PIXELS];
    for (int p = 0; p < PIXELS; p++) {
        segment_of[p] = (p * p / 7 + p / WIDTH) % 10;
        labels[p] = (float)(37 * segment_of[p] - 100); /* in the same order */
    }
    const char *path = test_write("segments.npy", "", 0);
    spade_context *context = test_context("cpu", 1);
    assert_int_equal(spade_array_save(context, path, labels, 2, dims), SPADE_OK);
    spade_context_destroy(context);
    return path;
}

/* By the definition: the mean over all orders of what a segment adds to those before it. */
static void shapley_values(const fixture *f, const int *segment_of, double baseline, int target, double phi[10])
{
    static double value[1024];
    double factorial[11] = {1};
    for (int k = 1; k <= 10; k++) { factorial[k] = k * factorial[k - 1]; }
    for (uint32_t s = 0; s < 1024; s++) { value[s] = coalition_value(f, segment_of, s, baseline, target); }
    for (int i = 0; i < 10; i++) {
        phi[i] = 0;
        for (uint32_t s = 0; s < 1024; s++) {
            if (s >> i & 1) { continue; }
            const int size = __builtin_popcount(s);
            phi[i] += factorial[size] * factorial[9 - size] / factorial[10] * (value[s | 1U << i] - value[s]);
        }
    }
}

/* A game whose players are not additive: the score. */
static double score_value(const fixture *f, const int *segment_of, uint32_t coalition, int target)
{
    double sum = 0;
    const double own = coalition_value(f, segment_of, coalition, 0, target);
    for (int c = 0; c < CLASSES; c++) { sum += exp(coalition_value(f, segment_of, coalition, 0, c) - own); }
    return 1 / sum;
}

static void shapley_scores(const fixture *f, const int *segment_of, int target, double phi[10])
{
    static double value[1024];
    memset(phi, 0, 10 * sizeof *phi);
    for (uint32_t s = 0; s < 1024; s++) { value[s] = score_value(f, segment_of, s, target); }
    for (uint32_t s = 0; s < 1024; s++) {
        const int size = __builtin_popcount(s);
        double sets = 1; /* C(9, size) */
        for (int k = 1; k <= size; k++) { sets = sets * (10 - k) / k; }
        for (int i = 0; i < 10; i++) {
            if (!(s >> i & 1)) { phi[i] += (value[s | 1U << i] - value[s]) / sets / 10; }
        }
    }
}

static void test_shapley_values(void **state)
{
    (void)state;
    static const int64_t classes[2] = {2, 0};
    int segment_of[PIXELS];
    char method[256];
    float maps[2 * PIXELS];
    double phi[10];
    fixture f;
    fixture_open(&f);
    const char *path = save_segmentation(segment_of);
    snprintf(method, sizeof method, "kernel_shap:samples=1022:baseline=0.75:segmentation='%s'", path);
    attribute_well(&f, method, classes, 2, maps);
    for (int c = 0; c < 2; c++) {
        shapley_values(&f, segment_of, 0.75, (int)classes[c], phi);
        compare_map(method, maps + c * PIXELS, segment_of, 10, phi, 2e-5);
    }
    snprintf(method, sizeof method, "kernel_shap:samples=1022:output=scores:segmentation='%s'", path);
    attribute_well(&f, method, classes, 2, maps);
    for (int c = 0; c < 2; c++) {
        shapley_scores(&f, segment_of, (int)classes[c], phi);
        compare_map(method, maps + c * PIXELS, segment_of, 10, phi, 1e-4);
    }
    /* one sample less: random coalitions; the sum is still what it has to be */
    snprintf(method, sizeof method, "kernel_shap:samples=1021:output=scores:segmentation='%s'", path);
    attribute_well(&f, method, classes, 1, maps);
    shapley_scores(&f, segment_of, (int)classes[0], phi);
    double sum = 0, error = 0, first[10];
    for (int p = 0; p < PIXELS; p++) { first[segment_of[p]] = maps[p]; }
    for (int s = 0; s < 10; s++) {
        sum += first[s] - phi[s];
        error = fmax(error, fabs(first[s] - phi[s]));
    }
    assert_true(fabs(sum) < 1e-5 && error > 1e-5);
    fixture_close(&f);
}

/* The map of a class does not depend on the classes beside it. */
static void test_kernel_shap_class_by_class(void **state)
{
    (void)state;
    static const int64_t classes[CLASSES] = {2, 0, 1};
    float together[CLASSES * PIXELS], alone[PIXELS];
    char method[128];
    fixture f;
    fixture_open(&f);
    for (int samples = 20; samples < 120; samples += 2) {
        snprintf(method, sizeof method, "kernel_shap:superpixels=grid:segments=40:samples=%d", samples);
        attribute_well(&f, method, classes, CLASSES, together);
        for (int c = 0; c < CLASSES; c++) {
            attribute_well(&f, method, &classes[c], 1, alone);
            assert_memory_equal(alone, together + c * PIXELS, sizeof alone);
        }
    }
    fixture_close(&f);
}

static void test_kernel_shap_converges(void **state)
{
    (void)state;
    int segment_of[PIXELS];
    char method[256];
    double phi[10];
    fixture f;
    fixture_open(&f);
    const char *path = save_segmentation(segment_of);
    snprintf(method, sizeof method, "kernel_shap:output=scores:segmentation='%s'", path);
    shapley_scores(&f, segment_of, 1, phi);
    expect_convergence(&f, method, segment_of, phi, 1, 62);
    fixture_close(&f);
}

/* Fewer samples than superpixels: still a map whose superpixels sum to what they have to; a single one as well. */
static void test_few_samples(void **state)
{
    (void)state;
    const int64_t target = 1;
    int segment_of[PIXELS];
    fixture f;
    fixture_open(&f);
    const int segments = grid_segments(12, segment_of);
    for (int samples = 1; samples <= 5; samples += 2) {
        char method[96];
        float map[PIXELS], of_segment[12];
        double sum = 0;
        snprintf(method, sizeof method, "kernel_shap:superpixels=grid:segments=12:samples=%d", samples);
        attribute_well(&f, method, &target, 1, map);
        for (int p = 0; p < PIXELS; p++) { of_segment[segment_of[p]] = map[p]; }
        for (int s = 0; s < segments; s++) { sum += of_segment[s]; }
        const double whole = coalition_value(&f, segment_of, 0xfff, 0, 1) - coalition_value(&f, segment_of, 0, 0, 1);
        assert_true(fabs(sum - whole) < 1e-4 * fabs(whole));
        snprintf(method, sizeof method, "lime:superpixels=grid:segments=12:samples=%d", samples);
        attribute_well(&f, method, &target, 1, map);
        for (int p = 0; samples == 1 && p < PIXELS; p++) { assert_true(map[p] == 0); }
    }
    fixture_close(&f);
}

/* ---- SLIC */

/* Pixels of a segment that can be reached from its first one. */
static int reachable(const int32_t *segment_of, int64_t height, int64_t width, int64_t first)
{
    int64_t *queue = malloc(sizeof *queue * (size_t)(height * width));
    bool *seen = calloc((size_t)(height * width), sizeof *seen);
    int64_t size = 1;
    assert_true(queue && seen);
    queue[0] = first;
    seen[first] = true;
    for (int64_t i = 0; i < size; i++) {
        const int64_t y = queue[i] / width, x = queue[i] % width;
        static const int steps[4][2] = {{-1, 0}, {1, 0}, {0, -1}, {0, 1}};
        for (int k = 0; k < 4; k++) {
            const int64_t row = y + steps[k][0], column = x + steps[k][1], p = row * width + column;
            if (row < 0 || row >= height || column < 0 || column >= width) { continue; }
            if (seen[p] || segment_of[p] != segment_of[first]) { continue; }
            seen[p] = true;
            queue[size++] = p;
        }
    }
    free(queue);
    free(seen);
    return (int)size;
}

static void expect_connected(const int32_t *segment_of, int64_t height, int64_t width, int64_t count)
{
    int sizes[512] = {0};
    int64_t first[512];
    assert_true(count <= 512);
    for (int64_t p = height * width - 1; p >= 0; p--) {
        assert_true(segment_of[p] >= 0 && segment_of[p] < count);
        sizes[segment_of[p]]++;
        first[segment_of[p]] = p;
    }
    for (int64_t s = 0; s < count; s++) {
        assert_true(sizes[s] > 0);
        assert_int_equal(reachable(segment_of, height, width, first[s]), sizes[s]);
    }
}

static attribution_job slic_job(spade_context *context, int64_t channels, int64_t height, int64_t width, const float *x)
{
    return (attribution_job){.context = context,
                             .method = "a test",
                             .channels = channels,
                             .height = height,
                             .width = width,
                             .size = channels * height * width,
                             .input = x};
}

static void test_slic(void **state)
{
    (void)state;
    enum { SIDE = 48, ALL = 3 * SIDE * SIDE };
    static float x[ALL];
    static int32_t segment_of[SIDE * SIDE];
    int64_t count;
    spade_context *context = test_context("cpu", 1);
    /* flat parts whose borders are not those of the rectangles to begin with: found to the pixel */
    for (int e = 0; e < ALL; e++) {
        const int y = e / SIDE % SIDE, column = e % SIDE;
        const int part = (y >= 19) * 2 + (column >= 28);
        x[e] = (float)(part * (e / (SIDE * SIDE) + 1) % 5);
    }
    attribution_job job = slic_job(context, 3, SIDE, SIDE, x);
    assert_int_equal(attribution_slic_segments(&job, 4, 0.01, segment_of, &count), SPADE_OK);
    assert_int_equal(count, 4);
    for (int p = 0; p < SIDE * SIDE; p++) { assert_int_equal(segment_of[p], (p / SIDE >= 19) * 2 + (p % SIDE >= 28)); }
    /* noise: connected, about as many as asked for; where only distance counts, near the rectangles */
    for (int e = 0; e < ALL; e++) { x[e] = pseudo_random(3, (uint32_t)e); }
    for (int wanted = 2; wanted <= 60; wanted += 29) {
        assert_int_equal(attribution_slic_segments(&job, wanted, 1, segment_of, &count), SPADE_OK);
        expect_connected(segment_of, SIDE, SIDE, count);
        print_message("%d superpixels asked for, %d found\n", wanted, (int)count);
        assert_true(count >= wanted / 2 && count <= 2 * wanted);
    }
    assert_int_equal(attribution_slic_segments(&job, 16, 1000, segment_of, &count), SPADE_OK);
    assert_int_equal(count, 16);
    for (int p = 0; p < SIDE * SIDE; p++) { assert_int_equal(segment_of[p], p / SIDE / 12 * 4 + p % SIDE / 12); }
    /* one colour, odd sizes, more superpixels than pixels */
    for (int e = 0; e < ALL; e++) { x[e] = 2; }
    static const int sizes[][2] = {{1, 1}, {1, 7}, {5, 1}, {3, 48}, {7, 5}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        job = slic_job(context, 2, sizes[i][0], sizes[i][1], x);
        assert_int_equal(attribution_slic_segments(&job, 6, 0.1, segment_of, &count), SPADE_OK);
        expect_connected(segment_of, sizes[i][0], sizes[i][1], count);
    }
    spade_context_destroy(context);
}

/* ---- files and refusals */

static const char *save_labels(const char *name, const char *descr, int64_t height, int64_t width, const void *data,
                               size_t bytes)
{
    char header[128 + 8 * PIXELS];
    memset(header, ' ', 128);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    const int length = snprintf(header + 10, 118, "{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d), }", descr,
                                (int)height, (int)width);
    header[10 + length] = ' ';
    header[127] = '\n';
    assert_true(bytes <= 8 * PIXELS);
    memcpy(header + 128, data, bytes);
    return test_write(name, header, 128 + bytes);
}

/* The same segments in every type of numbers, and as colours of a picture. */
static void test_segmentation_files(void **state)
{
    (void)state;
    const int64_t target = 2;
    uint8_t bytes[PIXELS], pixels[3 * PIXELS];
    int16_t shorts[PIXELS];
    int64_t longs[PIXELS];
    double doubles[PIXELS];
    float expected[PIXELS], map[PIXELS];
    char method[256];
    fixture f;
    fixture_open(&f);
    for (int p = 0; p < PIXELS; p++) {
        const int segment = (p / 3 + p / WIDTH) % 6;
        bytes[p] = (uint8_t)(40 * segment);
        shorts[p] = (int16_t)(segment - 3);
        longs[p] = segment * INT64_C(1000000000000) - INT64_C(2000000000000);
        doubles[p] = 2.0 * segment - 5;
        pixels[3 * p] = (uint8_t)segment, pixels[3 * p + 1] = (uint8_t)(250 - segment), pixels[3 * p + 2] = 7;
    }
    const char *picture = test_write("segments.png", "", 0);
    assert_int_equal(spade_png_save(f.context, picture, pixels, HEIGHT, WIDTH, 3), SPADE_OK);
    const char *paths[] = {save_labels("u1.npy", "|u1", HEIGHT, WIDTH, bytes, sizeof bytes),
                           save_labels("i2.npy", "<i2", HEIGHT, WIDTH, shorts, sizeof shorts),
                           save_labels("i8.npy", "<i8", HEIGHT, WIDTH, longs, sizeof longs),
                           save_labels("f8.npy", "<f8", HEIGHT, WIDTH, doubles, sizeof doubles), picture};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        snprintf(method, sizeof method, "lime:samples=40:segmentation='%s'", paths[i]);
        attribute_well(&f, method, &target, 1, i ? map : expected);
        if (i) { assert_memory_equal(map, expected, sizeof map); }
    }
    fixture_close(&f);
}

static void expect_refusal(const fixture *f, const char *method, spade_status status, const char *says)
{
    const int64_t target = 0;
    float map[PIXELS];
    const uint64_t used = f->context->used;
    assert_int_equal(attribute(f, method, &target, 1, map), status);
    if (!strstr(spade_message(f->context), says)) { fail_msg("%s", spade_message(f->context)); }
    assert_null(strchr(spade_message(f->context), '\n'));
    if (status == SPADE_ERROR_INPUT) { assert_int_equal(f->context->used, used); }
}

/* More than 256 labels in a grey picture would become one; JPEG makes many colours of one. */
static void test_inexact_segmentations(void **state)
{
    (void)state;
    static const char *const saved[] = {"grey_16.png", "rgb_16.png", "baseline_444.jpg", "lossy.webp"};
    char method[512];
    char pnm[32 + 2 * PIXELS];
    fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof saved / sizeof *saved; i++) {
        snprintf(method, sizeof method, "lime:segmentation='" SPADE_TEST_DATA "/decoding/%s'", saved[i]);
        expect_refusal(&f, method, SPADE_ERROR_INPUT, "pixels of a segment would not keep one colour");
    }
    snprintf(method, sizeof method, "lime:segmentation='" SPADE_TEST_DATA "/decoding/lossless.webp'");
    expect_refusal(&f, method, SPADE_ERROR_INPUT, "give it in that size"); /* read, and of another size */
    const int header = snprintf(pnm, sizeof pnm, "P5 %d %d 65535\n", WIDTH, HEIGHT);
    for (int p = 0; p < PIXELS; p++) { pnm[header + 2 * p] = (char)(p / WIDTH), pnm[header + 2 * p + 1] = 0; }
    const char *path = test_write("segments.pgm", pnm, (size_t)header + 2 * PIXELS);
    snprintf(method, sizeof method, "kernel_shap:segmentation='%s'", path);
    expect_refusal(&f, method, SPADE_ERROR_INPUT, "segments.pgm: pixels of a segment would not keep one colour");
    fixture_close(&f);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"lime:samples=0", "lime: samples: 0 is not from 1 to 100000"},
        {"kernel_shap:samples=0", "kernel_shap: samples: 0 is not from 1 to 100000"},
        {"kernel_shap:segments=1", "kernel_shap: segments: 1 is not from 2 to 2000"},
        {"lime:superpixels=quick", "lime: superpixels: 'quick' is none of slic|grid"},
        {"lime:alpha=0.0", "lime: alpha: 0.0 is not from 1e-09 to 1e+06"},
        {"kernel_shap:segmentation=", "kernel_shap: segmentation: the name of a file is needed"},
    };
    uint8_t same[PIXELS] = {0};
    double halves[PIXELS];
    int16_t different[PIXELS];
    char method[256];
    fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        spade_attribution *attribution;
        assert_int_equal(spade_attribution_create(f.context, texts[i][0], &attribution), SPADE_ERROR_ARGUMENT);
        assert_string_equal(spade_message(f.context), texts[i][1]);
    }
    for (int p = 0; p < PIXELS; p++) {
        halves[p] = p / 2.0;
        different[p] = (int16_t)p;
    }
    const struct {
        const char *path, *says;
    } files[] = {
        {save_labels("one.npy", "|u1", HEIGHT, WIDTH, same, sizeof same), "one.npy: one segment, there must be two"},
        {save_labels("size.npy", "|u1", WIDTH, HEIGHT, same, sizeof same),
         "size.npy: a segmentation of 9 x 14, the network's input is 14 x 9"},
        {save_labels("halves.npy", "<f8", HEIGHT, WIDTH, halves, sizeof halves),
         "halves.npy: element [0, 1] is not a whole number"},
        {save_labels("short.npy", "<i2", HEIGHT, WIDTH, different, sizeof different - 2), "short.npy: 250 bytes"},
        {save_labels("type.npy", "<c8", HEIGHT, WIDTH, different, sizeof different), "expected whole numbers"},
        {test_write("text.png", "no picture", 10), "text.png"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(method, sizeof method, "%s:segmentation='%s'", i % 2 ? "lime" : "kernel_shap", files[i].path);
        expect_refusal(&f, method, SPADE_ERROR_INPUT, files[i].says);
    }
    expect_refusal(&f, "lime:segmentation=/nowhere/at_all.npy", SPADE_ERROR_INPUT, "/nowhere/at_all.npy");
    fixture_close(&f);
}

/* A picture of one pixel has one superpixel. */
static void test_one_superpixel(void **state)
{
    (void)state;
    static const int64_t dims[2] = {2, 3};
    const int64_t target = 0;
    const float x[3] = {1, 2, 3};
    float map[1];
    spade_model *model;
    wire network = graph_of(3, 1, 1, 2);
    put_node(&network, node_of("flatten", "Flatten", "x", "b"));
    put_tensor(&network, tensor_random("fc.weight", 2, dims, 4));
    put_node(&network, with_int(node_of("fc", "Gemm", "b fc.weight", "y"), "transB", 1));
    spade_context *context = test_context(test_device(), 0);
    assert_int_equal(spade_model_load(context, test_save("one.onnx", model_of(network)), NULL, &model), SPADE_OK);
    static const char *const methods[] = {"lime", "kernel_shap:superpixels=grid"};
    for (int i = 0; i < 2; i++) {
        spade_attribution *attribution;
        assert_int_equal(spade_attribution_create(context, methods[i], &attribution), SPADE_OK);
        assert_int_equal(spade_attribute(context, model, NULL, attribution, x, targets_of(&target, 1), 1, map, NULL),
                         SPADE_ERROR_INPUT);
        assert_non_null(strstr(spade_message(context), "the 1 x 1 input is one superpixel, there must be two or more"));
        spade_attribution_destroy(attribution);
    }
    spade_model_destroy(model);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lime_is_scikit_learns),
        cmocka_unit_test(test_lime_converges),
        cmocka_unit_test(test_lasso_conditions),
        cmocka_unit_test(test_shapley_values),
        cmocka_unit_test(test_kernel_shap_class_by_class),
        cmocka_unit_test(test_kernel_shap_converges),
        cmocka_unit_test(test_few_samples),
        cmocka_unit_test(test_slic),
        cmocka_unit_test(test_segmentation_files),
        cmocka_unit_test(test_inexact_segmentations),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_one_superpixel),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_remove_folder();
    return failed;
}
