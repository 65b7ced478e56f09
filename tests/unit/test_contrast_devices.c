/*
 * test_contrast_devices.c - maps of a class against another. Where a map is linear in F it is the difference of two maps;
 * where it is not, it is the definition's with the gradient of the difference, in plain loops; scores, one output, notes,
 * what is refused; the same bits alone and beside other targets, which share the forward pass. Runs on every
 * device (SPADE_TEST_DEVICE).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "spade/spade.h"
#include "support/context.h"
#include "support/model.h"

enum { CHANNELS = 3, HEIGHT = 9, WIDTH = 10, PIXELS = HEIGHT * WIDTH, SIZE = CHANNELS * PIXELS, FEATURES = 5 };
enum { CLASSES = 4, MAX_TARGETS = 3, A = 1, B = 2 };

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    float x[SIZE], convolution[FEATURES * CHANNELS], bias[FEATURES], weights[CLASSES * FEATURES];
} fixture;

/* x -> 1x1 convolution -> relu -> mean of the picture -> fc: gradients are sums of a few products. */
static void fixture_open(fixture *f, const char *device, int threads, int classes)
{
    wire network = graph_of(CHANNELS, HEIGHT, WIDTH, classes);
    for (int i = 0; i < SIZE; i++) { f->x[i] = pseudo_random(1, (uint32_t)i) + (i % 2 ? 0.1f : -0.1f); }
    for (int i = 0; i < FEATURES * CHANNELS; i++) { f->convolution[i] = pseudo_random(2, (uint32_t)i); }
    for (int i = 0; i < FEATURES; i++) { f->bias[i] = 0.2f * pseudo_random(3, (uint32_t)i); }
    for (int i = 0; i < CLASSES * FEATURES; i++) { f->weights[i] = 3 * pseudo_random(4, (uint32_t)i); }
    put_tensor(&network, tensor_of("conv.weight", 4, (int64_t[]){FEATURES, CHANNELS, 1, 1}, f->convolution));
    put_tensor(&network, tensor_of("conv.bias", 1, (int64_t[]){FEATURES}, f->bias));
    put_tensor(&network, tensor_of("fc.weight", 2, (int64_t[]){classes, FEATURES}, f->weights));
    put_node(&network, node_of("conv", "Conv", "x conv.weight conv.bias", "a"));
    put_node(&network, node_of("relu", "Relu", "a", "b"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "b", "c"));
    put_node(&network, node_of("flatten", "Flatten", "c", "d"));
    put_node(&network, with_int(node_of("fc", "Gemm", "d fc.weight", "y"), "transB", 1));
    f->context = test_context(device, threads);
    if (spade_model_load(f->context, test_save("contrast.onnx", model_of(network)), NULL, &f->model) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
}

static void fixture_close(fixture *f)
{
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

/* maps [n, size of a map], which is returned. */
static int64_t attribute(const fixture *f, const char *method, const spade_target *targets, int n, float *maps,
                         spade_map_note *notes)
{
    spade_attribution *attribution;
    int64_t shape[3];
    if (spade_attribution_create(f->context, method, &attribution) != SPADE_OK ||
        spade_attribution_map_shape(f->context, f->model, attribution, shape) != SPADE_OK ||
        spade_attribute(f->context, f->model, NULL, attribution, f->x, targets, n, maps, notes) != SPADE_OK) {
        fail_msg("%s: %s", method, spade_message(f->context));
    }
    spade_attribution_destroy(attribution);
    return shape[0] * shape[1] * shape[2];
}

static const spade_target contrast = {.class_index = A, .against = B, .contrast = true};

/* Both classes, and the one against the other. */
static const spade_target all[MAX_TARGETS] = {
    {.class_index = A}, {.class_index = B}, {.class_index = A, .against = B, .contrast = true}};

static void compare(const char *what, const float *map, const double *should, int64_t n, double scale)
{
    assert_true(scale > 1e-4);
    for (int64_t e = 0; e < n; e++) {
        if (!(fabs(map[e] - should[e]) <= 1e-5 * scale)) {
            fail_msg("%s, number %lld: %g, should be %g", what, (long long)e, (double)map[e], should[e]);
        }
    }
}

static double largest_of(const float *map, int64_t n)
{
    double largest = 0;
    for (int64_t e = 0; e < n; e++) { largest = fmax(largest, fabs((double)map[e])); }
    return largest;
}

/* ---- linear in F */
static void test_difference(void **state)
{
    static const char *const methods[] = {"input_x_gradient",
                                          "input_x_gradient:output=scores",
                                          "integrated_gradients:steps=9",
                                          "integrated_gradients:steps=9:output=scores",
                                          "smoothgrad:samples=5",
                                          "gradient_shap:samples=5:baseline=0.1",
                                          "deeplift",
                                          "lrp:composite=paper",
                                          "lrp:composite=epsilon:epsilon=0.01",
                                          "lrp:composite=gamma",
                                          "attnlrp",
                                          "occlusion:window=3:stride=2",
                                          "occlusion:window=3:stride=2:output=scores",
                                          "rise:samples=40:grid=3",
                                          "kernel_shap:samples=60:superpixels=grid:segments=6",
                                          "smooth:samples=2:of=deeplift"};
    (void)state;
    fixture f;
    fixture_open(&f, test_device(), 2, CLASSES);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        float maps[MAX_TARGETS * SIZE];
        double should[SIZE];
        spade_map_note notes[MAX_TARGETS];
        const int64_t size = attribute(&f, methods[m], all, MAX_TARGETS, maps, notes);
        for (int64_t e = 0; e < size; e++) { should[e] = (double)maps[e] - maps[size + e]; }
        compare(methods[m], maps + 2 * size, should, size, largest_of(maps, 2 * size));
        if (isnan(notes[0].delta)) { continue; }
        assert_true(fabs(notes[2].delta - (notes[0].delta - notes[1].delta)) < 1e-5);
    }
    fixture_close(&f);
}

/* ---- not linear: definitions, with the gradient of F_A - F_B */

/* Relevance of the feature maps before the mean: what each feature's weight has of the seed [classes]. */
static void feature_gradients(const fixture *f, const double *seed, double out[FEATURES])
{
    for (int k = 0; k < FEATURES; k++) {
        out[k] = 0;
        for (int c = 0; c < CLASSES; c++) { out[k] += seed[c] * f->weights[c * FEATURES + k] / PIXELS; }
    }
}

static double feature(const fixture *f, int k, int pixel)
{
    double sum = f->bias[k];
    for (int c = 0; c < CHANNELS; c++) { sum += (double)f->convolution[k * CHANNELS + c] * f->x[c * PIXELS + pixel]; }
    return sum;
}

/* From relevance of the features to the input's: through the relus that are open (or, guided, hand back what is positive). */
static double input_relevance(const fixture *f, const double relevance[FEATURES], bool guided, int channel, int pixel)
{
    double sum = 0;
    for (int k = 0; k < FEATURES; k++) {
        if (feature(f, k, pixel) <= 0 || (guided && relevance[k] < 0)) { continue; }
        sum += relevance[k] * f->convolution[k * CHANNELS + channel];
    }
    return sum;
}

static void softmax(const fixture *f, double p[CLASSES])
{
    double sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        double z = 0;
        for (int k = 0; k < FEATURES; k++) {
            for (int i = 0; i < PIXELS; i++) { z += f->weights[c * FEATURES + k] * fmax(feature(f, k, i), 0) / PIXELS; }
        }
        sum += p[c] = exp(z);
    }
    for (int c = 0; c < CLASSES; c++) { p[c] /= sum; }
}

static void check_gradients(const fixture *f, const char *method, const double *seed, bool guided, bool absolute)
{
    float map[SIZE], maps[2 * SIZE];
    double relevance[FEATURES], should[SIZE];
    feature_gradients(f, seed, relevance);
    for (int e = 0; e < SIZE; e++) {
        should[e] = input_relevance(f, relevance, guided, e / PIXELS, e % PIXELS);
        if (absolute) { should[e] = fabs(should[e]); }
    }
    attribute(f, method, &contrast, 1, map, NULL);
    compare(method, map, should, SIZE, largest_of(map, SIZE));
    attribute(f, method, all, 2, maps, NULL); /* and not the difference of the maps, which would be another thing */
    double apart = 0;
    for (int e = 0; e < SIZE; e++) { apart = fmax(apart, fabs((double)maps[e] - maps[SIZE + e] - map[e])); }
    assert_true(apart > 0.01 * largest_of(map, SIZE));
}

static void check_gradcam(const fixture *f, const double *seed)
{
    float map[PIXELS];
    double relevance[FEATURES], should[PIXELS];
    feature_gradients(f, seed, relevance);
    for (int i = 0; i < PIXELS; i++) {
        should[i] = 0;
        for (int k = 0; k < FEATURES; k++) { should[i] += relevance[k] * fmax(feature(f, k, i), 0); }
        should[i] = fmax(should[i], 0);
    }
    assert_int_equal(attribute(f, "gradcam:upsample=none", &contrast, 1, map, NULL), PIXELS);
    compare("gradcam", map, should, PIXELS, largest_of(map, PIXELS));
}

static void test_definitions(void **state)
{
    (void)state;
    double p[CLASSES], logits[CLASSES] = {0}, scores[CLASSES];
    fixture f;
    fixture_open(&f, test_device(), 2, CLASSES);
    softmax(&f, p);
    logits[A] = 1;
    logits[B] = -1;
    for (int j = 0; j < CLASSES; j++) { scores[j] = p[A] * ((j == A) - p[j]) - p[B] * ((j == B) - p[j]); }
    check_gradients(&f, "saliency", logits, false, true);
    check_gradients(&f, "saliency:output=scores", scores, false, true);
    check_gradients(&f, "guided_backprop", logits, true, false);
    check_gradcam(&f, logits);
    fixture_close(&f);
}

/* ---- one output z: the class 1 against 0 is 2 z, in every method */
static void test_one_output(void **state)
{
    static const char *const methods[] = {"saliency", "integrated_gradients:steps=4", "deeplift",
                                          "lrp:composite=epsilon", "occlusion:window=3"};
    static const spade_target targets[2] = {{.class_index = 1}, {.class_index = 1, .against = 0, .contrast = true}};
    (void)state;
    fixture f;
    fixture_open(&f, test_device(), 2, 1);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        float maps[2 * SIZE];
        double should[SIZE];
        const int64_t size = attribute(&f, methods[m], targets, 2, maps, NULL);
        for (int64_t e = 0; e < size; e++) { should[e] = 2.0 * maps[e]; }
        compare(methods[m], maps + size, should, size, largest_of(maps, size));
    }
    fixture_close(&f);
}

/* ---- the same bits, whatever is beside it and however many threads; devices agree */
static void test_bits(void **state)
{
    static const char *const methods[] = {"saliency",
                                          "integrated_gradients:steps=9",
                                          "vargrad:samples=5",
                                          "deeplift",
                                          "gradcam",
                                          "occlusion:window=3:stride=2",
                                          "rise:samples=40:grid=3",
                                          "lime:samples=60:superpixels=grid:segments=6",
                                          "scorecam",
                                          "guided_gradcam"};
    (void)state;
    fixture one, three, cpu;
    fixture_open(&one, test_device(), 1, CLASSES);
    fixture_open(&three, test_device(), 3, CLASSES);
    fixture_open(&cpu, "cpu", 1, CLASSES);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        float alone[SIZE], beside[MAX_TARGETS * SIZE], on_cpu[SIZE];
        double should[SIZE];
        const int64_t size = attribute(&one, methods[m], &contrast, 1, alone, NULL);
        attribute(&three, methods[m], all, MAX_TARGETS, beside, NULL);
        assert_memory_equal(alone, beside + 2 * size, sizeof(float) * (size_t)size);
        attribute(&cpu, methods[m], &contrast, 1, on_cpu, NULL);
        for (int64_t e = 0; e < size; e++) { should[e] = on_cpu[e]; }
        compare(methods[m], alone, should, size, largest_of(on_cpu, size));
    }
    fixture_close(&one);
    fixture_close(&three);
    fixture_close(&cpu);
}

/* ---- targets share the forward pass */
static int operations;
static spade_status (*run_operation)(spade_op *op, const spade_op_args *args);

static spade_status count_operation(spade_op *op, const spade_op_args *args)
{
    operations++;
    return run_operation(op, args);
}

static int count_operations(fixture *f, const char *method, int n)
{
    float maps[MAX_TARGETS * SIZE];
    spade_backend table = *f->context->device->backend;
    const spade_backend *own = f->context->device->backend;
    run_operation = table.run;
    table.run = count_operation;
    table.capture_begin = NULL; /* a graph's launch would be one call */
    f->context->device->backend = &table;
    operations = 0;
    attribute(f, method, all, n, maps, NULL);
    f->context->device->backend = own;
    return operations;
}

static void test_shared_forward(void **state)
{
    static const char *const methods[] = {"saliency", "deeplift", "lrp:composite=epsilon", "gradcam", "gradcam++"};
    enum { FORWARD = 3 }; /* convolution with relu, mean, fc */
    (void)state;
    fixture f;
    fixture_open(&f, test_device(), 1, CLASSES);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        const int of_one = count_operations(&f, methods[m], 1), of_three = count_operations(&f, methods[m], 3);
        if (3 * of_one - of_three < 2 * FORWARD) { fail_msg("%s: %d and %d", methods[m], of_one, of_three); }
    }
    fixture_close(&f);
}

/* What the walk back reads is there for each of them: whole networks give the same bits alone. */
static void check_network(const char *file, const char *const *methods)
{
    enum { SIDE = 64, INPUT = CHANNELS * SIDE * SIDE };
    static float x[INPUT], alone[INPUT], beside[MAX_TARGETS * INPUT];
    char path[300];
    spade_context *context = test_context(test_device(), 2);
    spade_model *model;
    int64_t shape[3];
    snprintf(path, sizeof path, "%s/models/%s", SPADE_TEST_DATA, file);
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    spade_model_input(model, &shape[0], &shape[1], &shape[2]);
    assert_int_equal(shape[0] * shape[1] * shape[2], INPUT);
    for (int i = 0; i < INPUT; i++) { x[i] = 2 * pseudo_random(9, (uint32_t)i); }
    for (int m = 0; methods[m]; m++) {
        spade_attribution *method;
        assert_int_equal(spade_attribution_create(context, methods[m], &method), SPADE_OK);
        if (spade_attribute(context, model, NULL, method, x, all, MAX_TARGETS, beside, NULL) != SPADE_OK) {
            fail_msg("%s: %s", file, spade_message(context));
        }
        assert_int_equal(spade_attribution_map_shape(context, model, method, shape), SPADE_OK);
        const size_t size = (size_t)(shape[0] * shape[1] * shape[2]);
        for (int t = 0; t < MAX_TARGETS; t++) {
            assert_int_equal(spade_attribute(context, model, NULL, method, x, &all[t], 1, alone, NULL), SPADE_OK);
            if (memcmp(alone, beside + (size_t)t * size, sizeof *alone * size) != 0) {
                fail_msg("%s: %s of target %d is another beside others", file, methods[m], t);
            }
        }
        spade_attribution_destroy(method);
    }
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_networks(void **state)
{
    static const char *const of_resnet[] = {
        "saliency", "guided_backprop", "deeplift", "lrp:composite=epsilon_plus", "gradcam", NULL};
    static const char *const of_mobilenet[] = {"input_x_gradient", "deeplift", "lrp:composite=gamma", NULL};
    static const char *const of_transformer[] = {"saliency", "deeplift", "attnlrp", "attention_gradient", NULL};
    (void)state;
    check_network("scene_resnet.onnx", of_resnet);
    check_network("scene_mobilenet.onnx", of_mobilenet);
    check_network("scene_vit.onnx", of_transformer);
}

/* ---- refused */
static void test_refused(void **state)
{
    static const struct {
        spade_target target;
        const char *says;
    } cases[] = {
        {{.class_index = 2, .against = 2, .contrast = true}, "class 2 against itself"},
        {{.class_index = 2, .against = CLASSES, .contrast = true}, "class 4: the network has the classes 0 to 3"},
        {{.class_index = 2, .against = -1, .contrast = true}, "class -1: the network has the classes 0 to 3"},
        {{.class_index = CLASSES, .against = 0, .contrast = true}, "class 4: the network has the classes 0 to 3"},
    };
    (void)state;
    fixture f;
    spade_attribution *saliency;
    float map[SIZE];
    fixture_open(&f, test_device(), 1, CLASSES);
    assert_int_equal(spade_attribution_create(f.context, "saliency", &saliency), SPADE_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(spade_attribute(f.context, f.model, NULL, saliency, f.x, &cases[i].target, 1, map, NULL),
                         SPADE_ERROR_ARGUMENT);
        if (!strstr(spade_message(f.context), cases[i].says)) { fail_msg("%s", spade_message(f.context)); }
    }
    for (int i = 0; i < SIZE; i++) { f.x[i] = 3e38f; }
    assert_int_equal(spade_attribute(f.context, f.model, NULL, saliency, f.x, &contrast, 1, map, NULL),
                     SPADE_ERROR_NUMERICAL);
    if (!strstr(spade_message(f.context), "class 1 against class 2")) { fail_msg("%s", spade_message(f.context)); }
    spade_attribution_destroy(saliency);
    fixture_close(&f);
}

static int remove_files(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_difference),     cmocka_unit_test(test_definitions),
                                       cmocka_unit_test(test_one_output),     cmocka_unit_test(test_bits),
                                       cmocka_unit_test(test_shared_forward), cmocka_unit_test(test_networks),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
