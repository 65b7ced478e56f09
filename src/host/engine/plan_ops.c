/* plan_ops.c - the backend's operation for each node, forward and backward. */
#include "engine/plan.h"

bool spade_same_dims(const spade_shape *a, const spade_shape *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

bool spade_same_shape(const spade_shape *a, const spade_shape *b)
{
    return spade_same_dims(a, b) && a->layout == b->layout;
}

static spade_shape shape_of(const spade_plan *plan, int value)
{
    return spade_value_shape(&plan->network->values[value], plan->batch);
}

static spade_status plan_op(spade_plan *plan, const spade_node *node, const spade_op_desc *desc, spade_op **out)
{
    spade_device *device = plan->context->device;
    const spade_backend *backend = device->backend;
    if (!backend->supports(device, desc)) {
        return spade_fail(plan->context, SPADE_ERROR_UNSUPPORTED,
                          "node \"%.200s\": this %s is not supported by the %s backend", node->name,
                          spade_node_kind_name(node->kind), backend->name);
    }
    spade_status status = backend->plan(device, desc, out);
    if (status != SPADE_OK) { return spade_fail_in(plan->context, status, "node \"%.200s\"", node->name); }
    size_t workspace = backend->workspace_bytes(*out);
    if (workspace > plan->workspace_bytes) { plan->workspace_bytes = workspace; }
    return SPADE_OK;
}

/* What forward and backward operations of a node have in common: everything but the kind of the operation. */
static spade_op_desc describe(const spade_plan *plan, const spade_node *node)
{
    spade_op_desc desc = {.a = shape_of(plan, node->inputs[0]), .y = shape_of(plan, node->output)};
    if (node->input_count == 2) { desc.b = shape_of(plan, node->inputs[1]); }
    switch (node->kind) {
    case SPADE_NODE_CONVOLUTION:
        desc.window = node->window;
        desc.groups = node->groups;
        break;
    case SPADE_NODE_MAX_POOL:
    case SPADE_NODE_AVERAGE_POOL:
        desc.window = node->window;
        desc.pool_max = node->kind == SPADE_NODE_MAX_POOL;
        desc.count_padding = node->count_padding;
        break;
    case SPADE_NODE_SOFTMAX: desc.axis = node->axis; break;
    default: break;
    }
    return desc;
}

/* ---- chains */

static void add_step(spade_op_desc *desc, spade_pointwise_kind kind, const spade_node *node, const spade_shape *operand)
{
    spade_pointwise_step *step = &desc->steps[desc->step_count++];
    *step = (spade_pointwise_step){.kind = kind, .function = node->function, .alpha = node->alpha, .beta = node->beta};
    if (operand) { step->operand = *operand; }
}

/* One number for each channel of a value of this shape: [C, 1, ...]. */
static spade_shape channel_shape(const spade_shape *shape)
{
    spade_shape channels = {.rank = shape->rank - 1, .dims = {shape->dims[1]}};
    for (int i = 1; i < channels.rank; i++) { channels.dims[i] = 1; }
    return channels;
}

static spade_op_desc describe_chain(const spade_plan *plan, const spade_step *step)
{
    const spade_network *network = plan->network;
    spade_op_desc desc = {.kind = SPADE_OP_POINTWISE};
    desc.a = shape_of(plan, network->nodes[step->node].inputs[0]);
    desc.y = shape_of(plan, step->output);
    for (int i = 0; i < step->chain_length; i++) {
        const spade_node *node = &network->nodes[step->chain[i]];
        int value = spade_pointwise_operand(network, step, i);
        spade_shape operand = value >= 0 ? shape_of(plan, value) : channel_shape(&desc.y);
        switch (node->kind) {
        case SPADE_NODE_BATCH_NORM:
            add_step(&desc, SPADE_POINTWISE_MULTIPLY, node, &operand);
            add_step(&desc, SPADE_POINTWISE_ADD, node, &operand);
            break;
        case SPADE_NODE_ADD: add_step(&desc, SPADE_POINTWISE_ADD, node, &operand); break;
        case SPADE_NODE_MUL: add_step(&desc, SPADE_POINTWISE_MULTIPLY, node, &operand); break;
        default: add_step(&desc, SPADE_POINTWISE_FUNCTION, node, NULL); break;
        }
    }
    return desc;
}

spade_status spade_plan_forward_op(spade_plan *plan, spade_step *step)
{
    static const spade_op_kind kinds[SPADE_NODE_KIND_COUNT] = {[SPADE_NODE_CONVOLUTION] = SPADE_OP_CONVOLUTION,
                                                               [SPADE_NODE_LINEAR] = SPADE_OP_LINEAR,
                                                               [SPADE_NODE_MATMUL] = SPADE_OP_MATMUL,
                                                               [SPADE_NODE_SOFTMAX] = SPADE_OP_SOFTMAX,
                                                               [SPADE_NODE_MAX_POOL] = SPADE_OP_POOL,
                                                               [SPADE_NODE_AVERAGE_POOL] = SPADE_OP_POOL,
                                                               [SPADE_NODE_CONVERT_LAYOUT] = SPADE_OP_CONVERT_LAYOUT};
    const spade_node *node = &plan->network->nodes[step->node];
    if (node->kind == SPADE_NODE_RESHAPE) { return SPADE_OK; }
    if (step->chain_length) {
        spade_op_desc chain = describe_chain(plan, step);
        return plan_op(plan, node, &chain, &step->op);
    }
    spade_op_desc desc = describe(plan, node);
    desc.kind = kinds[node->kind];
    desc.relu = step->relu;
    return plan_op(plan, node, &desc, &step->op);
}

/* ---- backward */

spade_shape spade_plan_full_shape(const spade_plan *plan, const spade_node *node, int input)
{
    spade_shape own = shape_of(plan, node->inputs[input]);
    if (node->input_count < 2) { return own; }
    spade_shape full = shape_of(plan, node->output);
    if (node->kind == SPADE_NODE_MATMUL) {
        full.dims[full.rank - 2] = own.dims[own.rank - 2];
        full.dims[full.rank - 1] = own.dims[own.rank - 1];
    }
    return full;
}

/* y = f(x): dy * f'(x); y = a * b: dy * b, dy * a; a normalisation: dy * scale. y = a + b: dy, a chain of no steps. */
static spade_op_desc describe_chain_back(const spade_plan *plan, const spade_node *node, int input)
{
    spade_shape dy = shape_of(plan, node->output);
    spade_op_desc desc = {.kind = SPADE_OP_POINTWISE, .a = dy, .y = dy};
    if (node->kind == SPADE_NODE_UNARY) {
        add_step(&desc, SPADE_POINTWISE_DERIVATIVE, node, &dy);
    } else if (node->kind == SPADE_NODE_MUL) {
        spade_shape other = shape_of(plan, node->inputs[1 - input]);
        add_step(&desc, SPADE_POINTWISE_MULTIPLY, node, &other);
    } else if (node->kind == SPADE_NODE_BATCH_NORM) {
        spade_shape scale = channel_shape(&dy);
        add_step(&desc, SPADE_POINTWISE_MULTIPLY, node, &scale);
    }
    return desc;
}

/* d(a) = dy b^T, d(b) = a^T dy for y = a b. */
static spade_op_desc describe_product_back(const spade_plan *plan, const spade_node *node, int input,
                                           const spade_shape *full)
{
    spade_shape dy = shape_of(plan, node->output), other = shape_of(plan, node->inputs[1 - input]);
    spade_op_desc desc = {.kind = SPADE_OP_MATMUL, .y = *full};
    desc.a = input == 0 ? dy : other;
    desc.b = input == 0 ? other : dy;
    desc.transpose_a = input == 1;
    desc.transpose_b = input == 0;
    return desc;
}

static bool describe_back(const spade_plan *plan, const spade_node *node, int input, const spade_shape *full,
                          spade_op_desc *desc)
{
    *desc = describe(plan, node);
    switch (node->kind) {
    case SPADE_NODE_CONVOLUTION: desc->kind = SPADE_OP_CONVOLUTION_BACKWARD; return true;
    case SPADE_NODE_LINEAR: desc->kind = SPADE_OP_LINEAR_BACKWARD; return true;
    case SPADE_NODE_SOFTMAX: desc->kind = SPADE_OP_SOFTMAX_BACKWARD; return true;
    case SPADE_NODE_MAX_POOL:
    case SPADE_NODE_AVERAGE_POOL: desc->kind = SPADE_OP_POOL_BACKWARD; return true;
    case SPADE_NODE_CONVERT_LAYOUT:
        desc->kind = SPADE_OP_CONVERT_LAYOUT;
        desc->a = shape_of(plan, node->output);
        desc->y = shape_of(plan, node->inputs[0]);
        return true;
    case SPADE_NODE_MATMUL: *desc = describe_product_back(plan, node, input, full); return true;
    case SPADE_NODE_RESHAPE: return false; /* dy itself, as for ADD */
    default: *desc = describe_chain_back(plan, node, input); return desc->step_count > 0;
    }
}

/* Was the input made by a normalisation that hands it to this node alone, as it got its own? Then both nodes' gradients
 * are one chain, which leaves the normalisation's output out. */
static spade_status plan_past(spade_plan *plan, const int *user, const spade_node *node, int input, spade_op **out)
{
    const spade_network *network = plan->network;
    int producer = network->values[node->inputs[input]].producer;
    if (producer < 0 || user[node->inputs[input]] < 0 || node->kind == SPADE_NODE_BATCH_NORM ||
        !spade_pointwise_steps(node)) {
        return SPADE_OK;
    }
    const spade_node *norm = &network->nodes[producer];
    spade_op_desc desc = describe_chain_back(plan, node, input);
    spade_shape from = shape_of(plan, norm->inputs[0]), scale = channel_shape(&from);
    if (norm->kind != SPADE_NODE_BATCH_NORM || user[norm->inputs[0]] < 0 || !spade_same_shape(&from, &desc.y)) {
        return SPADE_OK;
    }
    add_step(&desc, SPADE_POINTWISE_MULTIPLY, norm, &scale);
    return plan_op(plan, node, &desc, out);
}

spade_status spade_plan_backward_ops(spade_plan *plan, const int *user, int node_index)
{
    const spade_node *node = &plan->network->nodes[node_index];
    spade_back_step *back = &plan->back[node_index];
    for (int i = 0; i < node->input_count; i++) {
        if (plan->network->values[node->inputs[i]].batch_axis < 0) { continue; }
        spade_shape own = shape_of(plan, node->inputs[i]), full = spade_plan_full_shape(plan, node, i);
        spade_op_desc desc;
        if (describe_back(plan, node, i, &full, &desc)) { SPADE_TRY(plan_op(plan, node, &desc, &back->op[i])); }
        if (!spade_same_dims(&own, &full)) {
            spade_op_desc sum = {.kind = SPADE_OP_REDUCE_SUM, .a = full, .y = own};
            SPADE_TRY(plan_op(plan, node, &sum, &back->reduce[i]));
            continue;
        }
        SPADE_TRY(plan_past(plan, user, node, i, &back->past[i]));
    }
    return SPADE_OK;
}
