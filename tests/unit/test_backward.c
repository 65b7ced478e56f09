/*
 * Relevance going back through a small network with every kind of node: the gradient against differences; rules with
 * operations, views of the weights and scratch of their own against plain loops; taps and an early end; what is refused. Plans
 * for all purposes agree.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "attribution/rules/rules.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "support/backward.h"
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

static spade_plan *make_plan(fixture *f, const spade_plan_request *request)
{
    spade_plan *plan = NULL;
    if (spade_plan_create(f->context, &f->model->network, request, &plan) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    return plan;
}

static spade_plan *gradient_plan(fixture *f, int64_t batch)
{
    const spade_plan_request request = spade_relevance_request(batch, &spade_rules_gradient);
    return make_plan(f, &request);
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
    spade_plan *plan = gradient_plan(f, IMAGES);
    float y[IMAGES * CLASSES];
    forward(f, plan, f->x, y);
    if (test_run_backward(plan, f->weights, &f->model->network, seed, gradient) != SPADE_OK) {
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
    spade_plan *plan = gradient_plan(f, IMAGES);
    forward(f, plan, f->x, expected);
    spade_plan_destroy(plan);
    for (int form = 0; form < 3; form++) {
        int64_t batch = form == 2 ? 1 : IMAGES;
        spade_plan_request request = spade_forward_request(batch);
        request.layer_inputs = form == 1;
        plan = make_plan(f, &request);
        for (int64_t i = 0; i < IMAGES; i += batch) { forward(f, plan, f->x + i * PIXELS, y + i * CLASSES); }
        for (int i = 0; i < IMAGES * CLASSES; i++) {
            assert_true(fabsf(y[i] - expected[i]) < 1e-4f * (1 + fabsf(expected[i])));
        }
        spade_plan_destroy(plan);
    }
    assert_int_equal(f->model->network.layer_count, 4);
    spade_plan_request request = spade_forward_request(1);
    request.layer_inputs = true;
    plan = make_plan(f, &request);
    int seen[4] = {0};
    bool wanted[4] = {true, false, true, false};
    assert_int_equal(spade_run_forward(plan, f->weights, f->x, NULL, count_tap, seen, wanted), SPADE_OK);
    assert_int_equal(spade_run_forward(plan, f->weights, f->x, y, count_tap, seen, NULL), SPADE_OK);
    const int expected_seen[4] = {2, 1, 2, 1};
    assert_memory_equal(seen, expected_seen, sizeof seen);
    spade_plan_destroy(plan);
}

/* ---- taps and where the walk ends */

static int find_value(const spade_network *network, const char *name)
{
    for (int v = 0; v < network->value_count; v++) {
        if (strcmp(network->values[v].name, name) == 0) { return v; }
    }
    fail_msg("no value \"%s\"", name);
    return -1;
}

static void download(fixture *f, const float *from, int64_t n, float *to)
{
    spade_device *device = f->context->device;
    assert_non_null(from);
    assert_int_equal(device->backend->download(device, to, from, (size_t)n * sizeof *to), SPADE_OK);
}

enum { POOLED = 4 * 4 * 4 }; /* "p", the max pooling's output, of one image */

/* A tapped value is there after the pass with its relevance, and is what a plan that ends there finds; the gradient of the
 * input does not move by a bit. */
static void test_taps_and_stop(void **state)
{
    fixture *f = *state;
    static const float seed[IMAGES * CLASSES] = {1, -0.5f, 0.25f, -1, 0.5f, 2};
    static float plain[IMAGES * PIXELS], tapped[IMAGES * PIXELS];
    float y[IMAGES * CLASSES], value[2][IMAGES * POOLED], relevance[2][IMAGES * POOLED];
    const int taps[] = {find_value(&f->model->network, "p"), find_value(&f->model->network, "n")};
    spade_plan_request request = spade_relevance_request(IMAGES, &spade_rules_gradient);
    spade_plan *plan = gradient_plan(f, IMAGES);
    forward(f, plan, f->x, y);
    assert_int_equal(test_run_backward(plan, f->weights, &f->model->network, seed, plain), SPADE_OK);
    const uint64_t bytes = spade_plan_bytes(plan);
    spade_plan_destroy(plan);
    request.taps = taps;
    request.tap_count = 2;
    plan = make_plan(f, &request);
    assert_true(spade_plan_bytes(plan) >= bytes);
    forward(f, plan, f->x, y);
    assert_int_equal(test_run_backward(plan, f->weights, &f->model->network, seed, tapped), SPADE_OK);
    assert_memory_equal(plain, tapped, sizeof plain);
    spade_shape shape;
    download(f, spade_plan_tap(plan, 0, &shape), IMAGES * POOLED, value[0]);
    assert_int_equal(spade_shape_size(&shape), IMAGES * POOLED);
    download(f, spade_plan_tap_relevance(plan, 0), IMAGES * POOLED, relevance[0]);
    spade_plan_destroy(plan);
    request.tap_count = 1;
    request.stop = taps[0];
    plan = make_plan(f, &request);
    forward(f, plan, f->x, y);
    spade_device *device = f->context->device;
    assert_int_equal(device->backend->upload(device, spade_plan_output_relevance(plan), seed, sizeof seed), SPADE_OK);
    assert_int_equal(spade_run_backward(plan, f->weights), SPADE_OK);
    download(f, spade_plan_tap(plan, 0, NULL), IMAGES * POOLED, value[1]);
    download(f, spade_plan_relevance(plan), IMAGES * POOLED, relevance[1]);
    assert_ptr_equal(spade_plan_relevance(plan), spade_plan_tap_relevance(plan, 0));
    assert_memory_equal(value[0], value[1], sizeof *value);
    assert_memory_equal(relevance[0], relevance[1], sizeof *relevance);
    /* it is the gradient: a step of the tapped value along it changes the output so much */
    double norm = 0;
    for (int i = 0; i < IMAGES * POOLED; i++) { norm += fabs((double)relevance[0][i]); }
    assert_true(norm > 0);
    spade_plan_destroy(plan);
}

/* Two plans serve each other's requests only if all that they are for is the same. */
static void test_requests_differ(void **state)
{
    fixture *f = *state;
    const int taps[] = {find_value(&f->model->network, "p"), find_value(&f->model->network, "n")};
    spade_plan_request request = spade_relevance_request(IMAGES, &spade_rules_gradient), other = request;
    spade_plan *plan = make_plan(f, &request);
    assert_true(spade_plan_serves(plan, &other));
    other.batch = 1;
    assert_false(spade_plan_serves(plan, &other));
    other = request, other.stop = taps[0];
    assert_false(spade_plan_serves(plan, &other));
    other = request, other.taps = taps, other.tap_count = 1;
    assert_false(spade_plan_serves(plan, &other));
    other = request, other.layer_inputs = true;
    assert_false(spade_plan_serves(plan, &other));
    other = request, other.rules = NULL;
    assert_false(spade_plan_serves(plan, &other));
    const int number = 7;
    const spade_rules with_options = {"with options", spade_rules_gradient.choose, &number, sizeof number};
    other = request, other.rules = &with_options;
    assert_false(spade_plan_serves(plan, &other));
    spade_plan_destroy(plan);
}

/* ---- a rule of its own: relevance of a layer in proportion to what each input's view of the weights contributes */

/* z = x (view of W), s = R / z, share = x * (view of W)^T s. */
static spade_status plan_proportion(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    const spade_weight_view *view = options;
    const spade_node_class *class = spade_node_class_of(node);
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_shape x = spade_input_shape(&shapes, 0), y = spade_output_shape(&shapes);
    spade_op_desc forward_op, back_op;
    spade_op_desc times = {.kind = SPADE_OP_POINTWISE, .a = x, .y = x, .step_count = 1};
    times.steps[0] = (spade_pointwise_step){.kind = SPADE_POINTWISE_MULTIPLY, .operand = x};
    spade_rule_keep(plan, SPADE_KEEP_INPUT_0);
    class->forward(&shapes, &forward_op);
    class->gradient(&shapes, 0, &back_op);
    SPADE_TRY(spade_rule_op(plan, &forward_op, *view));
    SPADE_TRY(spade_rule_op(plan, &back_op, *view));
    SPADE_TRY(spade_rule_op(plan, &times, (spade_weight_view){SPADE_W, 0, 0}));
    SPADE_TRY(spade_rule_scratch(plan, &y)); /* z, then s */
    return spade_rule_scratch(plan, &x);     /* (view of W)^T s */
}

static void divide(const float *relevance, int64_t n, float *z) /* the processor's memory is the host's */
{
    for (int64_t i = 0; i < n; i++) { z[i] = z[i] != 0 ? relevance[i] / z[i] : 0; }
}

static spade_status run_proportion(spade_rule_call *call, const spade_node *node, const void *options)
{
    (void)options, (void)node;
    float *z = spade_rule_scratch_at(call, 0), *back = spade_rule_scratch_at(call, 1);
    const float *x = spade_rule_input(call, 0);
    assert_non_null(x);
    assert_null(spade_rule_output(call)); /* nobody asked for it */
    spade_op_args args = {.a = x, .out = z};
    SPADE_TRY(spade_rule_run(call, 0, &args));
    divide(spade_rule_relevance(call), 4 * SIDE * SIDE, z);
    args = (spade_op_args){.dy = z, .out = back};
    SPADE_TRY(spade_rule_run(call, 1, &args));
    args = (spade_op_args){.a = x, .operands = {back}, .out = spade_rule_share(call, 0)};
    SPADE_TRY(spade_rule_run(call, 2, &args));
    return spade_rule_deliver(call, 0);
}

static const spade_rule proportion = {.name = "proportion", .plan = plan_proportion, .run = run_proportion};

static const spade_rule *choose_proportion(const spade_network *network, const spade_node *node, const void *options)
{
    (void)network, (void)options;
    bool first = node->kind == SPADE_NODE_CONVOLUTION && strcmp(node->name, "conv") == 0;
    return first ? &proportion : &spade_rule_gradient;
}

static double view_of(const spade_weight_view *view, double w)
{
    switch (view->kind) {
    case SPADE_W: return w;
    case SPADE_W_POSITIVE: return w > 0 ? w : 0;
    case SPADE_W_NEGATIVE: return w < 0 ? w : 0;
    case SPADE_W_SQUARED: return w * w;
    case SPADE_W_ONES: return 1;
    case SPADE_W_PLUS_GAMMA: return w + (double)view->gamma * (w > 0 ? w : 0);
    case SPADE_W_MINUS_GAMMA: return w + (double)view->gamma * (w < 0 ? w : 0);
    }
    return NAN;
}

/* Output position o of channel r of the first convolution (3x3, padding 1) reads pixel o + tap - 1: -1 outside. */
static int pixel_at(int o, int tap)
{
    int row = o / SIDE + tap / 3 - 1, column = o % SIDE + tap % 3 - 1;
    return row < 0 || row >= SIDE || column < 0 || column >= SIDE ? -1 : row * SIDE + column;
}

/* The share of the picture, from the relevance [4, SIDE, SIDE] of the convolution's output, channels last. */
static void expect_proportion(const spade_weight_view *view, const float *w, const float *x, const float *relevance,
                              double *share)
{
    for (int o = 0; o < 4 * SIDE * SIDE; o++) {
        int r = o / (SIDE * SIDE), at = o % (SIDE * SIDE);
        double z = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int i = 0; i < 27; i++) {
                int pixel = pixel_at(at, i % 9), c = i / 9;
                if (pixel < 0) { continue; }
                double part = (double)x[c * SIDE * SIDE + pixel] * view_of(view, (double)w[r * 27 + i]);
                if (pass == 0) { z += part; }
                if (pass == 1 && z != 0) { share[c * SIDE * SIDE + pixel] += part / z * (double)relevance[at * 4 + r]; }
            }
        }
    }
}

static void test_own_operations_and_views(void **state)
{
    fixture *f = *state;
    static const spade_weight_view views[] = {
        {SPADE_W, 0, 0},      {SPADE_W_POSITIVE, 0, 0},       {SPADE_W_NEGATIVE, 0, 0},      {SPADE_W_SQUARED, 0, 0},
        {SPADE_W_ONES, 0, 0}, {SPADE_W_PLUS_GAMMA, 0.25f, 0}, {SPADE_W_MINUS_GAMMA, 0.5f, 0}};
    static const float seed[CLASSES] = {1, -0.5f, 0.25f};
    const spade_network *network = &f->model->network;
    const int tap = find_value(network, "c");
    for (size_t v = 0; v < sizeof views / sizeof *views; v++) {
        static float x[PIXELS], out[PIXELS], relevance[4 * SIDE * SIDE], y[CLASSES];
        static double expected[PIXELS];
        const spade_rules rules = {"proportion", choose_proportion, &views[v], sizeof views[v]};
        spade_plan_request request = spade_relevance_request(1, &rules);
        request.taps = &tap;
        request.tap_count = 1;
        for (int i = 0; i < PIXELS; i++) { x[i] = 0.5f + fabsf(f->x[i]); } /* z of one sign for most views */
        spade_plan *plan = make_plan(f, &request);
        forward(f, plan, x, y);
        assert_int_equal(test_run_backward(plan, f->weights, network, seed, out), SPADE_OK);
        download(f, spade_plan_tap_relevance(plan, 0), 4 * SIDE * SIDE, relevance);
        memset(expected, 0, sizeof expected);
        expect_proportion(&views[v], network->layers[0].weights, x, relevance, expected);
        for (int i = 0; i < PIXELS; i++) {
            assert_true(fabs((double)out[i] - expected[i]) < 1e-3 * (1 + fabs(expected[i])));
        }
        spade_plan_destroy(plan);
    }
}

/* ---- what is refused */

static const spade_rule *choose_but_softmax(const spade_network *network, const spade_node *node, const void *options)
{
    (void)network, (void)options;
    return node->kind == SPADE_NODE_SOFTMAX ? NULL : &spade_rule_gradient;
}

/* A node without a rule is named while the plan is made; where the walk ends before it, it is not asked. */
static void test_missing_rule(void **state)
{
    fixture *f = *state;
    const spade_rules rules = {.name = "half a method", .choose = choose_but_softmax};
    spade_plan_request request = spade_relevance_request(1, &rules);
    spade_plan *plan = NULL;
    assert_int_equal(spade_plan_create(f->context, &f->model->network, &request, &plan), SPADE_ERROR_UNSUPPORTED);
    assert_null(plan);
    assert_non_null(strstr(spade_message(f->context), "half a method"));
    assert_non_null(strstr(spade_message(f->context), "\"softmax\""));
    request.stop = find_value(&f->model->network, "v"); /* the softmax's output */
    plan = make_plan(f, &request);
    spade_plan_destroy(plan);
}

static void test_no_way_back(void **state)
{
    fixture *f = *state;
    static float out[PIXELS];
    float y[CLASSES];
    spade_plan_request request = spade_forward_request(1);
    spade_plan *plan = make_plan(f, &request);
    forward(f, plan, f->x, y);
    assert_int_equal(test_run_backward(plan, f->weights, &f->model->network, y, out), SPADE_ERROR_INTERNAL);
    spade_plan_destroy(plan);
    /* a constant has no relevance */
    request = spade_relevance_request(1, &spade_rules_gradient);
    request.stop = find_value(&f->model->network, "map");
    plan = NULL;
    if (spade_plan_create(f->context, &f->model->network, &request, &plan) == SPADE_OK) { spade_plan_destroy(plan); }
    const int tap = find_value(&f->model->network, "c");
    request.stop = find_value(&f->model->network, "p");
    request.taps = &tap;
    request.tap_count = 1;
    assert_int_equal(spade_plan_create(f->context, &f->model->network, &request, &plan), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(f->context), "\"c\""));
}

/* ---- walks that begin inside of the network */

/* F = <seed, value>, after a forward pass at x. */
static double inner_sum(fixture *f, spade_plan *plan, const float *x, const float *seed)
{
    const spade_backend *backend = f->context->device->backend;
    spade_shape shape;
    double sum = 0;
    if (spade_run_forward(plan, f->weights, x, NULL, NULL, NULL, NULL) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    const float *value = spade_plan_tap(plan, 0, &shape);
    const int64_t size = spade_shape_size(&shape);
    float *copy = malloc(sizeof *copy * (size_t)size);
    assert_non_null(copy);
    assert_int_equal(backend->download(f->context->device, copy, value, sizeof *copy * (size_t)size), SPADE_OK);
    for (int64_t i = 0; i < size; i++) { sum += (double)seed[i] * (double)copy[i]; }
    free(copy);
    return sum;
}

static void check_gradient_of_value(fixture *f, int value)
{
    static float gradient[IMAGES * PIXELS], moved[IMAGES * PIXELS], seed[IMAGES * 4 * SIDE * SIDE];
    const spade_network *network = &f->model->network;
    const spade_backend *backend = f->context->device->backend;
    spade_plan_request request = spade_relevance_request(IMAGES, &spade_rules_gradient);
    request.start = value;
    request.taps = &value;
    request.tap_count = 1;
    spade_plan *plan = make_plan(f, &request);
    const spade_shape shape = spade_value_shape(&network->values[value], IMAGES);
    const size_t bytes = sizeof *seed * (size_t)spade_shape_size(&shape);
    assert_true(bytes <= sizeof seed);
    for (uint32_t i = 0; i < bytes / sizeof *seed; i++) { seed[i] = pseudo_random(31, i); }
    (void)inner_sum(f, plan, f->x, seed);
    assert_int_equal(backend->upload(f->context->device, spade_plan_output_relevance(plan), seed, bytes), SPADE_OK);
    assert_int_equal(spade_run_backward(plan, f->weights), SPADE_OK);
    memcpy(gradient, spade_plan_relevance(plan), sizeof gradient);
    for (uint32_t direction = 0; direction < 3; direction++) {
        const float step = 2e-3f;
        double along = 0, difference = 0, norm = 0;
        for (int sign = -1; sign <= 1; sign += 2) {
            for (uint32_t i = 0; i < IMAGES * PIXELS; i++) {
                moved[i] = f->x[i] + (float)sign * step * pseudo_random(20 + direction, i);
            }
            difference += sign * inner_sum(f, plan, moved, seed) / (2 * (double)step);
        }
        for (uint32_t i = 0; i < IMAGES * PIXELS; i++) {
            along += (double)gradient[i] * (double)pseudo_random(20 + direction, i);
            norm += (double)gradient[i] * (double)gradient[i];
        }
        if (!(fabs(along - difference) < 0.02 * sqrt(norm))) {
            fail_msg("from \"%s\", direction %u: gradient %.5f, difference %.5f, norm %.3f",
                     network->values[value].name, direction, along, difference, sqrt(norm));
        }
    }
    assert_true((spade_plan_output(plan) == NULL) == (value != network->output));
    spade_plan_destroy(plan);
}

static void test_inner_start(void **state)
{
    fixture *f = *state;
    const spade_network *network = &f->model->network;
    int checked = 0;
    for (int n = 0; n < network->node_count; n++) {
        check_gradient_of_value(f, network->nodes[n].outputs[0]);
        checked++;
    }
    assert_true(checked > 15);
}

/* A walk that ends where it begins, or behind that, has nothing to do. */
static void test_start_before_stop(void **state)
{
    fixture *f = *state;
    const spade_network *network = &f->model->network;
    spade_plan *plan;
    spade_plan_request request = spade_relevance_request(1, &spade_rules_gradient);
    request.start = network->nodes[0].outputs[0];
    request.stop = network->nodes[network->node_count - 1].inputs[0];
    assert_int_equal(spade_plan_create(f->context, network, &request, &plan), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(f->context), "does not depend on"));
    assert_null(plan);
    spade_error_clear(f->context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_gradient, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_inner_start, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_start_before_stop, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_plans_agree, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_taps_and_stop, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_requests_differ, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_own_operations_and_views, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_missing_rule, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_no_way_back, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
