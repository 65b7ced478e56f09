/*
 * plan.c - what is computed when, for one batch size: liveness, one arena from the device.
 *
 *   arena:  | workspace of the largest operation | activations, gradients, saved maxima: placed by their lifetimes
 * (arena.c) |
 *
 * RESHAPE is an alias, and a chain writes over its input or an operand where nothing reads that afterwards. So do
 * gradients, where the walk goes through elementwise nodes.
 */
#include "engine/plan.h"

/* ---- liveness */

static int backward_time(const spade_plan *plan, int node)
{
    return plan->step_count + 2 + (plan->network->node_count - 1 - node);
}

static void extend(int *last, int value, int time)
{
    if (last[value] < time) { last[value] = time; }
}

/* Moments at which the backward rules read what the forward pass computed. */
static void keep_for_backward(const spade_plan *plan, int *last)
{
    for (int n = 0; n < plan->network->node_count; n++) {
        const spade_node *node = &plan->network->nodes[n];
        int time = backward_time(plan, n);
        for (int k = 0; k < node->input_count; k++) {
            if (spade_rule_reads(node, k)) { extend(last, node->inputs[k], time); }
        }
        if (spade_rule_reads(node, -1)) { extend(last, node->output, time); }
    }
}

/* last[values]: the moment of the last reading of each value, through its aliases too. */
static void find_last_uses(const spade_plan *plan, int *last)
{
    const spade_network *network = plan->network;
    for (int s = 0; s < plan->step_count; s++) {
        int values[1 + SPADE_POINTWISE_STEPS], count = spade_step_inputs(network, &plan->steps[s], values);
        extend(last, plan->steps[s].output, s + 1);
        for (int k = 0; k < count; k++) { extend(last, values[k], s + 1); }
    }
    extend(last, network->output, plan->step_count + 1);
    if (plan->flags & SPADE_PLAN_BACKWARD) { keep_for_backward(plan, last); }
    for (int n = network->node_count - 1; n >= 0; n--) {
        const spade_node *node = &network->nodes[n];
        if (node->kind == SPADE_NODE_RESHAPE) { extend(last, node->inputs[0], last[node->output]); }
    }
}

static spade_status add_buffer(spade_plan *plan, size_t bytes, int first, int last, int *out)
{
    int count = plan->buffer_count;
    if (!(count & (count - 1))) { /* grows at every power of two */
        spade_buffer *buffers = realloc(plan->buffers, (count ? (size_t)count * 2 : 1) * sizeof *buffers);
        if (!buffers) {
            return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
        }
        plan->buffers = buffers;
    }
    plan->buffers[plan->buffer_count] = (spade_buffer){0, bytes, first, last};
    *out = plan->buffer_count++;
    return SPADE_OK;
}

static spade_status shape_bytes(const spade_plan *plan, const spade_shape *shape, size_t *out)
{
    int64_t size;
    if (!spade_mul_dims(shape->dims, shape->rank, &size) || !spade_mul_size((size_t)size, sizeof(float), out) ||
        *out > SIZE_MAX / 4) {
        return spade_fail(plan->context, SPADE_ERROR_MEMORY, "activations of %lld images exceed the address space",
                          (long long)plan->batch);
    }
    return SPADE_OK;
}

static spade_status value_bytes(const spade_plan *plan, int value, size_t *out)
{
    spade_shape shape = spade_value_shape(&plan->network->values[value], plan->batch);
    return shape_bytes(plan, &shape, out);
}

/* May a chain that runs at `time` write over this buffer? Where nothing reads that afterwards, and all that the chain
 * itself reads there lies as its result does. */
static bool may_overwrite(const spade_plan *plan, const spade_step *step, int buffer, int time)
{
    const spade_value *all = plan->network->values;
    int values[1 + SPADE_POINTWISE_STEPS], count = spade_step_inputs(plan->network, step, values);
    if (buffer < 0 || plan->buffers[buffer].last != time) { return false; }
    for (int k = 0; k < count; k++) {
        bool here = plan->value_buffer[values[k]] == buffer;
        if (here && !spade_same_shape(&all[values[k]].shape, &all[step->output].shape)) { return false; }
    }
    return true;
}

/* The buffer that a step's output takes over from what the step reads, or -1. */
static int find_place(const spade_plan *plan, const spade_step *step, int time)
{
    int values[1 + SPADE_POINTWISE_STEPS], count = spade_step_inputs(plan->network, step, values);
    if (plan->network->nodes[step->node].kind == SPADE_NODE_RESHAPE) { return plan->value_buffer[values[0]]; }
    for (int k = 0; step->chain_length && k < count; k++) {
        int buffer = plan->value_buffer[values[k]];
        if (may_overwrite(plan, step, buffer, time)) { return buffer; }
    }
    return -1;
}

/* The buffer of a step's output: a new one, or of what it reads. */
static spade_status buffer_step(spade_plan *plan, int index, const int *last)
{
    spade_step *step = &plan->steps[index];
    const spade_node *node = &plan->network->nodes[step->node];
    int time = index + 1, from = find_place(plan, step, time), *slot = &plan->value_buffer[step->output];
    size_t bytes;
    if (from >= 0) {
        *slot = from;
        if (plan->buffers[from].last < last[step->output]) { plan->buffers[from].last = last[step->output]; }
        return SPADE_OK;
    }
    SPADE_TRY(value_bytes(plan, step->output, &bytes));
    SPADE_TRY(add_buffer(plan, bytes, time, last[step->output], slot));
    if (node->kind == SPADE_NODE_MAX_POOL && (plan->flags & SPADE_PLAN_BACKWARD)) {
        bytes = plan->context->device->backend->saved_bytes(step->op);
        SPADE_TRY(add_buffer(plan, bytes, time, backward_time(plan, step->node), &step->saved));
        plan->back[step->node].saved = step->saved;
    }
    return SPADE_OK;
}

static spade_status plan_buffers(spade_plan *plan)
{
    const spade_network *network = plan->network;
    size_t bytes;
    int *last = calloc((size_t)network->value_count + 1, sizeof *last);
    spade_status status = SPADE_OK;
    if (!last) { return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    find_last_uses(plan, last);
    SPADE_GOTO(value_bytes(plan, network->input, &bytes));
    SPADE_GOTO(add_buffer(plan, bytes, 0, last[network->input], &plan->value_buffer[network->input]));
    for (int s = 0; s < plan->step_count; s++) { SPADE_GOTO(buffer_step(plan, s, last)); }
done:
    free(last);
    return status;
}

/* ---- backward: gradients live from the last reader of their value (the first to contribute) to its producer */

/* Does the gradient of the value that the node reads as its input k lie where that of the node's output does? Where it
 * is written element by element, by this share first, and after all other shares of the node. */
static bool shares_place(const spade_plan *plan, const spade_node *node, int k)
{
    const spade_value *values = plan->network->values;
    bool elementwise = spade_pointwise_steps(node) > 0;
    bool last = k == node->input_count - 1 || values[node->inputs[k + 1]].batch_axis < 0;
    if (node->kind == SPADE_NODE_RESHAPE) { return true; }
    return elementwise && last && spade_same_shape(&values[node->inputs[k]].shape, &values[node->output].shape);
}

static spade_status buffer_gradient(spade_plan *plan, int value, int first)
{
    int producer = plan->network->values[value].producer;
    size_t bytes = 0;
    SPADE_TRY(value_bytes(plan, value, &bytes));
    return add_buffer(plan, bytes, first, backward_time(plan, producer), &plan->gradient_buffer[value]);
}

/* The gradient of input k, whose first share this node gives. */
static spade_status buffer_first_share(spade_plan *plan, int n, int k)
{
    const spade_node *node = &plan->network->nodes[n];
    int value = node->inputs[k], from = plan->gradient_buffer[node->output];
    if (!shares_place(plan, node, k)) { return buffer_gradient(plan, value, backward_time(plan, n)); }
    plan->gradient_buffer[value] = from;
    plan->buffers[from].last = backward_time(plan, plan->network->values[value].producer);
    return SPADE_OK;
}

static spade_status buffer_back_step(spade_plan *plan, int n)
{
    const spade_network *network = plan->network;
    const spade_node *node = &network->nodes[n];
    spade_back_step *back = &plan->back[n];
    int time = backward_time(plan, n);
    size_t bytes;
    for (int k = 0; k < node->input_count; k++) {
        int value = node->inputs[k];
        if (network->values[value].batch_axis < 0) { continue; }
        if (plan->gradient_buffer[value] < 0) {
            SPADE_TRY(buffer_first_share(plan, n, k));
        } else {
            SPADE_TRY(value_bytes(plan, value, &bytes));
            SPADE_TRY(add_buffer(plan, bytes, time, time, &back->partial[k]));
        }
        if (back->op[k] && back->reduce[k]) {
            spade_shape full = spade_plan_full_shape(plan, node, k);
            SPADE_TRY(shape_bytes(plan, &full, &bytes));
            SPADE_TRY(add_buffer(plan, bytes, time, time, &back->scratch[k]));
        }
    }
    return SPADE_OK;
}

static spade_status plan_backward(spade_plan *plan)
{
    const spade_network *network = plan->network;
    int *user = spade_network_users(network);
    spade_status status = SPADE_OK;
    if (!user) { return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    for (int n = 0; n < network->node_count; n++) { SPADE_GOTO(spade_plan_backward_ops(plan, user, n)); }
    SPADE_GOTO(buffer_gradient(plan, network->output, plan->step_count + 1));
    for (int n = network->node_count - 1; n >= 0; n--) { SPADE_GOTO(buffer_back_step(plan, n)); }
done:
    free(user);
    return status;
}

/* ---- creation */

static spade_status allocate_arrays(spade_plan *plan)
{
    size_t nodes = (size_t)plan->network->node_count + 1, values = (size_t)plan->network->value_count + 1;
    plan->steps = calloc(nodes, sizeof *plan->steps);
    plan->value_buffer = malloc(values * sizeof *plan->value_buffer);
    plan->gradient_buffer = malloc(values * sizeof *plan->gradient_buffer);
    plan->back = plan->flags & SPADE_PLAN_BACKWARD ? calloc(nodes, sizeof *plan->back) : NULL;
    if (!plan->steps || !plan->value_buffer || !plan->gradient_buffer ||
        (!plan->back && (plan->flags & SPADE_PLAN_BACKWARD))) {
        return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
    }
    memset(plan->value_buffer, -1, values * sizeof *plan->value_buffer);
    memset(plan->gradient_buffer, -1, values * sizeof *plan->gradient_buffer);
    for (size_t n = 0; plan->back && n < nodes; n++) {
        plan->back[n] = (spade_back_step){.scratch = {-1, -1}, .partial = {-1, -1}, .saved = -1};
    }
    return SPADE_OK;
}

static spade_status allocate_arena(spade_plan *plan)
{
    size_t bytes;
    void *arena;
    SPADE_TRY(spade_arena_place(plan->context, plan->buffers, plan->buffer_count, &bytes));
    plan->workspace_bytes = (plan->workspace_bytes + 63) / 64 * 64;
    if (bytes > SIZE_MAX / 2 - plan->workspace_bytes) {
        return spade_fail(plan->context, SPADE_ERROR_MEMORY, "the network's activations exceed the address space");
    }
    plan->arena_bytes = bytes + plan->workspace_bytes;
    char what[64];
    snprintf(what, sizeof what, "the activations of %lld image%s", (long long)plan->batch, plan->batch == 1 ? "" : "s");
    spade_device *device = plan->context->device;
    SPADE_TRY(device->backend->alloc(device, plan->arena_bytes, what, &arena));
    plan->arena = arena;
    return SPADE_OK;
}

spade_status spade_plan_create(spade_context *context, const spade_network *network, int64_t batch, unsigned flags,
                               spade_plan **out)
{
    *out = NULL;
    if (batch < 1 || batch > INT32_MAX) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "a batch of %lld images is impossible", (long long)batch);
    }
    spade_plan *plan = calloc(1, sizeof *plan);
    spade_status status = SPADE_OK;
    if (!plan) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    plan->context = context;
    plan->network = network;
    plan->batch = batch;
    plan->flags = flags;
    SPADE_GOTO(allocate_arrays(plan));
    SPADE_GOTO(spade_plan_steps(plan));
    for (int s = 0; s < plan->step_count; s++) { SPADE_GOTO(spade_plan_forward_op(plan, &plan->steps[s])); }
    SPADE_GOTO(plan_buffers(plan));
    if (flags & SPADE_PLAN_BACKWARD) { SPADE_GOTO(plan_backward(plan)); }
    SPADE_GOTO(allocate_arena(plan));
    *out = plan;
    return SPADE_OK;
done:
    spade_plan_destroy(plan);
    return status;
}

void spade_plan_destroy(spade_plan *plan)
{
    if (!plan) { return; }
    spade_device *device = plan->context->device;
    const spade_backend *backend = device->backend;
    for (int s = 0; s < plan->step_count; s++) {
        if (plan->steps[s].op) { backend->destroy(plan->steps[s].op); }
    }
    for (int n = 0; plan->back && n < plan->network->node_count; n++) {
        for (int k = 0; k < 2; k++) {
            if (plan->back[n].op[k]) { backend->destroy(plan->back[n].op[k]); }
            if (plan->back[n].reduce[k]) { backend->destroy(plan->back[n].reduce[k]); }
            if (plan->back[n].past[k]) { backend->destroy(plan->back[n].past[k]); }
        }
    }
    if (plan->arena) { backend->free(device, plan->arena, plan->arena_bytes); }
    free(plan->buffers);
    free(plan->steps);
    free(plan->back);
    free(plan->value_buffer);
    free(plan->gradient_buffer);
    free(plan);
}

uint64_t spade_plan_bytes(const spade_plan *plan)
{
    return plan->arena_bytes;
}

int64_t spade_plan_batch(const spade_plan *plan)
{
    return plan->batch;
}
