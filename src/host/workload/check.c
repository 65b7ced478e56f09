/*
 * check.c - the check workload: cascading randomisation of an input's maps. The layers' random weights are those of a trace, so
 * that the network stays what it is. Pictures of the maps: check_picture.c.
 */
#include <math.h>

#include "report/check_report.h"
#include "report/class_choice.h"
#include "workload/folder.h"
#include "workload/check_picture.h"
#include "workload/map_check.h"
#include "workload/pipeline.h"

typedef struct check_job {
    spade_context *context;
    const spade_check_request *request;
    const spade_workload_events *events;
    spade_model *model;
    spade_preprocess preprocess;
    class_names names;
    spade_method_choice *methods; /* [method_count] */
    int method_count;
    class_choice targets[SPADE_MAX_CLASSES]; /* [target_count] */
    int target_count;
    int layers, stages;
    int64_t class_count;
    spade_inputs inputs;
    explained_run run; /* the job as the report sees it */
    check_report report;
    spade_workload_outcome *outcome;
} check_job;

/* One input on its way. */
typedef struct checked_input {
    int64_t top;                             /* class of the highest logit */
    double score;                            /* of that class */
    spade_target targets[SPADE_MAX_CLASSES]; /* [target_count of the job] */
    json_t *result;                          /* owned */
} checked_input;

/* The maps of one method, while an input is worked on: of all targets. */
typedef struct method_maps {
    int64_t shape[3], size;
    float *original;
    json_t **similarity; /* [targets] lists, one element a stage */
    json_t **pictures;   /* likewise, of files; the first one is of the network's own map */
} method_maps;

/* An input's maps. */
typedef struct cascade {
    check_job *job;
    const workload_item *item;
    const spade_target *targets; /* [n] */
    int n;
    method_maps *methods; /* [method_count of the job] */
    float *block, *now;   /* all maps; of one method at the stage at hand */
    size_t bytes;         /* of the block */
    spade_trace *random;
    json_t *maps; /* list of them; NULL after a failed allocation */
} cascade;

/* ---- pictures, where there is a folder for them */

static check_picture picture_of(const cascade *c, int method, int index, int stage)
{
    return (check_picture){.run = &c->job->run,
                           .method = method,
                           .item = c->item,
                           .shape = c->methods[method].shape,
                           .target = c->n > 1 ? c->job->targets[index].label : NULL,
                           .stage = stage};
}

static spade_status draw(cascade *c, int method, int index, int stage, const float *map)
{
    const check_picture picture = picture_of(c, method, index, stage);
    char *file;
    if (!c->job->request->output) { return SPADE_OK; }
    SPADE_TRY(check_picture_draw(&picture, map, &file));
    spade_json_append(&c->methods[method].pictures[index], spade_json_text(file));
    free(file);
    return SPADE_OK;
}

/* Of an input that failed: its pictures would be taken for results. */
static void remove_pictures(const cascade *c, int made)
{
    if (!c->job->request->output || !c->methods) { return; }
    for (int m = 0; m < c->job->method_count; m++) {
        for (int i = 0; i < c->n * (c->job->stages + 1); i++) {
            const check_picture picture = picture_of(c, m, i % c->n, i / c->n);
            check_picture_remove(&picture);
        }
    }
    check_picture_remove_folder(&c->job->run, c->item, made);
}

/* ---- stages */

/* Layers that are random after so many stages. */
static int layers_after(const check_job *job, int stages)
{
    return (int)((int64_t)stages * job->layers / job->stages);
}

/* Number i of the layers that are randomised: the last one of the network comes first. */
static int layer_at(const check_job *job, int i)
{
    return job->layers - 1 - i;
}

static json_t *stages_json(const check_job *job)
{
    json_t *list = json_array();
    for (int s = 1; s <= job->stages; s++) {
        const int count = layers_after(job, s);
        spade_layer_info info;
        json_t *stage = json_object();
        spade_model_layer(job->model, layer_at(job, count - 1), &info);
        spade_json_set(&stage, "layer", spade_json_text(info.name));
        spade_json_set(&stage, "layers", json_integer(count));
        spade_json_append(&list, stage);
    }
    return list;
}

/* ---- before the cascade: the network's own maps */

static spade_status open_maps(cascade *c)
{
    check_job *job = c->job;
    int64_t numbers = 0, largest = 0;
    void *memory;
    c->methods = calloc((size_t)job->method_count + 1, sizeof *c->methods);
    if (!c->methods) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int m = 0; m < job->method_count; m++) {
        method_maps *maps = &c->methods[m];
        SPADE_TRY(spade_attribution_map_shape(job->context, job->model, job->methods[m].attribution, maps->shape));
        maps->size = maps->shape[0] * maps->shape[1] * maps->shape[2];
        numbers += c->n * maps->size;
        largest = maps->size > largest ? maps->size : largest;
        maps->similarity = calloc((size_t)c->n + 1, sizeof(json_t *));
        maps->pictures = calloc((size_t)c->n + 1, sizeof(json_t *));
        if (!maps->similarity || !maps->pictures) {
            return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
        }
    }
    c->bytes = sizeof(float) * (size_t)(numbers + c->n * largest);
    SPADE_TRY(spade_alloc(job->context, c->bytes, "maps", &memory));
    c->block = memory;
    c->now = c->block + numbers;
    for (int m = 0; m < job->method_count; m++) {
        c->methods[m].original = m ? c->methods[m - 1].original + c->n * c->methods[m - 1].size : c->block;
    }
    return SPADE_OK;
}

static void close_maps(cascade *c)
{
    for (int m = 0; c->methods && m < c->job->method_count; m++) {
        method_maps *maps = &c->methods[m];
        for (int i = 0; maps->similarity && i < c->n; i++) { json_decref(maps->similarity[i]); }
        for (int i = 0; maps->pictures && i < c->n; i++) { json_decref(maps->pictures[i]); }
        free((void *)maps->similarity);
        free((void *)maps->pictures);
    }
    free(c->methods);
    spade_free_bytes(c->job->context, c->block, c->bytes);
    spade_trace_destroy(c->random);
    json_decref(c->maps);
}

/* What is known of a map of the network, and what its method promises of it; goes to the list. */
static spade_status describe_original(cascade *c, int method, int index, const spade_map_note *note)
{
    check_job *job = c->job;
    const spade_target *target = &c->targets[index];
    const map_check check = {.model = job->model,
                             .attribution = job->methods[method].attribution,
                             .input = c->item->image->input,
                             .target = target,
                             .delta = note->delta,
                             .difference = note->difference};
    char text[EXPLAINED_MAP_TEXT];
    json_t *found;
    SPADE_TRY(map_check_run(job->context, &check, &found));
    map_check_warn(job->context, explained_map_text(&job->run, c->item->input->name, DENSE, method, target, text),
                   found);
    json_t *object = explained_map_json(&job->run, method, target);
    if (found) { spade_json_set(&object, "check", found); }
    spade_json_append(&c->maps, object);
    return SPADE_OK;
}

static spade_status make_original(cascade *c, int method)
{
    check_job *job = c->job;
    method_maps *maps = &c->methods[method];
    spade_map_note notes[SPADE_MAX_CLASSES];
    SPADE_TRY(spade_attribute(job->context, job->model, NULL, job->methods[method].attribution, c->item->image->input,
                              c->targets, c->n, maps->original, notes));
    for (int i = 0; i < c->n; i++) {
        SPADE_TRY(describe_original(c, method, i, &notes[i]));
        maps->similarity[i] = json_array();
        maps->pictures[i] = json_array();
        SPADE_TRY(draw(c, method, i, 0, maps->original + i * maps->size));
    }
    return SPADE_OK;
}

/* ---- the cascade */

static json_t *similarity_json(const spade_similarity *similarity)
{
    json_t *object = json_object();
    spade_json_set(&object, "spearman", spade_json_number(similarity->spearman));
    spade_json_set(&object, "spearman_abs", spade_json_number(similarity->spearman_abs));
    spade_json_set(&object, "ssim", spade_json_number(similarity->ssim));
    return object;
}

/* The maps of a method at the stage at hand, against the network's own. Where random weights make no finite numbers, there is
 * nothing to compare. */
static spade_status compare(cascade *c, int method, int stage)
{
    check_job *job = c->job;
    method_maps *maps = &c->methods[method];
    spade_status status = spade_attribute(job->context, job->model, c->random, job->methods[method].attribution,
                                          c->item->image->input, c->targets, c->n, c->now, NULL);
    const bool finite = status != SPADE_ERROR_NUMERICAL;
    if (!finite) {
        spade_log(job->context, SPADE_LOG_WARNING, "%s: with random weights: %s", c->item->input->title,
                  spade_message(job->context));
        spade_error_clear(job->context);
        status = SPADE_OK;
    }
    for (int i = 0; i < c->n && status == SPADE_OK; i++) {
        spade_similarity found = {NAN, NAN, NAN};
        float *now = c->now + i * maps->size;
        if (finite) {
            status = spade_map_similarity(job->context, maps->original + i * maps->size, now, maps->shape, &found);
        } else {
            memset(now, 0, sizeof *now * (size_t)maps->size);
        }
        spade_json_append(&maps->similarity[i], similarity_json(&found));
        if (status == SPADE_OK) { status = draw(c, method, i, stage + 1, now); }
    }
    return status;
}

static spade_status run_stage(cascade *c, int stage, double from, double to)
{
    check_job *job = c->job;
    for (int i = layers_after(job, stage); i < layers_after(job, stage + 1); i++) {
        SPADE_TRY(spade_trace_randomise(job->context, c->random, layer_at(job, i), job->request->settings->seed));
    }
    for (int m = 0; m < job->method_count; m++) {
        const double step = (to - from) / job->method_count;
        spade_workload_phase(job->events, spade_attribution_method(job->methods[m].attribution)->name, from + step * m,
                             from + step * (m + 1));
        SPADE_TRY(compare(c, m, stage));
    }
    return SPADE_OK;
}

/* Of the last stage, at which all layers are random. New reference. */
static json_t *verdict_json(const json_t *similarity)
{
    const json_t *last = json_array_get(similarity, json_array_size(similarity) - 1);
    const double correlation =
        fmax(fabs(spade_json_real_at(last, "spearman")), fabs(spade_json_real_at(last, "spearman_abs")));
    json_t *object = json_object();
    spade_json_set(&object, "level", json_real(SPADE_CHECK_LEVEL));
    spade_json_set(&object, "correlation", spade_json_number(correlation));
    spade_json_set(&object, "follows",
                   isnan(correlation) ? json_null() : json_boolean(correlation < SPADE_CHECK_LEVEL));
    return object;
}

/* To the maps what was found stage by stage. */
static spade_status finish_maps(cascade *c)
{
    for (int m = 0; m < c->job->method_count; m++) {
        for (int i = 0; i < c->n; i++) {
            json_t *map = json_incref(json_array_get(c->maps, (size_t)m * (size_t)c->n + (size_t)i));
            json_t **lists[] = {&c->methods[m].similarity[i], &c->methods[m].pictures[i]};
            spade_json_set(&map, "verdict", verdict_json(*lists[0]));
            spade_json_set(&map, "similarity", *lists[0]);
            *lists[0] = NULL;
            if (c->job->request->output) {
                spade_json_set(&map, "pictures", *lists[1]);
                *lists[1] = NULL;
            }
            if (!map) { return spade_fail(c->job->context, SPADE_ERROR_MEMORY, "out of memory"); }
            json_decref(map);
        }
    }
    return SPADE_OK;
}

static spade_status run_cascade(cascade *c)
{
    check_job *job = c->job;
    const double step = (c->item->to - c->item->from) / (job->stages + 1);
    c->maps = json_array();
    SPADE_TRY(open_maps(c));
    for (int m = 0; m < job->method_count; m++) {
        spade_workload_phase(job->events, spade_attribution_method(job->methods[m].attribution)->name,
                             c->item->from + step * m / job->method_count,
                             c->item->from + step * (m + 1) / job->method_count);
        SPADE_TRY(make_original(c, m));
    }
    SPADE_TRY(spade_trace_create_empty(job->context, job->model, &c->random));
    for (int s = 0; s < job->stages; s++) {
        SPADE_TRY(run_stage(c, s, c->item->from + step * (s + 1), c->item->from + step * (s + 2)));
    }
    return finish_maps(c);
}

static json_t *input_json(const check_job *job, const workload_item *item, const checked_input *input, json_t *maps)
{
    json_t *all = json_object(), *dense = explained_class_json(&job->run, input->top);
    spade_json_set(&dense, "score", spade_json_number(input->score));
    spade_json_set(&all, "file", spade_json_text(item->input->file));
    if (item->input->index >= 0) { spade_json_set(&all, "index", json_integer(item->input->index)); }
    spade_json_set(&all, "name", spade_json_text(item->input->name));
    spade_json_set(&all, "dense", dense);
    spade_json_set(&all, "stages", stages_json(job));
    spade_json_set(&all, "maps", json_incref(maps));
    spade_json_set(&all, "weights", json_string("normal, mean 0, root mean square of the layer's own"));
    spade_json_set(&all, "version", json_string(spade_version()));
    spade_json_set(&all, "model", spade_json_text(job->request->model));
    spade_json_set(&all, "configuration", spade_settings_json(job->request->settings));
    return all;
}

/* ---- the loop's consumer */

static spade_status find_class(void *user, const workload_item *item, void *state)
{
    check_job *job = user;
    checked_input *input = state;
    const int64_t outputs = spade_model_outputs(job->model), count = job->class_count;
    float *output = malloc(sizeof *output * (size_t)outputs);
    double *logits = calloc((size_t)count * 2, sizeof *logits), *scores = logits ? logits + count : NULL;
    spade_status status;
    if (!output || !logits) { SPADE_GOTO(spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory")); }
    SPADE_GOTO(spade_model_forward(job->context, job->model, NULL, item->image->input, 1, output));
    spade_model_scores(job->model, output, logits, scores);
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(logits[i])) {
            SPADE_GOTO(spade_fail(job->context, SPADE_ERROR_NUMERICAL, "%s: the network's output is not finite",
                                  item->input->title));
        }
        if (logits[i] > logits[input->top]) { input->top = i; }
    }
    input->score = scores[input->top];
    for (int i = 0; i < job->target_count; i++) {
        SPADE_GOTO(class_choice_target(job->context, &job->targets[i], logits, count, &input->targets[i]));
    }
done:
    free(output);
    free(logits);
    return status;
}

static spade_status process(void *user, const workload_item *item, void *state)
{
    check_job *job = user;
    checked_input *input = state;
    cascade c = {.job = job, .item = item, .targets = input->targets, .n = job->target_count};
    int made;
    spade_status status = check_picture_folder(&job->run, item, &made);
    if (status == SPADE_OK) { status = run_cascade(&c); }
    if (status == SPADE_OK) {
        input->result = input_json(job, item, input, c.maps);
        if (!input->result) {
            status = spade_fail(job->context, SPADE_ERROR_MEMORY, "%s: out of memory", item->input->title);
        }
    }
    if (status != SPADE_OK) { remove_pictures(&c, made); }
    close_maps(&c);
    return status;
}

static spade_status record(void *user, const workload_item *item, void *state)
{
    check_job *job = user;
    const checked_input *input = state;
    (void)item;
    job->outcome->done++;
    if (job->events && job->events->result) { job->events->result(job->events->user, input->result); }
    return job->request->output ? check_report_add(&job->report, input->result) : SPADE_OK;
}

static spade_status failed(void *user, const spade_input *input, const char *message)
{
    check_job *job = user;
    (void)input;
    job->outcome->failed++;
    if (job->request->output) { check_report_add_failure(&job->report, message); }
    if (job->events && job->events->failed) { job->events->failed(job->events->user, message); }
    return SPADE_OK;
}

static void clear(void *state)
{
    json_decref(((checked_input *)state)->result);
}

/* ---- the job */

static spade_status check_request(const check_job *job)
{
    if (!job->layers) {
        return spade_fail(job->context, SPADE_ERROR_INPUT, "%s: no layer has weights that could be random",
                          job->request->model);
    }
    if (job->request->stages > job->layers) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--stages %d: the network has %d layers with weights",
                          job->request->stages, job->layers);
    }
    return SPADE_OK;
}

static spade_status job_open(check_job *job)
{
    spade_context *context = job->context;
    const spade_check_request *request = job->request;
    spade_model_options options;
    int64_t shape[3];
    spade_settings_model_options(request->settings, &options);
    spade_inputs_guess_size(context, request->inputs, request->input_count, NULL, &options);
    SPADE_TRY(spade_model_load(context, request->model, &options, &job->model));
    SPADE_TRY(spade_settings_preprocess(context, request->settings, job->model, &job->preprocess));
    SPADE_TRY(class_names_load(context, request->labels, job->model, &job->names));
    SPADE_TRY(class_choices_read(context, spade_settings_classes(request->settings), &job->names, job->targets));
    job->target_count = spade_settings_classes(request->settings)->count;
    SPADE_TRY(spade_settings_methods(context, request->settings, &job->methods, &job->method_count));
    for (int i = 0; i < job->method_count; i++) {
        SPADE_TRY(spade_attribution_set_preprocess(context, job->methods[i].attribution, &job->preprocess));
        SPADE_TRY(spade_attribution_map_shape(context, job->model, job->methods[i].attribution, shape));
    }
    job->layers = spade_model_layer_count(job->model);
    job->stages = request->stages ? request->stages : job->layers;
    job->class_count = spade_model_classes(job->model);
    SPADE_TRY(check_request(job));
    job->run = (explained_run){.context = context,
                               .folder = request->output,
                               .model = request->model,
                               .settings = request->settings,
                               .names = &job->names,
                               .methods = job->methods,
                               .method_count = job->method_count,
                               .class_count = job->class_count};
    if (request->output) {
        SPADE_TRY(spade_inputs_check_output(context, request->inputs, request->input_count, request->recursive,
                                            request->output));
    }
    if (request->output) { SPADE_TRY(spade_folder_check_kind(context, request->output, false)); }
    if (request->output) { SPADE_TRY(check_report_open(&job->run, &job->report)); }
    SPADE_TRY(spade_inputs_collect(context, request->inputs, request->input_count, request->recursive,
                                   job->preprocess.channels, job->preprocess.height, job->preprocess.width,
                                   &job->inputs));
    spade_settings_use use = {.draws = true, .methods = job->methods, .method_count = job->method_count};
    for (int i = 0; i < job->inputs.count; i++) { use.pictures = use.pictures || job->inputs.items[i].index < 0; }
    spade_settings_warn_unused(context, request->settings, &use);
    return SPADE_OK;
}

static void job_close(check_job *job)
{
    check_report_close(&job->report);
    spade_inputs_clear(&job->inputs);
    class_names_clear(&job->names);
    spade_method_choices_destroy(job->methods, job->method_count);
    spade_model_destroy(job->model);
}

/* Of all maps of an input. */
static double count_passes(const check_job *job)
{
    double passes = 0;
    for (int i = 0; i < job->method_count; i++) {
        passes += spade_attribution_passes(job->model, job->methods[i].attribution);
    }
    return passes * job->target_count * (job->stages + 1);
}

spade_status spade_check(spade_context *context, const spade_check_request *request,
                         const spade_workload_events *events, spade_workload_outcome *outcome)
{
    check_job job = {.context = context, .request = request, .events = events, .outcome = outcome};
    *outcome = (spade_workload_outcome){0};
    spade_status status = job_open(&job);
    if (status == SPADE_OK) {
        const workload_plan plan = {.context = context,
                                    .model = job.model,
                                    .preprocess = &job.preprocess,
                                    .upright = request->settings->orient,
                                    .augment = &request->settings->augment,
                                    .passes = count_passes(&job),
                                    .in_flight = 1,
                                    .events = events};
        const workload_consumer consumer = {.user = &job,
                                            .state_bytes = sizeof(checked_input),
                                            .dense = find_class,
                                            .process = process,
                                            .record = record,
                                            .failed = failed,
                                            .clear = clear};
        status = workload_run(&plan, &job.inputs, &consumer, &outcome->stopped);
    }
    job.report.stopped = outcome->stopped || status != SPADE_OK;
    if (request->output && workload_reports(request->output, "check.html", outcome)) {
        spade_error error;
        spade_error_save(context, &error);
        const spade_status saved = check_report_save(&job.report);
        if (status != SPADE_OK) { spade_error_restore(context, &error); }
        if (status == SPADE_OK) { status = saved; }
    }
    job_close(&job);
    return status;
}
