/*
 * search.c - from batches of variants to sparse weights. A pass runs a batch once for as many layers as the budget holds
 * accumulators for; then they are solved, for all jobs at once. How the layers fall into passes changes no result: each
 * layer's Hessian is the same sum in the same order.
 */
#include "trace/search.h"

typedef struct search {
    spade_context *context;
    const spade_model *model;
    const spade_network *network;
    spade_trace_batch *batches;
    int count;
    double work_total, work_done; /* operations, for progress */
} search;

/* Hessians of several batches that are solved at once. On the host more would only take memory, as its threads are busy
 * with one batch. On a device of its own the solve is a sequence of small steps, and those of several batches take hardly
 * longer than those of one. */
static const uint64_t MAX_JOINT_BYTES = UINT64_C(1) << 30, MAX_JOINT_BYTES_ON_DEVICE = UINT64_C(16) << 30;

/* ---- families: a layer, and those behind it in the list whose Hessians are blocks of its own. A pass has all of a family
 * or none. */

static int family_end(const spade_trace_pass *pass, int first)
{
    int end = first + 1;
    while (end < pass->count && pass->sources[end] >= 0) { end++; }
    return end;
}

static uint64_t sums_bytes(const search *s, const spade_trace_pass *pass, int first, int last)
{
    const spade_hessian_request request = spade_trace_pass_request(pass);
    uint64_t bytes = 0;
    int64_t dims[4];
    spade_batch_shape(pass->batch->variants, dims);
    for (int i = first; i < last; i++) {
        if (pass->sources[i] < 0) { bytes += spade_hessian_layer_bytes(s->model, pass->layers[i], dims[0], &request); }
    }
    return bytes;
}

static uint64_t largest_solve(const search *s, const spade_trace_pass *pass, int first, int last)
{
    uint64_t largest = 0;
    for (int i = first; i < last; i++) {
        uint64_t bytes = spade_trace_solve_bytes(s->context, s->model, pass, i);
        if (bytes > largest) { largest = bytes; }
    }
    return largest;
}

static uint64_t largest_update(const search *s, const spade_trace_pass *pass, int first, int last)
{
    const spade_hessian_request request = spade_trace_pass_request(pass);
    uint64_t largest = 0;
    int64_t dims[4];
    spade_batch_shape(pass->batch->variants, dims);
    for (int i = first; i < last; i++) {
        uint64_t bytes = spade_hessian_workspace_bytes(s->model, pass->layers[i], dims[0], &request);
        if (bytes > largest) { largest = bytes; }
    }
    return largest;
}

/* The families from `first` on, of at most `limit` layers, whose accumulators and largest solve fit the budget; at least
 * one family. Returns the number of layers. */
static int pass_size(const search *s, const spade_trace_pass *pass, int first, int limit)
{
    uint64_t available = spade_budget_left(s->context);
    int n = family_end(pass, first) - first;
    while (first + n < pass->count) {
        int extended = family_end(pass, first + n) - first;
        uint64_t bytes = sums_bytes(s, pass, first, first + extended) + largest_solve(s, pass, first, first + extended);
        if (extended > limit || bytes > available) { break; }
        n = extended;
    }
    return n;
}

/* Not even one family fits: report the budget that would do for all of them, one at a time. */
static spade_status explain_budget(const search *s, const spade_trace_pass *pass, int first)
{
    int end = family_end(pass, first);
    uint64_t pass_bytes = 0, need = 0;
    spade_hessian_request family = spade_trace_pass_request(pass);
    family.layers += first;
    family.count = end - first;
    SPADE_TRY(spade_hessian_pass_bytes(s->context, s->model, pass->batch->variants, &family, &pass_bytes));
    uint64_t fixed = pass_bytes - sums_bytes(s, pass, first, end) - largest_update(s, pass, first, end);
    for (int i = 0; i < pass->count; i = end) {
        end = family_end(pass, i);
        uint64_t update = fixed + largest_update(s, pass, i, end), solve = largest_solve(s, pass, i, end);
        uint64_t bytes = sums_bytes(s, pass, i, end) + (update > solve ? update : solve);
        if (bytes > need) { need = bytes; }
    }
    char budget[32];
    double megabytes = ((double)spade_bytes_in_use(s->context) + (double)need) / 1048576.0 + 1.0;
    return spade_fail(
        s->context, SPADE_ERROR_MEMORY,
        "the memory budget of %s does not hold the trace, not even layer by layer (%s); --memory %.0fM would",
        spade_format_bytes(s->context->budget, budget), s->network->layers[pass->layers[first]].name, megabytes);
}

/* ---- progress: of the search as a whole. Each layer of each job takes a pass over the variants, about as much again for
 * its Hessian, and its solve; what jobs share is counted for each of them. */

typedef struct work {
    double pass, solve; /* operations */
} work;

static void add_work(const search *s, const spade_trace_batch *batch, const spade_trace_job *job, int layer, work *sum)
{
    spade_layer_info info;
    int64_t dims[4];
    spade_model_layer(s->model, layer, &info);
    spade_batch_shape(batch->variants, dims);
    sum->pass += (double)dims[0] * info.operations;
    sum->solve += spade_trace_solve_work(batch->variants, job, layer);
}

static void add_pass_work(const search *s, const spade_trace_pass *pass, work *sum)
{
    for (int j = 0; j < pass->batch->job_count; j++) {
        const spade_trace_job *job = &pass->batch->jobs[j];
        for (int i = 0; i < pass->count; i++) {
            if (spade_trace_job_takes(job, pass, i)) { add_work(s, pass->batch, job, pass->layers[i], sum); }
        }
    }
}

static void count_work(search *s)
{
    work sum = {0};
    for (int b = 0; b < s->count; b++) {
        for (int j = 0; j < s->batches[b].job_count; j++) {
            const spade_trace_job *job = &s->batches[b].jobs[j];
            for (int l = 0; l < s->network->layer_count; l++) {
                if (job->pending[l]) { add_work(s, &s->batches[b], job, l, &sum); }
            }
        }
    }
    s->work_total = sum.pass + sum.solve;
}

/* What is reported from now on is so much of the work. */
static void begin_work(const search *s, double operations)
{
    double end = s->work_done + operations;
    spade_progress_begin_span(s->context, "trace", s->work_done / s->work_total, end / s->work_total);
}

/* ---- passes */

static spade_status accumulate(search *s, spade_trace_pass *pass)
{
    work sum = {0};
    add_pass_work(s, pass, &sum);
    begin_work(s, sum.pass);
    const spade_hessian_request request = spade_trace_pass_request(pass);
    SPADE_TRY(spade_hessian_collect(s->context, s->model, pass->batch->variants, &request, &pass->hessians));
    s->work_done += sum.pass;
    for (int j = 0; j < pass->batch->job_count; j++) {
        pass->batch->jobs[j].trace->seconds[0] += pass->hessians->forward_seconds;
        pass->batch->jobs[j].trace->seconds[1] += pass->hessians->update_seconds;
    }
    return SPADE_OK;
}

static void release_hessians(spade_trace_pass *passes, int count)
{
    for (int p = 0; p < count; p++) {
        spade_hessians_release(passes[p].hessians);
        passes[p].hessians = NULL;
    }
}

/* Solve the layers of the passes, and release their Hessians. */
static spade_status solve(search *s, spade_trace_pass *passes, int count)
{
    double start = spade_now();
    work sum = {0};
    for (int p = 0; p < count; p++) { add_pass_work(s, &passes[p], &sum); }
    begin_work(s, sum.solve);
    spade_status status = spade_trace_solve(s->context, s->model, passes, count);
    s->work_done += sum.solve;
    release_hessians(passes, count);
    double seconds = spade_now() - start;
    for (int p = 0; p < count; p++) {
        for (int j = 0; j < passes[p].batch->job_count; j++) { passes[p].batch->jobs[j].trace->seconds[2] += seconds; }
    }
    return status;
}

/* The layers of `whole`, in as many passes as the budget asks for. */
static spade_status run_in_passes(search *s, const spade_trace_pass *whole)
{
    int limit = whole->count;
    for (int first = 0, n = 0; first < whole->count; first += n) {
        const int family = family_end(whole, first) - first;
        spade_trace_pass pass = *whole;
        spade_status status;
        pass.layers += first;
        pass.sources += first;
        /* pass_size leaves out the network's own plan: halve until everything fits, which is known before any work */
        for (;; limit = n / 2) {
            pass.count = n = pass_size(s, whole, first, limit);
            status = accumulate(s, &pass);
            if (status != SPADE_ERROR_MEMORY || n == family) { break; }
        }
        if (status == SPADE_OK) { status = solve(s, &pass, 1); }
        if (status == SPADE_ERROR_MEMORY && n == family && s->context->budget != UINT64_MAX) {
            return explain_budget(s, whole, first);
        }
        SPADE_TRY(status);
    }
    return SPADE_OK;
}

/* How many of the passes, which are of different batches, fit side by side with all their layers; at least one. */
static spade_status count_joint_passes(const search *s, const spade_trace_pass *passes, int count, int *n)
{
    const bool on_host = s->context->device->backend->host_memory;
    const uint64_t max_sums = on_host ? MAX_JOINT_BYTES : MAX_JOINT_BYTES_ON_DEVICE;
    const uint64_t available = spade_budget_left(s->context);
    uint64_t sums = 0, solve_bytes = 0;
    *n = 1;
    if (count < 2 || !passes[0].count) { return SPADE_OK; }
    for (int i = 0; i < count && passes[i].count; i++) {
        const spade_trace_pass *pass = &passes[i];
        uint64_t pass_bytes, sums_before = sums, largest = largest_solve(s, pass, 0, pass->count);
        const spade_hessian_request request = spade_trace_pass_request(pass);
        spade_status status =
            spade_hessian_pass_bytes(s->context, s->model, pass->batch->variants, &request, &pass_bytes);
        if (status == SPADE_ERROR_MEMORY) { break; } /* the device is too small for all layers in one pass */
        SPADE_TRY(status);
        sums += sums_bytes(s, pass, 0, pass->count);
        solve_bytes = largest > solve_bytes ? largest : solve_bytes;
        if (sums > max_sums || sums_before + pass_bytes > available || sums + solve_bytes > available) { break; }
        *n = i + 1;
    }
    return SPADE_OK;
}

static spade_status run_joint(search *s, spade_trace_pass *passes, int n)
{
    spade_status status = SPADE_OK;
    for (int i = 0; i < n && status == SPADE_OK; i++) { status = accumulate(s, &passes[i]); }
    if (status == SPADE_OK) { status = solve(s, passes, n); }
    release_hessians(passes, n);
    return status;
}

/* One pass of every batch. */
static spade_status run_passes(search *s, spade_trace_pass *passes)
{
    for (int first = 0, n = 0; first < s->count; first += n) {
        SPADE_TRY(count_joint_passes(s, passes + first, s->count - first, &n));
        spade_status status = n > 1 ? run_joint(s, passes + first, n) : SPADE_ERROR_MEMORY;
        if (status != SPADE_ERROR_MEMORY) {
            SPADE_TRY(status);
            continue;
        }
        /* one by one; also where a device turns out to have too little memory for them side by side */
        for (int i = first; i < first + n; i++) { SPADE_TRY(run_in_passes(s, &passes[i])); }
    }
    return SPADE_OK;
}

/* Until no job has a pending layer. */
static spade_status run_search(search *s)
{
    size_t layer_count = (size_t)s->network->layer_count + 1;
    spade_trace_pass *passes = calloc((size_t)s->count + 1, sizeof *passes);
    spade_status status = SPADE_OK;
    if (!passes) { return spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of %d batches", s->count); }
    for (int i = 0; i < s->count; i++) {
        passes[i].batch = &s->batches[i];
        passes[i].layers = calloc(layer_count, sizeof *passes[i].layers);
        passes[i].sources = calloc(layer_count, sizeof *passes[i].sources);
        passes[i].kept = calloc(layer_count, sizeof *passes[i].kept);
        if (!passes[i].layers || !passes[i].sources || !passes[i].kept) {
            SPADE_GOTO(spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of layers"));
        }
    }
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < s->count; i++) {
            SPADE_GOTO(spade_trace_pass_fill(s->context, s->network, &passes[i]));
            more = more || passes[i].count;
        }
        SPADE_GOTO(run_passes(s, passes));
    }
done:
    for (int i = 0; i < s->count; i++) {
        free(passes[i].layers);
        free(passes[i].sources);
        free(passes[i].kept);
    }
    free(passes);
    return status;
}

/* ---- batches and jobs */

static void close_batches(search *s)
{
    for (int b = 0; s->batches && b < s->count; b++) {
        for (int j = 0; s->batches[b].jobs && j < s->batches[b].job_count; j++) {
            spade_trace_job_close(&s->batches[b].jobs[j]);
        }
        free(s->batches[b].jobs);
    }
    free(s->batches);
}

spade_status spade_trace_search(spade_context *context, const spade_batch *const *batches, int batch_count,
                                const spade_trace_options *options, int option_count, spade_trace *const *traces)
{
    search s = {.context = context, .model = traces[0]->base.model, .count = batch_count};
    spade_status status = SPADE_OK;
    s.network = &s.model->network;
    s.batches = calloc((size_t)batch_count + 1, sizeof *s.batches);
    if (!s.batches) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d batches", batch_count);
    }
    for (int b = 0; b < batch_count; b++) {
        spade_trace_batch *batch = &s.batches[b];
        batch->variants = batches[b];
        batch->jobs = calloc((size_t)option_count + 1, sizeof *batch->jobs);
        if (!batch->jobs) {
            SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d traces", option_count));
        }
        for (int o = 0; o < option_count; o++) {
            spade_trace *trace = traces[b * option_count + o];
            batch->job_count++; /* first: what a failed open leaves is closed, too */
            SPADE_GOTO(spade_trace_job_open(context, batches[b], &options[o], trace, &batch->jobs[o]));
        }
    }
    count_work(&s);
    SPADE_GOTO(run_search(&s));
    spade_progress_begin_span(context, "trace", 1, 1);
    spade_report_progress(context, "trace", 1, 1); /* even where the checkpoint had every layer */
done:
    spade_progress_begin_span(context, NULL, 0, 0);
    close_batches(&s);
    return status;
}
