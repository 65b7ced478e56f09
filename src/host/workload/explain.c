/* explain.c - the explain workload: what is asked, results.json, report.html. */
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/base.h"
#include "workload/explain.h"
#include "report/text.h"

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
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    events->note(events->user, line);
}

/* ---- before the work: everything that can be refused at once is refused here */
static spade_status check_request(spade_context *context, const spade_explain_request *request)
{
    if (!request->dense && !request->trace) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--no-dense and --no-trace leave nothing to do");
    }
    if (request->in_flight > EXPLAIN_MAX_IN_FLIGHT) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--in-flight %d: at most %d", request->in_flight,
                          EXPLAIN_MAX_IN_FLIGHT);
    }
    struct stat info;
    if (request->mask && stat(request->mask, &info) != 0) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", request->mask, strerror(errno));
    }
    return SPADE_OK;
}

static spade_status check_inputs(explain_job *job, const spade_inputs *inputs)
{
    const spade_explain_request *request = job->request;
    const spade_settings *settings = request->settings;
    struct stat info;
    for (int i = 0; !settings->top_class && i < settings->class_count; i++) {
        if (settings->classes[i] >= job->outputs) {
            return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--class %lld: the network has the classes 0 to %lld",
                              (long long)settings->classes[i], (long long)job->outputs - 1);
        }
    }
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

/* A method that the network cannot take is refused now, not after the first trace. */
static spade_status open_methods(explain_job *job)
{
    int64_t shape[3];
    SPADE_TRY(spade_settings_methods(job->context, job->request->settings, &job->methods, &job->method_count));
    for (int i = 0; i < job->method_count; i++) {
        SPADE_TRY(spade_attribution_map_shape(job->context, job->model, job->methods[i].attribution, shape));
    }
    return SPADE_OK;
}

static spade_status job_open(explain_job *job)
{
    spade_context *context = job->context;
    const spade_explain_request *request = job->request;
    int64_t channels, height, width;
    spade_model_options options;
    spade_settings_model_options(request->settings, &options);
    SPADE_TRY(spade_model_load(context, request->model, &options, &job->model));
    SPADE_TRY(spade_settings_preprocess(context, request->settings, job->model, &job->preprocess));
    SPADE_TRY(class_names_load(context, request->labels, job->model, &job->names));
    SPADE_TRY(open_methods(job));
    job->outputs = spade_model_classes(job->model);
    job->run = (explained_run){.context = context,
                               .model = request->model,
                               .batch = request->batch,
                               .settings = request->settings,
                               .names = &job->names,
                               .methods = job->methods,
                               .method_count = job->method_count};
    if (request->batch) {
        spade_model_input(job->model, &channels, &height, &width);
        SPADE_TRY(spade_array_load(context, request->batch, 0, &job->batch));
        SPADE_TRY(spade_check_array(context, request->batch, &job->batch, channels, height, width));
    }
    return SPADE_OK;
}

static void job_close(explain_job *job)
{
    spade_array_clear(&job->batch);
    class_names_clear(&job->names);
    spade_method_choices_destroy(job->methods, job->method_count);
    spade_model_destroy(job->model);
}

/* ---- results.json, report.html */
static spade_status save_results(const explain_job *job)
{
    spade_context *context = job->context;
    spade_status status = SPADE_OK;
    char *path = NULL, *text = NULL;
    json_t *all = results_json(&job->run, job->results, job->failed);
    text = json_dumps(all, JSON_INDENT(1));
    if (!text || asprintf(&path, "%s/results.json", job->request->output) < 0) {
        path = NULL;
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s/results.json: out of memory", job->request->output));
    }
    SPADE_GOTO(spade_write_file(context, path, text, strlen(text)));
    free(path);
    if (asprintf(&path, "%s/report.html", job->request->output) < 0) {
        path = NULL;
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s/report.html: out of memory", job->request->output));
    }
    SPADE_GOTO(html_report_save(job->report, path));
done:
    json_decref(all);
    free(text);
    free(path);
    return status;
}

spade_status spade_explain(spade_context *context, const spade_explain_request *request,
                           const spade_workload_events *events, spade_workload_outcome *outcome)
{
    explain_job job = {.context = context, .request = request, .events = events, .map_share = 0.5, .outcome = outcome};
    spade_status status = SPADE_OK;
    spade_inputs inputs = {0};
    *outcome = (spade_workload_outcome){0};
    job.results = json_array();
    job.failed = json_array();
    if (!job.results || !job.failed) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }

    SPADE_GOTO(check_request(context, request));
    SPADE_GOTO(job_open(&job));
    SPADE_GOTO(spade_inputs_collect(context, request->inputs, request->input_count, 3, job.preprocess.height,
                                    job.preprocess.width, &inputs));
    SPADE_GOTO(check_inputs(&job, &inputs));
    SPADE_GOTO(spade_make_folders(context, request->output, "cannot make the folder"));
    SPADE_GOTO(html_report_open(&job.run, &job.report));
    status = explain_groups(&job, &inputs);
    if (outcome->done) { /* also when the job broke off: what was done is worth keeping */
        char *message = status == SPADE_OK ? NULL : strdup(spade_message(context));
        spade_status saved = save_results(&job);
        if (message) { spade_fail(context, status, "%s", message); }
        if (status == SPADE_OK) { status = saved; }
        free(message);
    }
done:
    html_report_close(job.report);
    spade_inputs_clear(&inputs);
    json_decref(job.results);
    json_decref(job.failed);
    job_close(&job);
    return status;
}
