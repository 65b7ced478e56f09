/* explain.c - the explain job: every input in turn, results.json, report.html. */
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/base.h"
#include "job/explain.h"
#include "job/text.h"

void spade_job_phase(const spade_job_events *events, const char *label, double from, double to)
{
    if (events && events->phase) { events->phase(events->user, label, from, to); }
}

void spade_job_note(const spade_job_events *events, const char *format, ...)
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

/* mkdir -p */
static spade_status make_output(spade_context *context, const char *path)
{
    char *copy = strdup(path);
    if (!copy) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    for (char *at = copy + 1; *copy && *at; at++) {
        if (*at != '/') { continue; }
        *at = 0;
        mkdir(copy, 0777); /* what this does not make, the last mkdir complains about */
        *at = '/';
    }
    struct stat info;
    spade_status status = SPADE_OK;
    if (mkdir(copy, 0777) != 0 && (errno != EEXIST || stat(copy, &info) != 0 || !S_ISDIR(info.st_mode))) {
        status = spade_fail(context, SPADE_ERROR_IO, "%s: cannot make the folder: %s", path, strerror(errno));
    }
    free(copy);
    return status;
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
    job->outputs = spade_model_classes(job->model);
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
    spade_model_destroy(job->model);
}

/* ---- results.json */
static json_t *results_json(const explain_job *job, json_t *inputs, json_t *failed)
{
    json_t *all = json_object();
    json_object_set_new(all, "version", json_string(spade_version()));
    json_object_set_new(all, "model", spade_json_text(job->request->model));
    json_object_set_new(all, "configuration", spade_settings_json(job->request->settings));
    json_object_set_new(all, "seed", json_integer((json_int_t)job->request->settings->seed));
    if (job->batch.data) { json_object_set_new(all, "batch", spade_json_text(job->request->batch)); }
    json_object_set_new(all, "metrics",
                        json_pack("{s:{s:i, s:s}}", "roc_auc", "version", SPADE_ROC_AUC_VERSION, "map",
                                  spade_method_reduce_name(SPADE_REDUCE_ABS_MAX)));
    json_object_set(all, "inputs", inputs);
    json_object_set(all, "failed", failed);
    return all;
}

static spade_status save_results(const explain_job *job, json_t *inputs, json_t *failed, report *page)
{
    spade_context *context = job->context;
    spade_status status = SPADE_OK;
    char *path = NULL, *text = NULL;
    json_t *all = results_json(job, inputs, failed);
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
    SPADE_GOTO(report_save(page, path));
done:
    json_decref(all);
    free(text);
    free(path);
    return status;
}

/* ---- the loop */
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

static spade_status announce(explain_job *job, const spade_sample *sample, int inputs)
{
    time_estimate estimate;
    char time[32];
    SPADE_TRY(estimate_time(job, sample->input, &estimate));
    double total = estimate.trace + estimate.maps;
    job->map_share = total > 0 ? estimate.maps / total : 0.5;
    format_seconds(total * inputs, time, sizeof time);
    spade_job_note(job->events, "%d input%s, about %s", inputs, inputs == 1 ? "" : "s", time);
    return SPADE_OK;
}

static void note_failure(explain_job *job, const spade_input *input, json_t *failed, report *page,
                         spade_job_outcome *outcome)
{
    char *message = NULL;
    const char *text = spade_message(job->context);
    if (!strstr(text, input->file) && asprintf(&message, "%s: %s", input->file, text) < 0) { message = NULL; }
    text = message ? message : text;
    json_t *entry = json_object();
    json_object_set_new(entry, "file", spade_json_text(input->file));
    if (input->index >= 0) { json_object_set_new(entry, "index", json_integer(input->index)); }
    json_object_set_new(entry, "error", spade_json_text(text));
    json_array_append_new(failed, entry);
    report_add_failure(page, text);
    if (job->events && job->events->failed) { job->events->failed(job->events->user, text); }
    outcome->failed++;
    free(message);
}

/* Loading fails for one input; what comes after it fails for one input only where the input is to blame. */
static bool blames_input(spade_status status)
{
    return status == SPADE_ERROR_INPUT || status == SPADE_ERROR_NUMERICAL;
}

static spade_status run_inputs(explain_job *job, const spade_inputs *inputs, spade_sample *sample, json_t *results,
                               json_t *failed, report *page, spade_job_outcome *outcome)
{
    bool announced = false;
    for (int i = 0; i < inputs->count; i++) {
        const spade_input *input = &inputs->items[i];
        explained_input explained;
        if (input->error) {
            spade_fail(job->context, SPADE_ERROR_INPUT, "%s", input->error);
            note_failure(job, input, failed, page, outcome);
            continue;
        }
        if (spade_sample_load(job->context, &job->preprocess, input, job->request->mask, sample) != SPADE_OK) {
            note_failure(job, input, failed, page, outcome);
            continue;
        }
        if (!announced) { SPADE_TRY(announce(job, sample, inputs->count - i)); }
        announced = true;
        double from = (double)i / inputs->count, to = (double)(i + 1) / inputs->count;
        spade_status status = explain_input(job, sample, input, from, to, &explained);
        if (blames_input(status)) {
            note_failure(job, input, failed, page, outcome);
            continue;
        }
        if (status != SPADE_OK) {
            return status == SPADE_ERROR_ARGUMENT ? status : spade_fail_in(job->context, status, "%s", input->file);
        }
        json_t *result = explained_json(job, &explained);
        json_array_append_new(results, result);
        status = report_add(page, &explained);
        if (job->events && job->events->result) { job->events->result(job->events->user, result); }
        explained_input_clear(&explained);
        if (status != SPADE_OK) { return status; }
        outcome->done++;
    }
    return SPADE_OK;
}

spade_status spade_explain(spade_context *context, const spade_explain_request *request, const spade_job_events *events,
                           spade_job_outcome *outcome)
{
    explain_job job = {.context = context, .request = request, .events = events, .map_share = 0.5};
    spade_status status = SPADE_OK;
    spade_inputs inputs = {0};
    spade_sample sample = {0};
    json_t *results = json_array(), *failed = json_array();
    report *page = NULL;
    *outcome = (spade_job_outcome){0};
    if (!results || !failed) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }

    SPADE_GOTO(check_request(context, request));
    SPADE_GOTO(job_open(&job));
    SPADE_GOTO(spade_inputs_collect(context, request->inputs, request->input_count, 3, job.preprocess.height,
                                    job.preprocess.width, &inputs));
    SPADE_GOTO(check_inputs(&job, &inputs));
    SPADE_GOTO(make_output(context, request->output));
    SPADE_GOTO(report_open(&job, &page));
    status = run_inputs(&job, &inputs, &sample, results, failed, page, outcome);
    if (outcome->done) { /* also when the job broke off: what was done is worth keeping */
        char *message = status == SPADE_OK ? NULL : strdup(spade_message(context));
        spade_status saved = save_results(&job, results, failed, page);
        if (message) { spade_fail(context, status, "%s", message); }
        if (status == SPADE_OK) { status = saved; }
        free(message);
    }
done:
    report_close(page);
    spade_sample_clear(context, &sample);
    spade_inputs_clear(&inputs);
    json_decref(results);
    json_decref(failed);
    job_close(&job);
    return status;
}
