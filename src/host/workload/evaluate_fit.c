/*
 * evaluate_fit.c - the column sparse_fc: its data set is read, the features of all pictures are computed, the layer is fitted and
 * kept in a file (evaluate_fit_file.c), of which a run that goes on takes it.
 */
#include <stdarg.h>

#include "base/text.h"
#include "engine/model.h"
#include "trace/sparse_fc.h"
#include "workload/evaluate.h"
#include "workload/manifest.h"

enum { GROUP = 8 }; /* pictures that are decoded together, and run as a micro-batch */

static spade_status fail_memory(const evaluate_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

/* Said, and kept for the report. */
static spade_status warn(evaluate_job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));
static spade_status warn(evaluate_job *job, const char *format, ...)
{
    json_t **warnings = &job->fit.warnings;
    char *text;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) { return fail_memory(job); }
    spade_log(job->context, SPADE_LOG_WARNING, "%s", text);
    if (!*warnings) { *warnings = json_array(); }
    spade_json_append(warnings, spade_json_text(text));
    free(text);
    return *warnings ? SPADE_OK : fail_memory(job);
}

/* ---- the data set */

static spade_reader open_reader(const evaluate_job *job)
{
    return (spade_reader){
        .context = job->context, .preprocess = &job->preprocess, .upright = job->request->settings->orient};
}

/* Of every picture's file; "" where it cannot be read. */
static spade_status find_contents(evaluate_job *job)
{
    evaluate_fit *fit = &job->fit;
    spade_reader reader = open_reader(job);
    fit->contents = calloc((size_t)fit->inputs.count + 1, sizeof *fit->contents);
    if (!fit->contents) { return fail_memory(job); }
    for (int i = 0; i < fit->inputs.count; i++) {
        spade_input_fingerprint print;
        const spade_status status = spade_reader_fingerprint(&reader, &fit->inputs.items[i], &print);
        if (status == SPADE_ERROR_MEMORY) { return status; }
        if (status == SPADE_OK) { memcpy(fit->contents[i], print.content, sizeof print.content); }
    }
    spade_error_clear(job->context);
    return SPADE_OK;
}

/* Contents and labels, in their order. */
static spade_status find_fingerprint(evaluate_job *job)
{
    evaluate_fit *fit = &job->fit;
    json_t *all = json_array();
    for (int i = 0; i < fit->inputs.count; i++) {
        spade_json_append(&all, json_string(fit->contents[i]));
        spade_json_append(&all, json_integer(fit->labels[i]));
    }
    char *text = spade_json_dump(all, JSON_COMPACT);
    json_decref(all);
    if (!text) { return fail_memory(job); }
    const spade_mapping piece = {.data = (const uint8_t *)text, .size = strlen(text)};
    spade_fingerprint(&piece, 1, fit->fingerprint);
    free(text);
    return SPADE_OK;
}

typedef struct content {
    const char *print;
    const spade_input *input;
} content;

static int by_print(const void *left, const void *right)
{
    return strcmp(((const content *)left)->print, ((const content *)right)->print);
}

/* known: by their contents. Of the same picture one may be kept aside, and another fitted to. */
static spade_status warn_of_same_pictures(evaluate_job *job, const content *known)
{
    const content *first = NULL;
    int same = 0;
    for (int i = 1; i < job->fit.inputs.count; i++) {
        if (*known[i].print && strcmp(known[i].print, known[i - 1].print) == 0 && !same++) { first = &known[i]; }
    }
    if (!same) { return SPADE_OK; }
    return warn(job,
                "--fit %s: %d picture%s the same as another one in it (%s is %s): what is kept aside may be what was "
                "fitted to",
                job->request->fit, same, same == 1 ? " is" : "s are", first->input->file, first[-1].input->file);
}

/* A layer is best on the pictures that it was fitted to. */
static spade_status warn_of_overlap(evaluate_job *job)
{
    evaluate_fit *fit = &job->fit;
    spade_reader reader = open_reader(job);
    content *known = calloc((size_t)fit->inputs.count + 1, sizeof *known);
    const spade_input *first = NULL, *twin = NULL;
    int count = 0;
    if (!known) { return fail_memory(job); }
    for (int i = 0; i < fit->inputs.count; i++) { known[i] = (content){fit->contents[i], &fit->inputs.items[i]}; }
    qsort(known, (size_t)fit->inputs.count, sizeof *known, by_print);
    for (int i = 0; i < job->inputs.count; i++) {
        spade_input input = job->inputs.items[i];
        spade_input_fingerprint print;
        input.mask = NULL;
        if (spade_reader_fingerprint(&reader, &input, &print) != SPADE_OK) { continue; }
        const content wanted = {print.content, NULL};
        const content *found = bsearch(&wanted, known, (size_t)fit->inputs.count, sizeof *known, by_print);
        if (!found || count++) { continue; }
        first = &job->inputs.items[i];
        twin = found->input;
    }
    spade_error_clear(job->context);
    const spade_status status = warn_of_same_pictures(job, known);
    free(known);
    SPADE_TRY(status);
    if (count) {
        return warn(
            job,
            "--fit: %d of the %d pictures that are evaluated %s in it as well (%s is %s): sparse_fc was fitted to "
            "what it is evaluated on",
            count, job->inputs.count, count == 1 ? "is" : "are", first->file, twin->file);
    }
    return SPADE_OK;
}

static spade_status read_data_set(evaluate_job *job)
{
    evaluate_fit *fit = &job->fit;
    const char *path = job->request->fit;
    char *folder = (char *)(uintptr_t)path;
    int64_t folders;
    SPADE_TRY(spade_inputs_check_output(job->context, &folder, 1, true, job->request->output));
    SPADE_TRY(spade_manifest_read(job->context, path, &fit->inputs, &folders));
    SPADE_TRY(evaluate_read_labels(job, path, &fit->inputs, folders, &fit->labels));
    for (int i = 0; i < fit->inputs.count; i++) { /* masks are nothing to it */
        free(fit->inputs.items[i].mask);
        fit->inputs.items[i].mask = NULL;
    }
    SPADE_TRY(find_contents(job));
    SPADE_TRY(find_fingerprint(job));
    return warn_of_overlap(job);
}

/* ---- what can be refused before the work */

static uint64_t feature_bytes(const evaluate_job *job, int64_t pictures)
{
    return sizeof(float) * (uint64_t)pictures * (uint64_t)job->model->network.layers[job->fit.layer].columns;
}

static spade_status check_budget(const evaluate_job *job)
{
    const int64_t pictures = job->fit.inputs.count;
    const uint64_t need = feature_bytes(job, pictures) + spade_sparse_fc_bytes(job->model, job->fit.layer, pictures);
    const uint64_t left = spade_budget_left(job->context);
    char needed[32], there[32];
    if (need <= left) { return SPADE_OK; }
    return spade_fail(
        job->context, SPADE_ERROR_MEMORY,
        "--fit %s: %lld pictures of %lld features take %s, and %s are left: fewer pictures, or more --memory",
        job->request->fit, (long long)pictures, (long long)job->model->network.layers[job->fit.layer].columns,
        spade_format_bytes(need, needed), spade_format_bytes(left, there));
}

static spade_status warn_of_labels(evaluate_job *job)
{
    int unlabelled = 0;
    for (int i = 0; i < job->fit.inputs.count; i++) { unlabelled += job->fit.labels[i] < 0; }
    if (unlabelled && unlabelled < job->fit.inputs.count) {
        SPADE_TRY(warn(job, "--fit %s: %d of %d pictures have no label: they are fitted to the network's decision",
                       job->request->fit, unlabelled, job->fit.inputs.count));
    }
    if (spade_model_head(job->model) == SPADE_HEAD_SIGMOID && job->class_count > 2) {
        SPADE_TRY(warn(
            job,
            "sparse_fc: the network's scores are a sigmoid for each class, and the layer is fitted as a softmax over "
            "the classes"));
    }
    return SPADE_OK;
}

spade_status evaluate_fit_open(evaluate_job *job)
{
    evaluate_fit *fit = &job->fit;
    if (!fit->wanted) { return SPADE_OK; }
    fit->margin = job->request->fit_margin < 0 ? EVALUATE_FIT_MARGIN : job->request->fit_margin;
    const spade_status status = spade_sparse_fc_layer(job->context, job->model, &fit->layer);
    if (status != SPADE_OK) { return spade_fail_in(job->context, status, "--traces sparse_fc"); }
    SPADE_TRY(read_data_set(job));
    SPADE_TRY(check_budget(job));
    return warn_of_labels(job);
}

void evaluate_fit_close(evaluate_job *job)
{
    evaluate_fit *fit = &job->fit;
    spade_trace_destroy(fit->trace);
    json_decref(fit->record);
    json_decref(fit->warnings);
    spade_inputs_clear(&fit->inputs);
    free(fit->labels);
    free(fit->contents);
}

/* ---- features */

/* What is known of the pictures that could be read. */
typedef struct features {
    evaluate_job *job;
    spade_reader reader;
    int64_t columns, pixels, outputs;
    float *values; /* [inputs, columns] */
    float *images; /* [GROUP, pixels]: of a group, then their outputs [GROUP, outputs] */
    double *logits;
    int64_t *classes, *dense; /* [inputs] */
    int64_t count, unlabelled, unreadable;
    size_t value_bytes, image_bytes;
} features;

static spade_status open_features(features *f)
{
    evaluate_job *job = f->job;
    const spade_preprocess *p = &job->preprocess;
    const size_t count = (size_t)job->fit.inputs.count;
    void *memory;
    f->reader = open_reader(job);
    f->columns = job->model->network.layers[job->fit.layer].columns;
    f->pixels = p->channels * p->height * p->width;
    f->outputs = spade_model_outputs(job->model);
    f->logits = malloc(sizeof *f->logits * (size_t)job->class_count);
    f->classes = malloc(sizeof *f->classes * (count + 1));
    f->dense = malloc(sizeof *f->dense * (count + 1));
    if (!f->logits || !f->classes || !f->dense) { return fail_memory(job); }
    f->value_bytes = (size_t)feature_bytes(job, job->fit.inputs.count) + 1;
    SPADE_TRY(spade_alloc(job->context, f->value_bytes, "features of pictures", &memory));
    f->values = memory;
    f->image_bytes = sizeof *f->images * GROUP * (size_t)(f->pixels + f->outputs);
    SPADE_TRY(spade_alloc(job->context, f->image_bytes, "preprocessed pictures", &memory));
    f->images = memory;
    return SPADE_OK;
}

static void close_features(features *f)
{
    spade_reader_close(&f->reader);
    spade_free_bytes(f->job->context, f->values, f->value_bytes);
    spade_free_bytes(f->job->context, f->images, f->image_bytes);
    free(f->logits);
    free(f->classes);
    free(f->dense);
}

static int64_t find_top(const features *f, const float *outputs)
{
    int64_t top = 0;
    spade_model_scores(f->job->model, outputs, f->logits, NULL);
    for (int64_t i = 1; i < f->job->class_count; i++) {
        if (f->logits[i] > f->logits[top]) { top = i; }
    }
    return top;
}

/* The images of a group that can be read, side by side; which[i]: the input of the i-th. Returns how many. */
static spade_status load_group(features *f, int first, int count, int which[GROUP], int *out)
{
    const spade_input *inputs = f->job->fit.inputs.items + first;
    spade_image_item items[GROUP];
    spade_status statuses[GROUP], status = SPADE_OK;
    char *messages[GROUP];
    *out = 0;
    SPADE_TRY(spade_reader_load(&f->reader, inputs, count, items, statuses, messages));
    for (int i = 0; i < count; i++) {
        const bool same = strcmp(items[i].fingerprint.content, f->job->fit.contents[first + i]) == 0;
        if (statuses[i] == SPADE_OK && !same) { /* results are told apart by the contents that there were */
            status =
                spade_fail(f->job->context, SPADE_ERROR_INPUT, "--fit: %s: changed while it was read", inputs[i].file);
        } else if (statuses[i] == SPADE_OK) {
            memcpy(f->images + *out * f->pixels, items[i].input, sizeof *f->images * (size_t)f->pixels);
            which[(*out)++] = first + i;
        } else if (statuses[i] == SPADE_ERROR_MEMORY) {
            status = spade_fail(f->job->context, statuses[i], "%s", messages[i] ? messages[i] : "out of memory");
        } else {
            f->unreadable++;
            spade_log(f->job->context, SPADE_LOG_WARNING, "--fit: left out: %s",
                      messages[i] ? messages[i] : inputs[i].file);
        }
        spade_image_item_clear(f->job->context, &items[i]);
        free(messages[i]);
    }
    return status;
}

static spade_status compute_group(features *f, int first, int count)
{
    evaluate_job *job = f->job;
    float *outputs = f->images + GROUP * f->pixels;
    int which[GROUP], n;
    SPADE_TRY(load_group(f, first, count, which, &n));
    const int next = first + count, left = job->fit.inputs.count - next;
    if (left) {
        SPADE_TRY(spade_reader_prefetch(&f->reader, job->fit.inputs.items + next, left < GROUP ? left : GROUP));
    }
    if (!n) { return SPADE_OK; }
    const spade_status status = spade_sparse_fc_features(job->context, job->model, job->fit.layer, f->images, n,
                                                         f->values + f->count * f->columns, outputs);
    if (status != SPADE_OK) {
        return spade_fail_in(job->context, status, "--fit: %s and %d more", job->fit.inputs.items[which[0]].file,
                             n - 1);
    }
    for (int i = 0; i < n; i++) {
        const int64_t label = job->fit.labels[which[i]], top = find_top(f, outputs + i * f->outputs);
        f->dense[f->count] = top;
        f->classes[f->count++] = label < 0 ? top : label;
        f->unlabelled += label < 0;
    }
    return SPADE_OK;
}

static spade_status compute_features(features *f, bool *stopped)
{
    const spade_workload_events *events = f->job->events;
    const int count = f->job->fit.inputs.count;
    spade_workload_phase(events, "features", 0, 0);
    for (int first = 0; first < count; first += GROUP) {
        if (events && events->stop && events->stop(events->user)) {
            *stopped = true;
            return SPADE_OK;
        }
        SPADE_TRY(compute_group(f, first, count - first < GROUP ? count - first : GROUP));
    }
    return SPADE_OK;
}

/* ---- the fit */

static json_t *record_json(const evaluate_job *job, const spade_sparse_fc *fc, const features *f)
{
    json_t *object = json_object();
    spade_json_set(&object, "layer", spade_json_text(job->model->network.layers[fc->layer].name));
    spade_json_set(&object, "lambda", json_real(fc->lambda));
    spade_json_set(&object, "lambda_max", json_real(fc->lambda_max));
    spade_json_set(&object, "step", json_integer(fc->step));
    spade_json_set(&object, "steps", json_integer(SPARSE_FC_STEPS));
    spade_json_set(&object, "weights", json_integer(fc->nonzeros));
    spade_json_set(&object, "features", json_integer(fc->columns));
    spade_json_set(&object, "classes", json_integer(fc->classes));
    spade_json_set(&object, "empty_classes", json_integer(fc->empty));
    spade_json_set(&object, "weights_per_class",
                   json_real((double)fc->nonzeros / (double)(fc->rows == 1 ? 1 : fc->classes)));
    spade_json_set(&object, "fitted", json_integer(fc->fitted));
    spade_json_set(&object, "kept_aside", json_integer(fc->aside));
    spade_json_set(&object, "dense_accuracy", json_real((double)fc->dense_right / (double)fc->aside));
    spade_json_set(&object, "sparse_accuracy", json_real((double)fc->sparse_right / (double)fc->aside));
    spade_json_set(&object, "unlabelled", json_integer(f->unlabelled));
    spade_json_set(&object, "unreadable", json_integer(f->unreadable));
    return object;
}

static double number_in(const json_t *record, const char *key)
{
    return json_number_value(json_object_get(record, key));
}

/* What right means: without labels it is what the network decides, of which it itself is right by definition. */
static void describe_accuracy(const json_t *r, char *text, size_t size)
{
    const double sparse = 100 * number_in(r, "sparse_accuracy"), dense = 100 * number_in(r, "dense_accuracy"),
                 unlabelled = number_in(r, "unlabelled"), all = number_in(r, "fitted") + number_in(r, "kept_aside");
    if (unlabelled >= all && all > 0) {
        snprintf(text, size, "%.1f %% are decided as the network decides (no picture has a label)", sparse);
        return;
    }
    const int used =
        snprintf(text, size, "%.1f %% are decided as the label says, by the dense network %.1f %%", sparse, dense);
    if (unlabelled > 0 && used > 0 && (size_t)used < size) {
        snprintf(text + used, size - (size_t)used, " (as the network decides for the %.0f of all %.0f that have none)",
                 unlabelled, all);
    }
}

void evaluate_fit_describe(const evaluate_job *job, char *text, size_t size)
{
    const json_t *r = job->fit.record;
    char accuracy[200];
    describe_accuracy(r, accuracy, sizeof accuracy);
    snprintf(text, size,
             "lambda %.3g (step %.0f of %.0f), %.1f of %.0f weights a class; of %.0f pictures kept aside %s",
             number_in(r, "lambda"), number_in(r, "step") + 1, number_in(r, "steps"), number_in(r, "weights_per_class"),
             number_in(r, "features"), number_in(r, "kept_aside"), accuracy);
}

/* Also of a record that was read back. */
static spade_status say(evaluate_job *job, bool kept)
{
    const json_t *r = job->fit.record;
    const double missing = (double)job->class_count - number_in(r, "classes"), empty = number_in(r, "empty_classes"),
                 unreadable = number_in(r, "unreadable");
    char text[300];
    evaluate_fit_describe(job, text, sizeof text);
    spade_workload_note(job->events, "sparse_fc%s: %s", kept ? " (fitted before)" : "", text);
    if (unreadable > 0) {
        SPADE_TRY(warn(job, "--fit: %.0f of the %d pictures could not be read, and %s left out", unreadable,
                       job->fit.inputs.count, unreadable == 1 ? "is" : "are"));
    }
    if (missing > 0) {
        SPADE_TRY(warn(job, "--fit: no picture is of %.0f of the %lld classes: sparse_fc never decides for these",
                       missing, (long long)job->class_count));
    }
    if (empty > 0) {
        SPADE_TRY(warn(job, "sparse_fc: %.0f of the classes %s no weight left: maps of %s on it are 0, and say nothing",
                       empty, empty == 1 ? "has" : "have", empty == 1 ? "this one" : "these"));
    }
    return SPADE_OK;
}

bool evaluate_fit_is_empty(const evaluate_job *job, const spade_target *target)
{
    const spade_layer *layer = &job->model->network.layers[job->fit.layer];
    const float *weights = job->fit.trace ? spade_trace_weights(job->fit.trace, job->fit.layer) : NULL;
    if (!weights || target->contrast || target->class_index >= layer->rows) { return false; }
    const float *row = weights + target->class_index * layer->columns;
    return spade_count_zeros(row, layer->columns) == layer->columns;
}

static spade_status fit_layer(evaluate_job *job, const features *f, spade_sparse_fc *fc)
{
    const spade_sparse_fc_pictures pictures = {.count = f->count,
                                               .features = f->values,
                                               .classes = f->classes,
                                               .dense = f->dense,
                                               .margin = job->fit.margin,
                                               .seed = job->request->settings->seed};
    spade_workload_phase(job->events, "sparse_fc", 0, 0);
    spade_sparse_fc_clear(fc);
    const spade_status status = spade_sparse_fc_fit(job->context, job->model, job->fit.layer, &pictures, fc);
    if (status != SPADE_OK) { return spade_fail_in(job->context, status, "--fit %s", job->request->fit); }
    job->fit.record = record_json(job, fc, f);
    return job->fit.record ? evaluate_fit_write_file(job, fc) : fail_memory(job);
}

static spade_status make_layer(evaluate_job *job, spade_sparse_fc *fc, bool *stopped)
{
    features f = {.job = job};
    spade_status status;
    SPADE_GOTO(open_features(&f));
    SPADE_GOTO(compute_features(&f, stopped));
    if (!*stopped) { status = fit_layer(job, &f, fc); }
done:
    close_features(&f);
    return status;
}

spade_status evaluate_fit_run(evaluate_job *job, bool *stopped)
{
    spade_sparse_fc fc;
    bool kept = false;
    spade_status status;
    if (!job->fit.wanted) { return SPADE_OK; }
    SPADE_TRY(spade_sparse_fc_open(job->context, job->model, job->fit.layer, &fc));
    SPADE_GOTO(evaluate_fit_read_file(job, &fc, &kept));
    if (!kept) { SPADE_GOTO(make_layer(job, &fc, stopped)); }
    if (*stopped) { goto done; }
    SPADE_GOTO(spade_sparse_fc_trace(job->context, job->model, &fc, &job->fit.trace));
    status = say(job, kept);
done:
    spade_sparse_fc_clear(&fc);
    return status;
}

char *evaluate_fit_header(const evaluate_job *job)
{
    spade_json_error error;
    if (!job->fit.record) { return strdup(job->results.header); }
    json_t *header = spade_json_parse(job->results.header, strlen(job->results.header), &error);
    for (int i = 0; header && i < job->column_count; i++) {
        if (!job->columns[i].fitted) { continue; }
        json_t *column = json_array_get(json_object_get(header, "columns"), (size_t)i);
        if (json_object_set(column, "fit", job->fit.record) != 0) {
            json_decref(header);
            header = NULL;
        }
    }
    char *text = spade_json_dump(header, JSON_COMPACT);
    json_decref(header);
    return text;
}
