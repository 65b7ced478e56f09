/*
 * override.h - what the graph has to know of a trace: which weights replace the network's.
 *
 * `struct spade_trace` belongs to the trace stage and begins with a spade_weight_override, so that a spade_trace pointer
 * can be read as one here without this stage including a later one.
 *
 * A layer's own weights are where they were written last, on the host or on the device, and where they were asked for
 * since; a solver on a GPU leaves them there, and whoever reads them there finds them. Where the host's memory is the
 * device's there is one copy. Pointers stay valid until the layer is written again.
 *
 * A layer may have a bias of its own as well, also where the network's has none. It lies on the host: whoever packs weights makes
 * what the device reads of it.
 */
#ifndef SPADE_ENGINE_OVERLAY_H
#define SPADE_ENGINE_OVERLAY_H

#include "base/base.h"
#include "spade/model.h"

typedef struct spade_override_weights {
    float *host, *device; /* [rows, columns]; both NULL: the weights are the network's */
    float *bias;          /* [rows]; NULL: the bias is the network's */
} spade_override_weights;

typedef struct spade_weight_override {
    spade_context *context;
    const spade_model *model;
    uint64_t generation;            /* of the weights: another one after every writing; 0: before the first */
    bool biased;                    /* a layer has, or had, a bias of its own */
    spade_override_weights *layers; /* [layers] */
} spade_weight_override;

/* The override of a trace; NULL (the dense network) for NULL. */
static inline spade_weight_override *spade_weight_override_of(const spade_trace *trace)
{
    return (spade_weight_override *)(uintptr_t)trace;
}

/* A trace (or NULL) of another model is no trace of this one: SPADE_ERROR_ARGUMENT. */
spade_status spade_weight_override_check(spade_context *context, const spade_trace *trace, const spade_model *model);
spade_status spade_weight_override_create(spade_context *context, const spade_model *model, spade_weight_override *out);
void spade_weight_override_clear(spade_weight_override *override);
static inline bool spade_weight_override_has(const spade_weight_override *override, int layer)
{
    return override->layers[layer].host || override->layers[layer].device;
}
/* A layer's own weights (it has some) where they are to be read; copied there where they are not. */
spade_status spade_weight_override_host(spade_weight_override *override, int layer, const float **out);
spade_status spade_weight_override_device(spade_weight_override *override, int layer, const float **out);
/* Room for a layer's own weights, to be written there; what the layer had is forgotten. */
spade_status spade_weight_override_write_host(spade_weight_override *override, int layer, float **out);
spade_status spade_weight_override_write_device(spade_weight_override *override, int layer, float **out);
/* A bias of the layer's own [rows], which is copied. */
spade_status spade_weight_override_set_bias(spade_weight_override *override, int layer, const float *bias);
/* The layer is the network's again. */
void spade_weight_override_drop(spade_weight_override *override, int layer);
/* Another trace's weights of a layer (it has some), of the same network and context; not its bias. */
spade_status spade_weight_override_copy(spade_weight_override *to, spade_weight_override *from, int layer);

#endif
