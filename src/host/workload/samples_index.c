/*
 * samples_index.c - STORE/tars.index: what the first run has found in the tars, so that later runs need not look again. A line of JSON and,
 * behind it, where each sample begins. It decides nothing: where it is not there, damaged, or of tars of other names, sizes or times, the
 * tars are read.
 */
#include "base/fingerprint.h"
#include "store/store.h"
#include "workload/samples.h"

static const char index_name[] = "tars.index";
enum { INDEX_FORMAT = 1 };

static char *index_path(const char *store)
{
    char *path;
    return asprintf(&path, "%s/%s", store, index_name) < 0 ? NULL : path;
}

static void fingerprint_offsets(const spade_samples *samples, char out[SPADE_FINGERPRINT_SIZE])
{
    const spade_mapping piece = {.data = (const uint8_t *)samples->offsets,
                                 .size = sizeof *samples->offsets * (size_t)samples->count};
    spade_fingerprint(&piece, 1, out);
}

/* What decides whether the index is of these tars as they are now. */
static json_t *describe_tar(const spade_tar *tar)
{
    json_t *all = json_object();
    spade_json_set(&all, "name", spade_json_text(tar->name));
    spade_json_set(&all, "size", json_integer((json_int_t)tar->size));
    spade_json_set(&all, "modified", json_integer(tar->modified));
    return all;
}

static json_t *describe(const spade_samples *samples)
{
    json_t *all = json_object(), *tars = json_array();
    char xxh128[SPADE_FINGERPRINT_SIZE];
    fingerprint_offsets(samples, xxh128);
    for (int i = 0; i < samples->tars.count; i++) {
        json_t *tar = describe_tar(&samples->tars.items[i]);
        spade_json_set(&tar, "first", json_integer(samples->of_tar[i].first));
        spade_json_set(&tar, "compressed", json_boolean(samples->of_tar[i].compressed));
        spade_json_append(&tars, tar);
    }
    spade_json_set(&all, "format", json_integer(INDEX_FORMAT));
    spade_json_set(&all, "version", json_string(spade_version()));
    spade_json_set(&all, "sha256", json_string(samples->sha256));
    spade_json_set(&all, "samples", json_integer(samples->count));
    spade_json_set(&all, "masks", json_boolean(samples->masks));
    spade_json_set(&all, "xxh128", json_string(xxh128));
    spade_json_set(&all, "tars", tars);
    return all;
}

void spade_samples_keep(const spade_samples *samples, const char *store)
{
    spade_output out;
    if (!samples->scanned) { return; }
    char *path = index_path(store);
    json_t *about = describe(samples);
    char *text = spade_json_dump(about, JSON_COMPACT);
    const size_t count = (size_t)samples->count;
    if (path && text && spade_output_open(samples->context, path, &out) == SPADE_OK) {
        const bool written = fprintf(out.file, "%s\n", text) > 0 &&
                             fwrite(samples->offsets, sizeof *samples->offsets, count, out.file) == count;
        if (written) {
            (void)spade_output_commit(samples->context, &out);
        } else {
            spade_output_abort(&out);
        }
    }
    spade_error_clear(samples->context);
    free(text);
    json_decref(about);
    free(path);
}

/* ---- reading */

static bool is_tar_known(const json_t *known, const spade_tar *tar)
{
    return strcmp(spade_json_text_at(known, "name"), tar->name) == 0 &&
           json_integer_value(json_object_get(known, "size")) == (json_int_t)tar->size &&
           json_integer_value(json_object_get(known, "modified")) == tar->modified;
}

static bool take_tars(spade_samples *samples, const json_t *tars)
{
    int64_t before = 0;
    if (json_array_size(tars) != (size_t)samples->tars.count) { return false; }
    for (int i = 0; i < samples->tars.count; i++) {
        const json_t *known = json_array_get(tars, (size_t)i);
        const int64_t first = json_integer_value(json_object_get(known, "first"));
        if (!is_tar_known(known, &samples->tars.items[i]) || first < before || first > samples->count) { return false; }
        samples->of_tar[i] = (sample_tar){first, json_is_true(json_object_get(known, "compressed"))};
        before = first;
    }
    samples->of_tar[samples->tars.count].first = samples->count;
    return samples->of_tar[0].first == 0;
}

/* Is it of this version, and of these tars? */
static bool take_description(spade_samples *samples, const json_t *about)
{
    const char *sha256 = spade_json_text_at(about, "sha256");
    samples->count = json_integer_value(json_object_get(about, "samples"));
    samples->masks = json_is_true(json_object_get(about, "masks"));
    if (json_integer_value(json_object_get(about, "format")) != INDEX_FORMAT ||
        strlen(sha256) != SPADE_SHA256_SIZE - 1 || strcmp(spade_json_text_at(about, "version"), spade_version()) != 0 ||
        samples->count < 1 || samples->count > SPADE_STORE_MAX_ENTRIES) {
        return false;
    }
    memcpy(samples->sha256, sha256, SPADE_SHA256_SIZE);
    return take_tars(samples, json_object_get(about, "tars"));
}

/* *known: the offsets are those that the description speaks of. */
static spade_status take_offsets(spade_samples *samples, const json_t *about, const uint8_t *bytes, size_t size,
                                 bool *known)
{
    char xxh128[SPADE_FINGERPRINT_SIZE];
    *known = size == sizeof *samples->offsets * (size_t)samples->count;
    if (!*known) { return SPADE_OK; }
    samples->offsets = malloc(size);
    if (!samples->offsets) { return spade_fail(samples->context, SPADE_ERROR_MEMORY, "%s: out of memory", index_name); }
    memcpy(samples->offsets, bytes, size);
    fingerprint_offsets(samples, xxh128);
    *known = strcmp(xxh128, spade_json_text_at(about, "xxh128")) == 0;
    return SPADE_OK;
}

static void forget(spade_samples *samples)
{
    free(samples->offsets);
    samples->offsets = NULL;
    samples->count = 0;
    samples->masks = false;
}

spade_status spade_samples_read_index(spade_samples *samples, const char *store, bool *known)
{
    const uint64_t most = (uint64_t)16 << 30;
    spade_mapping file = {0};
    spade_json_error error = {0};
    *known = false;
    char *path = index_path(store);
    if (!path) { return spade_fail(samples->context, SPADE_ERROR_MEMORY, "out of memory"); }
    spade_status status = spade_map_file(samples->context, path, most, &file);
    free(path);
    if (status == SPADE_ERROR_MEMORY) { return status; }
    if (status != SPADE_OK) {
        spade_error_clear(samples->context);
        return SPADE_OK;
    }
    status = SPADE_OK;
    const uint8_t *end = memchr(file.data, '\n', file.size);
    json_t *about = end ? spade_json_parse((const char *)file.data, (size_t)(end - file.data), &error) : NULL;
    if (!about && error.memory) {
        status = spade_fail(samples->context, SPADE_ERROR_MEMORY, "%s: out of memory", index_name);
    }
    if (about && take_description(samples, about)) {
        status = take_offsets(samples, about, end + 1, file.size - (size_t)(end + 1 - file.data), known);
    }
    if (!*known) { forget(samples); }
    json_decref(about);
    spade_unmap(&file);
    return status;
}
