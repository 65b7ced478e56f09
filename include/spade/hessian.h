/*
 * spade/hessian.h - Hessians of the layer-wise reconstruction problem.
 *
 * For a layer with unfolded input patches x [K] (zeros outside the image): H = (2/n) * sum over the n variants and all
 * output positions of x x^T, one H [K, K] per group, from the dense network. Source: OBS (Hassibi 1993), OBC (Frantar
 * 2022). Column order is the weight's: (channel, row, column).
 */
#ifndef SPADE_HESSIAN_H
#define SPADE_HESSIAN_H

#include "spade/augment.h"
#include "spade/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spade_hessians spade_hessians;

/*
 * Accumulate the Hessians of `count` layers (indices into the model's layers) in one pass over the batch.
 * precision: of products and of sums within a micro-batch; across micro-batches sums are float64 always. The network
 * itself runs in float32. How a layer's Hessian is summed (spectra, shifts, patches, ...) is chosen by its shapes;
 * layers that read the same tensor share sums.
 * Memory: at most the sum over layers of spade_hessian_bytes(), plus the plan of one micro-batch; beyond the budget it
 * is SPADE_ERROR_MEMORY: ask for fewer layers at a time.
 */
SPADE_API spade_status spade_hessian_accumulate(spade_context *context, const spade_model *model,
                                                const spade_batch *batch, const int *layers, int count,
                                                spade_precision precision, spade_hessians **out);
SPADE_API void spade_hessians_destroy(spade_hessians *hessians); /* NULL is fine */
/* Bytes of the accumulator of one layer; 0: there is no such layer. */
SPADE_API uint64_t spade_hessian_bytes(const spade_model *model, int layer, spade_precision precision);
/* Copy H [K, K] of group g of the i-th of the layers asked for; full and symmetric, double. SPADE_ERROR_ARGUMENT: there is no such
 * layer or group. */
SPADE_API spade_status spade_hessian_get(const spade_hessians *hessians, int i, int64_t group, double *out);
/* Copy its diagonal [K] only. */
SPADE_API spade_status spade_hessian_diagonal(const spade_hessians *hessians, int i, int64_t group, double *out);

/* How the i-th layer's Hessian was summed: "spectral", "rank-k", ...; see backend.h. NULL: there is no such layer. */
SPADE_API const char *spade_hessian_form_name(const spade_hessians *hessians, int i);

#ifdef __cplusplus
}
#endif
#endif
