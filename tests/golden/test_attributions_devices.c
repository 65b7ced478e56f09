/* test_attributions_devices.c - attributions of the first four scenes for their labels, against Captum's. */
#include "golden.h"

enum { SCENES = 4 };
static const int64_t labels[SCENES] = {1, 5, 8, 3};

/* Largest difference over largest value. */
static double relative_error(const float *is, const float *should, int64_t n)
{
    double error = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)is[i] - should[i]));
        largest = fmax(largest, fabs((double)should[i]));
    }
    return error / largest;
}

/* The trace whose weights are arrays/resnet/fast_50. */
static spade_trace *fast_50(spade_context *context, const spade_model *model)
{
    spade_trace *trace = NULL;
    golden_ok(context, spade_trace_create_empty(context, model, &trace));
    int overlaid = 0;
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_array weights = {0};
        spade_model_layer(model, i, &info);
        if (!info.prunable) { continue; }
        assert_true(golden_array(context, "resnet", "fast_50", info.name, &weights));
        assert_int_equal(spade_array_size(&weights), info.rows * info.columns);
        golden_ok(context, spade_trace_set_weights(context, trace, i, weights.data));
        spade_array_clear(&weights);
        overlaid++;
    }
    assert_true(overlaid > 5);
    return trace;
}

static void check_method(spade_context *context, const spade_model *model, const spade_trace *trace, const char *folder,
                         const char *file, const char *method)
{
    spade_array inputs = {0}, should = {0}, deltas = {0};
    char delta_file[64];
    snprintf(delta_file, sizeof delta_file, "%s_delta", file);
    assert_true(golden_array(context, NULL, NULL, "inputs", &inputs));
    char path[512];
    snprintf(path, sizeof path, "%s/arrays/%s/%s.npy", SPADE_TEST_DATA, folder, file);
    golden_ok(context, spade_array_load(context, path, 0, &should));
    bool with_delta = (spade_method_find(method)->flags & SPADE_METHOD_COMPLETENESS) != 0;
    if (with_delta) {
        snprintf(path, sizeof path, "%s/arrays/%s/%s.npy", SPADE_TEST_DATA, folder, delta_file);
        golden_ok(context, spade_array_load(context, path, 0, &deltas));
    }
    int64_t size = spade_array_size(&should) / SCENES;
    float *map = malloc(sizeof *map * (size_t)size);
    assert_non_null(map);
    spade_attribution *attribution;
    golden_ok(context, spade_attribution_create(context, method, &attribution));
    for (int k = 0; k < SCENES; k++) {
        spade_map_note note = {0};
        golden_ok(context, spade_attribute(context, model, trace, attribution, inputs.data + k * size, &labels[k], 1,
                                           map, &note));
        double error = relative_error(map, should.data + k * size, size);
        print_message("%s %s scene %d: relative error %.2e\n", folder, file, k, error);
        assert_true(error < 1e-3);
        if (with_delta) {
            assert_true(fabs(note.delta - deltas.data[k]) < 0.02);
        } else {
            assert_true(isnan(note.delta));
        }
    }
    free(map);
    spade_attribution_destroy(attribution);
    spade_array_clear(&inputs);
    spade_array_clear(&should);
    spade_array_clear(&deltas);
}

static void check_network(const char *network, const char *folder, bool sparse)
{
    spade_context *context = golden_context(0, 0);
    spade_model *model = golden_model(context, network);
    spade_trace *trace = sparse ? fast_50(context, model) : NULL;
    check_method(context, model, trace, folder, "saliency", "saliency");
    check_method(context, model, trace, folder, "input_x_gradient", "input_x_gradient");
    check_method(context, model, trace, folder, "integrated_gradients_50", "integrated_gradients");
    spade_trace_destroy(trace);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_resnet(void **state)
{
    (void)state;
    check_network("resnet", "resnet", false);
}

static void test_mobilenet(void **state)
{
    (void)state;
    check_network("mobilenet", "mobilenet", false);
}

static void test_resnet_sparse(void **state)
{
    (void)state;
    check_network("resnet", "resnet_sparse50", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resnet),
        cmocka_unit_test(test_mobilenet),
        cmocka_unit_test(test_resnet_sparse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
