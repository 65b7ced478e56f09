/*
 * forms.h - the forms of the Hessian on the CPU, one file each; hessian.c hands a call to the one that the
 * description names. All accumulate in float64; `precision` is that of the products and of the sums within a piece.
 *
 * Each form: does it apply; its cost for one update, in nanoseconds of one core as a model (only ratios matter, and it
 * depends on the shapes only, so that the choice is the same on every machine); numbers of an accumulator; bytes of
 * workspace; the update (false: out of memory); reading H.
 */
#ifndef SPADE_CPU_HESSIAN_FORMS_H
#define SPADE_CPU_HESSIAN_FORMS_H

#include "backend/cpu/cpu.h"
#include "backend/hessian_desc.h"

/* ---- unfold.c: SPADE_HESSIAN_UNFOLD, SPADE_HESSIAN_RANK_K. Accumulator: [groups, K, K], lower triangles,
 * columns in (row, column, channel) order. */
double spade_unfold_cost(const spade_hessian_desc *desc);
int64_t spade_unfold_size(const spade_hessian_desc *desc);
size_t spade_unfold_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc);
bool spade_unfold_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                         double *accumulator, void *workspace);
void spade_unfold_read(const spade_device *device, const spade_hessian_desc *desc, const double *accumulator,
                       int64_t group, int64_t offset, double *out);

/* ---- spectral.c: SPADE_HESSIAN_SPECTRAL. Accumulator: lags (autocorrelation.h), as for the two forms below. */
bool spade_spectral_applies(const spade_hessian_desc *desc);
double spade_spectral_cost(const spade_hessian_desc *desc);
size_t spade_spectral_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc);
bool spade_spectral_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                           double *accumulator, void *workspace);

/* ---- shift.c: SPADE_HESSIAN_SHIFT */
bool spade_shift_applies(const spade_hessian_desc *desc);
double spade_shift_cost(const spade_hessian_desc *desc);
size_t spade_shift_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc);
bool spade_shift_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                        double *accumulator, void *workspace);

/* ---- depthwise.c: SPADE_HESSIAN_DEPTHWISE, lags of each channel; SPADE_HESSIAN_OFFSET_PAIRS, products of all pairs of
 * offsets for any stride and dilation. Accumulator of offsets: as for the unfolded form. */
bool spade_offset_pairs_apply(const spade_hessian_desc *desc);
double spade_offset_pairs_cost(const spade_hessian_desc *desc);
size_t spade_offset_pairs_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc);
void spade_offset_pairs_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                               double *accumulator, void *workspace);
bool spade_depthwise_applies(const spade_hessian_desc *desc);
double spade_depthwise_cost(const spade_hessian_desc *desc);
size_t spade_depthwise_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc);
void spade_depthwise_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                            double *accumulator, void *workspace);

/* ---- samples.c: patches that are kept instead of summed. */
void spade_samples_read(const spade_device *device, const spade_hessian_desc *desc, const float *x, int64_t group,
                        int64_t offset, float *out);

#endif
