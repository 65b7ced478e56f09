/* solution_file.c - see solution_file.h. */
#include "trace/solution_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static size_t mask_bytes(const spade_layer *layer)
{
    return ((size_t)(layer->rows * layer->columns) + 7) / 8;
}

static size_t most_bytes(const spade_layer *layer)
{
    return mask_bytes(layer) + (size_t)(layer->rows * layer->columns) * sizeof(float);
}

static spade_status fail_io(const solution_file *file, const char *what)
{
    return spade_fail(file->context, SPADE_ERROR_IO, "%s: a temporary file of solved layers cannot be %s: %s",
                      file->folder, what, strerror(errno));
}

/* A file that has no name any more. */
static int open_nameless(const char *folder)
{
    char *path;
    int descriptor = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor >= 0 || asprintf(&path, "%s/.spade-XXXXXX", folder) < 0) { return descriptor; }
    descriptor = mkostemp(path, O_CLOEXEC); /* a file system without O_TMPFILE */
    if (descriptor >= 0) { unlink(path); }
    free(path);
    return descriptor;
}

spade_status solution_file_open(spade_context *context, const spade_model *model, const char *folder,
                                int64_t trace_count, solution_file *out)
{
    const spade_network *network = &model->network;
    void *buffer;
    *out = (solution_file){.context = context, .model = model, .descriptor = -1, .trace_count = trace_count};
    out->folder = strdup(folder);
    out->places = calloc((size_t)trace_count * (size_t)network->layer_count + 1, sizeof *out->places);
    if (!out->folder || !out->places) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int l = 0; l < network->layer_count; l++) {
        const size_t bytes = network->layers[l].prunable ? most_bytes(&network->layers[l]) : 0;
        out->buffer_bytes = bytes > out->buffer_bytes ? bytes : out->buffer_bytes;
    }
    SPADE_TRY(spade_alloc(context, out->buffer_bytes, "a solved layer", &buffer));
    out->buffer = buffer;
    out->descriptor = open_nameless(folder);
    return out->descriptor < 0 ? fail_io(out, "made") : SPADE_OK;
}

void solution_file_close(solution_file *file)
{
    if (file->descriptor >= 0) { close(file->descriptor); }
    if (file->buffer) { spade_free_bytes(file->context, file->buffer, file->buffer_bytes); }
    free(file->places);
    free(file->folder);
}

/* All of the bytes; false: errno says why. */
static bool transfer(int descriptor, uint8_t *bytes, size_t size, int64_t offset, bool writes)
{
    while (size) {
        const ssize_t n = writes ? pwrite(descriptor, bytes, size, offset) : pread(descriptor, bytes, size, offset);
        if (n < 0 && errno == EINTR) { continue; }
        if (n <= 0) {
            if (n == 0) { errno = EIO; }
            return false;
        }
        bytes += n;
        size -= (size_t)n;
        offset += n;
    }
    return true;
}

static size_t pack(const spade_layer *layer, const float *weights, uint8_t *out)
{
    const int64_t count = layer->rows * layer->columns;
    uint8_t *values = out + mask_bytes(layer);
    memset(out, 0, mask_bytes(layer));
    for (int64_t i = 0; i < count; i++) {
        if (weights[i] == 0.0f) { continue; }
        out[i / 8] |= (uint8_t)(1u << i % 8);
        memcpy(values, &weights[i], sizeof(float));
        values += sizeof(float);
    }
    return (size_t)(values - out);
}

static void unpack(const spade_layer *layer, const uint8_t *packed, float *weights)
{
    const int64_t count = layer->rows * layer->columns;
    const uint8_t *values = packed + mask_bytes(layer);
    for (int64_t i = 0; i < count; i++) {
        weights[i] = 0;
        if (!(packed[i / 8] >> i % 8 & 1)) { continue; }
        memcpy(&weights[i], values, sizeof(float));
        values += sizeof(float);
    }
}

spade_status solution_file_write(solution_file *file, int64_t index, const spade_trace *trace)
{
    const spade_network *network = &file->model->network;
    for (int l = 0; l < network->layer_count; l++) {
        solution_place *place = &file->places[index * network->layer_count + l];
        const float *weights;
        *place = (solution_place){.info = trace->layers[l]};
        if (!spade_weight_override_has(&trace->base, l)) { continue; }
        SPADE_TRY(spade_trace_read(trace, l, &weights));
        place->offset = file->end;
        place->bytes = (int64_t)pack(&network->layers[l], weights, file->buffer);
        if (!transfer(file->descriptor, file->buffer, (size_t)place->bytes, place->offset, true)) {
            return fail_io(file, "written");
        }
        file->end += place->bytes;
    }
    return SPADE_OK;
}

spade_status solution_file_read(solution_file *file, int64_t index, int layer, spade_trace *into)
{
    const spade_network *network = &file->model->network;
    const solution_place *place = &file->places[index * network->layer_count + layer];
    float *weights;
    into->layers[layer] = place->info;
    if (!place->bytes) {
        spade_weight_override_drop(&into->base, layer);
        return SPADE_OK;
    }
    SPADE_TRY(spade_weight_override_write_host(&into->base, layer, &weights));
    if (!transfer(file->descriptor, file->buffer, (size_t)place->bytes, place->offset, false)) {
        return fail_io(file, "read");
    }
    unpack(&network->layers[layer], file->buffer, weights);
    return SPADE_OK;
}
