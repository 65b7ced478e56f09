/*
 * fast.c - FastSPADE: H = V V^T by one reversed Cholesky factorisation, then the sweep on V (SparseGPT's, without an
 * inverse). Both are the backend's; here are their arguments.
 */
#include "solve/schedule.h"

static bool is_fast(const spade_solving *v)
{
    return v->problem->solver == SPADE_SOLVER_FAST && !spade_solving_failed(v);
}

spade_status spade_solve_factor(spade_device *device, spade_flight *flight)
{
    int count = 0;
    for (int i = 0; i < flight->n; i++) {
        spade_solving *v = &flight->problems[i];
        if (!is_fast(v)) { continue; }
        v->factor = &flight->factors[count];
        flight->factors[count++] =
            (spade_factor_args){.k = v->problem->columns, .hessian = v->hessian, .workspace = v->workspace};
    }
    double start = spade_stage_clock(device->context);
    spade_status status = device->backend->solver->factor(device, flight->factors, count);
    spade_stage_done(device->context, SPADE_STAGE_FACTOR, spade_stage_clock(device->context) - start);
    return status;
}

spade_status spade_solve_sweep(spade_device *device, const spade_solve_options *options, spade_flight *flight)
{
    int first = flight->sweep_count;
    for (int i = 0; i < flight->n; i++) {
        const spade_solving *v = &flight->problems[i];
        if (!is_fast(v) || !v->solution) { continue; }
        int at = flight->sweep_count++;
        flight->sweepings[at] = (spade_sweeping){v->problem, v->solution};
        flight->sweeps[at] = (spade_sweep_args){.rows = v->problem->rows,
                                                .columns = v->problem->columns,
                                                .block = v->block,
                                                .prune = v->prune[0],
                                                .prune_last = v->prune[1],
                                                .n_of_m = v->problem->of != 0,
                                                .keep = v->problem->keep,
                                                .precision = options->sweep,
                                                .v = v->hessian,
                                                .dense = v->dense,
                                                .dead = v->dead,
                                                .sparse = v->sparse,
                                                .workspace = v->workspace};
    }
    double start = spade_stage_clock(device->context);
    spade_status status = device->backend->solver->sweep(device, flight->sweeps + first, flight->sweep_count - first);
    spade_stage_done(device->context, SPADE_STAGE_SWEEP, spade_stage_clock(device->context) - start);
    return status;
}
