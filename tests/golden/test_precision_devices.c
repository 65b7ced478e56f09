/*
 * A trace in TF32 and in bfloat16 beside the one in float32: they are found, and differ by what the rounding of the
 * network's inputs and weights makes of Hessians, losses and masks. Only where the device has these precisions.
 */
#include "golden.h"

typedef struct solution {
    spade_context *context; /* NULL: the device has no such precision */
    spade_model *model;
    spade_trace *trace;
    float logits[12 * 10]; /* of the network, on golden inputs */
} solution;

/* 9 variants, every prunable layer of the ResNet. */
static solution find(spade_network_precision precision)
{
    spade_context_options options;
    spade_trace_options trace_options;
    spade_array variants, inputs;
    solution s = {0};
    spade_context_options_init(&options);
    options.device = test_device();
    options.threads = 2;
    options.precision = precision;
    if (spade_context_create(&options, &s.context) != SPADE_OK) {
        assert_string_equal(test_device(), "cpu"); /* which knows float32 only */
        spade_context_destroy(s.context);
        s.context = NULL;
        return s;
    }
    s.model = golden_model(s.context, "resnet");
    spade_batch *batch = golden_batch(s.context, 9, &variants);
    spade_trace_options_init(&trace_options);
    golden_ok(s.context, spade_trace_create(s.context, s.model, batch, &trace_options, &s.trace));
    assert_true(golden_array(s.context, NULL, NULL, "inputs", &inputs));
    golden_ok(s.context, spade_model_forward(s.context, s.model, s.trace, inputs.data, inputs.dims[0], s.logits));
    spade_array_clear(&inputs);
    spade_batch_destroy(batch);
    spade_array_clear(&variants);
    return s;
}

static void close_solution(solution *s)
{
    spade_trace_destroy(s->trace);
    spade_model_destroy(s->model);
    spade_context_destroy(s->context);
}

static double sum_of_losses(const solution *s)
{
    double sum = 0;
    for (int l = 0; l < spade_model_layer_count(s->model); l++) {
        spade_trace_layer layer;
        spade_trace_layer_info(s->trace, l, &layer);
        sum += layer.loss;
    }
    return sum;
}

/* Weights that are zero in both traces or in none, of all. */
static double agreement(const solution *a, const solution *b)
{
    double same = 0, all = 0;
    for (int l = 0; l < spade_model_layer_count(a->model); l++) {
        spade_layer_info info;
        spade_model_layer(a->model, l, &info);
        const float *w = spade_trace_weights(a->trace, l), *v = spade_trace_weights(b->trace, l);
        for (int64_t i = 0; info.prunable && i < info.rows * info.columns; i++) {
            same += (w[i] == 0) == (v[i] == 0);
            all++;
        }
    }
    return same / all;
}

static void compare(const solution *exact, const solution *other, double loss, double masks)
{
    const double error = fabs(sum_of_losses(other) / sum_of_losses(exact) - 1), same = agreement(exact, other);
    print_message("loss %.1e off, masks agree on %.4f\n", error, same);
    assert_true(error > 0 && error < loss);
    assert_true(same < 1 && same > masks);
    for (int image = 0; image < 12; image++) {
        int best[2] = {0};
        for (int c = 1; c < 10; c++) {
            best[0] = exact->logits[image * 10 + c] > exact->logits[image * 10 + best[0]] ? c : best[0];
            best[1] = other->logits[image * 10 + c] > other->logits[image * 10 + best[1]] ? c : best[1];
        }
        assert_int_equal(best[0], best[1]);
    }
}

static void test_rounded_traces_are_close(void **state)
{
    (void)state;
    solution tf32 = find(SPADE_NETWORK_TF32), bf16 = find(SPADE_NETWORK_BF16);
    if (!tf32.context || !bf16.context) { skip(); }
    solution exact = find(SPADE_NETWORK_FP32);
    compare(&exact, &tf32, 5e-3, 0.99);
    compare(&exact, &bf16, 2e-2, 0.97);
    close_solution(&exact);
    close_solution(&tf32);
    close_solution(&bf16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rounded_traces_are_close)};
    return cmocka_run_group_tests_name("golden traces in lower precision", tests, NULL, NULL);
}
