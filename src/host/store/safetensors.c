/* safetensors.c - see safetensors.h. */
#include "store/safetensors.h"

#include "base/json.h"
#include "base/text.h"

static const char metadata_key[] = "__metadata__";
enum { PREFIX = 8 }; /* bytes of the length of the header */

/* To the header, which is an object. Names and values are the caller's: that they are UTF-8 is checked before. */
static spade_status add(spade_context *context, json_t *to, const char *key, json_t *value, const char *path)
{
    return json_object_set_new(to, key, value) == 0
               ? SPADE_OK
               : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
}

static spade_status check_text(spade_context *context, const char *text, const char *what, const char *path)
{
    return spade_is_utf8(text) ? SPADE_OK
                               : spade_fail(context, SPADE_ERROR_INPUT, "%s: %s '%s' is not UTF-8", path, what, text);
}

static spade_status add_metadata(spade_context *context, json_t *header, const safetensors_metadata *metadata,
                                 int count, const char *path)
{
    if (count == 0) { return SPADE_OK; }
    json_t *map = json_object();
    SPADE_TRY(add(context, header, metadata_key, map, path));
    for (int i = 0; i < count; i++) {
        SPADE_TRY(check_text(context, metadata[i].key, "metadata", path));
        SPADE_TRY(check_text(context, metadata[i].value, "metadata", path));
        SPADE_TRY(add(context, map, metadata[i].key, json_string(metadata[i].value), path));
    }
    return SPADE_OK;
}

/* {"dtype":"F32","shape":[...],"data_offsets":[begin,end]}; *offset moves on by the tensor's bytes. */
static spade_status add_tensor(spade_context *context, json_t *header, const safetensors_tensor *tensor,
                               uint64_t *offset, const char *path)
{
    int64_t elements;
    size_t bytes;
    uint64_t end;
    if (tensor->rank < 0 || tensor->rank > SPADE_MAX_RANK || !spade_mul_dims(tensor->dims, tensor->rank, &elements) ||
        !spade_mul_size((size_t)elements, sizeof(float), &bytes) ||
        __builtin_add_overflow(*offset, (uint64_t)bytes, &end) || end > INT64_MAX) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: tensor '%s' has an impossible shape", path, tensor->name);
    }
    if (strcmp(tensor->name, metadata_key) == 0 || json_object_get(header, tensor->name)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: tensor name '%s' is taken", path, tensor->name);
    }
    SPADE_TRY(check_text(context, tensor->name, "tensor name", path));
    const int64_t offsets[] = {(int64_t)*offset, (int64_t)end};
    json_t *entry = json_object();
    spade_json_set(&entry, "dtype", json_string("F32"));
    spade_json_set(&entry, "shape", spade_json_integers(tensor->dims, tensor->rank));
    spade_json_set(&entry, "data_offsets", spade_json_integers(offsets, 2));
    SPADE_TRY(add(context, header, tensor->name, entry, path));
    *offset = end;
    return SPADE_OK;
}

/* All that stands before the data: its length, the JSON text, and blanks so that the data begin at a multiple of 8. malloc'ed. */
static spade_status make_head(spade_context *context, const safetensors_tensor *tensors, int count,
                              const safetensors_metadata *metadata, int metadata_count, const char *path, char **out,
                              size_t *size)
{
    spade_status status = SPADE_OK;
    uint64_t offset = 0;
    char *text = NULL;
    json_t *header = json_object();
    *out = NULL;
    if (!header) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)); }
    SPADE_GOTO(add_metadata(context, header, metadata, metadata_count, path));
    for (int i = 0; i < count; i++) { SPADE_GOTO(add_tensor(context, header, &tensors[i], &offset, path)); }
    text = spade_json_dump(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    const size_t length = text ? strlen(text) : 0, padded = (length + 7) / 8 * 8;
    *size = PREFIX + padded;
    *out = text ? malloc(*size) : NULL;
    if (!*out) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)); }
    for (int i = 0; i < PREFIX; i++) { (*out)[i] = (char)(uint8_t)((uint64_t)padded >> (8 * i)); }
    memset(*out + PREFIX, ' ', padded);
    memcpy(*out + PREFIX, text, length);
done:
    free(text);
    json_decref(header);
    return status;
}

spade_status safetensors_write(spade_context *context, const safetensors_tensor *tensors, int count,
                               const safetensors_metadata *metadata, int metadata_count, const char *path)
{
    spade_status status;
    spade_output output;
    char *head;
    size_t size;
    SPADE_GOTO(make_head(context, tensors, count, metadata, metadata_count, path, &head, &size));
    SPADE_GOTO(spade_output_open(context, path, &output));
    fwrite(head, 1, size, output.file); /* a failure stays with the FILE, and commit reports it */
    for (int i = 0; i < count; i++) {
        int64_t elements = 0;
        spade_mul_dims(tensors[i].dims, tensors[i].rank, &elements); /* checked before */
        if (elements) { fwrite(tensors[i].data, sizeof(float), (size_t)elements, output.file); }
    }
    status = spade_output_commit(context, &output);
done:
    free(head);
    return status;
}

spade_status safetensors_has_header(spade_context *context, const spade_mapping *file,
                                    const safetensors_tensor *tensors, int count, const safetensors_metadata *metadata,
                                    int metadata_count, const char *path, bool *same)
{
    char *head;
    size_t size;
    SPADE_TRY(make_head(context, tensors, count, metadata, metadata_count, path, &head, &size));
    *same = file->size >= size && memcmp(file->data, head, size) == 0;
    free(head);
    return SPADE_OK;
}

static spade_status find_text(spade_context *context, const char *path, const spade_mapping *file, uint64_t length,
                              const char *key, char **out)
{
    spade_json_error error;
    json_t *header = spade_json_parse((const char *)file->data + 8, (size_t)length, &error);
    if (!header && !error.memory) { return spade_fail(context, SPADE_ERROR_INPUT, "%s: its header is no JSON", path); }
    const char *text = json_string_value(json_object_get(json_object_get(header, metadata_key), key));
    *out = header ? strdup(text ? text : "") : NULL;
    json_decref(header);
    return *out ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
}

spade_status safetensors_read(spade_context *context, const char *path, uint64_t limit, const char *key,
                              spade_mapping *file, char **text, spade_mapping *data)
{
    uint64_t length = 0;
    SPADE_TRY(spade_map_file(context, path, limit, file));
    for (int i = 7; i >= 0 && file->size >= 8; i--) { length = length << 8 | file->data[i]; }
    spade_status status = SPADE_OK;
    if (file->size < 8 || length > file->size - 8) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: its header is longer than the file", path);
    } else {
        status = find_text(context, path, file, length, key, text);
        *data = (spade_mapping){.data = file->data + 8 + length, .size = file->size - 8 - (size_t)length};
    }
    if (status != SPADE_OK) { spade_unmap(file); }
    return status;
}
