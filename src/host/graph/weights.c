/*
 * weights.c - weights on the device, dense or with a trace over them.
 *
 * Biases, normalisations and constants are uploaded when the object is made; a layer's weights are packed when an
 * operation first asks for them, once per form that the backend may need: forward or backward, batch, fused with the
 * normalisation or not.
 */
#include "graph/plan.h"

typedef struct packed_entry {
    struct packed_entry *next;
    spade_op_kind kind;
    int64_t batch;
    int norm;
    bool relu;
    void *packed;
    size_t bytes;
    float *bias; /* of a layer fused with its normalisation, on the device; NULL: the node's own */
} packed_entry;

typedef struct device_vector {
    float *data;
    size_t bytes;
} device_vector;

struct spade_weights {
    spade_context *context;
    const spade_graph *graph;
    const float *const *overlay;
    packed_entry **packed;               /* [nodes]: list */
    device_vector *bias, *scale, *shift; /* [nodes] */
    device_vector *constants;            /* [values] */
};

static spade_status upload_vector(spade_weights *weights, const float *host, size_t count, device_vector *out)
{
    spade_device *device = weights->context->device;
    void *memory;
    if (!host) { return SPADE_OK; }
    SPADE_TRY(device->backend->alloc(device, count * sizeof(float), "the network's weights on the device", &memory));
    *out = (device_vector){memory, count * sizeof(float)};
    return device->backend->upload(device, memory, host, out->bytes);
}

static void free_vector(spade_weights *weights, device_vector *vector)
{
    spade_device *device = weights->context->device;
    if (vector->data) { device->backend->free(device, vector->data, vector->bytes); }
}

static spade_status upload_all(spade_weights *weights)
{
    const spade_graph *graph = weights->graph;
    for (int n = 0; n < graph->node_count; n++) {
        const spade_node *node = &graph->nodes[n];
        if (node->layer >= 0) {
            SPADE_TRY(upload_vector(weights, node->bias, (size_t)graph->layers[node->layer].rows, &weights->bias[n]));
        } else if (node->kind == SPADE_NODE_BATCH_NORM) {
            size_t channels = (size_t)graph->values[node->output].shape.dims[1];
            SPADE_TRY(upload_vector(weights, node->scale, channels, &weights->scale[n]));
            SPADE_TRY(upload_vector(weights, node->shift, channels, &weights->shift[n]));
        }
    }
    for (int v = 0; v < graph->value_count; v++) {
        const spade_value *value = &graph->values[v];
        if (!value->constant) { continue; }
        SPADE_TRY(
            upload_vector(weights, value->constant, (size_t)spade_shape_size(&value->shape), &weights->constants[v]));
    }
    return SPADE_OK;
}

spade_status spade_weights_create(spade_context *context, const spade_graph *graph, const float *const *overlay,
                                  spade_weights **out)
{
    size_t nodes = (size_t)graph->node_count + 1, values = (size_t)graph->value_count + 1;
    spade_weights *weights = calloc(1, sizeof *weights);
    spade_status status = SPADE_OK;
    *out = NULL;
    if (!weights) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights"); }
    *weights = (spade_weights){context,
                               graph,
                               overlay,
                               calloc(nodes, sizeof *weights->packed),
                               calloc(nodes, sizeof *weights->bias),
                               calloc(nodes, sizeof *weights->scale),
                               calloc(nodes, sizeof *weights->shift),
                               calloc(values, sizeof *weights->constants)};
    if (!weights->packed || !weights->bias || !weights->scale || !weights->shift || !weights->constants) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights");
        goto done;
    }
    SPADE_GOTO(upload_all(weights));
    *out = weights;
    return SPADE_OK;
done:
    spade_weights_destroy(weights);
    return status;
}

static void free_entry(spade_weights *weights, packed_entry *entry)
{
    spade_device *device = weights->context->device;
    if (entry->packed) { device->backend->free(device, entry->packed, entry->bytes); }
    if (entry->bias) { /* as long as the rows of the normalisation */
        size_t rows = (size_t)weights->graph->values[weights->graph->nodes[entry->norm].output].shape.dims[1];
        device->backend->free(device, entry->bias, rows * sizeof(float));
    }
    free(entry);
}

void spade_weights_destroy(spade_weights *weights)
{
    if (!weights) { return; }
    for (int n = 0; weights->packed && n < weights->graph->node_count; n++) {
        for (packed_entry *entry = weights->packed[n], *next; entry; entry = next) {
            next = entry->next;
            free_entry(weights, entry);
        }
    }
    device_vector *per_node[] = {weights->bias, weights->scale, weights->shift};
    for (size_t i = 0; i < 3; i++) {
        for (int n = 0; per_node[i] && n < weights->graph->node_count; n++) { free_vector(weights, &per_node[i][n]); }
        free(per_node[i]);
    }
    for (int v = 0; weights->constants && v < weights->graph->value_count; v++) {
        free_vector(weights, &weights->constants[v]);
    }
    free(weights->constants);
    free(weights->packed);
    free(weights);
}

const float *spade_weights_scale(const spade_weights *weights, int node)
{
    return weights->scale[node].data;
}

const float *spade_weights_shift(const spade_weights *weights, int node)
{
    return weights->shift[node].data;
}

const float *spade_weights_constant(const spade_weights *weights, int value)
{
    return weights->constants[value].data;
}

/* The layer's bias through the normalisation after it: bias * scale + shift. scratch [rows], host. */
static spade_status upload_fused_bias(spade_weights *weights, const spade_node *node, const spade_node *norm,
                                      float *scratch, packed_entry *entry)
{
    size_t rows = (size_t)weights->graph->layers[node->layer].rows;
    device_vector vector = {0};
    for (size_t r = 0; r < rows; r++) {
        double bias = node->bias ? (double)node->bias[r] : 0;
        scratch[r] = (float)(bias * (double)norm->scale[r] + (double)norm->shift[r]);
    }
    spade_status status = upload_vector(weights, scratch, rows, &vector);
    entry->bias = vector.data;
    return status;
}

/* Host memory as the device's: itself where that is the same. */
static spade_status upload_weights(spade_weights *weights, const float *host, size_t count, device_vector *out)
{
    if (!weights->context->device->backend->host_memory) { return upload_vector(weights, host, count, out); }
    *out = (device_vector){(float *)host, 0};
    return SPADE_OK;
}

static spade_status fill_entry(spade_weights *weights, spade_op *op, int node_index, packed_entry *entry)
{
    spade_context *context = weights->context;
    const spade_backend *backend = context->device->backend;
    const spade_node *node = &weights->graph->nodes[node_index];
    const spade_node *norm = entry->norm >= 0 ? &weights->graph->nodes[entry->norm] : NULL;
    const spade_layer *layer = &weights->graph->layers[node->layer];
    const float *values =
        weights->overlay && weights->overlay[node->layer] ? weights->overlay[node->layer] : layer->weights;
    const float *row_scale = norm ? norm->scale : NULL;
    size_t rows = (size_t)layer->rows;
    device_vector on_device = {0}, scale = {0};
    spade_status status = SPADE_OK;
    float *scratch = malloc(rows * sizeof *scratch);
    if (!scratch) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights"); }
    if (norm) { SPADE_GOTO(upload_fused_bias(weights, node, norm, scratch, entry)); }
    if (node->kind == SPADE_NODE_LINEAR && node->alpha != 1) {
        for (size_t r = 0; r < rows; r++) { scratch[r] = node->alpha; }
        row_scale = scratch;
    }
    entry->bytes = backend->packed_bytes(op);
    SPADE_GOTO(backend->alloc(context->device, entry->bytes, "the network's weights on the device", &entry->packed));
    SPADE_GOTO(upload_weights(weights, values, (size_t)(layer->rows * layer->columns), &on_device));
    if (row_scale) { SPADE_GOTO(upload_weights(weights, row_scale, rows, &scale)); }
    SPADE_GOTO(backend->pack(op, on_device.data, row_scale ? scale.data : NULL, entry->packed));
    SPADE_GOTO(backend->synchronize(context->device));
done:
    if (!backend->host_memory) {
        free_vector(weights, &on_device);
        free_vector(weights, &scale);
    }
    free(scratch);
    return status == SPADE_OK ? SPADE_OK : spade_fail_in(context, status, "layer %.200s", layer->name);
}

spade_status spade_weights_packed(spade_weights *weights, spade_op *op, spade_op_kind kind, int64_t batch, int node,
                                  int norm, bool relu, spade_packed *out)
{
    packed_entry *entry = weights->packed[node];
    while (entry && (entry->kind != kind || entry->batch != batch || entry->norm != norm || entry->relu != relu)) {
        entry = entry->next;
    }
    if (!entry) {
        entry = calloc(1, sizeof *entry);
        if (!entry) {
            return spade_fail(weights->context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights");
        }
        entry->kind = kind;
        entry->batch = batch;
        entry->norm = norm;
        entry->relu = relu;
        spade_status status = fill_entry(weights, op, node, entry);
        if (status != SPADE_OK) {
            free_entry(weights, entry);
            return status;
        }
        entry->next = weights->packed[node];
        weights->packed[node] = entry;
    }
    *out = (spade_packed){entry->packed, entry->bias ? entry->bias : weights->bias[node].data};
    return SPADE_OK;
}
