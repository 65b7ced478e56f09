/* test_rules_devices.c - DeepLift is complete on a ResNet, a MobileNet and a transformer, dense and sparse, for several
 * classes; what has no rule is refused by name. */
#include "golden.h"

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
    spade_status status = spade_attribute(context, model, trace, attribution, inputs.data, classes, CLASSES, maps, notes);
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

static void check_complete(spade_context *context, const spade_model *model, const spade_trace *trace,
                           const char *network)
{
    const int64_t size = input_size(model);
    float *maps = malloc(sizeof *maps * (size_t)(CLASSES * size));
    spade_map_note notes[CLASSES];
    assert_non_null(maps);
    golden_ok(context, attribute(context, model, trace, "deeplift", maps, notes));
    for (int c = 0; c < CLASSES; c++) {
        double sum = 0;
        for (int64_t i = 0; i < size; i++) { sum += (double)maps[c * size + i]; }
        const double difference = sum - notes[c].delta; /* F(x) - F(x') */
        print_message("%s%s class %lld: F(x) - F(0) = %.4f, off by %.1e of it\n", network, trace ? " (sparse)" : "",
                      (long long)classes[c], difference, fabs(notes[c].delta / difference));
        assert_true(fabs(notes[c].delta) < 1e-3 * fabs(difference));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_deeplift_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
