/*
 * solve.c - the schedule: problems are solved in flights, largest first. A flight holds as many as the budget allows,
 * but no more than the bytes of the largest problems on all threads (more would only take memory). What is in a flight
 * changes no result.
 */
#include <math.h>

#include "base/team.h"
#include "solve/prepare.h"
#include "solve/schedule.h"

/* The backend's own scratch while a flight is factored, per thread. */
enum { FACTOR_SCRATCH = 1 << 19 };

typedef struct schedule {
    spade_context *context;
    spade_device *device;
    const spade_solve_options *options;
    spade_problem *problems;
    int *order; /* indices of the problems, largest first */
    int count;
    spade_solve_fetch_fn fetch;
    spade_solve_done_fn done;
    void *user;
    double work_total, work_done; /* for progress */
} schedule;

void spade_solve_options_init(spade_solve_options *options)
{
    *options = (spade_solve_options){.count = SPADE_COUNT_FLOOR, .damping = 0.01, .seed = 0};
}

static int64_t clip_block(int64_t columns, int64_t block)
{
    return block <= 0 || block > columns ? columns : block;
}

static int64_t problem_block(const spade_problem *p)
{
    return clip_block(p->columns, p->of ? p->of : p->block);
}

/* Scratch of the sweep, or of a baseline (baseline.c says what is in it). */
static size_t workspace_bytes(spade_device *device, int64_t rows, int64_t columns, int64_t block)
{
    size_t sweep = device->backend->sweep_workspace_bytes(device, rows, columns, block);
    size_t factor = device->backend->factor_workspace_bytes(device, columns);
    size_t baseline = (size_t)(3 * rows * columns) * sizeof(double), most = sweep > factor ? sweep : factor;
    return most > baseline ? most : baseline;
}

uint64_t spade_solve_bytes(const spade_context *context, int64_t rows, int64_t columns, int64_t block)
{
    spade_device *device = context->device;
    uint64_t matrices = (uint64_t)(columns * columns + 2 * rows * columns) * sizeof(double);
    uint64_t copies = device->backend->host_memory ? 1 : 2;
    return copies * matrices + workspace_bytes(device, rows, columns, clip_block(columns, block)) +
           (uint64_t)context->threads * FACTOR_SCRATCH;
}

uint64_t spade_solve_workspace(int64_t rows, int64_t columns)
{
    /* H, W and its result, and at most seven more of W's size, in float64 */
    return (uint64_t)(columns * columns + 9 * rows * columns) * sizeof(double) + FACTOR_SCRATCH;
}

/* ---- one problem in a flight: memory, preparation, result */

static void close_problem(const schedule *s, spade_solving *v)
{
    size_t h = (size_t)(v->problem->columns * v->problem->columns) * sizeof(double);
    size_t w = (size_t)(v->problem->rows * v->problem->columns) * sizeof(double);
    const spade_backend *backend = s->device->backend;
    if (v->host_hessian != v->hessian) { spade_free_bytes(s->context, v->host_hessian, h); }
    if (v->host_weights != v->dense) { spade_free_bytes(s->context, v->host_weights, w); }
    if (v->host_sparse != v->sparse) { spade_free_bytes(s->context, v->host_sparse, w); }
    if (v->hessian) { backend->free(s->device, v->hessian, h); }
    if (v->dense) { backend->free(s->device, v->dense, w); }
    if (v->sparse) { backend->free(s->device, v->sparse, w); }
    if (v->workspace) { backend->free(s->device, v->workspace, v->workspace_bytes); }
    free(v->prune);
    *v = (spade_solving){0};
}

static spade_status open_problem(const schedule *s, int index, spade_solving *v)
{
    spade_problem *p = &s->problems[index];
    const spade_backend *backend = s->device->backend;
    size_t h = (size_t)(p->columns * p->columns) * sizeof(double), w = (size_t)(p->rows * p->columns) * sizeof(double);
    *v = (spade_solving){.problem = p, .index = index, .block = problem_block(p)};
    v->blocks = (p->columns + v->block - 1) / v->block;
    v->workspace_bytes = workspace_bytes(s->device, p->rows, p->columns, v->block);
    spade_status status = SPADE_OK;
    v->prune = malloc((size_t)v->blocks * sizeof *v->prune);
    if (!v->prune) {
        SPADE_GOTO(spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: counts of a layer's blocks"));
    }
    SPADE_GOTO(backend->alloc(s->device, h, "the factor of a Hessian", (void **)&v->hessian));
    SPADE_GOTO(backend->alloc(s->device, w, "the weights of a layer", (void **)&v->dense));
    SPADE_GOTO(backend->alloc(s->device, w, "the sparse weights of a layer", (void **)&v->sparse));
    SPADE_GOTO(backend->alloc(s->device, v->workspace_bytes, "working memory of the solver", &v->workspace));
    if (backend->host_memory) {
        v->host_hessian = v->hessian;
        v->host_weights = v->dense;
        v->host_sparse = v->sparse;
    } else {
        SPADE_GOTO(spade_alloc(s->context, h, "a Hessian", (void **)&v->host_hessian));
        SPADE_GOTO(spade_alloc(s->context, w, "the weights of a layer", (void **)&v->host_weights));
        SPADE_GOTO(spade_alloc(s->context, w, "the sparse weights of a layer", (void **)&v->host_sparse));
    }
    return SPADE_OK;
done:
    close_problem(s, v);
    return status;
}

static void prepare_problem(const schedule *s, spade_solving *v)
{
    double start = spade_now();
    spade_problem *p = v->problem;
    int64_t k = p->columns;
    if (p->hessian) {
        memcpy(v->host_hessian, p->hessian, (size_t)(k * k) * sizeof(double));
    } else {
        s->fetch(s->user, v->index, v->host_hessian);
    }
    for (int64_t i = 0; i < p->rows * k; i++) { v->host_weights[i] = p->dense[i]; }
    bool finite = spade_solve_prepare(v->host_hessian, k, s->options->damping, v->host_weights, p->rows);
    p->status = finite ? SPADE_OK : SPADE_ERROR_NUMERICAL;
    v->seconds = spade_now() - start;
}

/* Nothing to prune in any solution: no Hessian is needed. */
static bool is_kept(const spade_problem *p)
{
    for (int i = 0; i < p->solution_count; i++) {
        if (p->solutions[i].sparsity != 0) { return false; }
    }
    return true;
}

/* S = 0: the layer stays as it is. */
void spade_solve_keep(const spade_problem *p, spade_solution *solution)
{
    int64_t size = p->rows * p->columns;
    if (solution->sparse != p->dense) { memcpy(solution->sparse, p->dense, (size_t)size * sizeof *solution->sparse); }
    solution->zeros = 0;
    for (int64_t i = 0; i < size; i++) { solution->zeros += p->dense[i] == 0.0f; }
    solution->loss = 0;
    if (solution->counts) { memset(solution->counts, 0, (size_t)p->rows * sizeof *solution->counts); }
}

/* The next solution of a problem: round from 0. */
static void begin_solution(const schedule *s, spade_solving *v, int round)
{
    spade_problem *p = v->problem;
    v->solution = NULL;
    if (round >= p->solution_count || p->status != SPADE_OK) { return; }
    if (p->solutions[round].sparsity == 0) {
        spade_solve_keep(p, &p->solutions[round]);
        return;
    }
    v->solution = &p->solutions[round];
    spade_solve_counts(p, v->solution->sparsity, s->options->count, v->block, v->prune);
}

static void finish_solution(spade_solving *v)
{
    spade_problem *p = v->problem;
    spade_solution *solution = v->solution;
    if (!solution) { return; }
    solution->zeros = 0;
    for (int64_t i = 0; i < p->rows * p->columns; i++) {
        float value = (float)v->host_sparse[i];
        if (!isfinite(value)) { p->status = SPADE_ERROR_NUMERICAL; }
        solution->zeros += value == 0.0f;
        solution->sparse[i] = value;
    }
    if (!isfinite(solution->loss)) { p->status = SPADE_ERROR_NUMERICAL; }
}

/* ---- flights */

/* Multiply-adds of factor and sweeps. */
static double problem_work(const spade_problem *p)
{
    double k = (double)p->columns, r = (double)p->rows;
    if (p->solver == SPADE_SOLVER_EXACT) { return spade_solve_exact_work(p); }
    return k * k * (k / 3 + r * p->solution_count) + 100 * k * r * p->solution_count;
}

static spade_status upload(const schedule *s, spade_solving *flight, int n)
{
    const spade_backend *backend = s->device->backend;
    for (int i = 0; i < n && !backend->host_memory; i++) {
        size_t k = (size_t)flight[i].problem->columns, r = (size_t)flight[i].problem->rows;
        SPADE_TRY(backend->upload(s->device, flight[i].hessian, flight[i].host_hessian, k * k * sizeof(double)));
        SPADE_TRY(backend->upload(s->device, flight[i].dense, flight[i].host_weights, r * k * sizeof(double)));
    }
    return SPADE_OK;
}

static spade_status run_fast(const schedule *s, spade_solving *flight, int n)
{
    const spade_backend *backend = s->device->backend;
    SPADE_TRY(spade_solve_sweep(s->device, flight, n));
    for (int i = 0; i < n && !backend->host_memory; i++) {
        size_t bytes = (size_t)(flight[i].problem->columns * flight[i].problem->rows) * sizeof(double);
        if (flight[i].problem->solver != SPADE_SOLVER_FAST || !flight[i].solution) { continue; }
        SPADE_TRY(backend->download(s->device, flight[i].host_sparse, flight[i].sparse, bytes));
    }
    return backend->synchronize(s->device);
}

static void run_baselines(const schedule *s, spade_solving *flight, int n)
{
    int before = spade_team(1);
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->context->threads)
    for (int i = 0; i < n; i++) {
        if (flight[i].problem->solver != SPADE_SOLVER_FAST && flight[i].solution) {
            spade_solve_baseline(s->device, s->options, &flight[i]);
        }
    }
    spade_team(before);
}

static spade_status run_flight(schedule *s, spade_solving *flight, int n)
{
    double work = 0;
    int rounds = 0;
    int threads = s->device->backend->host_memory ? s->context->threads : 1; /* downloads come from one thread */
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int i = 0; i < n; i++) { prepare_problem(s, &flight[i]); }
    double start = spade_now();
    SPADE_TRY(upload(s, flight, n));
    SPADE_TRY(spade_solve_factor(s->device, flight, n));
    for (int i = 0; i < n; i++) {
        rounds = flight[i].problem->solution_count > rounds ? flight[i].problem->solution_count : rounds;
    }
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < n; i++) { begin_solution(s, &flight[i], round); }
        SPADE_TRY(run_fast(s, flight, n));
        run_baselines(s, flight, n);
        for (int i = 0; i < n; i++) { finish_solution(&flight[i]); }
    }
    /* problems of a flight run at once: each gets its part of the time by its operations */
    double seconds = spade_now() - start;
    for (int i = 0; i < n; i++) { work += problem_work(flight[i].problem); }
    for (int i = 0; i < n; i++) {
        flight[i].problem->seconds = flight[i].seconds + seconds * problem_work(flight[i].problem) / work;
    }
    for (int i = 0; s->done && i < n; i++) {
        if (flight[i].problem->status == SPADE_OK) { s->done(s->user, flight[i].index); }
    }
    s->work_done += work;
    spade_report_progress(s->context, "solve", s->work_done, s->work_total);
    return SPADE_OK;
}

static uint64_t problem_bytes(const schedule *s, int index)
{
    const spade_problem *p = &s->problems[index];
    return spade_solve_bytes(s->context, p->rows, p->columns, problem_block(p));
}

/* How many problems from `first` on fly together: within `limit` bytes, at least one. */
static int flight_size(const schedule *s, int first, uint64_t limit)
{
    uint64_t bytes = 0;
    int n = 0;
    while (first + n < s->count) {
        bytes += problem_bytes(s, s->order[first + n]);
        if (n && bytes > limit) { break; }
        n++;
    }
    return n;
}

static spade_status run_schedule(schedule *s)
{
    uint64_t largest = 0;
    for (int i = 0; i < s->count && i < s->context->threads; i++) { largest += problem_bytes(s, s->order[i]); }
    for (int first = 0, n = 0; first < s->count; first += n) {
        uint64_t left = spade_budget_left(s->context);
        n = flight_size(s, first, left < largest ? left : largest);
        spade_solving *flight = calloc((size_t)n, sizeof *flight);
        if (!flight) { return spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", n); }
        spade_status status = SPADE_OK;
        for (int i = 0; i < n && status == SPADE_OK; i++) { status = open_problem(s, s->order[first + i], &flight[i]); }
        if (status == SPADE_OK) { status = run_flight(s, flight, n); }
        for (int i = 0; i < n; i++) {
            if (flight[i].problem) { close_problem(s, &flight[i]); }
        }
        free(flight);
        SPADE_TRY(status);
    }
    return SPADE_OK;
}

/* What the exact solver is asked for comes after the flights: it has memory and threads to itself. */
static spade_status run_exact(const schedule *s, int count)
{
    spade_exact_call call = {.context = s->context,
                             .options = s->options,
                             .problems = s->problems,
                             .count = count,
                             .fetch = s->fetch,
                             .done = s->done,
                             .user = s->user,
                             .work_total = s->work_total,
                             .work_done = s->work_done};
    return spade_solve_exact(&call);
}

/* ---- the calls */

static spade_status check_solutions(spade_context *context, const spade_problem *p, int index, bool fetched)
{
    for (int i = 0; i < p->solution_count; i++) {
        double sparsity = p->solutions[i].sparsity;
        if (!(sparsity >= 0 && sparsity <= 1)) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "problem %d: sparsity %g is not between 0 and 1", index,
                              sparsity);
        }
        if (!p->dense || !p->solutions[i].sparse || (!p->hessian && !fetched && sparsity > 0)) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "problem %d: no weights or no Hessian", index);
        }
    }
    return SPADE_OK;
}

static spade_status check_exact(spade_context *context, const spade_problem *p, int index)
{
    if (p->of) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "problem %d: the exact solver does not choose %d of every %d",
                          index, p->keep, p->of);
    }
    if ((unsigned)p->group > SPADE_GROUP_CHANNELS_LAST) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "problem %d: unknown group %d", index, (int)p->group);
    }
    bool whole = p->group != SPADE_GROUP_CHANNELS_LAST || p->kernel < 1 || p->columns % p->kernel == 0;
    if (p->kernel < 1 || p->kernel > p->columns || !whole) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "problem %d: a kernel of %lld columns, of %lld", index,
                          (long long)p->kernel, (long long)p->columns);
    }
    return SPADE_OK;
}

static spade_status check_problem(spade_context *context, const spade_problem *p, int index, bool fetched)
{
    if (p->rows <= 0 || p->columns <= 0 || p->rows > INT32_MAX || p->columns > INT32_MAX || p->block < 0) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "problem %d: %lld rows, %lld columns, block %lld", index,
                          (long long)p->rows, (long long)p->columns, (long long)p->block);
    }
    if ((unsigned)p->solver > SPADE_SOLVER_RANDOM) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "problem %d: unknown solver %d", index, (int)p->solver);
    }
    if (p->solver == SPADE_SOLVER_EXACT) { SPADE_TRY(check_exact(context, p, index)); }
    if (p->of && (p->of < 0 || p->keep < 0 || p->keep > p->of)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "problem %d: %d of every %d columns cannot stay", index,
                          p->keep, p->of);
    }
    return check_solutions(context, p, index, fetched);
}

/* Largest first, so that a flight's problems are alike; equal ones in the caller's order. */
static int compare_problems(const void *a, const void *b, void *problems)
{
    int i = *(const int *)a, j = *(const int *)b;
    double x = problem_work((const spade_problem *)problems + i), y = problem_work((const spade_problem *)problems + j);
    return x != y ? (x < y) - (x > y) : (i > j) - (i < j);
}

static spade_status first_failure(spade_context *context, const spade_problem *problems, int count)
{
    for (int i = 0; i < count; i++) {
        if (problems[i].status != SPADE_OK) {
            return spade_fail(
                context, problems[i].status,
                "problem %d: the Hessian [%lld, %lld] is not positive definite or not finite, even when damped", i,
                (long long)problems[i].columns, (long long)problems[i].columns);
        }
    }
    return SPADE_OK;
}

spade_status spade_solve_fetched(spade_context *context, const spade_solve_options *options, spade_problem *problems,
                                 int count, spade_solve_fetch_fn fetch, spade_solve_done_fn done, void *user)
{
    schedule s = {.context = context,
                  .device = context->device,
                  .options = options,
                  .problems = problems,
                  .fetch = fetch,
                  .done = done,
                  .user = user};
    if (!(options->damping >= 0 && isfinite(options->damping))) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "damping %g is negative or not finite", options->damping);
    }
    if ((unsigned)options->count > SPADE_COUNT_PUBLISHED) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "unknown count %d", (int)options->count);
    }
    for (int i = 0; i < count; i++) { SPADE_TRY(check_problem(context, &problems[i], i, fetch != NULL)); }
    s.order = malloc(((size_t)count + 1) * sizeof *s.order);
    if (!s.order) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", count); }
    for (int i = 0; i < count; i++) {
        problems[i].status = SPADE_OK;
        problems[i].seconds = 0;
        if (is_kept(&problems[i])) {
            for (int k = 0; k < problems[i].solution_count; k++) {
                spade_solve_keep(&problems[i], &problems[i].solutions[k]);
            }
            if (done) { done(user, i); }
            continue;
        }
        s.work_total += problem_work(&problems[i]);
        if (problems[i].solver != SPADE_SOLVER_EXACT) { s.order[s.count++] = i; }
    }
    qsort_r(s.order, (size_t)s.count, sizeof *s.order, compare_problems, problems);
    spade_status status = run_schedule(&s);
    free(s.order);
    if (status == SPADE_OK) { status = run_exact(&s, count); }
    return status == SPADE_OK ? first_failure(context, problems, count) : status;
}

spade_status spade_solve(spade_context *context, const spade_solve_options *options, spade_problem *problems, int count)
{
    return spade_solve_fetched(context, options, problems, count, NULL, NULL, NULL);
}
