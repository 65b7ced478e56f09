/* explain.c - the explain workload: what is asked, results.json, report.html. */
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/number.h"
#include "workload/explain.h"
#include "workload/unread_options.h"

void spade_workload_phase(const spade_workload_events *events, const char *label, double from, double to)
{
    if (events && events->phase) { events->phase(events->user, label, from, to); }
}

void spade_workload_note(const spade_workload_events *events, const char *format, ...)
{
    if (!events || !events->note) { return; }
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    spade_print_list(line, sizeof line, format, arguments);
    va_end(arguments);
    events->note(events->user, line);
}

bool workload_reports(const char *folder, const char *report, const spade_workload_outcome *outcome)
{
    char *path;
    if (outcome->done) { return true; }
    if (!outcome->failed || asprintf(&path, "%s/%s", folder, report) < 0) { return false; }
    const bool earlier = access(path, F_OK) == 0;
    free(path);
    return earlier;
}

/* ---- before the work: everything that can be refused at once is refused here */
static spade_status check_request(spade_context *context, const spade_explain_request *request)
{
    if (!request->dense && !request->trace) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--no-dense and --no-trace leave nothing to do");
    }
    if (request->in_flight > WORKLOAD_MAX_IN_FLIGHT) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--in-flight %d: at most %d", request->in_flight,
                          WORKLOAD_MAX_IN_FLIGHT);
    }
    SPADE_TRY(
        spade_inputs_check_output(context, request->inputs, request->input_count, request->recursive, request->output));
    struct stat info;
    if (request->mask && stat(request->mask, &info) != 0) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", request->mask, strerror(errno));
    }
    return SPADE_OK;
}

static spade_status check_inputs(explain_job *job)
{
    const spade_inputs *inputs = &job->inputs;
    const spade_explain_request *request = job->request;
    struct stat info;
    if (inputs->count > 1 && request->batch) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--batch holds the variants of one input, there are %d",
                          inputs->count);
    }
    if (inputs->count > 1 && request->mask && stat(request->mask, &info) == 0 && !S_ISDIR(info.st_mode)) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                          "--mask %s: one mask for %d inputs; give a folder with NAME.png or NAME_mask.png",
                          request->mask, inputs->count);
    }
    return SPADE_OK;
}

void explain_warn_unused(const explain_job *job, bool pictures, bool masks, bool manifest)
{
    unread_options unread;
    unread_options_find(job->context, job->model, &job->request->settings->trace, &unread);
    spade_settings_use use = {.unread = unread.names,
                              .pictures = pictures,
                              .trace = job->request->trace,
                              .masks = masks,
                              .manifest = manifest,
                              .methods = job->methods,
                              .method_count = job->method_count,
                              .metrics = job->metrics,
                              .metric_count = job->metric_count,
                              .batch = job->request->batch != NULL};
    spade_settings_warn_unused(job->context, job->request->settings, &use);
    if (use.batch && !use.trace) {
        spade_log(job->context, SPADE_LOG_WARNING, "--batch has no effect: no trace is made");
    }
}

/* A method that the network cannot take is refused now, not after the first trace. */
static spade_status open_methods(explain_job *job)
{
    int64_t shape[3];
    SPADE_TRY(spade_settings_methods(job->context, job->request->settings, &job->methods, &job->method_count));
    for (int i = 0; i < job->method_count; i++) {
        SPADE_TRY(spade_attribution_set_preprocess(job->context, job->methods[i].attribution, &job->preprocess));
        SPADE_TRY(spade_attribution_map_shape(job->context, job->model, job->methods[i].attribution, shape));
    }
    return SPADE_OK;
}

spade_status explain_open(explain_job *job)
{
    spade_context *context = job->context;
    const spade_explain_request *request = job->request;
    int64_t channels, height, width;
    spade_model_options options;
    spade_settings_model_options(request->settings, &options);
    spade_inputs_guess_size(context, request->inputs, request->input_count, request->batch, &options);
    SPADE_TRY(spade_model_load(context, request->model, &options, &job->model));
    SPADE_TRY(spade_settings_preprocess(context, request->settings, job->model, &job->preprocess));
    SPADE_TRY(class_names_load(context, request->labels, job->model, &job->names));
    SPADE_TRY(class_choices_read(context, spade_settings_classes(request->settings), &job->names, job->targets));
    job->target_count = spade_settings_classes(request->settings)->count;
    SPADE_TRY(open_methods(job));
    if (request->trace) {
        SPADE_TRY(spade_settings_check_trace(context, request->settings, job->model, &request->settings->trace));
    }
    SPADE_TRY(spade_settings_metrics(context, request->settings, &job->metrics, &job->metric_count));
    job->class_count = spade_model_classes(job->model);
    job->run = (explained_run){.context = context,
                               .folder = request->output,
                               .model = request->model,
                               .batch = request->batch,
                               .settings = request->settings,
                               .names = &job->names,
                               .methods = job->methods,
                               .method_count = job->method_count,
                               .metrics = job->metrics,
                               .metric_count = job->metric_count,
                               .class_count = job->class_count};
    if (request->batch) {
        spade_model_input(job->model, &channels, &height, &width);
        SPADE_TRY(spade_array_load(context, request->batch, 0, &job->batch));
        SPADE_TRY(spade_check_array(context, request->batch, &job->batch, channels, height, width));
    }
    return SPADE_OK;
}

void explain_close(explain_job *job)
{
    spade_inputs_clear(&job->inputs);
    spade_array_clear(&job->batch);
    class_names_clear(&job->names);
    spade_method_choices_destroy(job->methods, job->method_count);
    spade_metric_choices_destroy(job->metrics, job->metric_count);
    spade_model_destroy(job->model);
}

/* ---- the loop's consumer: a record of every input */

static spade_status record(void *user, const workload_item *item, void *state)
{
    explain_job *job = user;
    json_t *json = explained_json(&job->run, state);
    if (!json) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "%s: out of memory", item->input->title); }
    spade_status status = spade_results_add(&job->results, item->input->position, json);
    if (status == SPADE_OK) {
        job->outcome->done++;
        if (job->events && job->events->result) { job->events->result(job->events->user, json); }
    }
    json_decref(json);
    return status;
}

static spade_status failed(void *user, const spade_input *input, const char *message)
{
    explain_job *job = user;
    SPADE_TRY(spade_results_add_failure(&job->results, input, message));
    job->outcome->failed++;
    if (job->events && job->events->failed) { job->events->failed(job->events->user, message); }
    return SPADE_OK;
}

static void clear(void *state)
{
    explained_input_clear(state);
}

/* Passes of all maps of an input, and of what is asked of them. */
static double count_passes(const explain_job *job)
{
    const spade_explain_request *request = job->request;
    double passes = 0;
    for (int i = 0; i < job->method_count; i++) {
        const spade_attribution *attribution = job->methods[i].attribution;
        const bool conserves = spade_attribution_flags(attribution) & SPADE_METHOD_CONSERVATION;
        const double own = spade_attribution_passes(job->model, attribution);
        passes += request->settings->check && conserves ? 2 * own : own;
        for (int k = 0; k < job->metric_count; k++) {
            passes += spade_metric_passes(job->metrics[k].metric, job->model, own);
        }
    }
    return passes * job->target_count * (request->dense + request->trace);
}

void explain_plan(const explain_job *job, workload_plan *out)
{
    const spade_explain_request *request = job->request;
    *out = (workload_plan){.context = job->context,
                           .model = job->model,
                           .preprocess = &job->preprocess,
                           .mask = request->mask,
                           .upright = request->settings->orient,
                           .augment = &request->settings->augment,
                           .batch = job->batch.data ? &job->batch : NULL,
                           .traces = &request->settings->trace,
                           .trace_count = request->trace ? 1 : 0,
                           .passes = count_passes(job),
                           .bytes = explain_group_bytes(job),
                           .in_flight = request->in_flight,
                           .events = job->events};
}

static spade_status explain_inputs(explain_job *job, const spade_inputs *inputs)
{
    workload_plan plan;
    explain_plan(job, &plan);
    const workload_consumer consumer = {.user = job,
                                        .state_bytes = sizeof(explained_input),
                                        .group_dense = explain_group_scores,
                                        .dense = explain_dense,
                                        .group_process = explain_group_maps,
                                        .group_end = explain_group_clear,
                                        .process = explain_process,
                                        .record = record,
                                        .failed = failed,
                                        .clear = clear};
    return workload_run(&plan, inputs, &consumer, &job->outcome->stopped);
}

spade_status spade_explain(spade_context *context, const spade_explain_request *request,
                           const spade_workload_events *events, spade_workload_outcome *outcome)
{
    explain_job job = {.context = context, .request = request, .events = events, .outcome = outcome};
    spade_inputs remaining = {0};
    spade_status status = SPADE_OK;
    bool pictures = false;
    *outcome = (spade_workload_outcome){0};
    job.results.lock = job.results.journal.file = -1;
    SPADE_GOTO(check_request(context, request));
    SPADE_GOTO(explain_open(&job));
    SPADE_GOTO(spade_inputs_collect(context, request->inputs, request->input_count, request->recursive,
                                    job.preprocess.channels, job.preprocess.height, job.preprocess.width, &job.inputs));
    SPADE_GOTO(check_inputs(&job));
    for (int i = 0; i < job.inputs.count; i++) { pictures = pictures || job.inputs.items[i].index < 0; }
    explain_warn_unused(&job, pictures, request->mask != NULL, false);
    if (request->in_flight > 1 && job.inputs.count == 1) {
        spade_log(context, SPADE_LOG_WARNING, "--in-flight has no effect: there is one input");
    }
    if (request->mask) { SPADE_GOTO(spade_masks_check(context, request->mask, &job.inputs)); }
    SPADE_GOTO(explain_resume(&job, &remaining));
    status = explain_inputs(&job, &remaining);
    if (workload_reports(request->output, "results.json", outcome)) {
        spade_error error;
        spade_error_save(context, &error);
        spade_status saved = explain_write_reports(&job);
        if (status != SPADE_OK) { spade_error_restore(context, &error); }
        if (status == SPADE_OK) { status = saved; }
    }
done:
    free(remaining.items); /* what they hold is the job's */
    spade_results_close(&job.results);
    explain_close(&job);
    return status;
}
