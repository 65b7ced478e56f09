/* test_relu_rules_devices.c - methods that change what a ReLU hands back, where a map can be told by hand: behind one
 * function of the input stands one product; and functions that they have no rule for. Runs on every device
 * (SPADE_TEST_DEVICE). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"
#include "spade/spade.h"

enum { CHANNELS = 2, SIDE = 3, SIZE = CHANNELS * SIDE * SIDE, CLASSES = 3 };
static const float upper = 0.5f; /* of the function with two bounds */

/* x -> f -> flatten -> fc, whose weights are `weights` */
static wire one_function(const char *name, bool bounds, float low, const float *weights)
{
    static const int64_t dims[2] = {CLASSES, SIZE};
    wire network = graph_of(CHANNELS, SIDE, SIDE, CLASSES);
    if (bounds) {
        put_tensor(&network, tensor_of("low", 0, NULL, &low));
        put_tensor(&network, tensor_of("high", 0, NULL, &upper));
    }
    put_node(&network, node_of("the function", name, bounds ? "x low high" : "x", "a"));
    put_node(&network, node_of("flatten", "Flatten", "a", "b"));
    put_tensor(&network, tensor_of("fc.weight", 2, dims, weights));
    put_node(&network, with_int(node_of("fc", "Gemm", "b fc.weight", "y"), "transB", 1));
    return model_of(network);
}

static void random_numbers(uint32_t seed, int n, float *out)
{
    for (int i = 0; i < n; i++) { out[i] = pseudo_random(seed, (uint32_t)i); }
}

/* The map of class 1; the message where there is none. */
static spade_status map_of(spade_context *context, const char *model_path, const char *method, const float *x,
                           float *map)
{
    const int64_t target = 1;
    spade_model *model;
    spade_attribution *attribution;
    assert_int_equal(spade_model_load(context, model_path, NULL, &model), SPADE_OK);
    assert_int_equal(spade_attribution_create(context, method, &attribution), SPADE_OK);
    spade_status status = spade_attribute(context, model, NULL, attribution, x, targets_of(&target, 1), 1, map, NULL);
    spade_attribution_destroy(attribution);
    spade_model_destroy(model);
    return status;
}

static void test_maps_by_hand(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        bool positive_inputs; /* relevance goes back only there */
    } methods[] = {{"guided_backprop", true}, {"deconvolution", false}};
    spade_context *context = test_context(test_device(), 0);
    float weights[CLASSES * SIZE], x[SIZE], map[SIZE];
    random_numbers(1, CLASSES * SIZE, weights);
    random_numbers(2, SIZE, x);
    for (int bounds = 0; bounds < 2; bounds++) {
        const char *path = test_save("relu_rules.onnx", one_function(bounds ? "Clip" : "Relu", bounds, 0, weights));
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
            if (map_of(context, path, methods[m].method, x, map) != SPADE_OK) {
                fail_msg("%s", spade_message(context));
            }
            for (int i = 0; i < SIZE; i++) {
                const float relevance = weights[SIZE + i];
                const bool inside = x[i] > 0 && (!bounds || x[i] <= upper);
                const bool passes = relevance > 0 && (inside || !methods[m].positive_inputs);
                assert_true(map[i] == (passes ? relevance : 0));
            }
        }
    }
    spade_context_destroy(context);
}

/* Known of the network alone, before any input is worked on. */
static void expect_refused_at_once(spade_context *context, const char *path, const char *method, const char *says)
{
    spade_model *model;
    spade_attribution *attribution;
    int64_t shape[3];
    assert_int_equal(spade_model_load(context, path, NULL, &model), SPADE_OK);
    assert_int_equal(spade_attribution_create(context, method, &attribution), SPADE_OK);
    assert_int_equal(spade_attribution_map_shape(context, model, attribution, shape), SPADE_ERROR_UNSUPPORTED);
    assert_string_equal(spade_message(context), says);
    spade_attribution_destroy(attribution);
    spade_model_destroy(model);
}

/* A function that is no ReLU is named, and no map is made. */
static void test_no_rule(void **state)
{
    (void)state;
    static const struct {
        const char *operator, * name;
    } functions[] = {{"Sigmoid", "sigmoid"}, {"HardSwish", "hard swish"}, {"Clip", "clip"}}; /* the last from -1 */
    static const struct {
        const char *method, *says;
    } methods[] = {
        {"guided_backprop", "guided_backprop: guided backpropagation has no rule for node \"the function\" (%s); leave "
                            "guided_backprop out, "
                            "or take a method for any network, such as saliency"},
        {"deconvolution", "deconvolution: the deconvolutional network has no rule for node \"the function\" (%s); "
                          "leave deconvolution out, "
                          "or take a method for any network, such as saliency"},
    };
    spade_context *context = test_context(test_device(), 0);
    float weights[CLASSES * SIZE], x[SIZE], map[SIZE];
    random_numbers(1, CLASSES * SIZE, weights);
    random_numbers(2, SIZE, x);
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        const bool bounds = strcmp(functions[f].operator, "Clip") == 0;
        const char *path = test_save("relu_rules.onnx", one_function(functions[f].operator, bounds, -1, weights));
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
            assert_int_equal(map_of(context, path, methods[m].method, x, map), SPADE_ERROR_UNSUPPORTED);
            char says[256];
            snprintf(says, sizeof says, methods[m].says, functions[f].name);
            assert_string_equal(spade_message(context), says);
            expect_refused_at_once(context, path, methods[m].method, says);
        }
    }
    /* so is the hard swish of a MobileNet, with its module */
    float picture[3 * 64 * 64], large[3 * 64 * 64];
    random_numbers(3, 3 * 64 * 64, picture);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        assert_int_equal(
            map_of(context, SPADE_TEST_DATA "/models/scene_mobilenet.onnx", methods[m].method, picture, large),
            SPADE_ERROR_UNSUPPORTED);
        assert_non_null(strstr(spade_message(context), "has no rule for node \"/features/features."));
        assert_non_null(strstr(spade_message(context), "(hard swish) in features."));
    }
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_maps_by_hand), cmocka_unit_test(test_no_rule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
