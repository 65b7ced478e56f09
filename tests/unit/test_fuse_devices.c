/*
 * What plans fuse into one operation, and what they must not; where chains write; and random elementwise networks
 * against their nodes one by one, with the gradient past normalisations against the gradient through them.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/backward.h"
#include "support/device.h"
#include "engine/model.h"
#include "engine/plan.h"
#include "support/model.h"
#include "support/reference.h"

enum { C = 4, H = 3, W = 5, PIXELS = C * H * W, IMAGES = 2, GRAPHS = 120, NODES = 16 };

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_packed_weights *weights;
} fixture;

static fixture load(wire file, const char *device)
{
    fixture n = {0};
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = device;
    options.threads = 2;
    if (spade_context_create(&options, &n.context) != SPADE_OK ||
        spade_model_load(n.context, test_save("fuse.onnx", file), NULL, &n.model) != SPADE_OK ||
        spade_packed_weights_create(n.context, &n.model->network, NULL, &n.weights) != SPADE_OK) {
        fail_msg("%s", spade_message(n.context));
    }
    return n;
}

static void unload(fixture *n)
{
    spade_packed_weights_destroy(n->weights);
    spade_model_destroy(n->model);
    assert_int_equal(n->context->used, n->context->device->own_bytes);
    spade_context_destroy(n->context);
}

/* What plans are for: logits, looking at the layers' inputs, the gradient. */
enum { FORWARD, LAYER_INPUTS, BACKWARD, PURPOSES };

static spade_plan *make_plan(const fixture *n, const spade_network *network, int64_t batch, int purpose)
{
    spade_plan *plan = NULL;
    spade_plan_request request = spade_forward_request(batch);
    request.layer_inputs = purpose == LAYER_INPUTS;
    request.rules = purpose == BACKWARD ? &spade_rules_gradient : NULL;
    if (spade_plan_create(n->context, network, &request, &plan) != SPADE_OK) {
        fail_msg("%s", spade_message(n->context));
    }
    return plan;
}

/* ---- what is fused */

/* The chains of a plan in words: "norm+skip+relu sigmoid". */
static char *describe_chains(const spade_plan *plan, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int s = 0; s < plan->step_count; s++) {
        const spade_step *step = &plan->steps[s];
        for (int i = 0; i < step->fused_count; i++) {
            used += (size_t)snprintf(text + used, size - used, "%s%s",
                                     i      ? "+"
                                     : used ? " "
                                            : "",
                                     plan->network->nodes[step->fused[i]].name);
        }
    }
    return text;
}

static void expect_chains(const fixture *n, int purpose, const char *expected)
{
    char text[256];
    spade_plan *plan = make_plan(n, &n->model->network, IMAGES, purpose);
    assert_string_equal(describe_chains(plan, text, sizeof text), expected);
    spade_plan_destroy(plan);
}

static void put_channel_vectors(wire *network)
{
    static const int64_t channels[1] = {C}, map[3] = {C, 1, 1};
    static const float variance[C] = {0.5f, 1, 1.5f, 2};
    put_tensor(network, tensor_random("gamma", 1, channels, 1));
    put_tensor(network, tensor_random("beta", 1, channels, 2));
    put_tensor(network, tensor_random("mean", 1, channels, 3));
    put_tensor(network, tensor_of("var", 1, channels, variance));
    put_tensor(network, tensor_random("map", 3, map, 4));
}

/* Two convolutions with normalisations meet in a sum: the earlier one's chain goes through it, where the later one
 * ends. */
static wire residual_block(void)
{
    static const int64_t kernel[4] = {C, C, 1, 1};
    wire network = graph_of(C, H, W, PIXELS);
    put_channel_vectors(&network);
    put_tensor(&network, tensor_random("w", 4, kernel, 5));
    put_tensor(&network, tensor_random("v", 4, kernel, 6));
    put_node(&network, node_of("conv", "Conv", "x w", "a"));
    put_node(&network, node_of("norm", "BatchNormalization", "a gamma beta mean var", "b"));
    put_node(&network, node_of("down", "Conv", "x v", "c"));
    put_node(&network, node_of("norm2", "BatchNormalization", "c gamma beta mean var", "d"));
    put_node(&network, node_of("sum", "Add", "b d", "e"));
    put_node(&network, node_of("relu", "Relu", "e", "f"));
    put_node(&network, node_of("conv2", "Conv", "f w", "g"));
    put_node(&network, node_of("norm3", "BatchNormalization", "g gamma beta mean var", "h"));
    put_node(&network, node_of("relu3", "Relu", "h", "i"));
    put_node(&network, node_of("flat", "Flatten", "i", "y"));
    return model_of(network);
}

static void test_residual(void **state)
{
    (void)state;
    fixture n = load(residual_block(), "cpu");
    expect_chains(&n, FORWARD, "sum+relu");
    expect_chains(&n, LAYER_INPUTS, "sum+relu");
    expect_chains(&n, BACKWARD, "norm2 norm+sum+relu norm3+relu3");
    spade_plan *plan = make_plan(&n, &n.model->network, IMAGES, FORWARD);
    /* The sum writes over one of its operands: of the images only the input and two activations are there at once. */
    assert_true(plan->arena_bytes - plan->workspace_bytes <= 3 * IMAGES * PIXELS * sizeof(float) + 3 * 64);
    spade_plan_destroy(plan);
    unload(&n);
}

/* A layer does the relu after it in a backward plan too: the relu's gradient reads its output. */
static void test_layer_and_relu(void **state)
{
    (void)state;
    static const int64_t kernel[4] = {C, C, 1, 1};
    wire network = graph_of(C, H, W, PIXELS);
    put_tensor(&network, tensor_random("w", 4, kernel, 5));
    put_node(&network, node_of("conv", "Conv", "x w", "a"));
    put_node(&network, node_of("relu", "Relu", "a", "b"));
    put_node(&network, node_of("flat", "Flatten", "b", "y"));
    fixture n = load(model_of(network), "cpu");
    for (int purpose = 0; purpose < PURPOSES; purpose++) {
        spade_plan *plan = make_plan(&n, &n.model->network, IMAGES, purpose);
        int relus = 0;
        for (int s = 0; s < plan->step_count; s++) { relus += plan->steps[s].relu; }
        assert_int_equal(relus, 1);
        spade_plan_destroy(plan);
        expect_chains(&n, purpose, "");
    }
    unload(&n);
}

/* A broadcast that changes the shape, values that a backward rule reads, a value that two nodes read. */
static void test_apart(void **state)
{
    (void)state;
    static const int64_t window[2] = {H, W};
    wire network = graph_of(C, H, W, PIXELS);
    put_channel_vectors(&network);
    put_node(&network, node_of("norm", "BatchNormalization", "x gamma beta mean var", "a"));
    put_node(&network, with_ints(node_of("pool", "MaxPool", "a", "p"), "kernel_shape", 2, window));
    put_node(&network, node_of("shift", "Add", "p map", "q"));
    put_node(&network, node_of("gate", "Sigmoid", "q", "s"));
    put_node(&network, node_of("excite", "Mul", "a s", "m"));
    put_node(&network, node_of("swish", "HardSwish", "m", "n"));
    put_node(&network, node_of("relu", "Relu", "n", "o"));
    put_node(&network, node_of("clip", "HardSigmoid", "o", "r"));
    put_node(&network, node_of("flat", "Flatten", "r", "y"));
    fixture n = load(model_of(network), "cpu");
    expect_chains(&n, FORWARD, "norm shift+gate excite+swish+relu+clip");
    expect_chains(&n, BACKWARD, "norm shift gate excite swish+relu clip");
    unload(&n);
}

static wire eight_in_a_row(void)
{
    wire network = graph_of(C, H, W, PIXELS);
    char in[8] = "x", out[8], name[8];
    for (int i = 0; i < 8; i++) {
        snprintf(out, sizeof out, "v%d", i);
        snprintf(name, sizeof name, "%d", i);
        put_node(&network, node_of(name, "Tanh", in, out));
        memcpy(in, out, sizeof in);
    }
    put_node(&network, node_of("flat", "Flatten", in, "y"));
    return model_of(network);
}

/* No more steps than a chain can have; the network's output ends one. */
static void test_length(void **state)
{
    (void)state;
    fixture n = load(eight_in_a_row(), "cpu");
    char text[256];
    expect_chains(&n, FORWARD, "0+1+2+3+4+5 6+7");
    spade_network shorter = n.model->network;
    for (int i = 0; i < shorter.node_count; i++) {
        if (strcmp(shorter.nodes[i].name, "2") == 0) { shorter.output = shorter.nodes[i].outputs[0]; }
    }
    assert_int_not_equal(shorter.output, n.model->network.output);
    spade_plan *plan = make_plan(&n, &shorter, 1, FORWARD);
    assert_string_equal(describe_chains(plan, text, sizeof text), "0+1+2 3+4+5+6+7");
    /* It is not written over either. */
    for (int s = 0; s < plan->step_count; s++) {
        int output = plan->steps[s].output;
        if (output == shorter.output) { continue; }
        const spade_buffer *a = &plan->buffers[plan->value_buffer[output]];
        const spade_buffer *b = &plan->buffers[plan->value_buffer[shorter.output]];
        assert_true(a != b || s == 0);
    }
    spade_plan_destroy(plan);
    unload(&n);
}

/* ---- random networks against their nodes one by one */

typedef struct builder {
    wire network;
    uint32_t seed, drawn;
    int count;
    bool gate[NODES + 1]; /* [C, 1, 1], else [C, H, W] */
} builder;

static int draw(builder *b, int n)
{
    float x = (pseudo_random(b->seed, b->drawn++) + 1) / 2;
    int i = (int)(x * (float)n);
    return i < n ? i : n - 1;
}

/* A recent value, so that there are long rows of nodes with some forks. */
static int draw_value(builder *b)
{
    int back = draw(b, 3) ? 0 : draw(b, b->count);
    return b->count - 1 - back;
}

static void put_random_node(builder *b)
{
    static const char *const functions[] = {"Relu", "Relu", "Sigmoid", "HardSigmoid", "HardSwish", "Clip"};
    static const int64_t window[2] = {H, W};
    int from = draw_value(b), kind = draw(b, 12);
    char name[16], in[80], out[16];
    bool gate = b->gate[from];
    snprintf(name, sizeof name, "n%d", b->count);
    snprintf(in, sizeof in, "v%d", from);
    snprintf(out, sizeof out, "v%d", b->count);
    wire node;
    if (kind < 5) {
        const char *function = functions[draw(b, sizeof functions / sizeof *functions)];
        if (strcmp(function, "Clip") == 0) { snprintf(in, sizeof in, "v%d low high", from); }
        node = node_of(name, function, in, out);
    } else if (kind < 7) {
        snprintf(in, sizeof in, "v%d gamma beta mean var", from);
        node = node_of(name, "BatchNormalization", in, out);
    } else if (kind < 11) {
        int other = draw_value(b);
        snprintf(in, sizeof in, "v%d v%d", from, other);
        if (!draw(b, 4)) {
            snprintf(in, sizeof in, "v%d map", from);
        } else {
            gate = gate && b->gate[other];
        }
        node = node_of(name, draw(b, 2) ? "Add" : "Mul", in, out);
    } else {
        int64_t one[2] = {1, 1};
        node = with_ints(node_of(name, "MaxPool", in, out), "kernel_shape", 2, gate ? one : window);
        gate = true;
    }
    put_node(&b->network, node);
    b->gate[b->count++] = gate;
}

static wire random_network(uint32_t seed)
{
    static const float low = -0.5f, high = 0.75f;
    builder b = {.network = graph_of(C, H, W, PIXELS), .seed = 1000 + seed, .count = 1};
    char in[40];
    put_channel_vectors(&b.network);
    put_tensor(&b.network, tensor_of("low", 0, NULL, &low));
    put_tensor(&b.network, tensor_of("high", 0, NULL, &high));
    put_node(&b.network, node_of("first", "Clip", "x", "v0"));
    int count = 4 + draw(&b, NODES - 4);
    while (b.count < count) { put_random_node(&b); }
    snprintf(in, sizeof in, "v%d v0", b.count - 1);
    put_node(&b.network, node_of("last", "Add", in, "whole"));
    put_node(&b.network, node_of("flat", "Flatten", "whole", "y"));
    return model_of(b.network);
}

/* In the numbers of the functions' own definition: it is not they that are tested here. */
static float function_of(const spade_node *node, float x)
{
    switch (node->pointwise.function) {
#define VALUE(function, name, f, derivative, loop)                                                                     \
    case function: return f(x, node->pointwise.alpha, node->pointwise.beta);
        SPADE_FUNCTIONS(VALUE)
#undef VALUE
    case SPADE_FUNCTION_COUNT: break;
    }
    return NAN;
}

/* Element i of [C, H, W] of a value that may be [C, 1, 1]. */
static float element(const spade_network *network, float (*values)[PIXELS], int value, int i)
{
    const spade_value *v = &network->values[value];
    bool gate = spade_shape_size(&v->shape) == C;
    const float *data = v->constant ? v->constant : values[value];
    return data[gate ? i / (H * W) : i];
}

static float node_element(const spade_network *network, float (*values)[PIXELS], const spade_node *node, int i)
{
    float x = element(network, values, node->inputs[0], i);
    switch (node->kind) {
    case SPADE_NODE_BATCH_NORM:
        return x * node->parameters[SPADE_SCALE].data[i / (H * W)] + node->parameters[SPADE_SHIFT].data[i / (H * W)];
    case SPADE_NODE_FUNCTION: return function_of(node, x);
    case SPADE_NODE_ADD: return x + element(network, values, node->inputs[1], i);
    case SPADE_NODE_MUL: return x * element(network, values, node->inputs[1], i);
    case SPADE_NODE_MAX_POOL: /* over the whole channel */
        for (int j = i / (H * W) * H * W, end = j + H * W; j < end; j++) {
            x = fmaxf(x, element(network, values, node->inputs[0], j));
        }
        return x;
    default: return x; /* RESHAPE, CONVERT_LAYOUT */
    }
}

/* One image through the nodes in their order; false: a number became too large to be compared. */
static bool run_nodes(const spade_network *network, float (*values)[PIXELS])
{
    bool fine = true;
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        bool gate = spade_shape_size(&network->values[node->outputs[0]].shape) == C;
        for (int i = 0; i < PIXELS; i++) {
            float v = node_element(network, values, node, i);
            values[node->outputs[0]][gate ? i / (H * W) : i] = v;
            fine = fine && fabsf(v) < 1e6f;
        }
    }
    return fine;
}

static double derivative_of(const spade_node *node, float x)
{
    return reference_functions[node->pointwise.function].derivative(x, node->pointwise.alpha, node->pointwise.beta);
}

/* d(element i of the node's output) / d(element i of input k), broadcast elements by themselves. */
static double derivative(const spade_network *network, float (*values)[PIXELS], const spade_node *node, int k, int i)
{
    float x = element(network, values, node->inputs[0], i);
    switch (node->kind) {
    case SPADE_NODE_BATCH_NORM: return node->parameters[SPADE_SCALE].data[i / (H * W)];
    case SPADE_NODE_FUNCTION: return derivative_of(node, x);
    case SPADE_NODE_MUL: return element(network, values, node->inputs[1 - k], i);
    case SPADE_NODE_MAX_POOL: /* the first of the largest */
        for (int j = i / (H * W) * H * W; j < (i / (H * W) + 1) * H * W; j++) {
            float other = element(network, values, node->inputs[0], j);
            if (other > x || (other == x && j < i)) { return 0; }
        }
        return 1;
    default: return 1;
    }
}

/* gradient [values][PIXELS]: that of the output is given, the others are zero. */
static void run_nodes_back(const spade_network *network, float (*values)[PIXELS], double (*gradient)[PIXELS])
{
    for (int n = network->node_count - 1; n >= 0; n--) {
        const spade_node *node = &network->nodes[n];
        bool gate = spade_shape_size(&network->values[node->outputs[0]].shape) == C;
        for (int k = 0; k < node->input_count; k++) {
            bool from_gate = spade_shape_size(&network->values[node->inputs[k]].shape) == C;
            int step = gate && from_gate ? H * W : 1; /* of a gate, one element stands for all */
            for (int i = 0; i < PIXELS; i += step) {
                double dy = gradient[node->outputs[0]][gate ? i / (H * W) : i];
                gradient[node->inputs[k]][from_gate ? i / (H * W) : i] += dy * derivative(network, values, node, k, i);
            }
        }
    }
}

/* Every value fits where it lies. */
static void check_room(const spade_plan *plan)
{
    for (int v = 0; v < plan->network->value_count; v++) {
        if (plan->value_buffer[v] < 0) { continue; }
        spade_shape shape = spade_value_shape(&plan->network->values[v], plan->request.batch);
        size_t bytes = (size_t)spade_shape_size(&shape) * sizeof(float);
        assert_true(bytes <= plan->buffers[plan->value_buffer[v]].bytes);
    }
}

/* Every plan gives what the nodes give: on the processor to the last bit. */
static void compare_plans(const fixture *n, const float *x, const float *expected)
{
    float y[IMAGES * PIXELS];
    for (int purpose = 0; purpose < PURPOSES; purpose++) {
        spade_plan *plan = make_plan(n, &n->model->network, IMAGES, purpose);
        check_room(plan);
        if (spade_run_forward(plan, n->weights, x, y, NULL, NULL, NULL) != SPADE_OK) {
            fail_msg("%s", spade_message(n->context));
        }
        spade_plan_destroy(plan);
        for (int i = 0; i < IMAGES * PIXELS; i++) {
            float allowed = n->context->device->backend->host_memory ? 0 : 1e-5f * (1 + fabsf(expected[i]));
            assert_true(fabsf(y[i] - expected[i]) <= allowed);
        }
    }
}

/* The gradient again, but normalisations by an operation of the rule's own: nothing goes on through them. */
static spade_status plan_through(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_shape dy = spade_output_shape(&shapes);
    spade_op_desc desc = {.kind = SPADE_OP_POINTWISE, .a = dy, .y = dy, .step_count = 1};
    (void)node, (void)options;
    desc.steps[0] = (spade_pointwise_step){.kind = SPADE_POINTWISE_MULTIPLY, .operand = spade_channel_shape(&dy)};
    return spade_rule_op(plan, &desc, (spade_weight_view){.kind = SPADE_W});
}

static spade_status run_through(spade_rule_call *call, const spade_node *node, const void *options)
{
    (void)node, (void)options;
    spade_op_args args = {.a = spade_rule_relevance(call), .out = spade_rule_share(call, 0)};
    args.operands[0] = spade_rule_parameter(call, SPADE_SCALE);
    SPADE_TRY(spade_rule_run(call, 0, &args));
    return spade_rule_deliver(call, 0);
}

static const spade_rule through = {.name = "through", .plan = plan_through, .run = run_through};

static const spade_rule *choose_through(const spade_network *network, const spade_node *node, const void *options)
{
    (void)network, (void)options;
    return node->kind == SPADE_NODE_BATCH_NORM ? &through : &spade_rule_gradient;
}

/* Forward, then the gradient seeded with x. */
static void run_gradient(const fixture *n, spade_plan *plan, const float *x, float *gradient)
{
    float y[IMAGES * PIXELS];
    assert_int_equal(spade_run_forward(plan, n->weights, x, y, NULL, NULL, NULL), SPADE_OK);
    assert_int_equal(test_run_backward(plan, n->weights, &n->model->network, x, gradient), SPADE_OK);
}

/* The gradient: the same bits past and through normalisations, and what the nodes give. Returns the number of nodes that a
 * sequence of the walk back goes on through. */
static int compare_gradients(const fixture *n, const float *x, const double *expected)
{
    float past[IMAGES * PIXELS], slow[IMAGES * PIXELS];
    const spade_rules rules = {.name = "the gradient through normalisations", .choose = choose_through};
    const spade_plan_request request = spade_relevance_request(IMAGES, &rules);
    spade_plan *plan = make_plan(n, &n->model->network, IMAGES, BACKWARD), *other = NULL;
    assert_int_equal(spade_plan_create(n->context, &n->model->network, &request, &other), SPADE_OK);
    run_gradient(n, plan, x, past);
    run_gradient(n, other, x, slow);
    assert_memory_equal(past, slow, sizeof past);
    for (int i = 0; n->context->device->backend->host_memory && i < IMAGES * PIXELS; i++) {
        assert_true(fabs(past[i] - expected[i]) <= 2e-5 * (1 + fabs(expected[i])));
    }
    int count = 0;
    for (int i = 0; i < n->model->network.node_count; i++) { count += plan->back[i].passed; }
    spade_plan_destroy(plan);
    spade_plan_destroy(other);
    return count;
}

/* Both images through the nodes and back, the gradient seeded with x; false: numbers too large. */
static bool run_images(const spade_network *network, const float *x, float *y, double *gradient)
{
    bool fine = true;
    for (int image = 0; image < IMAGES; image++) {
        float(*values)[PIXELS] = calloc((size_t)network->value_count, sizeof *values);
        double(*back)[PIXELS] = calloc((size_t)network->value_count, sizeof *back);
        assert_true(values && back);
        memcpy(values[network->input], x + image * PIXELS, sizeof *values);
        fine = run_nodes(network, values) && fine;
        memcpy(y + image * PIXELS, values[network->output], sizeof *values);
        for (int i = 0; i < PIXELS; i++) { back[network->output][i] = x[image * PIXELS + i]; }
        run_nodes_back(network, values, back);
        memcpy(gradient + image * PIXELS, back[network->input], sizeof *back);
        free(values);
        free(back);
    }
    return fine;
}

static void test_random(void **state)
{
    (void)state;
    int compared = 0, past = 0, fused = 0;
    for (uint32_t seed = 0; seed < GRAPHS; seed++) {
        fixture n = load(random_network(seed), test_device());
        float x[IMAGES * PIXELS], expected[IMAGES * PIXELS];
        for (uint32_t i = 0; i < IMAGES * PIXELS; i++) { x[i] = 2 * pseudo_random(seed, 7000 + i); }
        double gradient[IMAGES * PIXELS];
        if (run_images(&n.model->network, x, expected, gradient)) {
            compare_plans(&n, x, expected);
            past += compare_gradients(&n, x, gradient);
            compared++;
            spade_plan *plan = make_plan(&n, &n.model->network, 1, FORWARD);
            for (int s = 0; s < plan->step_count; s++) { fused += plan->steps[s].fused_count > 1; }
            spade_plan_destroy(plan);
        }
        unload(&n);
    }
    print_message("%d networks, %d sequences of several nodes, %d nodes passed on the way back\n", compared, fused,
                  past);
    assert_true(compared > GRAPHS / 2 && fused > GRAPHS / 2 && past > GRAPHS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_residual), cmocka_unit_test(test_layer_and_relu),
                                       cmocka_unit_test(test_apart), cmocka_unit_test(test_length),
                                       cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
