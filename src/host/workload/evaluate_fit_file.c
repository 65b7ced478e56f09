/*
 * evaluate_fit_file.c - DIR/sparse_fc.safetensors, the sparse last layer as a file that other programs read, and of which a run that
 * goes on takes it again.
 *
 * The file's metadata "spade" is {"key": of all that the layer depends on, "fit": what results.json says, "xxh128": of both and the
 * data}. What was written says itself how every other byte of the file is: it is taken only where all of them are so.
 */
#include <unistd.h>

#include "backend/backend.h"
#include "base/text.h"
#include "engine/model.h"
#include "store/safetensors.h"
#include "trace/sparse_fc.h"
#include "workload/evaluate.h"

static spade_status fail_memory(const evaluate_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

static char *file_path(const evaluate_job *job)
{
    char *path;
    return asprintf(&path, "%s/sparse_fc.safetensors", job->request->output) < 0 ? NULL : path;
}

/* Of all that the layer depends on. */
static spade_status find_key(const evaluate_job *job, char out[SPADE_FINGERPRINT_SIZE])
{
    const spade_settings *settings = job->request->settings;
    json_t *all = json_object();
    spade_json_set(&all, "version", json_string(spade_version()));
    spade_json_set(&all, "backend", json_string(job->context->device->backend->name));
    spade_json_set(&all, "model", json_string(job->model->onnx->fingerprint));
    spade_json_set(&all, "pictures", json_string(job->fit.fingerprint));
    spade_json_set(&all, "margin", json_real(job->fit.margin));
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        if (key->unrecorded || !(key->groups & (SPADE_KEYS_RUN | SPADE_KEYS_PICTURE))) { continue; }
        spade_json_set(&all, key->name, spade_setting_json(settings, key));
    }
    char *text = spade_json_dump(all, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(all);
    if (!text) { return fail_memory(job); }
    const spade_mapping piece = {.data = (const uint8_t *)text, .size = strlen(text)};
    spade_fingerprint(&piece, 1, out);
    free(text);
    return SPADE_OK;
}

/* The metadata of a layer of this key. malloc'ed; NULL: out of memory. */
static char *describe(const char *key, const json_t *record, const spade_mapping *data)
{
    char hash[SPADE_FINGERPRINT_SIZE], *fit = spade_json_dump(record, JSON_COMPACT);
    if (!fit) { return NULL; }
    const spade_mapping pieces[] = {{.data = (const uint8_t *)key, .size = strlen(key)},
                                    {.data = (const uint8_t *)fit, .size = strlen(fit)},
                                    *data};
    spade_fingerprint(pieces, 3, hash);
    free(fit);
    json_t *object = json_object();
    spade_json_set(&object, "key", json_string(key));
    spade_json_set(&object, "fit", json_incref((json_t *)(uintptr_t)record));
    spade_json_set(&object, "xxh128", json_string(hash));
    char *text = spade_json_dump(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

/* ---- what the file holds */

enum { TENSORS = 2, METADATA = 2 };
typedef struct layer_file {
    char *names[TENSORS];
    safetensors_tensor tensors[TENSORS];
    safetensors_metadata metadata[METADATA];
} layer_file;

static void close_file(layer_file *file)
{
    for (int i = 0; i < TENSORS; i++) { free(file->names[i]); }
}

/* about: borrowed. It is to be closed also after a failure. */
static spade_status open_file(const evaluate_job *job, const spade_sparse_fc *fc, const char *about, layer_file *out)
{
    const spade_layer *layer = &job->model->network.layers[fc->layer];
    static const char *const ends[TENSORS] = {"weight", "bias"};
    char *name = spade_utf8(layer->name);
    bool named = name != NULL;
    *out = (layer_file){.metadata = {{"format", "pt"}, {"spade", about}}};
    for (int i = 0; named && i < TENSORS; i++) {
        named = asprintf(&out->names[i], "%s.%s", name, ends[i]) >= 0;
        if (!named) { out->names[i] = NULL; }
    }
    free(name);
    if (!named) { return fail_memory(job); }
    out->tensors[0] =
        (safetensors_tensor){.name = out->names[0], .data = fc->weights, .rank = layer->convolution ? 4 : 2};
    out->tensors[1] = (safetensors_tensor){.name = out->names[1], .data = fc->bias, .rank = 1, .dims = {fc->rows}};
    memcpy(out->tensors[0].dims, layer->weight, sizeof *layer->weight * (size_t)out->tensors[0].rank);
    return SPADE_OK;
}

spade_status evaluate_fit_write_file(const evaluate_job *job, const spade_sparse_fc *fc)
{
    const spade_mapping data = {.data = (const uint8_t *)fc->weights, .size = fc->bytes};
    char key[SPADE_FINGERPRINT_SIZE], *path = NULL, *about = NULL;
    layer_file file = {0};
    spade_status status;
    SPADE_GOTO(find_key(job, key));
    path = file_path(job);
    about = describe(key, job->fit.record, &data);
    if (!path || !about) { SPADE_GOTO(fail_memory(job)); }
    SPADE_GOTO(open_file(job, fc, about, &file));
    status = safetensors_write(job->context, file.tensors, TENSORS, file.metadata, METADATA, path);
done:
    close_file(&file);
    free(about);
    free(path);
    return status;
}

/* ---- what an earlier run has kept */

/* Of the file: its bytes, the metadata and the data. */
typedef struct kept_file {
    char *path, *about;
    spade_mapping file, data;
} kept_file;

/* The key and the record of what is whole as far as its metadata say; NULL in *key where it is not. */
static spade_status check_about(const evaluate_job *job, const kept_file *kept, const json_t *about, const char **key)
{
    const char *there = json_string_value(json_object_get(about, "key"));
    const json_t *record = json_object_get(about, "fit");
    *key = NULL;
    if (!there || !json_is_object(record)) { return SPADE_OK; }
    char *wanted = describe(there, record, &kept->data);
    if (!wanted) { return fail_memory(job); }
    if (strcmp(wanted, kept->about) == 0) { *key = there; }
    free(wanted);
    return SPADE_OK;
}

/* The rest of its bytes, names and shapes of tensors among them, are those that are written with this layer. */
static spade_status check_header(const evaluate_job *job, const kept_file *kept, const spade_sparse_fc *fc, bool *same)
{
    layer_file file;
    spade_status status = open_file(job, fc, kept->about, &file);
    if (status == SPADE_OK) {
        status = safetensors_has_header(job->context, &kept->file, file.tensors, TENSORS, file.metadata, METADATA,
                                        kept->path, same);
    }
    close_file(&file);
    return status;
}

/* What was written for the same question: to the layer, and to the record. *why: it is not taken; "" where nothing is wrong. */
static spade_status take_file(evaluate_job *job, const kept_file *kept, spade_sparse_fc *fc, const char **why)
{
    spade_json_error error;
    char key[SPADE_FINGERPRINT_SIZE];
    const char *there;
    bool same = false;
    spade_status status;
    json_t *about = spade_json_parse(kept->about, strlen(kept->about), &error);
    *why = "it is not what was written there";
    if (!about) { return error.memory ? fail_memory(job) : SPADE_OK; }
    SPADE_GOTO(find_key(job, key));
    SPADE_GOTO(check_about(job, kept, about, &there));
    if (there && strcmp(there, key) != 0) { *why = ""; } /* of another question */
    if (!there || strcmp(there, key) != 0 || kept->data.size != fc->bytes) { goto done; }
    SPADE_GOTO(check_header(job, kept, fc, &same));
    if (!same) { goto done; }
    memcpy(fc->weights, kept->data.data, fc->bytes);
    job->fit.record = json_incref(json_object_get(about, "fit"));
    *why = NULL;
done:
    json_decref(about);
    return status;
}

spade_status evaluate_fit_read_file(evaluate_job *job, spade_sparse_fc *fc, bool *there)
{
    const uint64_t limit = fc->bytes + (1u << 20);
    kept_file kept = {.path = file_path(job)};
    const char *why = NULL;
    spade_status status = SPADE_OK;
    *there = false;
    if (!kept.path) { return fail_memory(job); }
    if (access(kept.path, F_OK) != 0) { goto done; }
    status = safetensors_read(job->context, kept.path, limit, "spade", &kept.file, &kept.about, &kept.data);
    if (status == SPADE_OK) {
        status = take_file(job, &kept, fc, &why);
        spade_unmap(&kept.file);
        *there = status == SPADE_OK && !why;
        if (why && *why) { spade_log(job->context, SPADE_LOG_WARNING, "%s: %s; it is made again", kept.path, why); }
    } else if (status == SPADE_ERROR_INPUT) {
        spade_log(job->context, SPADE_LOG_WARNING, "%s; it is made again", spade_message(job->context));
        status = SPADE_OK;
    }
    if (status == SPADE_OK) { spade_error_clear(job->context); }
done:
    free(kept.about);
    free(kept.path);
    return status;
}
