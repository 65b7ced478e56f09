/*
 * overlay.h - what the graph has to know of a trace: which weights replace the network's.
 *
 * `struct spade_trace` belongs to the trace stage and begins with a spade_weight_overlay, so that a spade_trace pointer
 * can be read as one here without this stage including a later one.
 */
#ifndef SPADE_GRAPH_OVERLAY_H
#define SPADE_GRAPH_OVERLAY_H

#include "spade/model.h"

typedef struct spade_weight_overlay {
    spade_context *context;
    const spade_model *model;
    float **overlay; /* [layers]; an entry is [rows, columns], NULL: the network's own weights. Owned by the trace. */
} spade_weight_overlay;

/* The overlay of a trace for spade_weights_create(); NULL (the dense network) for NULL. */
static inline const float *const *spade_overlay_of(const spade_trace *trace)
{
    return trace ? (const float *const *)((const spade_weight_overlay *)(const void *)trace)->overlay : NULL;
}

#endif
