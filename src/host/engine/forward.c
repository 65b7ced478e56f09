/* forward.c - the forward pass of a plan. */
#include "engine/plan.h"

void *spade_plan_pointer(const spade_plan *plan, int buffer)
{
    return buffer < 0 ? NULL : plan->arena + plan->workspace_bytes + plan->buffers[buffer].offset;
}

float *spade_plan_input(const spade_plan *plan, spade_shape *shape)
{
    if (shape) { *shape = spade_value_shape(&plan->network->values[plan->network->input], plan->batch); }
    return spade_plan_pointer(plan, plan->value_buffer[plan->network->input]);
}

const float *spade_plan_output(const spade_plan *plan)
{
    return spade_plan_pointer(plan, plan->value_buffer[plan->network->output]);
}

const float *spade_plan_value(const spade_plan *plan, const spade_packed_weights *weights, int value)
{
    if (plan->network->values[value].constant) { return spade_packed_weights_constant(weights, value); }
    return spade_plan_pointer(plan, plan->value_buffer[value]);
}

static void fill_chain(const spade_plan *plan, const spade_packed_weights *weights, const spade_step *step,
                       spade_op_args *args)
{
    const spade_network *network = plan->network;
    int first = 0; /* of the node's steps */
    for (int i = 0; i < step->chain_length; i++) {
        int node = step->chain[i], value = spade_pointwise_operand(network, step, i);
        if (network->nodes[node].kind == SPADE_NODE_BATCH_NORM) {
            args->operands[first] = spade_packed_weights_scale(weights, node);
            args->operands[first + 1] = spade_packed_weights_shift(weights, node);
        } else if (value >= 0) {
            args->operands[first] = spade_plan_value(plan, weights, value);
        }
        first += spade_pointwise_steps(&network->nodes[node]);
    }
}

static spade_status pack_step(const spade_plan *plan, spade_packed_weights *weights, const spade_step *step,
                              spade_packed_layer *out)
{
    bool convolution = plan->network->nodes[step->node].kind == SPADE_NODE_CONVOLUTION;
    return spade_packed_weights_get(weights, step->op, convolution ? SPADE_OP_CONVOLUTION : SPADE_OP_LINEAR,
                                    plan->batch, step->node, step->norm, step->relu, out);
}

spade_status spade_plan_pack_back(const spade_plan *plan, spade_packed_weights *weights, int node,
                                  spade_packed_layer *out)
{
    bool convolution = plan->network->nodes[node].kind == SPADE_NODE_CONVOLUTION;
    return spade_packed_weights_get(weights, plan->back[node].op[0],
                                    convolution ? SPADE_OP_CONVOLUTION_BACKWARD : SPADE_OP_LINEAR_BACKWARD, plan->batch,
                                    node, -1, false, out);
}

spade_status spade_plan_prepare(const spade_plan *plan, spade_packed_weights *weights)
{
    spade_packed_layer packed;
    for (int s = 0; s < plan->step_count; s++) {
        if (plan->network->nodes[plan->steps[s].node].layer < 0) { continue; }
        SPADE_TRY(pack_step(plan, weights, &plan->steps[s], &packed));
    }
    for (int n = 0; plan->back && n < plan->network->node_count; n++) {
        if (plan->network->nodes[n].layer < 0 || !plan->back[n].op[0]) { continue; }
        SPADE_TRY(spade_plan_pack_back(plan, weights, n, &packed));
    }
    return SPADE_OK;
}

static spade_status run_step(spade_plan *plan, spade_packed_weights *weights, const spade_step *step)
{
    const spade_node *node = &plan->network->nodes[step->node];
    spade_op_args args = {.a = spade_plan_value(plan, weights, node->inputs[0]),
                          .saved = spade_plan_pointer(plan, step->saved),
                          .workspace = plan->arena,
                          .out = spade_plan_pointer(plan, plan->value_buffer[step->output])};
    if (node->kind == SPADE_NODE_MATMUL) { args.b = spade_plan_value(plan, weights, node->inputs[1]); }
    fill_chain(plan, weights, step, &args);
    if (node->layer >= 0) {
        spade_packed_layer packed;
        SPADE_TRY(pack_step(plan, weights, step, &packed));
        args.packed = packed.weights;
        args.bias = packed.bias;
    }
    return plan->context->device->backend->run(step->op, &args);
}

static spade_status show_tap(spade_plan *plan, spade_packed_weights *weights, const spade_node *node, spade_tap_fn tap,
                             void *user)
{
    const spade_value *input = &plan->network->values[node->inputs[0]];
    spade_shape shape = spade_value_shape(input, plan->batch);
    return tap(user, node->layer, &shape, spade_plan_value(plan, weights, node->inputs[0]));
}

spade_status spade_run_forward(spade_plan *plan, spade_packed_weights *weights, const float *input, float *output,
                               spade_tap_fn tap, void *user, const bool *wanted)
{
    const spade_network *network = plan->network;
    spade_device *device = plan->context->device;
    const spade_backend *backend = device->backend;
    spade_shape shape;
    int left = 0; /* taps to come */
    for (int i = 0; tap && i < network->layer_count; i++) { left += !wanted || wanted[i]; }
    void *x = spade_plan_input(plan, &shape);
    if (input) { SPADE_TRY(backend->upload(device, x, input, (size_t)spade_shape_size(&shape) * sizeof(float))); }
    for (int s = 0; s < plan->step_count; s++) {
        const spade_step *step = &plan->steps[s];
        const spade_node *node = &network->nodes[step->node];
        if (tap && node->layer >= 0 && (!wanted || wanted[node->layer])) {
            SPADE_TRY(show_tap(plan, weights, node, tap, user));
            left--;
        }
        /* A pass for taps only ends with the last of them; a backward plan is completed, since a walk may follow. */
        if (tap && !output && !left && !(plan->flags & SPADE_PLAN_BACKWARD)) { break; }
        if (!step->op) { continue; }
        spade_status status = run_step(plan, weights, step);
        if (status != SPADE_OK) { return spade_fail_in(plan->context, status, "node \"%.200s\"", node->name); }
    }
    return output ? spade_plan_read_output(plan, output) : SPADE_OK;
}

spade_status spade_plan_read_output(const spade_plan *plan, float *output)
{
    spade_device *device = plan->context->device;
    const spade_network *network = plan->network;
    spade_shape shape = spade_value_shape(&network->values[network->output], plan->batch);
    return device->backend->download(device, output, spade_plan_output(plan),
                                     (size_t)spade_shape_size(&shape) * sizeof(float));
}
