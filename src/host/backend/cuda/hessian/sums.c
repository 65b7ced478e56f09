/*
 * sums.c - Hessians of one channel a group, one kernel each: DEPTHWISE from autocorrelations, OFFSET_PAIRS from products of
 * all pairs of kernel offsets.
 */
#include "backend/cuda/hessian/hessian.h"

enum { MAX_OFFSETS = 225 /* pairs of them along one axis of a grid of blocks */ };

static bool is_depthwise(const spade_hessian_desc *desc)
{
    return !desc->linear && desc->groups > 1 && desc->groups == desc->x.dims[1];
}

bool spade_cuda_sums_apply(const spade_hessian_desc *desc)
{
    if (!is_depthwise(desc)) { return false; }
    return desc->form == SPADE_HESSIAN_OFFSET_PAIRS ? desc->window.kernel[0] * desc->window.kernel[1] <= MAX_OFFSETS
                                                    : spade_autocorrelation_apply(desc);
}

double spade_cuda_sums_cost(const spade_hessian_desc *desc)
{
    spade_patch_kernel kernel = spade_cuda_patch_kernel(desc, NULL);
    double images = (double)desc->x.dims[0], channels = (double)desc->x.dims[1], products = 0;
    if (desc->form == SPADE_HESSIAN_OFFSET_PAIRS) {
        products = (double)spade_sums_entries(SPADE_SUMS_OFFSET_PAIRS, &kernel, NULL) *
                   (double)(desc->out_height * desc->out_width);
        return products * images * channels / SPADE_CUDA_SUMS + 2 * SPADE_CUDA_LAUNCH_COST;
    }
    spade_autocorrelation lags = spade_autocorrelation_of(desc);
    for (int64_t i = 0; i < spade_autocorrelation_parts(&lags); i++) {
        spade_lag_part part = spade_autocorrelation_part(&lags, i);
        products += (double)(spade_lag_part_count(&part) + 1) / 2 * (double)(part.size[0] * part.size[1]);
    }
    products += (double)(lags.axis[0].size * lags.axis[1].size); /* squares of the cells */
    return products * images * channels / SPADE_CUDA_SUMS + 4 * SPADE_CUDA_LAUNCH_COST;
}

size_t spade_cuda_sums_workspace_bytes(const spade_hessian_desc *desc)
{
    spade_patch_kernel kernel = spade_cuda_patch_kernel(desc, NULL);
    spade_autocorrelation lags = {0};
    spade_sums_kernel sums = SPADE_SUMS_OFFSET_PAIRS;
    if (desc->form == SPADE_HESSIAN_DEPTHWISE) {
        lags = spade_autocorrelation_of(desc);
        sums = SPADE_SUMS_LAGS; /* more than there are cells */
    }
    spade_autocorrelation_kernel of_kernel = spade_cuda_lags_kernel(&lags);
    int64_t entries = spade_sums_entries(sums, &kernel, &of_kernel);
    int64_t cells = lags.axis[0].cells * lags.axis[1].cells;
    if (cells > entries) { entries = cells; }
    return (size_t)(desc->x.dims[0] * entries * desc->x.dims[1]) * sizeof(double);
}

spade_status spade_cuda_sums_update(const spade_cuda_device *cuda, const spade_hessian_desc *desc, const float *x,
                                    double alpha, double *accumulator, void *workspace)
{
    spade_patch_kernel kernel = spade_cuda_patch_kernel(desc, x);
    int images = (int)desc->x.dims[0];
    if (desc->form == SPADE_HESSIAN_OFFSET_PAIRS) {
        SPADE_CUDA_LAUNCH(cuda, spade_launch_sums(cuda->stream, SPADE_SUMS_OFFSET_PAIRS, kernel, NULL, images, alpha,
                                                  workspace, accumulator));
        return SPADE_OK;
    }
    spade_autocorrelation geometry = spade_autocorrelation_of(desc);
    spade_autocorrelation_kernel lags = spade_cuda_lags_kernel(&geometry);
    SPADE_CUDA_LAUNCH(
        cuda, spade_launch_sums(cuda->stream, SPADE_SUMS_CELLS, kernel, &lags, images, alpha, workspace, accumulator));
    SPADE_CUDA_LAUNCH(
        cuda, spade_launch_sums(cuda->stream, SPADE_SUMS_LAGS, kernel, &lags, images, alpha, workspace, accumulator));
    return SPADE_OK;
}
