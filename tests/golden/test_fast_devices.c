/* The fast solver's weights of every layer against the oracle's: masks, weights, losses, zeros. float64 Hessians and
 * factors. */
#include <jansson.h>

#include "golden.h"

typedef struct golden_case {
    const char *tag;
    double sparsity;
    spade_count count;
} golden_case;

static const golden_case cases[] = {{"fast_50", 0.5, SPADE_COUNT_FLOOR},
                                    {"fast_90", 0.9, SPADE_COUNT_FLOOR},
                                    {"fast_50_published", 0.5, SPADE_COUNT_PUBLISHED}};

static void check_layer(spade_context *context, const spade_model *model, const spade_trace *trace, int layer,
                        const char *network, const char *tag, const json_t *solve)
{
    spade_layer_info info;
    spade_trace_layer result;
    spade_array golden;
    char key[512];
    spade_model_layer(model, layer, &info);
    spade_trace_layer_info(trace, layer, &result);
    assert_true(golden_array(context, network, tag, info.name, &golden));
    snprintf(key, sizeof key, "%s/%s/%s", network, tag, info.name);
    const json_t *expected = json_object_get(solve, key);
    assert_non_null(expected);

    const float *weights = spade_trace_weights(trace, layer);
    int64_t size = info.rows * info.columns, agree = 0;
    assert_int_equal(spade_array_size(&golden), size);
    double worst = 0;
    for (int64_t i = 0; i < size; i++) {
        bool same = (weights[i] == 0) == (golden.data[i] == 0);
        agree += same;
        if (same) { worst = fmax(worst, fabs((double)weights[i] - (double)golden.data[i])); }
    }
    double loss = json_number_value(json_object_get(expected, "loss"));
    double loss_error = loss != 0 ? fabs(result.loss - loss) / loss : fabs(result.loss);
    bool good = (double)agree >= 0.995 * (double)size && worst < 1e-3 && loss_error < 1e-3;
    if (!good || agree != size) {
        print_message("%s: %lld of %lld masks agree, weights within %.1e, loss within %.1e\n", key, (long long)agree,
                      (long long)size, worst, loss_error);
    }
    assert_true(good);
    assert_true(result.solved);
    assert_int_equal(result.weights, size);
    assert_int_equal(result.zeros, json_integer_value(json_object_get(expected, "zeros")));
    spade_array_clear(&golden);
}

static void test_every_layer(void **state)
{
    (void)state;
    json_error_t error;
    json_t *solve = json_load_file(SPADE_TEST_DATA "/solve.json", 0, &error);
    assert_non_null(solve);
    for (int n = 0; n < GOLDEN_NETWORKS; n++) {
        spade_context *context = golden_context(2, 0);
        spade_model *model = golden_model(context, golden_networks[n]);
        spade_array variants;
        spade_batch *batch = golden_batch(context, 0, &variants);
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            spade_trace_options options;
            spade_trace *trace = NULL;
            spade_trace_options_init(&options);
            options.hessian = SPADE_FP64;
            options.sparsity = cases[c].sparsity;
            options.count = cases[c].count;
            golden_ok(context, spade_trace_create(context, model, batch, &options, &trace));
            for (int l = 0; l < spade_model_layer_count(model); l++) {
                spade_layer_info info;
                spade_model_layer(model, l, &info);
                if (info.prunable) { check_layer(context, model, trace, l, golden_networks[n], cases[c].tag, solve); }
            }
            spade_trace_destroy(trace);
        }
        spade_batch_destroy(batch);
        spade_array_clear(&variants);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
    json_decref(solve);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_layer)};
    return cmocka_run_group_tests_name("golden fast solver", tests, NULL, NULL);
}
