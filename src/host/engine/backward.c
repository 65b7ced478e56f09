/* backward.c - the walk back from the output to the value where it ends: each node's rule in its turn. */
#include "engine/plan.h"

struct spade_rule_call {
    spade_plan *plan;
    spade_packed_weights *weights;
    int node;
    const spade_walk_observer *observer; /* NULL: nobody watches */
};

static spade_device *device_of(const spade_rule_call *call)
{
    return call->plan->context->device;
}

static const spade_node *node_of(const spade_rule_call *call)
{
    return &call->plan->network->nodes[call->node];
}

static const spade_back_step *back_of(const spade_rule_call *call)
{
    return &call->plan->back[call->node];
}

/* ---- what a rule may ask */

const spade_network *spade_rule_network(const spade_rule_call *call)
{
    return call->plan->network;
}

bool spade_rule_makes_share(const spade_rule_call *call, int input)
{
    const spade_back_input *share = &back_of(call)->inputs[input];
    return share->wanted && share->form == SPADE_SHARE_BY_RULE;
}

const float *spade_rule_relevance(const spade_rule_call *call)
{
    return spade_plan_pointer(call->plan, call->plan->relevance_buffer[node_of(call)->outputs[0]]);
}

const float *spade_rule_input(const spade_rule_call *call, int input)
{
    int value = node_of(call)->inputs[input];
    bool kept = spade_keeps_input(back_of(call)->keeps, input) || call->plan->network->values[value].constant;
    return kept ? spade_plan_value(call->plan, call->weights, value) : NULL;
}

const float *spade_rule_output(const spade_rule_call *call)
{
    bool kept = back_of(call)->keeps & SPADE_KEEP_OUTPUT;
    return kept ? spade_plan_value(call->plan, call->weights, node_of(call)->outputs[0]) : NULL;
}

const float *spade_rule_parameter(const spade_rule_call *call, int parameter)
{
    return spade_packed_weights_parameter(call->weights, call->node, parameter);
}

float *spade_rule_scratch_at(const spade_rule_call *call, int slot)
{
    return spade_plan_pointer(call->plan, back_of(call)->scratch[slot].buffer);
}

/* The layer's weights and bias as the operation in this slot sees them. */
static spade_status packed_of(spade_rule_call *call, int slot, spade_packed_layer *packed)
{
    const spade_rule_slot *op = &back_of(call)->ops[slot];
    const spade_packing packing = spade_plan_packing(call->plan, call->node, op->kind, op->weights);
    return spade_packed_weights_get(call->weights, op->op, &packing, packed);
}

spade_status spade_rule_bias(spade_rule_call *call, int slot, const float **bias)
{
    spade_packed_layer packed;
    SPADE_TRY(packed_of(call, slot, &packed));
    *bias = packed.bias;
    return SPADE_OK;
}

void spade_rule_bind_gradient(const spade_rule_call *call, int input, const float *dy, spade_op_args *args)
{
    const spade_pass_data pass = {call->plan, call->weights};
    const spade_node_data data = spade_plan_node_data(&pass, node_of(call));
    spade_node_class_of(node_of(call))->bind_gradient(&data, input, dy, args);
}

spade_status spade_rule_run(spade_rule_call *call, int slot, spade_op_args *args)
{
    const spade_rule_slot *op = &back_of(call)->ops[slot];
    args->workspace = call->plan->arena;
    args->saved = spade_plan_pointer(call->plan, back_of(call)->saved);
    if (spade_op_has_weights(op->kind)) {
        spade_packed_layer packed;
        SPADE_TRY(packed_of(call, slot, &packed));
        args->packed = packed.weights;
    }
    return device_of(call)->backend->run(op->op, args);
}

bool spade_rule_has_share(const spade_rule_call *call, int input)
{
    return back_of(call)->inputs[input].wanted;
}

bool spade_rule_has_size(const spade_rule_call *call, int input, int64_t n)
{
    const spade_value *value = &call->plan->network->values[node_of(call)->inputs[input]];
    const spade_shape shape = spade_value_shape(value, spade_batch_of(call->plan));
    return spade_shape_size(&shape) == n;
}

spade_shape spade_rule_output_shape(const spade_rule_call *call)
{
    return spade_value_shape(&call->plan->network->values[node_of(call)->outputs[0]], spade_batch_of(call->plan));
}

spade_status spade_rule_read(const spade_rule_call *call, const float *from, int64_t n, float **out)
{
    spade_context *context = call->plan->context;
    const size_t bytes = sizeof **out * (size_t)n;
    void *memory;
    *out = NULL;
    SPADE_TRY(spade_alloc(context, bytes, "relevance of a node", &memory));
    spade_status status = device_of(call)->backend->download(device_of(call), memory, from, bytes);
    if (status != SPADE_OK) {
        spade_free_bytes(context, memory, bytes);
        return status;
    }
    *out = memory;
    return SPADE_OK;
}

void spade_rule_free(const spade_rule_call *call, float *numbers, int64_t n)
{
    spade_free_bytes(call->plan->context, numbers, sizeof *numbers * (size_t)n);
}

/* ---- shares */

static int target_value(const spade_rule_call *call, int input)
{
    const spade_back_input *share = &back_of(call)->inputs[input];
    return call->plan->network->nodes[share->to_node].inputs[share->to_input];
}

/* Where the share lies once it has the value's own shape. */
static float *target_of(const spade_rule_call *call, int input)
{
    const spade_back_input *share = &back_of(call)->inputs[input];
    int buffer = share->partial >= 0 ? share->partial : call->plan->relevance_buffer[target_value(call, input)];
    return spade_plan_pointer(call->plan, buffer);
}

float *spade_rule_share(spade_rule_call *call, int input)
{
    const spade_back_input *share = &back_of(call)->inputs[input];
    return share->reduce ? spade_plan_pointer(call->plan, share->scratch) : target_of(call, input);
}

/* Add the share, which lies where it is told, to the relevance of its value; a first one is in place, or is copied. */
static spade_status add_share(spade_rule_call *call, int input, const float *share, bool first)
{
    spade_device *device = device_of(call);
    int value = target_value(call, input);
    float *sum = spade_plan_pointer(call->plan, call->plan->relevance_buffer[value]);
    const spade_shape shape = spade_value_shape(&call->plan->network->values[value], spade_batch_of(call->plan));
    const int64_t size = spade_shape_size(&shape);
    if (!first) { return device->backend->axpby(device, size, 1, share, 1, sum); }
    return share == sum ? SPADE_OK : device->backend->copy(device, sum, share, (size_t)size * sizeof(float));
}

static spade_status show_share(const spade_rule_call *call, int input, const float *share)
{
    const int value = target_value(call, input);
    const spade_shape shape = spade_value_shape(&call->plan->network->values[value], spade_batch_of(call->plan));
    return call->observer->share(call->observer->user, call->node, value, &shape, share);
}

static spade_status deliver(spade_rule_call *call, int input, const float *made)
{
    const spade_back_input *share = &back_of(call)->inputs[input];
    if (share->reduce) {
        spade_op_args args = {.a = made, .workspace = call->plan->arena, .out = target_of(call, input)};
        SPADE_TRY(device_of(call)->backend->run(share->reduce, &args));
        made = args.out;
    }
    if (call->observer && call->observer->share) { SPADE_TRY(show_share(call, input, made)); }
    return add_share(call, input, made, share->first);
}

spade_status spade_rule_deliver(spade_rule_call *call, int input)
{
    return deliver(call, input, spade_rule_share(call, input));
}

/* The engine's own forms of a share. */
static spade_status run_share(spade_rule_call *call, int input)
{
    const spade_back_input *share = &back_of(call)->inputs[input];
    const spade_node *node = node_of(call);
    const float *dy = spade_rule_relevance(call);
    if (share->form == SPADE_SHARE_IS_DY) { return deliver(call, input, dy); }
    spade_op_args args = {.workspace = call->plan->arena,
                          .saved = spade_plan_pointer(call->plan, back_of(call)->saved),
                          .out = spade_rule_share(call, input)};
    if (share->form == SPADE_SHARE_BY_STEPS) {
        args.a = dy;
        spade_sequence_bind(call->plan, call->weights, &share->sequence, &args);
    } else {
        spade_rule_bind_gradient(call, input, dy, &args);
        if (node->layer >= 0) {
            const spade_weight_view as_they_are = {SPADE_W, 0, 0};
            const spade_packing packing = spade_plan_packing(call->plan, call->node, share->kind, as_they_are);
            spade_packed_layer packed;
            SPADE_TRY(spade_packed_weights_get(call->weights, share->op, &packing, &packed));
            args.packed = packed.weights;
        }
    }
    SPADE_TRY(device_of(call)->backend->run(share->op, &args));
    return deliver(call, input, args.out);
}

/* ---- the walk */

static spade_status run_node(spade_rule_call *call)
{
    const spade_back_step *back = back_of(call);
    const spade_node *node = node_of(call);
    for (int k = 0; k < node->input_count; k++) {
        if (back->inputs[k].wanted && back->inputs[k].form != SPADE_SHARE_BY_RULE) { SPADE_TRY(run_share(call, k)); }
    }
    return back->rule->run ? back->rule->run(call, node, call->plan->rules.options) : SPADE_OK;
}

static spade_status show_relevance(const spade_rule_call *call)
{
    const spade_value *output = &call->plan->network->values[node_of(call)->outputs[0]];
    const spade_shape shape = spade_value_shape(output, spade_batch_of(call->plan));
    return call->observer->relevance(call->observer->user, call->node, &shape, spade_rule_relevance(call));
}

static spade_status show_account(spade_rule_call *call)
{
    const spade_rule *rule = back_of(call)->rule;
    spade_rule_account account = {0};
    if (rule->account) { SPADE_TRY(rule->account(call, node_of(call), call->plan->rules.options, &account)); }
    return call->observer->account(call->observer->user, call->node, &account);
}

static spade_status run_observed(spade_rule_call *call)
{
    const spade_walk_observer *observer = call->observer;
    if (observer && observer->relevance) { SPADE_TRY(show_relevance(call)); }
    SPADE_TRY(run_node(call));
    return observer && observer->account ? show_account(call) : SPADE_OK;
}

spade_status spade_run_backward(spade_plan *plan, spade_packed_weights *weights)
{
    return spade_run_backward_observed(plan, weights, NULL);
}

spade_status spade_run_backward_observed(spade_plan *plan, spade_packed_weights *weights,
                                         const spade_walk_observer *observer)
{
    const spade_network *network = plan->network;
    if (!plan->back) {
        return spade_fail(plan->context, SPADE_ERROR_INTERNAL, "the plan was made without rules for a way back");
    }
    for (int n = network->node_count - 1; n >= 0; n--) {
        spade_rule_call call = {plan, weights, n, observer};
        if (!plan->back[n].rule || plan->back[n].passed) { continue; }
        spade_status status = run_observed(&call);
        if (status != SPADE_OK) {
            return spade_fail_in(plan->context, status, "node \"%.200s\"", network->nodes[n].name);
        }
    }
    return SPADE_OK;
}
