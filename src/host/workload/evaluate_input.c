/*
 * evaluate_input.c - one picture: what the networks say of it, the maps of every method on every network, and all metrics of all
 * maps, which share passes.
 *
 *   a picture's block: | of each method: maps [columns, size of a map] | scores [methods, columns, pixels] | a small map |
 */
#include <math.h>

#include "base/base.h"
#include "workload/evaluate.h"
#include "workload/map_picture.h"
#include "workload/method_walk.h"

/* The maps of a picture, while they are worked on. */
typedef struct evaluated_maps {
    evaluate_job *job;
    const workload_item *item;
    evaluated_input *out;
    int64_t pixels;
    int64_t (*shapes)[3];  /* [methods] */
    float **maps;          /* [methods]: [columns, size of a map]; NULL: not defined on this network */
    spade_map_note *notes; /* [methods, columns] */
    float *scores;         /* [methods, columns, pixels] */
    float *small;          /* of the largest map, one channel */
    void *memory;
    size_t bytes;
} evaluated_maps;

static spade_status fail_memory(const evaluate_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

/* ---- the networks' scores */

static spade_status run_forward(evaluate_job *job, const workload_item *item, int column, evaluated_input *out)
{
    const spade_trace *trace = evaluate_trace(job, item, column);
    double *logits = out->logits + column * job->class_count;
    float *outputs = malloc(sizeof *outputs * (size_t)spade_model_outputs(job->model));
    if (!outputs) { return fail_memory(job); }
    spade_status status = spade_model_forward(job->context, job->model, trace, item->image->input, 1, outputs);
    if (status == SPADE_OK) {
        spade_model_scores(job->model, outputs, logits, out->scores + column * job->class_count);
        for (int64_t i = 1; i < job->class_count; i++) {
            if (logits[i] > logits[out->top[column]]) { out->top[column] = i; }
        }
    }
    free(outputs);
    return status;
}

static spade_status find_target(const evaluate_job *job, const workload_item *item, evaluated_input *out)
{
    if (!job->of_label) {
        return class_choice_target(job->context, &job->target, out->logits, job->class_count, &out->target);
    }
    const int64_t label = job->labels[item->input->position];
    out->target = (spade_target){.class_index = label};
    return label >= 0 ? SPADE_OK : spade_fail(job->context, SPADE_ERROR_INPUT, "the manifest has no label for it");
}

spade_status evaluate_dense(void *user, const workload_item *item, void *state)
{
    evaluate_job *job = user;
    evaluated_input *out = state;
    const size_t classes = (size_t)job->class_count * (size_t)job->column_count;
    const size_t values = ((size_t)job->method_count + 1) * (size_t)job->metric_count * (size_t)job->column_count;
    out->logits = calloc(classes, sizeof *out->logits);
    out->scores = calloc(classes, sizeof *out->scores);
    out->values = calloc(values + 1, sizeof *out->values);
    if (!out->logits || !out->scores || !out->values) { return fail_memory(job); }
    for (size_t i = 0; i < values; i++) { out->values[i] = NAN; }
    SPADE_TRY(run_forward(job, item, 0, out));
    return find_target(job, item, out);
}

void evaluate_clear(void *state)
{
    evaluated_input *evaluated = state;
    free(evaluated->logits);
    free(evaluated->scores);
    free(evaluated->values);
    gallery_tiles_clear(&evaluated->tiles);
}

/* ---- maps */

static void close_maps(evaluated_maps *m)
{
    spade_free_bytes(m->job->context, m->memory, m->bytes);
    free(m->shapes);
    free(m->maps);
    free(m->notes);
}

static spade_status open_maps(evaluated_maps *m)
{
    evaluate_job *job = m->job;
    const size_t methods = (size_t)job->method_count, columns = (size_t)job->column_count;
    size_t floats = methods * columns * (size_t)m->pixels, largest = 0;
    m->shapes = calloc(methods, sizeof *m->shapes);
    m->maps = calloc(methods, sizeof *m->maps);
    m->notes = calloc(methods * columns, sizeof *m->notes);
    if (!m->shapes || !m->maps || !m->notes) { return fail_memory(job); }
    for (size_t i = 0; i < methods; i++) {
        int64_t *shape = m->shapes[i];
        if (job->uncovered[i]) { continue; }
        SPADE_TRY(spade_attribution_map_shape(job->context, job->model, job->methods[i].attribution, shape));
        const size_t plane = (size_t)(shape[1] * shape[2]);
        floats += columns * (size_t)shape[0] * plane;
        largest = plane > largest ? plane : largest;
    }
    m->bytes = sizeof(float) * (floats + largest);
    SPADE_TRY(spade_alloc(job->context, m->bytes, "maps of a picture", &m->memory));
    float *at = m->memory;
    for (size_t i = 0; i < methods; i++) {
        if (job->uncovered[i]) { continue; }
        m->maps[i] = at;
        at += columns * (size_t)(m->shapes[i][0] * m->shapes[i][1] * m->shapes[i][2]);
    }
    m->scores = at;
    m->small = at + methods * columns * (size_t)m->pixels;
    return SPADE_OK;
}

static int64_t size_of(const evaluated_maps *m, int method)
{
    return m->shapes[method][0] * m->shapes[method][1] * m->shapes[method][2];
}

/* From now on the methods have no maps: an operator of the network has no rule in them. */
static spade_status note_uncovered(evaluated_maps *m, const int *methods, int count)
{
    evaluate_job *job = m->job;
    for (int i = 0; i < count; i++) {
        SPADE_TRY(evaluate_set_uncovered(job, methods[i]));
        m->maps[methods[i]] = NULL;
    }
    spade_error_clear(job->context);
    return SPADE_OK;
}

/* The maps of methods that share a walk, on every network. */
static spade_status attribute(evaluated_maps *m, const int *methods, int count)
{
    evaluate_job *job = m->job;
    const spade_attribution *attributions[SPADE_MAX_TOGETHER];
    for (int i = 0; i < count; i++) { attributions[i] = job->methods[methods[i]].attribution; }
    for (int column = 0; column < job->column_count; column++) {
        float *maps[SPADE_MAX_TOGETHER];
        spade_map_note notes[SPADE_MAX_TOGETHER];
        for (int i = 0; i < count; i++) { maps[i] = m->maps[methods[i]] + column * size_of(m, methods[i]); }
        const spade_status status =
            spade_attribute_together(job->context, job->model, evaluate_trace(job, m->item, column), attributions,
                                     count, m->item->image->input, &m->out->target, 1, maps, notes);
        if (status == SPADE_ERROR_UNSUPPORTED) { return note_uncovered(m, methods, count); }
        SPADE_TRY(status);
        for (int i = 0; i < count; i++) { m->notes[methods[i] * job->column_count + column] = notes[i]; }
    }
    return SPADE_OK;
}

static spade_status make_maps(evaluated_maps *m)
{
    const evaluate_job *job = m->job;
    bool *grouped = calloc((size_t)job->method_count, sizeof *grouped);
    spade_status status = grouped ? SPADE_OK : fail_memory(job);
    for (int method = 0; grouped && method < job->method_count; method++) { grouped[method] = job->uncovered[method]; }
    for (int method = 0; method < job->method_count && status == SPADE_OK; method++) {
        int group[SPADE_MAX_TOGETHER];
        if (grouped[method]) { continue; }
        const int count = method_walk_take(job->methods, job->method_count, method, grouped, group);
        status = attribute(m, group, count);
        spade_workload_phase(job->events, explained_method(&job->run, method)->name,
                             m->item->from + (m->item->to - m->item->from) * (method + 1) / (job->method_count + 1),
                             m->item->to);
    }
    free(grouped);
    return status;
}

/* ---- metrics */

/* Warn of a map that says nothing. */
static void check_zeros(const evaluated_maps *m, int method, int column, const float *map)
{
    const int64_t size = size_of(m, method);
    if (m->job->columns[column].fitted && evaluate_fit_is_empty(m->job, &m->out->target)) { return; } /* it was said */
    for (int64_t i = 0; i < size; i++) {
        if (map[i] != 0) { return; }
    }
    spade_log(m->job->context, SPADE_LOG_WARNING, "%s: the map of %s on %s is 0 everywhere: it says nothing",
              m->item->input->title, m->job->methods[method].label, m->job->columns[column].name);
}

/* Of every map that there is: its inputs [methods * columns], and where its values are. Returns how many. */
static int collect(const evaluated_maps *m, spade_metric_inputs *inputs, int *places)
{
    const evaluate_job *job = m->job;
    int count = 0;
    for (int method = 0; method < job->method_count; method++) {
        if (!m->maps[method]) { continue; }
        const spade_attribution *attribution = job->methods[method].attribution;
        const map_picture_canvas canvas = {m->shapes[method], job->preprocess.height, job->preprocess.width, m->small};
        for (int column = 0; column < job->column_count; column++) {
            const int64_t place = method * job->column_count + column;
            spade_metric_inputs *own = &inputs[count];
            float *scores = m->scores + place * m->pixels;
            spade_metric_inputs_init(own);
            own->height = canvas.height;
            own->width = canvas.width;
            own->mask = m->item->image->mask;
            own->model = job->model;
            own->input = m->item->image->input;
            own->target = &m->out->target;
            own->map = m->maps[method] + column * size_of(m, method);
            memcpy(own->map_shape, m->shapes[method], sizeof own->map_shape);
            own->attribution = attribution;
            own->trace = evaluate_trace(job, m->item, column);
            own->note = m->notes[place];
            check_zeros(m, method, column, own->map);
            map_picture_reduce(&canvas, own->map, explained_measured(&job->run, method), scores);
            own->scores = scores;
            places[count++] = (int)place;
        }
    }
    return count;
}

/* One metric of all maps. taken, out: scratch [count]. */
static spade_status measure(evaluated_maps *m, int metric, const spade_metric_inputs *inputs, const int *places,
                            int count, const spade_metric_inputs **taken, double *out)
{
    const evaluate_job *job = m->job;
    const spade_metric_info *info = explained_metric(&job->run, metric);
    int n = 0;
    for (int i = 0; i < count; i++) {
        if (info->needs & SPADE_METRIC_NEEDS_MASK && !inputs[i].mask) { continue; }
        taken[n++] = &inputs[i];
    }
    if (!n) { return SPADE_OK; }
    SPADE_TRY(spade_measure_together(job->context, job->metrics[metric].metric, taken, n, out));
    for (int i = 0; i < n; i++) {
        const int place = places[taken[i] - inputs];
        *evaluated_value(job, m->out, place / job->column_count, metric, place % job->column_count) = out[i];
    }
    return SPADE_OK;
}

/* One metric of the traces themselves, which no map has a part in. */
static spade_status measure_traces(const evaluated_maps *m, int metric)
{
    const evaluate_job *job = m->job;
    spade_metric_inputs inputs[EVALUATE_MAX_COLUMNS];
    const spade_metric_inputs *all[EVALUATE_MAX_COLUMNS];
    double out[EVALUATE_MAX_COLUMNS];
    const int count = job->column_count - 1;
    for (int i = 0; i < count; i++) {
        spade_metric_inputs_init(&inputs[i]);
        inputs[i].height = job->preprocess.height;
        inputs[i].width = job->preprocess.width;
        inputs[i].model = job->model;
        inputs[i].input = m->item->image->input;
        inputs[i].trace = evaluate_trace(job, m->item, i + 1);
        all[i] = &inputs[i];
    }
    if (!count) { return SPADE_OK; }
    SPADE_TRY(spade_measure_together(job->context, job->metrics[metric].metric, all, count, out));
    for (int i = 0; i < count; i++) { *evaluated_value(job, m->out, job->method_count, metric, i + 1) = out[i]; }
    return SPADE_OK;
}

static spade_status measure_all(evaluated_maps *m)
{
    const evaluate_job *job = m->job;
    const size_t most = (size_t)job->method_count * (size_t)job->column_count;
    spade_metric_inputs *inputs = calloc(most, sizeof *inputs);
    const spade_metric_inputs **taken = calloc(most, sizeof *taken);
    int *places = calloc(most, sizeof *places);
    double *out = calloc(most, sizeof *out);
    spade_status status = inputs && taken && places && out ? SPADE_OK : fail_memory(job);
    const int count = status == SPADE_OK ? collect(m, inputs, places) : 0;
    for (int metric = 0; metric < job->metric_count && status == SPADE_OK; metric++) {
        status = evaluate_of_trace(job, metric) ? measure_traces(m, metric)
                                                : measure(m, metric, inputs, places, count, taken, out);
    }
    free(inputs);
    free((void *)taken);
    free(places);
    free(out);
    return status;
}

/* ---- the gallery */

/* The maps of the pairs whose lists the picture belongs to, and the picture. */
static spade_status draw_tiles(const evaluated_maps *m)
{
    const evaluate_job *job = m->job;
    gallery_tiles *tiles = &m->out->tiles;
    for (int method = 0; method < job->method_count; method++) {
        if (!m->maps[method]) { continue; }
        const int metric = job->gallery.metric;
        const double dense = *evaluated_value(job, m->out, method, metric, 0);
        for (int column = job->gallery.first_column; column < job->column_count; column++) {
            const double value = *evaluated_value(job, m->out, method, metric, column);
            if (!evaluate_gallery_wants(job, m->item->input->position, method, column, dense, value)) { continue; }
            SPADE_TRY(evaluate_draw_pair(job, m->item, m->maps[method], m->shapes[method], method, column, tiles));
        }
    }
    return tiles->count ? evaluate_draw_picture(job, m->item, tiles) : SPADE_OK;
}

/* ---- a picture */

static void count_zeros(const evaluate_job *job, const workload_item *item, evaluated_input *out)
{
    for (int column = 1; column < job->column_count; column++) {
        out->zeros[column] = out->weights[column] = 0;
        out->chosen[column] = spade_trace_sparsity_choice(evaluate_trace(job, item, column), &out->choices[column]);
        for (int i = 0; i < spade_model_layer_count(job->model); i++) {
            spade_trace_layer layer;
            spade_trace_layer_info(evaluate_trace(job, item, column), i, &layer);
            if (!layer.solved) { continue; }
            out->zeros[column] += layer.zeros;
            out->weights[column] += layer.weights;
        }
    }
}

spade_status evaluate_process(void *user, const workload_item *item, void *state)
{
    evaluate_job *job = user;
    evaluated_input *out = state;
    evaluated_maps m = {.job = job, .item = item, .out = out, .pixels = job->preprocess.height * job->preprocess.width};
    spade_status status = SPADE_OK;
    for (int column = 1; column < job->column_count; column++) { SPADE_TRY(run_forward(job, item, column, out)); }
    count_zeros(job, item, out);
    SPADE_GOTO(open_maps(&m));
    SPADE_GOTO(make_maps(&m));
    SPADE_GOTO(measure_all(&m));
    if (job->gallery.size) { SPADE_GOTO(draw_tiles(&m)); }
done:
    close_maps(&m);
    return status;
}

/* ---- its record */

static json_t *network_json(const evaluate_job *job, const evaluated_input *evaluated, int column)
{
    const int64_t top = evaluated->top[column];
    json_t *object = explained_class_json(&job->run, top);
    spade_json_set(&object, "score", spade_json_number(evaluated->scores[column * job->class_count + top]));
    spade_json_set(&object, "target_score",
                   spade_json_number(evaluated->scores[column * job->class_count + evaluated->target.class_index]));
    if (column) {
        spade_json_set(&object, "zeros", json_integer(evaluated->zeros[column]));
        spade_json_set(&object, "weights", json_integer(evaluated->weights[column]));
        if (evaluated->chosen[column]) {
            spade_json_set(&object, "chosen", sparsity_choice_json(&evaluated->choices[column]));
        }
    }
    for (int metric = 0; column && metric < job->metric_count; metric++) {
        if (!evaluate_of_trace(job, metric)) { continue; }
        spade_json_set(&object, job->metrics[metric].label,
                       spade_json_number(*evaluated_value(job, evaluated, job->method_count, metric, column)));
    }
    return object;
}

static json_t *values_json(const evaluate_job *job, const evaluated_input *evaluated)
{
    json_t *all = json_array();
    const double *value = evaluated->values;
    for (int method = 0; method < job->method_count; method++) {
        json_t *metrics = json_array();
        for (int metric = 0; metric < job->metric_count; metric++) {
            json_t *columns = json_array();
            for (int column = 0; column < job->column_count; column++) {
                spade_json_append(&columns, spade_json_number(*value++));
            }
            spade_json_append(&metrics, columns);
        }
        spade_json_append(&all, metrics);
    }
    return all;
}

json_t *evaluated_json(const evaluate_job *job, const workload_item *item, const evaluated_input *evaluated)
{
    const spade_input *input = item->input;
    const spade_input_fingerprint *print = &item->image->fingerprint;
    const int64_t label = job->labels[input->position];
    json_t *object = json_object(), *networks = json_array(), *uncovered = json_object();
    spade_json_set(&object, "file", spade_json_text(input->file));
    spade_json_set(&object, "name", spade_json_text(input->name));
    if (input->label) { spade_json_set(&object, "label", spade_json_text(input->label)); }
    if (label >= 0) { spade_json_set(&object, "label_class", json_integer(label)); }
    spade_json_set(&object, "class", json_integer(evaluated->target.class_index));
    if (evaluated->target.contrast) { spade_json_set(&object, "against", json_integer(evaluated->target.against)); }
    for (int column = 0; column < job->column_count; column++) {
        spade_json_append(&networks, network_json(job, evaluated, column));
    }
    spade_json_set(&object, "networks", networks);
    spade_json_set(&object, "values", values_json(job, evaluated));
    for (int method = 0; method < job->method_count; method++) {
        if (!job->uncovered[method]) { continue; }
        spade_json_set(&uncovered, job->methods[method].label, spade_json_text(job->uncovered[method]));
    }
    spade_json_set(&object, "uncovered", uncovered);
    spade_json_set(&object, "xxh128", json_string(print->content));
    if (*print->mask) { spade_json_set(&object, "mask_xxh128", json_string(print->mask)); }
    return object;
}
