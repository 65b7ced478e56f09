/*
 * packed_weights.c - weights as the planned operations read them, dense or with a trace over them.
 *
 * A layer's weights are packed when an operation first asks for them, once per form that the backend may need: forward
 * or backward, batch, fused with the normalisation or not. Another trace is packed into the same memory, so that what
 * was captured with it stays right.
 */
#include "engine/weight_override.h"
#include "engine/plan.h"
#include "engine/cache.h"

typedef struct packed_entry {
    struct packed_entry *next;
    spade_op_kind kind;
    int64_t batch;
    int norm;
    bool relu;
    uint64_t generation; /* of the override that is packed, 0: the network's own weights */
    void *packed;
    size_t bytes;
    float *bias; /* of a layer fused with its normalisation, on the device; NULL: the node's own */
} packed_entry;

struct spade_packed_weights {
    spade_context *context;
    const spade_network *network;
    spade_device_parameters *parameters;
    spade_weight_override *override; /* NULL: dense */
    packed_entry **packed;           /* [nodes]: list */
    uint64_t bytes;
};

spade_status spade_packed_weights_create(spade_context *context, const spade_network *network,
                                         spade_weight_override *override, spade_packed_weights **out)
{
    spade_packed_weights *weights = calloc(1, sizeof *weights);
    spade_status status = SPADE_OK;
    *out = NULL;
    if (!weights) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights"); }
    *weights = (spade_packed_weights){.context = context, .network = network, .override = override};
    weights->packed = calloc((size_t)network->node_count + 1, sizeof *weights->packed);
    if (!weights->packed) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights"));
    }
    SPADE_GOTO(spade_device_parameters_acquire(context, network, &weights->parameters));
    *out = weights;
    return SPADE_OK;
done:
    spade_packed_weights_destroy(weights);
    return status;
}

/* The rows of an entry's layer are the channels of its normalisation. */
static size_t bias_bytes(const spade_packed_weights *weights, const packed_entry *entry)
{
    const spade_node *norm = &weights->network->nodes[entry->norm];
    return entry->bias ? (size_t)weights->network->values[norm->output].shape.dims[1] * sizeof(float) : 0;
}

static void free_entry(spade_packed_weights *weights, packed_entry *entry)
{
    spade_device *device = weights->context->device;
    if (entry->packed) { device->backend->free(device, entry->packed, entry->bytes); }
    if (entry->bias) { device->backend->free(device, entry->bias, bias_bytes(weights, entry)); }
    free(entry);
}

void spade_packed_weights_destroy(spade_packed_weights *weights)
{
    if (!weights) { return; }
    for (int n = 0; weights->packed && n < weights->network->node_count; n++) {
        for (packed_entry *entry = weights->packed[n], *next; entry; entry = next) {
            next = entry->next;
            free_entry(weights, entry);
        }
    }
    free(weights->packed);
    spade_device_parameters_release(weights->parameters);
    free(weights);
}

spade_device_parameters *spade_packed_weights_detach(spade_packed_weights *weights)
{
    spade_device_parameters *parameters = weights->parameters;
    weights->parameters = NULL;
    weights->override = NULL;
    return parameters;
}

uint64_t spade_packed_weights_generation(const spade_packed_weights *weights)
{
    return weights->parameters->generation;
}

uint64_t spade_packed_weights_bytes(const spade_packed_weights *weights)
{
    return weights->bytes;
}

spade_status spade_packed_weights_attach(spade_packed_weights *weights, spade_weight_override *override)
{
    weights->override = override;
    return spade_device_parameters_acquire(weights->context, weights->network, &weights->parameters);
}

const float *spade_packed_weights_scale(const spade_packed_weights *weights, int node)
{
    return weights->parameters->scale[node].data;
}

const float *spade_packed_weights_shift(const spade_packed_weights *weights, int node)
{
    return weights->parameters->shift[node].data;
}

const float *spade_packed_weights_constant(const spade_packed_weights *weights, int value)
{
    return weights->parameters->constants[value].data;
}

/* ---- packing */

/* The layer's bias through the normalisation after it: bias * scale + shift. */
static spade_status make_fused_bias(spade_packed_weights *weights, const spade_node *node, packed_entry *entry)
{
    spade_device *device = weights->context->device;
    const spade_node *norm = &weights->network->nodes[entry->norm];
    size_t rows = (size_t)weights->network->layers[node->layer].rows, bytes = rows * sizeof(float);
    void *memory;
    spade_status status;
    float *host = malloc(bytes);
    if (!host) { return spade_fail(weights->context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights"); }
    for (size_t r = 0; r < rows; r++) {
        double bias = node->bias ? (double)node->bias[r] : 0;
        host[r] = (float)(bias * (double)norm->scale[r] + (double)norm->shift[r]);
    }
    SPADE_GOTO(device->backend->alloc(device, bytes, "the network's weights on the device", &memory));
    entry->bias = memory;
    SPADE_GOTO(device->backend->upload(device, memory, host, bytes));
done:
    free(host);
    return status;
}

static bool is_own(const spade_packed_weights *weights, int layer)
{
    return weights->override && spade_weight_override_has(weights->override, layer);
}

static spade_status pack(spade_packed_weights *weights, spade_op *op, int node_index, packed_entry *entry)
{
    const spade_node *node = &weights->network->nodes[node_index];
    const float *values = weights->parameters->weights[node->layer].data;
    const float *scale = weights->parameters->scale[entry->norm >= 0 ? entry->norm : node_index].data;
    const bool own = is_own(weights, node->layer);
    if (own) { SPADE_TRY(spade_weight_override_device(weights->override, node->layer, &values)); }
    SPADE_TRY(weights->context->device->backend->pack(op, values, scale, entry->packed));
    entry->generation = own ? weights->override->generation : 0;
    return SPADE_OK;
}

static spade_status make_entry(spade_packed_weights *weights, spade_op *op, int node, packed_entry *entry)
{
    const spade_backend *backend = weights->context->device->backend;
    if (entry->norm >= 0) { SPADE_TRY(make_fused_bias(weights, &weights->network->nodes[node], entry)); }
    entry->bytes = backend->packed_bytes(op);
    SPADE_TRY(
        backend->alloc(weights->context->device, entry->bytes, "the network's weights on the device", &entry->packed));
    return pack(weights, op, node, entry);
}

static spade_status add_entry(spade_packed_weights *weights, spade_op *op, int node, const packed_entry *like,
                              packed_entry **out)
{
    packed_entry *entry = *out = malloc(sizeof *entry);
    if (!entry) {
        return spade_fail(weights->context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights");
    }
    *entry = *like;
    spade_status status = make_entry(weights, op, node, entry);
    if (status != SPADE_OK) {
        free_entry(weights, entry);
        return status;
    }
    entry->next = weights->packed[node];
    weights->packed[node] = entry;
    weights->bytes += entry->bytes + bias_bytes(weights, entry);
    return SPADE_OK;
}

spade_status spade_packed_weights_get(spade_packed_weights *weights, spade_op *op, spade_op_kind kind, int64_t batch,
                                      int node, int norm, bool relu, spade_packed_layer *out)
{
    const spade_layer *layer = &weights->network->layers[weights->network->nodes[node].layer];
    const uint64_t generation =
        is_own(weights, weights->network->nodes[node].layer) ? weights->override->generation : 0;
    const packed_entry like = {.kind = kind, .batch = batch, .norm = norm, .relu = relu};
    spade_status status = SPADE_OK;
    packed_entry *entry = weights->packed[node];
    while (entry && (entry->kind != kind || entry->batch != batch || entry->norm != norm || entry->relu != relu)) {
        entry = entry->next;
    }
    if (!entry) {
        status = add_entry(weights, op, node, &like, &entry);
    } else if (entry->generation != generation) {
        status = pack(weights, op, node, entry);
    }
    if (status != SPADE_OK) { return spade_fail_in(weights->context, status, "layer %.200s", layer->name); }
    *out = (spade_packed_layer){entry->packed, entry->bias ? entry->bias : weights->parameters->bias[node].data};
    return SPADE_OK;
}
