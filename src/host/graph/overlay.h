/*
 * overlay.h - what the graph has to know of a trace: which weights replace the network's.
 *
 * `struct spade_trace` belongs to the trace stage and begins with a spade_weight_overlay, so that a spade_trace pointer
 * can be read as one here without this stage including a later one.
 *
 * A layer's own weights are where they were written last, on the host or on the device, and where they were asked for
 * since; a solver on a GPU leaves them there, and whoever reads them there finds them. Where the host's memory is the
 * device's there is one copy. Pointers stay valid until the layer is written again.
 */
#ifndef SPADE_GRAPH_OVERLAY_H
#define SPADE_GRAPH_OVERLAY_H

#include "base/base.h"
#include "spade/model.h"

typedef struct spade_own_weights {
    float *host, *device; /* [rows, columns]; both NULL: the layer is the network's */
} spade_own_weights;

typedef struct spade_weight_overlay {
    spade_context *context;
    const spade_model *model;
    uint64_t serial;           /* of the weights: another one after every writing; 0: before the first */
    spade_own_weights *layers; /* [layers] */
} spade_weight_overlay;

/* The overlay of a trace; NULL (the dense network) for NULL. */
static inline spade_weight_overlay *spade_overlay_of(const spade_trace *trace)
{
    return (spade_weight_overlay *)(uintptr_t)trace;
}

spade_status spade_overlay_create(spade_context *context, const spade_model *model, spade_weight_overlay *out);
void spade_overlay_clear(spade_weight_overlay *overlay);
static inline bool spade_overlay_has(const spade_weight_overlay *overlay, int layer)
{
    return overlay->layers[layer].host || overlay->layers[layer].device;
}
/* A layer's own weights (it has some) where they are to be read; copied there where they are not. */
spade_status spade_overlay_host(spade_weight_overlay *overlay, int layer, const float **out);
spade_status spade_overlay_device(spade_weight_overlay *overlay, int layer, const float **out);
/* Room for a layer's own weights, to be written there; what the layer had is forgotten. */
spade_status spade_overlay_write_host(spade_weight_overlay *overlay, int layer, float **out);
spade_status spade_overlay_write_device(spade_weight_overlay *overlay, int layer, float **out);
/* The layer is the network's again. */
void spade_overlay_drop(spade_weight_overlay *overlay, int layer);
/* Another trace's weights of a layer (it has some), of the same network and context. */
spade_status spade_overlay_copy(spade_weight_overlay *to, spade_weight_overlay *from, int layer);

#endif
