/* test_conservation_devices.c - on a ResNet, a MobileNet and a transformer, dense and sparse: LRP's epsilon rule, AttnLRP and
 * DeepLift lose nothing between two nodes but what biases and constants keep, and what arrives is the map's sum. */
#include "golden.h"

enum { TARGET = 1 };

/* A trace of which each layer has the golden sparse weights. */
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

/* Returns the largest share of a step's magnitude that is missing. */
static double check_steps(const spade_conservation *found)
{
    double worst = 0, size = 0, kept = 0;
    int layers = 0;
    for (int i = 0; i < found->count; i++) {
        const spade_conservation_step *step = &found->steps[i];
        const double missing = spade_conservation_missing(step);
        worst = fmax(worst, fabs(missing) / step->magnitude);
        assert_true(fabs(missing - step->stabilizer) <= 1e-5 * step->magnitude);
        size = fmax(size, step->magnitude);
        kept += step->relevance - step->handed_on;
        layers += step->layer;
    }
    assert_true(layers > 5);
    assert_true(fabs(found->output - kept - found->input) <= 1e-5 * size);
    return worst;
}

static void check_method(spade_context *context, const spade_model *model, const spade_trace *trace,
                         const char *network, const char *method)
{
    static const spade_target target = {.class_index = TARGET};
    int64_t channels, height, width;
    double sum = 0, size = 0;
    spade_array inputs = {0};
    spade_attribution *attribution;
    spade_conservation found;
    spade_model_input(model, &channels, &height, &width);
    const int64_t n = channels * height * width;
    float *map = malloc(sizeof *map * (size_t)n);
    assert_non_null(map);
    assert_true(golden_array(context, NULL, NULL, "inputs", &inputs));
    golden_ok(context, spade_attribution_create(context, method, &attribution));
    golden_ok(context,
              spade_attribution_conservation(context, model, trace, attribution, inputs.data, &target, &found));
    golden_ok(context, spade_attribute(context, model, trace, attribution, inputs.data, &target, 1, map, NULL));
    for (int64_t i = 0; i < n; i++) {
        sum += (double)map[i];
        size += fabs((double)map[i]);
    }
    const double worst = check_steps(&found);
    print_message("%s%s, %s: of %.4f %.4f arrives, at most %.1e missing at a node\n", network, trace ? " (sparse)" : "",
                  method, found.output, found.input, worst);
    assert_true(worst <= SPADE_CONSERVATION_TOLERANCE);
    assert_true(fabs(found.input - sum) <= 1e-4 * size);
    if (strcmp(method, "deeplift") == 0) { assert_true(fabs(found.input - found.output) <= 1e-3 * fabs(found.output)); }
    spade_conservation_clear(&found);
    spade_attribution_destroy(attribution);
    spade_array_clear(&inputs);
    free(map);
}

static void test_networks(void **state)
{
    (void)state;
    static const char *const methods[] = {"lrp:composite=epsilon", "deeplift", "attnlrp:gamma=0.25"};
    for (int n = 0; n < GOLDEN_NETWORKS; n++) {
        const bool transformer = strcmp(golden_networks[n], "vit") == 0;
        if (test_is_emulated() && !transformer) { continue; }
        spade_context *context = golden_context(0, 0);
        spade_model *model = golden_model(context, golden_networks[n]);
        spade_trace *trace = half_of(context, model, golden_networks[n]);
        for (size_t m = 0; m < (transformer ? 3 : 2); m++) {
            check_method(context, model, NULL, golden_networks[n], methods[m]);
            if (!test_is_emulated()) { check_method(context, model, trace, golden_networks[n], methods[m]); }
        }
        spade_trace_destroy(trace);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_networks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
