/*
 * deeplift.c - DeepLift's multipliers (Shrikumar et al. 2017) between an image x and its baseline x', its partner in the
 * batch: m with sum of m Dx = Dy, where D is the difference between both.
 *
 *   linear nodes   the gradient
 *   f(x)           rescale: D f(x) / Dx; f'(x) where Dx is next to nothing
 *   a b            both ways, D(ab) = mean(a) Db + mean(b) Da, mean: of x and x'; of matrices likewise
 *   softmax        exp(x - L), L the logarithm of the sum of e^x: rescale at every step
 *   normalisation  x - mean times the reciprocal of its deviation: rescale and product
 *   max pooling    a window's difference goes to the place of the larger of its two maxima, where windows overlap it is added
 *                  up
 *   maximum        likewise; of several maxima each gets its part
 *
 * As Captum has it (0.8, 0.9; the golden maps are its): the last of overlapping windows counts; and where one node with a
 * rule reads another's output (max pooling a ReLU's), the second one gets its gradient: its rule's result comes after what
 * the first one has taken.
 *
 * Multipliers are the same for x and x'. So both images of a pair carry them, and all nodes work as they do for gradients.
 */
#include <float.h>

#include "attribution/rules/rules.h"

static const spade_weight_view no_weights;

/* An operation that gives each image of a value its partner. */
static spade_status plan_swap(spade_rule_plan *plan, const spade_node *node, int input)
{
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_value *value = &shapes.network->values[node->inputs[input]];
    const spade_shape shape = spade_input_shape(&shapes, input);
    const int64_t outer = value->batch_outer ? value->batch_outer : 1;
    const spade_op_desc swap = {.kind = SPADE_OP_SWAP_IMAGES,
                                .a = shape,
                                .y = shape,
                                .axis = value->batch_axis,
                                .start = value->shape.dims[value->batch_axis] / outer};
    SPADE_TRY(spade_rule_op(plan, &swap, no_weights));
    return spade_rule_scratch(plan, &shape);
}

/* The partners of an input, in scratch of the same number as the operation's place among the swaps. */
static spade_status run_swap(spade_rule_call *call, int input, int slot, int scratch)
{
    spade_op_args args = {.a = spade_rule_input(call, input), .out = spade_rule_scratch_at(call, scratch)};
    return spade_rule_run(call, slot, &args);
}

/* ---- functions of one value */

static spade_status plan_function(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    (void)options;
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_shape x = spade_input_shape(&shapes, 0), y = spade_output_shape(&shapes);
    spade_op_desc slope = {.kind = SPADE_OP_POINTWISE, .a = x, .y = y, .step_count = 2};
    slope.steps[0] = (spade_pointwise_step){.kind = SPADE_POINTWISE_SECANT,
                                            .function = node->pointwise.function,
                                            .alpha = node->pointwise.alpha,
                                            .beta = node->pointwise.beta,
                                            .operand = x};
    slope.steps[1] = (spade_pointwise_step){.kind = SPADE_POINTWISE_MULTIPLY, .operand = y};
    spade_rule_keep(plan, SPADE_KEEP_INPUT_0);
    SPADE_TRY(plan_swap(plan, node, 0));
    return spade_rule_op(plan, &slope, no_weights);
}

static spade_status run_function(spade_rule_call *call, const spade_node *node, const void *options)
{
    (void)node, (void)options;
    SPADE_TRY(run_swap(call, 0, 0, 0));
    spade_op_args args = {.a = spade_rule_scratch_at(call, 0),
                          .operands = {spade_rule_input(call, 0), spade_rule_relevance(call)},
                          .out = spade_rule_share(call, 0)};
    SPADE_TRY(spade_rule_run(call, 1, &args));
    return spade_rule_deliver(call, 0);
}

static const spade_rule rescale = {.name = "rescale", .plan = plan_function, .run = run_function};

/* ---- softmax, layer normalisation, max pooling: one operation that reads x and its partner */

/* The node's gradient with another kind of operation: its shapes, x' beside x. */
static spade_status plan_pair(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    spade_op_desc desc;
    spade_node_class_of(node)->forward(&shapes, &desc);
    desc.kind = desc.kind == SPADE_OP_SOFTMAX      ? SPADE_OP_SOFTMAX_RESCALE
                : desc.kind == SPADE_OP_LAYER_NORM ? SPADE_OP_LAYER_NORM_RESCALE
                                                   : SPADE_OP_POOL_RESCALE;
    desc.b = desc.a;
    desc.last_window = ((const spade_deeplift_options *)options)->captum;
    spade_rule_keep(plan, SPADE_KEEP_INPUT_0);
    SPADE_TRY(plan_swap(plan, node, 0));
    return spade_rule_op(plan, &desc, no_weights);
}

static spade_status run_pair(spade_rule_call *call, const spade_node *node, const void *options)
{
    (void)options;
    SPADE_TRY(run_swap(call, 0, 0, 0));
    spade_op_args args = {.a = spade_rule_input(call, 0),
                          .b = spade_rule_scratch_at(call, 0),
                          .dy = spade_rule_relevance(call),
                          .out = spade_rule_share(call, 0)};
    if (node->kind == SPADE_NODE_LAYER_NORM) { args.operands[0] = spade_rule_parameter(call, SPADE_SCALE); }
    SPADE_TRY(spade_rule_run(call, 1, &args));
    return spade_rule_deliver(call, 0);
}

static const spade_rule pair = {.name = "rescale", .plan = plan_pair, .run = run_pair};

/* ---- maxima over axes: (y - y') / (x - x') at the larger maximum; where nothing differs, the gradient */

enum { SWAP_X, LARGEST, SUBTRACT_Y, ABOVE, BELOW, LEVEL, BACK, SUBTRACT_X, RATIO, TOTAL }; /* operations */
enum { OTHER_X, OTHER_Y, Y_APART, X_APART, PART, OWN_PLACE, OTHER_PLACE, SAME_PLACE };     /* scratch */

static spade_pointwise_step function_step(spade_function function, float alpha, float beta)
{
    return (spade_pointwise_step){.kind = SPADE_POINTWISE_FUNCTION, .function = function, .alpha = alpha, .beta = beta};
}

/* Two steps on values of one shape. */
static spade_status plan_steps(spade_rule_plan *plan, const spade_shape *shape, spade_pointwise_step first,
                               spade_pointwise_step second)
{
    const spade_op_desc desc = {
        .kind = SPADE_OP_POINTWISE, .a = *shape, .y = *shape, .step_count = 2, .steps = {first, second}};
    return spade_rule_op(plan, &desc, no_weights);
}

static spade_status plan_maximum(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    (void)options;
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_node_class *class = spade_node_class_of(node);
    const spade_shape x = spade_input_shape(&shapes, 0), y = spade_output_shape(&shapes);
    const spade_pointwise_step minus = function_step(SPADE_AFFINE, -1, 0);
    const spade_pointwise_step add_y = {.kind = SPADE_POINTWISE_ADD, .operand = y},
                               add_x = {.kind = SPADE_POINTWISE_ADD, .operand = x},
                               times_y = {.kind = SPADE_POINTWISE_MULTIPLY, .operand = y},
                               over_x = {.kind = SPADE_POINTWISE_DIVIDE, .operand = x};
    /* v where the operand is 0, else 0: the derivative of a clip between 0 and the number before it */
    spade_pointwise_step if_zero = function_step(SPADE_CLIP, -FLT_MIN, 0), x_if_zero;
    if_zero.kind = SPADE_POINTWISE_DERIVATIVE;
    if_zero.operand = y;
    x_if_zero = if_zero;
    x_if_zero.operand = x;
    spade_op_desc largest, back, level = {.kind = SPADE_OP_POINTWISE, .a = y, .y = y, .step_count = 1};
    class->forward(&shapes, &largest);
    class->gradient(&shapes, 0, &back);
    level.steps[0] = if_zero;
    spade_rule_keep(plan, SPADE_KEEP_INPUT_0 | SPADE_KEEP_OUTPUT);
    SPADE_TRY(plan_swap(plan, node, 0));
    for (int scratch = OTHER_Y; scratch <= SAME_PLACE; scratch++) {
        const bool of_y = scratch == OTHER_Y || scratch == Y_APART || scratch == PART;
        SPADE_TRY(spade_rule_scratch(plan, of_y ? &y : &x));
    }
    SPADE_TRY(spade_rule_op(plan, &largest, no_weights));
    SPADE_TRY(plan_steps(plan, &y, minus, add_y));
    SPADE_TRY(plan_steps(plan, &y, function_step(SPADE_RELU, 0, 0), times_y));
    SPADE_TRY(plan_steps(plan, &y, function_step(SPADE_CLIP, -FLT_MAX, 0), times_y));
    SPADE_TRY(spade_rule_op(plan, &level, no_weights));
    SPADE_TRY(spade_rule_op(plan, &back, no_weights));
    SPADE_TRY(plan_steps(plan, &x, minus, add_x));
    SPADE_TRY(plan_steps(plan, &x, add_x, over_x));
    return plan_steps(plan, &x, x_if_zero, add_x);
}

/* One part of the relevance, to where x (or x') has its maximum. */
static spade_status run_place(spade_rule_call *call, int part, const spade_op_args *part_args, const float *x,
                              const float *y, int place)
{
    const spade_op_args back = {.a = x, .y = y, .dy = part_args->out, .out = spade_rule_scratch_at(call, place)};
    spade_op_args args = *part_args;
    SPADE_TRY(spade_rule_run(call, part, &args));
    args = back;
    return spade_rule_run(call, BACK, &args);
}

static spade_status run_maximum(spade_rule_call *call, const spade_node *node, const void *options)
{
    (void)node, (void)options;
    const float *x = spade_rule_input(call, 0), *y = spade_rule_output(call), *dy = spade_rule_relevance(call);
    float *at[SAME_PLACE + 1];
    for (int i = 0; i <= SAME_PLACE; i++) { at[i] = spade_rule_scratch_at(call, i); }
    SPADE_TRY(run_swap(call, 0, SWAP_X, OTHER_X));
    spade_op_args args = {.a = at[OTHER_X], .out = at[OTHER_Y]};
    SPADE_TRY(spade_rule_run(call, LARGEST, &args));
    args = (spade_op_args){.a = at[OTHER_Y], .operands = {NULL, y}, .out = at[Y_APART]};
    SPADE_TRY(spade_rule_run(call, SUBTRACT_Y, &args));
    args = (spade_op_args){.a = at[OTHER_X], .operands = {NULL, x}, .out = at[X_APART]};
    SPADE_TRY(spade_rule_run(call, SUBTRACT_X, &args));
    args = (spade_op_args){.a = at[Y_APART], .operands = {NULL, dy}, .out = at[PART]};
    SPADE_TRY(run_place(call, ABOVE, &args, x, y, OWN_PLACE));
    SPADE_TRY(run_place(call, BELOW, &args, at[OTHER_X], at[OTHER_Y], OTHER_PLACE));
    args = (spade_op_args){.a = dy, .operands = {at[Y_APART]}, .out = at[PART]};
    SPADE_TRY(run_place(call, LEVEL, &args, x, y, SAME_PLACE));
    args = (spade_op_args){.a = at[OWN_PLACE], .operands = {at[OTHER_PLACE], at[X_APART]}, .out = at[OWN_PLACE]};
    SPADE_TRY(spade_rule_run(call, RATIO, &args));
    args = (spade_op_args){
        .a = at[SAME_PLACE], .operands = {at[X_APART], at[OWN_PLACE]}, .out = spade_rule_share(call, 0)};
    SPADE_TRY(spade_rule_run(call, TOTAL, &args));
    return spade_rule_deliver(call, 0);
}

static const spade_rule maximum = {.name = "maximum", .plan = plan_maximum, .run = run_maximum};

/* ---- products: the gradient, where the other factor is the mean of x's and x'. Operations of input k: from 3 k on. */

enum { SWAP, MEAN, SHARE, PRODUCT_OPERATIONS };

static spade_status plan_factor(spade_rule_plan *plan, const spade_node *node, int input)
{
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_shape other = spade_input_shape(&shapes, 1 - input), y = spade_output_shape(&shapes);
    spade_op_desc mean = {.kind = SPADE_OP_POINTWISE, .a = other, .y = other, .step_count = 2}, share;
    mean.steps[0] = (spade_pointwise_step){.kind = SPADE_POINTWISE_ADD, .operand = other};
    mean.steps[1] = (spade_pointwise_step){.kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_AFFINE, .alpha = 0.5f};
    if (node->kind == SPADE_NODE_MATMUL) {
        spade_node_class_of(node)->gradient(&shapes, input, &share);
    } else {
        share = (spade_op_desc){.kind = SPADE_OP_POINTWISE, .a = y, .y = y, .step_count = 1};
        share.steps[0] = (spade_pointwise_step){.kind = SPADE_POINTWISE_MULTIPLY, .operand = other};
    }
    SPADE_TRY(plan_swap(plan, node, 1 - input));
    SPADE_TRY(spade_rule_op(plan, &mean, no_weights));
    return spade_rule_op(plan, &share, no_weights);
}

static spade_status plan_product(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    (void)options;
    if (!spade_rule_wants(plan, 0)) { return spade_rule_share_by_gradient(plan, 1); }
    if (!spade_rule_wants(plan, 1)) { return spade_rule_share_by_gradient(plan, 0); }
    spade_rule_keep(plan, SPADE_KEEP_INPUT_0 | SPADE_KEEP_INPUT_1);
    SPADE_TRY(plan_factor(plan, node, 0));
    return plan_factor(plan, node, 1);
}

static spade_status run_factor(spade_rule_call *call, const spade_node *node, int input)
{
    const int first = PRODUCT_OPERATIONS * input;
    const float *dy = spade_rule_relevance(call);
    float *other = spade_rule_scratch_at(call, input);
    SPADE_TRY(run_swap(call, 1 - input, first + SWAP, input));
    spade_op_args mean = {.a = other, .operands = {spade_rule_input(call, 1 - input)}, .out = other};
    SPADE_TRY(spade_rule_run(call, first + MEAN, &mean));
    spade_op_args share = {.a = dy, .out = spade_rule_share(call, input)};
    if (node->kind == SPADE_NODE_MUL) {
        share.operands[0] = other;
    } else { /* dy b^T, a^T dy */
        share.a = input == 0 ? dy : other;
        share.b = input == 0 ? other : dy;
    }
    SPADE_TRY(spade_rule_run(call, first + SHARE, &share));
    return spade_rule_deliver(call, input);
}

static spade_status run_product(spade_rule_call *call, const spade_node *node, const void *options)
{
    (void)options;
    if (!spade_rule_makes_share(call, 0) || !spade_rule_makes_share(call, 1)) { return SPADE_OK; }
    SPADE_TRY(run_factor(call, node, 0));
    return run_factor(call, node, 1);
}

static const spade_rule product = {.name = "product", .plan = plan_product, .run = run_product};

/* ---- which rule where */

/* Captum has a rule for these functions; at others it takes the gradient. */
static bool captum_has(spade_function function)
{
    return function == SPADE_RELU || function == SPADE_LEAKY_RELU || function == SPADE_ELU ||
           function == SPADE_SIGMOID || function == SPADE_TANH || function == SPADE_SOFTPLUS;
}

static const spade_node *made_by(const spade_network *network, const spade_node *node)
{
    int producer = network->values[node->inputs[0]].producer;
    while (producer >= 0 && network->nodes[producer].kind == SPADE_NODE_CONVERT_LAYOUT) {
        producer = network->values[network->nodes[producer].inputs[0]].producer;
    }
    return producer < 0 ? NULL : &network->nodes[producer];
}

/* Does the node read what another one with a rule of Captum's has made? */
static bool follows_rule(const spade_network *network, const spade_node *node)
{
    const spade_node *before = made_by(network, node);
    if (!before) { return false; }
    return before->kind == SPADE_NODE_MAX_POOL ||
           (before->kind == SPADE_NODE_FUNCTION && captum_has(before->pointwise.function));
}

static bool has_constant(const spade_network *network, const spade_node *node)
{
    return network->values[node->inputs[0]].constant || network->values[node->inputs[1]].constant;
}

static const spade_rule *choose(const spade_network *network, const spade_node *node, const void *options)
{
    const bool captum = ((const spade_deeplift_options *)options)->captum;
    switch (node->kind) {
    case SPADE_NODE_CONVOLUTION:
    case SPADE_NODE_LINEAR:
    case SPADE_NODE_BATCH_NORM:
    case SPADE_NODE_AVERAGE_POOL:
    case SPADE_NODE_ADD:
    case SPADE_NODE_REDUCE_SUM:
    case SPADE_NODE_PERMUTE:
    case SPADE_NODE_AXIS_MAP:
    case SPADE_NODE_CONCAT:
    case SPADE_NODE_RESHAPE:
    case SPADE_NODE_CONVERT_LAYOUT: return &spade_rule_gradient;
    case SPADE_NODE_FUNCTION:
        if (spade_rule_is_linear(node)) { return &spade_rule_gradient; }
        if (captum && !captum_has(node->pointwise.function)) { return NULL; }
        return captum && follows_rule(network, node) ? &spade_rule_gradient : &rescale;
    case SPADE_NODE_MAX_POOL: return captum && follows_rule(network, node) ? &spade_rule_gradient : &pair;
    case SPADE_NODE_SOFTMAX:
    case SPADE_NODE_LAYER_NORM: return captum ? NULL : &pair;
    case SPADE_NODE_MATMUL:
    case SPADE_NODE_MUL: return captum && !has_constant(network, node) ? NULL : &product;
    case SPADE_NODE_REDUCE_MAX: return captum ? NULL : &maximum;
    case SPADE_NODE_KIND_COUNT: break;
    }
    return NULL;
}

spade_rules spade_rules_deeplift(const spade_deeplift_options *options)
{
    return (spade_rules){.name = options->captum ? "DeepLift as in Captum" : "DeepLift",
                         .choose = choose,
                         .options = options,
                         .options_bytes = sizeof *options};
}
