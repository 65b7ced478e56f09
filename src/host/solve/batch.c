/*
 * batch.c - problems that are solved together: Hessians to the device, damping, factors, and for every sparsity a sweep.
 * What is in a batch changes no result. All of that is enqueued; the host waits once, at the end, and learns only then
 * which problems have failed. A sweep of a problem that failed before it is wasted, but does no harm.
 */
#include "solve/solver.h"

/* ---- memory: one problem's part of the arena */

static size_t workspace_bytes(spade_device *device, const spade_solve_options *options, const spade_problem *p,
                              int64_t samples)
{
    const spade_backend_solver *solver = device->backend->solver;
    const int64_t block = spade_problem_block(p);
    if (p->solver != SPADE_SOLVER_FAST) { return spade_baseline_device_bytes(p); }
    size_t factor = samples ? solver->dual_workspace_bytes(device, p->columns, samples, block)
                            : solver->factor_workspace_bytes(device, p->columns);
    size_t sweep = solver->sweep_workspace_bytes(device, p->rows, p->columns, block, samples, options->sweep);
    return sweep > factor ? sweep : factor; /* one after the other */
}

/* Set the pointers of a problem whose part of the arena begins at `base` (NULL: only measure it). Returns its bytes. */
static size_t lay_out(spade_device *device, const spade_solve_options *options, const spade_problem *p, int64_t samples,
                      char *base, spade_batch_problem *v)
{
    enum { ALIGNMENT = 256, PIECES = 6 }; /* of every piece, on every device */
    size_t k = (size_t)p->columns, weights = (size_t)(p->rows * p->columns) * sizeof(float);
    bool shared = device->backend->host_memory; /* the caller's weights are the device's */
    const spade_backend_solver *solver = device->backend->solver;
    const size_t hessian = samples ? solver->dual_factor_bytes(device, p->columns, samples, spade_problem_block(p))
                                   : k * k * sizeof(double);
    const size_t sizes[PIECES] = {hessian,
                                  k,
                                  shared ? 0 : weights,
                                  shared ? 0 : weights,
                                  workspace_bytes(device, options, p, samples),
                                  k * (size_t)samples * sizeof(float)};
    size_t offsets[PIECES + 1] = {0};
    for (int i = 0; i < PIECES; i++) {
        offsets[i + 1] = offsets[i] + (sizes[i] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    if (base) {
        v->hessian = (double *)(base + offsets[0]);
        v->dead = (uint8_t *)base + offsets[1];
        v->dense = shared ? p->dense : (const float *)(base + offsets[2]);
        v->sparse = (float *)(base + offsets[3]);
        v->workspace = base + offsets[4];
        v->inputs = (float *)(base + offsets[5]);
    }
    return offsets[PIECES];
}

size_t spade_solve_batch_bytes(spade_device *device, const spade_solve_options *options, const spade_problem *problem,
                               int64_t samples)
{
    return lay_out(device, options, problem, samples, NULL, NULL);
}

static void close_problem(spade_context *context, spade_batch_problem *v)
{
    spade_free_bytes(context, v->host, v->host_bytes);
}

static spade_status open_problem(const spade_solver_call *call, const spade_solver_problem *source, char *base,
                                 spade_batch_problem *v)
{
    spade_problem *p = source->problem;
    const spade_layer_task *task = source->task;
    *v = (spade_batch_problem){.source = source, .problem = p, .block = spade_problem_block(p)};
    lay_out(call->device, &source->options, p, source->samples, base, v);
    v->in_place = call->device->backend->host_memory || (task && p->solver == SPADE_SOLVER_FAST);
    if (task) { v->dense = task->device_dense + source->task_group * p->rows * p->columns; }
    if (p->solver != SPADE_SOLVER_FAST) {
        v->host_bytes = spade_baseline_host_bytes(p);
        SPADE_TRY(spade_alloc(call->context, v->host_bytes, "scores of a layer", &v->host));
    }
    return SPADE_OK;
}

/* ---- the steps of a batch */

/* The problem's Hessian to the device, or the inputs that it is made of. */
static spade_status load_hessian(const spade_solver_call *call, const spade_batch_problem *v)
{
    const spade_layer_task *task = v->source->task;
    if (!v->source->samples) { return spade_solver_load_hessian(call, v->source, v->hessian); }
    return call->device->backend->hessian->samples(call->device, task->hessian, task->accumulator,
                                                   v->source->task_group, task->position, v->inputs);
}

/* Hessians and weights to the device. */
static spade_status load(const spade_solver_call *call, const spade_solve_batch *batch)
{
    for (int i = 0; i < batch->n; i++) {
        const spade_batch_problem *v = &batch->problems[i];
        const spade_problem *p = v->problem;
        SPADE_TRY(load_hessian(call, v));
        if (!v->in_place && p->solver == SPADE_SOLVER_FAST) {
            SPADE_TRY(call->device->backend->upload(call->device, (float *)(uintptr_t)v->dense, p->dense,
                                                    (size_t)(p->rows * p->columns) * sizeof(float)));
        }
    }
    return SPADE_OK;
}

static spade_status damp(const spade_solver_call *call, spade_solve_batch *batch)
{
    int count = 0;
    for (int i = 0; i < batch->n; i++) {
        spade_batch_problem *v = &batch->problems[i];
        if (v->source->samples) { continue; } /* its factor does that */
        v->damp = &batch->damps[count];
        batch->damps[count++] = (spade_damp_args){
            .k = v->problem->columns, .damping = v->source->options.damping, .hessian = v->hessian, .dead = v->dead};
    }
    return call->device->backend->solver->damp(call->device, batch->damps, count);
}

static spade_status status_of(const spade_batch_problem *v)
{
    if (v->problem->status != SPADE_OK) { return v->problem->status; }
    if (v->damp && v->damp->status != SPADE_OK) { return v->damp->status; }
    if (v->dual) { return v->dual->status; }
    return v->factor ? v->factor->status : SPADE_OK;
}

bool spade_batch_problem_failed(const spade_batch_problem *problem)
{
    return status_of(problem) != SPADE_OK;
}

/* Choose the problem's solution of a round. */
static void begin_solution(spade_batch_problem *v, int round)
{
    spade_problem *p = v->problem;
    v->solution = NULL;
    if (round >= p->solution_count || spade_batch_problem_failed(v)) { return; }
    if (p->solutions[round].sparsity == 0) {
        spade_solution_keep_dense(p, &p->solutions[round]);
        return;
    }
    v->solution = &p->solutions[round];
    if (v->in_place) { v->sparse = v->solution->sparse; }
    spade_problem_prune_counts(p, v->solution->sparsity, v->source->options.count, v->block, v->prune);
}

/* Weights to the host where they are not written in place, as the next round overwrites them on the device. The first
 * download also brings the statuses known by then. */
static spade_status finish_round(const spade_solver_call *call, const spade_solve_batch *batch)
{
    for (int i = 0; i < batch->n; i++) {
        const spade_batch_problem *v = &batch->problems[i];
        bool on_host = v->in_place || v->problem->solver != SPADE_SOLVER_FAST;
        if (!v->solution || on_host || spade_batch_problem_failed(v)) { continue; }
        SPADE_TRY(call->device->backend->download(call->device, v->solution->sparse, v->sparse,
                                                  (size_t)(v->problem->rows * v->problem->columns) * sizeof(float)));
    }
    return SPADE_OK;
}

/* Wait for the device, and take over the statuses, losses and zeros it hands to the host. How much of the wait is the
 * factors' is not known: all of it counts as the sweeps'. */
static spade_status finish(const spade_solver_call *call, const spade_solve_batch *batch)
{
    double start = spade_now();
    SPADE_TRY(call->device->backend->synchronize(call->device));
    spade_stage_done(call->context, SPADE_STAGE_SWEEP, spade_now() - start);
    for (int i = 0; i < batch->n; i++) {
        spade_problem *p = batch->problems[i].problem;
        p->status = status_of(&batch->problems[i]);
        for (int round = 0; round < p->solution_count; round++) {
            int sweep = batch->sweep_of[i * batch->rounds + round];
            if (sweep < 0) { continue; }
            p->solutions[round].loss = batch->sweeps[sweep].loss;
            p->solutions[round].zeros = batch->sweeps[sweep].zeros;
            if (p->status == SPADE_OK) { p->status = batch->sweeps[sweep].status; }
        }
    }
    return SPADE_OK;
}

static spade_status solve(const spade_solver_call *call, spade_solve_batch *batch)
{
    SPADE_TRY(load(call, batch));
    SPADE_TRY(damp(call, batch));
    SPADE_TRY(spade_solve_factor(call->device, batch));
    for (int round = 0; round < batch->rounds; round++) {
        for (int i = 0; i < batch->n; i++) { begin_solution(&batch->problems[i], round); }
        SPADE_TRY(spade_solve_sweep(call->device, batch, round));
        SPADE_TRY(spade_solve_baselines(call->device, batch));
        SPADE_TRY(finish_round(call, batch));
    }
    return finish(call, batch);
}

/* ---- a batch */

static spade_status open_batch(const spade_solver_call *call, const int *order, int n, spade_solve_batch *out)
{
    *out = (spade_solve_batch){.n = n};
    for (int i = 0; i < n; i++) {
        int solutions = call->problems[order[i]].problem->solution_count;
        out->rounds = solutions > out->rounds ? solutions : out->rounds;
    }
    size_t count = (size_t)n, sweeps = count * (size_t)out->rounds + 1;
    out->problems = calloc(count, sizeof *out->problems);
    out->damps = calloc(count, sizeof *out->damps);
    out->factors = calloc(count, sizeof *out->factors);
    out->duals = calloc(count, sizeof *out->duals);
    out->sweeps = calloc(sweeps, sizeof *out->sweeps);
    out->sweep_of = malloc(sweeps * sizeof *out->sweep_of);
    if (!out->problems || !out->damps || !out->factors || !out->duals || !out->sweeps || !out->sweep_of) {
        return spade_fail(call->context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", n);
    }
    for (size_t i = 0; i < sweeps; i++) { out->sweep_of[i] = -1; }
    return SPADE_OK;
}

/* After a failure the device may still be about to write to what is freed here: wait for it, whatever that returns; the
 * message is that of the failure. */
static void close_batch(const spade_solver_call *call, spade_solve_batch *batch, bool failed)
{
    spade_error error;
    if (failed) {
        spade_error_save(call->context, &error);
        (void)call->device->backend->synchronize(call->device);
        spade_error_restore(call->context, &error);
    }
    for (int i = 0; batch->problems && i < batch->n; i++) { close_problem(call->context, &batch->problems[i]); }
    free(batch->problems);
    free(batch->damps);
    free(batch->factors);
    free(batch->duals);
    free(batch->sweeps);
    free(batch->sweep_of);
}

spade_status spade_solve_batch_run(spade_solver_call *call, const int *order, int n, void *arena)
{
    double start = spade_now(), work = 0;
    char *base = arena;
    spade_solve_batch batch;
    spade_status status;
    SPADE_GOTO(open_batch(call, order, n, &batch));
    for (int i = 0; i < n; i++) {
        const spade_solver_problem *source = &call->problems[order[i]];
        SPADE_GOTO(open_problem(call, source, base, &batch.problems[i]));
        base += spade_solve_batch_bytes(call->device, &source->options, source->problem, source->samples);
        work += spade_problem_work(source->problem, source->samples);
    }
    SPADE_GOTO(solve(call, &batch));
    double seconds = spade_now() - start;
    for (int i = 0; i < n; i++) { /* they ran at once: each one's part of the time is its part of the work */
        spade_problem *p = batch.problems[i].problem;
        const double own = spade_problem_work(p, batch.problems[i].source->samples);
        p->seconds = seconds * own / work;
        if (p->status == SPADE_OK) { call->work_done += own; }
    }
    for (int i = 0; i < n; i++) { SPADE_GOTO(spade_solver_problem_done(call, batch.problems[i].source)); }
    spade_report_progress(call->context, "solve", call->work_done, call->work_total);
done:
    close_batch(call, &batch, status != SPADE_OK);
    return status;
}
