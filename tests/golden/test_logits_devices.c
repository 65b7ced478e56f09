/* The golden networks, BatchNorm kept and folded: logits, saliency, layer names; the same bits for any number of
 * threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>

#include "support/backward.h"
#include "support/context.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "spade/array.h"
#include "spade/model.h"

#define DATA(name) SPADE_TEST_DATA "/" name

enum { SCENES = 12, CLASSES = 10, PIXELS = 3 * 64 * 64 };

static spade_model *load_model(spade_context *context, const char *name)
{
    char path[512];
    spade_model *model = NULL;
    snprintf(path, sizeof path, DATA("models/scene_%s.onnx"), name);
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return model;
}

static spade_status create_plan(const spade_model *model, int64_t batch, const spade_rules *rules, spade_plan **out)
{
    const spade_plan_request request = spade_relevance_request(batch, rules);
    return spade_plan_create(model->context, &model->network, &request, out);
}

static spade_array load_array(spade_context *context, const char *net, const char *name)
{
    char path[512];
    spade_array array;
    snprintf(path, sizeof path, DATA("arrays/%s%s.npy"), net, name);
    if (spade_array_load(context, path, 0, &array) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return array;
}

static void check_logits(const char *net, const char *file)
{
    spade_context *context = test_context(test_device(), 2);
    spade_model *model = load_model(context, file);
    spade_array inputs = load_array(context, "", "inputs"), expected = load_array(context, net, "/logits");
    float logits[SCENES * CLASSES];
    double worst = 0;
    assert_int_equal(spade_array_size(&inputs), SCENES * PIXELS);
    assert_int_equal(spade_model_classes(model), CLASSES);
    if (spade_model_forward(context, model, NULL, inputs.data, SCENES, logits) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    for (int i = 0; i < SCENES * CLASSES; i++) {
        worst = fmax(worst, fabs((double)logits[i] - (double)expected.data[i]));
    }
    print_message("%s: largest error of a logit %.2e\n", file, worst);
    assert_true(worst < 1e-4);
    spade_array_clear(&inputs);
    spade_array_clear(&expected);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_logits(void **state)
{
    (void)state;
    check_logits("resnet", "resnet");
    check_logits("resnet", "resnet_folded");
    check_logits("mobilenet", "mobilenet");
    check_logits("mobilenet", "mobilenet_folded");
    check_logits("vit", "vit");
}

/* ---- abs(d logit / d x) of the first scenes for their labels */
static void check_saliency(const char *net, const char *file, int64_t batch)
{
    static const int labels[4] = {1, 5, 8, 3};
    spade_context *context = test_context(test_device(), 2);
    spade_model *model = load_model(context, file);
    spade_array inputs = load_array(context, "", "inputs"), expected = load_array(context, net, "/saliency");
    spade_plan *plan = NULL;
    spade_packed_weights *weights = NULL;
    float *gradient = malloc(4 * PIXELS * sizeof *gradient), seed[4 * CLASSES] = {0}, logits[4 * CLASSES];
    for (int i = 0; i < 4; i++) { seed[i * CLASSES + labels[i]] = 1; }
    assert_int_equal(create_plan(model, batch, &spade_rules_gradient, &plan), SPADE_OK);
    assert_int_equal(spade_packed_weights_create(context, &model->network, NULL, &weights), SPADE_OK);
    for (int64_t i = 0; i < 4; i += batch) {
        spade_status status = spade_run_forward(plan, weights, inputs.data + i * PIXELS, logits, NULL, NULL, NULL);
        if (status == SPADE_OK) {
            status = test_run_backward(plan, weights, &model->network, seed + i * CLASSES, gradient + i * PIXELS);
        }
        if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    }
    for (int i = 0; i < 4; i++) {
        double worst = 0, largest = 0;
        for (int k = i * PIXELS; k < (i + 1) * PIXELS; k++) {
            worst = fmax(worst, fabs(fabs((double)gradient[k]) - (double)expected.data[k]));
            largest = fmax(largest, (double)expected.data[k]);
        }
        print_message("%s, scene %d: largest relative error of the saliency %.2e\n", file, i, worst / largest);
        assert_true(worst < 1e-3 * largest);
    }
    free(gradient);
    spade_packed_weights_destroy(weights);
    spade_plan_destroy(plan);
    spade_array_clear(&inputs);
    spade_array_clear(&expected);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_saliency(void **state)
{
    (void)state;
    check_saliency("resnet", "resnet", 4);
    check_saliency("resnet", "resnet_folded", 1);
    check_saliency("mobilenet", "mobilenet", 1);
    check_saliency("mobilenet", "mobilenet_folded", 4);
    check_saliency("vit", "vit", 1);
    check_saliency("vit", "vit", 4);
}

/* ---- prunable layers: names, order and shapes */
static void check_layers(const char *net, const char *file)
{
    spade_context *context = test_context(test_device(), 1);
    spade_model *model = load_model(context, file);
    char path[512];
    snprintf(path, sizeof path, DATA("layers_%s.json"), net);
    json_t *expected = json_load_file(path, 0, NULL);
    assert_true(json_is_array(expected));
    size_t at = 0;
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_model_layer(model, i, &info);
        assert_int_equal(spade_model_find_layer(model, info.name), i);
        assert_int_equal(info.prunable, i > 0);
        if (!info.prunable) { continue; }
        const json_t *entry = json_array_get(expected, at++), *weight = json_object_get(entry, "weight");
        assert_non_null(entry);
        assert_string_equal(info.name, json_string_value(json_object_get(entry, "name")));
        for (size_t d = 0; d < 4; d++) {
            int64_t dim = d < json_array_size(weight) ? json_integer_value(json_array_get(weight, d)) : 1;
            assert_int_equal(info.weight[d], dim);
        }
    }
    assert_int_equal(at, json_array_size(expected));
    json_decref(expected);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_layers(void **state)
{
    (void)state;
    check_layers("resnet", "resnet");
    check_layers("resnet", "resnet_folded");
    check_layers("mobilenet", "mobilenet");
    check_layers("mobilenet", "mobilenet_folded");
    check_layers("vit", "vit");
}

/* ---- bits */
static void forward_bits(const char *file, int threads, float *logits, float *gradient)
{
    spade_context *context = test_context(test_device(), threads);
    spade_model *model = load_model(context, file);
    spade_array inputs = load_array(context, "", "inputs");
    spade_plan *plan = NULL;
    spade_packed_weights *weights = NULL;
    float seed[CLASSES] = {1};
    assert_int_equal(spade_model_forward(context, model, NULL, inputs.data, SCENES, logits), SPADE_OK);
    assert_int_equal(create_plan(model, 1, &spade_rules_gradient, &plan), SPADE_OK);
    assert_int_equal(spade_packed_weights_create(context, &model->network, NULL, &weights), SPADE_OK);
    assert_int_equal(spade_run_forward(plan, weights, inputs.data, NULL, NULL, NULL, NULL), SPADE_OK);
    assert_int_equal(test_run_backward(plan, weights, &model->network, seed, gradient), SPADE_OK);
    spade_packed_weights_destroy(weights);
    spade_plan_destroy(plan);
    spade_array_clear(&inputs);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_threads(void **state)
{
    (void)state;
    static const char *const files[] = {"resnet", "mobilenet"};
    float *gradients[2] = {malloc(PIXELS * sizeof(float)), malloc(PIXELS * sizeof(float))};
    for (int f = 0; f < 2; f++) {
        float logits[2][SCENES * CLASSES];
        for (int t = 0; t < 2; t++) { forward_bits(files[f], t + 1, logits[t], gradients[t]); }
        assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
        assert_memory_equal(gradients[0], gradients[1], PIXELS * sizeof(float));
    }
    free(gradients[0]);
    free(gradients[1]);
}

/* A budget one byte short of a plan is refused with a message that says what would do; nothing stays charged. */
static void test_budget(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 1);
    spade_model *model = load_model(context, "resnet");
    spade_plan *plan = NULL;
    uint64_t before = context->used;
    assert_int_equal(create_plan(model, SPADE_MICRO_BATCH, NULL, &plan), SPADE_OK);
    uint64_t need = spade_plan_bytes(plan);
    spade_plan_destroy(plan);
    assert_int_equal(context->used, before);
    context->budget = before + need - 1;
    assert_int_equal(create_plan(model, SPADE_MICRO_BATCH, NULL, &plan), SPADE_ERROR_MEMORY);
    assert_non_null(strstr(spade_message(context), "--memory"));
    assert_int_equal(context->used, before);
    spade_model_destroy(model);
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_logits), cmocka_unit_test(test_saliency),
                                       cmocka_unit_test(test_layers), cmocka_unit_test(test_threads),
                                       cmocka_unit_test(test_budget)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
