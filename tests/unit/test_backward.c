/* The backward walk on a small network with every kind of node, against differences; plans of all kinds agree. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/backward.h"
#include "engine/backward.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "support/model.h"

enum { CHANNELS = 3, SIDE = 8, PIXELS = CHANNELS * SIDE * SIDE, CLASSES = 3, IMAGES = 2 };

/* Positive, as a variance has to be. */
static wire tensor_positive(const char *name, int64_t count)
{
    float values[16];
    for (uint32_t i = 0; i < (uint32_t)count; i++) { values[i] = 1.5f + pseudo_random(99, i); }
    return tensor_of(name, 1, &count, values);
}

static void put_weights(wire *network)
{
    static const int64_t conv[4] = {4, 3, 3, 3}, grouped[4] = {4, 2, 3, 3}, channels[1] = {4}, map[3] = {4, 1, 1},
                         product[2] = {4, 5}, gemm[2] = {20, CLASSES}, square[3] = {0, 4, 4};
    put_tensor(network, tensor_random("w", 4, conv, 1));
    put_tensor(network, tensor_random("w2", 4, grouped, 2));
    put_tensor(network, tensor_random("bias", 1, channels, 3));
    put_tensor(network, tensor_random("gamma", 1, channels, 4));
    put_tensor(network, tensor_random("beta", 1, channels, 5));
    put_tensor(network, tensor_random("mean", 1, channels, 6));
    put_tensor(network, tensor_positive("var", 4));
    put_tensor(network, tensor_random("map", 3, map, 7));
    put_tensor(network, tensor_random("product", 2, product, 8));
    put_tensor(network, tensor_random("gemm", 2, gemm, 9));
    put_tensor(network, tensor_int64("square", 3, square));
}

static wire every_kind(void)
{
    static const int64_t pads[4] = {1, 1, 1, 1}, two[2] = {2, 2};
    wire network = graph_of(CHANNELS, SIDE, SIDE, CLASSES);
    put_weights(&network);
    put_node(&network, with_ints(node_of("conv", "Conv", "x w", "c"), "pads", 4, pads));
    put_node(&network, node_of("norm", "BatchNormalization", "c gamma beta mean var", "a"));
    put_node(&network, node_of("sigmoid", "Sigmoid", "a", "s"));
    put_node(&network, node_of("gap", "GlobalAveragePool", "a", "g"));
    put_node(&network, node_of("gate", "Mul", "g s", "m"));
    put_node(&network, node_of("skip", "Add", "m a", "n"));
    wire conv = with_ints(with_int(node_of("conv2", "Conv", "n w2 bias", "o"), "group", 2), "pads", 4, pads);
    put_node(&network, conv);
    put_node(&network, node_of("relu", "Relu", "o", "o2"));
    wire pool = with_ints(with_ints(node_of("max", "MaxPool", "o2", "p"), "kernel_shape", 2, two), "strides", 2, two);
    put_node(&network, pool);
    put_node(&network, node_of("shift", "Add", "p map", "q"));
    pool = with_ints(with_ints(node_of("mean", "AveragePool", "q", "r"), "kernel_shape", 2, two), "strides", 2, two);
    put_node(&network, pool);
    put_node(&network, node_of("swish", "HardSwish", "r", "r1"));
    put_node(&network, node_of("square", "Mul", "r1 r1", "r2"));
    put_node(&network, node_of("left", "Reshape", "r1 square", "t"));
    put_node(&network, node_of("right", "Reshape", "r2 square", "t2"));
    put_node(&network, node_of("matmul", "MatMul", "t t2", "u"));
    put_node(&network, with_int(node_of("softmax", "Softmax", "u", "v"), "axis", -1));
    put_node(&network, node_of("linear", "MatMul", "v product", "z"));
    put_node(&network, node_of("flat", "Flatten", "z", "f"));
    put_node(&network, with_float(node_of("gemm", "Gemm", "f gemm", "y"), "alpha", 2));
    return model_of(network);
}

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_packed_weights *weights;
    float x[IMAGES * PIXELS];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.threads = 2;
    if (spade_context_create(&options, &f->context) != SPADE_OK ||
        spade_model_load(f->context, test_save("kinds.onnx", every_kind()), NULL, &f->model) != SPADE_OK ||
        spade_packed_weights_create(f->context, &f->model->network, NULL, &f->weights) != SPADE_OK) {
        print_error("%s\n", spade_message(f->context));
        return -1;
    }
    for (uint32_t i = 0; i < IMAGES * PIXELS; i++) { f->x[i] = pseudo_random(11, i); }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    spade_packed_weights_destroy(f->weights);
    spade_model_destroy(f->model);
    int left = f->context->used != 0;
    spade_context_destroy(f->context);
    free(f);
    return left;
}

static spade_plan *make_plan(fixture *f, int64_t batch, unsigned flags)
{
    spade_plan *plan = NULL;
    if (spade_plan_create(f->context, &f->model->network, batch, flags, &plan) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    return plan;
}

static void forward(fixture *f, spade_plan *plan, const float *x, float *y)
{
    if (spade_run_forward(plan, f->weights, x, y, NULL, NULL, NULL) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
}

static void test_gradient(void **state)
{
    fixture *f = *state;
    static const float seed[IMAGES * CLASSES] = {1, -0.5f, 0.25f, -1, 0.5f, 2};
    static float gradient[IMAGES * PIXELS];
    spade_plan *plan = make_plan(f, IMAGES, SPADE_PLAN_BACKWARD);
    float y[IMAGES * CLASSES];
    forward(f, plan, f->x, y);
    if (test_run_backward(plan, f->weights, &f->model->network, &spade_rules_gradient, seed, gradient) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    for (uint32_t direction = 0; direction < 8; direction++) {
        const float step = 2e-3f;
        static float moved[IMAGES * PIXELS];
        double along = 0, difference = 0, norm = 0;
        for (int sign = -1; sign <= 1; sign += 2) {
            for (uint32_t i = 0; i < IMAGES * PIXELS; i++) {
                moved[i] = f->x[i] + (float)sign * step * pseudo_random(20 + direction, i);
            }
            forward(f, plan, moved, y);
            for (int i = 0; i < IMAGES * CLASSES; i++) {
                difference += sign * (double)seed[i] * (double)y[i] / (2 * (double)step);
            }
        }
        for (uint32_t i = 0; i < IMAGES * PIXELS; i++) {
            along += (double)gradient[i] * (double)pseudo_random(20 + direction, i);
            norm += (double)gradient[i] * (double)gradient[i];
        }
        print_message("direction %u: gradient %.5f, difference %.5f, norm %.3f\n", direction, along, difference,
                      sqrt(norm));
        assert_true(fabs(along - difference) < 0.01 * sqrt(norm));
    }
    spade_plan_destroy(plan);
}

/* Fused or not, with taps or not, one by one or together: the same logits but for rounding. */
static spade_status count_tap(void *user, int layer, const spade_shape *shape, const float *x)
{
    (void)shape;
    assert_non_null(x);
    ((int *)user)[layer]++;
    return SPADE_OK;
}

static void test_plans_agree(void **state)
{
    fixture *f = *state;
    float expected[IMAGES * CLASSES], y[IMAGES * CLASSES];
    spade_plan *plan = make_plan(f, IMAGES, SPADE_PLAN_BACKWARD);
    forward(f, plan, f->x, expected);
    spade_plan_destroy(plan);
    for (int form = 0; form < 3; form++) {
        int64_t batch = form == 2 ? 1 : IMAGES;
        plan = make_plan(f, batch, form == 1 ? SPADE_PLAN_TAPS : SPADE_PLAN_FORWARD);
        for (int64_t i = 0; i < IMAGES; i += batch) { forward(f, plan, f->x + i * PIXELS, y + i * CLASSES); }
        for (int i = 0; i < IMAGES * CLASSES; i++) {
            assert_true(fabsf(y[i] - expected[i]) < 1e-4f * (1 + fabsf(expected[i])));
        }
        spade_plan_destroy(plan);
    }
    assert_int_equal(f->model->network.layer_count, 4);
    plan = make_plan(f, 1, SPADE_PLAN_TAPS);
    int seen[4] = {0};
    bool wanted[4] = {true, false, true, false};
    assert_int_equal(spade_run_forward(plan, f->weights, f->x, NULL, count_tap, seen, wanted), SPADE_OK);
    assert_int_equal(spade_run_forward(plan, f->weights, f->x, y, count_tap, seen, NULL), SPADE_OK);
    const int expected_seen[4] = {2, 1, 2, 1};
    assert_memory_equal(seen, expected_seen, sizeof seen);
    spade_plan_destroy(plan);
}

/* A kind without a rule is named, with its node. */
static void test_missing_rule(void **state)
{
    fixture *f = *state;
    spade_rules rules = spade_rules_gradient;
    static float out[PIXELS];
    float y[CLASSES];
    rules.name = "half a method";
    rules.rule[SPADE_NODE_SOFTMAX] = NULL;
    spade_plan *plan = make_plan(f, 1, SPADE_PLAN_BACKWARD);
    forward(f, plan, f->x, y);
    assert_int_equal(test_run_backward(plan, f->weights, &f->model->network, &rules, y, out), SPADE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(spade_message(f->context), "half a method"));
    assert_non_null(strstr(spade_message(f->context), "\"softmax\""));
    spade_plan_destroy(plan);
    plan = make_plan(f, 1, SPADE_PLAN_FORWARD);
    assert_int_equal(test_run_backward(plan, f->weights, &f->model->network, &spade_rules_gradient, y, out),
                     SPADE_ERROR_INTERNAL);
    spade_plan_destroy(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_gradient, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_plans_agree, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_missing_rule, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
