/*
 * hessian.c - the table's operations on Hessians: the form that the description names, and what each would cost.
 */
#include "backend/cpu/hessian/forms.h"
#include "backend/cpu/hessian/autocorrelation.h"

static double hessian_cost(spade_device *device, const spade_hessian_desc *desc)
{
    (void)device;
    switch (desc->form) {
    case SPADE_HESSIAN_UNFOLD: return spade_hessian_desc_is_rows(desc) ? -1 : spade_unfold_cost(desc);
    case SPADE_HESSIAN_RANK_K: return spade_hessian_desc_is_rows(desc) ? spade_unfold_cost(desc) : -1;
    case SPADE_HESSIAN_SPECTRAL: return spade_spectral_applies(desc) ? spade_spectral_cost(desc) : -1;
    case SPADE_HESSIAN_SHIFT: return spade_shift_applies(desc) ? spade_shift_cost(desc) : -1;
    case SPADE_HESSIAN_DEPTHWISE: return spade_depthwise_applies(desc) ? spade_depthwise_cost(desc) : -1;
    case SPADE_HESSIAN_OFFSET_PAIRS: return spade_offset_pairs_apply(desc) ? spade_offset_pairs_cost(desc) : -1;
    default: return -1;
    }
}

static bool is_lag_form(spade_hessian_form form)
{
    return form == SPADE_HESSIAN_SPECTRAL || form == SPADE_HESSIAN_SHIFT || form == SPADE_HESSIAN_DEPTHWISE;
}

static size_t hessian_bytes(spade_device *device, const spade_hessian_desc *desc)
{
    (void)device;
    if (!is_lag_form(desc->form)) { return (size_t)spade_unfold_size(desc) * sizeof(double); }
    spade_autocorrelation lags = spade_autocorrelation_of(desc);
    return (size_t)spade_autocorrelation_size(&lags) * sizeof(double);
}

static size_t hessian_workspace_bytes(spade_device *device, const spade_hessian_desc *desc)
{
    switch (desc->form) {
    case SPADE_HESSIAN_SPECTRAL: return spade_spectral_workspace_bytes(device, desc);
    case SPADE_HESSIAN_SHIFT: return spade_shift_workspace_bytes(device, desc);
    case SPADE_HESSIAN_DEPTHWISE: return spade_depthwise_workspace_bytes(device, desc);
    case SPADE_HESSIAN_OFFSET_PAIRS: return spade_offset_pairs_workspace_bytes(device, desc);
    default: return spade_unfold_workspace_bytes(device, desc);
    }
}

static spade_status hessian_update(spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                                   void *accumulator, void *workspace)
{
    spade_positions positions = spade_positions_of(desc, x);
    if (positions.groups * positions.columns > INT32_MAX) {
        return spade_fail(device->context, SPADE_ERROR_UNSUPPORTED,
                          "a Hessian of %lld columns is too large for the BLAS", (long long)positions.columns);
    }
    bool done = true;
    int before = spade_set_num_threads(1);
    switch (desc->form) {
    case SPADE_HESSIAN_SPECTRAL: done = spade_spectral_update(device, desc, x, alpha, accumulator, workspace); break;
    case SPADE_HESSIAN_SHIFT: done = spade_shift_update(device, desc, x, alpha, accumulator, workspace); break;
    case SPADE_HESSIAN_DEPTHWISE: spade_depthwise_update(device, desc, x, alpha, accumulator, workspace); break;
    case SPADE_HESSIAN_OFFSET_PAIRS: spade_offset_pairs_update(device, desc, x, alpha, accumulator, workspace); break;
    default: done = spade_unfold_update(device, desc, x, alpha, accumulator, workspace); break;
    }
    spade_set_num_threads(before);
    return done ? SPADE_OK
                : spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory for the buffers of a matrix product");
}

static spade_status hessian_read(spade_device *device, const spade_hessian_desc *desc, const void *accumulator,
                                 int64_t group, int64_t offset, double *out)
{
    if (is_lag_form(desc->form)) {
        spade_autocorrelation lags = spade_autocorrelation_of(desc);
        return spade_autocorrelation_read(device, &lags, accumulator, group, offset, out);
    }
    spade_unfold_read(device, desc, accumulator, group, offset, out);
    return SPADE_OK;
}

static spade_status hessian_samples(spade_device *device, const spade_hessian_desc *desc, const float *x, int64_t group,
                                    int64_t offset, float *out)
{
    spade_samples_read(device, desc, x, group, offset, out);
    return SPADE_OK;
}

/* More than SPADE_MICRO_BATCH: the spectral form folds its products into lags once per pass. */
enum { MICRO_BATCH = 32 };

const spade_backend_hessian spade_cpu_hessian = {
    .micro_batch = MICRO_BATCH,
    .cost = hessian_cost,
    .bytes = hessian_bytes,
    .workspace_bytes = hessian_workspace_bytes,
    .update = hessian_update,
    .read = hessian_read,
    .samples = hessian_samples,
};
