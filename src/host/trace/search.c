/*
 * search.c - from batches to sparse weights. A pass runs batches once for as many layers as the budget holds accumulators
 * for, then solves them, for all requests at once. How the layers fall into passes changes no result: each layer's
 * Hessian is the same sum in the same order.
 */
#include "trace/search.h"

typedef struct search {
    spade_context *context;
    const spade_model *model;
    const spade_network *network;
    spade_sample *samples;
    int count;
    double work_total, work_done; /* operations, for progress */
} search;

/* More samples at once would only take memory: the host's threads are busy with one. On a device of its own the solve
 * is a chain of small steps, and those of several samples take hardly longer than those of one. */
static const uint64_t MAX_TOGETHER = UINT64_C(1) << 30, MAX_TOGETHER_ON_DEVICE = UINT64_C(16) << 30;

/* ---- groups: a layer with those behind it whose sums are a part of its own. They stay together. */

static int group_end(const spade_part *part, int first)
{
    int end = first + 1;
    while (end < part->count && part->sources[end] >= 0) { end++; }
    return end;
}

static uint64_t sums_bytes(const search *s, const spade_part *part, int first, int last)
{
    uint64_t bytes = 0;
    for (int i = first; i < last; i++) {
        if (part->sources[i] < 0) { bytes += spade_hessian_bytes(s->model, part->layers[i], part->precision); }
    }
    return bytes;
}

static uint64_t largest_solve(const search *s, const spade_part *part, int first, int last)
{
    uint64_t largest = 0;
    for (int i = first; i < last; i++) {
        uint64_t bytes = spade_layer_tasks_bytes(s->context, s->network, part, i);
        if (bytes > largest) { largest = bytes; }
    }
    return largest;
}

static uint64_t largest_update(const search *s, const spade_part *part, int first, int last)
{
    uint64_t largest = 0;
    int64_t dims[4];
    spade_batch_shape(part->sample->batch, dims);
    for (int i = first; i < last; i++) {
        uint64_t bytes = spade_hessian_workspace_bytes(s->model, part->layers[i], dims[0], part->precision);
        if (bytes > largest) { largest = bytes; }
    }
    return largest;
}

/* The groups from `first` on, not beyond `limit` layers, whose accumulators and largest solve fit the budget; at least
 * one. Returns the layers. */
static int pass_size(const search *s, const spade_part *part, int first, int limit)
{
    uint64_t left = spade_budget_left(s->context);
    int n = group_end(part, first) - first;
    while (first + n < part->count) {
        int more = group_end(part, first + n) - first;
        uint64_t bytes = sums_bytes(s, part, first, first + more) + largest_solve(s, part, first, first + more);
        if (more > limit || bytes > left) { break; }
        n = more;
    }
    return n;
}

/* Not even one group fits: say what would do for all of them, one at a time. */
static spade_status explain_budget(const search *s, const spade_part *part, int first)
{
    int end = group_end(part, first);
    uint64_t pass = 0, need = 0;
    SPADE_TRY(spade_hessian_need(s->context, s->model, part->sample->batch, part->layers + first, end - first,
                                 part->precision, &pass));
    uint64_t fixed = pass - sums_bytes(s, part, first, end) - largest_update(s, part, first, end);
    for (int i = 0; i < part->count; i = end) {
        end = group_end(part, i);
        uint64_t update = fixed + largest_update(s, part, i, end), solve = largest_solve(s, part, i, end);
        uint64_t bytes = sums_bytes(s, part, i, end) + (update > solve ? update : solve);
        if (bytes > need) { need = bytes; }
    }
    char budget[32];
    double megabytes = ((double)spade_bytes_in_use(s->context) + (double)need) / 1048576.0 + 1.0;
    return spade_fail(
        s->context, SPADE_ERROR_MEMORY,
        "the memory budget of %s does not hold the trace, not even layer by layer (%s); --memory %.0fM would",
        spade_format_bytes(s->context->budget, budget), s->network->layers[part->layers[first]].name, megabytes);
}

/* ---- progress: of the search as a whole. Each layer of each request takes a pass over the variants, about as much
 * again for its Hessian, and its solve; what requests share is theirs in equal parts. */

static void add_work(const search *s, const spade_sample *sample, const spade_trace_job *r, int layer, double *pass,
                     double *solving)
{
    spade_layer_info info;
    int64_t dims[4];
    spade_model_layer(s->model, layer, &info);
    spade_batch_shape(sample->batch, dims);
    *pass += (double)dims[0] * info.operations;
    *solving += spade_layer_tasks_work(s->network, r, layer);
}

static void part_work(const search *s, const spade_part *part, double *pass, double *solving)
{
    for (int i = 0; i < part->sample->count; i++) {
        const spade_trace_job *r = &part->sample->requests[i];
        for (int slot = 0; slot < part->count; slot++) {
            if (spade_trace_job_takes(r, part, slot)) {
                add_work(s, part->sample, r, part->layers[slot], pass, solving);
            }
        }
    }
}

static void count_work(search *s)
{
    for (int i = 0; i < s->count; i++) {
        for (int r = 0; r < s->samples[i].count; r++) {
            const spade_trace_job *request = &s->samples[i].requests[r];
            for (int l = 0; l < s->network->layer_count; l++) {
                if (request->wanted[l]) { add_work(s, &s->samples[i], request, l, &s->work_total, &s->work_total); }
            }
        }
    }
}

/* What comes next is so much of the work. */
static void begin_work(const search *s, double work)
{
    double end = s->work_done + work;
    spade_progress_begin_span(s->context, "trace", s->work_done / s->work_total, end / s->work_total);
}

/* ---- passes */

static spade_status accumulate(search *s, spade_part *part)
{
    double pass = 0, solving = 0;
    part_work(s, part, &pass, &solving);
    begin_work(s, pass);
    SPADE_TRY(spade_hessian_accumulate(s->context, s->model, part->sample->batch, part->layers, part->count,
                                       part->precision, &part->hessians));
    s->work_done += pass;
    for (int i = 0; i < part->sample->count; i++) {
        part->sample->requests[i].trace->seconds[0] += part->hessians->forward_seconds;
        part->sample->requests[i].trace->seconds[1] += part->hessians->update_seconds;
    }
    return SPADE_OK;
}

/* Solve what the parts hold, and release it. */
static spade_status solve(search *s, spade_part *parts, int count)
{
    double start = spade_now(), pass = 0, solving = 0;
    for (int p = 0; p < count; p++) { part_work(s, &parts[p], &pass, &solving); }
    begin_work(s, solving);
    spade_status status = spade_layer_tasks_solve(s->context, s->network, parts, count);
    s->work_done += solving;
    for (int p = 0; p < count; p++) {
        spade_hessians_give(parts[p].hessians);
        parts[p].hessians = NULL;
        for (int i = 0; i < parts[p].sample->count; i++) {
            parts[p].sample->requests[i].trace->seconds[2] += spade_now() - start;
        }
    }
    return status;
}

/* The layers of one sample, in as many passes as it takes. */
static spade_status run_sample(search *s, const spade_part *whole)
{
    int limit = whole->count;
    for (int first = 0, n = 0; first < whole->count; first += n) {
        spade_part part = *whole;
        spade_status status = SPADE_ERROR_MEMORY;
        part.layers += first;
        part.sources += first;
        /* the estimate leaves out the network's own plan: halve until everything fits, which is known before any work
         */
        for (;; limit = n / 2) {
            part.count = n = pass_size(s, whole, first, limit);
            status = accumulate(s, &part);
            if (status != SPADE_ERROR_MEMORY || n == group_end(whole, first) - first) { break; }
        }
        if (status == SPADE_OK) { status = solve(s, &part, 1); }
        if (status == SPADE_ERROR_MEMORY && n == group_end(whole, first) - first && s->context->budget != UINT64_MAX) {
            return explain_budget(s, whole, first);
        }
        SPADE_TRY(status);
    }
    return SPADE_OK;
}

/* How many of the parts fit together, each with all its layers; at least one. */
static spade_status together(const search *s, const spade_part *parts, int count, int *n)
{
    const bool on_host = s->context->device->backend->host_memory;
    const uint64_t most = on_host ? MAX_TOGETHER : MAX_TOGETHER_ON_DEVICE;
    uint64_t left = spade_budget_left(s->context), sums = 0, largest = 0;
    *n = 1;
    if (count < 2 || !parts[0].count) { return SPADE_OK; }
    for (int i = 0; i < count && parts[i].count; i++) {
        uint64_t own = sums_bytes(s, &parts[i], 0, parts[i].count), pass, before = sums;
        uint64_t solving = largest_solve(s, &parts[i], 0, parts[i].count);
        spade_status status = spade_hessian_need(s->context, s->model, parts[i].sample->batch, parts[i].layers,
                                                 parts[i].count, parts[i].precision, &pass);
        if (status == SPADE_ERROR_MEMORY) { break; } /* the device itself is too small: layers will come in passes */
        SPADE_TRY(status);
        sums += own;
        largest = solving > largest ? solving : largest;
        if (sums > most || before + pass > left || sums + largest > left) { break; }
        *n = i + 1;
    }
    return SPADE_OK;
}

static spade_status run_together(search *s, spade_part *parts, int n)
{
    spade_status status = SPADE_OK;
    for (int i = 0; i < n && status == SPADE_OK; i++) { status = accumulate(s, &parts[i]); }
    if (status == SPADE_OK) { status = solve(s, parts, n); }
    for (int i = 0; i < n; i++) {
        spade_hessians_give(parts[i].hessians);
        parts[i].hessians = NULL;
    }
    return status;
}

/* One list of layers of every sample. */
static spade_status run_lists(search *s, spade_part *parts)
{
    for (int first = 0, n = 0; first < s->count; first += n) {
        SPADE_TRY(together(s, parts + first, s->count - first, &n));
        spade_status status = n > 1 ? run_together(s, parts + first, n) : SPADE_ERROR_MEMORY;
        if (status != SPADE_ERROR_MEMORY) {
            SPADE_TRY(status);
            continue;
        }
        /* alone; also where a device, whose memory is not known before, does not hold them side by side */
        for (int i = first; i < first + n; i++) { SPADE_TRY(run_sample(s, &parts[i])); }
    }
    return SPADE_OK;
}

static spade_status run_search(search *s)
{
    size_t all = (size_t)s->network->layer_count + 1;
    spade_part *parts = calloc((size_t)s->count + 1, sizeof *parts);
    spade_status status = SPADE_OK;
    if (!parts) { return spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of %d samples", s->count); }
    for (int i = 0; i < s->count; i++) {
        parts[i].sample = &s->samples[i];
        parts[i].layers = calloc(all, sizeof *parts[i].layers);
        parts[i].sources = calloc(all, sizeof *parts[i].sources);
        if (!parts[i].layers || !parts[i].sources) {
            SPADE_GOTO(spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of layers"));
        }
    }
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < s->count; i++) {
            SPADE_GOTO(spade_sample_list(s->context, s->network, &parts[i]));
            more = more || parts[i].count;
        }
        SPADE_GOTO(run_lists(s, parts));
    }
done:
    for (int i = 0; i < s->count; i++) {
        free(parts[i].layers);
        free(parts[i].sources);
    }
    free(parts);
    return status;
}

/* ---- samples and requests */

static void close_samples(search *s)
{
    for (int i = 0; s->samples && i < s->count; i++) {
        for (int r = 0; s->samples[i].requests && r < s->samples[i].count; r++) {
            spade_trace_job_close(&s->samples[i].requests[r]);
        }
        free(s->samples[i].requests);
    }
    free(s->samples);
}

spade_status spade_trace_search(spade_context *context, const spade_batch *const *batches, int batch_count,
                                const spade_trace_options *options, int option_count, spade_trace *const *traces)
{
    search s = {.context = context, .model = traces[0]->base.model, .count = batch_count};
    spade_status status = SPADE_OK;
    s.network = &s.model->network;
    s.samples = calloc((size_t)batch_count + 1, sizeof *s.samples);
    if (!s.samples) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d samples", batch_count);
    }
    for (int i = 0; i < batch_count; i++) {
        spade_sample *sample = &s.samples[i];
        sample->batch = batches[i];
        sample->requests = calloc((size_t)option_count + 1, sizeof *sample->requests);
        if (!sample->requests) {
            SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d requests", option_count));
        }
        for (int o = 0; o < option_count; o++) {
            spade_trace *trace = traces[i * option_count + o];
            sample->count++;
            SPADE_GOTO(spade_trace_job_open(context, batches[i], &options[o], trace, &sample->requests[o]));
        }
    }
    count_work(&s);
    SPADE_GOTO(run_search(&s));
    spade_progress_begin_span(context, "trace", 1, 1);
    spade_report_progress(context, "trace", 1, 1); /* also where a checkpoint had everything */
done:
    spade_progress_begin_span(context, NULL, 0, 0);
    close_samples(&s);
    return status;
}
