/*
 * fast.c - FastSPADE: H = V V^T by one reversed Cholesky factorisation, then the sweep on V (SparseGPT's, without an
 * inverse). Both are the backend's; here are their arguments.
 */
#include "solve/schedule.h"

static bool is_fast(const spade_solving *v)
{
    return v->problem->solver == SPADE_SOLVER_FAST && v->problem->status == SPADE_OK;
}

spade_status spade_solve_factor(spade_device *device, spade_solving *flight, int n)
{
    spade_factor_args *args = calloc((size_t)n, sizeof *args);
    if (!args) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d factors", n); }
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (!is_fast(&flight[i])) { continue; }
        args[count++] = (spade_factor_args){
            .k = flight[i].problem->columns, .hessian = flight[i].hessian, .workspace = flight[i].workspace};
    }
    double start = spade_stage_clock(device->context);
    spade_status status = device->backend->factor(device, args, count);
    if (status == SPADE_OK) { status = device->backend->synchronize(device); }
    spade_stage_done(device->context, SPADE_STAGE_FACTOR, spade_stage_clock(device->context) - start);
    for (int i = 0, at = 0; status == SPADE_OK && i < n; i++) {
        if (is_fast(&flight[i])) { flight[i].problem->status = args[at++].status; }
    }
    free(args);
    return status;
}

spade_status spade_solve_sweep(spade_device *device, const spade_solve_options *options, spade_solving *flight, int n)
{
    spade_sweep_args *args = calloc((size_t)n, sizeof *args);
    if (!args) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d sweeps", n); }
    int count = 0;
    for (int i = 0; i < n; i++) {
        const spade_solving *v = &flight[i];
        if (!is_fast(v) || !v->solution) { continue; }
        args[count++] = (spade_sweep_args){.rows = v->problem->rows,
                                           .columns = v->problem->columns,
                                           .block = v->block,
                                           .prune = v->problem->of ? NULL : v->prune,
                                           .keep = v->problem->keep,
                                           .precision = options->sweep,
                                           .v = v->hessian,
                                           .dense = v->dense,
                                           .dead = v->dead,
                                           .sparse = v->sparse,
                                           .workspace = v->workspace};
    }
    double start = spade_stage_clock(device->context);
    spade_status status = device->backend->sweep(device, args, count);
    if (status == SPADE_OK) { status = device->backend->synchronize(device); }
    spade_stage_done(device->context, SPADE_STAGE_SWEEP, spade_stage_clock(device->context) - start);
    for (int i = 0, at = 0; status == SPADE_OK && i < n; i++) {
        if (is_fast(&flight[i]) && flight[i].solution) { flight[i].solution->loss = args[at++].loss; }
    }
    free(args);
    return status;
}
