/* evaluate.c - the evaluate workload: what is asked, the loop over the pictures, and what it has found. */
#include <sys/stat.h>

#include "backend/backend.h"
#include "workload/evaluate.h"
#include "workload/unread_options.h"
#include "workload/manifest.h"
#include "workload/run_fingerprints.h"

/* ---- before the work: everything that can be refused at once is refused here */

static spade_status check_request(spade_context *context, const spade_evaluate_request *request)
{
    if (spade_settings_classes(request->settings)->count > 1) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--class: evaluate explains one class of each picture");
    }
    if (request->in_flight > WORKLOAD_MAX_IN_FLIGHT) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--in-flight %d: at most %d", request->in_flight,
                          WORKLOAD_MAX_IN_FLIGHT);
    }
    return SPADE_OK;
}

static spade_status open_target(evaluate_job *job)
{
    const spade_names *classes = spade_settings_classes(job->request->settings);
    job->of_label = strcmp(classes->items[0], "label") == 0;
    return job->of_label ? SPADE_OK : class_choices_read(job->context, classes, &job->names, &job->target);
}

spade_status evaluate_set_uncovered(evaluate_job *job, int method)
{
    const char *message = spade_message(job->context),
               *name = spade_attribution_method(job->methods[method].attribution)->name;
    const size_t length = strlen(name);
    const bool named = strncmp(message, name, length) == 0 && strncmp(message + length, ": ", 2) == 0;
    job->uncovered[method] = strdup(message + (named ? length + 2 : 0));
    if (!job->uncovered[method]) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    return SPADE_OK;
}

/* A method whose definition does not cover this network has no values; wrong options end the job. */
static spade_status open_methods(evaluate_job *job)
{
    spade_context *context = job->context;
    int64_t shape[3];
    SPADE_TRY(spade_settings_methods(context, job->request->settings, &job->methods, &job->method_count));
    job->uncovered = calloc((size_t)job->method_count, sizeof *job->uncovered);
    if (!job->uncovered) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < job->method_count; i++) {
        const spade_attribution *attribution = job->methods[i].attribution;
        SPADE_TRY(spade_attribution_set_preprocess(context, job->methods[i].attribution, &job->preprocess));
        const spade_status status = spade_attribution_map_shape(context, job->model, attribution, shape);
        if (status == SPADE_ERROR_UNSUPPORTED) {
            SPADE_TRY(evaluate_set_uncovered(job, i));
            spade_error_clear(context);
        } else {
            SPADE_TRY(status);
        }
    }
    return SPADE_OK;
}

/* Where no folder of a tree is called as a class is, and there are as many as classes, the order of names is theirs. */
static spade_status label_by_order(const evaluate_job *job, const char *manifest, const spade_inputs *inputs,
                                   int64_t folders, int64_t *labels)
{
    if (folders != job->class_count) {
        return spade_fail(
            job->context, SPADE_ERROR_INPUT,
            "%s: the folders are not called as classes are (%s), nor are there as many as classes: %lld for %lld; "
            "give --labels, or call them by numbers",
            manifest, inputs->items[0].label, (long long)folders, (long long)job->class_count);
    }
    for (int i = 0; i < inputs->count; i++) { labels[i] = inputs->items[i].folder; }
    return SPADE_OK;
}

spade_status evaluate_read_labels(const evaluate_job *job, const char *manifest, const spade_inputs *inputs,
                                  int64_t folders, int64_t **out)
{
    int known = 0, unknown = 0;
    bool ambiguous = false;
    char message[SPADE_MESSAGE_BYTES] = "";
    int64_t *labels = *out = calloc((size_t)inputs->count + 1, sizeof *labels);
    if (!labels) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < inputs->count; i++) {
        const spade_input *input = &inputs->items[i];
        labels[i] = -1;
        if (!input->label) { continue; }
        const spade_status status = class_of_label(job->context, input->label, &job->names, &labels[i]);
        if (status != SPADE_OK && !unknown++) {
            snprintf(message, sizeof message, "%s: %s", input->file, spade_message(job->context));
        }
        known += status == SPADE_OK;
        ambiguous = ambiguous || status == SPADE_ERROR_ARGUMENT;
    }
    spade_error_clear(job->context);
    if (!unknown) { return SPADE_OK; }
    if (folders && !known && !ambiguous) { return label_by_order(job, manifest, inputs, folders, labels); }
    return spade_fail(job->context, SPADE_ERROR_INPUT, "%s: %s", manifest, message);
}

/* Results must not take the place of what they are made from. */
static spade_status check_manifest_stays(const evaluate_job *job, const char *of)
{
    static const char *const files[] = {"results.jsonl", "results.json", "results.csv", "report.html"};
    const spade_evaluate_request *request = job->request;
    struct stat manifest, result;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", request->output, files[i]) < 0) {
            return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
        }
        const bool same = stat(path, &result) == 0 && stat(of, &manifest) == 0 && result.st_dev == manifest.st_dev &&
                          result.st_ino == manifest.st_ino;
        free(path);
        if (!same) { continue; }
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "-o %s: its %s is the manifest; choose another folder",
                          request->output, files[i]);
    }
    return SPADE_OK;
}

static spade_status read_manifest(evaluate_job *job)
{
    const spade_evaluate_request *request = job->request;
    bool any = false, masks = request->mask != NULL;
    int64_t folders;
    char *path = (char *)(uintptr_t)request->manifest;
    if (request->output) {
        SPADE_TRY(spade_inputs_check_output(job->context, &path, 1, true, request->output));
        SPADE_TRY(check_manifest_stays(job, request->manifest));
        if (request->fit) { SPADE_TRY(check_manifest_stays(job, request->fit)); }
    }
    SPADE_TRY(spade_manifest_read(job->context, request->manifest, &job->inputs, &folders));
    SPADE_TRY(evaluate_read_labels(job, request->manifest, &job->inputs, folders, &job->labels));
    for (int i = 0; i < job->inputs.count; i++) {
        any = any || job->labels[i] >= 0;
        masks = masks || job->inputs.items[i].mask;
    }
    if (job->of_label && !any) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--class label: %s has no labels", request->manifest);
    }
    for (int i = 0; i < job->metric_count; i++) {
        if (masks || !(explained_metric(&job->run, i)->needs & SPADE_METRIC_NEEDS_MASK)) { continue; }
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                          "%s needs masks: %s has no column mask, and --mask is not given", job->metrics[i].label,
                          request->manifest);
    }
    return SPADE_OK;
}

static void warn_unused(const evaluate_job *job)
{
    bool needed = false, missing = false;
    unread_options unread = {.names = {NULL}};
    const bool traces = job->column_count > 1 + job->fit.wanted;
    spade_settings_use use = {.trace = traces,
                              .draws = true, /* the intervals' samples */
                              .fitted = job->fit.wanted,
                              .pictures = true,
                              .masks = true, /* what needs one and has none is refused */
                              .methods = job->methods,
                              .method_count = job->method_count,
                              .metrics = job->metrics,
                              .metric_count = job->metric_count,
                              .own_traces = traces};
    for (int i = 1, found = 0; i < job->column_count; i++) {
        if (job->columns[i].fitted) { continue; }
        if (!job->columns[i].configured) { /* those of configurations have options of their own */
            unread_options own;
            unread_options_find(job->context, job->model, &job->columns[i].trace, &own);
            if (found++) {
                unread_options_intersect(&unread, &own);
            } else {
                unread = own;
            }
        }
        if (job->request->traces) { use.solvers |= 1u << job->columns[i].trace.solver; }
        use.own_traces = use.own_traces && job->columns[i].configured;
    }
    if (job->request->fit_margin >= 0 && !job->fit.wanted) {
        spade_log(job->context, SPADE_LOG_WARNING, "--fit-margin has no effect: sparse_fc is not among --traces");
    }
    use.unread = unread.names;
    spade_settings_warn_unused(job->context, job->request->settings, &use);
    if (!job->request->mask) { return; }
    for (int i = 0; i < job->inputs.count; i++) { missing = missing || !job->inputs.items[i].mask; }
    for (int i = 0; i < job->metric_count; i++) {
        needed = needed || explained_metric(&job->run, i)->needs & SPADE_METRIC_NEEDS_MASK;
    }
    if (!needed || !missing) {
        spade_log(job->context, SPADE_LOG_WARNING, "--mask has no effect: %s",
                  needed ? "the manifest has every picture's" : "no metric compares maps with masks");
    }
}

spade_status evaluate_open(evaluate_job *job)
{
    spade_context *context = job->context;
    const spade_evaluate_request *request = job->request;
    spade_model_options options;
    spade_settings_model_options(request->settings, &options);
    SPADE_TRY(spade_model_load(context, request->model, &options, &job->model));
    SPADE_TRY(spade_settings_preprocess(context, request->settings, job->model, &job->preprocess));
    SPADE_TRY(class_names_load(context, request->labels, job->model, &job->names));
    job->class_count = spade_model_classes(job->model);
    SPADE_TRY(open_target(job));
    SPADE_TRY(open_methods(job));
    SPADE_TRY(evaluate_columns_open(job));
    SPADE_TRY(spade_settings_metrics(context, request->settings, &job->metrics, &job->metric_count));
    job->run = (explained_run){.context = context,
                               .folder = request->output,
                               .model = request->model,
                               .settings = request->settings,
                               .names = &job->names,
                               .methods = job->methods,
                               .method_count = job->method_count,
                               .metrics = job->metrics,
                               .metric_count = job->metric_count,
                               .class_count = job->class_count};
    SPADE_TRY(read_manifest(job));
    SPADE_TRY(evaluate_fit_open(job));
    if (request->output) { warn_unused(job); }
    return request->mask ? spade_masks_check(context, request->mask, &job->inputs) : SPADE_OK;
}

void evaluate_close(evaluate_job *job)
{
    evaluate_gallery_close(job);
    spade_inputs_clear(&job->inputs);
    free(job->labels);
    class_names_clear(&job->names);
    for (int i = 0; job->uncovered && i < job->method_count; i++) { free(job->uncovered[i]); }
    free(job->uncovered);
    spade_method_choices_destroy(job->methods, job->method_count);
    spade_metric_choices_destroy(job->metrics, job->metric_count);
    evaluate_columns_close(job);
    evaluate_fit_close(job);
    spade_model_destroy(job->model);
}

/* ---- results that are there already */

/* Settings that nothing was made with are no part of what results depend on: without traces those about them. */
static void drop_unused(const evaluate_job *job, json_t *configuration)
{
    unsigned unused = job->column_count > 1 ? SPADE_KEYS_TRACE : SPADE_KEYS_TRACE | SPADE_KEYS_VARIANTS;
    for (int i = 1; i < job->column_count; i++) {
        if (!job->columns[i].configured) { unused = 0; }
    }
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        char name[64];
        if (key->groups & ~unused) { continue; }
        snprintf(name, sizeof name, "%.*s", (int)strcspn(key->name, "."), key->name); /* of "augment.hue" the mapping */
        (void)json_object_del(configuration, name);
    }
}

static spade_status make_header(const evaluate_job *job, json_t **out)
{
    json_t *header = run_json(&job->run), *files = NULL;
    drop_unused(job, json_object_get(header, "configuration"));
    spade_status status = run_fingerprints(&job->run, job->model, job->request->labels, &files);
    spade_json_set(&header, "command", json_string("evaluate"));
    spade_json_set(&header, "columns", evaluate_columns_json(job));
    if (job->fit.wanted && files) { spade_json_set(&files, "fit", json_string(job->fit.fingerprint)); }
    spade_json_set(&header, "xxh128", json_incref(files));
    spade_json_set(&header, "backend", json_string(job->context->device->backend->name));
    json_decref(files);
    *out = header;
    if (status == SPADE_OK && !header) { status = spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    if (status == SPADE_OK) { return SPADE_OK; }
    json_decref(header);
    *out = NULL;
    return status;
}

typedef struct resume {
    evaluate_job *job;
    spade_reader reader;
} resume;

/* The picture, its mask and its label are what they were. */
static spade_status keep(void *user, int position, const json_t *record, bool *holds)
{
    resume *r = user;
    const spade_input *input = &r->job->inputs.items[position];
    const json_t *label = json_object_get(record, "label_class");
    SPADE_TRY(spade_reader_unchanged(&r->reader, input, record, holds));
    *holds = *holds && strcmp(spade_json_text_at(record, "label"), input->label ? input->label : "") == 0 &&
             (label ? json_integer_value(label) : -1) == r->job->labels[position];
    return *holds ? evaluate_gallery_add(r->job, position, record, NULL) : SPADE_OK;
}

static spade_status open_results(evaluate_job *job, spade_inputs *remaining)
{
    const spade_evaluate_request *request = job->request;
    resume r = {.job = job};
    json_t *header;
    r.reader = (spade_reader){.context = job->context,
                              .preprocess = &job->preprocess,
                              .mask = request->mask,
                              .upright = request->settings->orient};
    SPADE_TRY(make_header(job, &header));
    spade_status status = evaluate_gallery_open(job, header);
    if (status == SPADE_OK) {
        status = spade_results_open(job->context, request->output, header, &job->inputs, request->restart, keep, &r,
                                    &job->results);
    }
    json_decref(header);
    spade_reader_close(&r.reader);
    SPADE_TRY(status);
    evaluate_gallery_sweep(job);
    SPADE_TRY(spade_results_remaining(&job->results, remaining));
    job->outcome->done = job->outcome->kept = job->inputs.count - remaining->count;
    if (job->outcome->kept) {
        spade_workload_note(job->events, "%d of %d pictures are evaluated already in %s", job->outcome->kept,
                            job->inputs.count, request->output);
    }
    return SPADE_OK;
}

/* ---- the loop's consumer */

static spade_status record(void *user, const workload_item *item, void *state)
{
    evaluate_job *job = user;
    const evaluated_input *evaluated = state;
    json_t *json = evaluated_json(job, item, evaluated);
    if (!json) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "%s: out of memory", item->input->title); }
    spade_status status = evaluate_gallery_add(job, item->input->position, json, &evaluated->tiles);
    if (status == SPADE_OK) {
        status = spade_results_add(&job->results, item->input->position, json);
        if (status != SPADE_OK) { evaluate_gallery_forget(job, item->input->position); }
    }
    if (status == SPADE_OK) {
        job->outcome->done++;
        if (job->events && job->events->result) { job->events->result(job->events->user, json); }
    }
    json_decref(json);
    return status;
}

static spade_status failed(void *user, const spade_input *input, const char *message)
{
    evaluate_job *job = user;
    SPADE_TRY(spade_results_add_failure(&job->results, input, message));
    job->outcome->failed++;
    if (job->events && job->events->failed) { job->events->failed(job->events->user, message); }
    return SPADE_OK;
}

/* Of all maps of a picture and what is asked of them. */
static double count_passes(const evaluate_job *job)
{
    double passes = 0;
    for (int i = 0; i < job->method_count; i++) {
        if (job->uncovered[i]) { continue; }
        const double own = spade_attribution_passes(job->model, job->methods[i].attribution);
        passes += own;
        for (int k = 0; k < job->metric_count; k++) {
            if (evaluate_of_trace(job, k)) { continue; } /* two forward passes, whatever the methods */
            passes += spade_metric_passes(job->metrics[k].metric, job->model, own);
        }
    }
    return passes * job->column_count;
}

/* ---- pictures of the gallery whose maps are not there: once more, for these alone */

static spade_status record_again(void *user, const workload_item *item, void *state)
{
    evaluate_job *job = user;
    const evaluated_input *evaluated = state;
    bool same;
    json_t *json = evaluated_json(job, item, evaluated);
    if (!json) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "%s: out of memory", item->input->title); }
    const spade_status status = evaluate_gallery_complete(job, item->input->position, json, &evaluated->tiles, &same);
    json_decref(json);
    return status;
}

/* What cannot be had any more is named in the report. */
static spade_status failed_again(void *user, const spade_input *input, const char *message)
{
    const evaluate_job *job = user;
    (void)input;
    spade_log(job->context, SPADE_LOG_WARNING, "not in the report's gallery: %s", message);
    return SPADE_OK;
}

/* ---- the loop */

static spade_status evaluate_pictures(evaluate_job *job, const spade_inputs *inputs, bool again)
{
    spade_trace_options *traces = calloc(EVALUATE_MAX_COLUMNS, sizeof *traces);
    if (!traces) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    int count = 0;
    for (int i = 1; i < job->column_count; i++) {
        if (!job->columns[i].fitted) { traces[count++] = job->columns[i].trace; }
    }
    const workload_plan plan = {.context = job->context,
                                .model = job->model,
                                .preprocess = &job->preprocess,
                                .mask = job->request->mask,
                                .upright = job->request->settings->orient,
                                .augment = &job->request->settings->augment,
                                .traces = traces,
                                .trace_count = count,
                                .passes = count_passes(job),
                                .in_flight = job->request->in_flight,
                                .events = job->events};
    const workload_consumer consumer = {.user = job,
                                        .state_bytes = sizeof(evaluated_input),
                                        .dense = evaluate_dense,
                                        .process = evaluate_process,
                                        .record = again ? record_again : record,
                                        .failed = again ? failed_again : failed,
                                        .clear = evaluate_clear};
    const spade_status status = workload_run(&plan, inputs, &consumer, &job->outcome->stopped);
    free(traces);
    return status;
}

static spade_status complete_gallery(evaluate_job *job)
{
    spade_inputs again = {0};
    spade_status status = SPADE_OK;
    if (!job->gallery.size || job->outcome->stopped) { return SPADE_OK; }
    again.items = malloc(sizeof *again.items * (size_t)(job->inputs.count + 1));
    if (!again.items) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < job->inputs.count; i++) {
        bool lacks;
        SPADE_GOTO(evaluate_gallery_lacks(job, i, &lacks));
        if (lacks) { again.items[again.count++] = job->inputs.items[i]; }
    }
    if (!again.count) { goto done; }
    spade_workload_note(job->events, "%d of the pictures that the report shows %s evaluated once more, for %s maps",
                        again.count, again.count == 1 ? "is" : "are", again.count == 1 ? "its" : "their");
    status = evaluate_pictures(job, &again, true);
done:
    free(again.items); /* they are the job's */
    return status;
}

spade_status spade_evaluate(spade_context *context, const spade_evaluate_request *request,
                            const spade_workload_events *events, spade_workload_outcome *outcome, json_t **summary)
{
    evaluate_job job = {.context = context, .request = request, .events = events, .outcome = outcome};
    spade_inputs remaining = {0};
    spade_status status = SPADE_OK;
    *outcome = (spade_workload_outcome){0};
    *summary = NULL;
    job.results.lock = job.results.journal.file = -1;
    SPADE_GOTO(check_request(context, request));
    SPADE_GOTO(evaluate_open(&job));
    SPADE_GOTO(open_results(&job, &remaining));
    SPADE_GOTO(evaluate_fit_run(&job, &outcome->stopped));
    if (!outcome->stopped) { status = evaluate_pictures(&job, &remaining, false); }
    if (status == SPADE_OK) { status = complete_gallery(&job); }
    if (workload_reports(request->output, "results.json", outcome)) {
        spade_error error;
        spade_error_save(context, &error);
        const spade_status saved = evaluate_write_results(&job, summary);
        if (status != SPADE_OK) {
            spade_error_restore(context, &error);
        } else {
            status = saved;
        }
    }
    evaluate_gallery_sweep(&job);
done:
    free(remaining.items); /* they are the job's */
    spade_results_close(&job.results);
    evaluate_close(&job);
    return status;
}
