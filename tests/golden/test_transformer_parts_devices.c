/*
 * test_transformer_parts_devices.c - a small network of what transformers are made of, against PyTorch in float64: layer
 * normalisation over one axis and over two, with parameters and without, GELU exact and by tanh, linear layers on tokens. As
 * PyTorch 1.13 writes it: by subgraphs (opset 13), and with the operator LayerNormalization (opset 17).
 */
#include "golden.h"
#include "support/targets.h"

enum { IMAGES = 3, CLASSES = 5, PIXELS = 3 * 8 * 8, EXPLAINED = 2 };
static const int64_t explained[EXPLAINED] = {1, 3}; /* the classes whose gradients are known */
static const char *const files[] = {"opset13", "opset17"};
enum { FILES = sizeof files / sizeof *files };
static const double tolerance = 1e-4; /* of the largest value */

static spade_model *load_parts(spade_context *context, const char *file)
{
    char path[512];
    spade_model *model = NULL;
    snprintf(path, sizeof path, "%s/models/transformer_parts_%s.onnx", SPADE_TEST_DATA, file);
    golden_ok(context, spade_model_load(context, path, NULL, &model));
    return model;
}

static spade_array load_array(spade_context *context, const char *name, int64_t size)
{
    char path[512];
    spade_array array = {0};
    snprintf(path, sizeof path, "%s/arrays/transformer_parts/%s.npy", SPADE_TEST_DATA, name);
    golden_ok(context, spade_array_load(context, path, 0, &array));
    assert_int_equal(spade_array_size(&array), size);
    return array;
}

static void check_values(const char *what, const float *is, const float *should, int64_t n)
{
    double error = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)is[i] - should[i]));
        largest = fmax(largest, fabs((double)should[i]));
    }
    print_message("%s: relative error %.2e\n", what, error / largest);
    assert_true(error < tolerance * largest);
}

static void test_logits(void **state)
{
    (void)state;
    spade_context *context = golden_context(0, 0);
    spade_array inputs = load_array(context, "inputs", IMAGES * PIXELS);
    spade_array should = load_array(context, "logits", IMAGES * CLASSES);
    for (int f = 0; f < FILES; f++) {
        spade_model *model = load_parts(context, files[f]);
        float logits[IMAGES * CLASSES];
        golden_ok(context, spade_model_forward(context, model, NULL, inputs.data, IMAGES, logits));
        check_values(files[f], logits, should.data, IMAGES * CLASSES);
        spade_model_destroy(model);
    }
    spade_array_clear(&inputs);
    spade_array_clear(&should);
    spade_context_destroy(context);
}

/* Saliency is |gradient|, input x gradient tells its sign. */
static void check_maps(spade_context *context, const spade_model *model, const float *x, const float *gradients)
{
    static const char *const methods[] = {"saliency", "input_x_gradient"};
    for (int m = 0; m < 2; m++) {
        spade_attribution *attribution;
        spade_map_note notes[EXPLAINED];
        float maps[EXPLAINED * PIXELS], should[PIXELS];
        golden_ok(context, spade_attribution_create(context, methods[m], &attribution));
        golden_ok(context, spade_attribute(context, model, NULL, attribution, x, targets_of(explained, EXPLAINED),
                                           EXPLAINED, maps, notes));
        for (int c = 0; c < EXPLAINED; c++) {
            const float *gradient = gradients + c * IMAGES * PIXELS;
            for (int i = 0; i < PIXELS; i++) { should[i] = m == 0 ? fabsf(gradient[i]) : x[i] * gradient[i]; }
            check_values(methods[m], maps + c * PIXELS, should, PIXELS);
        }
        spade_attribution_destroy(attribution);
    }
}

static void test_gradients(void **state)
{
    (void)state;
    spade_context *context = golden_context(0, 0);
    spade_array inputs = load_array(context, "inputs", IMAGES * PIXELS);
    spade_array gradients = load_array(context, "gradients", EXPLAINED * IMAGES * PIXELS);
    for (int f = 0; f < FILES; f++) {
        spade_model *model = load_parts(context, files[f]);
        for (int i = 0; i < IMAGES; i++) {
            check_maps(context, model, inputs.data + i * PIXELS, gradients.data + i * PIXELS);
        }
        spade_model_destroy(model);
    }
    spade_array_clear(&inputs);
    spade_array_clear(&gradients);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
