/* plan_ops.c - the backend's operation for each node, forward and backward. */
#include "graph/plan.h"

bool spade_same_dims(const spade_shape *a, const spade_shape *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

static spade_shape shape_of(const spade_plan *plan, int value)
{
    return spade_value_shape(&plan->graph->values[value], plan->batch);
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
    case SPADE_NODE_UNARY:
        desc.function = node->function;
        desc.alpha = node->alpha;
        desc.beta = node->beta;
        break;
    case SPADE_NODE_SOFTMAX: desc.axis = node->axis; break;
    case SPADE_NODE_MUL: desc.multiply = true; break;
    default: break;
    }
    return desc;
}

spade_status spade_plan_forward_op(spade_plan *plan, spade_step *step)
{
    static const spade_op_kind kinds[SPADE_NODE_KIND_COUNT] = {[SPADE_NODE_CONVOLUTION] = SPADE_OP_CONVOLUTION,
                                                               [SPADE_NODE_LINEAR] = SPADE_OP_LINEAR,
                                                               [SPADE_NODE_MATMUL] = SPADE_OP_MATMUL,
                                                               [SPADE_NODE_BATCH_NORM] = SPADE_OP_SCALE_SHIFT,
                                                               [SPADE_NODE_UNARY] = SPADE_OP_UNARY,
                                                               [SPADE_NODE_SOFTMAX] = SPADE_OP_SOFTMAX,
                                                               [SPADE_NODE_MAX_POOL] = SPADE_OP_POOL,
                                                               [SPADE_NODE_AVERAGE_POOL] = SPADE_OP_POOL,
                                                               [SPADE_NODE_ADD] = SPADE_OP_BINARY,
                                                               [SPADE_NODE_MUL] = SPADE_OP_BINARY,
                                                               [SPADE_NODE_CONVERT_LAYOUT] = SPADE_OP_CONVERT_LAYOUT};
    const spade_node *node = &plan->graph->nodes[step->node];
    if (node->kind == SPADE_NODE_RESHAPE) { return SPADE_OK; }
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

/* d(a) = dy b^T, d(b) = a^T dy for y = a b; d(a) = dy * b, d(b) = dy * a for y = a * b. */
static spade_op_desc describe_product_back(const spade_plan *plan, const spade_node *node, int input,
                                           const spade_shape *full)
{
    spade_shape dy = shape_of(plan, node->output), other = shape_of(plan, node->inputs[1 - input]);
    spade_op_desc desc = {.y = *full};
    if (node->kind == SPADE_NODE_MUL) {
        desc.kind = SPADE_OP_BINARY;
        desc.multiply = true;
        desc.a = dy;
        desc.b = other;
        return desc;
    }
    desc.kind = SPADE_OP_MATMUL;
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
    case SPADE_NODE_BATCH_NORM: desc->kind = SPADE_OP_SCALE_SHIFT; return true;
    case SPADE_NODE_UNARY: desc->kind = SPADE_OP_UNARY_BACKWARD; return true;
    case SPADE_NODE_SOFTMAX: desc->kind = SPADE_OP_SOFTMAX_BACKWARD; return true;
    case SPADE_NODE_MAX_POOL:
    case SPADE_NODE_AVERAGE_POOL: desc->kind = SPADE_OP_POOL_BACKWARD; return true;
    case SPADE_NODE_CONVERT_LAYOUT:
        desc->kind = SPADE_OP_CONVERT_LAYOUT;
        desc->a = shape_of(plan, node->output);
        desc->y = shape_of(plan, node->inputs[0]);
        return true;
    case SPADE_NODE_MATMUL:
    case SPADE_NODE_MUL: *desc = describe_product_back(plan, node, input, full); return true;
    default: return false; /* ADD, RESHAPE: dy itself */
    }
}

spade_status spade_plan_backward_ops(spade_plan *plan, int node_index)
{
    const spade_node *node = &plan->graph->nodes[node_index];
    spade_back_step *back = &plan->back[node_index];
    for (int i = 0; i < node->input_count; i++) {
        if (plan->graph->values[node->inputs[i]].batch_axis < 0) { continue; }
        spade_shape own = shape_of(plan, node->inputs[i]), full = spade_plan_full_shape(plan, node, i);
        spade_op_desc desc;
        if (describe_back(plan, node, i, &full, &desc)) { SPADE_TRY(plan_op(plan, node, &desc, &back->op[i])); }
        if (!spade_same_dims(&own, &full)) {
            spade_op_desc sum = {.kind = SPADE_OP_REDUCE_SUM, .a = full, .y = own};
            SPADE_TRY(plan_op(plan, node, &sum, &back->reduce[i]));
        }
    }
    return SPADE_OK;
}
