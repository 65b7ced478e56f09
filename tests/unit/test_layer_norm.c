/*
 * Layer normalisation from a file to the gradient: the operator, and the subgraph that was written before it existed, give the
 * same node; what only looks like it stays apart and is refused; values against plain loops, the gradient against differences.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model.h"
#include "engine/plan.h"
#include "support/context.h"
#include "support/backward.h"
#include "support/model.h"

/* RMSNorm is one without a mean. x [IMAGES, 2, 3, 4], normalised as tokens [IMAGES, 6, 4] over the last axis or both, flat at the end. */
enum { TOKENS = 6, WIDTH = 4, PIXELS = TOKENS * WIDTH, IMAGES = 3 };

static spade_model *load(spade_context *context, wire file)
{
    spade_model *model = NULL;
    if (spade_model_load(context, test_save("norm.onnx", file), NULL, &model) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    return model;
}

static void finish(spade_context *context, spade_model *model)
{
    spade_model_destroy(model);
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

static void refuse(wire network, int64_t opset, spade_status expected, const char *word)
{
    spade_context *context = test_context("cpu", 2);
    spade_model *model = NULL;
    const char *path = test_save("norm.onnx", model_with_opset(network, opset));
    assert_int_equal(spade_model_load(context, path, NULL, &model), expected);
    if (!strstr(spade_message(context), word)) { fail_msg("no \"%s\" in: %s", word, spade_message(context)); }
    finish(context, model);
}

/* The parts of what is no layer normalisation are taken as they are. */
static void expect_parts(wire network, int64_t opset)
{
    spade_context *context = test_context("cpu", 2);
    spade_model *model = NULL;
    const char *path = test_save("norm.onnx", model_with_opset(network, opset));
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    int sums = 0;
    for (int n = 0; n < model->network.node_count; n++) {
        assert_int_not_equal(model->network.nodes[n].kind, SPADE_NODE_LAYER_NORM);
        sums += model->network.nodes[n].kind == SPADE_NODE_REDUCE_SUM;
    }
    assert_int_equal(sums, 2);
    finish(context, model);
}

/* ---- files */

/* How a layer normalisation is written. */
typedef struct form {
    int axes; /* the last ones: 1 or 2 */
    bool scale, shift;
    bool product;          /* the square as Mul */
    bool constants_first;  /* in sums and products */
    bool axes_as_input;    /* opset 18 */
    bool root_mean_square; /* RMSNorm */
    bool reciprocal;       /* the quotient as Mul by Reciprocal */
} form;

static const float epsilon = 1e-3f;

/* Tokens "t" of "x", constants, and a result, which becomes "y". */
static wire start_with(const char *result)
{
    static const int64_t tokens[3] = {0, TOKENS, WIDTH}, row[1] = {WIDTH}, all[2] = {TOKENS, WIDTH};
    static const float two = 2, three = 3;
    wire network = graph_of(2, 3, 4, PIXELS);
    put_tensor(&network, tensor_int64("tokens", 3, tokens));
    put_tensor(&network, tensor_random("gamma1", 1, row, 1));
    put_tensor(&network, tensor_random("beta1", 1, row, 2));
    put_tensor(&network, tensor_random("gamma2", 2, all, 1));
    put_tensor(&network, tensor_random("beta2", 2, all, 2));
    put_tensor(&network, tensor_of("two", 0, NULL, &two));
    put_tensor(&network, tensor_of("three", 0, NULL, &three));
    put_tensor(&network, tensor_of("epsilon", 0, NULL, &epsilon));
    put_node(&network, node_of("tokens", "Reshape", "x tokens", "t"));
    put_node(&network, node_of("flat", "Flatten", result, "y"));
    return network;
}

static wire start(void)
{
    return start_with("n");
}

static wire chain_of(const form *f);

static wire operator_of(const form *f)
{
    wire network = start();
    if (f->root_mean_square && (f->shift || !f->scale)) { /* not in RMSNormalization: as another form of the chain */
        form other = *f;
        other.product = !f->product;
        wire_free(&network);
        return chain_of(&other);
    }
    if (f->root_mean_square) {
        wire node = node_of("norm", "RMSNormalization", f->axes == 1 ? "t gamma1" : "t gamma2", "n");
        put_node(&network, with_float(with_int(node, "axis", -f->axes), "epsilon", epsilon));
        return network;
    }
    wire node = node_of("norm", "LayerNormalization", "t", "n");
    wire_text(&node, 1, !f->scale ? "" : f->axes == 1 ? "gamma1" : "gamma2"); /* PyTorch 1.13 leaves it out too */
    if (f->shift) { wire_text(&node, 1, f->axes == 1 ? "beta1" : "beta2"); }
    put_node(&network, with_float(with_int(node, "axis", -f->axes), "epsilon", epsilon));
    return network;
}

static void put_mean(wire *network, const form *f, const char *name, const char *input, int64_t keep)
{
    static const int64_t axes[2] = {-2, -1};
    char inputs[32];
    snprintf(inputs, sizeof inputs, f->axes_as_input ? "%s axes" : "%s", input);
    wire node = with_int(node_of(name, "ReduceMean", inputs, name), "keepdims", keep);
    put_node(network, f->axes_as_input ? node : with_ints(node, "axes", f->axes, axes + 2 - f->axes));
}

static void put_binary(wire *network, const form *f, const char *op_type, const char *value, const char *constant,
                       const char *output)
{
    char inputs[64];
    snprintf(inputs, sizeof inputs, "%s %s", f->constants_first ? constant : value,
             f->constants_first ? value : constant);
    put_node(network, node_of(output, op_type, inputs, output));
}

/* Everything but the square, whose output is "square". */
static void put_chain(wire *network, const form *f)
{
    static const int64_t axes[2] = {-2, -1};
    if (f->axes_as_input) { put_tensor(network, tensor_int64("axes", f->axes, axes + 2 - f->axes)); }
    if (!f->root_mean_square) {
        put_mean(network, f, "mean", "t", 1);
        put_node(network, node_of("centre", "Sub", "t mean", "centre"));
    }
    const char *quotient = f->scale ? "z" : f->shift ? "s" : "n", *dividend = f->root_mean_square ? "t" : "centre";
    put_mean(network, f, "variance", "square", 1);
    put_binary(network, f, "Add", "variance", "epsilon", "spread");
    put_node(network, node_of("deviation", "Sqrt", "spread", "deviation"));
    if (f->reciprocal) {
        put_node(network, node_of("inverse", "Reciprocal", "deviation", "inverse"));
        put_binary(network, f, "Mul", dividend, "inverse", quotient);
    } else {
        char inputs[32];
        snprintf(inputs, sizeof inputs, "%s deviation", dividend);
        put_node(network, node_of("quotient", "Div", inputs, quotient));
    }
    if (f->scale) { put_binary(network, f, "Mul", "z", f->axes == 1 ? "gamma1" : "gamma2", f->shift ? "s" : "n"); }
    if (f->shift) { put_binary(network, f, "Add", "s", f->axes == 1 ? "beta1" : "beta2", "n"); }
}

static wire chain_of(const form *f)
{
    wire network = start();
    put_chain(&network, f);
    const char *product = f->root_mean_square ? "t t" : "centre centre",
               *power = f->root_mean_square ? "t two" : "centre two";
    put_node(&network,
             f->product ? node_of("square", "Mul", product, "square") : node_of("square", "Pow", power, "square"));
    return network;
}

/* ---- the same node */

static const spade_node *find_kind(const spade_model *model, spade_node_kind kind)
{
    for (int i = 0; i < model->network.node_count; i++) {
        if (model->network.nodes[i].kind == kind) { return &model->network.nodes[i]; }
    }
    return NULL;
}

static void assert_same_parameter(const spade_parameter *a, const spade_parameter *b)
{
    assert_int_equal(a->count, b->count);
    if (a->data) { assert_memory_equal(a->data, b->data, (size_t)a->count * sizeof *a->data); }
}

/* Logits [IMAGES, PIXELS] in plain loops. */
static void expect(const form *f, const float *x, double *y)
{
    const uint32_t n = f->axes == 1 ? WIDTH : PIXELS;
    for (uint32_t first = 0; first < IMAGES * PIXELS; first += n) {
        double mean = 0, variance = 0;
        for (uint32_t i = 0; i < n && !f->root_mean_square; i++) { mean += (double)x[first + i] / n; }
        for (uint32_t i = 0; i < n; i++) { variance += pow((double)x[first + i] - mean, 2) / n; }
        for (uint32_t i = 0; i < n; i++) {
            y[first + i] = ((double)x[first + i] - mean) / sqrt(variance + (double)epsilon);
            if (f->scale) { y[first + i] *= (double)pseudo_random(1, i); }
            if (f->shift) { y[first + i] += (double)pseudo_random(2, i); }
        }
    }
}

static void check_form(const form *f)
{
    spade_context *context = test_context("cpu", 2);
    spade_model *models[2];
    float x[IMAGES * PIXELS], y[2][IMAGES * PIXELS];
    double expected[IMAGES * PIXELS];
    for (uint32_t i = 0; i < IMAGES * PIXELS; i++) { x[i] = pseudo_random(7, i) + 0.5f; }
    expect(f, x, expected);
    for (int m = 0; m < 2; m++) {
        const int64_t opset = f->root_mean_square && !m && f->scale && !f->shift ? 23 : f->axes_as_input ? 18 : 17;
        models[m] = load(context, model_with_opset(m ? chain_of(f) : operator_of(f), opset));
        assert_int_equal(spade_model_forward(context, models[m], NULL, x, IMAGES, y[m]), SPADE_OK);
    }
    const spade_node *a = find_kind(models[0], SPADE_NODE_LAYER_NORM), *b = find_kind(models[1], SPADE_NODE_LAYER_NORM);
    assert_true(a && b);
    assert_int_equal(models[0]->network.node_count, models[1]->network.node_count);
    assert_int_equal(a->layer_norm.axis, 3 - f->axes);
    assert_int_equal(b->layer_norm.axis, 3 - f->axes);
    assert_int_equal(a->layer_norm.root_mean_square, f->root_mean_square);
    assert_int_equal(b->layer_norm.root_mean_square, f->root_mean_square);
    assert_memory_equal(&a->layer_norm.epsilon, &epsilon, sizeof epsilon);
    assert_memory_equal(&b->layer_norm.epsilon, &epsilon, sizeof epsilon);
    assert_same_parameter(&a->parameters[SPADE_SCALE], &b->parameters[SPADE_SCALE]);
    assert_int_equal(b->parameters[SPADE_SCALE].data != NULL, f->scale);
    assert_same_parameter(&a->parameters[SPADE_SHIFT], &b->parameters[SPADE_SHIFT]);
    assert_memory_equal(y[0], y[1], sizeof *y);
    for (int i = 0; i < IMAGES * PIXELS; i++) { assert_true(fabs((double)y[0][i] - expected[i]) < 1e-5); }
    spade_model_destroy(models[1]);
    finish(context, models[0]);
}

static void test_same_node(void **state)
{
    (void)state;
    for (int bits = 0; bits < 256; bits++) {
        const form f = {1 + (bits & 1), bits & 2, bits & 4, bits & 8, bits & 16, bits & 32, bits & 64, bits & 128};
        check_form(&f);
    }
}

/* A scale of one number, and of [1, 1, WIDTH], as files may hold them. */
static void test_broadcast_scale(void **state)
{
    (void)state;
    static const int64_t dims[3] = {1, 1, WIDTH};
    static const float half = 0.5f;
    const form plain = {.axes = 2};
    for (int whole = 0; whole < 2; whole++) {
        spade_context *context = test_context("cpu", 2);
        wire network = start();
        put_tensor(&network, tensor_of("half", 0, NULL, &half));
        put_tensor(&network, tensor_random("wide", 3, dims, 1));
        wire node = node_of("norm", "LayerNormalization", whole ? "t half" : "t wide", "n");
        put_node(&network, with_float(with_int(node, "axis", 1), "epsilon", epsilon));
        spade_model *model = load(context, model_with_opset(network, 17));
        float x[IMAGES * PIXELS], y[IMAGES * PIXELS];
        double expected[IMAGES * PIXELS];
        for (uint32_t i = 0; i < IMAGES * PIXELS; i++) { x[i] = pseudo_random(8, i); }
        expect(&plain, x, expected);
        assert_int_equal(spade_model_forward(context, model, NULL, x, IMAGES, y), SPADE_OK);
        for (uint32_t i = 0; i < IMAGES * PIXELS; i++) {
            const double scale = whole ? (double)half : (double)pseudo_random(1, i % WIDTH);
            assert_true(fabs((double)y[i] - expected[i] * scale) < 1e-5);
        }
        finish(context, model);
    }
}

/* ---- what is no layer normalisation */

/* A constant with a number for each token is no scale of a normalisation over the last axis: a product of its own. */
static void test_longer_constant(void **state)
{
    (void)state;
    spade_context *context = test_context("cpu", 2);
    static const int64_t all[3] = {1, TOKENS, WIDTH};
    const form f = {.axes = 1, .scale = true};
    wire network = start();
    put_tensor(&network, tensor_random("large", 3, all, 1));
    put_node(&network, node_of("mean", "ReduceMean", "t axes", "mean"));
    put_tensor(&network, tensor_int64("axes", 1, (const int64_t[]){-1}));
    put_node(&network, node_of("centre", "Sub", "t mean", "centre"));
    put_node(&network, node_of("square", "Pow", "centre two", "square"));
    put_node(&network, node_of("variance", "ReduceMean", "square axes", "variance"));
    put_binary(&network, &f, "Add", "variance", "epsilon", "spread");
    put_node(&network, node_of("deviation", "Sqrt", "spread", "deviation"));
    put_node(&network, node_of("quotient", "Div", "centre deviation", "z"));
    put_binary(&network, &f, "Mul", "z", "large", "n");
    spade_model *model = load(context, model_with_opset(network, 18));
    assert_non_null(find_kind(model, SPADE_NODE_MUL));
    assert_null(find_kind(model, SPADE_NODE_LAYER_NORM)->parameters[SPADE_SCALE].data);
    finish(context, model);
}

/* The chain over the last axis, but for the square. */
static wire open_chain(void)
{
    static const form f = {.axes = 1};
    wire network = start();
    put_chain(&network, &f);
    return network;
}

static wire chain_with_means(const form *first, int64_t keep, const form *second)
{
    wire network = start();
    put_mean(&network, first, "mean", "t", keep);
    put_node(&network, node_of("centre", "Sub", "t mean", "centre"));
    put_node(&network, node_of("square", "Pow", "centre two", "square"));
    put_mean(&network, second, "variance", "square", keep);
    put_node(&network, node_of("spread", "Add", "variance epsilon", "spread"));
    put_node(&network, node_of("deviation", "Sqrt", "spread", "deviation"));
    put_node(&network, node_of("quotient", "Div", "centre deviation", "n"));
    return network;
}

static void test_no_match(void **state)
{
    (void)state;
    static const form last = {.axes = 1}, two = {.axes = 2}, by_input = {.axes = 1, .axes_as_input = true};
    /* a third power; a product of two things */
    wire network = open_chain();
    put_node(&network, node_of("square", "Pow", "centre three", "square"));
    expect_parts(network, 17);
    network = open_chain();
    put_node(&network, node_of("square", "Mul", "centre t", "square"));
    expect_parts(network, 17);
    /* different axes, axes that are not the last ones or counted from the front, axes not kept */
    expect_parts(chain_with_means(&last, 1, &two), 17);
    refuse(chain_with_means(&last, 0, &last), 17, SPADE_ERROR_INPUT, "operands");
    static const struct {
        int64_t axis;
        spade_status status;
        const char *word;
    } others[] = {{-2, SPADE_OK, NULL},
                  {2, SPADE_OK, NULL},
                  {0, SPADE_ERROR_UNSUPPORTED, "over the batch"},
                  {-9, SPADE_ERROR_INPUT, "out of range"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        network = chain_with_means(&by_input, 1, &by_input);
        put_tensor(&network, tensor_int64("axes", 1, &others[i].axis));
        if (others[i].status == SPADE_OK) {
            expect_parts(network, 18);
        } else {
            refuse(network, 18, others[i].status, others[i].word);
        }
    }
    network = chain_with_means(&by_input, 1, &by_input);
    put_tensor(&network, tensor_int64("axes", 2, (const int64_t[]){-1, -1}));
    refuse(network, 18, SPADE_ERROR_INPUT, "twice");
    /* over all axes, the batch too: by its shape the subgraph is one */
    network = chain_with_means(&by_input, 1, &by_input);
    put_tensor(&network, tensor_int64("axes", 3, (const int64_t[]){-3, -2, -1}));
    refuse(network, 18, SPADE_ERROR_UNSUPPORTED, "images of a batch");
}

/* Another reader of what the chain computes on its way. */
static wire chain_with_reader(const char *between)
{
    static const form f = {.axes = 1, .scale = true, .shift = true};
    wire network = start_with("r");
    char inputs[32];
    snprintf(inputs, sizeof inputs, "n %s", between);
    put_chain(&network, &f);
    put_node(&network, node_of("square", "Pow", "centre two", "square"));
    put_node(&network, node_of("reader", "Add", inputs, "r"));
    return network;
}

static void test_other_reader(void **state)
{
    (void)state;
    static const char *const between[] = {"centre", "mean", "square", "variance", "spread", "deviation"};
    for (size_t i = 0; i < sizeof between / sizeof *between; i++) { expect_parts(chain_with_reader(between[i]), 17); }
    /* who reads the quotient keeps scale and shift apart, and it is one still */
    spade_context *context = test_context("cpu", 2);
    spade_model *model = load(context, model_with_opset(chain_with_reader("z"), 17));
    assert_non_null(find_kind(model, SPADE_NODE_MUL));
    assert_null(find_kind(model, SPADE_NODE_LAYER_NORM)->parameters[SPADE_SCALE].data);
    finish(context, model);
}

/* ---- what the operator may not be */

static wire operator_with(const char *inputs, const char *attribute, int64_t value)
{
    wire network = start();
    wire node = node_of("norm", "LayerNormalization", inputs, "n");
    put_node(&network, attribute ? with_int(node, attribute, value) : node);
    return network;
}

static void test_refused_operator(void **state)
{
    (void)state;
    refuse(operator_with("t gamma1", "axis", 3), 17, SPADE_ERROR_INPUT, "axis");
    refuse(operator_with("t gamma1", "axis", -4), 17, SPADE_ERROR_INPUT, "axis");
    refuse(operator_with("t gamma1", "axis", 0), 17, SPADE_ERROR_UNSUPPORTED, "images of a batch");
    refuse(operator_with("t gamma1", "stash_type", 16), 17, SPADE_ERROR_UNSUPPORTED, "stash_type");
    refuse(operator_with("t t", NULL, 0), 17, SPADE_ERROR_UNSUPPORTED, "input 1");
    refuse(operator_with("t tokens", NULL, 0), 17, SPADE_ERROR_UNSUPPORTED, "float32");
    refuse(operator_with("t gamma2", NULL, 0), 17, SPADE_ERROR_INPUT, "gamma2");
    refuse(operator_with("t gamma1 beta2", NULL, 0), 17, SPADE_ERROR_INPUT, "beta2");
    wire network = start();
    wire node = node_of("norm", "LayerNormalization", "t gamma1", "z");
    wire_text(&node, 2, "its mean");
    put_node(&network, with_float(node, "epsilon", -1));
    put_node(&network, node_of("sum", "Add", "z z", "n"));
    refuse(network, 17, SPADE_ERROR_INPUT, "epsilon");
    network = start();
    node = node_of("norm", "LayerNormalization", "t gamma1", "z");
    wire_text(&node, 2, "its_mean");
    put_node(&network, node);
    put_node(&network, node_of("sum", "Add", "z its_mean", "n"));
    refuse(network, 17, SPADE_ERROR_UNSUPPORTED, "its_mean");
}

/* ---- the gradient against differences: normalisations over one axis and over both, with and without parameters */

static wire differentiated(void)
{
    static const int64_t conv[4] = {4, 3, 1, 1}, tokens[3] = {0, 4, -1}, square[2] = {9, 9}, map[2] = {4, 9},
                         row[1] = {9}, last[2] = {36, 3};
    static const float one = 1;
    wire network = graph_of(3, 3, 3, 3);
    put_tensor(&network, tensor_random("w", 4, conv, 1));
    put_tensor(&network, tensor_int64("tokens", 3, tokens));
    put_tensor(&network, tensor_random("gamma", 1, row, 2));
    put_tensor(&network, tensor_random("beta", 1, row, 3));
    put_tensor(&network, tensor_random("square", 2, square, 4));
    put_tensor(&network, tensor_random("gamma2", 2, map, 5));
    put_tensor(&network, tensor_of("one", 0, NULL, &one));
    put_tensor(&network, tensor_random("last", 2, last, 6));
    put_node(&network, node_of("conv", "Conv", "x w", "c"));
    put_node(&network, node_of("tokens", "Reshape", "c tokens", "t"));
    put_node(&network, node_of("norm", "LayerNormalization", "t gamma beta", "n"));
    put_node(&network, node_of("linear", "MatMul", "n square", "l"));
    put_node(&network, node_of("residual", "Add", "l t", "r"));
    put_node(&network, with_int(node_of("norm2", "LayerNormalization", "r gamma2", "n2"), "axis", 1));
    put_node(&network, node_of("sigmoid", "Sigmoid", "n2", "s"));
    put_node(&network, node_of("norm3", "LayerNormalization", "s one", "n3"));
    put_node(&network, node_of("flat", "Flatten", "n3", "f"));
    put_node(&network, node_of("classes", "MatMul", "f last", "y"));
    return model_with_opset(network, 17);
}

static double objective(spade_context *context, const spade_model *model, const float *x, const float *seed)
{
    float y[2 * 3];
    double sum = 0;
    assert_int_equal(spade_model_forward(context, model, NULL, x, 2, y), SPADE_OK);
    for (int i = 0; i < 2 * 3; i++) { sum += (double)seed[i] * (double)y[i]; }
    return sum;
}

static void test_gradient(void **state)
{
    (void)state;
    enum { SIZE = 2 * 27 };
    static const float seed[2 * 3] = {1, -0.5f, 0.25f, -1, 0.5f, 2};
    spade_context *context = test_context("cpu", 2);
    spade_model *model = load(context, differentiated());
    spade_packed_weights *weights = NULL;
    spade_plan *plan = NULL;
    float x[SIZE], gradient[SIZE];
    const spade_plan_request request = spade_relevance_request(2, &spade_rules_gradient);
    for (uint32_t i = 0; i < SIZE; i++) { x[i] = pseudo_random(11, i); }
    assert_int_equal(spade_plan_create(context, &model->network, &request, &plan), SPADE_OK);
    assert_int_equal(spade_packed_weights_create(context, &model->network, NULL, &weights), SPADE_OK);
    assert_int_equal(spade_run_forward(plan, weights, x, NULL, NULL, NULL, NULL), SPADE_OK);
    assert_int_equal(test_run_backward(plan, weights, &model->network, seed, gradient), SPADE_OK);
    double norm = 0;
    for (int i = 0; i < SIZE; i++) { norm += (double)gradient[i] * (double)gradient[i]; }
    assert_true(norm > 0);
    for (int i = 0; i < SIZE; i++) {
        const float at = x[i], step = 5e-3f;
        x[i] = at + step;
        const double above = objective(context, model, x, seed);
        x[i] = at - step;
        const double below = objective(context, model, x, seed);
        x[i] = at;
        assert_true(fabs((above - below) / (2 * (double)step) - (double)gradient[i]) < 0.01 * sqrt(norm));
    }
    spade_packed_weights_destroy(weights);
    spade_plan_destroy(plan);
    finish(context, model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_node),       cmocka_unit_test(test_broadcast_scale),
                                       cmocka_unit_test(test_longer_constant), cmocka_unit_test(test_no_match),
                                       cmocka_unit_test(test_other_reader),    cmocka_unit_test(test_refused_operator),
                                       cmocka_unit_test(test_gradient)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
