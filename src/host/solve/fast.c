/*
 * fast.c - FastSPADE: H = V V^T by one reversed Cholesky factorisation, then the sweep on V (SparseGPT's, without an
 * inverse). Where there are fewer samples than columns, the dual factor takes the place of H and V. The backend computes
 * all of that; the arguments are filled in here.
 */
#include "solve/solver.h"

static bool is_fast(const spade_batch_problem *v)
{
    return v->problem->solver == SPADE_SOLVER_FAST && !spade_batch_problem_failed(v);
}

static spade_dual_args dual_args(const spade_batch_problem *v)
{
    return (spade_dual_args){.columns = v->problem->columns,
                             .samples = v->source->samples,
                             .block = v->block,
                             .x = v->inputs,
                             .scale = v->source->task->scale,
                             .damping = v->source->options.damping,
                             .dead = v->dead,
                             .factor = v->hessian,
                             .workspace = v->workspace};
}

spade_status spade_solve_factor(spade_device *device, spade_solve_batch *batch)
{
    int count = 0, dual_count = 0;
    for (int i = 0; i < batch->n; i++) {
        spade_batch_problem *v = &batch->problems[i];
        if (!is_fast(v)) { continue; }
        if (v->source->samples) {
            v->dual = &batch->duals[dual_count];
            batch->duals[dual_count++] = dual_args(v);
            continue;
        }
        v->factor = &batch->factors[count];
        batch->factors[count++] =
            (spade_factor_args){.k = v->problem->columns, .hessian = v->hessian, .workspace = v->workspace};
    }
    double start = spade_stage_clock(device->context);
    spade_status status = device->backend->solver->factor(device, batch->factors, count);
    if (status == SPADE_OK && dual_count) {
        status = device->backend->solver->dual_factor(device, batch->duals, dual_count);
    }
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
                                                                 .v = v->dual ? NULL : v->hessian,
                                                                 .dual = v->dual,
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
