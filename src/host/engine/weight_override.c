/* override.c - a trace's own weights, on the host and on the device. */
#include "engine/weight_override.h"

#include "engine/model.h"

static const char what[] = "the weights of a trace";

static size_t layer_bytes(const spade_weight_override *override, int layer)
{
    const spade_layer *l = &override->model->network.layers[layer];
    return (size_t)(l->rows * l->columns) * sizeof(float);
}

static size_t bias_bytes(const spade_weight_override *override, int layer)
{
    return (size_t) override->model->network.layers[layer].rows * sizeof(float);
}

static const spade_backend *backend_of(const spade_weight_override *override)
{
    return override->context->device->backend;
}

static spade_status name_layer(const spade_weight_override *override, int layer, spade_status status)
{
    if (status == SPADE_OK) { return SPADE_OK; }
    return spade_fail_in(override->context, status, "layer %s", override->model->network.layers[layer].name);
}

spade_status spade_weight_override_check(spade_context *context, const spade_trace *trace, const spade_model *model)
{
    const spade_weight_override *override = spade_weight_override_of(trace);
    if (!override || override->model == model) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "a trace of %.200s is none of %.200s: it belongs to the model that it was made of",
                      override->model->path, model->path);
}

spade_status spade_weight_override_create(spade_context *context, const spade_model *model, spade_weight_override *out)
{
    *out = (spade_weight_override){.context = context, .model = model};
    out->layers = calloc((size_t)model->network.layer_count + 1, sizeof *out->layers);
    if (out->layers) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a trace of %d layers", model->network.layer_count);
}

static void drop_host(spade_weight_override *override, int layer)
{
    spade_free_bytes(override->context, override->layers[layer].host, layer_bytes(override, layer));
    override->layers[layer].host = NULL;
}

static void drop_device(spade_weight_override *override, int layer)
{
    float *device = override->layers[layer].device;
    if (device) { backend_of(override)->free(override->context->device, device, layer_bytes(override, layer)); }
    override->layers[layer].device = NULL;
}

void spade_weight_override_drop(spade_weight_override *override, int layer)
{
    drop_host(override, layer);
    drop_device(override, layer);
    spade_free_bytes(override->context, override->layers[layer].bias, bias_bytes(override, layer));
    override->layers[layer].bias = NULL;
    override->generation = spade_generation(override->context);
}

spade_status spade_weight_override_set_bias(spade_weight_override *override, int layer, const float *bias)
{
    spade_override_weights *own = &override->layers[layer];
    const size_t bytes = bias_bytes(override, layer);
    if (!own->bias) {
        SPADE_TRY(name_layer(override, layer,
                             spade_alloc(override->context, bytes, "the bias of a trace", (void **)&own->bias)));
    }
    memcpy(own->bias, bias, bytes);
    override->biased = true;
    override->generation = spade_generation(override->context);
    return SPADE_OK;
}

void spade_weight_override_clear(spade_weight_override *override)
{
    for (int i = 0; override->layers && i < override->model->network.layer_count; i++) {
        spade_weight_override_drop(override, i);
    }
    free(override->layers);
    override->layers = NULL;
}

static spade_status need_host(spade_weight_override *override, int layer)
{
    if (override->layers[layer].host) { return SPADE_OK; }
    return name_layer(
        override, layer,
        spade_alloc(override->context, layer_bytes(override, layer), what, (void **)&override->layers[layer].host));
}

static spade_status need_device(spade_weight_override *override, int layer)
{
    spade_device *device = override->context->device;
    void *memory;
    if (override->layers[layer].device) { return SPADE_OK; }
    SPADE_TRY(name_layer(override, layer, device->backend->alloc(device, layer_bytes(override, layer), what, &memory)));
    override->layers[layer].device = memory;
    return SPADE_OK;
}

spade_status spade_weight_override_host(spade_weight_override *override, int layer, const float **out)
{
    spade_override_weights *own = &override->layers[layer];
    if (!own->host) {
        SPADE_TRY(need_host(override, layer));
        spade_status status = backend_of(override)->download(override->context->device, own->host, own->device,
                                                             layer_bytes(override, layer));
        if (status != SPADE_OK) {
            drop_host(override, layer);
            return name_layer(override, layer, status);
        }
    }
    *out = own->host;
    return SPADE_OK;
}

spade_status spade_weight_override_device(spade_weight_override *override, int layer, const float **out)
{
    spade_override_weights *own = &override->layers[layer];
    if (backend_of(override)->host_memory) { return spade_weight_override_host(override, layer, out); }
    if (!own->device) {
        SPADE_TRY(need_device(override, layer));
        spade_status status = backend_of(override)->upload(override->context->device, own->device, own->host,
                                                           layer_bytes(override, layer));
        if (status != SPADE_OK) {
            drop_device(override, layer);
            return name_layer(override, layer, status);
        }
    }
    *out = own->device;
    return SPADE_OK;
}

spade_status spade_weight_override_write_host(spade_weight_override *override, int layer, float **out)
{
    drop_device(override, layer);
    override->generation = spade_generation(override->context);
    SPADE_TRY(need_host(override, layer));
    *out = override->layers[layer].host;
    return SPADE_OK;
}

spade_status spade_weight_override_write_device(spade_weight_override *override, int layer, float **out)
{
    if (backend_of(override)->host_memory) { return spade_weight_override_write_host(override, layer, out); }
    drop_host(override, layer);
    override->generation = spade_generation(override->context);
    SPADE_TRY(need_device(override, layer));
    *out = override->layers[layer].device;
    return SPADE_OK;
}

spade_status spade_weight_override_copy(spade_weight_override *to, spade_weight_override *from, int layer)
{
    size_t bytes = layer_bytes(from, layer);
    float *target;
    if (from->layers[layer].device) {
        SPADE_TRY(spade_weight_override_write_device(to, layer, &target));
        return backend_of(from)->copy(from->context->device, target, from->layers[layer].device, bytes);
    }
    SPADE_TRY(spade_weight_override_write_host(to, layer, &target));
    memcpy(target, from->layers[layer].host, bytes);
    return SPADE_OK;
}
