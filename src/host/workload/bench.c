/*
 * bench.c - the bench workload: every step from the file to maps of the network and of its trace, done again and again.
 *
 * A round does all steps once; the first rounds warm caches, plans and memory, and are not measured. Steps that are the library's
 * stages take their seconds from spade_usage().
 */
#include <math.h>
#include <sys/resource.h>

#include "backend/backend.h"
#include "report/class_choice.h"
#include "report/report.h"
#include "workload/trace_input.h"
#include "workload/workload.h"
#include "workload/unread_options.h"

enum { MAX_ROWS = 512 };

/* One line of the table. */
typedef struct bench_row {
    char *name;
    double *seconds; /* [repeat] */
    uint64_t memory; /* 0: nothing is known */
} bench_row;

typedef struct bench_job {
    spade_context *context;
    const spade_bench_request *request;
    const spade_workload_events *events;
    spade_model *model;
    class_names names;
    spade_preprocess preprocess;
    spade_method_choice *methods; /* [method_count] */
    int method_count;
    class_choice target;
    spade_image_item item; /* of the request's input */
    float *noise;          /* [C, H, W], in its place */
    bench_row rows[MAX_ROWS];
    int row_count;
    int round; /* below 0: it warms up */
} bench_job;

static spade_status fail_memory(const bench_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

/* ---- rows */

/* What a step took in this round. Rows are told by their names. */
static spade_status note(bench_job *job, const char *name, double seconds, uint64_t memory)
{
    if (job->round < 0) { return SPADE_OK; }
    int row = 0;
    while (row < job->row_count && strcmp(job->rows[row].name, name) != 0) { row++; }
    if (row == MAX_ROWS) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "more than %d steps to measure", MAX_ROWS);
    }
    bench_row *own = &job->rows[row];
    if (row == job->row_count) {
        *own = (bench_row){.name = strdup(name), .seconds = calloc((size_t)job->request->repeat, sizeof *own->seconds)};
        job->row_count++;
        if (!own->name || !own->seconds) { return fail_memory(job); }
    }
    own->seconds[job->round] = seconds;
    own->memory = memory > own->memory ? memory : own->memory;
    return SPADE_OK;
}

static int by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* In place: the seconds are sorted afterwards. */
static double median(double *seconds, int n)
{
    qsort(seconds, (size_t)n, sizeof *seconds, by_value);
    return n % 2 ? seconds[n / 2] : 0.5 * (seconds[n / 2 - 1] + seconds[n / 2]);
}

static json_t *row_json(const bench_row *row, int n)
{
    json_t *object = json_object(), *all = json_array();
    for (int i = 0; i < n; i++) { spade_json_append(&all, json_real(row->seconds[i])); }
    spade_json_set(&object, "name", json_string(row->name));
    spade_json_set(&object, "seconds", all);
    spade_json_set(&object, "median", json_real(median(row->seconds, n)));
    spade_json_set(&object, "least", json_real(row->seconds[0]));
    spade_json_set(&object, "most", json_real(row->seconds[n - 1]));
    spade_json_set(&object, "memory", row->memory ? json_integer((json_int_t)row->memory) : json_null());
    return object;
}

/* ---- steps */

static const float *input_of(const bench_job *job)
{
    return job->item.input ? job->item.input : job->noise;
}

/* Uniform numbers where a picture's may lie. */
static spade_status make_noise(bench_job *job)
{
    const spade_preprocess *p = &job->preprocess;
    const int64_t pixels = p->height * p->width, size = p->channels * pixels;
    const uint32_t key[2] = {(uint32_t)job->request->settings->seed, 0x6e6f6973};
    job->noise = malloc(sizeof *job->noise * (size_t)size);
    if (!job->noise) { return fail_memory(job); }
    for (int64_t i = 0; i < size; i++) {
        const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), 0, 0};
        const int64_t channel = i / pixels;
        const double mean = channel < 3 ? p->mean[channel] : p->band_mean,
                     std = channel < 3 ? p->std[channel] : p->band_std;
        uint32_t random[4];
        spade_philox(key, counter, random);
        job->noise[i] = (float)((spade_uniform(random[0], random[1]) - mean) / std);
    }
    return SPADE_OK;
}

static trace_input input_wanted(const bench_job *job)
{
    return (trace_input){.input = job->request->input, .settings = job->request->settings};
}

static spade_status load_model(bench_job *job)
{
    const trace_input wanted = input_wanted(job);
    spade_model_destroy(job->model);
    job->model = NULL;
    const double start = spade_now();
    SPADE_TRY(trace_input_load_model(job->context, job->request->model, &wanted, &job->model));
    return note(job, "load", spade_now() - start, 0);
}

static spade_status find_target(bench_job *job, spade_target *out)
{
    const int64_t classes = spade_model_classes(job->model);
    float *outputs = malloc(sizeof *outputs * (size_t)spade_model_outputs(job->model));
    double *logits = malloc(sizeof *logits * (size_t)classes);
    spade_status status = outputs && logits ? SPADE_OK : fail_memory(job);
    for (int again = 0; again < 2 && status == SPADE_OK; again++) { /* the first one also plans, and packs weights */
        const double start = spade_now();
        status = spade_model_forward(job->context, job->model, NULL, input_of(job), 1, outputs);
        if (status == SPADE_OK) {
            status = note(job, again ? "forward pass" : "first forward pass", spade_now() - start, 0);
        }
    }
    if (status == SPADE_OK) {
        spade_model_scores(job->model, outputs, logits, NULL);
        status = class_choice_target(job->context, &job->target, logits, classes, out);
    }
    free(outputs);
    free(logits);
    return status;
}

static spade_status find_trace(bench_job *job, spade_trace **out)
{
    const spade_settings *settings = job->request->settings;
    spade_stage_usage usage[SPADE_STAGE_COUNT];
    spade_batch *batch = NULL;
    spade_status status;
    spade_usage_reset(job->context);
    const double start = spade_now();
    if (job->item.input) {
        status = spade_image_item_batch(job->context, &job->item, &job->preprocess, &settings->augment, &batch);
    } else {
        status = spade_batch_from_tensor(job->context, job->noise, &job->preprocess, &settings->augment, &batch);
    }
    const float *sample = job->item.input ? job->item.input : job->noise;
    if (status == SPADE_OK) {
        status = spade_hold_out_variants(job->context, batch, false, sample, &settings->trace, 1);
    }
    if (status == SPADE_OK) { status = spade_trace_create(job->context, job->model, batch, &settings->trace, out); }
    const double seconds = spade_now() - start;
    spade_batch_destroy(batch);
    SPADE_TRY(status);
    spade_usage(job->context, usage);
    for (int i = 0; i < SPADE_STAGE_COUNT; i++) {
        SPADE_TRY(note(job, spade_stage_name((spade_stage)i), usage[i].seconds, usage[i].memory));
    }
    return note(job, "picture to trace", seconds, 0);
}

/* The map of each method, of the network or of a trace. */
static spade_status make_maps(bench_job *job, const spade_trace *trace, const spade_target *target)
{
    for (int i = 0; i < job->method_count; i++) {
        const spade_attribution *attribution = job->methods[i].attribution;
        const char *options = job->methods[i].options;
        int64_t shape[3];
        char name[300];
        SPADE_TRY(spade_attribution_map_shape(job->context, job->model, attribution, shape));
        float *map = malloc(sizeof *map * (size_t)(shape[0] * shape[1] * shape[2]));
        if (!map) { return fail_memory(job); }
        const double start = spade_now();
        spade_status status =
            spade_attribute(job->context, job->model, trace, attribution, input_of(job), target, 1, map, NULL);
        const double seconds = spade_now() - start;
        free(map);
        SPADE_TRY(status);
        snprintf(name, sizeof name, "%s%s%.200s, %s", spade_attribution_method(attribution)->name, options ? ":" : "",
                 options ? options : "", trace ? "trace" : "dense");
        SPADE_TRY(note(job, name, seconds, 0));
    }
    return SPADE_OK;
}

static spade_status run_round(bench_job *job)
{
    spade_target target;
    spade_trace *trace = NULL;
    spade_status status;
    if (job->round > -job->request->warm_up) { SPADE_TRY(load_model(job)); } /* the first one is loaded already */
    SPADE_TRY(find_target(job, &target));
    if (job->request->trace) { SPADE_GOTO(find_trace(job, &trace)); }
    SPADE_GOTO(make_maps(job, NULL, &target));
    if (trace) { status = make_maps(job, trace, &target); }
done:
    spade_trace_destroy(trace);
    return status;
}

/* ---- the job */

static spade_status job_open(bench_job *job)
{
    spade_context *context = job->context;
    const spade_bench_request *request = job->request;
    const spade_names *classes = spade_settings_classes(request->settings);
    if (classes->count > 1) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "--class: bench explains one class"); }
    if (request->settings->checkpoint) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "--checkpoint: what was solved before takes no time; leave it out");
    }
    SPADE_TRY(load_model(job));
    SPADE_TRY(spade_settings_preprocess(context, request->settings, job->model, &job->preprocess));
    SPADE_TRY(class_names_load(context, request->labels, job->model, &job->names));
    SPADE_TRY(class_choices_read(context, classes, &job->names, &job->target));
    SPADE_TRY(spade_settings_methods(context, request->settings, &job->methods, &job->method_count));
    for (int i = 0; i < job->method_count; i++) {
        SPADE_TRY(spade_attribution_set_preprocess(context, job->methods[i].attribution, &job->preprocess));
    }
    if (request->trace) {
        SPADE_TRY(spade_settings_check_trace(context, request->settings, job->model, &request->settings->trace));
    }
    unread_options unread;
    unread_options_find(context, job->model, &request->settings->trace, &unread);
    const spade_settings_use use = {.unread = unread.names,
                                    .trace = request->trace,
                                    .draws = !request->input, /* the noise that is the input */
                                    .pictures = request->input && !spade_is_array_path(request->input),
                                    .methods = job->methods,
                                    .method_count = job->method_count};
    spade_settings_warn_unused(context, request->settings, &use);
    const trace_input wanted = input_wanted(job);
    return request->input ? trace_input_load(context, &wanted, &job->preprocess, &job->item) : make_noise(job);
}

static void job_close(bench_job *job)
{
    for (int i = 0; i < job->row_count; i++) {
        free(job->rows[i].name);
        free(job->rows[i].seconds);
    }
    free(job->noise);
    spade_image_item_clear(job->context, &job->item);
    spade_method_choices_destroy(job->methods, job->method_count);
    class_names_clear(&job->names);
    spade_model_destroy(job->model);
}

static json_t *result_json(const bench_job *job)
{
    const spade_bench_request *request = job->request;
    const spade_preprocess *p = &job->preprocess;
    const int64_t shape[3] = {p->channels, p->height, p->width};
    char libraries[1024];
    struct rusage usage;
    json_t *object = json_object(), *rows = json_array();
    for (int i = 0; i < job->row_count; i++) { spade_json_append(&rows, row_json(&job->rows[i], request->repeat)); }
    spade_library_versions(libraries, sizeof libraries);
    spade_json_set(&object, "version", json_string(spade_version()));
    spade_json_set(&object, "libraries", spade_json_text(libraries));
    spade_json_set(&object, "model", spade_json_text(request->model));
    spade_json_set(&object, "input", request->input ? spade_json_text(request->input) : json_null());
    spade_json_set(&object, "device", json_string(job->context->device->backend->name));
    spade_json_set(&object, "threads", json_integer(job->context->threads));
    spade_json_set(&object, "shape", spade_json_integers(shape, 3));
    spade_json_set(&object, "variants", json_integer(request->settings->augment.variants));
    spade_json_set(&object, "repeat", json_integer(request->repeat));
    spade_json_set(&object, "warm_up", json_integer(request->warm_up));
    spade_json_set(&object, "rows", rows);
    spade_json_set(&object, "peak_memory", json_integer((json_int_t)job->context->peak));
    const bool known = getrusage(RUSAGE_SELF, &usage) == 0; /* ru_maxrss: KiB */
    spade_json_set(&object, "resident_memory", known ? json_integer((json_int_t)usage.ru_maxrss * 1024) : json_null());
    spade_json_set(&object, "configuration", spade_settings_json(request->settings));
    return object;
}

spade_status spade_bench(spade_context *context, const spade_bench_request *request,
                         const spade_workload_events *events, json_t **result)
{
    bench_job job = {.context = context, .request = request, .events = events, .round = -request->warm_up};
    const double rounds = request->repeat + request->warm_up, worth_saying = 10; /* seconds */
    spade_status status = SPADE_OK;
    *result = NULL;
    SPADE_GOTO(job_open(&job));
    for (; job.round < request->repeat; job.round++) {
        const double done = job.round + request->warm_up;
        spade_workload_phase(events, job.round < 0 ? "warm-up" : "measured", done / rounds, (done + 1) / rounds);
        const double start = spade_now(), left = rounds - done - 1;
        SPADE_GOTO(run_round(&job));
        const double seconds = spade_now() - start;
        if (done == 0 && left * seconds >= worth_saying) {
            spade_workload_note(events, "a round takes %.1f s, %.0f more about %.0f s", seconds, left, left * seconds);
        }
    }
    *result = result_json(&job);
    if (!*result) { SPADE_GOTO(fail_memory(&job)); }
done:
    job_close(&job);
    return status;
}
