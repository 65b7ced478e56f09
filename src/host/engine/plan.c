/*
 * plan.c - what is computed when, for one purpose: liveness, one arena from the device.
 *
 *   arena:  | workspace of the largest operation | activations, relevance, saved maxima: placed by their lifetimes (arena.c) |
 *
 * RESHAPE is an alias, and a pointwise sequence writes over its input or an operand where nothing reads that afterwards. So
 * does relevance, where the walk goes through pointwise nodes.
 */
#include "engine/plan.h"

/* ---- liveness */

static int backward_time(const spade_plan *plan, int node)
{
    return plan->step_count + 2 + (plan->network->node_count - 1 - node);
}

/* Behind the moment of the network's input. */
static int end_time(const spade_plan *plan)
{
    return backward_time(plan, -1) + 1;
}

static void extend(int *last, int value, int time)
{
    if (last[value] < time) { last[value] = time; }
}

bool spade_plan_is_tap(const spade_plan *plan, int value)
{
    for (int i = 0; i < plan->request.tap_count; i++) {
        if (plan->request.taps[i] == value) { return true; }
    }
    return false;
}

/* Until when what the node's rule reads of the forward pass is there. */
static int kept_time(const spade_plan *plan, int node)
{
    return plan->request.repeat ? end_time(plan) : backward_time(plan, node);
}

/* Moments at which rules read what the forward pass computed. */
static void extend_to_rules(const spade_plan *plan, int *last)
{
    for (int n = 0; n < plan->network->node_count; n++) {
        const spade_node *node = &plan->network->nodes[n];
        int time = kept_time(plan, n);
        for (int k = 0; k < node->input_count; k++) {
            if (spade_keeps_input(plan->back[n].keeps, k)) { extend(last, node->inputs[k], time); }
        }
        if (plan->back[n].keeps & SPADE_KEEP_OUTPUT) { extend(last, node->outputs[0], time); }
    }
}

/* last[values]: the moment of the last reading of each value, through its aliases too. */
static void find_last_uses(const spade_plan *plan, int *last)
{
    const spade_network *network = plan->network;
    for (int s = 0; s < plan->step_count; s++) {
        const spade_step *step = &plan->steps[s];
        extend(last, step->output, s + 1);
        for (int i = 0; i < spade_step_input_count(network, step); i++) {
            int value = spade_step_input(network, step, i);
            if (value >= 0) { extend(last, value, s + 1); }
        }
    }
    extend(last, network->output, plan->request.repeat ? end_time(plan) : plan->step_count + 1);
    for (int i = 0; i < plan->request.tap_count; i++) { extend(last, plan->request.taps[i], end_time(plan)); }
    if (plan->back) { extend_to_rules(plan, last); }
    for (int n = network->node_count - 1; n >= 0; n--) {
        const spade_node *node = &network->nodes[n];
        if (spade_node_is_alias(node)) { extend(last, node->inputs[0], last[node->outputs[0]]); }
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
    int64_t size = 0;
    if (!spade_mul_dims(shape->dims, shape->rank, &size) || !spade_mul_size((size_t)size, sizeof(float), out) ||
        *out > SIZE_MAX / 4) {
        return spade_fail(plan->context, SPADE_ERROR_MEMORY, "activations of %lld images exceed the address space",
                          (long long)spade_batch_of(plan));
    }
    return SPADE_OK;
}

static spade_status add_shape_buffer(spade_plan *plan, const spade_shape *shape, int first, int last, int *out)
{
    size_t bytes = 0;
    SPADE_TRY(shape_bytes(plan, shape, &bytes));
    return add_buffer(plan, bytes, first, last, out);
}

static spade_status add_value_buffer(spade_plan *plan, int value, int first, int last, int *out)
{
    spade_shape shape = spade_value_shape(&plan->network->values[value], spade_batch_of(plan));
    return add_shape_buffer(plan, &shape, first, last, out);
}

/* May a sequence that runs at `time` write over this buffer? Where nothing reads that afterwards, and all that the sequence
 * itself reads there lies as its result does. */
static bool may_overwrite(const spade_plan *plan, const spade_step *step, int buffer, int time)
{
    const spade_value *all = plan->network->values;
    if (buffer < 0 || plan->buffers[buffer].last != time) { return false; }
    for (int i = 0; i < spade_step_input_count(plan->network, step); i++) {
        int value = spade_step_input(plan->network, step, i);
        bool here = value >= 0 && plan->value_buffer[value] == buffer;
        if (here && !spade_same_shape(&all[value], &all[step->output])) { return false; }
    }
    return true;
}

/* The buffer that a step's output takes over from what the step reads, or -1. */
static int find_place(const spade_plan *plan, const spade_step *step, int time)
{
    const spade_node *node = &plan->network->nodes[step->node];
    if (spade_node_is_alias(node)) { return plan->value_buffer[node->inputs[0]]; }
    for (int i = 0; step->fused_count && i < spade_step_input_count(plan->network, step); i++) {
        int value = spade_step_input(plan->network, step, i);
        int buffer = value >= 0 ? plan->value_buffer[value] : -1;
        if (may_overwrite(plan, step, buffer, time)) { return buffer; }
    }
    return -1;
}

/* The buffer of a step's output: a new one, or of what it reads. */
static spade_status buffer_step(spade_plan *plan, int index, const int *last)
{
    spade_step *step = &plan->steps[index];
    int time = index + 1, from = find_place(plan, step, time), *slot = &plan->value_buffer[step->output];
    if (from >= 0) {
        *slot = from;
        if (plan->buffers[from].last < last[step->output]) { plan->buffers[from].last = last[step->output]; }
        return SPADE_OK;
    }
    SPADE_TRY(add_value_buffer(plan, step->output, time, last[step->output], slot));
    if (plan->back && plan->back[step->node].keeps & SPADE_KEEP_SAVED) {
        size_t bytes = plan->context->device->backend->saved_bytes(step->op);
        SPADE_TRY(add_buffer(plan, bytes, time, kept_time(plan, step->node), &step->saved));
        plan->back[step->node].saved = step->saved;
    }
    return SPADE_OK;
}

static spade_status plan_buffers(spade_plan *plan)
{
    const spade_network *network = plan->network;
    int *last = calloc((size_t)network->value_count + 1, sizeof *last);
    spade_status status = SPADE_OK;
    if (!last) { return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    find_last_uses(plan, last);
    SPADE_GOTO(add_value_buffer(plan, network->input, 0, last[network->input], &plan->value_buffer[network->input]));
    for (int s = 0; s < plan->step_count; s++) { SPADE_GOTO(buffer_step(plan, s, last)); }
done:
    free(last);
    return status;
}

/* ---- backward: relevance lives from the last reader of its value (the first to give a share) to its producer */

/* Until when the relevance of a value is there. */
static int last_relevance(const spade_plan *plan, int value)
{
    bool stays = value == spade_plan_stop(plan) || spade_plan_is_tap(plan, value);
    return stays ? end_time(plan) : backward_time(plan, plan->network->values[value].producer);
}

/* May the share of input k lie where the relevance of the node's output does? Where it is that, or is made of it element by
 * element, after all other shares of the node; and where nobody asks for the output's relevance afterwards. */
static bool shares_place(const spade_plan *plan, int n, int k)
{
    const spade_node *node = &plan->network->nodes[n];
    const spade_value *values = plan->network->values;
    const spade_back_input *inputs = plan->back[n].inputs;
    if (spade_plan_is_tap(plan, node->outputs[0])) { return false; }
    if (spade_node_is_alias(node)) { return inputs[k].form == SPADE_SHARE_IS_DY; }
    if (plan->back[n].rule->run || !spade_node_is_pointwise(node)) { return false; }
    for (int other = k + 1; other < node->input_count; other++) {
        if (inputs[other].wanted) { return false; }
    }
    return spade_same_shape(&values[node->inputs[k]], &values[node->outputs[0]]);
}

/* The relevance of the value that input k's share is the first of. */
static spade_status buffer_first_share(spade_plan *plan, int n, int k, int value)
{
    int from = plan->relevance_buffer[plan->network->nodes[n].outputs[0]], last = last_relevance(plan, value);
    if (!shares_place(plan, n, k)) {
        return add_value_buffer(plan, value, backward_time(plan, n), last, &plan->relevance_buffer[value]);
    }
    plan->relevance_buffer[value] = from;
    plan->buffers[from].last = last;
    return SPADE_OK;
}

static spade_status buffer_back_step(spade_plan *plan, int n)
{
    const spade_network *network = plan->network;
    const spade_node *node = &network->nodes[n];
    spade_back_step *back = &plan->back[n];
    int time = backward_time(plan, n);
    if (!back->rule || back->passed) { return SPADE_OK; }
    for (int k = 0; k < node->input_count; k++) {
        spade_back_input *input = &back->inputs[k];
        if (!input->wanted) { continue; }
        int value = network->nodes[input->to_node].inputs[input->to_input];
        input->first = plan->relevance_buffer[value] < 0;
        if (input->first) {
            SPADE_TRY(buffer_first_share(plan, n, k, value));
        } else if (input->form != SPADE_SHARE_IS_DY || input->reduce) {
            SPADE_TRY(add_value_buffer(plan, value, time, time, &input->partial));
        }
        if (input->reduce && input->form != SPADE_SHARE_IS_DY) {
            spade_shape full = spade_plan_share_shape(plan, node, k);
            SPADE_TRY(add_shape_buffer(plan, &full, time, time, &input->scratch));
        }
    }
    for (int i = 0; i < back->scratch_count; i++) {
        SPADE_TRY(add_shape_buffer(plan, &back->scratch[i].shape, time, time, &back->scratch[i].buffer));
    }
    return SPADE_OK;
}

static spade_status plan_backward(spade_plan *plan)
{
    const spade_network *network = plan->network;
    SPADE_TRY(spade_plan_fuse_back(plan));
    for (int n = 0; n < network->node_count; n++) { SPADE_TRY(spade_plan_backward_ops(plan, n)); }
    const int start = spade_plan_start(plan);
    SPADE_TRY(add_value_buffer(plan, start, plan->step_count + 1, last_relevance(plan, start),
                               &plan->relevance_buffer[start]));
    for (int n = network->node_count - 1; n >= 0; n--) { SPADE_TRY(buffer_back_step(plan, n)); }
    return SPADE_OK;
}

/* ---- creation */

static spade_status fail_memory(const spade_plan *plan)
{
    return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
}

/* The plan's own copy of the request. */
static spade_status copy_request(spade_plan *plan, const spade_plan_request *request)
{
    plan->request = *request;
    plan->request.taps = NULL;
    plan->request.rules = NULL;
    if (request->tap_count) {
        int *taps = malloc((size_t)request->tap_count * sizeof *taps);
        if (!taps) { return fail_memory(plan); }
        memcpy(taps, request->taps, (size_t)request->tap_count * sizeof *taps);
        plan->request.taps = taps;
    }
    if (request->rules) {
        plan->rules = *request->rules;
        plan->rules.options = NULL;
        void *options = malloc(request->rules->options_bytes + 1);
        if (!options) { return fail_memory(plan); }
        if (request->rules->options_bytes) { memcpy(options, request->rules->options, request->rules->options_bytes); }
        plan->rules.options = options;
        plan->request.rules = &plan->rules;
    }
    return SPADE_OK;
}

bool spade_plan_serves(const spade_plan *plan, const spade_plan_request *request)
{
    const spade_plan_request *own = &plan->request;
    if (own->batch != request->batch || own->stop != request->stop || own->start != request->start ||
        own->layer_inputs != request->layer_inputs || own->repeat != request->repeat ||
        own->tap_count != request->tap_count || !own->rules != !request->rules ||
        (own->tap_count && memcmp(own->taps, request->taps, (size_t)own->tap_count * sizeof *own->taps) != 0)) {
        return false;
    }
    if (!own->rules) { return true; }
    const spade_rules *a = own->rules, *b = request->rules;
    return a->choose == b->choose && a->options_bytes == b->options_bytes &&
           (!a->options_bytes || memcmp(a->options, b->options, a->options_bytes) == 0);
}

static spade_status allocate_arrays(spade_plan *plan)
{
    size_t nodes = (size_t)plan->network->node_count + 1, values = (size_t)plan->network->value_count + 1;
    plan->steps = calloc(nodes, sizeof *plan->steps);
    plan->value_buffer = malloc(values * sizeof *plan->value_buffer);
    plan->relevance_buffer = malloc(values * sizeof *plan->relevance_buffer);
    if (!plan->steps || !plan->value_buffer || !plan->relevance_buffer) { return fail_memory(plan); }
    memset(plan->value_buffer, -1, values * sizeof *plan->value_buffer);
    memset(plan->relevance_buffer, -1, values * sizeof *plan->relevance_buffer);
    if (!plan->request.rules) { return SPADE_OK; }
    plan->back = calloc(nodes, sizeof *plan->back);
    plan->reached = calloc(values, sizeof *plan->reached);
    if (!plan->back || !plan->reached) { return fail_memory(plan); }
    for (size_t n = 0; n < nodes; n++) { plan->back[n].saved = -1; }
    return SPADE_OK;
}

static spade_status size_arena(spade_plan *plan)
{
    size_t bytes;
    SPADE_TRY(spade_arena_place(plan->context, plan->buffers, plan->buffer_count, &bytes));
    plan->workspace_bytes = (plan->workspace_bytes + 63) / 64 * 64;
    if (bytes > SIZE_MAX / 2 - plan->workspace_bytes) {
        return spade_fail(plan->context, SPADE_ERROR_MEMORY, "the network's activations exceed the address space");
    }
    plan->arena_bytes = bytes + plan->workspace_bytes;
    return SPADE_OK;
}

/* A value that not even an empty device holds is refused before its operation is planned: libraries may take long over
 * such sizes. */
static spade_status check_sizes(const spade_plan *plan)
{
    spade_context *context = plan->context;
    const uint64_t memory = context->device->memory ? context->device->memory : spade_machine_memory();
    for (int s = 0; s < plan->step_count; s++) {
        const spade_step *step = &plan->steps[s];
        const spade_shape shape = spade_value_shape(&plan->network->values[step->output], spade_batch_of(plan));
        const uint64_t bytes = (uint64_t)spade_shape_size(&shape) * sizeof(float);
        char need[32], has[32];
        if (bytes <= memory) { continue; }
        return spade_fail(context, SPADE_ERROR_MEMORY,
                          "node \"%.200s\": its output for %lld image%s takes %s, %s has %s",
                          plan->network->nodes[step->node].name, (long long)spade_batch_of(plan),
                          spade_batch_of(plan) == 1 ? "" : "s", spade_format_bytes(bytes, need),
                          context->device->memory ? "the GPU" : "this machine", spade_format_bytes(memory, has));
    }
    return SPADE_OK;
}

spade_status spade_plan_make(spade_context *context, const spade_network *network, const spade_plan_request *request,
                             spade_plan **out)
{
    *out = NULL;
    if (request->batch < 1 || request->batch > INT32_MAX) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "a batch of %lld images is impossible",
                          (long long)request->batch);
    }
    spade_plan *plan = calloc(1, sizeof *plan);
    spade_status status = SPADE_OK;
    if (!plan) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    plan->context = context;
    plan->network = network;
    SPADE_GOTO(copy_request(plan, request));
    SPADE_GOTO(allocate_arrays(plan));
    if (plan->back) { SPADE_GOTO(spade_plan_ask_rules(plan)); }
    SPADE_GOTO(spade_plan_steps(plan));
    SPADE_GOTO(check_sizes(plan));
    for (int s = 0; s < plan->step_count; s++) { SPADE_GOTO(spade_plan_forward_op(plan, &plan->steps[s])); }
    SPADE_GOTO(plan_buffers(plan));
    if (plan->back) { SPADE_GOTO(plan_backward(plan)); }
    SPADE_GOTO(size_arena(plan));
    *out = plan;
    return SPADE_OK;
done:
    spade_plan_destroy(plan);
    return status;
}

spade_status spade_plan_create(spade_context *context, const spade_network *network, const spade_plan_request *request,
                               spade_plan **out)
{
    char what[64];
    void *arena;
    spade_device *device = context->device;
    SPADE_TRY(spade_plan_make(context, network, request, out));
    snprintf(what, sizeof what, "the activations of %lld image%s", (long long)request->batch,
             request->batch == 1 ? "" : "s");
    spade_status status = device->backend->alloc(device, (*out)->arena_bytes, what, &arena);
    if (status != SPADE_OK) {
        spade_plan_destroy(*out);
        *out = NULL;
        return status;
    }
    (*out)->arena = arena;
    return SPADE_OK;
}

void spade_plan_destroy(spade_plan *plan)
{
    if (!plan) { return; }
    spade_device *device = plan->context->device;
    for (int s = 0; s < plan->step_count; s++) {
        const spade_step *step = &plan->steps[s];
        if (step->op) { device->backend->destroy(step->op); }
        for (int k = 0; step->parts && k < plan->network->nodes[step->node].input_count; k++) {
            device->backend->destroy(step->parts[k]);
        }
        free(step->parts);
    }
    spade_plan_release_rules(plan);
    if (plan->arena) { device->backend->free(device, plan->arena, plan->arena_bytes); }
    free((void *)(uintptr_t)plan->request.taps);
    free((void *)(uintptr_t)plan->rules.options);
    free(plan->reached);
    free(plan->buffers);
    free(plan->steps);
    free(plan->value_buffer);
    free(plan->relevance_buffer);
    free(plan);
}

uint64_t spade_plan_bytes(const spade_plan *plan)
{
    return plan->arena_bytes;
}

int64_t spade_plan_batch(const spade_plan *plan)
{
    return spade_batch_of(plan);
}
