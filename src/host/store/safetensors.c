/* safetensors.c - the writer of .safetensors. */
#include "store/safetensors.h"

#include <jansson.h>

static const char metadata_key[] = "__metadata__";

static spade_status add_metadata(spade_context *context, json_t *header, const safetensors_metadata *metadata,
                                 int count, const char *path)
{
    if (count == 0) { return SPADE_OK; }
    json_t *map = json_object();
    if (json_object_set_new(header, metadata_key, map) != 0) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
    }
    for (int i = 0; i < count; i++) {
        json_t *value = json_string(metadata[i].value);
        if (json_object_set_new(map, metadata[i].key, value) != 0) {
            return spade_fail(context, SPADE_ERROR_INPUT, "%s: metadata '%s' is not UTF-8", path, metadata[i].key);
        }
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
    json_t *shape = json_array();
    for (int i = 0; i < tensor->rank; i++) { json_array_append_new(shape, json_integer(tensor->dims[i])); }
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets",
                              (json_int_t)*offset, (json_int_t)end);
    if (!entry) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    if (json_object_set_new(header, tensor->name, entry) != 0) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: tensor name '%s' is not UTF-8", path, tensor->name);
    }
    *offset = end;
    return SPADE_OK;
}

static void write_data(FILE *file, const char *header, const safetensors_tensor *tensors, int count)
{
    static const char spaces[8] = "        ";
    size_t length = strlen(header);
    size_t padding = (8 - length % 8) % 8; /* the data begin at a multiple of 8 */
    uint64_t total = length + padding;
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++) { prefix[i] = (uint8_t)(total >> (8 * i)); }
    fwrite(prefix, 1, sizeof prefix, file);
    fwrite(header, 1, length, file);
    fwrite(spaces, 1, padding, file);
    for (int i = 0; i < count; i++) {
        int64_t elements = 0;
        spade_mul_dims(tensors[i].dims, tensors[i].rank, &elements); /* checked before */
        if (elements) { fwrite(tensors[i].data, sizeof(float), (size_t)elements, file); }
    }
}

spade_status safetensors_write(spade_context *context, const safetensors_tensor *tensors, int count,
                               const safetensors_metadata *metadata, int metadata_count, const char *path)
{
    spade_status status = SPADE_OK;
    spade_output output;
    uint64_t offset = 0;
    char *text = NULL;
    json_t *header = json_object();
    if (!header) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)); }
    SPADE_GOTO(add_metadata(context, header, metadata, metadata_count, path));
    for (int i = 0; i < count; i++) { SPADE_GOTO(add_tensor(context, header, &tensors[i], &offset, path)); }
    text = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!text) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)); }
    SPADE_GOTO(spade_output_open(context, path, &output));
    write_data(output.file, text, tensors, count); /* a failure stays with the FILE, and commit reports it */
    status = spade_output_commit(context, &output);
done:
    free(text);
    json_decref(header);
    return status;
}
