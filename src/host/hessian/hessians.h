/*
 * hessians.h - the Hessian stage's inside: accumulators on the device, one per layer.
 */
#ifndef SPADE_HESSIAN_HESSIANS_H
#define SPADE_HESSIAN_HESSIANS_H

#include "graph/graph.h"
#include "spade/hessian.h"

typedef struct spade_accumulator {
    int layer;
    int64_t groups, columns;     /* K */
    int64_t channels, positions; /* K = channels * positions: channels of a group, kernel positions */
    size_t bytes;
    void *h; /* device [groups, K, K], lower triangles, columns in (row, column, channel) order */
} spade_accumulator;

struct spade_hessians {
    spade_context *context;
    spade_precision precision;
    spade_accumulator *accumulators;
    int count;
    double forward_seconds, update_seconds; /* augmentation and forward passes; updates */
};

/* direct.c: the patches of a layer's input for a tensor of this shape */
spade_patches spade_hessian_patches(const spade_graph *graph, int layer, const spade_shape *shape);
/* h += scale * sum over the tensor's positions; workspace: as the backend asks for these patches */
spade_status spade_hessian_direct(spade_context *context, const spade_patches *patches, const float *x, double scale,
                                  spade_precision precision, void *h, void *workspace);
/* Bytes that one layer's update of a micro-batch of n images needs. */
size_t spade_hessian_direct_bytes(const spade_model *model, int layer, int64_t n, spade_precision precision);

/* hessian.c. The upper triangle (column >= row) only; the rest of out is not written. */
void spade_hessian_get_upper(const spade_hessians *hessians, int i, int64_t group, double *out);
/*
 * Bytes that accumulating these layers takes at its peak beyond what the context holds now, found by making everything
 * and releasing it again without a budget.
 */
spade_status spade_hessian_need(spade_context *context, const spade_model *model, const spade_batch *batch,
                                const int *layers, int count, spade_precision precision, uint64_t *bytes);

#endif
