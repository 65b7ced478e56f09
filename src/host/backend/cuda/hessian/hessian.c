/*
 * hessian.c - the table's operations on Hessians: the form that the patches name, and what each would cost. The forms
 * of one channel a group (DEPTHWISE: lags, TAPS: pairs of kernel positions) are one kernel each and stand here.
 */
#include <limits.h>

#include "backend/cuda/hessian/hessian.h"

enum { MAX_TAPS = 225 /* pairs of them along one axis of a grid of blocks */ };

double spade_cuda_product_cost(double m, double n, double k, double batch)
{
    const double tile = 32;
    m = (double)((int64_t)((m + tile - 1) / tile)) * tile;
    n = (double)((int64_t)((n + tile - 1) / tile)) * tile;
    return 2 * m * n * k * batch / SPADE_CUDA_OPERATIONS;
}

/* ---- what the kernels take */

spade_patch_kernel spade_cuda_patch_kernel(const spade_hessian_desc *patches, const float *x)
{
    spade_positions p = spade_positions_of(patches, x);
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
    if (patches->linear) { return out; }
    out.output[0] = (int)patches->out_height;
    out.output[1] = (int)patches->out_width;
    for (int a = 0; a < 2; a++) {
        out.kernel[a] = (int)patches->window.kernel[a];
        out.stride[a] = (int)patches->window.stride[a];
        out.dilation[a] = (int)patches->window.dilation[a];
        out.pad[a] = (int)patches->window.pad[a];
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

/* ---- one channel a group */

static bool is_depthwise(const spade_hessian_desc *patches)
{
    return !patches->linear && patches->groups > 1 && patches->groups == patches->x.dims[1];
}

static bool sums_apply(const spade_hessian_desc *patches)
{
    if (!is_depthwise(patches)) { return false; }
    return patches->form == SPADE_HESSIAN_TAPS ? patches->window.kernel[0] * patches->window.kernel[1] <= MAX_TAPS
                                               : spade_autocorrelation_apply(patches);
}

static double sums_cost(const spade_hessian_desc *patches)
{
    spade_patch_kernel kernel = spade_cuda_patch_kernel(patches, NULL);
    double images = (double)patches->x.dims[0], channels = (double)patches->x.dims[1], products = 0;
    if (patches->form == SPADE_HESSIAN_TAPS) {
        products = (double)spade_sums_entries(SPADE_SUMS_TAPS, &kernel, NULL) *
                   (double)(patches->out_height * patches->out_width);
        return products * images * channels / SPADE_CUDA_SUMS + 2 * SPADE_CUDA_LAUNCH_COST;
    }
    spade_autocorrelation lags = spade_autocorrelation_of(patches);
    for (int64_t i = 0; i < spade_autocorrelation_parts(&lags); i++) {
        spade_lag_part part = spade_autocorrelation_part(&lags, i);
        products += (double)(spade_lag_part_count(&part) + 1) / 2 * (double)(part.size[0] * part.size[1]);
    }
    products += (double)(lags.axis[0].size * lags.axis[1].size); /* squares of the cells */
    return products * images * channels / SPADE_CUDA_SUMS + 4 * SPADE_CUDA_LAUNCH_COST;
}

static size_t sums_workspace_bytes(const spade_hessian_desc *patches)
{
    spade_patch_kernel kernel = spade_cuda_patch_kernel(patches, NULL);
    spade_autocorrelation lags = {0};
    spade_sums_kernel sums = SPADE_SUMS_TAPS;
    if (patches->form == SPADE_HESSIAN_DEPTHWISE) {
        lags = spade_autocorrelation_of(patches);
        sums = SPADE_SUMS_LAGS; /* more than there are cells */
    }
    spade_autocorrelation_kernel of_kernel = spade_cuda_lags_kernel(&lags);
    int64_t entries = spade_sums_entries(sums, &kernel, &of_kernel);
    int64_t cells = lags.axis[0].cells * lags.axis[1].cells;
    if (cells > entries) { entries = cells; }
    return (size_t)(patches->x.dims[0] * entries * patches->x.dims[1]) * sizeof(double);
}

static spade_status sums_update(const spade_cuda_device *cuda, const spade_hessian_desc *patches, const float *x,
                                double alpha, double *accumulator, void *workspace)
{
    spade_patch_kernel kernel = spade_cuda_patch_kernel(patches, x);
    int images = (int)patches->x.dims[0];
    if (patches->form == SPADE_HESSIAN_TAPS) {
        SPADE_CUDA_LAUNCH(cuda, spade_launch_sums(cuda->stream, SPADE_SUMS_TAPS, kernel, NULL, images, alpha, workspace,
                                                  accumulator));
        return SPADE_OK;
    }
    spade_autocorrelation geometry = spade_autocorrelation_of(patches);
    spade_autocorrelation_kernel lags = spade_cuda_lags_kernel(&geometry);
    SPADE_CUDA_LAUNCH(
        cuda, spade_launch_sums(cuda->stream, SPADE_SUMS_CELLS, kernel, &lags, images, alpha, workspace, accumulator));
    SPADE_CUDA_LAUNCH(
        cuda, spade_launch_sums(cuda->stream, SPADE_SUMS_LAGS, kernel, &lags, images, alpha, workspace, accumulator));
    return SPADE_OK;
}

/* ---- the table */

static bool is_lag_form(const spade_hessian_desc *patches)
{
    return patches->form == SPADE_HESSIAN_SPECTRAL || patches->form == SPADE_HESSIAN_DEPTHWISE;
}

static double hessian_cost(spade_device *device, const spade_hessian_desc *patches)
{
    (void)device;
    bool rows = spade_hessian_desc_is_rows(patches);
    switch (patches->form) {
    case SPADE_HESSIAN_UNFOLD: return rows ? -1 : spade_cuda_unfold_cost(patches);
    case SPADE_HESSIAN_RANK_K: return rows ? spade_cuda_unfold_cost(patches) : -1;
    case SPADE_HESSIAN_SPECTRAL: return spade_cuda_spectral_applies(patches) ? spade_cuda_spectral_cost(patches) : -1;
    case SPADE_HESSIAN_DEPTHWISE:
    case SPADE_HESSIAN_TAPS: return sums_apply(patches) ? sums_cost(patches) : -1;
    default: return -1;
    }
}

static size_t hessian_bytes(spade_device *device, const spade_hessian_desc *patches)
{
    (void)device;
    if (is_lag_form(patches)) {
        spade_autocorrelation lags = spade_autocorrelation_of(patches);
        int64_t pairs = lags.channels * (lags.channels + 1) / 2;
        return (size_t)(lags.groups * lags.count * pairs + spade_autocorrelation_cells(&lags)) * sizeof(double);
    }
    spade_positions p = spade_positions_of(patches, NULL);
    return (size_t)(p.groups * p.columns * p.columns) * sizeof(double);
}

static size_t hessian_workspace_bytes(spade_device *device, const spade_hessian_desc *patches)
{
    (void)device;
    switch (patches->form) {
    case SPADE_HESSIAN_SPECTRAL: return spade_cuda_spectral_workspace_bytes(patches);
    case SPADE_HESSIAN_DEPTHWISE:
    case SPADE_HESSIAN_TAPS: return sums_workspace_bytes(patches);
    default: return spade_cuda_unfold_workspace_bytes(patches);
    }
}

static spade_status hessian_update(spade_device *device, const spade_hessian_desc *patches, const float *x,
                                   double alpha, void *accumulator, void *workspace)
{
    const spade_cuda_device *cuda = spade_cuda_of(device);
    spade_positions p = spade_positions_of(patches, x);
    if (p.groups * p.columns > INT_MAX || p.images > INT_MAX) {
        return spade_cuda_latch_error(cuda, spade_fail(device->context, SPADE_ERROR_UNSUPPORTED,
                                                       "cuda:%d: a Hessian of %lld columns is too large for cuBLAS",
                                                       cuda->index, (long long)p.columns));
    }
    switch (patches->form) {
    case SPADE_HESSIAN_SPECTRAL: return spade_cuda_spectral_update(cuda, patches, x, alpha, accumulator, workspace);
    case SPADE_HESSIAN_DEPTHWISE:
    case SPADE_HESSIAN_TAPS: return sums_update(cuda, patches, x, alpha, accumulator, workspace);
    default: return spade_cuda_unfold_update(cuda, patches, x, alpha, accumulator, workspace);
    }
}

static spade_status hessian_read(spade_device *device, const spade_hessian_desc *patches, const void *accumulator,
                                 int64_t group, int64_t tap, double *out)
{
    const spade_cuda_device *cuda = spade_cuda_of(device);
    spade_positions p = spade_positions_of(patches, NULL);
    int all = (int)(p.columns / p.group_channels), taps = tap < 0 ? all : 1, first = tap < 0 ? 0 : (int)tap;
    if (is_lag_form(patches)) {
        spade_autocorrelation geometry = spade_autocorrelation_of(patches);
        spade_autocorrelation_kernel lags = spade_cuda_lags_kernel(&geometry);
        SPADE_CUDA_LAUNCH(cuda, spade_launch_read_lags(cuda->stream, &lags, accumulator, (int)group, first, taps, out));
        return SPADE_OK;
    }
    const double *h = (const double *)accumulator + group * p.columns * p.columns;
    SPADE_CUDA_LAUNCH(cuda,
                      spade_launch_read_unfolded(cuda->stream, p.columns, (int)p.group_channels, first, taps, h, out));
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
};
