/* backward.c - the walk back from the output to the input, and the rules of the gradient. */
#include "engine/backward.h"
#include "engine/plan.h"

struct spade_backward {
    spade_plan *plan;
    spade_packed_weights *weights;
    bool *received; /* [values]: has a share already */
    bool past;      /* normalisations go by the gradient's rule: it may be one with the rule after it */
};

static spade_device *device_of(const spade_backward *walk)
{
    return walk->plan->context->device;
}

bool spade_backward_wants(const spade_backward *walk, const spade_node *node, int k)
{
    return walk->plan->network->values[node->inputs[k]].batch_axis >= 0;
}

float *spade_plan_seed(const spade_plan *plan)
{
    return spade_plan_pointer(plan, plan->gradient_buffer[plan->network->output]);
}

const float *spade_plan_input_gradient(const spade_plan *plan)
{
    return spade_plan_pointer(plan, plan->gradient_buffer[plan->network->input]);
}

const float *spade_backward_relevance(const spade_backward *walk, const spade_node *node)
{
    return spade_plan_pointer(walk->plan, walk->plan->gradient_buffer[node->output]);
}

const float *spade_backward_value(const spade_backward *walk, int value)
{
    return spade_plan_value(walk->plan, walk->weights, value);
}

spade_shape spade_backward_shape(const spade_backward *walk, int value)
{
    return spade_value_shape(&walk->plan->network->values[value], walk->plan->batch);
}

float *spade_backward_target(spade_backward *walk, const spade_node *node, int node_index, int k)
{
    int value = node->inputs[k];
    int buffer = walk->received[value] ? walk->plan->back[node_index].partial[k] : walk->plan->gradient_buffer[value];
    return spade_plan_pointer(walk->plan, buffer);
}

spade_status spade_backward_add(spade_backward *walk, const spade_node *node, int k, const float *share)
{
    int value = node->inputs[k];
    spade_device *device = device_of(walk);
    spade_shape shape = spade_backward_shape(walk, value);
    float *sum = spade_plan_pointer(walk->plan, walk->plan->gradient_buffer[value]);
    int64_t size = spade_shape_size(&shape);
    bool first = !walk->received[value];
    walk->received[value] = true;
    if (share == sum) { return SPADE_OK; } /* handed over where it lies */
    if (first) { return device->backend->copy(device, sum, share, (size_t)size * sizeof(float)); }
    return device->backend->axpby(device, size, 1, share, 1, sum);
}

spade_status spade_backward_deliver(spade_backward *walk, const spade_node *node, int node_index, int k)
{
    if (walk->received[node->inputs[k]]) {
        return spade_backward_add(walk, node, k, spade_backward_target(walk, node, node_index, k));
    }
    walk->received[node->inputs[k]] = true;
    return SPADE_OK;
}

/* Arguments of the operation that takes dy to input k. */
static spade_status fill_args(spade_backward *walk, const spade_node *node, int node_index, int k, const float *dy,
                              spade_op_args *args)
{
    const spade_back_step *back = &walk->plan->back[node_index];
    spade_packed_layer packed;
    args->dy = dy;
    switch (node->kind) {
    case SPADE_NODE_CONVOLUTION:
    case SPADE_NODE_LINEAR:
        SPADE_TRY(spade_plan_pack_back(walk->plan, walk->weights, node_index, &packed));
        args->packed = packed.weights;
        break;
    case SPADE_NODE_BATCH_NORM:
        args->a = dy;
        args->operands[0] = spade_packed_weights_scale(walk->weights, node_index);
        break;
    case SPADE_NODE_UNARY:
        args->a = dy;
        args->operands[0] = spade_backward_value(walk, spade_rule_reads(node, -1) ? node->output : node->inputs[0]);
        break;
    case SPADE_NODE_SOFTMAX: args->y = spade_backward_value(walk, node->output); break;
    case SPADE_NODE_MAX_POOL: args->saved = spade_plan_pointer(walk->plan, back->saved); break;
    case SPADE_NODE_ADD:
    case SPADE_NODE_CONVERT_LAYOUT: args->a = dy; break;
    case SPADE_NODE_MUL:
        args->a = dy;
        args->operands[0] = spade_backward_value(walk, node->inputs[1 - k]);
        break;
    case SPADE_NODE_MATMUL: /* dy b^T, or a^T dy */
        args->a = k == 0 ? dy : spade_backward_value(walk, node->inputs[0]);
        args->b = k == 0 ? spade_backward_value(walk, node->inputs[1]) : dy;
        break;
    default: break;
    }
    return SPADE_OK;
}

spade_status spade_backward_run(spade_backward *walk, const spade_node *node, int node_index, int k, const float *dy)
{
    const spade_back_step *back = &walk->plan->back[node_index];
    const spade_backend *backend = device_of(walk)->backend;
    float *target = spade_backward_target(walk, node, node_index, k);
    if (!back->op[k] && !back->reduce[k]) { return spade_backward_add(walk, node, k, dy); }
    if (back->op[k]) {
        spade_op_args args = {.workspace = walk->plan->arena};
        SPADE_TRY(fill_args(walk, node, node_index, k, dy, &args));
        args.out = back->reduce[k] ? spade_plan_pointer(walk->plan, back->scratch[k]) : target;
        SPADE_TRY(backend->run(back->op[k], &args));
        dy = args.out;
    }
    if (back->reduce[k]) {
        spade_op_args args = {.a = dy, .workspace = walk->plan->arena, .out = target};
        SPADE_TRY(backend->run(back->reduce[k], &args));
    }
    return spade_backward_deliver(walk, node, node_index, k);
}

/* ---- the gradient: every kind's planned operation on the gradient of the output */

/* Input k's share, taken past the normalisation that made the input, to what that was made from. */
static spade_status run_past(spade_backward *walk, const spade_node *node, int node_index, int k)
{
    const spade_back_step *back = &walk->plan->back[node_index];
    int norm_index = walk->plan->network->values[node->inputs[k]].producer;
    const spade_node *norm = &walk->plan->network->nodes[norm_index];
    spade_op_args args = {.workspace = walk->plan->arena};
    SPADE_TRY(fill_args(walk, node, node_index, k, spade_backward_relevance(walk, node), &args));
    args.operands[back->op[k] ? 1 : 0] = spade_packed_weights_scale(walk->weights, norm_index);
    args.out = spade_backward_target(walk, norm, norm_index, 0);
    SPADE_TRY(device_of(walk)->backend->run(back->past[k], &args));
    return spade_backward_deliver(walk, norm, norm_index, 0);
}

static spade_status gradient(spade_backward *walk, const spade_node *node, int node_index)
{
    for (int k = 0; k < node->input_count; k++) {
        if (!spade_backward_wants(walk, node, k)) { continue; }
        if (walk->past && walk->plan->back[node_index].past[k]) {
            SPADE_TRY(run_past(walk, node, node_index, k));
        } else {
            SPADE_TRY(spade_backward_run(walk, node, node_index, k, spade_backward_relevance(walk, node)));
        }
    }
    return SPADE_OK;
}

const spade_rules spade_rules_gradient = {
    .name = "gradient",
    .rule =
        {
            [SPADE_NODE_CONVOLUTION] = gradient,
            [SPADE_NODE_LINEAR] = gradient,
            [SPADE_NODE_MATMUL] = gradient,
            [SPADE_NODE_BATCH_NORM] = gradient,
            [SPADE_NODE_UNARY] = gradient,
            [SPADE_NODE_SOFTMAX] = gradient,
            [SPADE_NODE_MAX_POOL] = gradient,
            [SPADE_NODE_AVERAGE_POOL] = gradient,
            [SPADE_NODE_ADD] = gradient,
            [SPADE_NODE_MUL] = gradient,
            [SPADE_NODE_RESHAPE] = gradient,
            [SPADE_NODE_CONVERT_LAYOUT] = gradient,
        },
};

spade_rule_fn spade_gradient_rule(spade_node_kind kind)
{
    return spade_rules_gradient.rule[kind];
}

/* ---- the walk */

static spade_status walk_nodes(spade_backward *walk, const spade_rules *rules)
{
    const spade_network *network = walk->plan->network;
    for (int n = network->node_count - 1; n >= 0; n--) {
        const spade_node *node = &network->nodes[n];
        if (!rules->rule[node->kind]) {
            return spade_fail(walk->plan->context, SPADE_ERROR_UNSUPPORTED, "%s has no rule for %s (node \"%.200s\")",
                              rules->name, spade_node_kind_name(node->kind), node->name);
        }
        if (!walk->received[node->output]) { continue; } /* its share went past it */
        spade_status status = rules->rule[node->kind](walk, node, n);
        if (status != SPADE_OK) { return spade_fail_in(walk->plan->context, status, "node \"%.200s\"", node->name); }
    }
    return SPADE_OK;
}

spade_status spade_walk_back(spade_plan *plan, spade_packed_weights *weights, const spade_rules *rules)
{
    const spade_network *network = plan->network;
    if (!(plan->flags & SPADE_PLAN_BACKWARD)) {
        return spade_fail(plan->context, SPADE_ERROR_INTERNAL, "the plan was made without a backward pass");
    }
    spade_backward walk = {plan, weights, calloc((size_t)network->value_count + 1, sizeof *walk.received),
                           rules->rule[SPADE_NODE_BATCH_NORM] == gradient};
    if (!walk.received) { return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory in the backward pass"); }
    walk.received[network->output] = true;
    spade_status status = walk_nodes(&walk, rules);
    free(walk.received);
    return status;
}
