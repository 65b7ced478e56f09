/* json.c - records as JSON, and back: lines of results.jsonl, and results.json, which is put together from them. */
#include <limits.h>
#include <math.h>

#include "base/json.h"
#include "report/report.h"

json_t *explained_class_json(const explained_run *run, int64_t index)
{
    char buffer[32];
    json_t *object = json_object();
    spade_json_set(&object, "class", json_integer(index));
    spade_json_set(&object, "name", spade_json_text(class_name(run->names, index, buffer)));
    return object;
}

/* Of a contrast also the class that it is against. */
static json_t *target_json(const explained_run *run, const spade_target *target)
{
    char buffer[32];
    json_t *object = explained_class_json(run, target->class_index);
    if (target->contrast) {
        spade_json_set(&object, "against", json_integer(target->against));
        spade_json_set(&object, "against_name", spade_json_text(class_name(run->names, target->against, buffer)));
    }
    return object;
}

json_t *explained_map_json(const explained_run *run, int method, const spade_target *target)
{
    json_t *object = target_json(run, target);
    const char *options = run->methods[method].options;
    spade_json_set(&object, "method", json_string(explained_method(run, method)->name));
    if (options) { spade_json_set(&object, "options", spade_json_text(options)); }
    return object;
}

static json_t *network_json(const explained_run *run, const explained_input *explained, int network)
{
    if (!explained->ran[network]) { return json_null(); }
    const double *logits = explained->logits + network * explained->class_count;
    const double *scores = explained->scores + network * explained->class_count;
    json_t *object = explained_class_json(run, explained->top[network]);
    json_t *all_logits = json_array(), *all_scores = json_array();
    for (int64_t i = 0; i < explained->class_count; i++) {
        spade_json_append(&all_logits, spade_json_number(logits[i]));
        spade_json_append(&all_scores, spade_json_number(scores[i]));
    }
    spade_json_set(&object, "score", spade_json_number(scores[explained->top[network]]));
    spade_json_set(&object, "scores", all_scores);
    spade_json_set(&object, "logits", all_logits);
    return object;
}

/* The map of one network. */
static json_t *network_map_json(const explained_run *run, const explained_map *map)
{
    if (!map->present) { return json_null(); }
    json_t *object = json_object();
    spade_json_set(&object, "map", spade_json_text(map->array));
    spade_json_set(&object, "overlay", spade_json_text(map->heatmap));
    if (map->all_zero) { spade_json_set(&object, "all_zero", json_true()); }
    for (int i = 0; i < run->metric_count; i++) {
        spade_json_set(&object, run->metrics[i].label, spade_json_number(map->values[i]));
    }
    if (isfinite(map->delta)) { spade_json_set(&object, "completeness_delta", spade_json_number(map->delta)); }
    if (map->check) { spade_json_set(&object, "check", json_incref(map->check)); }
    return object;
}

static json_t *pairs_json(const explained_run *run, const explained_input *explained)
{
    json_t *list = json_array();
    for (int i = 0; i < explained->pair_count; i++) {
        const explained_pair *pair = &explained->pairs[i];
        json_t *object = explained_map_json(run, pair->method, &pair->target);
        spade_json_set(&object, "overlay_reduction", json_string(spade_reduce_name(pair->reduce)));
        spade_json_set(&object, "overlay_scale", spade_json_number(pair->scale));
        spade_json_set(&object, "dense", network_map_json(run, &pair->maps[DENSE]));
        spade_json_set(&object, "trace", network_map_json(run, &pair->maps[TRACE]));
        spade_json_append(&list, object);
    }
    return list;
}

static json_t *seconds_json(const explained_input *explained)
{
    json_t *object = json_object();
    spade_json_set(&object, "variants", json_real(explained->trace_seconds[0]));
    spade_json_set(&object, "hessian", json_real(explained->trace_seconds[1]));
    spade_json_set(&object, "solve", json_real(explained->trace_seconds[2]));
    spade_json_set(&object, "dense_maps", json_real(explained->map_seconds[DENSE]));
    spade_json_set(&object, "trace_maps", json_real(explained->map_seconds[TRACE]));
    return object;
}

json_t *explained_sparsity_json(const explained_input *explained)
{
    double share = explained->weights ? (double)explained->zeros / (double)explained->weights : 0;
    json_t *sparsity = json_object();
    spade_json_set(&sparsity, "zeros", json_integer(explained->zeros));
    spade_json_set(&sparsity, "weights", json_integer(explained->weights));
    spade_json_set(&sparsity, "share", json_real(share));
    if (explained->chosen) { spade_json_set(&sparsity, "chosen", sparsity_choice_json(&explained->choice)); }
    if (explained->empty_layers) {
        spade_json_set(&sparsity, "all_zero_layers", json_integer(explained->empty_layers));
        spade_json_set(&sparsity, "first_all_zero_layer", spade_json_text(explained->empty_layer));
    }
    return sparsity;
}

json_t *explained_json(const explained_run *run, const explained_input *explained)
{
    json_t *object = json_object();
    spade_json_set(&object, "file", spade_json_text(explained->file));
    if (explained->index >= 0) { spade_json_set(&object, "index", json_integer(explained->index)); }
    spade_json_set(&object, "name", spade_json_text(explained->name));
    spade_json_set(&object, "xxh128", json_string(explained->content));
    if (*explained->mask) { spade_json_set(&object, "mask_xxh128", json_string(explained->mask)); }
    spade_json_set(&object, "picture", spade_json_text(explained->picture));
    if (explained->mask_picture) { spade_json_set(&object, "mask_picture", spade_json_text(explained->mask_picture)); }
    spade_json_set(&object, "dense", network_json(run, explained, DENSE));
    spade_json_set(&object, "trace", network_json(run, explained, TRACE));
    if (explained->ran[TRACE]) {
        spade_json_set(&object, "class_changed", json_boolean(explained_class_changed(explained)));
        spade_json_set(&object, "score_fell", json_boolean(explained_score_fell(explained)));
        spade_json_set(&object, "sparsity", explained_sparsity_json(explained));
    }
    spade_json_set(&object, "maps", pairs_json(run, explained));
    spade_json_set(&object, "seconds", seconds_json(explained));
    return object;
}

/* ---- and back */

static double real_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static int64_t integer_at(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* A copy of a text; NULL where there is none, or no memory, which is noted. */
static char *text_at(const json_t *object, const char *key, bool *memory)
{
    const char *text = json_string_value(json_object_get(object, key));
    char *copy = text ? strdup(text) : NULL;
    *memory = *memory || (text && !copy);
    return copy;
}

static bool parse_network(const json_t *record, int network, explained_input *out)
{
    const json_t *object = json_object_get(record, network == DENSE ? "dense" : "trace");
    const json_t *logits = json_object_get(object, "logits"), *scores = json_object_get(object, "scores");
    if (!json_is_object(object)) { return true; }
    out->ran[network] = true;
    out->top[network] = integer_at(object, "class");
    if (out->top[network] < 0 || out->top[network] >= out->class_count ||
        json_array_size(logits) != (size_t)out->class_count || json_array_size(scores) != (size_t)out->class_count) {
        return false;
    }
    for (int64_t i = 0; i < out->class_count; i++) {
        out->logits[network * out->class_count + i] = real_of(json_array_get(logits, (size_t)i));
        out->scores[network * out->class_count + i] = real_of(json_array_get(scores, (size_t)i));
    }
    return true;
}

static void parse_map(const explained_run *run, const json_t *object, explained_map *out, bool *memory)
{
    out->delta = spade_json_real_at(object, "completeness_delta");
    out->all_zero = json_is_true(json_object_get(object, "all_zero"));
    for (int i = 0; i < run->metric_count; i++) { out->values[i] = spade_json_real_at(object, run->metrics[i].label); }
    out->array = text_at(object, "map", memory);
    out->heatmap = text_at(object, "overlay", memory);
    out->check = json_incref(json_object_get(object, "check"));
    out->present = json_is_object(object) && out->array && out->heatmap;
}

bool explained_parse_target(const explained_run *run, const json_t *object, spade_target *out)
{
    const json_t *against = json_object_get(object, "against");
    *out = (spade_target){.class_index = integer_at(object, "class"),
                          .against = json_integer_value(against),
                          .contrast = against != NULL};
    return out->class_index >= 0 && out->class_index < run->class_count && out->against >= 0 &&
           out->against < run->class_count;
}

/* A record's maps stand in the order of the run's methods, target by target. */
static bool parse_pairs(const explained_run *run, const json_t *maps, explained_input *out, bool *memory)
{
    const size_t count = json_array_size(maps);
    if (!count || count > INT_MAX || count % (size_t)run->method_count != 0) { return false; }
    const size_t targets = count / (size_t)run->method_count;
    *memory = *memory || !explained_input_add_pairs(out, (int)count, run->metric_count);
    if (*memory) { return false; }
    for (size_t i = 0; i < count; i++) {
        const json_t *object = json_array_get(maps, i);
        explained_pair *pair = &out->pairs[i];
        pair->method = (int)(i / targets);
        pair->reduce = explained_drawn(run, pair->method);
        if (!explained_parse_target(run, object, &pair->target)) { return false; }
        pair->scale = spade_json_real_at(object, "overlay_scale");
        parse_map(run, json_object_get(object, "dense"), &pair->maps[DENSE], memory);
        parse_map(run, json_object_get(object, "trace"), &pair->maps[TRACE], memory);
    }
    return true;
}

spade_status explained_parse(const explained_run *run, const json_t *record, explained_input *out)
{
    const json_t *sparsity = json_object_get(record, "sparsity"), *index = json_object_get(record, "index");
    const int64_t class_count = run->class_count;
    bool memory = false;
    *out = (explained_input){.file = json_string_value(json_object_get(record, "file")),
                             .name = json_string_value(json_object_get(record, "name")),
                             .index = index ? json_integer_value(index) : -1,
                             .class_count = class_count,
                             .picture = text_at(record, "picture", &memory),
                             .mask_picture = text_at(record, "mask_picture", &memory),
                             .zeros = integer_at(sparsity, "zeros"),
                             .weights = integer_at(sparsity, "weights"),
                             .empty_layers = integer_at(sparsity, "all_zero_layers"),
                             .empty_layer = text_at(sparsity, "first_all_zero_layer", &memory)};
    out->chosen = sparsity_choice_read(json_object_get(sparsity, "chosen"), &out->choice);
    out->logits = calloc((size_t)class_count * NETWORKS, sizeof *out->logits);
    out->scores = calloc((size_t)class_count * NETWORKS, sizeof *out->scores);
    memory = memory || !out->logits || !out->scores;
    const bool whole = !memory && out->file && out->name && out->picture && parse_network(record, DENSE, out) &&
                       parse_network(record, TRACE, out) &&
                       parse_pairs(run, json_object_get(record, "maps"), out, &memory);
    if (whole && !memory) { return SPADE_OK; }
    explained_input_clear(out);
    if (memory) { return spade_fail(run->context, SPADE_ERROR_MEMORY, "%s: out of memory", run->folder); }
    return spade_fail(run->context, SPADE_ERROR_INPUT, "%s/results.jsonl: a line is no record of this run",
                      run->folder);
}

/* ---- results.json */

static json_t *metrics_json(const explained_run *run)
{
    json_t *all = json_object();
    for (int i = 0; i < run->metric_count; i++) {
        const spade_metric_choice *choice = &run->metrics[i];
        json_t *metric = json_object();
        spade_json_set(&metric, "version", json_integer(explained_metric(run, i)->version));
        spade_json_set(&metric, "map", json_string(spade_reduce_name(SPADE_REDUCE_ABS_MAX)));
        if (choice->options) { spade_json_set(&metric, "options", spade_json_text(choice->options)); }
        spade_json_set(&all, choice->label, metric);
    }
    return all;
}

json_t *run_json(const explained_run *run)
{
    json_t *all = json_object();
    spade_json_set(&all, "version", json_string(spade_version()));
    spade_json_set(&all, "model", spade_json_text(run->model));
    spade_json_set(&all, "configuration", spade_settings_json(run->settings));
    spade_json_set(&all, "seed", json_integer((json_int_t)run->settings->seed));
    if (run->batch) { spade_json_set(&all, "batch", spade_json_text(run->batch)); }
    spade_json_set(&all, "metrics", metrics_json(run));
    return all;
}

static void write_line_end(FILE *file, int depth)
{
    fprintf(file, "\n%*s", depth, "");
}

/* JSON without white space as json_dumps(JSON_INDENT(1)) would lay it out, `depth` levels inside of something else. The
 * text is taken as it is: reading and writing thousands of numbers for each input would only spell them again. */
static void write_indented(FILE *file, const char *text, int depth)
{
    bool in_string = false;
    for (const char *at = text; *at; at++) {
        const bool opens = *at == '{' || *at == '[', closes = *at == '}' || *at == ']';
        if (in_string) {
            fputc(*at, file);
            if (*at == '\\' && at[1]) {
                fputc(*++at, file);
            } else if (*at == '"') {
                in_string = false;
            }
            continue;
        }
        if (opens && (at[1] == '}' || at[1] == ']')) { /* nothing in it */
            fputc(*at++, file);
            fputc(*at, file);
            continue;
        }
        if (closes) { write_line_end(file, --depth); }
        fputc(*at, file);
        in_string = *at == '"';
        if (opens) { write_line_end(file, ++depth); }
        if (*at == ',') { write_line_end(file, depth); }
        if (*at == ':') { fputc(' ', file); }
    }
}

/* The text is what json_dumps(JSON_INDENT(1)) makes of one object with the header's members and the two lists. */
spade_status results_json_open(spade_context *context, const char *path, const char *header, results_json_writer *out)
{
    *out = (results_json_writer){.context = context};
    SPADE_TRY(spade_output_open(context, path, &out->output));
    /* without the brace that ends it: the lists are members too */
    char *members = strndup(header, strlen(header) - 1);
    if (!members) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    write_indented(out->output.file, members, 0);
    free(members);
    return SPADE_OK;
}

static void end_list(results_json_writer *writer)
{
    if (writer->list) { fputs(writer->count ? "\n ]" : "]", writer->output.file); }
}

void results_json_list(results_json_writer *writer, const char *name)
{
    end_list(writer);
    fprintf(writer->output.file, ",\n \"%s\": [", name);
    writer->list = true;
    writer->count = 0;
}

void results_json_add(results_json_writer *writer, const char *record)
{
    fputs(writer->count++ ? ",\n  " : "\n  ", writer->output.file);
    write_indented(writer->output.file, record, 2);
}

spade_status results_json_commit(results_json_writer *writer)
{
    end_list(writer);
    fputs("\n}", writer->output.file);
    return spade_output_commit(writer->context, &writer->output);
}

void results_json_abort(results_json_writer *writer)
{
    spade_output_abort(&writer->output);
}
