/*
 * flight.c - problems that are solved together: Hessians to the device, conditioning, factors, and for every sparsity a
 * sweep. What is in a flight changes no result. All of that is enqueued; the host waits once, at the end, and learns
 * then which problems have failed. Sweeps of such a problem were for nothing, and do no harm.
 */
#include "solve/schedule.h"

double spade_problem_work(const spade_problem *p)
{
    double k = (double)p->columns, r = (double)p->rows, solutions = (double)p->solution_count;
    if (p->solver == SPADE_SOLVER_EXACT) { return spade_solve_exact_work(p); }
    return k * k * (k / 3 + r * solutions) + 100 * k * r * solutions;
}

int64_t spade_problem_block(const spade_problem *p)
{
    int64_t block = p->of ? p->of : p->block;
    return block <= 0 || block > p->columns ? p->columns : block;
}

void spade_solve_keep(const spade_problem *p, spade_solution *solution)
{
    int64_t size = p->rows * p->columns;
    if (solution->sparse != p->dense) { memcpy(solution->sparse, p->dense, (size_t)size * sizeof *solution->sparse); }
    solution->zeros = 0;
    for (int64_t i = 0; i < size; i++) { solution->zeros += p->dense[i] == 0.0f; }
    solution->loss = 0;
    if (solution->counts) { memset(solution->counts, 0, (size_t)p->rows * sizeof *solution->counts); }
}

/* ---- memory: one problem's part of the arena */

static size_t workspace_bytes(spade_device *device, const spade_solve_options *options, const spade_problem *p)
{
    if (p->solver != SPADE_SOLVER_FAST) { return spade_baseline_device_bytes(p); }
    size_t factor = device->backend->factor_workspace_bytes(device, p->columns);
    size_t sweep =
        device->backend->sweep_workspace_bytes(device, p->rows, p->columns, spade_problem_block(p), options->sweep);
    return sweep > factor ? sweep : factor; /* one after the other */
}

/* Give out a problem's part of the arena at `base` (NULL: only measure it). Returns its bytes. */
static size_t lay_out(spade_device *device, const spade_solve_options *options, const spade_problem *p, char *base,
                      spade_solving *v)
{
    enum { ALIGNMENT = 256 }; /* of every piece, on every device */
    size_t k = (size_t)p->columns, weights = (size_t)(p->rows * p->columns) * sizeof(float);
    bool shared = device->backend->host_memory; /* the caller's weights are the device's */
    const size_t sizes[] = {k * k * sizeof(double), k, shared ? 0 : weights, shared ? 0 : weights,
                            workspace_bytes(device, options, p)};
    size_t at[6] = {0};
    for (int i = 0; i < 5; i++) { at[i + 1] = at[i] + (sizes[i] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }
    if (base) {
        v->hessian = (double *)(base + at[0]);
        v->dead = (uint8_t *)base + at[1];
        v->dense = shared ? p->dense : (const float *)(base + at[2]);
        v->sparse = (float *)(base + at[3]);
        v->workspace = base + at[4];
    }
    return at[5];
}

size_t spade_flight_bytes(spade_device *device, const spade_solve_options *options, const spade_problem *problem)
{
    return lay_out(device, options, problem, NULL, NULL);
}

static void close_problem(spade_context *context, spade_solving *v)
{
    spade_free_bytes(context, v->host, v->host_bytes);
}

static spade_status open_problem(spade_schedule *s, int index, char *base, spade_solving *v)
{
    spade_problem *p = &s->problems[index];
    *v = (spade_solving){.problem = p, .index = index, .block = spade_problem_block(p)};
    lay_out(s->device, s->options, p, base, v);
    v->in_place = s->device->backend->host_memory || (s->client->weights && p->solver == SPADE_SOLVER_FAST);
    if (s->client->weights) { v->dense = s->client->weights(s->client->user, index); }
    if (p->solver != SPADE_SOLVER_FAST) {
        v->host_bytes = spade_baseline_host_bytes(p);
        SPADE_TRY(spade_alloc(s->context, v->host_bytes, "scores of a layer", &v->host));
    }
    return SPADE_OK;
}

/* ---- what happens to them */

/* Hessians and weights to the device. */
static spade_status load(const spade_schedule *s, spade_solving *flight, int n)
{
    const spade_backend *backend = s->device->backend;
    for (int i = 0; i < n; i++) {
        const spade_solving *v = &flight[i];
        const spade_problem *p = v->problem;
        size_t k = (size_t)p->columns;
        if (p->hessian) {
            SPADE_TRY(backend->upload(s->device, v->hessian, p->hessian, k * k * sizeof(double)));
        } else {
            SPADE_TRY(s->client->fetch(s->client->user, v->index, v->hessian));
        }
        if (!v->in_place && p->solver == SPADE_SOLVER_FAST) {
            SPADE_TRY(backend->upload(s->device, (float *)(uintptr_t)v->dense, p->dense,
                                      (size_t)p->rows * k * sizeof(float)));
        }
    }
    return SPADE_OK;
}

static spade_status condition(const spade_schedule *s, spade_flight *flight)
{
    for (int i = 0; i < flight->n; i++) {
        spade_solving *v = &flight->problems[i];
        v->condition = &flight->conditions[i];
        flight->conditions[i] = (spade_damp_args){
            .k = v->problem->columns, .damping = s->options->damping, .hessian = v->hessian, .dead = v->dead};
    }
    return s->device->backend->condition(s->device, flight->conditions, flight->n);
}

static spade_status failure_of(const spade_solving *v)
{
    if (v->problem->status != SPADE_OK) { return v->problem->status; }
    if (v->condition && v->condition->status != SPADE_OK) { return v->condition->status; }
    return v->factor ? v->factor->status : SPADE_OK;
}

bool spade_solving_failed(const spade_solving *solving)
{
    return failure_of(solving) != SPADE_OK;
}

/* The next solution of a problem: round from 0. */
static void begin_solution(const spade_schedule *s, spade_solving *v, int round)
{
    spade_problem *p = v->problem;
    v->solution = NULL;
    if (round >= p->solution_count || spade_solving_failed(v)) { return; }
    if (p->solutions[round].sparsity == 0) {
        spade_solve_keep(p, &p->solutions[round]);
        return;
    }
    v->solution = &p->solutions[round];
    if (v->in_place) { v->sparse = v->solution->sparse; }
    spade_solve_counts(p, v->solution->sparsity, s->options->count, v->block, v->prune);
}

/* Weights to the host, where it does not share them: the next round writes over the device's. The first of them brings
 * what is known by then. */
static spade_status finish_round(const spade_schedule *s, spade_solving *flight, int n)
{
    const spade_backend *backend = s->device->backend;
    for (int i = 0; i < n; i++) {
        const spade_solving *v = &flight[i];
        bool there = v->in_place || !v->solution || v->problem->solver != SPADE_SOLVER_FAST;
        if (there || spade_solving_failed(v)) { continue; }
        SPADE_TRY(backend->download(s->device, v->solution->sparse, v->sparse,
                                    (size_t)(v->problem->rows * v->problem->columns) * sizeof(float)));
    }
    return SPADE_OK;
}

/* Wait for the device. What of that time is the factors' cannot be told: all of it counts as the sweeps'. */
static spade_status finish(const spade_schedule *s, spade_flight *flight)
{
    double start = spade_now();
    SPADE_TRY(s->device->backend->synchronize(s->device));
    spade_stage_done(s->context, SPADE_STAGE_SWEEP, spade_now() - start);
    for (int i = 0; i < flight->n; i++) { flight->problems[i].problem->status = failure_of(&flight->problems[i]); }
    for (int i = 0; i < flight->sweep_count; i++) {
        const spade_sweep_args *args = &flight->sweeps[i];
        const spade_sweeping *of = &flight->sweepings[i];
        of->solution->loss = args->loss;
        of->solution->zeros = args->zeros;
        if (of->problem->status == SPADE_OK) { of->problem->status = args->status; }
    }
    return SPADE_OK;
}

static spade_status solve(const spade_schedule *s, spade_flight *flight)
{
    spade_solving *problems = flight->problems;
    int n = flight->n;
    SPADE_TRY(load(s, problems, n));
    SPADE_TRY(condition(s, flight));
    SPADE_TRY(spade_solve_factor(s->device, flight));
    for (int round = 0; round < flight->rounds; round++) {
        for (int i = 0; i < n; i++) { begin_solution(s, &problems[i], round); }
        SPADE_TRY(spade_solve_sweep(s->device, s->options, flight));
        SPADE_TRY(spade_solve_baselines(s->device, s->options, problems, n));
        SPADE_TRY(finish_round(s, problems, n));
    }
    return finish(s, flight);
}

/* ---- a flight */

static spade_status open_flight(spade_schedule *s, int first, int n, spade_flight *out)
{
    *out = (spade_flight){.n = n};
    for (int i = 0; i < n; i++) {
        int solutions = s->problems[s->order[first + i]].solution_count;
        out->rounds = solutions > out->rounds ? solutions : out->rounds;
    }
    size_t count = (size_t)n, sweeps = count * (size_t)out->rounds + 1;
    out->problems = calloc(count, sizeof *out->problems);
    out->conditions = calloc(count, sizeof *out->conditions);
    out->factors = calloc(count, sizeof *out->factors);
    out->sweeps = calloc(sweeps, sizeof *out->sweeps);
    out->sweepings = calloc(sweeps, sizeof *out->sweepings);
    if (out->problems && out->conditions && out->factors && out->sweeps && out->sweepings) { return SPADE_OK; }
    return spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", n);
}

/* After a failure the device may still be about to write what is freed here: it must have come to an end, whatever that
 * says; the message is that of the failure. */
static void close_flight(const spade_schedule *s, spade_flight *flight, bool failed)
{
    spade_error error;
    spade_error_save(s->context, &error);
    if (failed) {
        (void)s->device->backend->synchronize(s->device);
        spade_error_restore(s->context, &error);
    }
    for (int i = 0; flight->problems && i < flight->n; i++) { close_problem(s->context, &flight->problems[i]); }
    free(flight->problems);
    free(flight->conditions);
    free(flight->factors);
    free(flight->sweeps);
    free(flight->sweepings);
}

spade_status spade_flight_run(spade_schedule *s, int first, int n)
{
    double start = spade_now(), work = 0;
    char *base = s->arena;
    spade_flight flight;
    spade_status status;
    SPADE_GOTO(open_flight(s, first, n, &flight));
    for (int i = 0; i < n; i++) {
        SPADE_GOTO(open_problem(s, s->order[first + i], base, &flight.problems[i]));
        base += spade_flight_bytes(s->device, s->options, flight.problems[i].problem);
        work += spade_problem_work(flight.problems[i].problem);
    }
    SPADE_GOTO(solve(s, &flight));
    /* they ran at once: each gets its part of the time by its operations */
    for (int i = 0; i < n; i++) {
        spade_problem *p = flight.problems[i].problem;
        p->seconds = (spade_now() - start) * spade_problem_work(p) / work;
    }
    for (int i = 0; s->client->done && i < n; i++) {
        if (flight.problems[i].problem->status == SPADE_OK) {
            s->client->done(s->client->user, flight.problems[i].index);
        }
    }
    s->work_done += work;
    spade_report_progress(s->context, "solve", s->work_done, s->work_total);
done:
    close_flight(s, &flight, status != SPADE_OK);
    return status;
}
