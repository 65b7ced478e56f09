/* checkpoint.c - see checkpoint.h. Numbers are in the machine's own order: a checkpoint stays where it was written. */
#include <errno.h>
#include <unistd.h>

#include "augment/batch.h"
#include "onnx/onnx.h"
#include "trace/checkpoint.h"

/* A layer's file: this, then its weights [rows, columns]. No gaps between the members. */
typedef struct layer_file {
    char magic[8];
    uint64_t sample[2], key;
    int64_t rows, columns, zeros;
    double loss, seconds;
    uint64_t hash; /* of all before and of the weights */
} layer_file;

static const char MAGIC[8] = {'S', 'P', 'A', 'D', 'E', 'L', 'Y', '1'};

static uint64_t hash_file(const layer_file *file, const float *weights)
{
    uint64_t head = spade_hash(file, offsetof(layer_file, hash), 0);
    return spade_hash(weights, (size_t)(file->rows * file->columns) * sizeof *weights, head);
}

/* ---- network and variants */

static uint64_t hash_model(const spade_model *model, uint64_t hash)
{
    const onnx_model *onnx = model->onnx;
    const spade_shape *input = &model->network.values[model->network.input].shape;
    hash = spade_hash(input->dims, (size_t)input->rank * sizeof *input->dims, hash);
    return spade_hash(onnx->fingerprint, sizeof onnx->fingerprint, hash);
}

/* Member by member, as the gaps of a structure may hold anything. */
static uint64_t hash_batch(const spade_batch *batch, uint64_t hash)
{
    hash = spade_hash(batch->dims, sizeof batch->dims, hash);
    if (batch->ready) {
        int64_t size = batch->dims[0] * batch->dims[1] * batch->dims[2] * batch->dims[3];
        return spade_hash(batch->ready, (size_t)size * sizeof *batch->ready, hash);
    }
    const spade_augment_options *o = &batch->options;
    const spade_preprocess *p = &batch->preprocess;
    const spade_augment_source *source = &batch->source;
    const int64_t sizes[] = {source->height, source->width, p->resize, p->height, p->width, p->bgr};
    const double numbers[] = {
        o->area[0],         o->area[1],         o->aspect[0], o->aspect[1], o->flip,          o->brightness,
        o->contrast,        o->saturation,      o->hue,       o->erase,     o->erase_area[0], o->erase_area[1],
        o->erase_aspect[0], o->erase_aspect[1], o->noise};
    hash = spade_hash(&batch->hash, sizeof batch->hash, hash);
    hash = spade_hash(&o->seed, sizeof o->seed, hash);
    hash = spade_hash(sizes, sizeof sizes, hash);
    hash = spade_hash(numbers, sizeof numbers, hash);
    for (int64_t b = 0; b < source->band_count; b++) {
        hash = spade_hash(&source->bands[b].mean, sizeof source->bands[b].mean, hash);
        hash = spade_hash(&source->bands[b].std, sizeof source->bands[b].std, hash);
    }
    hash = spade_hash(p->mean, sizeof p->mean, hash);
    return spade_hash(p->std, sizeof p->std, hash);
}

spade_status spade_checkpoint_open(spade_context *context, const char *folder, const spade_model *model,
                                   const spade_batch *batch, spade_checkpoint *out)
{
    *out = (spade_checkpoint){.context = context, .folder = folder};
    if (!folder) { return SPADE_OK; }
    SPADE_TRY(spade_make_folders(context, folder, "cannot write checkpoints", NULL));
    if (access(folder, W_OK) != 0) {
        return spade_fail(context, SPADE_ERROR_IO, "%s: cannot write checkpoints: %s", folder, strerror(errno));
    }
    const char *version = spade_version(), *backend = context->device->backend->name;
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t hash = spade_hash(version, strlen(version), i);
        hash = spade_hash(backend, strlen(backend), hash);
        hash = spade_hash(&context->precision, sizeof context->precision, hash);
        out->sample[i] = hash_batch(batch, hash_model(model, hash));
    }
    return SPADE_OK;
}

/* ---- layers */

uint64_t spade_checkpoint_key(const spade_checkpoint *checkpoint, const spade_model *model, int layer,
                              const spade_layer_options *options, spade_precision hessian, int source)
{
    const spade_layer *l = &model->network.layers[layer];
    const int64_t sizes[] = {layer, l->rows, l->columns, l->groups, source, hessian};
    uint64_t hash = spade_hash(sizes, sizeof sizes, checkpoint->sample[0]);
    hash = spade_hash(&options->sparsity, sizeof options->sparsity, hash);
    return spade_layer_method_hash(&options->method, hash);
}

/* What cannot be in a file's name becomes '_'; names that then look alike have different keys. malloc'ed, NULL: out of
 * memory. */
static char *layer_path(const spade_checkpoint *checkpoint, const spade_layer *layer, uint64_t key)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%016llx-%016llx-%.180s.layer", checkpoint->folder,
                 (unsigned long long)checkpoint->sample[0], (unsigned long long)key, layer->name) < 0) {
        return NULL;
    }
    for (char *at = path + strlen(checkpoint->folder) + 1; *at; at++) {
        if (*at == '/' || (unsigned char)*at < 32) { *at = '_'; }
    }
    return path;
}

/* Does the file hold this layer's weights under this key? */
static bool is_valid(const spade_checkpoint *checkpoint, const spade_layer *layer, uint64_t key,
                     const spade_mapping *mapping, layer_file *out)
{
    size_t weights = (size_t)(layer->rows * layer->columns) * sizeof(float);
    if (mapping->size != sizeof *out + weights) { return false; }
    memcpy(out, mapping->data, sizeof *out);
    return memcmp(out->magic, MAGIC, sizeof MAGIC) == 0 &&
           memcmp(out->sample, checkpoint->sample, sizeof out->sample) == 0 && out->key == key &&
           out->rows == layer->rows && out->columns == layer->columns;
}

bool spade_checkpoint_load(const spade_checkpoint *checkpoint, const spade_layer *layer, uint64_t key, float *weights,
                           spade_trace_layer *info)
{
    spade_mapping mapping = {0};
    layer_file file;
    if (!checkpoint->folder) { return false; }
    char *path = layer_path(checkpoint, layer, key);
    if (!path || access(path, F_OK) != 0 ||
        spade_map_file(checkpoint->context, path, UINT64_MAX, &mapping) != SPADE_OK) {
        free(path);
        return false;
    }
    bool found = is_valid(checkpoint, layer, key, &mapping, &file);
    if (found) {
        memcpy(weights, mapping.data + sizeof file, (size_t)(layer->rows * layer->columns) * sizeof *weights);
        found = hash_file(&file, weights) == file.hash;
    }
    if (found) {
        info->solved = info->resumed = true;
        info->zeros = file.zeros;
        info->loss = file.loss;
        info->seconds = file.seconds;
        spade_log(checkpoint->context, SPADE_LOG_INFO, "layer %s: from the checkpoint %s", layer->name, path);
    } else {
        spade_log(checkpoint->context, SPADE_LOG_INFO, "layer %s: %s is damaged, and is replaced", layer->name, path);
    }
    spade_unmap(&mapping);
    free(path);
    return found;
}

void spade_checkpoint_save(const spade_checkpoint *checkpoint, const spade_layer *layer, uint64_t key,
                           const float *weights, const spade_trace_layer *info)
{
    if (!checkpoint->folder) { return; }
    spade_context *context = checkpoint->context;
    layer_file file = {.key = key,
                       .rows = layer->rows,
                       .columns = layer->columns,
                       .zeros = info->zeros,
                       .loss = info->loss,
                       .seconds = info->seconds};
    spade_output output = {0};
    if (!weights) { /* they could not be copied from the device */
        spade_log(context, SPADE_LOG_WARNING, "layer %s: no checkpoint: %s", layer->name, spade_message(context));
        return;
    }
    memcpy(file.magic, MAGIC, sizeof MAGIC);
    memcpy(file.sample, checkpoint->sample, sizeof file.sample);
    file.hash = hash_file(&file, weights);
    char *path = layer_path(checkpoint, layer, key);
    spade_status status = path ? spade_output_open(context, path, &output)
                               : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", checkpoint->folder);
    if (status == SPADE_OK) {
        fwrite(&file, sizeof file, 1, output.file);
        fwrite(weights, sizeof *weights, (size_t)(layer->rows * layer->columns), output.file);
        status = spade_output_commit(context, &output);
    }
    if (status != SPADE_OK) {
        spade_log(context, SPADE_LOG_WARNING, "layer %s: no checkpoint: %s", layer->name, spade_message(context));
    }
    free(path);
}
