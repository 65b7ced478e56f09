/*
 * plan.c - what is computed when, for one batch size: fusion, liveness, one arena from the device.
 *
 *   arena:  | workspace of the largest operation | activations, gradients, saved maxima: placed by their lifetimes
 * (arena.c) |
 *
 * RESHAPE is an alias, and an elementwise function writes over its input where nothing reads that afterwards.
 */
#include "graph/plan.h"

enum { NO_USER = -1, SEVERAL_USERS = -2 };

/* ---- fusion: layer, normalisation, relu -> one step. Only where nothing else reads the values between, and no
 * backward pass does. */

/* user[values]: the one node that reads the value, or why there is none. The network's output is read by the caller. */
static int *find_users(const spade_graph *graph)
{
    int *user = malloc(((size_t)graph->value_count + 1) * sizeof *user);
    if (!user) { return NULL; }
    for (int i = 0; i < graph->value_count; i++) { user[i] = NO_USER; }
    for (int n = 0; n < graph->node_count; n++) {
        for (int k = 0; k < graph->nodes[n].input_count; k++) {
            int *slot = &user[graph->nodes[n].inputs[k]];
            *slot = *slot == NO_USER ? n : SEVERAL_USERS;
        }
    }
    user[graph->output] = SEVERAL_USERS;
    return user;
}

static void fuse(const spade_graph *graph, const int *user, bool *fused, spade_step *step)
{
    const spade_node *node = &graph->nodes[step->node];
    if (node->layer < 0) { return; }
    int next = user[step->output];
    if (node->kind == SPADE_NODE_CONVOLUTION && next >= 0 && graph->nodes[next].kind == SPADE_NODE_BATCH_NORM) {
        step->norm = next;
        step->output = graph->nodes[next].output;
        fused[next] = true;
        next = user[step->output];
    }
    if (next >= 0 && graph->nodes[next].kind == SPADE_NODE_UNARY && graph->nodes[next].function == SPADE_RELU) {
        step->relu = true;
        step->output = graph->nodes[next].output;
        fused[next] = true;
    }
}

static spade_status plan_steps(spade_plan *plan)
{
    const spade_graph *graph = plan->graph;
    bool *fused = calloc((size_t)graph->node_count + 1, sizeof *fused);
    int *user = find_users(graph);
    spade_status status = SPADE_OK;
    if (!fused || !user) {
        status = spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
        goto done;
    }
    for (int n = 0; n < graph->node_count; n++) {
        if (fused[n]) { continue; }
        spade_step *step = &plan->steps[plan->step_count++];
        *step = (spade_step){.node = n, .norm = -1, .output = graph->nodes[n].output, .saved = -1};
        if (!(plan->flags & SPADE_PLAN_BACKWARD)) { fuse(graph, user, fused, step); }
        SPADE_GOTO(spade_plan_forward_op(plan, step));
    }
done:
    free(fused);
    free(user);
    return status;
}

/* ---- liveness */

static int backward_time(const spade_plan *plan, int node)
{
    return plan->step_count + 2 + (plan->graph->node_count - 1 - node);
}

static void extend(int *last, int value, int time)
{
    if (last[value] < time) { last[value] = time; }
}

/* Moments at which the backward rules read what the forward pass computed. */
static void keep_for_backward(const spade_plan *plan, int *last)
{
    for (int n = 0; n < plan->graph->node_count; n++) {
        const spade_node *node = &plan->graph->nodes[n];
        int time = backward_time(plan, n);
        if (node->kind == SPADE_NODE_UNARY || node->kind == SPADE_NODE_MUL || node->kind == SPADE_NODE_MATMUL) {
            for (int k = 0; k < node->input_count; k++) { extend(last, node->inputs[k], time); }
        } else if (node->kind == SPADE_NODE_SOFTMAX) {
            extend(last, node->output, time);
        }
    }
}

/* last[values]: the moment of the last reading of each value, through its aliases too. */
static void find_last_uses(const spade_plan *plan, int *last)
{
    const spade_graph *graph = plan->graph;
    for (int s = 0; s < plan->step_count; s++) {
        const spade_node *node = &graph->nodes[plan->steps[s].node];
        extend(last, plan->steps[s].output, s + 1);
        for (int k = 0; k < node->input_count; k++) { extend(last, node->inputs[k], s + 1); }
    }
    extend(last, graph->output, plan->step_count + 1);
    if (plan->flags & SPADE_PLAN_BACKWARD) { keep_for_backward(plan, last); }
    for (int n = graph->node_count - 1; n >= 0; n--) {
        const spade_node *node = &graph->nodes[n];
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
    spade_shape shape = spade_value_shape(&plan->graph->values[value], plan->batch);
    return shape_bytes(plan, &shape, out);
}

/* The buffer of a step's output: a new one, or its input's. */
static spade_status buffer_step(spade_plan *plan, int index, const int *last)
{
    spade_step *step = &plan->steps[index];
    const spade_node *node = &plan->graph->nodes[step->node];
    int from = plan->value_buffer[node->inputs[0]], time = index + 1, *slot = &plan->value_buffer[step->output];
    size_t bytes;
    bool in_place = node->kind == SPADE_NODE_UNARY && plan->buffers[from].last == time;
    if (node->kind == SPADE_NODE_RESHAPE || in_place) {
        *slot = from;
        if (plan->buffers[from].last < last[step->output]) { plan->buffers[from].last = last[step->output]; }
        return SPADE_OK;
    }
    SPADE_TRY(value_bytes(plan, step->output, &bytes));
    SPADE_TRY(add_buffer(plan, bytes, time, last[step->output], slot));
    if (node->kind == SPADE_NODE_MAX_POOL && (plan->flags & SPADE_PLAN_BACKWARD)) {
        bytes = plan->context->device->backend->saved_bytes(step->op);
        SPADE_TRY(add_buffer(plan, bytes, time, backward_time(plan, step->node), &step->saved));
    }
    return SPADE_OK;
}

static spade_status plan_buffers(spade_plan *plan)
{
    const spade_graph *graph = plan->graph;
    size_t bytes;
    int *last = calloc((size_t)graph->value_count + 1, sizeof *last);
    spade_status status = SPADE_OK;
    if (!last) { return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    find_last_uses(plan, last);
    SPADE_GOTO(value_bytes(plan, graph->input, &bytes));
    SPADE_GOTO(add_buffer(plan, bytes, 0, last[graph->input], &plan->value_buffer[graph->input]));
    for (int s = 0; s < plan->step_count; s++) { SPADE_GOTO(buffer_step(plan, s, last)); }
done:
    free(last);
    return status;
}

/* ---- backward: gradients live from the last reader of their value (the first to contribute) to its producer */

static spade_status buffer_gradient(spade_plan *plan, int value, int first)
{
    const spade_graph *graph = plan->graph;
    int producer = graph->values[value].producer;
    int last = producer < 0 ? backward_time(plan, -1) : backward_time(plan, producer);
    size_t bytes;
    SPADE_TRY(value_bytes(plan, value, &bytes));
    return add_buffer(plan, bytes, first, last, &plan->gradient_buffer[value]);
}

static spade_status buffer_back_step(spade_plan *plan, int n)
{
    const spade_graph *graph = plan->graph;
    const spade_node *node = &graph->nodes[n];
    spade_back_step *back = &plan->back[n];
    int time = backward_time(plan, n);
    size_t bytes;
    back->saved = plan->steps[n].saved; /* nothing is fused: steps are nodes */
    for (int k = 0; k < node->input_count; k++) {
        int value = node->inputs[k];
        if (graph->values[value].batch_axis < 0) { continue; }
        if (plan->gradient_buffer[value] < 0) {
            SPADE_TRY(buffer_gradient(plan, value, time));
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
    const spade_graph *graph = plan->graph;
    for (int n = 0; n < graph->node_count; n++) { SPADE_TRY(spade_plan_backward_ops(plan, n)); }
    SPADE_TRY(buffer_gradient(plan, graph->output, plan->step_count + 1));
    for (int n = graph->node_count - 1; n >= 0; n--) { SPADE_TRY(buffer_back_step(plan, n)); }
    return SPADE_OK;
}

/* ---- creation */

static spade_status allocate_arrays(spade_plan *plan)
{
    size_t nodes = (size_t)plan->graph->node_count + 1, values = (size_t)plan->graph->value_count + 1;
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

spade_status spade_plan_create(spade_context *context, const spade_graph *graph, int64_t batch, unsigned flags,
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
    plan->graph = graph;
    plan->batch = batch;
    plan->flags = flags;
    SPADE_GOTO(allocate_arrays(plan));
    SPADE_GOTO(plan_steps(plan));
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
    for (int n = 0; plan->back && n < plan->graph->node_count; n++) {
        for (int k = 0; k < 2; k++) {
            if (plan->back[n].op[k]) { backend->destroy(plan->back[n].op[k]); }
            if (plan->back[n].reduce[k]) { backend->destroy(plan->back[n].reduce[k]); }
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
