/*
 * hessian.h - the forms of the Hessian on a GPU, one file each; hessian.c hands a call to the one that the description
 * names.
 *
 * SPADE_HESSIAN_SHIFT is not offered: a lag is one product a pixel there, 13 for a 3x3 kernel, where the spectral form
 * takes some 3 to 5, all of them large matrix products on a GPU, too.
 *
 * Precision: with float64, products and sums are float64. With float32 under the network's `--precision tf32` or `bf16`
 * the direct form (UNFOLD, RANK_K) rounds the numbers of the patches once, to TF32 or bfloat16, and is their Gram matrix,
 * summed in float32 within a chunk of positions: positive semidefinite but for float32's rounding. The spectral form and
 * its borders stay float32: H is put together from differences of their sums, which with factors rounded to 11 or 8 bits
 * is not positive definite even when damped (tests/unit/test_hessian_precision_devices.c). DEPTHWISE, OFFSET_PAIRS and the squares
 * of cells are float64 always.
 *
 * Costs are nanoseconds of a model of a GPU; only their ratios matter, and they depend on the shapes and the
 * precision only.
 */
#ifndef SPADE_CUDA_HESSIAN_H
#define SPADE_CUDA_HESSIAN_H

#include "backend/cuda/gemm.h"
#include "backend/autocorrelation.h"
#include "backend/hessian_desc.h"

/* ---- the model, a nanosecond: float32 operations of large products, bytes of device memory, float64 products of
 * numbers out of the caches; nanoseconds of a launch. */
#define SPADE_CUDA_OPERATIONS 45e3
#define SPADE_CUDA_TF32_OPERATIONS 120e3 /* the same of gram.cu's; not measured yet */
#define SPADE_CUDA_BF16_OPERATIONS 200e3
#define SPADE_CUDA_BYTES 2500.0
#define SPADE_CUDA_SUMS 400.0
#define SPADE_CUDA_LAUNCH_COST 3000.0
/* Products [m, k] x [k, n]; small ones fill a tile of 32 as badly as cuBLAS's do. */
double spade_cuda_product_cost(double m, double n, double k, double batch);

spade_patch_kernel spade_cuda_patch_kernel(const spade_hessian_desc *desc, const float *x);
spade_autocorrelation_kernel spade_cuda_lags_kernel(const spade_autocorrelation *lags);

/* How the direct form rounds what it multiplies: the network's precision, none with float64. */
spade_network_precision spade_cuda_patch_precision(const spade_cuda_device *cuda, const spade_hessian_desc *desc);

/* ---- unfold.c: UNFOLD, RANK_K. Accumulator [groups, K, K], upper triangles, columns (row, column, channel) */
double spade_cuda_unfold_cost(const spade_cuda_device *cuda, const spade_hessian_desc *desc);
size_t spade_cuda_unfold_workspace_bytes(const spade_cuda_device *cuda, const spade_hessian_desc *desc);
spade_status spade_cuda_unfold_update(const spade_cuda_device *cuda, const spade_hessian_desc *desc, const float *x,
                                      double alpha, double *accumulator, void *workspace);

/* H of one group; offset -1: of all kernel offsets. */
spade_status spade_cuda_unfold_read(const spade_cuda_device *cuda, const spade_hessian_desc *desc,
                                    const void *accumulator, int64_t group, int64_t offset, double *out);

/* ---- spectral.c: SPECTRAL. Accumulator: lags (kernels/launch.h) */
bool spade_cuda_spectral_applies(const spade_hessian_desc *desc);
double spade_cuda_spectral_cost(const spade_hessian_desc *desc);
size_t spade_cuda_spectral_workspace_bytes(const spade_hessian_desc *desc);
spade_status spade_cuda_spectral_update(const spade_cuda_device *cuda, const spade_hessian_desc *desc, const float *x,
                                        double alpha, double *accumulator, void *workspace);

/* Reads every accumulator of lags, those of sums.c too. */
spade_status spade_cuda_autocorrelation_read(const spade_cuda_device *cuda, const spade_hessian_desc *desc,
                                             const void *accumulator, int64_t group, int64_t offset, double *out);

/* ---- sums.c: DEPTHWISE (accumulator: lags), OFFSET_PAIRS (accumulator: as unfold.c's, read by it) */
bool spade_cuda_sums_apply(const spade_hessian_desc *desc);
double spade_cuda_sums_cost(const spade_hessian_desc *desc);
size_t spade_cuda_sums_workspace_bytes(const spade_hessian_desc *desc);
spade_status spade_cuda_sums_update(const spade_cuda_device *cuda, const spade_hessian_desc *desc, const float *x,
                                    double alpha, double *accumulator, void *workspace);

#endif
