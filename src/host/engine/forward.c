/* forward.c - the forward pass of a plan, and where a plan's values are. */
#include "engine/plan.h"

/* ---- where things are */

void *spade_plan_pointer(const spade_plan *plan, int buffer)
{
    return buffer < 0 ? NULL : plan->arena + plan->workspace_bytes + plan->buffers[buffer].offset;
}

float *spade_plan_input(const spade_plan *plan, spade_shape *shape)
{
    if (shape) { *shape = spade_value_shape(&plan->network->values[plan->network->input], spade_batch_of(plan)); }
    return spade_plan_pointer(plan, plan->value_buffer[plan->network->input]);
}

const float *spade_plan_output(const spade_plan *plan)
{
    return spade_plan_pointer(plan, plan->value_buffer[plan->network->output]);
}

float *spade_plan_output_relevance(const spade_plan *plan)
{
    return spade_plan_pointer(plan, plan->relevance_buffer[spade_plan_start(plan)]);
}

const float *spade_plan_relevance(const spade_plan *plan)
{
    return spade_plan_pointer(plan, plan->relevance_buffer[spade_plan_stop(plan)]);
}

const float *spade_plan_tap(const spade_plan *plan, int i, spade_shape *shape)
{
    int value = plan->request.taps[i];
    if (shape) { *shape = spade_value_shape(&plan->network->values[value], spade_batch_of(plan)); }
    return spade_plan_pointer(plan, plan->value_buffer[value]);
}

const float *spade_plan_tap_relevance(const spade_plan *plan, int i)
{
    return spade_plan_pointer(plan, plan->relevance_buffer[plan->request.taps[i]]);
}

const float *spade_plan_value(const spade_plan *plan, const spade_packed_weights *weights, int value)
{
    if (plan->network->values[value].constant) { return spade_packed_weights_constant(weights, value); }
    return spade_plan_pointer(plan, plan->value_buffer[value]);
}

static const float *value_data(const void *engine, int value)
{
    const spade_pass_data *pass = engine;
    return spade_plan_value(pass->plan, pass->weights, value);
}

static const float *parameter_data(const void *engine, const spade_node *node, int parameter)
{
    const spade_pass_data *pass = engine;
    return spade_packed_weights_parameter(pass->weights, (int)(node - pass->plan->network->nodes), parameter);
}

static spade_sparse_rows map_data(const void *engine, const spade_node *node, bool transposed)
{
    const spade_pass_data *pass = engine;
    return spade_packed_weights_map(pass->weights, (int)(node - pass->plan->network->nodes), transposed);
}

spade_node_data spade_plan_node_data(const spade_pass_data *pass, const spade_node *node)
{
    return (spade_node_data){node, value_data, parameter_data, map_data, pass};
}

void spade_sequence_bind(const spade_plan *plan, const spade_packed_weights *weights, const spade_sequence *sequence,
                         spade_op_args *args)
{
    for (int i = 0; i < sequence->count; i++) {
        int value = spade_sequence_operand(plan->network, sequence, i);
        if (value >= 0) {
            args->operands[i] = spade_plan_value(plan, weights, value);
        } else if (sequence->steps[i].how.source == SPADE_OPERAND_PARAMETER) {
            args->operands[i] =
                spade_packed_weights_parameter(weights, sequence->steps[i].node, sequence->steps[i].how.index);
        }
    }
}

/* ---- packed weights */

spade_packing spade_plan_packing(const spade_plan *plan, int node, spade_op_kind kind, spade_weight_view view)
{
    return (spade_packing){
        .node = node, .kind = kind, .batch = spade_batch_of(plan), .norm = view.norm ? view.norm : -1, .view = view};
}

static spade_packing step_packing(const spade_plan *plan, const spade_step *step)
{
    const bool convolution = plan->network->nodes[step->node].kind == SPADE_NODE_CONVOLUTION;
    spade_packing packing = spade_plan_packing(plan, step->node, convolution ? SPADE_OP_CONVOLUTION : SPADE_OP_LINEAR,
                                               (spade_weight_view){SPADE_W, 0, 0});
    packing.norm = step->norm;
    packing.relu = step->relu;
    return packing;
}

static spade_status back_packings(const spade_plan *plan, int node, spade_packing_fn each, void *user)
{
    const spade_back_step *back = &plan->back[node];
    for (int k = 0; back->rule && k < plan->network->nodes[node].input_count; k++) {
        if (!back->inputs[k].op || !spade_op_has_weights(back->inputs[k].kind)) { continue; }
        const spade_packing packing =
            spade_plan_packing(plan, node, back->inputs[k].kind, (spade_weight_view){SPADE_W, 0, 0});
        SPADE_TRY(each(user, back->inputs[k].op, &packing));
    }
    for (int i = 0; i < back->op_count; i++) {
        if (!spade_op_has_weights(back->ops[i].kind)) { continue; }
        const spade_packing packing = spade_plan_packing(plan, node, back->ops[i].kind, back->ops[i].weights);
        SPADE_TRY(each(user, back->ops[i].op, &packing));
    }
    return SPADE_OK;
}

spade_status spade_plan_packings(const spade_plan *plan, spade_packing_fn each, void *user)
{
    for (int s = 0; s < plan->step_count; s++) {
        if (plan->network->nodes[plan->steps[s].node].layer < 0) { continue; }
        const spade_packing packing = step_packing(plan, &plan->steps[s]);
        SPADE_TRY(each(user, plan->steps[s].op, &packing));
    }
    for (int n = 0; plan->back && n < plan->network->node_count; n++) { SPADE_TRY(back_packings(plan, n, each, user)); }
    return SPADE_OK;
}

static spade_status pack(void *user, spade_op *op, const spade_packing *packing)
{
    spade_packed_layer packed;
    return spade_packed_weights_get(user, op, packing, &packed);
}

spade_status spade_plan_prepare(const spade_plan *plan, spade_packed_weights *weights)
{
    return spade_plan_packings(plan, pack, weights);
}

/* ---- the pass */

static spade_status run_step(spade_plan *plan, spade_packed_weights *weights, const spade_step *step)
{
    const spade_node *node = &plan->network->nodes[step->node];
    spade_op_args args = {.saved = spade_plan_pointer(plan, step->saved),
                          .workspace = plan->arena,
                          .out = spade_plan_pointer(plan, plan->value_buffer[step->output])};
    if (step->fused_count) {
        args.a = spade_plan_value(plan, weights, node->inputs[0]);
        spade_sequence_bind(plan, weights, &step->sequence, &args);
    } else {
        const spade_pass_data pass = {plan, weights};
        const spade_node_data data = spade_plan_node_data(&pass, node);
        spade_node_class_of(node)->bind(&data, &args);
    }
    if (node->layer >= 0) {
        const spade_packing packing = step_packing(plan, step);
        spade_packed_layer packed;
        SPADE_TRY(spade_packed_weights_get(weights, step->op, &packing, &packed));
        args.packed = packed.weights;
        args.bias = packed.bias;
    }
    return plan->context->device->backend->run(step->op, &args);
}

/* Each input into its part of the output. */
static spade_status run_parts(spade_plan *plan, const spade_packed_weights *weights, const spade_step *step)
{
    const spade_node *node = &plan->network->nodes[step->node];
    const spade_pass_data pass = {plan, weights};
    const spade_node_data data = spade_plan_node_data(&pass, node);
    for (int k = 0; k < node->input_count; k++) {
        spade_op_args args = {.workspace = plan->arena,
                              .out = spade_plan_pointer(plan, plan->value_buffer[step->output])};
        spade_node_class_of(node)->bind_part(&data, k, &args);
        SPADE_TRY(plan->context->device->backend->run(step->parts[k], &args));
    }
    return SPADE_OK;
}

static spade_status show_layer(spade_plan *plan, spade_packed_weights *weights, const spade_node *node,
                               spade_layer_observer observer, void *user)
{
    const spade_value *input = &plan->network->values[node->inputs[0]];
    spade_shape shape = spade_value_shape(input, spade_batch_of(plan));
    return observer(user, node->layer, &shape, spade_plan_value(plan, weights, node->inputs[0]));
}

spade_status spade_run_forward(spade_plan *plan, spade_packed_weights *weights, const float *input, float *output,
                               spade_layer_observer observer, void *user, const bool *wanted)
{
    const spade_network *network = plan->network;
    spade_device *device = plan->context->device;
    const spade_backend *backend = device->backend;
    spade_shape shape;
    int to_come = 0; /* layers to be observed yet */
    for (int i = 0; wanted && i < network->layer_count; i++) { to_come += wanted[i]; }
    void *x = spade_plan_input(plan, &shape);
    if (input) { SPADE_TRY(backend->upload(device, x, input, (size_t)spade_shape_size(&shape) * sizeof(float))); }
    for (int s = 0; s < plan->step_count; s++) {
        const spade_step *step = &plan->steps[s];
        const spade_node *node = &network->nodes[step->node];
        if (observer && node->layer >= 0 && (!wanted || wanted[node->layer])) {
            SPADE_TRY(show_layer(plan, weights, node, observer, user));
            to_come--;
        }
        /* A pass for some layers only ends with the last of them; with rules it is completed, since a walk may follow. */
        if (wanted && !output && !to_come && !plan->back) { break; }
        if (!step->op && !step->parts) { continue; }
        spade_status status = step->parts ? run_parts(plan, weights, step) : run_step(plan, weights, step);
        if (status != SPADE_OK) { return spade_fail_in(plan->context, status, "node \"%.200s\"", node->name); }
    }
    return output ? spade_plan_read_output(plan, output) : SPADE_OK;
}

spade_status spade_plan_read_output(const spade_plan *plan, float *output)
{
    spade_device *device = plan->context->device;
    const spade_network *network = plan->network;
    spade_shape shape = spade_value_shape(&network->values[network->output], spade_batch_of(plan));
    return device->backend->download(device, output, spade_plan_output(plan),
                                     (size_t)spade_shape_size(&shape) * sizeof(float));
}
