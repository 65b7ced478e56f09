/* overlay.c - a trace's own weights, on the host and on the device. */
#include "graph/overlay.h"

#include "graph/graph.h"

static const char what[] = "the weights of a trace";

static size_t layer_bytes(const spade_weight_overlay *overlay, int layer)
{
    const spade_layer *l = &overlay->model->graph.layers[layer];
    return (size_t)(l->rows * l->columns) * sizeof(float);
}

static const spade_backend *backend_of(const spade_weight_overlay *overlay)
{
    return overlay->context->device->backend;
}

static spade_status name_layer(const spade_weight_overlay *overlay, int layer, spade_status status)
{
    if (status == SPADE_OK) { return SPADE_OK; }
    return spade_fail_in(overlay->context, status, "layer %s", overlay->model->graph.layers[layer].name);
}

spade_status spade_overlay_create(spade_context *context, const spade_model *model, spade_weight_overlay *out)
{
    *out = (spade_weight_overlay){.context = context, .model = model};
    out->layers = calloc((size_t)model->graph.layer_count + 1, sizeof *out->layers);
    if (out->layers) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a trace of %d layers", model->graph.layer_count);
}

static void drop_host(spade_weight_overlay *overlay, int layer)
{
    spade_free_bytes(overlay->context, overlay->layers[layer].host, layer_bytes(overlay, layer));
    overlay->layers[layer].host = NULL;
}

static void drop_device(spade_weight_overlay *overlay, int layer)
{
    float *device = overlay->layers[layer].device;
    if (device) { backend_of(overlay)->free(overlay->context->device, device, layer_bytes(overlay, layer)); }
    overlay->layers[layer].device = NULL;
}

void spade_overlay_drop(spade_weight_overlay *overlay, int layer)
{
    drop_host(overlay, layer);
    drop_device(overlay, layer);
    overlay->serial = spade_serial(overlay->context);
}

void spade_overlay_clear(spade_weight_overlay *overlay)
{
    for (int i = 0; overlay->layers && i < overlay->model->graph.layer_count; i++) { spade_overlay_drop(overlay, i); }
    free(overlay->layers);
    overlay->layers = NULL;
}

static spade_status need_host(spade_weight_overlay *overlay, int layer)
{
    if (overlay->layers[layer].host) { return SPADE_OK; }
    return name_layer(
        overlay, layer,
        spade_alloc(overlay->context, layer_bytes(overlay, layer), what, (void **)&overlay->layers[layer].host));
}

static spade_status need_device(spade_weight_overlay *overlay, int layer)
{
    spade_device *device = overlay->context->device;
    void *memory;
    if (overlay->layers[layer].device) { return SPADE_OK; }
    SPADE_TRY(name_layer(overlay, layer, device->backend->alloc(device, layer_bytes(overlay, layer), what, &memory)));
    overlay->layers[layer].device = memory;
    return SPADE_OK;
}

spade_status spade_overlay_host(spade_weight_overlay *overlay, int layer, const float **out)
{
    spade_own_weights *own = &overlay->layers[layer];
    if (!own->host) {
        SPADE_TRY(need_host(overlay, layer));
        spade_status status = backend_of(overlay)->download(overlay->context->device, own->host, own->device,
                                                            layer_bytes(overlay, layer));
        if (status != SPADE_OK) {
            drop_host(overlay, layer);
            return name_layer(overlay, layer, status);
        }
    }
    *out = own->host;
    return SPADE_OK;
}

spade_status spade_overlay_device(spade_weight_overlay *overlay, int layer, const float **out)
{
    spade_own_weights *own = &overlay->layers[layer];
    if (backend_of(overlay)->host_memory) { return spade_overlay_host(overlay, layer, out); }
    if (!own->device) {
        SPADE_TRY(need_device(overlay, layer));
        spade_status status =
            backend_of(overlay)->upload(overlay->context->device, own->device, own->host, layer_bytes(overlay, layer));
        if (status != SPADE_OK) {
            drop_device(overlay, layer);
            return name_layer(overlay, layer, status);
        }
    }
    *out = own->device;
    return SPADE_OK;
}

spade_status spade_overlay_write_host(spade_weight_overlay *overlay, int layer, float **out)
{
    drop_device(overlay, layer);
    overlay->serial = spade_serial(overlay->context);
    SPADE_TRY(need_host(overlay, layer));
    *out = overlay->layers[layer].host;
    return SPADE_OK;
}

spade_status spade_overlay_write_device(spade_weight_overlay *overlay, int layer, float **out)
{
    if (backend_of(overlay)->host_memory) { return spade_overlay_write_host(overlay, layer, out); }
    drop_host(overlay, layer);
    overlay->serial = spade_serial(overlay->context);
    SPADE_TRY(need_device(overlay, layer));
    *out = overlay->layers[layer].device;
    return SPADE_OK;
}

spade_status spade_overlay_copy(spade_weight_overlay *to, spade_weight_overlay *from, int layer)
{
    size_t bytes = layer_bytes(from, layer);
    float *target;
    if (from->layers[layer].device) {
        SPADE_TRY(spade_overlay_write_device(to, layer, &target));
        return backend_of(from)->copy(from->context->device, target, from->layers[layer].device, bytes);
    }
    SPADE_TRY(spade_overlay_write_host(to, layer, &target));
    memcpy(target, from->layers[layer].host, bytes);
    return SPADE_OK;
}
