/*
 * explain_group.c - all inputs of the explain job, a group at a time. The traces of a group are found in one call: on a
 * device that waits more than it computes, several take little longer than one. Maps and files come input by input, in
 * their order, while helpers decode the pictures of the next group.
 *
 * One input's failure stays its own: what goes wrong for a group as a whole (a Hessian that cannot be factored, memory
 * that holds one input but not several) is tried again with each of its inputs alone.
 */
#include "backend/backend.h"
#include "workload/explain.h"
#include "report/text.h"

enum { DEVICE_GROUP = 4, MAX_GROUP = EXPLAIN_MAX_IN_FLIGHT };

/* An input of a group. */
typedef struct member {
    const spade_input *input;
    spade_image_item item;
    explained_input explained;
    spade_trace *trace;
    bool failed; /* why is in message: malloc'ed, NULL when out of memory */
    char *message;
} member;

typedef struct groups {
    explain_job *job;
    const spade_inputs *inputs;
    spade_reader reader;
    int max_size;     /* inputs in a group */
    int singly_until; /* inputs before this one are retried singly, each a group of its own */
    bool announced;
} groups;

/* Inputs that are worked on together. */
typedef struct group {
    groups *all;
    member *members;
    int first, count;
    int emitted;   /* inputs whose results or failures are reported */
    bool emitting; /* one is being reported: what fails now cannot be retried */
} group;

/*
 * What a group holds at once, beside what one input takes, may be a quarter of the budget: the rest is better spent on
 * larger passes. The pictures' own sizes are not known yet; where they are too large, the group falls apart.
 */
static int choose_size(const explain_job *job)
{
    spade_context *context = job->context;
    int n = job->request->in_flight, count = spade_model_layer_count(job->model);
    uint64_t bytes = sizeof(float) * 3 * (uint64_t)(job->preprocess.height * job->preprocess.width);
    if (n == 0) { n = context->device->backend->host_memory ? 1 : DEVICE_GROUP; }
    for (int i = 0; job->request->trace && i < count; i++) {
        spade_layer_info layer;
        spade_model_layer(job->model, i, &layer);
        bytes += layer.prunable ? sizeof(float) * (uint64_t)(layer.rows * layer.columns) : 0;
    }
    while (n > 1 && (uint64_t)(n - 1) * bytes > spade_budget_left(context) / 4) { n--; }
    return n;
}

/* Inputs in the group that begins with this one. */
static int size_at(const groups *all, int first)
{
    int remaining = all->inputs->count - first, n = first < all->singly_until ? 1 : all->max_size;
    return n < remaining ? n : remaining;
}

/* ---- what is reported */

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

static spade_status announce(explain_job *job, const spade_image_item *item, int inputs)
{
    time_estimate estimate;
    char time[32];
    SPADE_TRY(estimate_time(job, item->input, &estimate));
    double total = estimate.trace + estimate.maps;
    job->map_share = total > 0 ? estimate.maps / total : 0.5;
    format_seconds(total * inputs, time, sizeof time);
    spade_workload_note(job->events, "%d input%s, about %s", inputs, inputs == 1 ? "" : "s", time);
    return SPADE_OK;
}

static void report_failure(explain_job *job, const member *m)
{
    char *named = NULL;
    const spade_input *input = m->input;
    const char *text = m->message ? m->message : "out of memory";
    if (!strstr(text, input->file) && asprintf(&named, "%s: %s", input->file, text) < 0) { named = NULL; }
    text = named ? named : text;
    json_t *entry = json_object();
    json_object_set_new(entry, "file", spade_json_text(input->file));
    if (input->index >= 0) { json_object_set_new(entry, "index", json_integer(input->index)); }
    json_object_set_new(entry, "error", spade_json_text(text));
    json_array_append_new(job->failed, entry);
    html_report_add_failure(job->report, text);
    if (job->events && job->events->failed) { job->events->failed(job->events->user, text); }
    job->outcome->failed++;
    free(named);
}

static spade_status report_result(explain_job *job, const member *m)
{
    json_t *result = explained_json(&job->run, &m->explained);
    json_array_append_new(job->results, result);
    spade_status status = html_report_add(job->report, &m->explained);
    if (job->events && job->events->result) { job->events->result(job->events->user, result); }
    if (status == SPADE_OK) { job->outcome->done++; }
    return status;
}

/* ---- whose failure it is */

/* Loading fails for one input; what comes after it fails for one input only where the input is to blame. */
static bool blames_input(spade_status status)
{
    return status == SPADE_ERROR_INPUT || status == SPADE_ERROR_NUMERICAL;
}

static void fail_member(const explain_job *job, member *m)
{
    m->failed = true;
    m->message = strdup(spade_message(job->context));
}

/* How a step ended for one member: SPADE_OK also where it failed for reasons of this input alone, which is then noted
 * in the member. Anything else ends the group. */
static spade_status classify(const group *g, member *m, spade_status status)
{
    const explain_job *job = g->all->job;
    if (blames_input(status)) {
        fail_member(job, m);
        return SPADE_OK;
    }
    if (status == SPADE_OK || status == SPADE_ERROR_ARGUMENT) { return status; }
    return spade_fail_in(job->context, status, "%s", m->input->file);
}

/* ---- steps of a group */

static void clear_member(spade_context *context, member *m)
{
    spade_trace_destroy(m->trace);
    explained_input_clear(&m->explained);
    spade_image_item_clear(context, &m->item);
    free(m->message);
    *m = (member){.input = m->input};
}

static const member *first_alive(const group *g)
{
    for (int i = 0; i < g->count; i++) {
        if (!g->members[i].failed) { return &g->members[i]; }
    }
    return NULL;
}

static spade_status load_members(group *g)
{
    groups *all = g->all;
    spade_context *context = all->job->context;
    spade_image_item items[MAX_GROUP];
    spade_status statuses[MAX_GROUP], status = SPADE_OK;
    char *messages[MAX_GROUP];
    const spade_input *inputs = all->inputs->items + g->first;
    SPADE_TRY(spade_reader_load(&all->reader, inputs, g->count, items, statuses, messages));
    for (int i = 0; i < g->count; i++) {
        g->members[i] =
            (member){.input = &inputs[i], .item = items[i], .failed = statuses[i] != SPADE_OK, .message = messages[i]};
        if (statuses[i] == SPADE_ERROR_MEMORY && g->count > 1) { /* alone it may fit */
            status = spade_fail(context, SPADE_ERROR_MEMORY, "%s", messages[i] ? messages[i] : "out of memory");
        }
    }
    return status;
}

/* Begin to decode the pictures of the next group. */
static spade_status prefetch(group *g)
{
    groups *all = g->all;
    int next = g->first + g->count;
    if (next == all->inputs->count) { return SPADE_OK; }
    return spade_reader_prefetch(&all->reader, all->inputs->items + next, size_at(all, next));
}

/* The dense network's scores, of all before any trace: an input that it cannot take is not worth one. */
static spade_status run_dense(group *g)
{
    for (int i = 0; i < g->count; i++) {
        member *m = &g->members[i];
        if (m->failed) { continue; }
        SPADE_TRY(classify(g, m, explain_dense(g->all->job, &m->item, m->input, &m->explained)));
    }
    return SPADE_OK;
}

static spade_status create_traces(group *g)
{
    explain_job *job = g->all->job;
    spade_batch *batches[MAX_GROUP] = {NULL};
    spade_trace *traces[MAX_GROUP];
    member *owners[MAX_GROUP];
    int n = 0;
    spade_status status = SPADE_OK;
    for (int i = 0; i < g->count; i++) {
        member *m = &g->members[i];
        if (m->failed) { continue; }
        SPADE_GOTO(classify(g, m, explain_variants(job, &m->item, &batches[n])));
        if (!m->failed) { owners[n++] = m; }
    }
    if (n) {
        status = spade_trace_create_many(job->context, job->model, (const spade_batch *const *)batches, n,
                                         &job->request->settings->trace, 1, traces);
        if (n == 1) {
            status = classify(g, owners[0], status);
        } else if (status != SPADE_OK && status != SPADE_ERROR_ARGUMENT) {
            spade_fail_in(job->context, status, "%s and %d more", owners[0]->input->file, n - 1);
        }
    }
    for (int i = 0; status == SPADE_OK && i < n; i++) { owners[i]->trace = owners[i]->failed ? NULL : traces[i]; }
done:
    for (int i = 0; i < g->count; i++) { spade_batch_destroy(batches[i]); }
    return status;
}

/* Maps, files and the result of one member, or its failure. from..to: its share of the job. */
static spade_status emit(group *g, member *m, double from, double to)
{
    explain_job *job = g->all->job;
    if (!m->failed) {
        SPADE_TRY(classify(g, m, explain_maps(job, &m->item, m->trace, g->count > 1, from, to, &m->explained)));
    }
    g->emitting = true;
    if (m->failed) {
        report_failure(job, m);
    } else {
        SPADE_TRY(report_result(job, m));
    }
    g->emitting = false;
    g->emitted++;
    return SPADE_OK;
}

static spade_status run_group(group *g)
{
    groups *all = g->all;
    explain_job *job = all->job;
    spade_context *context = job->context;
    spade_status status;
    double share = 1.0 / all->inputs->count, from = share * g->first, to = from + share * g->count;
    SPADE_GOTO(load_members(g));
    const member *alive = first_alive(g);
    if (alive && !all->announced) {
        SPADE_GOTO(announce(job, &alive->item, all->inputs->count - (int)(alive->input - all->inputs->items)));
        all->announced = true;
    }
    SPADE_GOTO(prefetch(g));
    SPADE_GOTO(run_dense(g));
    double maps = to - (to - from) * (job->request->trace ? job->map_share : 1);
    if (job->request->trace && first_alive(g)) {
        spade_workload_phase(job->events, "trace", from, maps);
        SPADE_GOTO(create_traces(g));
    }
    double step = (to - maps) / g->count;
    for (int i = 0; i < g->count; i++) {
        SPADE_GOTO(emit(g, &g->members[i], maps + step * i, maps + step * (i + 1)));
        clear_member(context, &g->members[i]);
    }
done:
    for (int i = 0; i < g->count; i++) { clear_member(context, &g->members[i]); }
    return status;
}

spade_status explain_groups(explain_job *job, const spade_inputs *inputs)
{
    member members[MAX_GROUP];
    groups all = {.job = job, .inputs = inputs, .max_size = choose_size(job)};
    all.reader = (spade_reader){.context = job->context, .preprocess = &job->preprocess, .mask = job->request->mask};
    spade_status status = SPADE_OK;
    for (int first = 0; first < inputs->count && status == SPADE_OK;) {
        group g = {.all = &all, .members = members, .first = first, .count = size_at(&all, first)};
        for (int i = 0; i < g.count; i++) { members[i] = (member){0}; }
        status = run_group(&g);
        first += g.emitted;
        if (g.count > 1 && !g.emitting && (status == SPADE_ERROR_MEMORY || blames_input(status))) {
            spade_log(job->context, SPADE_LOG_INFO, "one by one: %s", spade_message(job->context));
            all.singly_until = g.first + g.count;
            if (status == SPADE_ERROR_MEMORY) { all.max_size = 1; }
            status = SPADE_OK;
        }
    }
    spade_reader_close(&all.reader);
    return status;
}
