/* device_parameters.c - the network's own numbers, on the device. */
#include "engine/device_parameters.h"

static const char parameters_kind = 0;

static void free_vector(spade_device *device, const spade_device_vector *vector)
{
    if (vector->bytes) { device->backend->free(device, vector->data, vector->bytes); }
}

static void destroy(spade_cache_entry *entry)
{
    spade_device_parameters *p = (spade_device_parameters *)entry; /* its first member */
    const spade_network *network = entry->network;
    spade_device *device = entry->context->device;
    for (int l = 0; p->weights && l < network->layer_count; l++) { free_vector(device, &p->weights[l]); }
    for (int n = 0; p->parameters && n < network->node_count; n++) {
        for (int i = 0; i < SPADE_PARAMETER_COUNT; i++) { free_vector(device, &p->parameters[n][i]); }
    }
    for (int v = 0; p->constants && v < network->value_count; v++) { free_vector(device, &p->constants[v]); }
    for (int n = 0; p->maps && n < network->node_count; n++) { free_vector(device, &p->maps[n]); }
    free(p->maps);
    free(p->weights);
    free(p->parameters);
    free(p->constants);
    free(p);
}

static spade_status upload(spade_device_parameters *p, const void *host, size_t bytes, spade_device_vector *out)
{
    spade_device *device = p->entry.context->device;
    void *memory;
    if (!host) { return SPADE_OK; }
    SPADE_TRY(device->backend->alloc(device, bytes, "the network's weights on the device", &memory));
    *out = (spade_device_vector){memory, bytes};
    p->bytes += bytes;
    return device->backend->upload(device, memory, host, bytes);
}

/* What may be large, weights and maps: where the host's memory is the device's, they are its own. */
static spade_status upload_or_borrow(spade_device_parameters *p, void *host, size_t bytes, spade_device_vector *out)
{
    if (!p->entry.context->device->backend->host_memory) { return upload(p, host, bytes, out); }
    *out = (spade_device_vector){host, 0};
    return SPADE_OK;
}

static size_t weight_bytes(const spade_layer *layer)
{
    return (size_t)(layer->rows * layer->columns) * sizeof(float);
}

static size_t map_bytes(const spade_node *node)
{
    return node->kind == SPADE_NODE_AXIS_MAP ? spade_axis_map_bytes(&node->axis_map.map) : 0;
}

static spade_status upload_all(spade_device_parameters *p)
{
    const spade_network *network = p->entry.network;
    for (int l = 0; l < network->layer_count; l++) {
        const spade_layer *layer = &network->layers[l];
        SPADE_TRY(upload_or_borrow(p, layer->weights, weight_bytes(layer), &p->weights[l]));
    }
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        for (int i = 0; i < SPADE_PARAMETER_COUNT; i++) {
            const spade_parameter *parameter = &node->parameters[i];
            SPADE_TRY(upload(p, parameter->data, (size_t)parameter->count * sizeof(float), &p->parameters[n][i]));
        }
        if (map_bytes(node)) { SPADE_TRY(upload_or_borrow(p, node->axis_map.map.data, map_bytes(node), &p->maps[n])); }
    }
    for (int v = 0; v < network->value_count; v++) {
        const spade_value *value = &network->values[v];
        SPADE_TRY(
            upload(p, value->constant, (size_t)spade_shape_size(&value->shape) * sizeof(float), &p->constants[v]));
    }
    return SPADE_OK;
}

uint64_t spade_device_parameters_bytes(const spade_context *context, const spade_network *network)
{
    const bool borrows = context->device->backend->host_memory;
    uint64_t bytes = 0, numbers = 0;
    for (int l = 0; !borrows && l < network->layer_count; l++) { bytes += weight_bytes(&network->layers[l]); }
    for (int n = 0; n < network->node_count; n++) {
        for (int i = 0; i < SPADE_PARAMETER_COUNT; i++) { numbers += (uint64_t)network->nodes[n].parameters[i].count; }
        bytes += borrows ? 0 : map_bytes(&network->nodes[n]);
    }
    for (int v = 0; v < network->value_count; v++) {
        if (network->values[v].constant) { numbers += (uint64_t)spade_shape_size(&network->values[v].shape); }
    }
    return bytes + numbers * sizeof(float);
}

static spade_status create(spade_context *context, const spade_network *network, spade_device_parameters **out)
{
    spade_device_parameters *p = *out = calloc(1, sizeof *p);
    spade_status status = SPADE_ERROR_MEMORY;
    if (p) {
        p->generation = spade_generation(context);
        p->entry = (spade_cache_entry){
            .kind = &parameters_kind, .network = network, .context = context, .destroy = destroy, .users = 1};
        p->weights = calloc((size_t)network->layer_count + 1, sizeof *p->weights);
        p->parameters = calloc((size_t)network->node_count + 1, sizeof *p->parameters);
        p->constants = calloc((size_t)network->value_count + 1, sizeof *p->constants);
        p->maps = calloc((size_t)network->node_count + 1, sizeof *p->maps);
    }
    if (!p || !p->weights || !p->parameters || !p->constants || !p->maps) {
        spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while preparing the weights");
    } else {
        status = upload_all(p);
    }
    if (status != SPADE_OK && p) {
        destroy(&p->entry);
        *out = NULL;
    }
    return status;
}

spade_status spade_device_parameters_acquire(spade_context *context, const spade_network *network,
                                             spade_device_parameters **out)
{
    *out = (spade_device_parameters *)spade_cache_acquire(context, network, &parameters_kind, NULL, NULL);
    if (*out) {
        if ((*out)->entry.users == 1) { spade_cache_share(&(*out)->entry); } /* it was evictable */
        return SPADE_OK;
    }
    SPADE_TRY(create(context, network, out));
    spade_cache_share(&(*out)->entry);
    return SPADE_OK;
}

void spade_device_parameters_release(spade_device_parameters *parameters)
{
    if (parameters) { spade_cache_release(&parameters->entry, parameters->bytes); }
}
