/* test_rules_devices.c - DeepLift is complete on a ResNet, a MobileNet and a transformer, dense and sparse, for several
 * classes, and through maxima; what has no rule is refused by name. */
#include "golden.h"

#include "support/model.h"
#include "support/targets.h"

enum { CLASSES = 3 };
static const int64_t classes[CLASSES] = {1, 5, 8};
static const char *const networks[] = {"resnet", "mobilenet", "vit"};

/* Maps [CLASSES, size] of the first scene. */
static spade_status attribute(spade_context *context, const spade_model *model, const spade_trace *trace,
                              const char *method, float *maps, spade_map_note *notes)
{
    spade_array inputs = {0};
    spade_attribution *attribution;
    assert_true(golden_array(context, NULL, NULL, "inputs", &inputs));
    golden_ok(context, spade_attribution_create(context, method, &attribution));
    spade_status status = spade_attribute(context, model, trace, attribution, inputs.data, targets_of(classes, CLASSES),
                                          CLASSES, maps, notes);
    spade_attribution_destroy(attribution);
    spade_array_clear(&inputs);
    return status;
}

static int64_t input_size(const spade_model *model)
{
    int64_t channels, height, width;
    spade_model_input(model, &channels, &height, &width);
    return channels * height * width;
}

/* Of one map. */
static void check_sum(const float *map, int64_t size, const spade_map_note *note)
{
    double sum = 0;
    for (int64_t i = 0; i < size; i++) { sum += (double)map[i]; }
    const double difference = sum - note->delta; /* F(x) - F(x') */
    print_message("F(x) - F(0) = %.4f, off by %.1e\n", difference, fabs(note->delta));
    assert_true(fabs(note->delta) <= 1e-3 * fabs(difference));
}

static void check_complete(spade_context *context, const spade_model *model, const spade_trace *trace,
                           const char *network)
{
    const int64_t size = input_size(model);
    float *maps = malloc(sizeof *maps * (size_t)(CLASSES * size));
    spade_map_note notes[CLASSES];
    assert_non_null(maps);
    golden_ok(context, attribute(context, model, trace, "deeplift", maps, notes));
    for (int c = 0; c < CLASSES; c++) {
        print_message("%s%s class %lld: ", network, trace ? " (sparse)" : "", (long long)classes[c]);
        check_sum(maps + c * size, size, &notes[c]);
    }
    free(maps);
}

/* A trace of which each layer has lost the smaller half of its weights. */
static spade_trace *half_of(spade_context *context, const spade_model *model, const char *network)
{
    spade_trace *trace = NULL;
    golden_ok(context, spade_trace_create_empty(context, model, &trace));
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_array weights = {0};
        spade_model_layer(model, i, &info);
        if (!info.prunable || !golden_array(context, network, "fast_50", info.name, &weights)) { continue; }
        golden_ok(context, spade_trace_set_weights(context, trace, i, weights.data));
        spade_array_clear(&weights);
    }
    return trace;
}

static void test_deeplift_is_complete(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof networks / sizeof *networks; n++) {
        spade_context *context = golden_context(0, 0);
        spade_model *model = golden_model(context, networks[n]);
        spade_trace *trace = half_of(context, model, networks[n]);
        check_complete(context, model, NULL, networks[n]);
        check_complete(context, model, trace, networks[n]);
        spade_trace_destroy(trace);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* ---- what the golden networks lack */

enum { CHANNELS = 3, SIDE = 8, SMALL_CLASSES = 10 };

/* Attention by averages and maxima over all pixels, a square, maximum pooling whose windows overlap. */
static wire small_network(void)
{
    static const int64_t conv[4] = {4, 3, 3, 3}, gemm[2] = {36, SMALL_CLASSES}, four = 4, pads[4] = {1, 1, 1, 1};
    static const int64_t three[2] = {3, 3}, two[2] = {2, 2};
    wire network = graph_of(CHANNELS, SIDE, SIDE, SMALL_CLASSES);
    put_tensor(&network, tensor_random("w", 4, conv, 1));
    put_tensor(&network, tensor_random("bias", 1, &four, 2));
    put_tensor(&network, tensor_random("gemm", 2, gemm, 3));
    put_node(&network, with_ints(node_of("conv", "Conv", "x w bias", "a"), "pads", 4, pads));
    put_node(&network, node_of("mean", "GlobalAveragePool", "a", "b"));
    put_node(&network, node_of("most", "GlobalMaxPool", "a", "c"));
    put_node(&network, node_of("both", "Add", "b c", "d"));
    put_node(&network, node_of("sigmoid", "Sigmoid", "d", "e"));
    put_node(&network, node_of("gate", "Mul", "a e", "f"));
    put_node(&network, node_of("square", "Mul", "f f", "g"));
    put_node(&network, node_of("relu", "Relu", "f", "h"));
    put_node(&network, node_of("skip", "Add", "g h", "i"));
    put_node(&network,
             with_ints(with_ints(node_of("max", "MaxPool", "i", "j"), "kernel_shape", 2, three), "strides", 2, two));
    put_node(&network, node_of("flat", "Flatten", "j", "k"));
    put_node(&network, node_of("fc", "Gemm", "k gemm", "y"));
    return model_of(network);
}

static void test_deeplift_of_maxima(void **state)
{
    (void)state;
    float x[CHANNELS * SIDE * SIDE], maps[CLASSES * CHANNELS * SIDE * SIDE];
    spade_context *context = golden_context(0, 0);
    spade_model *model;
    spade_attribution *attribution;
    golden_ok(context, spade_model_load(context, test_save("rules.onnx", small_network()), NULL, &model));
    golden_ok(context, spade_attribution_create(context, "deeplift", &attribution));
    for (uint32_t k = 0; k < 4; k++) { /* the last one is the baseline itself */
        spade_map_note notes[CLASSES];
        for (uint32_t i = 0; i < CHANNELS * SIDE * SIDE; i++) { x[i] = k == 3 ? 0 : pseudo_random(7 + k, i) / (1 + k); }
        golden_ok(context, spade_attribute(context, model, NULL, attribution, x, targets_of(classes, CLASSES), CLASSES,
                                           maps, notes));
        for (int c = 0; c < CLASSES; c++) {
            check_sum(maps + c * CHANNELS * SIDE * SIDE, CHANNELS * SIDE * SIDE, &notes[c]);
        }
    }
    spade_attribution_destroy(attribution);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* What a method has no rule for is said with the method, the node and what it is. */
static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *network, *method, *says[2];
    } cases[] = {
        {"vit", "deeplift:compat=captum", {"DeepLift as in Captum has no rule", "layer normalisation"}},
        {"vit", "lrp:composite=paper", {"LRP (paper) has no rule", "layer normalisation"}},
        {"mobilenet", "lrp:composite=paper", {"LRP (paper) has no rule", "hard swish"}},
        {"vit", "guided_backprop", {"guided backpropagation has no rule", "GELU"}},
        {"resnet", "lrp:output=scores", {"output=scores", "output=logits"}},
        {"resnet", "deeplift:output=scores", {"output=scores", "output=logits"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spade_context *context = golden_context(0, 0);
        spade_model *model = golden_model(context, cases[i].network);
        float *maps = malloc(sizeof *maps * (size_t)(CLASSES * input_size(model)));
        assert_int_not_equal(attribute(context, model, NULL, cases[i].method, maps, NULL), SPADE_OK);
        print_message("%s\n", spade_message(context));
        for (int s = 0; s < 2; s++) { assert_non_null(strstr(spade_message(context), cases[i].says[s])); }
        free(maps);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* LRP says what functions it passes relevance through; of the others the node is named. */
static void test_refused_function(void **state)
{
    (void)state;
    static const int64_t gemm[2] = {CHANNELS * SIDE * SIDE, SMALL_CLASSES};
    static const struct {
        const char *method, *name, *rules;
    } cases[] = {{"lrp", "lrp", "LRP (epsilon_plus)"},
                 {"lrp:composite=paper", "lrp", "LRP (paper)"},
                 {"attnlrp", "attnlrp", "AttnLRP"},
                 {"deeplift:compat=captum", "deeplift", "DeepLift as in Captum"}};
    wire network = graph_of(CHANNELS, SIDE, SIDE, SMALL_CLASSES);
    put_tensor(&network, tensor_random("gemm", 2, gemm, 3));
    put_node(&network, node_of("the function", "Exp", "x", "a"));
    put_node(&network, node_of("flat", "Flatten", "a", "b"));
    put_node(&network, node_of("fc", "Gemm", "b gemm", "y"));
    const char *path = test_save("refused.onnx", model_of(network));
    float x[CHANNELS * SIDE * SIDE] = {0}, maps[CLASSES * CHANNELS * SIDE * SIDE];
    spade_context *context = golden_context(0, 0);
    spade_model *model;
    golden_ok(context, spade_model_load(context, path, NULL, &model));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char says[300];
        spade_attribution *attribution;
        golden_ok(context, spade_attribution_create(context, cases[i].method, &attribution));
        assert_int_equal(
            spade_attribute(context, model, NULL, attribution, x, targets_of(classes, CLASSES), CLASSES, maps, NULL),
            SPADE_ERROR_UNSUPPORTED);
        snprintf(says, sizeof says,
                 "%s: %s has no rule for node \"the function\" (exponential); leave %s out, or take a method for any "
                 "network, "
                 "such as saliency",
                 cases[i].name, cases[i].rules, cases[i].name);
        assert_string_equal(spade_message(context), says);
        spade_attribution_destroy(attribution);
    }
    spade_model_destroy(model);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_function),
        cmocka_unit_test(test_deeplift_is_complete),
        cmocka_unit_test(test_deeplift_of_maxima),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
