/*
 * solve.c - the schedule: problems are solved in flights, largest first. A flight holds as many as FLIGHT_BYTES, or the
 * largest problem, or the budget allows: more would only take memory, whose first touch is not cheap. What is in a
 * flight changes no result.
 */
#include <math.h>

#include "solve/schedule.h"

static const uint64_t FLIGHT_BYTES = UINT64_C(192) << 20;

void spade_solve_options_init(spade_solve_options *options)
{
    *options = (spade_solve_options){.count = SPADE_COUNT_FLOOR, .damping = 0.01, .seed = 0, .sweep = SPADE_FP64};
}

uint64_t spade_solve_workspace(const spade_context *context, const spade_solve_options *options, const spade_problem *p)
{
    if (p->solver == SPADE_SOLVER_EXACT) { return spade_solve_exact_bytes(context, p, 1); }
    return spade_flight_bytes(context->device, options, p) +
           (p->solver == SPADE_SOLVER_FAST ? 0 : spade_baseline_host_bytes(p));
}

/* ---- flights */

/* How many problems from `first` on fly together: within `limit` bytes, at least one. */
static int flight_size(const spade_schedule *s, int first, uint64_t limit, size_t *arena)
{
    uint64_t bytes = 0;
    int n = 0;
    for (*arena = 0; first + n < s->count; n++) {
        const spade_problem *p = &s->problems[s->order[first + n]];
        bytes += spade_solve_workspace(s->context, s->options, p);
        if (n && bytes > limit) { break; }
        *arena += spade_flight_bytes(s->device, s->options, p);
    }
    return n;
}

/*
 * The most that a flight may take, if the budget holds it. On the host a large problem keeps all threads busy alone,
 * small ones do together. Another device solves all at once, each in a corner of it, but need not give all its memory
 * to that.
 */
static const uint64_t DEVICE_FLIGHT = (uint64_t)8 << 30;

static uint64_t flight_limit(const spade_schedule *s)
{
    uint64_t most = FLIGHT_BYTES, left = spade_budget_left(s->context);
    if (!s->device->backend->host_memory) { return left < DEVICE_FLIGHT ? left : DEVICE_FLIGHT; }
    for (int i = 0; i < s->count; i++) {
        uint64_t bytes = spade_solve_workspace(s->context, s->options, &s->problems[s->order[i]]);
        most = bytes > most ? bytes : most;
    }
    return left < most ? left : most;
}

static spade_status open_arena(spade_schedule *s, size_t bytes)
{
    s->arena_bytes = bytes;
    return s->device->backend->alloc(s->device, bytes, "the Hessians of a solve", &s->arena);
}

static void close_arena(spade_schedule *s)
{
    s->device->backend->free(s->device, s->arena, s->arena_bytes);
    s->arena = NULL;
}

/* The arena of the largest flight. */
static size_t largest_arena(const spade_schedule *s, uint64_t limit)
{
    size_t bytes, most = 0;
    for (int first = 0, n = 0; first < s->count; first += n) {
        n = flight_size(s, first, limit, &bytes);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* For all flights; where the device has less than the limit, that comes down, to flights of one. */
static spade_status open_shared_arena(spade_schedule *s, uint64_t *limit)
{
    const size_t least = largest_arena(s, 0);
    for (;; *limit /= 2) {
        const size_t bytes = largest_arena(s, *limit);
        spade_status status = open_arena(s, bytes);
        if (status != SPADE_ERROR_MEMORY || bytes == least) { return status; }
    }
}

/* One arena for all flights, as fresh memory is dear; with a budget each has its own: the arena of one and what another
 * needs on the host might not fit together. */
static spade_status run_schedule(spade_schedule *s)
{
    uint64_t limit = flight_limit(s);
    const bool shared = s->context->budget == UINT64_MAX;
    spade_status status = SPADE_OK;
    if (shared && s->count) { SPADE_TRY(open_shared_arena(s, &limit)); }
    for (int first = 0, n = 0; first < s->count && status == SPADE_OK; first += n) {
        size_t bytes;
        n = flight_size(s, first, limit, &bytes);
        if (!shared) { SPADE_TRY(open_arena(s, bytes)); }
        status = spade_flight_run(s, first, n);
        if (!shared) { close_arena(s); }
    }
    if (s->arena) { close_arena(s); }
    return status;
}

/* What the exact solver is asked for comes after the flights: it has memory and threads to itself. */
static spade_status run_exact(const spade_schedule *s, int count)
{
    spade_exact_call call = {.context = s->context,
                             .options = s->options,
                             .problems = s->problems,
                             .count = count,
                             .client = s->client,
                             .work_total = s->work_total,
                             .work_done = s->work_done};
    return spade_solve_exact(&call);
}

/* Nothing to prune in any solution: no Hessian is needed. */
static bool is_kept(const spade_problem *p)
{
    for (int i = 0; i < p->solution_count; i++) {
        if (p->solutions[i].sparsity != 0) { return false; }
    }
    return true;
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
    const spade_problem *all = problems;
    double x = spade_problem_work(&all[i]), y = spade_problem_work(&all[j]);
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

spade_status spade_solve_for(const spade_solve_client *client, spade_context *context,
                             const spade_solve_options *options, spade_problem *problems, int count)
{
    spade_schedule s = {
        .context = context, .device = context->device, .options = options, .problems = problems, .client = client};
    if (!(options->damping >= 0 && isfinite(options->damping))) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "damping %g is negative or not finite", options->damping);
    }
    if ((unsigned)options->count > SPADE_COUNT_PUBLISHED || (unsigned)options->sweep > SPADE_FP64) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "unknown count %d or precision %d", (int)options->count,
                          (int)options->sweep);
    }
    for (int i = 0; i < count; i++) { SPADE_TRY(check_problem(context, &problems[i], i, client->fetch != NULL)); }
    s.order = malloc(((size_t)count + 1) * sizeof *s.order);
    if (!s.order) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", count); }
    for (int i = 0; i < count; i++) {
        problems[i].status = SPADE_OK;
        problems[i].seconds = 0;
        if (is_kept(&problems[i])) {
            for (int k = 0; k < problems[i].solution_count; k++) {
                spade_solve_keep(&problems[i], &problems[i].solutions[k]);
            }
            if (client->done) { client->done(client->user, i); }
            continue;
        }
        s.work_total += spade_problem_work(&problems[i]);
        if (problems[i].solver != SPADE_SOLVER_EXACT) { s.order[s.count++] = i; }
    }
    qsort_r(s.order, (size_t)s.count, sizeof *s.order, compare_problems, problems);
    spade_status status = run_schedule(&s);
    free(s.order);
    if (status == SPADE_OK) { status = run_exact(&s, count); }
    if (status == SPADE_OK && s.work_total > 0) { spade_report_progress(context, "solve", s.work_total, s.work_total); }
    return status == SPADE_OK ? first_failure(context, problems, count) : status;
}

spade_status spade_solve(spade_context *context, const spade_solve_options *options, spade_problem *problems, int count)
{
    const spade_solve_client nobody = {0};
    return spade_solve_for(&nobody, context, options, problems, count);
}
