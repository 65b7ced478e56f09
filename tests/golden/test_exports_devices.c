/*
 * test_exports_devices.c - small networks of the building blocks that people export (tests/zoo/small.py), as PyTorch 1.13
 * (NAME.old.onnx) and 2.15 (NAME.new.onnx) write them with their defaults: logits and gradients against PyTorch in float64,
 * names of layers against the modules' own.
 */
#include "golden.h"
#include "support/targets.h"

enum { PICTURES = 2, CLASSES = 5, PIXELS = 3 * 32 * 32 };
#define FOLDER SPADE_TEST_DATA "/exports/"

static const char *const networks[] = {"resnet", "densenet", "mobilenet", "shufflenet",    "inception", "pyramid",
                                       "norms",  "convnext", "vit",       "vit_multihead", "mixer",     "swin"};
static const char *const exporters[] = {"old", "new"};
enum { NETWORKS = sizeof networks / sizeof *networks, EXPORTERS = sizeof exporters / sizeof *exporters };

static spade_model *load(spade_context *context, const char *network, const char *exporter)
{
    char path[512];
    spade_model *model = NULL;
    snprintf(path, sizeof path, FOLDER "%s.%s.onnx", network, exporter);
    golden_ok(context, spade_model_load(context, path, NULL, &model));
    return model;
}

static spade_array load_array(spade_context *context, const char *name, const char *kind, int64_t size)
{
    char path[512];
    spade_array array = {0};
    snprintf(path, sizeof path, FOLDER "%s%s.npy", name, kind);
    golden_ok(context, spade_array_load(context, path, 0, &array));
    assert_int_equal(spade_array_size(&array), size);
    return array;
}

/* The largest error as a share of the largest value. */
static double relative_error(const float *is, const float *should, int64_t n)
{
    double error = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)is[i] - should[i]));
        largest = fmax(largest, fabs((double)should[i]));
    }
    return error / largest;
}

/* input_x_gradient of the first class, of which the gradients are known. */
static double gradient_error(spade_context *context, const spade_model *model, const float *x, const float *gradient)
{
    static const int64_t first_class = 0;
    static float map[PIXELS], should[PIXELS];
    spade_attribution *attribution = NULL;
    spade_map_note note;
    golden_ok(context, spade_attribution_create(context, "input_x_gradient", &attribution));
    golden_ok(context,
              spade_attribute(context, model, NULL, attribution, x, targets_of(&first_class, 1), 1, map, &note));
    spade_attribution_destroy(attribution);
    for (int i = 0; i < PIXELS; i++) { should[i] = x[i] * gradient[i]; }
    return relative_error(map, should, PIXELS);
}

static void check_values(spade_context *context, const float *inputs, const char *network, const char *exporter)
{
    spade_array logits = load_array(context, network, ".logits", PICTURES * CLASSES);
    spade_array gradients = load_array(context, network, ".gradients", PICTURES * PIXELS);
    spade_model *model = load(context, network, exporter);
    float is[PICTURES * CLASSES];
    double of_gradients = 0;
    assert_int_equal(spade_model_classes(model), CLASSES);
    golden_ok(context, spade_model_forward(context, model, NULL, inputs, PICTURES, is));
    const double of_logits = relative_error(is, logits.data, PICTURES * CLASSES);
    for (int i = 0; i < PICTURES; i++) {
        const double error = gradient_error(context, model, inputs + i * PIXELS, gradients.data + i * PIXELS);
        of_gradients = fmax(of_gradients, error);
    }
    print_message("%s.%s: relative error of logits %.2e, of gradients %.2e\n", network, exporter, of_logits,
                  of_gradients);
    assert_true(of_logits < 1e-5);
    assert_true(of_gradients < 1e-4);
    spade_model_destroy(model);
    spade_array_clear(&logits);
    spade_array_clear(&gradients);
}

static void test_values(void **state)
{
    (void)state;
    spade_context *context = golden_context(0, 0);
    spade_array inputs = load_array(context, "inputs", "", PICTURES * PIXELS);
    for (int n = 0; n < NETWORKS; n++) {
        for (int e = 0; e < EXPORTERS; e++) { check_values(context, inputs.data, networks[n], exporters[e]); }
    }
    spade_array_clear(&inputs);
    spade_context_destroy(context);
}

/* NAME.layers.txt has a line for each layer. */
static void check_layers(spade_context *context, const char *network, const char *exporter)
{
    char path[512], line[256];
    spade_model *model = load(context, network, exporter);
    int count = 0;
    snprintf(path, sizeof path, FOLDER "%s.layers.txt", network);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file); count++) {
        spade_layer_info info;
        line[strcspn(line, "\n")] = '\0';
        if (count >= spade_model_layer_count(model)) { fail_msg("%s.%s lacks %s", network, exporter, line); }
        spade_model_layer(model, count, &info);
        if (strcmp(info.name, line) != 0) { fail_msg("%s.%s: %s is called %s", network, exporter, line, info.name); }
    }
    fclose(file);
    assert_int_equal(count, spade_model_layer_count(model));
    spade_model_destroy(model);
}

static void test_layers(void **state)
{
    (void)state;
    spade_context *context = golden_context(1, 0);
    for (int n = 0; n < NETWORKS; n++) {
        for (int e = 0; e < EXPORTERS; e++) { check_layers(context, networks[n], exporters[e]); }
    }
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
