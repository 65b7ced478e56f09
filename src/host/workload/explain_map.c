/* explain_map.c - the maps of one input: every method, target and network; arrays, heatmaps, metrics. */
#include <math.h>

#include "base/base.h"
#include "workload/explain.h"
#include "workload/map_check.h"
#include "workload/map_picture.h"
#include "workload/method_walk.h"

/* The maps of one method, while they are worked on. */
typedef struct method_maps {
    int method;       /* of the job */
    int64_t shape[3]; /* [C, h, w] of a map: the input's, or smaller */
    int64_t size;     /* C * h * w */
    map_picture_canvas canvas;
    int64_t pixels;           /* of the picture */
    float *maps[NETWORKS];    /* [targets][size] of each network; NULL: not wanted */
    float *reduced[NETWORKS]; /* [pixels]: a map as one number per pixel of the picture */
} method_maps;

/* ---- files */
spade_status explain_join(spade_context *context, const char *folder, const char *relative, char **out)
{
    if (asprintf(out, "%s/%s", folder, relative) >= 0) { return SPADE_OK; }
    *out = NULL;
    return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", folder);
}

static spade_status save_map(explain_job *job, const char *relative, const float *map, const int64_t shape[3])
{
    char *path = NULL;
    SPADE_TRY(explain_join(job->context, job->request->output, relative, &path));
    spade_status status = spade_array_save(job->context, path, map, 3, shape);
    free(path);
    return status;
}

/* NAME/NETWORK_METHOD.npy and .png; with several targets NETWORK_METHOD_cCLASS, of a contrast _cCLASS-CLASS. index: of the
 * job's targets. */
static spade_status name_files(const explain_job *job, const explained_pair *pair, const char *folder, int network,
                               int index, explained_map *out)
{
    const char *prefix = explained_networks[network], *label = job->methods[pair->method].label;
    char suffix[CLASS_LABEL_SIZE + 2] = "";
    if (job->target_count > 1) { snprintf(suffix, sizeof suffix, "_c%s", job->targets[index].label); }
    if (asprintf(&out->array, "%s/%s_%s%s.npy", folder, prefix, label, suffix) < 0) { out->array = NULL; }
    if (asprintf(&out->heatmap, "%s/%s_%s%s.png", folder, prefix, label, suffix) < 0) { out->heatmap = NULL; }
    if (out->array && out->heatmap) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

/* ---- maps as pictures */

/* Warn of a map that says nothing. */
static bool is_all_zero(const explain_job *job, const char *name, const explained_pair *pair, int network,
                        const float *map, int64_t size)
{
    for (int64_t i = 0; i < size; i++) {
        if (map[i] != 0) { return false; }
    }
    char text[EXPLAINED_MAP_TEXT];
    spade_log(job->context, SPADE_LOG_WARNING, "%s is 0 everywhere: it says nothing%s",
              explained_map_text(&job->run, name, network, pair->method, &pair->target, text),
              job->request->settings->output ? "; --output logits explains what comes before the score" : "");
    return true;
}

static spade_status draw_map(explain_job *job, const spade_image_item *item, const method_maps *m,
                             const explained_pair *pair, const float *map, const float *reduced, explained_map *out)
{
    spade_picture heatmap = {0};
    SPADE_TRY(save_map(job, out->array, map, m->shape));
    SPADE_TRY(spade_heatmap(job->context, &item->preview, reduced, pair->scale, explained_signed(&job->run, m->method),
                            &heatmap));
    const spade_status status = map_picture_save(&job->run, &heatmap, out->heatmap);
    spade_picture_clear(&heatmap);
    out->present = status == SPADE_OK;
    return status;
}

/* The maps of a target, for whoever takes them. */
static spade_status hand_pair(explain_job *job, const method_maps *m, int index, explained_input *out,
                              explained_pair *pair)
{
    for (int network = 0; network < NETWORKS; network++) {
        explained_map *map = &pair->maps[network];
        if (!m->maps[network]) { continue; }
        const explain_made_map made = {.explained = out,
                                       .pair = pair,
                                       .network = network,
                                       .target = index,
                                       .map = m->maps[network] + index * m->size,
                                       .shape = m->shape};
        map->all_zero = is_all_zero(job, out->name, pair, network, made.map, m->size);
        SPADE_TRY(job->sink->take(job->sink->user, &made));
        map->present = true;
    }
    return SPADE_OK;
}

/* The maps of a target, which is number `index` of those that are explained. */
static spade_status draw_pair(explain_job *job, const spade_image_item *item, const method_maps *m, int index,
                              explained_input *out, explained_pair *pair)
{
    const char *folder = out->name;
    float *first = NULL;
    int count = 0;
    if (job->sink) { return hand_pair(job, m, index, out, pair); }
    for (int network = 0; network < NETWORKS; network++) {
        if (!m->maps[network]) { continue; }
        if (!first) { first = m->reduced[network]; }
        map_picture_reduce(&m->canvas, m->maps[network] + index * m->size, pair->reduce, m->reduced[network]);
        count++;
    }
    pair->scale = map_picture_scale(first, m->pixels * count); /* of both networks */
    for (int network = 0; network < NETWORKS; network++) {
        if (!m->maps[network]) { continue; }
        explained_map *map = &pair->maps[network];
        map->all_zero = is_all_zero(job, folder, pair, network, m->maps[network] + index * m->size, m->size);
        SPADE_TRY(name_files(job, pair, folder, network, index, map));
        SPADE_TRY(draw_map(job, item, m, pair, m->maps[network] + index * m->size, m->reduced[network], map));
    }
    return SPADE_OK;
}

/* ---- methods */

/* Methods whose maps come from one walk, while they are worked on. */
typedef struct method_group {
    method_maps members[SPADE_MAX_TOGETHER];
    int count;
    const spade_target *targets; /* [n] */
    int n;
} method_group;

/* The pairs of a method: one for each target. */
static explained_pair *pairs_of(explained_input *out, const method_group *group, const method_maps *m)
{
    return out->pairs + m->method * group->n;
}

/* What the method promises of the map, and a warning where that does not hold. */
static spade_status check_map(explain_job *job, const map_check *check, const char *name, int method, int network,
                              explained_map *out)
{
    char text[EXPLAINED_MAP_TEXT];
    SPADE_TRY(map_check_run(job->context, check, &out->check));
    map_check_warn(job->context, explained_map_text(&job->run, name, network, method, check->target, text), out->check);
    return SPADE_OK;
}

/* The maps and notes [members, n] of one network, from the group of inputs where they were made with those of others. */
static spade_status make_maps(explain_job *job, const workload_item *item, const spade_trace *trace,
                              const method_group *group, int network, spade_map_note *notes)
{
    const spade_attribution *attributions[SPADE_MAX_TOGETHER];
    float *maps[SPADE_MAX_TOGETHER];
    bool taken = network == DENSE;
    for (int m = 0; m < group->count; m++) {
        const method_maps *member = &group->members[m];
        attributions[m] = job->methods[member->method].attribution;
        maps[m] = member->maps[network];
        taken = taken && explain_group_take(job, item, member->method, maps[m], notes + (ptrdiff_t)m * group->n);
    }
    if (taken) { return SPADE_OK; }
    return spade_attribute_together(job->context, job->model, network == TRACE ? trace : NULL, attributions,
                                    group->count, item->image->input, group->targets, group->n, maps, notes);
}

static spade_status attribute(explain_job *job, const workload_item *item, const spade_trace *trace,
                              const method_group *group, int network, explained_input *out)
{
    const int n = group->n;
    spade_map_note notes[SPADE_MAX_TOGETHER * SPADE_MAX_CLASSES] = {{0}};
    SPADE_TRY(make_maps(job, item, trace, group, network, notes));
    for (int m = 0; m < group->count; m++) {
        explained_pair *pairs = pairs_of(out, group, &group->members[m]);
        for (int i = 0; i < n; i++) {
            pairs[i].maps[network].delta = notes[m * n + i].delta;
            pairs[i].maps[network].difference = notes[m * n + i].difference;
            if (!job->request->settings->check) { continue; }
            const map_check check = {.model = job->model,
                                     .trace = network == TRACE ? trace : NULL,
                                     .attribution = job->methods[group->members[m].method].attribution,
                                     .input = item->image->input,
                                     .target = &group->targets[i],
                                     .delta = notes[m * n + i].delta,
                                     .difference = notes[m * n + i].difference};
            SPADE_TRY(check_map(job, &check, out->name, group->members[m].method, network, &pairs[i].maps[network]));
        }
    }
    return SPADE_OK;
}

/* ---- metrics */

/* Can the metric be had of this map: has the picture a mask, is there a trace? */
static bool can_measure(const spade_metric_info *metric, const spade_metric_inputs *inputs)
{
    return !(metric->needs & SPADE_METRIC_NEEDS_MASK && !inputs->mask) &&
           !(metric->needs & SPADE_METRIC_NEEDS_TRACE && !inputs->trace);
}

/* The maps of a target, and where their values go. */
typedef struct measured_maps {
    spade_metric_inputs inputs[SPADE_MAX_TOGETHER * NETWORKS];
    double *values[SPADE_MAX_TOGETHER * NETWORKS]; /* each [metrics] */
    int count;
} measured_maps;

/* The maps of number `index` of the targets; their memory for what was drawn serves for the scores. */
static void collect_maps(const explain_job *job, const workload_item *item, const spade_trace *trace,
                         const method_group *group, int index, explained_input *out, measured_maps *maps)
{
    maps->count = 0;
    for (int i = 0; i < group->count; i++) {
        const method_maps *m = &group->members[i];
        const spade_attribution *attribution = job->methods[m->method].attribution;
        explained_pair *pair = &pairs_of(out, group, m)[index];
        for (int network = 0; network < NETWORKS; network++) {
            if (!m->maps[network]) { continue; }
            spade_metric_inputs *inputs = &maps->inputs[maps->count];
            spade_metric_inputs_init(inputs);
            inputs->height = m->canvas.height;
            inputs->width = m->canvas.width;
            inputs->mask = item->image->mask;
            inputs->model = job->model;
            inputs->input = item->image->input;
            inputs->target = &group->targets[index];
            inputs->map = m->maps[network] + index * m->size;
            memcpy(inputs->map_shape, m->shape, sizeof m->shape);
            inputs->attribution = attribution;
            inputs->trace = network == TRACE ? trace : NULL;
            inputs->note = (spade_map_note){pair->maps[network].delta, pair->maps[network].difference};
            map_picture_reduce(&m->canvas, inputs->map, explained_measured(&job->run, m->method), m->reduced[network]);
            inputs->scores = m->reduced[network];
            maps->values[maps->count++] = pair->maps[network].values;
        }
    }
}

/* Every metric, of all maps of a target from which it can be had, at once. */
static spade_status measure(explain_job *job, const measured_maps *maps)
{
    const spade_metric_inputs *taken[SPADE_MAX_TOGETHER * NETWORKS];
    double values[SPADE_MAX_TOGETHER * NETWORKS], *places[SPADE_MAX_TOGETHER * NETWORKS];
    for (int metric = 0; metric < job->metric_count; metric++) {
        int count = 0;
        for (int i = 0; i < maps->count; i++) {
            if (!can_measure(explained_metric(&job->run, metric), &maps->inputs[i])) { continue; }
            places[count] = &maps->values[i][metric];
            taken[count++] = &maps->inputs[i];
        }
        if (!count) { continue; }
        SPADE_TRY(spade_measure_together(job->context, job->metrics[metric].metric, taken, count, values));
        for (int i = 0; i < count; i++) { *places[i] = values[i]; }
    }
    return SPADE_OK;
}

/* Floats that the maps of a member take, where they are worked on. */
static size_t map_floats(const method_group *group, const method_maps *m)
{
    return NETWORKS * (size_t)(group->n * m->size + m->pixels) + (size_t)(m->shape[1] * m->shape[2]);
}

static void place_maps(const bool wanted[NETWORKS], const method_group *group, method_maps *m, float *block)
{
    const size_t numbers = (size_t)(group->n * m->size), pixels = (size_t)m->pixels;
    for (int network = 0; network < NETWORKS; network++) {
        m->maps[network] = wanted[network] ? block + (size_t)network * numbers : NULL;
        m->reduced[network] = block + NETWORKS * numbers + (size_t)network * pixels;
    }
    m->canvas.shape = m->shape;
    m->canvas.small = block + NETWORKS * (numbers + pixels);
}

/* The methods of a group, every target, both networks; the group is empty then. *ready: of the job's methods. */
static spade_status run_group(explain_job *job, const workload_item *item, const spade_trace *trace,
                              method_group *group, int *ready, explained_input *out)
{
    const double step = (item->to - item->from) / job->method_count;
    const double from = item->from + step * *ready, to = from + step * group->count; /* of the whole job */
    const bool wanted[NETWORKS] = {job->request->dense, job->request->trace};
    const double half = wanted[DENSE] && wanted[TRACE] ? (to - from) / 2 : 0;
    spade_status status = SPADE_OK;
    size_t floats = 0;
    void *memory = NULL;
    for (int m = 0; m < group->count; m++) { floats += map_floats(group, &group->members[m]); }
    SPADE_TRY(spade_alloc(job->context, sizeof(float) * floats, "maps", &memory));
    float *block = memory;
    for (int m = 0; m < group->count; m++) {
        place_maps(wanted, group, &group->members[m], block);
        block += map_floats(group, &group->members[m]);
    }
    for (int network = 0; network < NETWORKS; network++) {
        if (!wanted[network]) { continue; }
        double start = spade_now();
        spade_workload_phase(job->events, explained_method(&job->run, group->members[0].method)->name,
                             network == TRACE ? from + half : from, network == TRACE ? to : to - half);
        SPADE_GOTO(attribute(job, item, trace, group, network, out));
        out->map_seconds[network] += spade_now() - start;
    }
    for (int i = 0; i < group->n; i++) {
        measured_maps maps;
        for (int m = 0; m < group->count; m++) {
            const method_maps *member = &group->members[m];
            SPADE_GOTO(draw_pair(job, item->image, member, i, out, &pairs_of(out, group, member)[i]));
        }
        collect_maps(job, item, trace, group, i, out, &maps);
        SPADE_GOTO(measure(job, &maps));
    }
    *ready += group->count;
    group->count = 0;
done:
    spade_free_bytes(job->context, memory, sizeof(float) * floats);
    return status;
}

static spade_status add_member(explain_job *job, int method, method_group *group, explained_input *out)
{
    method_maps *m = &group->members[group->count];
    *m = (method_maps){.method = method,
                       .canvas = {.height = job->preprocess.height, .width = job->preprocess.width},
                       .pixels = job->preprocess.height * job->preprocess.width};
    SPADE_TRY(spade_attribution_map_shape(job->context, job->model, job->methods[method].attribution, m->shape));
    m->size = m->shape[0] * m->shape[1] * m->shape[2];
    explained_pair *pairs = pairs_of(out, group, m);
    for (int i = 0; i < group->n; i++) {
        pairs[i].method = method;
        pairs[i].reduce = explained_drawn(&job->run, method);
        pairs[i].target = group->targets[i];
    }
    group->count++;
    return SPADE_OK;
}

spade_status explain_targets(const explain_job *job, const explained_input *explained,
                             spade_target targets[SPADE_MAX_CLASSES])
{
    for (int i = 0; i < job->target_count; i++) {
        SPADE_TRY(
            class_choice_target(job->context, &job->targets[i], explained->logits, job->class_count, &targets[i]));
    }
    return SPADE_OK;
}

/* Group by group. grouped [method_count]: all false. */
static spade_status run_groups(explain_job *job, const workload_item *item, method_group *group, bool *grouped,
                               explained_input *out)
{
    const spade_trace *trace = item->traces ? item->traces[0] : NULL;
    int done = 0; /* methods */
    for (int method = 0; method < job->method_count; method++) {
        int members[SPADE_MAX_TOGETHER];
        if (grouped[method]) { continue; }
        const int count = method_walk_take(job->methods, job->method_count, method, grouped, members);
        for (int m = 0; m < count; m++) { SPADE_TRY(add_member(job, members[m], group, out)); }
        SPADE_TRY(run_group(job, item, trace, group, &done, out));
    }
    return SPADE_OK;
}

spade_status explain_methods(explain_job *job, const workload_item *item, explained_input *out)
{
    spade_target targets[SPADE_MAX_CLASSES];
    method_group group = {.targets = targets, .n = job->target_count};
    SPADE_TRY(explain_targets(job, out, targets));
    out->map_seconds[DENSE] += explain_group_seconds(job, item);
    bool *grouped = calloc((size_t)job->method_count, sizeof *grouped);
    if (!grouped || !explained_input_add_pairs(out, group.n * job->method_count, job->metric_count)) {
        free(grouped);
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
    }
    const spade_status status = run_groups(job, item, &group, grouped, out);
    free(grouped);
    return status;
}
