/* plan_ops.c - the backend's operation for each step and each share. */
#include "engine/plan.h"

spade_node_shapes spade_plan_shapes(const spade_plan *plan, const spade_node *node)
{
    return (spade_node_shapes){plan->network, node, spade_batch_of(plan)};
}

static spade_shape shape_of(const spade_plan *plan, int value)
{
    return spade_value_shape(&plan->network->values[value], spade_batch_of(plan));
}

spade_status spade_plan_op(spade_plan *plan, const spade_node *node, const spade_op_desc *desc, spade_op **out)
{
    spade_device *device = plan->context->device;
    const spade_backend *backend = device->backend;
    spade_status status = backend->plan(device, desc, out);
    if (status == SPADE_ERROR_UNSUPPORTED || status == SPADE_ERROR_ARGUMENT) { /* of what the network asks for */
        char reason[300];
        snprintf(reason, sizeof reason, "%s", spade_message(plan->context));
        return spade_fail(plan->context, SPADE_ERROR_UNSUPPORTED,
                          "node \"%.200s\": this %s is not supported by the %s backend: %s", node->name,
                          spade_node_kind_name(node->kind), backend->name, reason);
    }
    if (status != SPADE_OK) { return spade_fail_in(plan->context, status, "node \"%.200s\"", node->name); }
    size_t workspace = backend->workspace_bytes(*out);
    if (workspace > plan->workspace_bytes) { plan->workspace_bytes = workspace; }
    return SPADE_OK;
}

/* y = the steps of a sequence, from x on. */
static spade_op_desc describe_sequence(const spade_plan *plan, const spade_sequence *sequence, spade_shape x,
                                       spade_shape y)
{
    spade_op_desc desc = {.kind = SPADE_OP_POINTWISE, .a = x, .y = y};
    for (int i = 0; i < sequence->count; i++) {
        const spade_node_step *how = &sequence->steps[i].how;
        spade_pointwise_step *step = &desc.steps[desc.step_count++];
        *step = (spade_pointwise_step){
            .kind = how->kind, .function = how->function, .alpha = how->alpha, .beta = how->beta};
        int value = spade_sequence_operand(plan->network, sequence, i);
        if (value >= 0) {
            step->operand = shape_of(plan, value);
        } else if (how->source == SPADE_OPERAND_PARAMETER) {
            step->operand = spade_channel_shape(&y);
        }
    }
    return desc;
}

static spade_status plan_parts(spade_plan *plan, spade_step *step)
{
    const spade_node *node = &plan->network->nodes[step->node];
    const spade_node_shapes shapes = spade_plan_shapes(plan, node);
    step->parts = calloc((size_t)node->input_count + 1, sizeof *step->parts);
    if (!step->parts) {
        return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
    }
    for (int k = 0; k < node->input_count; k++) {
        spade_op_desc desc;
        spade_node_class_of(node)->forward_part(&shapes, k, &desc);
        SPADE_TRY(spade_plan_op(plan, node, &desc, &step->parts[k]));
    }
    return SPADE_OK;
}

spade_status spade_plan_forward_op(spade_plan *plan, spade_step *step)
{
    const spade_node *node = &plan->network->nodes[step->node];
    const spade_node_shapes shapes = spade_plan_shapes(plan, node);
    spade_op_desc desc;
    if (spade_node_is_alias(node)) { return SPADE_OK; }
    if (spade_node_class_of(node)->forward_part) { return plan_parts(plan, step); }
    if (step->fused_count) {
        desc = describe_sequence(plan, &step->sequence, shape_of(plan, node->inputs[0]), shape_of(plan, step->output));
    } else {
        spade_node_class_of(node)->forward(&shapes, &desc);
        desc.relu = step->relu;
    }
    return spade_plan_op(plan, node, &desc, &step->op);
}

/* ---- backward */

spade_shape spade_plan_share_shape(const spade_plan *plan, const spade_node *node, int input)
{
    const spade_node_class *class = spade_node_class_of(node);
    const spade_node_shapes shapes = spade_plan_shapes(plan, node);
    if (class->gradient_shape) {
        spade_shape shape;
        class->gradient_shape(&shapes, input, &shape);
        return shape;
    }
    return class->steps ? spade_output_shape(&shapes) : spade_input_shape(&shapes, input);
}

static spade_status plan_share(spade_plan *plan, const spade_node *node, int k, spade_back_input *input)
{
    const spade_node_shapes shapes = spade_plan_shapes(plan, node);
    const spade_shape dy = spade_output_shape(&shapes), full = spade_plan_share_shape(plan, node, k);
    const spade_shape own = spade_input_shape(&shapes, k);
    spade_op_desc desc;
    switch (input->form) {
    case SPADE_SHARE_BY_STEPS:
        if (input->sequence.count == 0) {
            input->form = SPADE_SHARE_IS_DY;
            break;
        }
        desc = describe_sequence(plan, &input->sequence, dy, dy);
        input->kind = desc.kind;
        SPADE_TRY(spade_plan_op(plan, node, &desc, &input->op));
        break;
    case SPADE_SHARE_BY_OP:
        spade_node_class_of(node)->gradient(&shapes, k, &desc);
        input->kind = desc.kind;
        SPADE_TRY(spade_plan_op(plan, node, &desc, &input->op));
        break;
    case SPADE_SHARE_IS_DY:
    case SPADE_SHARE_BY_RULE: break;
    }
    if (spade_node_is_alias(node) || spade_same_dims(&own, &full)) { return SPADE_OK; }
    const spade_op_desc sum = {.kind = SPADE_OP_REDUCE_SUM, .a = full, .y = own};
    return spade_plan_op(plan, node, &sum, &input->reduce);
}

spade_status spade_plan_backward_ops(spade_plan *plan, int node_index)
{
    const spade_node *node = &plan->network->nodes[node_index];
    spade_back_step *back = &plan->back[node_index];
    for (int k = 0; back->rule && !back->passed && k < node->input_count; k++) {
        if (back->inputs[k].wanted) { SPADE_TRY(plan_share(plan, node, k, &back->inputs[k])); }
    }
    return SPADE_OK;
}
