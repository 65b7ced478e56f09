/*
 * visualize.c - the visualize job: feature visualisation of neurons, of the dense network and of a trace, in one picture.
 *
 *   the file: pictures with GAP white pixels between them; a row a neuron with a trace, else as square as it can be
 */
#include "spade/visualize.h"

#include "base/json.h"
#include "base/number.h"
#include "report/class_choice.h"
#include "workload/trace_input.h"
#include "workload/trace_warnings.h"
#include "workload/unread_options.h"

enum { GAP = 4, MAX_NEURONS = 256 };

typedef struct visualize_job {
    spade_context *context;
    const spade_visualize_request *request;
    const spade_workload_events *events;
    spade_model *model;
    spade_trace *trace; /* NULL: none is wanted */
    spade_preprocess preprocess;
    class_names names;
    spade_visualize_options options;
    spade_objective *objectives; /* [neuron_count]; their layers are these: */
    char **layers;
    int64_t shape[3]; /* of a picture */
    int64_t rows, columns;
    uint8_t *canvas; /* [canvas_height, canvas_width, 3] */
    int64_t canvas_height, canvas_width;
    size_t canvas_bytes;
} visualize_job;

/* ---- neurons */

/* LAYER:INDEX, cut at the last colon, or class:N, N a number or a name. *layer: the caller's to free. */
static spade_status parse_neuron(const visualize_job *job, const char *text, char **layer, spade_objective *out)
{
    static const char class_prefix[] = "class:";
    const char *colon = strrchr(text, ':');
    if (strncmp(text, class_prefix, strlen(class_prefix)) == 0) {
        if (spade_parse_integer(text + strlen(class_prefix), &out->index)) { return SPADE_OK; }
        const spade_status status = class_of_label(job->context, text + strlen(class_prefix), &job->names, &out->index);
        if (status != SPADE_ERROR_INPUT) { return status; }
        spade_fail_in(job->context, SPADE_ERROR_ARGUMENT, "--neuron %.100s", text);
        return SPADE_ERROR_ARGUMENT;
    }
    if (!colon || colon == text || !spade_parse_integer(colon + 1, &out->index)) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "'%.200s' is neither LAYER:INDEX nor class:N", text);
    }
    *layer = strndup(text, (size_t)(colon - text));
    if (!*layer) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    out->layer = *layer;
    out->neuron = job->request->central;
    return SPADE_OK;
}

static spade_status parse_neurons(visualize_job *job)
{
    const int count = job->request->neuron_count;
    if (count < 1 || count > MAX_NEURONS) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "%d neurons: 1 to %d can be in a picture", count,
                          MAX_NEURONS);
    }
    job->objectives = calloc((size_t)count, sizeof *job->objectives);
    job->layers = calloc((size_t)count, sizeof *job->layers);
    if (!job->objectives || !job->layers) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < count; i++) {
        SPADE_TRY(parse_neuron(job, job->request->neurons[i], &job->layers[i], &job->objectives[i]));
        SPADE_TRY(spade_visualize_shape(job->context, job->model, &job->objectives[i], &job->options, job->shape));
    }
    return SPADE_OK;
}

static void set_options(visualize_job *job)
{
    const spade_visualize_request *request = job->request;
    int64_t channels, height, width;
    spade_visualize_options_init(&job->options);
    spade_model_input(job->model, &channels, &height, &width);
    job->options.height = job->options.width = request->size;
    if (request->size && request->size <= SPADE_MAX_VISUALIZE_SIDE) { /* a larger one is refused with its number */
        const int64_t shorter = height < width ? height : width;
        job->options.height = (height * request->size + shorter / 2) / shorter;
        job->options.width = (width * request->size + shorter / 2) / shorter;
    }
    if (request->steps) { job->options.steps = request->steps; }
    job->options.seed = request->settings->seed;
    job->options.still = request->still;
    job->options.preprocess = &job->preprocess;
}

/* ---- the canvas */

static int64_t square_root_above(int64_t n)
{
    int64_t root = 1;
    while (root * root < n) { root++; }
    return root;
}

static spade_status make_canvas(visualize_job *job, bool with_trace)
{
    const int64_t count = job->request->neuron_count;
    void *canvas;
    job->columns = with_trace ? 2 : square_root_above(count);
    job->rows = with_trace ? count : (count + job->columns - 1) / job->columns;
    job->canvas_height = job->rows * (job->shape[1] + GAP) - GAP;
    job->canvas_width = job->columns * (job->shape[2] + GAP) - GAP;
    job->canvas_bytes = (size_t)(job->canvas_height * job->canvas_width) * 3;
    SPADE_TRY(spade_alloc(job->context, job->canvas_bytes, "the picture of all neurons", &canvas));
    job->canvas = canvas;
    memset(canvas, 255, job->canvas_bytes);
    return SPADE_OK;
}

/* Numbers from 0 to 1 to its place. */
static spade_status draw(visualize_job *job, const float *numbers, int64_t row, int64_t column)
{
    spade_preprocess plain = job->preprocess;
    spade_picture picture = {0};
    plain.height = job->shape[1];
    plain.width = job->shape[2];
    for (int i = 0; i < 3; i++) {
        plain.mean[i] = 0;
        plain.std[i] = 1;
    }
    plain.band_mean = 0;
    plain.band_std = 1;
    SPADE_TRY(spade_picture_from_tensor(job->context, &plain, numbers, &picture));
    const int64_t top = row * (job->shape[1] + GAP), left = column * (job->shape[2] + GAP);
    for (int64_t y = 0; y < picture.height; y++) {
        memcpy(job->canvas + ((top + y) * job->canvas_width + left) * 3, picture.rgb + y * picture.width * 3,
               (size_t)picture.width * 3);
    }
    spade_picture_clear(&picture);
    return SPADE_OK;
}

/* ---- pictures */

static json_t *record_of(const visualize_job *job, int neuron, int network, const int64_t place[2],
                         const spade_visualize_note *note)
{
    const spade_objective *objective = &job->objectives[neuron];
    json_t *all = json_object();
    spade_json_set(&all, "neuron", spade_json_text(job->request->neurons[neuron]));
    spade_json_set(&all, "layer", objective->layer ? spade_json_text(objective->layer) : json_null());
    spade_json_set(&all, "index", json_integer(objective->index));
    spade_json_set(&all, "objective",
                   json_string(!objective->layer   ? "class"
                               : objective->neuron ? "neuron"
                                                   : "channel"));
    spade_json_set(&all, "network", json_string(network == DENSE ? "dense" : "trace"));
    spade_json_set(&all, "row", json_integer(place[0]));
    spade_json_set(&all, "column", json_integer(place[1]));
    spade_json_set(&all, "before", spade_json_number(note->before));
    spade_json_set(&all, "after", spade_json_number(note->after));
    spade_json_set(&all, "shape", spade_json_integers(job->shape, 3));
    spade_json_set(&all, "steps", json_integer(job->options.steps));
    spade_json_set(&all, "still", json_boolean(job->options.still));
    spade_json_set(&all, "file", spade_json_text(job->request->output));
    spade_json_set(&all, "version", json_string(spade_version()));
    spade_json_set(&all, "model", spade_json_text(job->request->model));
    if (job->trace) {
        const char *input = job->request->batch ? job->request->batch : job->request->input;
        spade_json_set(&all, "input", spade_json_text(input));
    }
    spade_json_set(&all, "configuration", spade_settings_json(job->request->settings));
    return all;
}

/* Where the gradient is zero everywhere, nothing changes: a neuron behind a relu that is never above 0. */
static void warn_of_rest(const visualize_job *job, int neuron, int network, const spade_visualize_note *note)
{
    if (note->after > note->before) { return; }
    spade_log(job->context, SPADE_LOG_WARNING, "%s (%s): the picture does not make it larger (%.4g, then %.4g)",
              job->request->neurons[neuron], network == DENSE ? "dense" : "trace", note->before, note->after);
}

static spade_status make_picture(visualize_job *job, int neuron, int network, float *numbers, json_t **record)
{
    const int64_t place[2] = {job->trace ? neuron : neuron / job->columns,
                              job->trace ? network : neuron % job->columns};
    spade_visualize_note note;
    SPADE_TRY(spade_visualize(job->context, job->model, network == DENSE ? NULL : job->trace, &job->objectives[neuron],
                              &job->options, numbers, &note));
    warn_of_rest(job, neuron, network, &note);
    SPADE_TRY(draw(job, numbers, place[0], place[1]));
    *record = record_of(job, neuron, network, place, &note);
    return *record ? SPADE_OK : spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

/* from: the share of the job that is done before. records [neuron, network], owned by the caller. */
static spade_status make_pictures(visualize_job *job, double from, json_t **records)
{
    const int networks = job->trace ? 2 : 1, count = job->request->neuron_count * networks;
    const size_t bytes = sizeof(float) * (size_t)(job->shape[0] * job->shape[1] * job->shape[2]);
    void *numbers;
    spade_status status = SPADE_OK;
    SPADE_TRY(spade_alloc(job->context, bytes, "a picture", &numbers));
    for (int i = 0; i < count && status == SPADE_OK; i++) {
        const char *neuron = job->request->neurons[i / networks];
        spade_workload_phase(job->events, neuron, from + (1 - from) * i / count, from + (1 - from) * (i + 1) / count);
        status = make_picture(job, i / networks, i % networks, numbers, &records[i]);
        if (status != SPADE_OK) { status = spade_fail_in(job->context, status, "%.200s", neuron); }
    }
    spade_free_bytes(job->context, numbers, bytes);
    return status;
}

static spade_status write_pictures(visualize_job *job, double from)
{
    const int count = job->request->neuron_count * (job->trace ? 2 : 1);
    json_t **records = calloc((size_t)count + 1, sizeof(json_t *));
    spade_status status;
    if (!records) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    SPADE_GOTO(make_canvas(job, job->trace != NULL));
    SPADE_GOTO(make_pictures(job, from, records));
    SPADE_GOTO(
        spade_png_save(job->context, job->request->output, job->canvas, job->canvas_height, job->canvas_width, 3));
    for (int i = 0; i < count && job->events->result; i++) { job->events->result(job->events->user, records[i]); }
done:
    for (int i = 0; i < count; i++) { json_decref(records[i]); }
    free((void *)records);
    return status;
}

static void clear(visualize_job *job)
{
    for (int i = 0; job->layers && i < job->request->neuron_count; i++) { free(job->layers[i]); }
    free((void *)job->layers);
    free(job->objectives);
    spade_free_bytes(job->context, job->canvas, job->canvas_bytes);
    class_names_clear(&job->names);
    spade_trace_destroy(job->trace);
    spade_model_destroy(job->model);
}

/* A class has one value, whatever the objective. */
static void warn_of_classes(const visualize_job *job)
{
    bool any = false;
    for (int i = 0; i < job->request->neuron_count; i++) { any = any || job->objectives[i].layer; }
    if (!job->request->central || any) { return; }
    spade_log(job->context, SPADE_LOG_WARNING, "--objective neuron has no effect: a class has no positions");
}

spade_status spade_visualize_to_file(spade_context *context, const spade_visualize_request *request,
                                     const spade_workload_events *events)
{
    static const double trace_share = 0.1; /* of the time: a guess */
    const trace_input input = {request->input, request->batch, request->settings};
    const bool traced = request->input || request->batch;
    unread_options unread;
    spade_settings_use use = {.trace = traced,
                              .draws = true,
                              .pictures = request->input && !spade_ends_in(request->input, ".npy"),
                              .batch = request->batch != NULL,
                              .variants_only = true};
    visualize_job job = {.context = context, .request = request, .events = events};
    spade_status status;
    if (!spade_ends_in(request->output, ".png")) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: the name must end in .png", request->output);
    }
    SPADE_GOTO(trace_input_check_output(context, request->output, "picture", request->model, &input));
    SPADE_GOTO(trace_input_load_model(context, request->model, &input, &job.model));
    SPADE_GOTO(spade_settings_preprocess(context, request->settings, job.model, &job.preprocess));
    SPADE_GOTO(class_names_load(context, request->labels, job.model, &job.names));
    set_options(&job);
    SPADE_GOTO(parse_neurons(&job));
    unread_options_find(context, job.model, &request->settings->trace, &unread);
    use.unread = unread.names;
    spade_settings_warn_unused(context, request->settings, &use);
    warn_of_classes(&job);
    if (traced) {
        SPADE_GOTO(spade_settings_check_trace(context, request->settings, job.model, &request->settings->trace));
        spade_workload_phase(events, "trace", 0, trace_share);
        SPADE_GOTO(trace_input_run(context, job.model, &input, &job.trace, NULL));
        (void)trace_warn_of_zeros(job.context, "", job.model, job.trace);
    }
    SPADE_GOTO(write_pictures(&job, traced ? trace_share : 0));
done:
    clear(&job);
    return status;
}
