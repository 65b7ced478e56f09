/* test_attribution_devices.c - quadrature, noise, and the methods' properties on the golden network: their bits, what they ask of
 * the device, what they take of the budget. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/device.h"
#include "attribution/registry.h"
#include "spade/spade.h"

static spade_context *open_context(int threads)
{
    spade_context_options options;
    spade_context *context = NULL;
    spade_context_options_init(&options);
    options.device = test_device();
    options.threads = threads;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    return context;
}

/* An n-point rule is exact for polynomials up to degree 2n-1: integral of x^d on [0, 1] is 1/(d+1). */
static void test_quadrature(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 7, 50, 200};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int n = sizes[s];
        double nodes[200], weights[200];
        attribution_gauss_legendre(n, nodes, weights);
        for (int degree = 0; degree < 2 * n && degree < 60; degree++) {
            double sum = 0;
            for (int i = 0; i < n; i++) { sum += weights[i] * pow(nodes[i], degree); }
            assert_true(fabs(sum - 1.0 / (degree + 1)) < 1e-13);
        }
        for (int i = 1; i < n; i++) { assert_true(nodes[i] > nodes[i - 1]); }
    }
}

/* Standard normal numbers of a sample: [n], n even or not. */
static void draw_noise(uint32_t key, uint32_t sample, int64_t n, double *out)
{
    const uint32_t keys[2] = {key, 0};
    for (int64_t i = 0; i < n; i += 2) {
        const uint32_t counter[4] = {sample, (uint32_t)(i / 2), 0, 0};
        double pair[2];
        spade_normal(keys, counter, pair);
        out[i] = pair[0];
        if (i + 1 < n) { out[i + 1] = pair[1]; }
    }
}

static void test_noise(void **state)
{
    (void)state;
    enum { N = 100001 };
    static double noise[N], again[N];
    double mean = 0, square = 0;
    draw_noise(42, 3, N, noise);
    draw_noise(42, 3, 10, again);
    assert_memory_equal(noise, again, 10 * sizeof *noise); /* a number depends on its place only */
    for (int i = 0; i < N; i++) {
        assert_true(isfinite(noise[i]));
        mean += noise[i] / N;
        square += noise[i] * noise[i] / N;
    }
    assert_true(fabs(mean) < 0.02 && fabs(square - 1) < 0.02);
    draw_noise(42, 4, 10, again);
    assert_true(again[0] != noise[0]);
}

static void test_names(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    for (int i = 0; i < SPADE_METHOD_COUNT; i++) {
        spade_method found;
        assert_int_equal(spade_method_find(&context, spade_method_name((spade_method)i), &found), SPADE_OK);
        assert_int_equal(found, i);
    }
    spade_method method;
    assert_int_equal(spade_method_find(&context, "gradcam", &method), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(context.message, "integrated_gradients"));
    assert_false(spade_method_signed(SPADE_SALIENCY));
}

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_array inputs;
    int64_t size;
} fixture;

static void fixture_open(fixture *f, int threads)
{
    f->context = open_context(threads);
    spade_status status = spade_model_load(f->context, SPADE_TEST_DATA "/models/scene_resnet.onnx", NULL, &f->model);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    f->inputs = (spade_array){0};
    assert_int_equal(spade_array_load(f->context, SPADE_TEST_DATA "/arrays/inputs.npy", 0, &f->inputs), SPADE_OK);
    f->size = spade_array_size(&f->inputs) / f->inputs.dims[0];
}

static void fixture_close(fixture *f)
{
    spade_array_clear(&f->inputs);
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

static float *maps_of(fixture *f, spade_attribution_options *options, const int64_t *classes, int n, double *deltas)
{
    float *maps = calloc((size_t)n * (size_t)f->size, sizeof *maps);
    assert_non_null(maps);
    spade_status status =
        spade_attribute(f->context, f->model, NULL, options, f->inputs.data, classes, n, maps, deltas);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    return maps;
}

/* Several classes in one run give the same bits as one class at a time, with any number of threads. */
static void test_classes_and_threads(void **state)
{
    (void)state;
    const int64_t classes[3] = {1, 7, 0};
    fixture two, one;
    fixture_open(&two, 2);
    fixture_open(&one, 1);
    for (int m = 0; m < SPADE_METHOD_COUNT; m++) {
        spade_attribution_options options;
        spade_attribution_options_init(&options, (spade_method)m);
        options.steps = options.samples = 11;
        float *together = maps_of(&two, &options, classes, 3, NULL);
        for (int k = 0; k < 3; k++) {
            float *alone = maps_of(&one, &options, &classes[k], 1, NULL);
            assert_memory_equal(alone, together + k * two.size, sizeof *alone * (size_t)two.size);
            free(alone);
        }
        free(together);
    }
    fixture_close(&one);
    fixture_close(&two);
}

/* The gradient of the softmax score against central differences of the score along a random direction. */
static void test_softmax_gradient(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 0);
    const int64_t target = 1;
    spade_attribution_options options;
    spade_attribution_options_init(&options, SPADE_SMOOTHGRAD);
    options.samples = 1;
    options.sigma = 0; /* the plain signed gradient */
    options.softmax = true;
    float *gradient = maps_of(&f, &options, &target, 1, NULL);
    double *direction = malloc(sizeof *direction * (size_t)f.size);
    float *moved = malloc(sizeof *moved * (size_t)f.size);
    assert_true(direction && moved);
    draw_noise(5, 0, f.size, direction);
    double slope = 0, score[2];
    const double step = 1e-3;
    for (int64_t i = 0; i < f.size; i++) { slope += direction[i] * gradient[i]; }
    for (int side = 0; side < 2; side++) {
        float logits[10];
        double sum = 0;
        for (int64_t i = 0; i < f.size; i++) {
            moved[i] = (float)(f.inputs.data[i] + (side ? step : -step) * direction[i]);
        }
        assert_int_equal(spade_model_forward(f.context, f.model, NULL, moved, 1, logits), SPADE_OK);
        for (int i = 0; i < 10; i++) { sum += exp(logits[i] - logits[target]); }
        score[side] = 1 / sum;
    }
    double measured = (score[1] - score[0]) / (2 * step);
    assert_true(fabs(measured - slope) < 0.05 * fabs(slope) + 1e-5);
    free(gradient);
    free(direction);
    free(moved);
    fixture_close(&f);
}

static void test_completeness(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 0);
    const int64_t classes[2] = {1, 2};
    double few[2], many[2];
    spade_attribution_options options;
    spade_attribution_options_init(&options, SPADE_INTEGRATED_GRADIENTS);
    options.steps = 4;
    free(maps_of(&f, &options, classes, 2, few));
    options.steps = test_is_emulated() ? 100 : 200;
    free(maps_of(&f, &options, classes, 2, many));
    for (int i = 0; i < 2; i++) {
        assert_true(fabs(many[i]) < 0.05);
        assert_true(fabs(many[i]) <= fabs(few[i]) + 1e-3);
    }
    fixture_close(&f);
}

/* ---- what a map asks of the device: a table that counts and hands on. State of this one test program. */
static const spade_backend *counted;
static struct counts {
    int downloads, waits, uploads, allocations, passes;
} counts;

static spade_status count_download(spade_device *device, void *to, const void *from, size_t bytes)
{
    counts.downloads++;
    return counted->download(device, to, from, bytes);
}

static spade_status count_synchronize(spade_device *device)
{
    counts.waits++;
    return counted->synchronize(device);
}

static spade_status count_upload(spade_device *device, void *to, const void *from, size_t bytes)
{
    counts.uploads++;
    return counted->upload(device, to, from, bytes);
}

static spade_status count_alloc(spade_device *device, size_t bytes, const char *what, void **out)
{
    counts.allocations++;
    return counted->alloc(device, bytes, what, out);
}

static spade_status count_seed(spade_device *device, const spade_seed_args *args)
{
    counts.passes++;
    return counted->seed(device, args);
}

/* Nothing is uploaded, allocated or waited for between the passes: more passes ask for no more of it, and once the
 * network is ready nothing is allocated but a call's own block. */
static void test_passes_stay_on_the_device(void **state)
{
    (void)state;
    const int64_t classes[2] = {1, 4};
    fixture f;
    fixture_open(&f, 1);
    spade_device *device = f.context->device;
    counted = device->backend;
    spade_backend table = *counted;
    table.download = count_download;
    table.synchronize = count_synchronize;
    table.upload = count_upload;
    table.alloc = count_alloc;
    table.seed = count_seed;
    table.capture_begin = NULL; /* a graph_launch would be one call */
    for (int m = 0; m < SPADE_METHOD_COUNT; m++) {
        struct counts few, many;
        spade_attribution_options options;
        spade_attribution_options_init(&options, (spade_method)m);
        options.steps = options.samples = 3;
        device->backend = &table;
        free(maps_of(&f, &options, classes, 2, NULL));
        counts = (struct counts){0};
        free(maps_of(&f, &options, classes, 2, NULL));
        few = counts;
        options.steps = options.samples = 30;
        counts = (struct counts){0};
        free(maps_of(&f, &options, classes, 2, NULL));
        many = counts;
        device->backend = counted;
        bool path = m == SPADE_INTEGRATED_GRADIENTS, copies = m == SPADE_SMOOTHGRAD;
        assert_int_equal(few.passes, path || copies ? (path ? 2 : 1) : 2);
        assert_int_equal(many.passes, path || copies ? 8 : 2);
        assert_int_equal(few.downloads, path ? 2 : 1); /* maps, and values where they are wanted */
        assert_int_equal(many.downloads, few.downloads);
        assert_int_equal(many.waits, few.waits);
        assert_int_equal(many.uploads, few.uploads);
        assert_int_equal(few.allocations, 1);
        assert_int_equal(many.allocations, 1);
    }
    fixture_close(&f);
}

/* Maps of many classes are charged while they are on the device; a budget that does not hold them is an error. */
static void test_memory(void **state)
{
    (void)state;
    enum { CLASSES = 40 };
    int64_t classes[CLASSES];
    fixture f;
    fixture_open(&f, 1);
    spade_attribution_options options;
    spade_attribution_options_init(&options, SPADE_SALIENCY);
    for (int i = 0; i < CLASSES; i++) { classes[i] = i % 10; }
    free(maps_of(&f, &options, classes, 1, NULL));
    uint64_t before = f.context->used, one = f.context->peak;
    free(maps_of(&f, &options, classes, CLASSES, NULL));
    uint64_t maps = (CLASSES - 1) * (uint64_t)f.size * sizeof(float), more = f.context->peak - one;
    assert_int_equal(f.context->used, before);
    assert_true(more >= maps && more < maps + maps / 8);
    float *out = malloc(CLASSES * (size_t)f.size * sizeof *out);
    assert_non_null(out);
    f.context->budget = before + maps;
    assert_int_equal(spade_attribute(f.context, f.model, NULL, &options, f.inputs.data, classes, CLASSES, out, NULL),
                     SPADE_ERROR_MEMORY);
    assert_non_null(strstr(f.context->message, "--memory"));
    assert_int_equal(f.context->used, before);
    f.context->budget = UINT64_MAX;
    assert_int_equal(spade_attribute(f.context, f.model, NULL, &options, f.inputs.data, classes, 1, out, NULL),
                     SPADE_OK);
    free(out);
    fixture_close(&f);
}

static void test_refused(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 0);
    float *map = malloc(sizeof *map * (size_t)f.size);
    assert_non_null(map);
    const int64_t bad = 10, good = 0;
    spade_attribution_options options;
    spade_attribution_options_init(&options, SPADE_SALIENCY);
    assert_int_equal(spade_attribute(f.context, f.model, NULL, &options, f.inputs.data, &bad, 1, map, NULL),
                     SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_attribute(f.context, f.model, NULL, &options, f.inputs.data, &good, 0, map, NULL),
                     SPADE_ERROR_ARGUMENT);
    options.steps = 0;
    assert_int_equal(spade_attribute(f.context, f.model, NULL, &options, f.inputs.data, &good, 1, map, NULL),
                     SPADE_ERROR_ARGUMENT);
    options.steps = 50;
    options.sigma = NAN;
    assert_int_equal(spade_attribute(f.context, f.model, NULL, &options, f.inputs.data, &good, 1, map, NULL),
                     SPADE_ERROR_ARGUMENT);
    free(map);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quadrature),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_classes_and_threads),
        cmocka_unit_test(test_softmax_gradient),
        cmocka_unit_test(test_completeness),
        cmocka_unit_test(test_passes_stay_on_the_device),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
