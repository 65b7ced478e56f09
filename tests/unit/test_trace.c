/* Traces as objects, and the choice of layers by globs. The network is the golden ResNet; no Hessian is computed here.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "spade/check.h"
#include "spade/metric.h"
#include "trace/checkpoint.h"
#include "trace/trace.h"

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_layer_options *choices;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = "cpu";
    assert_int_equal(spade_context_create(&options, &f->context), SPADE_OK);
    assert_int_equal(spade_model_load(f->context, SPADE_TEST_DATA "/models/scene_resnet.onnx", NULL, &f->model),
                     SPADE_OK);
    f->choices = calloc((size_t)spade_model_layer_count(f->model), sizeof *f->choices);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    free(f->choices);
    spade_model_destroy(f->model);
    assert_int_equal(f->context->used, 0);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

static const spade_layer_options *choice_of(const fixture *f, const char *layer)
{
    return &f->choices[spade_model_find_layer(f->model, layer)];
}

static double sparsity_of(const fixture *f, const char *layer)
{
    return choice_of(f, layer)->sparsity;
}

static void test_defaults_take_every_prunable_layer(void **state)
{
    fixture *f = *state;
    spade_trace_options options;
    spade_trace_options_init(&options);
    assert_int_equal(spade_trace_layer_options(f->context, f->model, &options, f->choices), SPADE_OK);
    for (int l = 0; l < spade_model_layer_count(f->model); l++) {
        spade_layer_info info;
        spade_model_layer(f->model, l, &info);
        assert_true(f->choices[l].sparsity == (info.prunable ? 0.5 : 0.0));
        assert_int_equal(f->choices[l].method.block, info.convolution ? info.weight[2] * info.weight[3] : 1);
    }
    assert_true(sparsity_of(f, "conv1") == 0);
}

static void test_rules_include_and_skip(void **state)
{
    fixture *f = *state;
    spade_trace_options options;
    spade_trace_options_init(&options);
    const spade_layer_rule rules[] = {{.layers = "layer*", .set = SPADE_RULE_SPARSITY, .sparsity = 0.8},
                                      {.layers = "layer2.*", .set = SPADE_RULE_SPARSITY, .sparsity = 0.95},
                                      {.layers = "layer2.0.conv1", .set = SPADE_RULE_SPARSITY}};
    const char *include[] = {"layer[12].*", "fc"}, *skip[] = {"*.conv2"};
    options.rules = rules;
    options.rule_count = 3;
    options.include = include;
    options.include_count = 2;
    options.skip = skip;
    options.skip_count = 1;
    assert_int_equal(spade_trace_layer_options(f->context, f->model, &options, f->choices), SPADE_OK);
    assert_true(sparsity_of(f, "layer1.0.conv1") == 0.8);
    assert_true(sparsity_of(f, "layer1.0.conv2") == 0);
    assert_true(sparsity_of(f, "layer2.0.conv1") == 0);
    assert_true(sparsity_of(f, "layer2.1.conv1") == 0.95);
    assert_true(sparsity_of(f, "layer2.0.downsample.0") == 0.95);
    assert_true(sparsity_of(f, "layer3.0.conv1") == 0);
    assert_true(sparsity_of(f, "fc") == 0.5);
}

/* A rule changes the fields that it sets; of several the last one counts, for each field alone. */
static void test_rules_change_their_fields_only(void **state)
{
    fixture *f = *state;
    spade_trace_options options;
    spade_trace_options_init(&options);
    const spade_layer_rule rules[] = {
        {.layers = "layer2.*", .set = SPADE_RULE_SOLVER | SPADE_RULE_GROUP, .solver = SPADE_SOLVER_EXACT, .group = 1},
        {.layers = "layer2.1.*",
         .set = SPADE_RULE_SOLVER | SPADE_RULE_COUNT,
         .solver = SPADE_SOLVER_MAGNITUDE,
         .count = SPADE_COUNT_PUBLISHED},
        {.layers = "fc", .set = SPADE_RULE_PATTERN, .keep = 1, .of = 4},
        {.layers = "*.downsample.0", .set = SPADE_RULE_BLOCK, .block = 5}};
    options.rules = rules;
    options.rule_count = 4;
    options.linear_block = 16;
    options.block = 18;
    assert_int_equal(spade_trace_layer_options(f->context, f->model, &options, f->choices), SPADE_OK);
    assert_int_equal(choice_of(f, "layer1.0.conv1")->method.solver, SPADE_SOLVER_FAST);
    assert_int_equal(choice_of(f, "layer1.0.conv1")->method.block, 18);
    assert_int_equal(choice_of(f, "layer2.0.conv1")->method.solver, SPADE_SOLVER_EXACT);
    assert_int_equal(choice_of(f, "layer2.0.conv1")->method.group, SPADE_GROUP_ELEMENT);
    assert_int_equal(choice_of(f, "layer2.0.conv1")->method.count, SPADE_COUNT_FLOOR);
    assert_int_equal(choice_of(f, "layer2.1.conv1")->method.solver, SPADE_SOLVER_MAGNITUDE);
    assert_int_equal(choice_of(f, "layer2.1.conv1")->method.group, SPADE_GROUP_ELEMENT);
    assert_int_equal(choice_of(f, "layer2.1.conv1")->method.count, SPADE_COUNT_PUBLISHED);
    assert_int_equal(choice_of(f, "layer2.0.downsample.0")->method.block, 5);
    assert_int_equal(choice_of(f, "layer3.0.conv1")->method.block, 16); /* 1x1 */
    assert_int_equal(choice_of(f, "fc")->method.block, 16);
    assert_int_equal(choice_of(f, "fc")->method.of, 4);
    assert_true(sparsity_of(f, "fc") == 0.75);
    options.linear_block = 0;
    assert_int_equal(spade_trace_layer_options(f->context, f->model, &options, f->choices), SPADE_OK);
    assert_int_equal(choice_of(f, "layer3.0.conv1")->method.block, 18);
}

static void expect_refusal(fixture *f, const spade_trace_options *options, const char *named)
{
    assert_int_equal(spade_trace_layer_options(f->context, f->model, options, f->choices), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(f->context), named));
}

/* What a call cannot do without. */
static void test_pointers_that_are_missing(void **state)
{
    fixture *f = *state;
    const spade_target target = {0};
    spade_attribution *method, *other;
    spade_metric *metric;
    spade_batch *batch;
    float number = 0, *map = &number;
    assert_int_equal(spade_attribution_create(f->context, NULL, &method), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_metric_create(f->context, NULL, &metric), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_batch_from_array(f->context, NULL, 1, 3, 64, 64, &batch), SPADE_ERROR_ARGUMENT);
    assert_true(!method && !metric && !batch);
    assert_int_equal(spade_model_forward(f->context, f->model, NULL, NULL, 1, map), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_model_forward(f->context, f->model, NULL, map, 1, NULL), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_attribution_create(f->context, "saliency", &other), SPADE_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(spade_attribute(f->context, f->model, NULL, i == 0 ? NULL : other, i == 1 ? NULL : map,
                                         i == 2 ? NULL : &target, 1, i == 3 ? NULL : map, NULL),
                         SPADE_ERROR_ARGUMENT);
    }
    spade_attribution_destroy(other);
}

static void test_precisions(void **state)
{
    fixture *f = *state;
    spade_trace_options options;
    spade_trace_options_init(&options);
    options.hessian = (spade_precision)9;
    expect_refusal(f, &options, "unknown precision: hessian 9");
    options.hessian = SPADE_FP64;
    options.sweep = (spade_precision)9;
    expect_refusal(f, &options, "sweep 9");
}

static void test_mistakes_are_named(void **state)
{
    fixture *f = *state;
    const char *nowhere[] = {"layer9.*"}, *unprunable[] = {"conv1"};
    const spade_layer_rule no_layer = {.layers = "head*", .set = SPADE_RULE_BLOCK, .block = 3},
                           no_sparsity = {.layers = "fc", .set = SPADE_RULE_SPARSITY, .sparsity = 1.5},
                           no_pattern = {.layers = "fc", .set = SPADE_RULE_PATTERN, .keep = 5, .of = 4},
                           nothing_stays = {.layers = "fc", .set = SPADE_RULE_PATTERN, .keep = 0, .of = 4},
                           no_block = {.layers = "fc", .set = SPADE_RULE_BLOCK, .block = -2},
                           exact_pattern = {.layers = "fc", .set = SPADE_RULE_PATTERN, .keep = 2, .of = 4};
    spade_trace_options options;
    spade_trace_options_init(&options);
    options.include = nowhere;
    options.include_count = 1;
    expect_refusal(f, &options, "layer9.*");
    options.include = unprunable; /* the first convolution */
    expect_refusal(f, &options, "conv1");
    spade_trace_options_init(&options);
    options.skip = nowhere;
    options.skip_count = 1;
    expect_refusal(f, &options, "layer9.*");
    spade_trace_options_init(&options);
    options.rules = &no_layer;
    options.rule_count = 1;
    expect_refusal(f, &options, "head*");
    options.rules = &no_sparsity;
    expect_refusal(f, &options, "1.5");
    options.rules = &no_pattern;
    expect_refusal(f, &options, "5 of every 4");
    options.rules = &nothing_stays;
    expect_refusal(f, &options, "0 of every 4");
    options.rules = &no_block;
    expect_refusal(f, &options, "-2");
    options.rules = &exact_pattern;
    options.solver = SPADE_SOLVER_EXACT;
    expect_refusal(f, &options, "layer fc: the exact solver");
    spade_trace_options_init(&options);
    options.sparsity = -0.1;
    expect_refusal(f, &options, "-0.1");
    spade_trace_options_init(&options);
    options.block = -1;
    expect_refusal(f, &options, "-1");
}

static void test_an_empty_trace_is_the_network(void **state)
{
    fixture *f = *state;
    spade_trace *trace = NULL;
    assert_int_equal(spade_trace_create_empty(f->context, f->model, &trace), SPADE_OK);
    for (int l = 0; l < spade_model_layer_count(f->model); l++) {
        spade_trace_layer info;
        spade_trace_layer_info(trace, l, &info);
        assert_ptr_equal(spade_trace_weights(trace, l), spade_model_weights(f->model, l));
        assert_false(info.solved);
    }
    spade_trace_destroy(trace);
    spade_trace_destroy(NULL);
}

static void test_weights_are_copied(void **state)
{
    fixture *f = *state;
    spade_trace *trace = NULL;
    spade_layer_info layer;
    spade_trace_layer info;
    int index = spade_model_find_layer(f->model, "fc");
    spade_model_layer(f->model, index, &layer);
    size_t size = (size_t)(layer.rows * layer.columns);
    float *weights = calloc(size, sizeof *weights);
    weights[3] = 7;
    assert_int_equal(spade_trace_create_empty(f->context, f->model, &trace), SPADE_OK);
    assert_int_equal(spade_trace_set_weights(f->context, trace, index, weights), SPADE_OK);
    weights[3] = 8;
    assert_true(spade_trace_weights(trace, index)[3] == 7);
    spade_trace_layer_info(trace, index, &info);
    assert_int_equal(info.zeros, size - 1);
    assert_int_equal(info.weights, size);
    assert_int_equal(spade_trace_set_weights(f->context, trace, -1, weights), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_trace_set_weights(f->context, trace, 1000, weights), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_trace_set_weights(f->context, trace, index, NULL), SPADE_ERROR_ARGUMENT);
    const int missing[] = {-1, spade_model_layer_count(f->model)};
    for (int i = 0; i < 2; i++) {
        spade_layer_info none;
        assert_null(spade_trace_weights(trace, missing[i]));
        assert_null(spade_model_weights(f->model, missing[i]));
        spade_trace_layer_info(trace, missing[i], &info);
        spade_model_layer(f->model, missing[i], &none);
        assert_true(info.weights == 0 && none.rows == 0 && !none.name);
        assert_int_equal(spade_hessian_bytes(f->model, missing[i], SPADE_FP32), 0);
    }
    weights[layer.columns + 2] = NAN; /* a relu would make 0 of what comes of it */
    assert_int_equal(spade_trace_set_weights(f->context, trace, index, weights), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f->context), "layer fc: weight [1, 2] (row, column) is NaN"));
    assert_true(spade_trace_weights(trace, index)[3] == 7);
    spade_trace_destroy(trace);
    free(weights);
}

/* Where the layers of both are of the same sizes nothing else would tell. */
static void test_of_another_model(void **state)
{
    fixture *f = *state;
    spade_model *other;
    spade_trace *trace;
    spade_attribution *method;
    spade_conservation conservation;
    const spade_target target = {0};
    int64_t c, h, w;
    assert_int_equal(spade_model_load(f->context, SPADE_TEST_DATA "/models/scene_resnet.onnx", NULL, &other), SPADE_OK);
    assert_int_equal(spade_trace_create_empty(f->context, other, &trace), SPADE_OK);
    assert_int_equal(spade_attribution_create(f->context, "lrp", &method), SPADE_OK);
    spade_model_input(f->model, &c, &h, &w);
    float *input = calloc((size_t)(c * h * w), sizeof *input), *out = calloc((size_t)(c * h * w), sizeof *out);
    assert_int_equal(spade_model_forward(f->context, f->model, trace, input, 1, out), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(f->context), "belongs to the model that it was made of"));
    assert_int_equal(spade_attribute(f->context, f->model, trace, method, input, &target, 1, out, NULL),
                     SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_attribution_conservation(f->context, f->model, trace, method, input, &target, &conservation),
                     SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_model_forward(f->context, other, trace, input, 1, out), SPADE_OK);
    free(input);
    free(out);
    spade_attribution_destroy(method);
    spade_trace_destroy(trace);
    spade_model_destroy(other);
}

/* Layers that were solved in another precision of the network's products are others. */
static void test_checkpoints_know_the_precision(void **state)
{
    fixture *f = *state;
    static const float variants[3 * 64 * 64];
    char folder[] = "/tmp/spade_test_XXXXXX";
    spade_checkpoint before, after;
    spade_batch *batch;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(spade_batch_from_array(f->context, variants, 1, 3, 64, 64, &batch), SPADE_OK);
    assert_int_equal(spade_checkpoint_open(f->context, folder, f->model, batch, &before), SPADE_OK);
    f->context->precision = SPADE_NETWORK_BF16;
    assert_int_equal(spade_checkpoint_open(f->context, folder, f->model, batch, &after), SPADE_OK);
    f->context->precision = SPADE_NETWORK_FP32;
    assert_memory_not_equal(before.sample, after.sample, sizeof before.sample);
    spade_batch_destroy(batch);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults_take_every_prunable_layer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rules_include_and_skip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rules_change_their_fields_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mistakes_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_precisions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pointers_that_are_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_empty_trace_is_the_network, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weights_are_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_of_another_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_checkpoints_know_the_precision, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
