/*
 * packed_weights.c - weights as the planned operations read them, dense or with a trace's in their place.
 *
 * A layer's weights are packed when an operation first asks for them, once per form that the backend may need: forward or
 * backward, batch, fused with the normalisation or not, and the view that a rule has of them. Another trace is packed into the
 * same memory, so that what was captured with it stays right. Where traces have biases of their own, that goes for the biases of all
 * layers, too: each packing then has one of its own, and zeros where there is none.
 */
#include <float.h>

#include "engine/device_parameters.h"
#include "engine/plan.h"
#include "engine/weight_override.h"

typedef struct packed_entry {
    struct packed_entry *next;
    spade_packing packing;
    uint64_t generation; /* of the override that is packed, 0: the network's own weights */
    void *packed;
    size_t bytes;
    float *
        bias; /* of a layer fused with its normalisation, a view of it, or an override's, on the device; NULL: the node's own */
} packed_entry;

struct spade_packed_weights {
    spade_context *context;
    const spade_network *network;
    spade_device_parameters *parameters;
    spade_weight_override *override; /* NULL: dense */
    bool biased;                     /* it is one that has biases */
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
    *weights = (spade_packed_weights){
        .context = context, .network = network, .override = override, .biased = override && override->biased};
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

size_t spade_packing_bias_bytes(const spade_network *network, const spade_packing *packing, bool biased)
{
    const spade_node *node = &network->nodes[packing->node];
    const bool own =
        biased || packing->norm >= 0 || (packing->view.kind != SPADE_W && node->parameters[SPADE_SHIFT].data);
    return own ? (size_t)network->layers[node->layer].rows * sizeof(float) : 0;
}

static size_t bias_bytes(const spade_packed_weights *weights, const packed_entry *entry)
{
    return spade_packing_bias_bytes(weights->network, &entry->packing, weights->biased);
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

const float *spade_packed_weights_parameter(const spade_packed_weights *weights, int node, int parameter)
{
    return weights->parameters->parameters[node][parameter].data;
}

spade_sparse_rows spade_packed_weights_map(const spade_packed_weights *weights, int node, bool transposed)
{
    const spade_axis_map *map = &weights->network->nodes[node].axis_map.map;
    return spade_axis_map_rows(map, weights->parameters->maps[node].data, transposed);
}

const float *spade_packed_weights_constant(const spade_packed_weights *weights, int value)
{
    return weights->parameters->constants[value].data;
}

/* ---- views of a layer's weights */

/* A view of one number, as pointwise steps on it. */
static int view_steps(spade_weight_view view, spade_pointwise_step steps[3])
{
    const spade_pointwise_step negate = {.kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_NEG};
    const spade_pointwise_step below = {
        .kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_LEAKY_RELU, .alpha = 1 + view.gamma}; /* numbers below 0 */
    spade_pointwise_step step = {
        .kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_CLIP, .alpha = -FLT_MAX, .beta = FLT_MAX};
    switch (view.kind) {
    case SPADE_W: return 0;
    case SPADE_W_POSITIVE: step.alpha = 0; break;
    case SPADE_W_NEGATIVE: step.beta = 0; break;
    case SPADE_W_ONES: step.alpha = step.beta = 1; break;
    case SPADE_W_SQUARED: step.function = SPADE_POW, step.alpha = 2; break;
    case SPADE_W_MINUS_GAMMA: step = below; break;
    case SPADE_W_PLUS_GAMMA: steps[0] = negate, steps[1] = below, steps[2] = negate; return 3;
    }
    steps[0] = step;
    return 1;
}

/* The view of `weights` [rows, columns], each row times its scale (NULL: 1) before; all are device memory. */
static spade_status make_view(spade_device *device, const spade_layer *layer, spade_weight_view view,
                              const float *weights, const float *scale, float *out)
{
    const spade_shape all = {.rank = 2, .dims = {layer->rows, layer->columns}};
    const spade_backend *backend = device->backend;
    spade_op_desc desc = {.kind = SPADE_OP_POINTWISE, .a = all, .y = all};
    spade_op *op;
    if (scale) {
        desc.steps[desc.step_count++] =
            (spade_pointwise_step){.kind = SPADE_POINTWISE_MULTIPLY, .operand = {.rank = 2, .dims = {layer->rows, 1}}};
    }
    desc.step_count += view_steps(view, desc.steps + desc.step_count);
    SPADE_TRY(backend->plan(device, &desc, &op));
    const spade_op_args args = {.a = weights, .operands = {scale}, .out = out};
    spade_status status = backend->run(op, &args);
    backend->destroy(op);
    return status;
}

static float view_bias(spade_weight_view view, double bias)
{
    switch (view.kind) {
    case SPADE_W:
    case SPADE_W_ONES: break;
    case SPADE_W_POSITIVE: return (float)(bias > 0 ? bias : 0);
    case SPADE_W_NEGATIVE: return (float)(bias < 0 ? bias : 0);
    case SPADE_W_SQUARED: return (float)(bias * bias);
    case SPADE_W_PLUS_GAMMA: return (float)(bias > 0 ? (1 + (double)view.gamma) * bias : bias);
    case SPADE_W_MINUS_GAMMA: return (float)(bias < 0 ? (1 + (double)view.gamma) * bias : bias);
    }
    return (float)bias;
}

/* ---- packing */

/* The layer's bias, on the host; NULL: it has none. */
static const float *bias_of(const spade_packed_weights *weights, const spade_node *node)
{
    const float *own = weights->override ? weights->override->layers[node->layer].bias : NULL;
    return own ? own : node->parameters[SPADE_SHIFT].data;
}

/* The layer's bias through the normalisation after it, bias * scale + shift, and the view of that: to the entry's memory. */
static spade_status write_own_bias(const spade_packed_weights *weights, const packed_entry *entry)
{
    spade_device *device = weights->context->device;
    const spade_node *node = &weights->network->nodes[entry->packing.node];
    const spade_node *norm = entry->packing.norm >= 0 ? &weights->network->nodes[entry->packing.norm] : NULL;
    const float *own = bias_of(weights, node);
    const size_t bytes = bias_bytes(weights, entry);
    float *host = malloc(bytes + sizeof *host);
    if (!host) { return spade_fail(weights->context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights"); }
    for (size_t r = 0; r < bytes / sizeof *host; r++) {
        double bias = own ? (double)own[r] : 0;
        if (norm) {
            bias = bias * (double)norm->parameters[SPADE_SCALE].data[r] + (double)norm->parameters[SPADE_SHIFT].data[r];
        }
        host[r] = view_bias(entry->packing.view, bias);
    }
    const spade_status status = device->backend->upload(device, entry->bias, host, bytes);
    free(host);
    return status;
}

/* The override's number for what is packed of the layer; 0: it is the network's. */
static uint64_t generation_of(const spade_packed_weights *weights, int layer)
{
    const spade_weight_override *override = weights->override;
    const bool own = override && (spade_weight_override_has(override, layer) || override->layers[layer].bias);
    return own ? override->generation : 0;
}

static spade_status pack(spade_packed_weights *weights, spade_op *op, packed_entry *entry)
{
    const spade_packing *packing = &entry->packing;
    const spade_layer *layer = &weights->network->layers[weights->network->nodes[packing->node].layer];
    const int number = (int)(layer - weights->network->layers);
    spade_device *device = weights->context->device;
    const float *values = weights->parameters->weights[number].data;
    const float *scale =
        spade_packed_weights_parameter(weights, packing->norm >= 0 ? packing->norm : packing->node, SPADE_SCALE);
    if (weights->override && spade_weight_override_has(weights->override, number)) {
        SPADE_TRY(spade_weight_override_device(weights->override, number, &values));
    }
    entry->generation = generation_of(weights, number);
    if (entry->bias) { SPADE_TRY(write_own_bias(weights, entry)); }
    if (packing->view.kind == SPADE_W) { return device->backend->pack(op, values, scale, entry->packed); }
    const size_t bytes = (size_t)(layer->rows * layer->columns) * sizeof(float);
    void *viewed;
    SPADE_TRY(device->backend->alloc(device, bytes, "a view of a layer's weights", &viewed));
    spade_status status = make_view(device, layer, packing->view, values, scale, viewed);
    if (status == SPADE_OK) { status = device->backend->pack(op, viewed, NULL, entry->packed); }
    device->backend->free(device, viewed, bytes);
    return status;
}

static spade_status make_entry(spade_packed_weights *weights, spade_op *op, packed_entry *entry)
{
    static const char what[] = "the network's weights on the device";
    spade_device *device = weights->context->device;
    if (bias_bytes(weights, entry)) {
        void *memory;
        SPADE_TRY(device->backend->alloc(device, bias_bytes(weights, entry), what, &memory));
        entry->bias = memory;
    }
    entry->bytes = device->backend->packed_bytes(op);
    SPADE_TRY(device->backend->alloc(device, entry->bytes, what, &entry->packed));
    return pack(weights, op, entry);
}

static spade_status add_entry(spade_packed_weights *weights, spade_op *op, const spade_packing *packing,
                              packed_entry **out)
{
    packed_entry *entry = *out = calloc(1, sizeof *entry);
    if (!entry) {
        return spade_fail(weights->context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights");
    }
    entry->packing = *packing;
    spade_status status = make_entry(weights, op, entry);
    if (status != SPADE_OK) {
        free_entry(weights, entry);
        return status;
    }
    entry->next = weights->packed[packing->node];
    weights->packed[packing->node] = entry;
    weights->bytes += entry->bytes + bias_bytes(weights, entry);
    return SPADE_OK;
}

static bool same_packing(const spade_packing *a, const spade_packing *b)
{
    return a->kind == b->kind && a->batch == b->batch && a->norm == b->norm && a->relu == b->relu &&
           a->view.kind == b->view.kind && a->view.gamma == b->view.gamma;
}

spade_status spade_packed_weights_get(spade_packed_weights *weights, spade_op *op, const spade_packing *packing,
                                      spade_packed_layer *out)
{
    const int number = weights->network->nodes[packing->node].layer;
    const uint64_t generation = generation_of(weights, number);
    spade_status status = SPADE_OK;
    packed_entry *entry = weights->packed[packing->node];
    while (entry && !same_packing(&entry->packing, packing)) { entry = entry->next; }
    if (!entry) {
        status = add_entry(weights, op, packing, &entry);
    } else if (entry->generation != generation) {
        status = pack(weights, op, entry);
    }
    if (status != SPADE_OK) {
        return spade_fail_in(weights->context, status, "layer %.200s", weights->network->layers[number].name);
    }
    out->weights = entry->packed;
    out->bias = entry->bias ? entry->bias : spade_packed_weights_parameter(weights, packing->node, SPADE_SHIFT);
    return SPADE_OK;
}
