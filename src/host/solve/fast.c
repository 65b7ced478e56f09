/*
 * fast.c - FastSPADE: H = V V^T by one reversed Cholesky factorisation, then the sweep on V (SparseGPT's, without an
 * inverse). The backend computes both; their arguments are filled in here.
 */
#include "solve/solver.h"

static bool is_fast(const spade_batch_problem *v)
{
    return v->problem->solver == SPADE_SOLVER_FAST && !spade_batch_problem_failed(v);
}

spade_status spade_solve_factor(spade_device *device, spade_solve_batch *batch)
{
    int count = 0;
    for (int i = 0; i < batch->n; i++) {
        spade_batch_problem *v = &batch->problems[i];
        if (!is_fast(v)) { continue; }
        v->factor = &batch->factors[count];
        batch->factors[count++] =
            (spade_factor_args){.k = v->problem->columns, .hessian = v->hessian, .workspace = v->workspace};
    }
    double start = spade_stage_clock(device->context);
    spade_status status = device->backend->solver->factor(device, batch->factors, count);
    spade_stage_done(device->context, SPADE_STAGE_FACTOR, spade_stage_clock(device->context) - start);
    return status;
}

spade_status spade_solve_sweep(spade_device *device, spade_solve_batch *batch, int round)
{
    const int first = batch->sweep_count;
    for (int i = 0; i < batch->n; i++) {
        const spade_batch_problem *v = &batch->problems[i];
        if (!is_fast(v) || !v->solution) { continue; }
        batch->sweep_of[i * batch->rounds + round] = batch->sweep_count;
        batch->sweeps[batch->sweep_count++] = (spade_sweep_args){.rows = v->problem->rows,
                                                                 .columns = v->problem->columns,
                                                                 .block = v->block,
                                                                 .prune = v->prune[0],
                                                                 .prune_last = v->prune[1],
                                                                 .n_of_m = v->problem->of != 0,
                                                                 .keep = v->problem->keep,
                                                                 .precision = v->source->options.sweep,
                                                                 .v = v->hessian,
                                                                 .dense = v->dense,
                                                                 .dead = v->dead,
                                                                 .sparse = v->sparse,
                                                                 .workspace = v->workspace};
    }
    double start = spade_stage_clock(device->context);
    spade_status status = device->backend->solver->sweep(device, batch->sweeps + first, batch->sweep_count - first);
    spade_stage_done(device->context, SPADE_STAGE_SWEEP, spade_stage_clock(device->context) - start);
    return status;
}
