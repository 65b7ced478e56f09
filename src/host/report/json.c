/* json.c - records as JSON: results.json. */
#include <math.h>

#include "base/base.h"
#include "report/report.h"
#include "report/text.h"

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *class_json(const explained_run *run, int64_t index)
{
    char buffer[32];
    json_t *object = json_object();
    json_object_set_new(object, "class", json_integer(index));
    json_object_set_new(object, "name", spade_json_text(class_name(run->names, index, buffer)));
    return object;
}

static json_t *network_json(const explained_run *run, const explained_input *explained, int network)
{
    if (!explained->ran[network]) { return json_null(); }
    const double *logits = explained->logits + network * explained->outputs;
    const double *scores = explained->scores + network * explained->outputs;
    json_t *object = class_json(run, explained->top[network]);
    json_t *all_logits = json_array(), *all_scores = json_array();
    for (int64_t i = 0; i < explained->outputs; i++) {
        json_array_append_new(all_logits, json_real(logits[i]));
        json_array_append_new(all_scores, json_real(scores[i]));
    }
    json_object_set_new(object, "score", json_real(scores[explained->top[network]]));
    json_object_set_new(object, "scores", all_scores);
    json_object_set_new(object, "logits", all_logits);
    return object;
}

static json_t *map_json(const explained_map *map)
{
    if (!map->present) { return json_null(); }
    json_t *object = json_object();
    json_object_set_new(object, "map", spade_json_text(map->array));
    json_object_set_new(object, "overlay", spade_json_text(map->heatmap));
    json_object_set_new(object, "roc_auc", number_or_null(map->roc_auc));
    if (isfinite(map->delta)) { json_object_set_new(object, "completeness_delta", json_real(map->delta)); }
    return object;
}

static json_t *pairs_json(const explained_run *run, const explained_input *explained)
{
    json_t *list = json_array();
    for (int i = 0; i < explained->pair_count; i++) {
        const explained_pair *pair = &explained->pairs[i];
        json_t *object = class_json(run, pair->target);
        const char *options = run->methods[pair->method].options;
        json_object_set_new(object, "method", json_string(explained_method(run, pair->method)->name));
        if (options) { json_object_set_new(object, "options", spade_json_text(options)); }
        json_object_set_new(object, "overlay_reduction", json_string(spade_reduce_name(pair->reduce)));
        json_object_set_new(object, "overlay_scale", json_real(pair->scale));
        json_object_set_new(object, "dense", map_json(&pair->maps[DENSE]));
        json_object_set_new(object, "trace", map_json(&pair->maps[TRACE]));
        json_array_append_new(list, object);
    }
    return list;
}

json_t *explained_json(const explained_run *run, const explained_input *explained)
{
    json_t *object = json_object();
    json_object_set_new(object, "file", spade_json_text(explained->file));
    if (explained->index >= 0) { json_object_set_new(object, "index", json_integer(explained->index)); }
    json_object_set_new(object, "name", spade_json_text(explained->name));
    json_object_set_new(object, "picture", spade_json_text(explained->picture));
    json_object_set_new(object, "dense", network_json(run, explained, DENSE));
    json_object_set_new(object, "trace", network_json(run, explained, TRACE));
    if (explained->ran[TRACE]) {
        bool changed = explained->top[DENSE] != explained->top[TRACE];
        json_object_set_new(object, "class_changed", json_boolean(changed));
        double share = explained->weights ? (double)explained->zeros / (double)explained->weights : 0;
        json_object_set_new(object, "sparsity",
                            json_pack("{s:I, s:I, s:f}", "zeros", (json_int_t)explained->zeros, "weights",
                                      (json_int_t)explained->weights, "share", share));
    }
    json_object_set_new(object, "maps", pairs_json(run, explained));
    json_object_set_new(object, "seconds",
                        json_pack("{s:f, s:f, s:f, s:f, s:f}", "variants", explained->trace_seconds[0], "hessian",
                                  explained->trace_seconds[1], "solve", explained->trace_seconds[2], "dense_maps",
                                  explained->map_seconds[DENSE], "trace_maps", explained->map_seconds[TRACE]));
    return object;
}

json_t *results_json(const explained_run *run, json_t *explained, json_t *failed)
{
    json_t *all = json_object();
    json_object_set_new(all, "version", json_string(spade_version()));
    json_object_set_new(all, "model", spade_json_text(run->model));
    json_object_set_new(all, "configuration", spade_settings_json(run->settings));
    json_object_set_new(all, "seed", json_integer((json_int_t)run->settings->seed));
    if (run->batch) { json_object_set_new(all, "batch", spade_json_text(run->batch)); }
    json_object_set_new(all, "metrics",
                        json_pack("{s:{s:i, s:s}}", "roc_auc", "version", spade_metric_find("roc_auc")->version, "map",
                                  spade_reduce_name(SPADE_REDUCE_ABS_MAX)));
    json_object_set(all, "inputs", explained);
    json_object_set(all, "failed", failed);
    return all;
}
