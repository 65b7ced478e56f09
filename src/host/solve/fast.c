/*
 * fast.c - FastSPADE: H = V V^T by one reversed Cholesky factorisation, then the sweep on V (SparseGPT's, without an
 * inverse). Both are the backend's; here are their arguments.
 */
#include "solve/schedule.h"

static spade_status factor_all(spade_device *device, spade_solving *flight, int n)
{
    spade_factor_args *args = calloc((size_t)n, sizeof *args);
    if (!args) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d factors", n); }
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (flight[i].problem->status != SPADE_OK) { continue; }
        args[count++] = (spade_factor_args){.k = flight[i].problem->columns, .hessian = flight[i].hessian};
    }
    double start = spade_now();
    spade_status status = device->backend->factor(device, args, count);
    spade_stage_done(device->context, SPADE_STAGE_FACTOR, spade_now() - start);
    for (int i = 0, at = 0; status == SPADE_OK && i < n; i++) {
        if (flight[i].problem->status == SPADE_OK) { flight[i].problem->status = args[at++].status; }
    }
    free(args);
    return status;
}

spade_status spade_solve_fast(spade_device *device, spade_solving *flight, int n)
{
    SPADE_TRY(factor_all(device, flight, n));
    spade_sweep_args *args = calloc((size_t)n, sizeof *args);
    if (!args) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d sweeps", n); }
    int count = 0;
    for (int i = 0; i < n; i++) {
        const spade_solving *s = &flight[i];
        if (s->problem->status != SPADE_OK) { continue; }
        args[count++] = (spade_sweep_args){.rows = s->problem->rows,
                                           .columns = s->problem->columns,
                                           .block = s->block,
                                           .prune = s->prune,
                                           .v = s->hessian,
                                           .w = s->dense,
                                           .q = s->sparse,
                                           .workspace = s->workspace};
    }
    double start = spade_now();
    spade_status status = device->backend->sweep(device, args, count);
    spade_stage_done(device->context, SPADE_STAGE_SWEEP, spade_now() - start);
    for (int i = 0, at = 0; status == SPADE_OK && i < n; i++) {
        if (flight[i].problem->status == SPADE_OK) { flight[i].problem->loss = args[at++].loss; }
    }
    free(args);
    return status;
}
