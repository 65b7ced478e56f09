/*
 * test_averages_devices.c - maps that are averages over points: gradient_shap and integrated gradients from every kind of
 * baseline, against plain loops and closed forms, and how fast samples come near them; baselines of methods that replace
 * parts of the picture; smoothed maps; methods that share a walk; what is refused. Runs on every device (SPADE_TEST_DEVICE).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "backend/backend.h"
#include "spade/spade.h"
#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"

enum { CHANNELS = 3, HEIGHT = 11, WIDTH = 14, PIXELS = HEIGHT * WIDTH, SIZE = CHANNELS * PIXELS, CLASSES = 3 };

static const double mean[3] = {0.5, 0.4, 0.25}, std[3] = {0.25, 0.2, 0.5};

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_preprocess preprocess;
    float weights[CLASSES * SIZE], x[SIZE];
} fixture;

/* x -> sigmoid -> flatten -> fc: what a value adds to F depends on it alone, so that integrals are known. */
static void fixture_open(fixture *f, int threads)
{
    static const int64_t dims[2] = {CLASSES, SIZE};
    for (int i = 0; i < CLASSES * SIZE; i++) { f->weights[i] = pseudo_random(1, (uint32_t)i); }
    for (int i = 0; i < SIZE; i++) { f->x[i] = 3 * pseudo_random(2, (uint32_t)i); }
    wire network = graph_of(CHANNELS, HEIGHT, WIDTH, CLASSES);
    put_node(&network, node_of("sigmoid", "Sigmoid", "x", "a"));
    put_node(&network, node_of("flatten", "Flatten", "a", "b"));
    put_tensor(&network, tensor_of("fc.weight", 2, dims, f->weights));
    put_node(&network, with_int(node_of("fc", "Gemm", "b fc.weight", "y"), "transB", 1));
    f->context = test_context(test_device(), threads);
    if (spade_model_load(f->context, test_save("averages.onnx", model_of(network)), NULL, &f->model) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    spade_preprocess_init(&f->preprocess, HEIGHT, WIDTH);
    memcpy(f->preprocess.mean, mean, sizeof mean);
    memcpy(f->preprocess.std, std, sizeof std);
}

static void fixture_close(fixture *f)
{
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

static spade_status try_method(const fixture *f, const char *method, const int64_t *classes, int n, float *maps,
                               spade_map_note *notes)
{
    spade_attribution *attribution;
    spade_status status = spade_attribution_create(f->context, method, &attribution);
    if (status != SPADE_OK) { return status; }
    status = spade_attribution_set_preprocess(f->context, attribution, &f->preprocess);
    if (status == SPADE_OK) {
        status = spade_attribute(f->context, f->model, NULL, attribution, f->x, targets_of(classes, n), n, maps, notes);
    }
    spade_attribution_destroy(attribution);
    return status;
}

static void attribute(const fixture *f, const char *method, const int64_t *classes, int n, float *maps,
                      spade_map_note *notes)
{
    if (try_method(f, method, classes, n, maps, notes) != SPADE_OK) {
        fail_msg("%s: %s", method, spade_message(f->context));
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double slope(double x)
{
    return sigmoid(x) * (1 - sigmoid(x));
}

static void compare(const char *what, const float *map, const double *should, int n, double tolerance)
{
    double largest = 0;
    for (int e = 0; e < n; e++) { largest = fmax(largest, fabs(should[e])); }
    assert_true(largest > 1e-3);
    for (int e = 0; e < n; e++) {
        if (!(fabs(map[e] - should[e]) <= tolerance * largest)) {
            fail_msg("%s, number %d: %g, should be %g", what, e, (double)map[e], should[e]);
        }
    }
}

/* ---- random numbers, drawn once more */
static void draw(const fixture *f, uint64_t seed, uint32_t sample, uint32_t block, uint32_t stream, uint32_t out[4])
{
    const uint64_t key = spade_hash(f->x, sizeof f->x, seed);
    const uint32_t words[2] = {(uint32_t)key, (uint32_t)(key >> 32)}, counter[4] = {sample, block, 0, stream};
    spade_philox(words, counter, out);
}

static double draw_noise(const fixture *f, uint64_t seed, uint32_t sample, int e)
{
    const uint64_t key = spade_hash(f->x, sizeof f->x, seed);
    const uint32_t words[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    const uint32_t counter[4] = {sample, (uint32_t)e / 2, 0, 0};
    double pair[2];
    spade_normal(words, counter, pair);
    return pair[e % 2];
}

/* Uniform from black to white. */
static double draw_random(const fixture *f, uint64_t seed, uint32_t sample, int e)
{
    const int c = e / PIXELS;
    uint32_t random[4];
    draw(f, seed, sample, (uint32_t)e / 4, 4, random);
    return ((random[e % 4] + 0.5) / 4294967296.0 - mean[c]) / std[c];
}

static double range_of(const fixture *f)
{
    double low = f->x[0], high = f->x[0];
    for (int e = 1; e < SIZE; e++) {
        low = fmin(low, f->x[e]);
        high = fmax(high, f->x[e]);
    }
    return high - low;
}

/* ---- baselines, once more */
enum { PICTURES = 3 };

/* A file of baselines, normalised. */
static const char *save_array(const char *name, int count, int height, const float *values)
{
    const char *path = test_write(name, "", 0);
    const int64_t dims[4] = {count, CHANNELS, height, WIDTH};
    fixture f = {.context = test_context("cpu", 1)};
    assert_int_equal(spade_array_save(f.context, path, values, count == 1 ? 3 : 4, count == 1 ? dims + 1 : dims),
                     SPADE_OK);
    spade_context_destroy(f.context);
    return path;
}

static const char *save_picture(const char *name, int height, uint8_t *rgb)
{
    const char *path = test_write(name, "", 0);
    fixture f = {.context = test_context("cpu", 1)};
    for (int i = 0; i < height * WIDTH * 3; i++) { rgb[i] = (uint8_t)(i * 37 % 256); }
    assert_int_equal(spade_png_save(f.context, path, rgb, height, WIDTH, 3), SPADE_OK);
    spade_context_destroy(f.context);
    return path;
}

/* The Gaussian as one sum over the mirrored plane. */
static double blurred(const fixture *f, int c, int row, int column)
{
    const double deviation = HEIGHT / 20.0;
    const int radius = (int)floor(4 * deviation + 0.5);
    double sum = 0, weights = 0;
    for (int dy = -radius; dy <= radius; dy++) {
        for (int dx = -radius; dx <= radius; dx++) {
            const double weight = exp(-(dx * dx + dy * dy) / (2 * deviation * deviation));
            int y = row + dy, x = column + dx;
            y = y < 0 ? -1 - y : y >= HEIGHT ? 2 * HEIGHT - 1 - y : y;
            x = x < 0 ? -1 - x : x >= WIDTH ? 2 * WIDTH - 1 - x : x;
            sum += weight * f->x[c * PIXELS + y * WIDTH + x];
            weights += weight;
        }
    }
    return sum / weights;
}

typedef struct baseline {
    const char *text;
    double values[SIZE];
} baseline;
enum { KINDS = 7 };

static void make_baselines(const fixture *f, baseline kinds[KINDS])
{
    static uint8_t rgb[PIXELS * 3];
    static float values[SIZE];
    static const char *const words[] = {"0", "-0.75", "mean", "black", "blur"};
    for (int e = 0; e < SIZE; e++) { values[e] = pseudo_random(5, (uint32_t)e); }
    for (size_t k = 0; k < sizeof words / sizeof *words; k++) { kinds[k].text = words[k]; }
    kinds[5].text = save_array("baseline.npy", 1, HEIGHT, values);
    kinds[6].text = save_picture("baseline.png", HEIGHT, rgb);
    for (int e = 0; e < SIZE; e++) {
        const int c = e / PIXELS, p = e % PIXELS;
        double sum = 0;
        for (int q = 0; q < PIXELS; q++) { sum += f->x[c * PIXELS + q]; }
        kinds[0].values[e] = 0;
        kinds[1].values[e] = -0.75;
        kinds[2].values[e] = sum / PIXELS;
        kinds[3].values[e] = -mean[c] / std[c]; /* RGB 0 */
        kinds[4].values[e] = blurred(f, c, p / WIDTH, p % WIDTH);
        kinds[5].values[e] = values[e];
        kinds[6].values[e] = (rgb[3 * p + c] / 255.0 - mean[c]) / std[c];
    }
}

static double value_at(const fixture *f, const double *image, int class_index)
{
    double z = 0;
    for (int e = 0; e < SIZE; e++) { z += f->weights[class_index * SIZE + e] * sigmoid(image[e]); }
    return z;
}

/* The integral along the line is w * (sigmoid(x) - sigmoid(b)), whatever the line. */
static void test_integrated_gradients(void **state)
{
    (void)state;
    static const int64_t classes[2] = {2, 0};
    static float maps[2 * SIZE];
    static double should[2 * SIZE];
    static baseline kinds[KINDS + 1];
    fixture f;
    fixture_open(&f, 0);
    make_baselines(&f, kinds);
    kinds[KINDS].text = "random:seed=9";
    for (int e = 0; e < SIZE; e++) { kinds[KINDS].values[e] = draw_random(&f, 9, 0, e); }
    for (int k = 0; k <= KINDS; k++) {
        char text[400];
        spade_map_note notes[2];
        snprintf(text, sizeof text, "integrated_gradients:steps=20:baseline=%s", kinds[k].text);
        attribute(&f, text, classes, 2, maps, notes);
        for (int i = 0; i < 2 * SIZE; i++) {
            const int e = i % SIZE;
            should[i] = f.weights[classes[i / SIZE] * SIZE + e] * (sigmoid(f.x[e]) - sigmoid(kinds[k].values[e]));
        }
        compare(text, maps, should, 2 * SIZE, 1e-5);
        for (int c = 0; c < 2; c++) { assert_true(fabs(notes[c].delta) < 1e-4); }
        /* few steps miss something, and the note says how much */
        snprintf(text, sizeof text, "integrated_gradients:steps=1:baseline=%s", kinds[k].text);
        attribute(&f, text, classes, 2, maps, notes);
        for (int c = 0; c < 2; c++) {
            double sum = 0, x[SIZE];
            for (int e = 0; e < SIZE; e++) { sum += maps[c * SIZE + e], x[e] = f.x[e]; }
            const double delta = value_at(&f, x, (int)classes[c]) - value_at(&f, kinds[k].values, (int)classes[c]);
            assert_true(fabs(sum - delta) > 1e-3 && fabs(notes[c].delta - (sum - delta)) < 1e-4);
        }
    }
    fixture_close(&f);
}

/* ---- GradientSHAP */
static void test_gradient_shap(void **state)
{
    (void)state;
    static const int64_t classes[2] = {1, 2};
    static float given[PICTURES * SIZE], maps[2 * SIZE];
    for (int i = 0; i < PICTURES * SIZE; i++) { given[i] = 2 * pseudo_random(6, (uint32_t)i); }
    const char *file = save_array("baselines.npy", PICTURES, HEIGHT, given);
    const struct {
        int samples;
        double sigma;
        const char *baseline;
        int seed;
    } cases[] = {{1, 0, "random", 0}, {19, 0.2, "random", 3}, {8, 0.1, file, 0}, {33, 0, file, 5}, {5, 0.3, "0.5", 1}};
    fixture f;
    fixture_open(&f, 0);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char text[400];
        static double should[2 * SIZE];
        const double deviation = cases[k].sigma * range_of(&f);
        memset(should, 0, sizeof should);
        snprintf(text, sizeof text, "gradient_shap:samples=%d:sigma=%g:seed=%d:baseline=%s", cases[k].samples,
                 cases[k].sigma, cases[k].seed, cases[k].baseline);
        attribute(&f, text, classes, 2, maps, NULL);
        for (int sample = 0; sample < cases[k].samples; sample++) {
            uint32_t random[4];
            draw(&f, (uint64_t)cases[k].seed, (uint32_t)sample, 0, 5, random);
            const double share = spade_uniform(random[0], random[1]);
            const int which = (int)(spade_uniform(random[2], random[3]) * PICTURES);
            for (int i = 0; i < 2 * SIZE; i++) {
                const int e = i % SIZE;
                const double to = f.x[e] + deviation * draw_noise(&f, (uint64_t)cases[k].seed, (uint32_t)sample, e);
                double from = 0.5;
                if (cases[k].baseline == file) { from = given[which * SIZE + e]; }
                if (strcmp(cases[k].baseline, "random") == 0) {
                    from = draw_random(&f, (uint64_t)cases[k].seed, (uint32_t)sample, e);
                }
                const double gradient = f.weights[classes[i / SIZE] * SIZE + e] * slope(from + share * (to - from));
                should[i] += (to - from) * gradient / cases[k].samples;
            }
        }
        compare(text, maps, should, 2 * SIZE, 1e-5);
    }
    fixture_close(&f);
}

/* Root mean square error of maps of so many samples, over values and seeds. */
static double sampling_error(const fixture *f, const char *kind, const double *exact, int samples, int seeds)
{
    static float map[SIZE];
    const int64_t target = 0;
    double sum = 0;
    for (int seed = 0; seed < seeds; seed++) {
        char text[400];
        snprintf(text, sizeof text, "gradient_shap:samples=%d:seed=%d:baseline=%s", samples, seed, kind);
        attribute(f, text, &target, 1, map, NULL);
        for (int e = 0; e < SIZE; e++) { sum += pow(map[e] - exact[e], 2); }
    }
    return sqrt(sum / (SIZE * seeds));
}

/* softplus, the integral of the sigmoid */
static double softplus(double x)
{
    return log1p(exp(x));
}

/* Sixteen times the samples, a quarter of the error: to w * (sigmoid(x) - the mean of sigmoid(b) over baselines). */
static void test_convergence(void **state)
{
    (void)state;
    static double exact[SIZE], exact_given[SIZE];
    static float given[PICTURES * SIZE];
    const int seeds = test_is_emulated() ? 6 : 24;
    fixture f;
    fixture_open(&f, 0);
    for (int i = 0; i < PICTURES * SIZE; i++) { given[i] = 2 * pseudo_random(6, (uint32_t)i); }
    const char *file = save_array("baselines.npy", PICTURES, HEIGHT, given);
    for (int e = 0; e < SIZE; e++) {
        const int c = e / PIXELS;
        const double low = -mean[c] / std[c], high = (1 - mean[c]) / std[c];
        exact[e] = f.weights[e] * (sigmoid(f.x[e]) - (softplus(high) - softplus(low)) / (high - low));
        double sum = 0;
        for (int k = 0; k < PICTURES; k++) { sum += sigmoid(given[k * SIZE + e]) / PICTURES; }
        exact_given[e] = f.weights[e] * (sigmoid(f.x[e]) - sum);
    }
    for (int k = 0; k < 2; k++) {
        const char *name = k ? file : "random";
        const double few = sampling_error(&f, name, k ? exact_given : exact, 16, seeds);
        const double many = sampling_error(&f, name, k ? exact_given : exact, 256, seeds);
        if (!(many < 0.35 * few && many > 0.17 * few)) { fail_msg("%s: errors %g and %g", name, few, many); }
    }
    fixture_close(&f);
}

/* ---- methods that replace parts of the picture */

/* One window that is the whole picture, or all superpixels together: F(x) - F(b). */
static void test_replaced_parts(void **state)
{
    (void)state;
    static const int64_t classes[2] = {2, 0};
    static baseline kinds[KINDS];
    static float maps[2 * PIXELS];
    fixture f;
    fixture_open(&f, 0);
    make_baselines(&f, kinds);
    for (int k = 0; k < KINDS; k++) {
        char text[400];
        double x[SIZE];
        for (int e = 0; e < SIZE; e++) { x[e] = f.x[e]; }
        snprintf(text, sizeof text, "kernel_shap:superpixels=grid:segments=4:baseline=%s", kinds[k].text);
        attribute(&f, text, classes, 2, maps, NULL);
        for (int c = 0; c < 2; c++) {
            double sum = 0; /* over superpixels of 6 or 5 rows and 7 columns */
            const int corners[4] = {0, WIDTH - 1, PIXELS - WIDTH, PIXELS - 1};
            for (int corner = 0; corner < 4; corner++) { sum += maps[c * PIXELS + corners[corner]]; }
            const double should = value_at(&f, x, (int)classes[c]) - value_at(&f, kinds[k].values, (int)classes[c]);
            if (!(fabs(sum - should) < 1e-4)) { fail_msg("%s: %g, should be %g", text, sum, should); }
        }
        snprintf(text, sizeof text, "occlusion:window=%d:stride=%d:baseline=%s", HEIGHT, HEIGHT, kinds[k].text);
        attribute(&f, text, classes, 2, maps, NULL);
        for (int c = 0; c < 2; c++) { /* the first window has the first HEIGHT columns */
            for (int e = 0; e < SIZE; e++) { x[e] = e % WIDTH < HEIGHT ? kinds[k].values[e] : f.x[e]; }
            const double replaced = value_at(&f, x, (int)classes[c]);
            for (int e = 0; e < SIZE; e++) { x[e] = f.x[e]; }
            const double should = value_at(&f, x, (int)classes[c]) - replaced;
            if (!(fabs(maps[c * PIXELS] - should) < 1e-4)) {
                fail_msg("%s: %g, should be %g", text, (double)maps[c * PIXELS], should);
            }
        }
    }
    fixture_close(&f);
}

/* A file of a constant says what the number says. */
static void test_constant_file(void **state)
{
    (void)state;
    static const char *const methods[] = {"integrated_gradients:steps=5",
                                          "gradient_shap:samples=7:sigma=0.1",
                                          "occlusion",
                                          "rise:samples=10:grid=3",
                                          "lime:samples=30:superpixels=grid:segments=6",
                                          "kernel_shap:samples=30:superpixels=grid:segments=6"};
    static const int64_t classes[2] = {2, 0};
    static float constant[SIZE], one[2 * SIZE], other[2 * SIZE];
    fixture f;
    fixture_open(&f, 0);
    for (int e = 0; e < SIZE; e++) { constant[e] = 0.625f; }
    const char *file = save_array("constant.npy", 1, HEIGHT, constant);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        char text[400];
        memset(one, 0, sizeof one);
        memset(other, 0, sizeof other);
        snprintf(text, sizeof text, "%s:baseline=0.625", methods[m]);
        attribute(&f, text, classes, 2, one, NULL);
        snprintf(text, sizeof text, "%s:baseline=%s", methods[m], file);
        attribute(&f, text, classes, 2, other, NULL);
        assert_memory_equal(one, other, sizeof one);
        attribute(&f, methods[m], classes, 2, other, NULL);
        assert_memory_not_equal(one, other, sizeof one);
    }
    fixture_close(&f);
}

/* ---- the same bits */

static void test_threads_and_classes(void **state)
{
    (void)state;
    static const char *const methods[] = {
        "gradient_shap:samples=21:sigma=0.1", "gradient_shap:samples=10:baseline=blur",
        "integrated_gradients:steps=9:baseline=black", "integrated_gradients:steps=9:baseline=random"};
    static const int64_t classes[3] = {2, 0, 1};
    static float together[3 * SIZE], alone[SIZE];
    fixture two, one;
    fixture_open(&two, 2);
    fixture_open(&one, 1);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        attribute(&two, methods[m], classes, 3, together, NULL);
        for (int c = 0; c < 3; c++) {
            attribute(&one, methods[m], &classes[c], 1, alone, NULL);
            assert_memory_equal(alone, together + c * SIZE, sizeof alone);
        }
    }
    fixture_close(&two);
    fixture_close(&one);
}

/* ---- smoothed maps */

static double copy_value(const fixture *f, uint64_t seed, double sigma, int sample, int e)
{
    return f->x[e] + sigma * range_of(f) * draw_noise(f, seed, (uint32_t)sample, e);
}

static void test_smooth(void **state)
{
    (void)state;
    enum { SAMPLES = 9 };
    static const int64_t classes[2] = {2, 0};
    static float maps[2 * SIZE], other[2 * SIZE];
    static double should[2 * SIZE];
    fixture f;
    fixture_open(&f, 0);
    /* of a method whose map is known: x * gradient at the copies */
    attribute(&f, "smooth:samples=9:sigma=0.2:seed=4:of=input_x_gradient", classes, 2, maps, NULL);
    for (int i = 0; i < 2 * SIZE; i++) {
        should[i] = 0;
        for (int sample = 0; sample < SAMPLES; sample++) {
            const double x = copy_value(&f, 4, 0.2, sample, i % SIZE);
            should[i] += x * f.weights[classes[i / SIZE] * SIZE + i % SIZE] * slope(x) / SAMPLES;
        }
    }
    compare("smooth of input_x_gradient", maps, should, 2 * SIZE, 1e-5);
    /* of the gradient it is SmoothGrad; in quotes other options may follow */
    attribute(&f, "smooth:of=\"smoothgrad:samples=1:sigma=0\":samples=9:sigma=0.3", classes, 2, maps, NULL);
    attribute(&f, "smoothgrad:samples=9:sigma=0.3", classes, 2, other, NULL);
    for (int i = 0; i < 2 * SIZE; i++) { should[i] = other[i]; }
    compare("smooth of the gradient", maps, should, 2 * SIZE, 1e-5);
    /* without noise it is the map itself, output and seed too, and small maps stay small */
    attribute(&f, "smooth:samples=3:sigma=0:seed=5:output=scores:of=rise:samples=10:grid=3", classes, 2, maps, NULL);
    attribute(&f, "rise:samples=10:grid=3:seed=5:output=scores", classes, 2, other, NULL);
    for (int i = 0; i < 2 * PIXELS; i++) { assert_true(fabs(maps[i] - other[i]) <= 1e-6 * fabs(other[i])); }
    fixture_close(&f);
}

/* What is missing from the sum: the mean over the copies. A map has the kind of the method inside. */
static void test_smooth_notes(void **state)
{
    (void)state;
    static const int64_t classes[2] = {1, 2};
    static float maps[2 * SIZE];
    spade_map_note notes[2];
    fixture f;
    fixture_open(&f, 0);
    attribute(&f, "smooth:samples=4:sigma=0.2:of=integrated_gradients:steps=1:baseline=-0.5", classes, 2, maps, notes);
    for (int c = 0; c < 2; c++) {
        static double x[SIZE], from[SIZE];
        double sum = 0, difference = 0;
        for (int e = 0; e < SIZE; e++) { sum += maps[c * SIZE + e]; }
        for (int sample = 0; sample < 4; sample++) {
            for (int e = 0; e < SIZE; e++) { x[e] = copy_value(&f, 0, 0.2, sample, e), from[e] = -0.5; }
            difference += (value_at(&f, x, (int)classes[c]) - value_at(&f, from, (int)classes[c])) / 4;
        }
        assert_true(fabs(notes[c].delta) > 1e-3 && fabs(notes[c].delta - (sum - difference)) < 1e-4);
    }
    attribute(&f, "smooth:samples=2:of=saliency", classes, 2, maps, notes);
    assert_true(isnan(notes[0].delta) && isnan(notes[1].delta));
    static const struct {
        const char *method;
        unsigned flags;
    } cases[] = {
        {"smooth:of=saliency", SPADE_METHOD_RANDOM},
        {"smooth:of=occlusion:window=3", SPADE_METHOD_SIGNED | SPADE_METHOD_RANDOM},
        {"smooth:of='integrated_gradients'", SPADE_METHOD_SIGNED | SPADE_METHOD_COMPLETENESS | SPADE_METHOD_RANDOM},
        {"smoothgrad", SPADE_METHOD_SIGNED | SPADE_METHOD_SLOPE | SPADE_METHOD_RANDOM}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spade_attribution *method;
        assert_int_equal(spade_attribution_create(f.context, cases[i].method, &method), SPADE_OK);
        assert_int_equal(spade_attribution_flags(method), cases[i].flags);
        spade_attribution_destroy(method);
    }
    spade_attribution *smooth;
    assert_int_equal(spade_attribution_create(f.context, "smooth:samples=6:of=smoothgrad:samples=7", &smooth),
                     SPADE_OK);
    assert_true(spade_attribution_passes(f.model, smooth) == 42);
    spade_attribution_destroy(smooth);
    fixture_close(&f);
}

/* ---- methods that share a walk: a table that counts and hands on. State of this one test program. */
static const spade_backend *counted;
static int walks;

static spade_status count_seed(spade_device *device, const spade_seed_args *args)
{
    walks += args->seed != NULL;
    return counted->seed(device, args);
}

enum { TOGETHER = 3 };

/* Methods that share a walk: the maps are what each makes alone, the walks as many as one of them makes. */
static void check_family(const fixture *f, const char *const *names, int count, const char *const *strangers)
{
    static const int64_t classes[2] = {2, 1};
    static float together[TOGETHER][2 * SIZE], alone[2 * SIZE];
    float *const maps[TOGETHER] = {together[0], together[1], together[2]};
    const spade_attribution *list[TOGETHER];
    spade_attribution *methods[TOGETHER], *other;
    spade_map_note notes[2 * TOGETHER];
    for (int m = 0; m < count; m++) {
        assert_int_equal(spade_attribution_create(f->context, names[m], &methods[m]), SPADE_OK);
        assert_true(spade_attributions_share(methods[0], methods[m]) &&
                    spade_attributions_share(methods[m], methods[0]));
        list[m] = methods[m];
    }
    walks = 0;
    spade_status status =
        spade_attribute_together(f->context, f->model, NULL, list, count, f->x, targets_of(classes, 2), 2, maps, notes);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    const int shared = walks;
    for (int m = 0; m < count; m++) {
        int64_t shape[3];
        assert_int_equal(spade_attribution_map_shape(f->context, f->model, methods[m], shape), SPADE_OK);
        status = spade_attribute(f->context, f->model, NULL, methods[m], f->x, targets_of(classes, 2), 2, alone, NULL);
        assert_int_equal(status, SPADE_OK);
        assert_memory_equal(alone, together[m], sizeof(float) * (size_t)(2 * shape[0] * shape[1] * shape[2]));
        for (int c = 0; c < 2; c++) { assert_true(isnan(notes[2 * m + c].delta)); }
    }
    assert_true(shared > 0 && walks == shared * (count + 1));
    for (; *strangers; strangers++) {
        assert_int_equal(spade_attribution_create(f->context, *strangers, &other), SPADE_OK);
        assert_false(spade_attributions_share(methods[0], other));
        const spade_attribution *const pair[2] = {methods[0], other};
        assert_int_equal(
            spade_attribute_together(f->context, f->model, NULL, pair, 2, f->x, targets_of(classes, 2), 2, maps, NULL),
            SPADE_ERROR_ARGUMENT);
        spade_attribution_destroy(other);
    }
    for (int m = 0; m < count; m++) { spade_attribution_destroy(methods[m]); }
}

static void test_together(void **state)
{
    (void)state;
    static const char *const noisy[] = {"vargrad:samples=21:sigma=0.1:seed=3", "smoothgrad:samples=21:sigma=0.1:seed=3",
                                        "smoothgrad_squared:samples=21:sigma=0.1:seed=3"};
    static const char *const other_noise[] = {"smoothgrad:samples=20:sigma=0.1:seed=3",
                                              "smoothgrad:samples=21:sigma=0.1:seed=2",
                                              "smoothgrad:samples=21:sigma=0.1:seed=3:output=scores",
                                              "gradient_shap:samples=21:sigma=0.1:seed=3",
                                              "saliency",
                                              NULL};
    static const char *const plain[] = {"saliency", "input_x_gradient"};
    static const char *const other_gradients[] = {"input_x_gradient:output=scores", "guided_backprop", "smoothgrad",
                                                  NULL};
    static const char *const layer[] = {"gradcam", "gradcam++:epsilon=0.1", "layercam"};
    static const char *const other_layers[] = {"layercam:layer=conv1", "gradcam:upsample=none", "gradcam:output=scores",
                                               "guided_gradcam", NULL};
    fixture f;
    fixture_open(&f, 0);
    counted = f.context->device->backend;
    spade_backend table = *counted;
    table.seed = count_seed;
    table.capture_begin = NULL; /* a graph_launch would be one call */
    f.context->device->backend = &table;
    check_family(&f, noisy, TOGETHER, other_noise);
    check_family(&f, plain, 2, other_gradients);
    check_family(&f, layer, TOGETHER, other_layers);
    f.context->device->backend = counted;
    fixture_close(&f);
}

/* ---- what is refused */

static void expect(const fixture *f, const char *method, const char *says)
{
    static float maps[SIZE];
    const int64_t target = 0;
    if (try_method(f, method, &target, 1, maps, NULL) == SPADE_OK) { fail_msg("%s: no error", method); }
    if (!strstr(spade_message(f->context), says)) {
        fail_msg("%s: '%s', should say '%s'", method, spade_message(f->context), says);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static float values[2 * SIZE];
    static uint8_t rgb[PIXELS * 3];
    char text[400];
    fixture f;
    fixture_open(&f, 0);
    expect(&f, "gradient_shap:samples=0", "gradient_shap: samples: 0 is not from 1 to 10000");
    expect(&f, "smooth:samples=0:of=saliency", "smooth: samples: 0 is not from 1 to 10000");
    expect(&f, "smooth:of=", "smooth: of: the name of a method is needed");
    expect(&f, "smooth:of=gradcan:layer=x", "smooth: of: unknown method 'gradcan' (there are saliency, ");
    expect(&f, "smooth:of=saliency:sigma=1", "smooth: of: saliency: no option 'sigma'");
    expect(&f, "smooth:of=smooth", "smooth: of=smooth: a method cannot be inside of itself");
    expect(&f, "smooth:of=smooth:of=saliency", "smooth: of=smooth:of=saliency: a method cannot be inside of itself");
    expect(&f, "smooth:of=occlusion:window=50", "smooth: occlusion: window=50: the input is 14 x 11");
    expect(&f, "smooth:of=\"saliency\"x", "smooth: of: unknown method 'saliencyx'");
    expect(&f, "gradient_shap:baseline=1e7", "gradient_shap: baseline: 1e7 is not from");
    expect(&f, "gradient_shap:baseline=", "gradient_shap: baseline: the name of a file is needed");
    expect(
        &f, "integrated_gradients:baseline=blakc",
        "integrated_gradients: baseline=blakc: no number, none of mean|black|blur|random, and as a file: No such file");
    expect(&f, "occlusion:baseline=there_is_none.npy", "occlusion: baseline=there_is_none.npy: no number, none of");
    snprintf(text, sizeof text, "rise:baseline=%s", save_array("tall.npy", 1, HEIGHT - 1, values));
    expect(&f, text, "tall.npy: a baseline [3, 10, 14], the network's input is [3, 11, 14]: give it in that size");
    snprintf(text, sizeof text, "lime:baseline=%s", save_picture("tall.png", HEIGHT - 1, rgb));
    expect(&f, text, "tall.png: a baseline of 14 x 10, the network's input is 14 x 11");
    snprintf(text, sizeof text, "integrated_gradients:baseline=%s", save_array("two.npy", 2, HEIGHT, values));
    expect(&f, text, "two.npy: 2 baselines, there must be one (gradient_shap takes several)");

    static float map[SIZE];
    const int64_t target = 0;
    spade_attribution *black;
    assert_int_equal(spade_attribution_create(f.context, "kernel_shap:baseline=black", &black), SPADE_OK);
    assert_int_equal(spade_attribute(f.context, f.model, NULL, black, f.x, targets_of(&target, 1), 1, map, NULL),
                     SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(f.context), "baseline=black: how pictures are normalised was not said"));
    f.preprocess.channels = 1;
    assert_int_equal(spade_attribution_set_preprocess(f.context, black, &f.preprocess), SPADE_OK);
    assert_int_equal(spade_attribute(f.context, f.model, NULL, black, f.x, targets_of(&target, 1), 1, map, NULL),
                     SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(f.context), "the network's input has 3 channels"));
    spade_attribution_destroy(black);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integrated_gradients),
        cmocka_unit_test(test_gradient_shap),
        cmocka_unit_test(test_convergence),
        cmocka_unit_test(test_replaced_parts),
        cmocka_unit_test(test_constant_file),
        cmocka_unit_test(test_threads_and_classes),
        cmocka_unit_test(test_smooth),
        cmocka_unit_test(test_smooth_notes),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
