/* hessian.c - the table of operations on Hessians: hands a call to the form that the description names. */
#include <limits.h>

#include "backend/cuda/hessian/hessian.h"

double spade_cuda_product_cost(double m, double n, double k, double batch)
{
    const double tile = 32;
    m = (double)((int64_t)((m + tile - 1) / tile)) * tile;
    n = (double)((int64_t)((n + tile - 1) / tile)) * tile;
    return 2 * m * n * k * batch / SPADE_CUDA_OPERATIONS;
}

spade_network_precision spade_cuda_patch_precision(const spade_cuda_device *cuda, const spade_hessian_desc *desc)
{
    return desc->precision == SPADE_FP64 ? SPADE_NETWORK_FP32 : cuda->base.context->precision;
}

/* ---- what the kernels take */

spade_patch_kernel spade_cuda_patch_kernel(const spade_hessian_desc *desc, const float *x)
{
    spade_positions p = spade_positions_of(desc, x);
    spade_patch_kernel out = {.x = x,
                              .stride_n = p.stride_n,
                              .stride_c = p.stride_c,
                              .stride_h = p.stride_h,
                              .stride_w = p.stride_w,
                              .groups = (int)p.groups,
                              .channels = (int)p.group_channels,
                              .size = {(int)p.height, (int)p.width},
                              .output = {1, 1},
                              .kernel = {1, 1},
                              .stride = {1, 1},
                              .dilation = {1, 1}};
    if (desc->linear) { return out; }
    out.output[0] = (int)desc->out_height;
    out.output[1] = (int)desc->out_width;
    for (int a = 0; a < 2; a++) {
        out.kernel[a] = (int)desc->window.kernel[a];
        out.stride[a] = (int)desc->window.stride[a];
        out.dilation[a] = (int)desc->window.dilation[a];
        out.pad[a] = (int)desc->window.pad[a];
    }
    return out;
}

static spade_lag_axis_kernel axis_kernel(const spade_lag_axis *axis)
{
    spade_lag_axis_kernel out = {.size = (int)axis->size,
                                 .kernel = (int)axis->kernel,
                                 .pad = (int)axis->pad,
                                 .output = (int)axis->output,
                                 .cut = {(int)axis->cut[0], (int)axis->cut[1]},
                                 .parts = (int)axis->parts,
                                 .cells = (int)axis->cells};
    for (int64_t i = 0; i <= axis->parts; i++) { out.first_lag[i] = (int)axis->first_lag[i]; }
    for (int64_t i = 0; i <= axis->cells; i++) { out.cell_start[i] = (int)axis->cell_start[i]; }
    for (int64_t i = 0; i < axis->parts; i++) {
        int64_t start, size;
        spade_lag_axis_part(axis, i, &start, &size);
        out.start[i] = (int)start;
        out.extent[i] = (int)size;
    }
    return out;
}

spade_autocorrelation_kernel spade_cuda_lags_kernel(const spade_autocorrelation *lags)
{
    return (spade_autocorrelation_kernel){.groups = (int)lags->groups,
                                          .channels = (int)lags->channels,
                                          .count = lags->count,
                                          .axis = {axis_kernel(&lags->axis[0]), axis_kernel(&lags->axis[1])}};
}

/* ---- the table */

static bool is_lag_form(const spade_hessian_desc *desc)
{
    return desc->form == SPADE_HESSIAN_SPECTRAL || desc->form == SPADE_HESSIAN_DEPTHWISE;
}

static double hessian_cost(spade_device *device, const spade_hessian_desc *desc)
{
    const spade_cuda_device *cuda = spade_cuda_of(device);
    bool rows = spade_hessian_desc_is_rows(desc);
    switch (desc->form) {
    case SPADE_HESSIAN_UNFOLD: return rows ? -1 : spade_cuda_unfold_cost(cuda, desc);
    case SPADE_HESSIAN_RANK_K: return rows ? spade_cuda_unfold_cost(cuda, desc) : -1;
    case SPADE_HESSIAN_SPECTRAL: return spade_cuda_spectral_applies(desc) ? spade_cuda_spectral_cost(desc) : -1;
    case SPADE_HESSIAN_DEPTHWISE:
    case SPADE_HESSIAN_OFFSET_PAIRS: return spade_cuda_sums_apply(desc) ? spade_cuda_sums_cost(desc) : -1;
    default: return -1;
    }
}

static size_t hessian_bytes(spade_device *device, const spade_hessian_desc *desc)
{
    (void)device;
    if (is_lag_form(desc)) {
        spade_autocorrelation lags = spade_autocorrelation_of(desc);
        int64_t pairs = lags.channels * (lags.channels + 1) / 2;
        return (size_t)(lags.groups * lags.count * pairs + spade_autocorrelation_cells(&lags)) * sizeof(double);
    }
    spade_positions p = spade_positions_of(desc, NULL);
    return (size_t)(p.groups * p.columns * p.columns) * sizeof(double);
}

static size_t hessian_workspace_bytes(spade_device *device, const spade_hessian_desc *desc)
{
    switch (desc->form) {
    case SPADE_HESSIAN_SPECTRAL: return spade_cuda_spectral_workspace_bytes(desc);
    case SPADE_HESSIAN_DEPTHWISE:
    case SPADE_HESSIAN_OFFSET_PAIRS: return spade_cuda_sums_workspace_bytes(desc);
    default: return spade_cuda_unfold_workspace_bytes(spade_cuda_of(device), desc);
    }
}

static spade_status hessian_update(spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                                   void *accumulator, void *workspace)
{
    const spade_cuda_device *cuda = spade_cuda_of(device);
    spade_positions p = spade_positions_of(desc, x);
    if (p.groups * p.columns > INT_MAX || p.images > INT_MAX) {
        return spade_cuda_latch_error(cuda, spade_fail(device->context, SPADE_ERROR_UNSUPPORTED,
                                                       "cuda:%d: a Hessian of %lld columns is too large for cuBLAS",
                                                       cuda->index, (long long)p.columns));
    }
    switch (desc->form) {
    case SPADE_HESSIAN_SPECTRAL: return spade_cuda_spectral_update(cuda, desc, x, alpha, accumulator, workspace);
    case SPADE_HESSIAN_DEPTHWISE:
    case SPADE_HESSIAN_OFFSET_PAIRS: return spade_cuda_sums_update(cuda, desc, x, alpha, accumulator, workspace);
    default: return spade_cuda_unfold_update(cuda, desc, x, alpha, accumulator, workspace);
    }
}

static spade_status hessian_read(spade_device *device, const spade_hessian_desc *desc, const void *accumulator,
                                 int64_t group, int64_t offset, double *out)
{
    const spade_cuda_device *cuda = spade_cuda_of(device);
    return is_lag_form(desc) ? spade_cuda_autocorrelation_read(cuda, desc, accumulator, group, offset, out)
                             : spade_cuda_unfold_read(cuda, desc, accumulator, group, offset, out);
}

static spade_status hessian_samples(spade_device *device, const spade_hessian_desc *desc, const float *x, int64_t group,
                                    int64_t offset, float *out)
{
    const spade_cuda_device *cuda = spade_cuda_of(device);
    const spade_positions p = spade_positions_of(desc, x);
    const int taps = (int)(p.columns / p.group_channels);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_samples(cuda->stream, spade_cuda_patch_kernel(desc, x), p.count, group,
                                                 offset < 0 ? 0 : (int)offset, offset < 0 ? taps : 1, out));
    return SPADE_OK;
}

/* Enough images to fill a GPU with the smallest layers, few enough for the activations of large networks. */
enum { MICRO_BATCH = 64 };

const spade_backend_hessian spade_cuda_hessian = {
    .micro_batch = MICRO_BATCH,
    .cost = hessian_cost,
    .bytes = hessian_bytes,
    .workspace_bytes = hessian_workspace_bytes,
    .update = hessian_update,
    .read = hessian_read,
    .samples = hessian_samples,
};
