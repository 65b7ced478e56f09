/* annotate_row.c - a row of the manifest: its maps as files of the shard's tar, and its JSON. */
#include <math.h>

#include "workload/annotate.h"

/* ---- the maps */

/* KEY.METHOD.npy, of the trace KEY.METHOD.trace.npy; with several classes KEY.METHOD_cCLASS...: what follows the key's dot is what
 * WebDataset readers know a member by. False: too long. */
static bool name_map(const annotate_job *job, int64_t row, int method, int target, int network,
                     char out[SPADE_TAR_NAME])
{
    const explain_job *e = &job->explain;
    char key[SPADE_STORE_KEY], suffix[CLASS_LABEL_SIZE + 2] = "";
    spade_store_key(row, key);
    if (e->target_count > 1) { snprintf(suffix, sizeof suffix, "_c%s", e->targets[target].label); }
    return snprintf(out, SPADE_TAR_NAME, "%s.%s%s%s.%s", key, e->methods[method].label, suffix,
                    network == TRACE ? ".trace" : "", map_values_endings[job->values]) < SPADE_TAR_NAME;
}

spade_status annotate_check_names(const annotate_job *job)
{
    char name[SPADE_TAR_NAME];
    for (int m = 0; m < job->explain.method_count; m++) {
        for (int t = 0; t < job->explain.target_count; t++) {
            if (name_map(job, SPADE_STORE_MAX_ENTRIES - 1, m, t, TRACE, name)) { continue; }
            return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "%s: its name is too long for a file in a tar",
                              job->explain.methods[m].label);
        }
    }
    return SPADE_OK;
}

static spade_status make_room(const annotate_job *job, annotated_input *input)
{
    if ((input->map_count & (input->map_count - 1)) != 0) {
        return SPADE_OK;
    } /* there is some up to the next power of two */
    const size_t capacity = 2 * (size_t)(input->map_count + 1);
    annotated_map *maps = realloc(input->maps, sizeof *maps * capacity);
    if (maps) { input->maps = maps; }
    spade_shard_file *files = maps ? realloc(input->files, sizeof *files * capacity) : NULL;
    if (files) { input->files = files; }
    return files ? SPADE_OK : spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

spade_status annotate_take_map(void *user, const explain_made_map *made)
{
    annotate_job *job = user;
    annotated_input *input = (annotated_input *)made->explained;
    const bool negative = explained_signed(&job->explain.run, made->pair->method);
    SPADE_TRY(make_room(job, input));
    annotated_map *map = &input->maps[input->map_count];
    spade_shard_file *file = &input->files[input->map_count];
    *map = (annotated_map){.pair = made->pair, .network = made->network};
    *file = (spade_shard_file){.size = 0};
    memcpy(map->shape, made->shape, sizeof map->shape);
    (void)name_map(job, input->row, made->pair->method, made->target, made->network, file->name);
    spade_status status = map_values_encode(job->context, job->values, made->map, made->shape, negative, &map->file);
    if (status != SPADE_OK) { return spade_fail_in(job->context, status, "%s", file->name); }
    file->bytes = map->file.bytes;
    file->size = map->file.size;
    const spade_mapping piece = {.data = map->file.bytes, .size = map->file.size};
    spade_fingerprint(&piece, 1, file->xxh128);
    input->map_count++;
    return SPADE_OK;
}

/* ---- steps */

spade_status annotate_dense(void *user, const workload_item *item, void *state)
{
    annotate_job *job = user;
    annotated_input *input = state;
    input->row = item->input->position;
    annotate_tell_begun(job, item);
    return explain_dense(&job->explain, item, &input->explained);
}

spade_status annotate_process(void *user, const workload_item *item, void *state)
{
    annotate_job *job = user;
    annotated_input *input = state;
    annotate_tell_begun(job, item); /* of a group others were begun behind it */
    return explain_process(&job->explain, item, &input->explained);
}

void annotate_clear(void *state)
{
    annotated_input *input = state;
    for (int i = 0; i < input->map_count; i++) { free(input->maps[i].file.bytes); }
    free(input->maps);
    free(input->files);
    explained_input_clear(&input->explained);
}

/* ---- KEY.json: nothing in it says when, where or how the run was */

static json_t *network_json(const annotate_job *job, const explained_input *explained, int network)
{
    const int64_t top = explained->top[network], at = network * explained->class_count + top;
    json_t *object = explained_class_json(&job->explain.run, top);
    spade_json_set(&object, "score", spade_json_number(explained->scores[at]));
    spade_json_set(&object, "logit", spade_json_number(explained->logits[at]));
    return object;
}

static json_t *map_json(const annotate_job *job, const annotated_input *input, int i)
{
    const annotated_map *map = &input->maps[i];
    const explained_map *made = &map->pair->maps[map->network];
    const explained_run *run = &job->explain.run;
    const double *scores = input->explained.scores + map->network * input->explained.class_count;
    json_t *object = explained_map_json(run, map->pair->method, &map->pair->target);
    spade_json_set(&object, "network", json_string(explained_networks[map->network]));
    if (input->explained.ran[map->network]) {
        spade_json_set(&object, "score", spade_json_number(scores[map->pair->target.class_index]));
    }
    spade_json_set(&object, "file", json_string(input->files[i].name));
    spade_json_set(&object, "bytes", json_integer((json_int_t)input->files[i].size));
    spade_json_set(&object, "xxh128", json_string(input->files[i].xxh128));
    spade_json_set(&object, "shape", spade_json_integers(map->shape, 3));
    if (job->values != MAP_FLOAT32) {
        spade_json_set(&object, "scale", json_real(map->file.scale));
        spade_json_set(&object, "zero", json_integer(map->file.zero));
    }
    if (made->all_zero) { spade_json_set(&object, "all_zero", json_true()); }
    for (int k = 0; k < run->metric_count; k++) {
        spade_json_set(&object, run->metrics[k].label, spade_json_number(made->values[k]));
    }
    if (isfinite(made->delta)) { spade_json_set(&object, "completeness_delta", spade_json_number(made->delta)); }
    if (made->check) { spade_json_set(&object, "check", json_incref(made->check)); }
    return object;
}

/* What every row's JSON begins with. */
static spade_status begin_json(const annotate_job *job, int64_t row, json_t **out)
{
    json_t *columns, *object = json_object();
    *out = NULL;
    const spade_status status = spade_manifest_row(job->context, &job->manifest, row, &columns);
    if (status != SPADE_OK) {
        json_decref(object);
        return status;
    }
    spade_json_set(&object, "row", json_integer(row));
    spade_json_set(&object, "image", json_incref(json_object_get(columns, "image")));
    spade_json_set(&object, "columns", columns);
    *out = object;
    return object ? SPADE_OK : spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

static void add_results(const annotate_job *job, const annotated_input *input, json_t **object)
{
    const explained_input *explained = &input->explained;
    json_t *maps = json_array();
    spade_json_set(object, "xxh128", json_string(explained->content));
    if (*explained->mask) { spade_json_set(object, "mask_xxh128", json_string(explained->mask)); }
    spade_json_set(object, "dense", network_json(job, explained, DENSE));
    if (explained->ran[TRACE]) {
        spade_json_set(object, "trace", network_json(job, explained, TRACE));
        spade_json_set(object, "class_changed", json_boolean(explained_class_changed(explained)));
        spade_json_set(object, "score_fell", json_boolean(explained_score_fell(explained)));
        spade_json_set(object, "sparsity", explained_sparsity_json(explained));
    }
    for (int i = 0; i < input->map_count; i++) { spade_json_append(&maps, map_json(job, input, i)); }
    spade_json_set(object, "maps", maps);
}

static spade_status write_row(annotate_job *job, int64_t row, const annotated_input *input, json_t *object)
{
    if (!object) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    SPADE_TRY(annotate_add_row(job, row, input ? input->files : NULL, input ? input->map_count : 0, object));
    if (job->events && job->events->result) { job->events->result(job->events->user, object); }
    return SPADE_OK;
}

spade_status annotate_record(void *user, const workload_item *item, void *state)
{
    annotate_job *job = user;
    const annotated_input *input = state;
    spade_workload_outcome *pictures = &job->outcome->pictures;
    json_t *object;
    (void)item;
    SPADE_TRY(begin_json(job, input->row, &object));
    add_results(job, input, &object);
    const spade_status status = write_row(job, input->row, input, object);
    json_decref(object);
    SPADE_TRY(status);
    pictures->done++;
    pictures->changed += explained_class_changed(&input->explained);
    pictures->fell += explained_score_fell(&input->explained);
    return SPADE_OK;
}

/* ---- failures */

/* Every `path` in the text becomes `name`: a message names files as this run reaches them, the record as the manifest does.
 * malloc'ed; NULL: out of memory. */
static char *rename_in(const char *text, const char *path, const char *name)
{
    char *out = NULL;
    size_t size;
    FILE *to = open_memstream(&out, &size);
    if (!to) { return NULL; }
    for (const char *at; *path && (at = strstr(text, path)); text = at + strlen(path)) {
        fprintf(to, "%.*s%s", (int)(at - text), text, name);
    }
    fputs(text, to);
    if (fclose(to) == 0) { return out; }
    free(out);
    return NULL;
}

/* The path as messages have it: only printable characters, cut as they are. */
static void in_message(spade_context *context, const char *path, char out[SPADE_MESSAGE_BYTES])
{
    spade_fail(context, SPADE_ERROR_INPUT, "%s", path);
    snprintf(out, SPADE_MESSAGE_BYTES, "%s", spade_message(context));
    spade_error_clear(context);
}

static char *neutral_message(const annotate_job *job, const spade_input *input, const json_t *columns,
                             const char *message)
{
    char path[SPADE_MESSAGE_BYTES], name[SPADE_MESSAGE_BYTES];
    const char *mask = spade_json_text_at(columns, "mask");
    in_message(job->context, input->file, path);
    in_message(job->context, spade_json_text_at(columns, "image"), name);
    char *text = rename_in(message, path, name);
    if (!text || !input->mask) { return text; }
    in_message(job->context, input->mask, path);
    in_message(job->context, mask, name);
    char *both = rename_in(text, path, name);
    free(text);
    return both;
}

spade_status annotate_failed(void *user, const spade_input *input, const char *message)
{
    annotate_job *job = user;
    json_t *object;
    SPADE_TRY(begin_json(job, input->position, &object));
    char *text = neutral_message(job, input, json_object_get(object, "columns"), message);
    spade_json_set(&object, "error", text ? spade_json_text(text) : NULL);
    spade_json_set(&object, "maps", json_array());
    free(text);
    const spade_status status = write_row(job, input->position, NULL, object);
    json_decref(object);
    SPADE_TRY(status);
    job->outcome->pictures.failed++;
    if (job->events && job->events->failed) { job->events->failed(job->events->user, message); }
    return SPADE_OK;
}
