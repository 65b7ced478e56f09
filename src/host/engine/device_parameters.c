/* device_parameters.c - the network's own parameters on the device; ready.h says how long they stay. */
#include "engine/cache.h"

static const char parameters_kind = 0;

static void destroy(spade_cache_entry *item)
{
    spade_device_parameters *p = (spade_device_parameters *)item; /* its first member */
    const spade_network *network = item->network;
    spade_device *device = item->context->device;
    struct {
        spade_device_vector *vectors;
        int count;
    } lists[] = {{p->weights, network->layer_count},
                 {p->bias, network->node_count},
                 {p->scale, network->node_count},
                 {p->shift, network->node_count},
                 {p->constants, network->value_count}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (int k = 0; lists[i].vectors && k < lists[i].count; k++) {
            if (lists[i].vectors[k].bytes) {
                device->backend->free(device, lists[i].vectors[k].data, lists[i].vectors[k].bytes);
            }
        }
        free(lists[i].vectors);
    }
    free(p);
}

static spade_status upload(spade_device_parameters *p, const float *host, int64_t count, spade_device_vector *out)
{
    spade_device *device = p->item.context->device;
    size_t bytes = (size_t)count * sizeof(float);
    void *memory;
    if (!host) { return SPADE_OK; }
    SPADE_TRY(device->backend->alloc(device, bytes, "the network's weights on the device", &memory));
    *out = (spade_device_vector){memory, bytes};
    p->bytes += bytes;
    return device->backend->upload(device, memory, host, bytes);
}

/* Weights are large: where the host's memory is the device's, they are its own. */
static spade_status upload_weights(spade_device_parameters *p, const spade_layer *layer, spade_device_vector *out)
{
    if (!p->item.context->device->backend->host_memory) {
        return upload(p, layer->weights, layer->rows * layer->columns, out);
    }
    *out = (spade_device_vector){layer->weights, 0};
    return SPADE_OK;
}

/* Gemm's factor of the product, for every row: a normalisation in the eyes of `pack`. */
static spade_status upload_alpha(spade_device_parameters *p, int n, int64_t rows)
{
    const spade_node *node = &p->item.network->nodes[n];
    if (node->kind != SPADE_NODE_LINEAR || node->alpha == 1) { return SPADE_OK; }
    float *alpha = malloc((size_t)rows * sizeof *alpha);
    if (!alpha) { return spade_fail(p->item.context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights"); }
    for (int64_t r = 0; r < rows; r++) { alpha[r] = node->alpha; }
    spade_status status = upload(p, alpha, rows, &p->scale[n]);
    free(alpha);
    return status;
}

static spade_status upload_all(spade_device_parameters *p)
{
    const spade_network *network = p->item.network;
    for (int l = 0; l < network->layer_count; l++) {
        SPADE_TRY(upload_weights(p, &network->layers[l], &p->weights[l]));
    }
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        if (node->layer >= 0) {
            int64_t rows = network->layers[node->layer].rows;
            SPADE_TRY(upload(p, node->bias, rows, &p->bias[n]));
            SPADE_TRY(upload_alpha(p, n, rows));
        } else if (node->kind == SPADE_NODE_BATCH_NORM) {
            int64_t channels = network->values[node->output].shape.dims[1];
            SPADE_TRY(upload(p, node->scale, channels, &p->scale[n]));
            SPADE_TRY(upload(p, node->shift, channels, &p->shift[n]));
        }
    }
    for (int v = 0; v < network->value_count; v++) {
        const spade_value *value = &network->values[v];
        SPADE_TRY(upload(p, value->constant, spade_shape_size(&value->shape), &p->constants[v]));
    }
    return SPADE_OK;
}

static spade_status create(spade_context *context, const spade_network *network, spade_device_parameters **out)
{
    spade_device_parameters *p = *out = calloc(1, sizeof *p);
    spade_status status = SPADE_ERROR_MEMORY;
    if (p) {
        p->generation = spade_generation(context);
        p->item =
            (spade_cache_entry){.kind = &parameters_kind, .network = network, .context = context, .destroy = destroy};
        p->weights = calloc((size_t)network->layer_count + 1, sizeof *p->weights);
        p->bias = calloc((size_t)network->node_count + 1, sizeof *p->bias);
        p->scale = calloc((size_t)network->node_count + 1, sizeof *p->scale);
        p->shift = calloc((size_t)network->node_count + 1, sizeof *p->shift);
        p->constants = calloc((size_t)network->value_count + 1, sizeof *p->constants);
    }
    if (!p || !p->weights || !p->bias || !p->scale || !p->shift || !p->constants) {
        spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights");
    } else {
        status = upload_all(p);
    }
    if (status != SPADE_OK && p) {
        destroy(&p->item);
        *out = NULL;
    }
    return status;
}

/* What is kept is no more than one; what is in use, the network knows. */
spade_status spade_device_parameters_acquire(spade_context *context, const spade_network *network,
                                             spade_device_parameters **out)
{
    const bool shared = context == network->context;
    *out = shared ? network->cache->parameters : NULL;
    if (!*out) {
        *out = (spade_device_parameters *)spade_cache_acquire(context, network, &parameters_kind, NULL, NULL);
    }
    if (!*out) { SPADE_TRY(create(context, network, out)); }
    if (shared) { network->cache->parameters = *out; }
    (*out)->users++;
    return SPADE_OK;
}

void spade_device_parameters_release(spade_device_parameters *parameters)
{
    if (!parameters || --parameters->users) { return; }
    const spade_network *network = parameters->item.network;
    if (network->cache->parameters == parameters) { network->cache->parameters = NULL; }
    spade_cache_release(&parameters->item, parameters->bytes);
}
