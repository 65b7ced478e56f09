/*
 * lrp.c - layer-wise relevance propagation: composites, and what every node but a layer does with relevance R.
 *
 *   sums                 in proportion: a R / (a + b)
 *   means, resizing      likewise, each element in proportion to what it adds
 *   maxima               to the maximum
 *   functions of a value R as it is
 *   movements            with their numbers
 *
 * and for transformers as in AttnLRP (Achtibat et al. 2024), in all composites but the paper's:
 *
 *   a b                  half to each factor; of matrices in proportion: A (s B^T), (A^T s) B, s = R / (2 A B)
 *   softmax              x (R - softmax(x) sum R)
 *   normalisation        R as it is
 *
 * Where relevance has no place to go, it is lost and is not replaced: to biases, to constants of a sum, to stabilisers.
 */
#include "attribution/rules/lrp.h"

#include <float.h>

/* ---- composites */

static const lrp_composite composites[SPADE_LRP_COMPOSITE_COUNT] = {
    [SPADE_LRP_PAPER] = {"LRP (paper)", LRP_BOX, LRP_PAPER, LRP_PAPER, LRP_PAPER, true},
    [SPADE_LRP_EPSILON] = {"LRP (epsilon)", LRP_EPSILON, LRP_EPSILON, LRP_EPSILON, LRP_EPSILON, false},
    [SPADE_LRP_EPSILON_PLUS] = {"LRP (epsilon_plus)", LRP_Z_PLUS, LRP_EPSILON, LRP_Z_PLUS, LRP_EPSILON, false},
    [SPADE_LRP_EPSILON_PLUS_FLAT] = {"LRP (epsilon_plus_flat)", LRP_FLAT, LRP_FLAT, LRP_Z_PLUS, LRP_EPSILON, false},
    [SPADE_LRP_GAMMA] = {"LRP (gamma)", LRP_BOX, LRP_BOX, LRP_GAMMA, LRP_EPSILON, false},
    [SPADE_LRP_ATTENTION] = {"AttnLRP", LRP_EPSILON, LRP_EPSILON, LRP_EPSILON, LRP_EPSILON, false},
    [SPADE_LRP_ATTENTION_GAMMA] = {"AttnLRP (gamma)", LRP_GAMMA, LRP_GAMMA, LRP_GAMMA, LRP_GAMMA, false},
};

const lrp_composite *lrp_composite_of(const void *options)
{
    return &composites[((const spade_lrp_options *)options)->composite];
}

static float stabilizer_of(const void *options)
{
    return lrp_composite_of(options)->paper ? 0 : ((const spade_lrp_options *)options)->epsilon;
}

/* ---- what stays where relevance is handed on in proportion: R' c to a constant c of the output y, R' = R / y */

/* What of output number i is a constant: what no input that gets a share adds. x: such an input, NULL: there are several. */
static double constant_of(const spade_node *node, const float *shift, const spade_shape *shape, const float *x,
                          const float *y, int64_t i)
{
    switch (node->kind) {
    case SPADE_NODE_ADD: return x ? (double)y[i] - x[i] : 0;
    case SPADE_NODE_FUNCTION: return node->pointwise.beta;
    case SPADE_NODE_BATCH_NORM: {
        const int64_t channels = shape->dims[1], n = spade_shape_size(shape);
        const int64_t inner = shape->layout == SPADE_CHANNELS_LAST ? 1 : n / (shape->dims[0] * channels);
        return shift ? shift[i / inner % channels] : 0;
    }
    default: return 0;
    }
}

/* The only input of a sum that gets a share; -1: both do, or it is no sum. */
static int only_summand(const spade_rule_call *call, const spade_node *node)
{
    if (node->kind != SPADE_NODE_ADD) { return -1; }
    const bool first = spade_rule_has_share(call, 0), second = spade_rule_has_share(call, 1);
    return first && second ? -1 : first ? 0 : 1;
}

static spade_status account_in_proportion(spade_rule_call *call, const spade_node *node, const void *options,
                                          spade_rule_account *out)
{
    const spade_shape shape = spade_rule_output_shape(call);
    const int64_t n = spade_shape_size(&shape), channels = shape.dims[shape.rank > 1];
    const int summand = only_summand(call, node);
    const double stabilizer = stabilizer_of(options);
    float *relevance = NULL, *y = NULL, *x = NULL, *shift = NULL;
    spade_status status;
    if (summand >= 0 && !spade_rule_has_size(call, summand, n)) { /* it is repeated, and so is what it adds */
        out->rest = true;
        return SPADE_OK;
    }
    SPADE_GOTO(spade_rule_read(call, spade_rule_relevance(call), n, &relevance));
    SPADE_GOTO(spade_rule_read(call, spade_rule_output(call), n, &y));
    if (summand >= 0) { SPADE_GOTO(spade_rule_read(call, spade_rule_input(call, summand), n, &x)); }
    if (node->kind == SPADE_NODE_BATCH_NORM && spade_rule_parameter(call, SPADE_SHIFT)) {
        SPADE_GOTO(spade_rule_read(call, spade_rule_parameter(call, SPADE_SHIFT), channels, &shift));
    }
    for (int64_t i = 0; i < n; i++) {
        const double divisor = y[i] < 0 ? y[i] - stabilizer : y[i] + stabilizer;
        const double part = divisor == 0 ? 0 : relevance[i] / divisor;
        out->stabilizer += relevance[i] - part * y[i];
        out->constants += part * constant_of(node, shift, &shape, x, y, i);
    }
done:
    spade_rule_free(call, relevance, n);
    spade_rule_free(call, y, n);
    spade_rule_free(call, x, n);
    spade_rule_free(call, shift, channels);
    return status;
}

/* ---- rules that are pointwise steps, or none */

/* R as it is, for each input that gets some. */
static spade_status plan_pass(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    (void)options;
    for (int k = 0; k < node->input_count; k++) {
        if (spade_rule_wants(plan, k)) { SPADE_TRY(spade_rule_share_by_steps(plan, k, NULL, 0)); }
    }
    return SPADE_OK;
}
static const spade_rule pass = {.name = "pass", .plan = plan_pass};

/* R / output * what the input adds to the output: the input, times `last` where there is one. */
static spade_status share_in_proportion(spade_rule_plan *plan, int input, const void *options,
                                        const spade_node_step *last)
{
    spade_node_step steps[3] = {
        {.kind = SPADE_POINTWISE_DIVIDE, .alpha = stabilizer_of(options), .source = SPADE_OPERAND_OUTPUT},
        {.kind = SPADE_POINTWISE_MULTIPLY, .source = SPADE_OPERAND_INPUT, .index = input}};
    if (last) { steps[2] = *last; }
    spade_rule_keep(plan, SPADE_KEEP_OUTPUT | (input ? SPADE_KEEP_INPUT_1 : SPADE_KEEP_INPUT_0));
    return spade_rule_share_by_steps(plan, input, steps, last ? 3 : 2);
}

static spade_status plan_add(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    for (int k = 0; k < node->input_count; k++) {
        if (spade_rule_wants(plan, k)) { SPADE_TRY(share_in_proportion(plan, k, options, NULL)); }
    }
    return SPADE_OK;
}
static const spade_rule add = {.name = "sum", .plan = plan_add, .account = account_in_proportion};

/* y = x scale[c] + shift[c], where no convolution takes it in. */
static spade_status plan_norm(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    (void)node;
    const spade_node_step scale = {
        .kind = SPADE_POINTWISE_MULTIPLY, .source = SPADE_OPERAND_PARAMETER, .index = SPADE_SCALE};
    return share_in_proportion(plan, 0, options, &scale);
}
static const spade_rule norm = {.name = "scale and shift", .plan = plan_norm, .account = account_in_proportion};

/* y = alpha x + beta */
static spade_status plan_affine(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    const spade_node_step scale = {
        .kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_AFFINE, .alpha = node->pointwise.alpha};
    return share_in_proportion(plan, 0, options, &scale);
}
static const spade_rule affine = {.name = "affine", .plan = plan_affine, .account = account_in_proportion};

/* Half to each factor; all of it where the other one gets none. */
static spade_status plan_mul(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    const spade_node_step half = {.kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_AFFINE, .alpha = 0.5f};
    if (!spade_rule_wants(plan, 0) || !spade_rule_wants(plan, 1)) { return plan_pass(plan, node, options); }
    SPADE_TRY(spade_rule_share_by_steps(plan, 0, &half, 1));
    return spade_rule_share_by_steps(plan, 1, &half, 1);
}
static const spade_rule mul = {.name = "product", .plan = plan_mul};

/* ---- rules with the node's gradient in them: s = R / z, then x times the gradient of s */

static const spade_weight_view no_weights;

enum { DIVIDE, FIRST_SHARE, SHARE_OPERATIONS = 2 /* gradient, product */ };

/* s = factor R / output */
static spade_status plan_divide(spade_rule_plan *plan, float factor, float stabilizer)
{
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_shape y = spade_output_shape(&shapes);
    spade_op_desc divide = {.kind = SPADE_OP_POINTWISE, .a = y, .y = y, .step_count = 2};
    divide.steps[0] =
        (spade_pointwise_step){.kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_AFFINE, .alpha = factor};
    divide.steps[1] = (spade_pointwise_step){.kind = SPADE_POINTWISE_DIVIDE, .alpha = stabilizer, .operand = y};
    SPADE_TRY(spade_rule_op(plan, &divide, no_weights));
    return spade_rule_scratch(plan, &y);
}

/* Where the share of an input is made before it is summed: the class's gradient, in a scratch of this shape too. */
static spade_status plan_linear_share(spade_rule_plan *plan, const spade_node *node, int input)
{
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_node_class *class = spade_node_class_of(node);
    const spade_shape x = spade_input_shape(&shapes, input);
    spade_shape full = x;
    spade_op_desc back;
    if (class->gradient_shape) { class->gradient_shape(&shapes, input, &full); }
    class->gradient(&shapes, input, &back);
    spade_op_desc share = {.kind = SPADE_OP_POINTWISE, .a = full, .y = full, .step_count = 1};
    share.steps[0] = (spade_pointwise_step){.kind = SPADE_POINTWISE_MULTIPLY, .operand = x};
    SPADE_TRY(spade_rule_op(plan, &back, no_weights));
    SPADE_TRY(spade_rule_op(plan, &share, no_weights));
    return spade_rule_scratch(plan, &full);
}

static spade_status plan_linear(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    const bool both = node->input_count == 2 && spade_rule_wants(plan, 0) && spade_rule_wants(plan, 1);
    const spade_node_class *class = spade_node_class_of(node);
    spade_rule_keep(plan, SPADE_KEEP_OUTPUT | SPADE_KEEP_INPUT_0);
    if (node->input_count == 2) { spade_rule_keep(plan, SPADE_KEEP_INPUT_1); }
    if (class->gradient_keeps) { spade_rule_keep(plan, class->gradient_keeps(node)); }
    SPADE_TRY(plan_divide(plan, both ? 0.5f : 1, stabilizer_of(options)));
    for (int k = 0; k < node->input_count; k++) {
        if (spade_rule_wants(plan, k)) { SPADE_TRY(plan_linear_share(plan, node, k)); }
    }
    return SPADE_OK;
}

static spade_status run_linear(spade_rule_call *call, const spade_node *node, const void *options)
{
    (void)options;
    float *s = spade_rule_scratch_at(call, 0);
    spade_op_args args = {.a = spade_rule_relevance(call), .operands = {NULL, spade_rule_output(call)}, .out = s};
    int op = FIRST_SHARE, scratch = 1;
    SPADE_TRY(spade_rule_run(call, DIVIDE, &args));
    for (int k = 0; k < node->input_count; k++) {
        if (!spade_rule_makes_share(call, k)) { continue; }
        float *back = spade_rule_scratch_at(call, scratch++);
        args = (spade_op_args){.out = back};
        spade_rule_bind_gradient(call, k, s, &args);
        SPADE_TRY(spade_rule_run(call, op, &args));
        args = (spade_op_args){.a = back, .operands = {spade_rule_input(call, k)}, .out = spade_rule_share(call, k)};
        SPADE_TRY(spade_rule_run(call, op + 1, &args));
        SPADE_TRY(spade_rule_deliver(call, k));
        op += SHARE_OPERATIONS;
    }
    return SPADE_OK;
}
static const spade_rule linear = {
    .name = "proportion", .plan = plan_linear, .run = run_linear, .account = account_in_proportion};

/* x (R - y sum R): softmax's gradient of R / y, times x. Inputs that are masked, -inf, get 0: their y is. */
static spade_status plan_softmax(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    (void)options;
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_shape x = spade_input_shape(&shapes, 0);
    spade_op_desc back, share = {.kind = SPADE_OP_POINTWISE, .a = x, .y = x, .step_count = 2};
    spade_node_class_of(node)->gradient(&shapes, 0, &back);
    share.steps[0] = (spade_pointwise_step){
        .kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_CLIP, .alpha = -FLT_MAX, .beta = FLT_MAX};
    share.steps[1] = (spade_pointwise_step){.kind = SPADE_POINTWISE_MULTIPLY, .operand = x};
    spade_rule_keep(plan, SPADE_KEEP_OUTPUT | SPADE_KEEP_INPUT_0);
    SPADE_TRY(plan_divide(plan, 1, 0));
    SPADE_TRY(spade_rule_op(plan, &back, no_weights));
    SPADE_TRY(spade_rule_op(plan, &share, no_weights));
    return spade_rule_scratch(plan, &x);
}

static spade_status run_softmax(spade_rule_call *call, const spade_node *node, const void *options)
{
    (void)node, (void)options;
    float *s = spade_rule_scratch_at(call, 0), *back = spade_rule_scratch_at(call, 1);
    spade_op_args args = {.a = spade_rule_relevance(call), .operands = {NULL, spade_rule_output(call)}, .out = s};
    SPADE_TRY(spade_rule_run(call, DIVIDE, &args));
    args = (spade_op_args){.out = back};
    spade_rule_bind_gradient(call, 0, s, &args);
    SPADE_TRY(spade_rule_run(call, FIRST_SHARE, &args));
    args = (spade_op_args){.a = spade_rule_input(call, 0), .operands = {NULL, back}, .out = spade_rule_share(call, 0)};
    SPADE_TRY(spade_rule_run(call, FIRST_SHARE + 1, &args));
    return spade_rule_deliver(call, 0);
}
/* x (R - y sum R) is the linear part of softmax at x: what is left of R is the part of its constant. */
static spade_status account_softmax(spade_rule_call *call, const spade_node *node, const void *options,
                                    spade_rule_account *out)
{
    (void)call, (void)node, (void)options;
    out->rest = true;
    return SPADE_OK;
}

static const spade_rule softmax = {
    .name = "softmax", .plan = plan_softmax, .run = run_softmax, .account = account_softmax};

/* ---- which rule where */

/* Activations: what comes out stands for what went in. */
static const spade_rule *choose_function(const spade_node *node, bool paper)
{
    switch (node->pointwise.function) {
    case SPADE_RELU:
    case SPADE_CLIP: return &pass;
    case SPADE_NEG: return &pass;
    case SPADE_AFFINE: return paper || node->pointwise.beta == 0 ? &pass : &affine;
    case SPADE_SIGMOID:
    case SPADE_HARD_SIGMOID:
    case SPADE_HARD_SWISH:
    case SPADE_ERF:
    case SPADE_TANH:
    case SPADE_GELU:
    case SPADE_GELU_TANH:
    case SPADE_LEAKY_RELU:
    case SPADE_THRESHOLDED_RELU:
    case SPADE_ELU:
    case SPADE_CELU:
    case SPADE_SOFTPLUS:
    case SPADE_SOFTSIGN:
    case SPADE_SWISH:
    case SPADE_MISH: return paper ? NULL : &pass;
    default: return NULL;
    }
}

static bool has_constant(const spade_network *network, const spade_node *node)
{
    return network->values[node->inputs[0]].constant || network->values[node->inputs[1]].constant;
}

/* Is the normalisation a part of the convolution before it? */
static bool is_taken_in(const spade_network *network, const spade_node *node)
{
    const int before = network->values[node->inputs[0]].producer;
    return before >= 0 && lrp_norm_behind(network, &network->nodes[before]) == (int)(node - network->nodes);
}

static const spade_rule *choose(const spade_network *network, const spade_node *node, const void *options)
{
    const bool paper = lrp_composite_of(options)->paper;
    switch (node->kind) {
    case SPADE_NODE_CONVOLUTION:
    case SPADE_NODE_LINEAR: return &lrp_layer_rule;
    case SPADE_NODE_BATCH_NORM: return paper || is_taken_in(network, node) ? &pass : &norm;
    case SPADE_NODE_FUNCTION: return choose_function(node, paper);
    case SPADE_NODE_ADD: return paper && has_constant(network, node) ? &pass : &add;
    case SPADE_NODE_MUL: return paper && !has_constant(network, node) ? NULL : &mul;
    case SPADE_NODE_MATMUL: return paper ? NULL : &linear;
    case SPADE_NODE_SOFTMAX: return paper ? NULL : &softmax;
    case SPADE_NODE_LAYER_NORM: return paper ? NULL : &pass;
    case SPADE_NODE_AVERAGE_POOL:
    case SPADE_NODE_REDUCE_SUM: return &linear;
    case SPADE_NODE_AXIS_MAP: return node->axis_map.map.weighted ? &linear : &spade_rule_gradient;
    case SPADE_NODE_MAX_POOL: return paper ? &linear : &spade_rule_gradient;
    case SPADE_NODE_REDUCE_MAX:
    case SPADE_NODE_PERMUTE:
    case SPADE_NODE_CONCAT:
    case SPADE_NODE_RESHAPE:
    case SPADE_NODE_CONVERT_LAYOUT: return &spade_rule_gradient;
    case SPADE_NODE_KIND_COUNT: break;
    }
    return NULL;
}

spade_rules spade_rules_lrp(const spade_lrp_options *options)
{
    return (spade_rules){.name = lrp_composite_of(options)->name,
                         .choose = choose,
                         .options = options,
                         .options_bytes = sizeof *options};
}
