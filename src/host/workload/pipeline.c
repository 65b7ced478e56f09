/*
 * pipeline.c - see pipeline.h. The traces of a group are found in one call: on a device that waits more than it computes,
 * several take little longer than one. While the group at hand is worked on, helpers decode the pictures of the next.
 */
#include "workload/pipeline.h"

#include "backend/backend.h"
#include "base/sparsity_choice.h"
#include "trace/trace.h"
#include "workload/trace_warnings.h"

/* DEVICE_GROUP: traces that are found together there; without traces, as many pictures as a pass takes. */
enum { DEVICE_GROUP = 4, DEVICE_PICTURES = 32, MAX_GROUP = WORKLOAD_MAX_IN_FLIGHT };

/* An input of a group. */
typedef struct member {
    const spade_input *input;
    spade_image_item image;
    spade_trace **traces; /* [trace_count], among those of the pipeline; NULL: not found yet */
    void *state;          /* the consumer's */
    bool failed;          /* why is in message: malloc'ed, NULL when out of memory */
    char *message;
} member;

/* Inputs that follow each other; those before `at` are done. */
typedef struct input_window {
    spade_input items[MAX_GROUP];
    int at, count;
} input_window;

/* What has been warned about, once, of the first, second, ... trace of the inputs. */
typedef struct trace_said {
    unsigned choices; /* of what rounding leaves of a chosen sparsity: a bit for each */
    bool zeros;
} trace_said;

typedef struct pipeline {
    const workload_plan *plan;
    const workload_source *source;
    const workload_consumer *consumer;
    spade_reader reader;
    input_window windows[2]; /* the inputs at hand, and those that come next */
    int current;             /* of the windows */
    bool drained;            /* the source has no more */
    bool source_failed;      /* what it said ends the job */
    int64_t emitted;         /* inputs whose records or failures are written */
    char *states;            /* [max_group][state_bytes] */
    spade_trace **traces;    /* [max_group][trace_count] */
    trace_said *trace_said;  /* [trace_count] */
    int max_group;           /* inputs in a group */
    bool singly;             /* the rest of the window is retried, each input a group of its own */
    double map_share;        /* of an input's time; the rest is its traces' */
    bool estimated;          /* it is */
    double said;             /* seconds in all, as they were announced; 0: not yet */
    double started;          /* spade_now() */
    int groups;              /* that are done */
} pipeline;

/* Inputs that are worked on together. */
typedef struct group {
    pipeline *all;
    member *members;
    int64_t first; /* of the job's inputs */
    int count;
    int emitted;   /* inputs whose records or failures are written */
    bool emitting; /* one is being written: what fails now cannot be retried */
} group;

static bool is_on_host(const workload_plan *plan)
{
    return plan->context->device->backend->host_memory;
}

/*
 * What a group holds at once, beside what one input takes, may be a quarter of the budget: the rest is better spent on
 * larger passes. The pictures' own sizes are not known yet; where they are too large, the group falls apart.
 */
static int choose_group(const workload_plan *plan)
{
    spade_context *context = plan->context;
    int n = plan->in_flight, count = spade_model_layer_count(plan->model), traces = 0;
    const spade_preprocess *input = plan->preprocess;
    uint64_t bytes = sizeof(float) * (uint64_t)(input->channels * input->height * input->width);
    if (n == 0) { n = is_on_host(plan) ? 1 : plan->trace_count ? DEVICE_GROUP : DEVICE_PICTURES; }
    if (!is_on_host(plan)) { bytes += plan->bytes; }
    for (int t = 0; t < plan->trace_count; t++) { traces += spade_trace_count(&plan->traces[t]); }
    for (int i = 0; traces && i < count; i++) {
        spade_layer_info layer;
        spade_model_layer(plan->model, i, &layer);
        bytes += layer.prunable ? sizeof(float) * (uint64_t)(layer.rows * layer.columns * traces) : 0;
    }
    while (n > 1 && (uint64_t)(n - 1) * bytes > spade_budget_left(context) / 4) { n--; }
    return n;
}

/* ---- the inputs */

/* Inputs in the group that begins at this place of a window. */
static int group_size(const pipeline *all, const input_window *window, int at)
{
    const int remaining = window->count - at;
    const int n = all->singly && window == &all->windows[all->current] ? 1 : all->max_group;
    return n < remaining ? n : remaining;
}

/* A window of which nothing is left gets what comes next. */
static spade_status fill(pipeline *all, input_window *window)
{
    if (window->at < window->count || all->drained) { return SPADE_OK; }
    window->at = window->count = 0;
    const spade_status status = all->source->next(all->source->user, window->items, all->max_group, &window->count);
    all->source_failed = status != SPADE_OK;
    all->drained = all->source_failed || window->count == 0;
    return status;
}

/* The window of the next group; nothing is left in it: the job is done. */
static spade_status advance(pipeline *all, input_window **out)
{
    if (all->windows[all->current].at == all->windows[all->current].count) {
        all->current = !all->current;
        all->singly = false;
    }
    *out = &all->windows[all->current];
    return fill(all, *out);
}

static spade_status next_of_list(void *user, spade_input *out, int most, int *count)
{
    spade_inputs *left = user;
    *count = most < left->count ? most : left->count;
    memcpy(out, left->items, sizeof *out * (size_t)*count);
    left->items += *count;
    left->count -= *count;
    return SPADE_OK;
}

/* ---- the estimate of the time */

static void format_seconds(double seconds, char *buffer, size_t size)
{
    if (seconds < 90) {
        snprintf(buffer, size, "%.0f s", seconds < 1 ? 1 : seconds);
    } else if (seconds < 5400) {
        snprintf(buffer, size, "%.0f min", seconds / 60);
    } else {
        snprintf(buffer, size, "%.1f h", seconds / 3600);
    }
}

/* A group that takes so many seconds is said something of before it is done. */
static const double long_group = 5;

static void announce(pipeline *all, double seconds)
{
    const int64_t inputs = all->source->total;
    char time[32];
    format_seconds(seconds, time, sizeof time);
    spade_workload_note(all->plan->events, "%lld input%s, about %s", (long long)inputs, inputs == 1 ? "" : "s", time);
    all->said = seconds;
}

/* Before the first group: what counting says is rough, so it is told only where measuring comes too late. */
static spade_status estimate(pipeline *all, const spade_image_item *image, const group *g)
{
    time_estimate counted;
    SPADE_TRY(estimate_time(all->plan, image->input, &counted));
    const double of_one = counted.traces + counted.maps;
    all->map_share = of_one > 0 ? counted.maps / of_one : 0.5;
    all->estimated = true;
    if (g->count == all->source->total || of_one * g->count >= long_group) {
        announce(all, of_one * (double)all->source->total);
    }
    return SPADE_OK;
}

/* After the second group, or the first where that takes long: the first one plans, and warms up. seconds: the group's. */
static void measure(pipeline *all, const group *g, double seconds)
{
    const int64_t left = all->source->total - g->first - g->count;
    const double rest = seconds / g->count * (double)left, total = spade_now() - all->started + rest;
    char time[32];
    all->groups++;
    if (left <= 0 || all->groups > 2 || (all->groups == 1 && seconds < long_group)) { return; }
    if (!all->said) {
        announce(all, total);
    } else if (total > 1.5 * all->said || total < all->said / 1.5) {
        format_seconds(rest, time, sizeof time);
        spade_workload_note(all->plan->events, "%lld more, about %s", (long long)left, time);
        all->said = total;
    }
}

/* ---- whose failure it is */

/* Loading fails for one input; what comes after it fails for one input only where the input is to blame. */
static bool blames_input(spade_status status)
{
    return status == SPADE_ERROR_INPUT || status == SPADE_ERROR_NUMERICAL;
}

/* How a step ended for one member: SPADE_OK also where it failed for reasons of this input alone, which is then noted
 * in the member. Anything else ends the group. */
static spade_status classify(const group *g, member *m, spade_status status)
{
    spade_context *context = g->all->plan->context;
    if (blames_input(status)) {
        m->failed = true;
        m->message = strdup(spade_message(context));
        return SPADE_OK;
    }
    if (status == SPADE_OK || status == SPADE_ERROR_ARGUMENT) { return status; }
    return spade_fail_in(context, status, "%s", m->input->title);
}

/* ---- members */

static void clear_member(const pipeline *all, member *m)
{
    for (int i = 0; m->traces && i < all->plan->trace_count; i++) { spade_trace_destroy(m->traces[i]); }
    m->traces = NULL;
    all->consumer->clear(m->state);
    memset(m->state, 0, all->consumer->state_bytes);
    spade_image_item_clear(all->plan->context, &m->image);
    free(m->message);
    m->message = NULL;
}

static workload_item describe_member(const group *g, const member *m)
{
    return (workload_item){.input = m->input, .image = &m->image, .in_group = g->count > 1};
}

static const member *first_alive(const group *g)
{
    for (int i = 0; i < g->count; i++) {
        if (!g->members[i].failed) { return &g->members[i]; }
    }
    return NULL;
}

/* ---- steps of a group */

static spade_status load_members(group *g)
{
    pipeline *all = g->all;
    spade_context *context = all->plan->context;
    spade_image_item images[MAX_GROUP];
    spade_status statuses[MAX_GROUP], status = SPADE_OK;
    char *messages[MAX_GROUP];
    const input_window *window = &all->windows[all->current];
    SPADE_TRY(spade_reader_load(&all->reader, window->items + window->at, g->count, images, statuses, messages));
    for (int i = 0; i < g->count; i++) {
        member *m = &g->members[i];
        m->image = images[i];
        m->failed = statuses[i] != SPADE_OK;
        m->message = messages[i];
        if (statuses[i] == SPADE_ERROR_MEMORY && g->count > 1) { /* alone it may fit */
            status = spade_fail(context, SPADE_ERROR_MEMORY, "%s", messages[i] ? messages[i] : "out of memory");
        }
    }
    return status;
}

/* Begin to decode the pictures of the next group. */
static spade_status prefetch(group *g)
{
    pipeline *all = g->all;
    input_window *window = &all->windows[all->current];
    int next = window->at + g->count;
    if (next == window->count) {
        window = &all->windows[!all->current];
        SPADE_TRY(fill(all, window));
        next = window->at;
    }
    if (next == window->count) { return SPADE_OK; }
    return spade_reader_prefetch(&all->reader, window->items + next, group_size(all, window, next));
}

/* A step of the consumer for all inputs of the group that did not fail, where it has one and the device profits. */
static spade_status run_together(const group *g, spade_status (*step)(void *user, const workload_item *items,
                                                                      void *const *states, int count))
{
    workload_item items[MAX_GROUP];
    void *states[MAX_GROUP];
    int n = 0;
    if (!step || is_on_host(g->all->plan)) { return SPADE_OK; }
    for (int i = 0; i < g->count; i++) {
        const member *m = &g->members[i];
        if (m->failed) { continue; }
        items[n] = describe_member(g, m);
        states[n++] = m->state;
    }
    return n > 1 ? step(g->all->consumer->user, items, states, n) : SPADE_OK;
}

static spade_status run_dense(group *g)
{
    const workload_consumer *consumer = g->all->consumer;
    for (int i = 0; i < g->count; i++) {
        member *m = &g->members[i];
        if (m->failed) { continue; }
        const workload_item item = describe_member(g, m);
        SPADE_TRY(classify(g, m, consumer->dense(consumer->user, &item, m->state)));
    }
    return SPADE_OK;
}

static spade_status make_variants(const workload_plan *plan, const spade_image_item *image, spade_batch **out)
{
    if (plan->batch) {
        const int64_t *dims = plan->batch->dims;
        SPADE_TRY(spade_batch_from_array(plan->context, plan->batch->data, dims[0], dims[1], dims[2], dims[3], out));
    } else {
        SPADE_TRY(spade_image_item_batch(plan->context, image, plan->preprocess, plan->augment, out));
    }
    return spade_hold_out_variants(plan->context, *out, plan->batch != NULL, image->input, plan->traces,
                                   plan->trace_count);
}

/* Of what rounding leaves of the sparsity that was chosen: once for each level. */
static spade_status warn_of_choice(pipeline *all, const member *m, int t, const spade_sparsity_choice *choice)
{
    unsigned bit = 1u << choice->scaled;
    for (int i = 0; i < SPADE_SPARSITY_LEVELS && spade_sparsity_levels[i] != choice->sparsity; i++) { bit <<= 2; }
    if (all->trace_said[t].choices & bit) { return SPADE_OK; }
    all->trace_said[t].choices |= bit;
    return spade_trace_warn_of_choice(all->plan->context, m->traces[t], &all->plan->traces[t], m->input->title);
}

/* Once for each trace of an input. */
static void warn_of_zeros(pipeline *all, const member *m, int t)
{
    const workload_plan *plan = all->plan;
    char title[512];
    if (all->trace_said[t].zeros) { return; }
    if (plan->trace_count == 1) {
        snprintf(title, sizeof title, "%s", m->input->title);
    } else {
        snprintf(title, sizeof title, "%s, trace %d of %d", m->input->title, t + 1, plan->trace_count);
    }
    all->trace_said[t].zeros = trace_warn_of_zeros(plan->context, title, plan->model, m->traces[t]);
}

/* What automatic sparsities came to, and of the zeros what was not asked for. */
static spade_status say_choices(pipeline *all, const member *m)
{
    for (int t = 0; t < all->plan->trace_count; t++) {
        spade_sparsity_choice choice;
        warn_of_zeros(all, m, t);
        if (!spade_trace_sparsity_choice(m->traces[t], &choice)) { continue; }
        sparsity_choice_warn(all->plan->context, m->input->title, m->traces[t]);
        SPADE_TRY(warn_of_choice(all, m, t, &choice));
    }
    return SPADE_OK;
}

static spade_status create_traces(group *g)
{
    pipeline *all = g->all;
    const workload_plan *plan = all->plan;
    const int trace_count = plan->trace_count;
    spade_batch *batches[MAX_GROUP] = {NULL};
    member *owners[MAX_GROUP];
    int n = 0;
    spade_status status = SPADE_OK;
    for (int i = 0; i < g->count; i++) {
        member *m = &g->members[i];
        if (m->failed) { continue; }
        SPADE_GOTO(classify(g, m, make_variants(plan, &m->image, &batches[n])));
        if (!m->failed) { owners[n++] = m; }
    }
    if (!n) { goto done; }
    status = spade_trace_create_many(plan->context, plan->model, (const spade_batch *const *)batches, n, plan->traces,
                                     trace_count, all->traces);
    for (int i = 0; status == SPADE_OK && i < n; i++) {
        owners[i]->traces = all->traces + (size_t)i * (size_t)trace_count;
    }
    for (int i = 0; status == SPADE_OK && i < n; i++) { status = say_choices(all, owners[i]); }
    if (n == 1) {
        status = classify(g, owners[0], status);
    } else if (status != SPADE_OK && status != SPADE_ERROR_ARGUMENT) {
        spade_fail_in(plan->context, status, "%s and %d more", owners[0]->input->title, n - 1);
    }
done:
    for (int i = 0; i < g->count; i++) { spade_batch_destroy(batches[i]); }
    return status;
}

/* The consumer's work with one member and its record, or its failure. from..to: its share of the job. */
static spade_status emit(group *g, member *m, double from, double to)
{
    const pipeline *all = g->all;
    const workload_consumer *consumer = all->consumer;
    workload_item item = describe_member(g, m);
    item.traces = m->traces;
    item.from = from;
    item.to = to;
    if (!m->failed) { SPADE_TRY(classify(g, m, consumer->process(consumer->user, &item, m->state))); }
    g->emitting = true;
    if (m->failed) {
        /* through the context's message, as what was said before: a name in it has only printable characters */
        spade_context *context = all->plan->context;
        char message[SPADE_MESSAGE_BYTES];
        spade_fail(context, SPADE_ERROR_INPUT, "%s", m->input->title);
        const char *text = m->message ? m->message : "out of memory";
        const bool named = strstr(text, spade_message(context)) != NULL;
        snprintf(message, sizeof message, "%s", text);
        if (!named) {
            spade_fail(context, SPADE_ERROR_INPUT, "%s", text);
            spade_fail_in(context, SPADE_ERROR_INPUT, "%s", m->input->title);
            snprintf(message, sizeof message, "%s", spade_message(context));
        }
        SPADE_TRY(consumer->failed(consumer->user, m->input, message));
    } else {
        SPADE_TRY(consumer->record(consumer->user, &item, m->state));
    }
    g->emitting = false;
    g->emitted++;
    return SPADE_OK;
}

static spade_status run_group(group *g)
{
    pipeline *all = g->all;
    const workload_plan *plan = all->plan;
    spade_status status;
    const double total = all->source->total > 0 ? (double)all->source->total : 1;
    const double from = (double)g->first / total, to = (double)(g->first + g->count) / total;
    SPADE_GOTO(load_members(g));
    const member *alive = first_alive(g);
    if (alive && !all->estimated) { SPADE_GOTO(estimate(all, &alive->image, g)); }
    SPADE_GOTO(prefetch(g));
    SPADE_GOTO(run_together(g, all->consumer->group_dense));
    SPADE_GOTO(run_dense(g));
    double maps = to - (to - from) * (plan->trace_count ? all->map_share : 1);
    if (plan->trace_count && first_alive(g)) {
        spade_workload_phase(plan->events, "trace", from, maps);
        SPADE_GOTO(create_traces(g));
    }
    SPADE_GOTO(run_together(g, all->consumer->group_process));
    double step = (to - maps) / g->count;
    for (int i = 0; i < g->count; i++) {
        SPADE_GOTO(emit(g, &g->members[i], maps + step * i, maps + step * (i + 1)));
        clear_member(all, &g->members[i]);
    }
done:
    for (int i = 0; i < g->count; i++) { clear_member(all, &g->members[i]); }
    if (all->consumer->group_end) { all->consumer->group_end(all->consumer->user); }
    return status;
}

static void begin_group(pipeline *all, const input_window *window, member *members, group *out)
{
    *out = (group){.all = all, .members = members, .first = all->emitted, .count = group_size(all, window, window->at)};
    for (int i = 0; i < out->count; i++) {
        members[i] = (member){.input = &window->items[window->at + i],
                              .state = all->states + (size_t)i * all->consumer->state_bytes};
    }
}

static spade_status run_groups(pipeline *all, bool *stopped)
{
    const workload_plan *plan = all->plan;
    const spade_workload_events *events = plan->events;
    member members[MAX_GROUP];
    for (;;) {
        group g;
        input_window *window;
        SPADE_TRY(advance(all, &window));
        if (window->at == window->count) { return SPADE_OK; }
        if (events && events->stop && events->stop(events->user)) {
            *stopped = true;
            return SPADE_OK;
        }
        begin_group(all, window, members, &g);
        const double start = spade_now();
        spade_status status = run_group(&g);
        window->at += g.emitted;
        all->emitted += g.emitted;
        if (status == SPADE_OK) {
            measure(all, &g, spade_now() - start);
            continue;
        }
        if (g.count == 1 || g.emitting || all->source_failed ||
            (status != SPADE_ERROR_MEMORY && !blames_input(status))) {
            return status;
        }
        spade_log(plan->context, SPADE_LOG_INFO, "one by one: %s", spade_message(plan->context));
        all->singly = true;
        if (status == SPADE_ERROR_MEMORY) { all->max_group = 1; }
    }
}

spade_status workload_run(const workload_plan *plan, const spade_inputs *inputs, const workload_consumer *consumer,
                          bool *stopped)
{
    spade_inputs left = *inputs;
    const workload_source source = {.user = &left, .next = next_of_list, .total = inputs->count};
    return workload_run_from(plan, &source, consumer, stopped);
}

spade_status workload_run_from(const workload_plan *plan, const workload_source *source,
                               const workload_consumer *consumer, bool *stopped)
{
    pipeline all = {.plan = plan, .source = source, .consumer = consumer, .map_share = 0.5, .started = spade_now()};
    *stopped = false;
    all.max_group = choose_group(plan);
    all.reader = (spade_reader){
        .context = plan->context, .preprocess = plan->preprocess, .mask = plan->mask, .upright = plan->upright};
    all.states = calloc((size_t)all.max_group, consumer->state_bytes);
    all.traces = calloc((size_t)all.max_group * (size_t)plan->trace_count + 1, sizeof(spade_trace *));
    all.trace_said = calloc((size_t)plan->trace_count + 1, sizeof *all.trace_said);
    spade_status status = all.states && all.traces && all.trace_said
                              ? run_groups(&all, stopped)
                              : spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory");
    spade_reader_close(&all.reader);
    free(all.states);
    free(all.traces);
    free(all.trace_said);
    return status;
}
