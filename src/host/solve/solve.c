/*
 * solve.c - a solver call: problems are solved in batches, largest first, then those of the exact solver, layer by layer.
 * A batch takes at most BATCH_BYTES, or what its largest problem takes, or what the budget allows: more would only take
 * memory that is expensive to touch for the first time. How problems fall into batches changes no result.
 */
#include <math.h>

#include "base/caller_options.h"
#include "solve/solver.h"

/* On the host, whose threads are all busy with one large problem. */
static const uint64_t BATCH_BYTES = UINT64_C(192) << 20;
/* On a device of its own, which works on all problems of a batch at once; it keeps memory for other things. */
static const uint64_t DEVICE_BATCH_BYTES = UINT64_C(8) << 30;

static const spade_solve_options default_options = {
    .count = SPADE_COUNT_FLOOR, .damping = 0.01, .seed = 0, .sweep = SPADE_FP64};

void spade_solve_options_init_sized(spade_solve_options *options, size_t size)
{
    spade_caller_options_init(options, size, &default_options, sizeof default_options);
}

static spade_status take_options(spade_context *context, const spade_solve_options *given, spade_solve_options *out)
{
    *out = default_options;
    return spade_caller_options_take(context, "spade_solve_options", given, out, sizeof *out);
}

uint64_t spade_solver_problem_bytes(const spade_context *context, const spade_solve_options *options,
                                    const spade_problem *p, int64_t samples)
{
    if (p->solver == SPADE_SOLVER_EXACT) { return spade_solve_exact_bytes(context, p, 1); }
    return spade_solve_batch_bytes(context->device, options, p, samples) +
           (p->solver == SPADE_SOLVER_FAST ? 0 : spade_baseline_host_bytes(p));
}

uint64_t spade_solve_workspace(const spade_context *context, const spade_solve_options *options, const spade_problem *p)
{
    spade_context messages = {0}; /* the caller's is not for changing */
    spade_solve_options own;
    return take_options(&messages, options, &own) == SPADE_OK ? spade_solver_problem_bytes(context, &own, p, 0)
                                                              : UINT64_MAX;
}

/* ---- one problem */

double spade_problem_work(const spade_problem *p, int64_t samples)
{
    double k = (double)p->columns, r = (double)p->rows, solutions = (double)p->solution_count;
    if (p->solver == SPADE_SOLVER_EXACT) { return spade_solve_exact_work(p); }
    if (samples) { return 2 * k * (double)samples * ((double)samples + r * solutions) + 100 * k * r * solutions; }
    return k * k * (k / 3 + r * solutions) + 100 * k * r * solutions;
}

int64_t spade_problem_block(const spade_problem *p)
{
    int64_t block = p->of ? p->of : p->block;
    return block <= 0 || block > p->columns ? p->columns : block;
}

void spade_problem_prune_counts(const spade_problem *problem, double sparsity, spade_count count, int64_t block,
                                int64_t prune[2])
{
    int64_t last = problem->columns % block ? problem->columns % block : block;
    const int64_t widths[2] = {block, last};
    for (int i = 0; i < 2; i++) {
        int64_t all = problem->rows * widths[i];
        int64_t wanted = (int64_t)floor((double)all * sparsity) + (count == SPADE_COUNT_PUBLISHED ? 1 : 0);
        prune[i] = wanted < all ? wanted : all;
    }
}

void spade_solution_keep_dense(const spade_problem *p, spade_solution *solution)
{
    int64_t size = p->rows * p->columns;
    if (solution->sparse != p->dense) { memcpy(solution->sparse, p->dense, (size_t)size * sizeof *solution->sparse); }
    solution->zeros = 0;
    for (int64_t i = 0; i < size; i++) { solution->zeros += p->dense[i] == 0.0f; }
    solution->loss = 0;
    if (solution->counts) { memset(solution->counts, 0, (size_t)p->rows * sizeof *solution->counts); }
}

spade_status spade_solver_load_hessian(const spade_solver_call *call, const spade_solver_problem *problem,
                                       double *device_hessian)
{
    const spade_backend *backend = call->device->backend;
    const spade_layer_task *task = problem->task;
    if (task) {
        return backend->hessian->read(call->device, task->hessian, task->accumulator, problem->task_group,
                                      task->position, device_hessian);
    }
    size_t k = (size_t)problem->problem->columns;
    return backend->upload(call->device, device_hessian, problem->problem->hessian, k * k * sizeof(double));
}

bool spade_problem_prunes(const spade_problem *p)
{
    for (int i = 0; i < p->solution_count; i++) {
        if (p->solutions[i].sparsity != 0) { return true; }
    }
    return false;
}

/* ---- batches */

/* The problems of a call that are solved in batches, and the memory for one batch at a time. */
typedef struct batch_queue {
    spade_solver_call *call;
    int *order; /* indices of the problems, largest first */
    int count;
    void *arena; /* device */
    size_t arena_bytes;
} batch_queue;

/* The number of problems from `first` on that are solved together: within `limit` bytes, at least one. */
static int batch_size(const batch_queue *queue, int first, uint64_t limit, size_t *arena_bytes)
{
    const spade_solver_call *call = queue->call;
    uint64_t bytes = 0;
    int n = 0;
    for (*arena_bytes = 0; first + n < queue->count; n++) {
        const spade_solver_problem *p = &call->problems[queue->order[first + n]];
        bytes += spade_solver_problem_bytes(call->context, &p->options, p->problem, p->samples);
        if (n && bytes > limit) { break; }
        *arena_bytes += spade_solve_batch_bytes(call->device, &p->options, p->problem, p->samples);
    }
    return n;
}

/* The bytes that a batch may take. */
static uint64_t batch_limit(const batch_queue *queue)
{
    const spade_solver_call *call = queue->call;
    uint64_t limit = BATCH_BYTES, available = spade_budget_left(call->context);
    if (!call->device->backend->host_memory) { return available < DEVICE_BATCH_BYTES ? available : DEVICE_BATCH_BYTES; }
    for (int i = 0; i < queue->count; i++) {
        const spade_solver_problem *p = &call->problems[queue->order[i]];
        uint64_t bytes = spade_solver_problem_bytes(call->context, &p->options, p->problem, p->samples);
        limit = bytes > limit ? bytes : limit;
    }
    return available < limit ? available : limit;
}

static spade_status open_arena(batch_queue *queue, size_t bytes)
{
    spade_device *device = queue->call->device;
    queue->arena_bytes = bytes;
    return device->backend->alloc(device, bytes, "the Hessians of a solve", &queue->arena);
}

static void close_arena(batch_queue *queue)
{
    spade_device *device = queue->call->device;
    device->backend->free(device, queue->arena, queue->arena_bytes);
    queue->arena = NULL;
}

/* The arena of the largest batch. */
static size_t largest_arena(const batch_queue *queue, uint64_t limit)
{
    size_t bytes, largest = 0;
    for (int first = 0, n = 0; first < queue->count; first += n) {
        n = batch_size(queue, first, limit, &bytes);
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

/* For all batches. Where the device does not have that much, the limit is halved, down to batches of one problem. */
static spade_status open_shared_arena(batch_queue *queue, uint64_t *limit)
{
    const size_t smallest = largest_arena(queue, 0);
    for (;; *limit /= 2) {
        const size_t bytes = largest_arena(queue, *limit);
        spade_status status = open_arena(queue, bytes);
        if (status != SPADE_ERROR_MEMORY || bytes == smallest) { return status; }
    }
}

/* All batches share one arena, as fresh memory is expensive. With a budget each has its own: the arena of one and what
 * another needs on the host might not fit together. */
static spade_status run_batches(batch_queue *queue)
{
    uint64_t limit = batch_limit(queue);
    const bool shared = queue->call->context->budget == UINT64_MAX;
    spade_status status = SPADE_OK;
    if (shared && queue->count) { SPADE_TRY(open_shared_arena(queue, &limit)); }
    for (int first = 0, n = 0; first < queue->count && status == SPADE_OK; first += n) {
        size_t bytes;
        n = batch_size(queue, first, limit, &bytes);
        if (!shared) { SPADE_TRY(open_arena(queue, bytes)); }
        status = spade_solve_batch_run(queue->call, queue->order + first, n, queue->arena);
        if (!shared) { close_arena(queue); }
    }
    if (queue->arena) { close_arena(queue); }
    return status;
}

/* Largest first, so that a batch's problems are alike; equal ones in the caller's order. */
static int compare_problems(const void *a, const void *b, void *problems)
{
    int i = *(const int *)a, j = *(const int *)b;
    const spade_solver_problem *all = problems;
    double x = spade_problem_work(all[i].problem, all[i].samples);
    double y = spade_problem_work(all[j].problem, all[j].samples);
    return x != y ? (x < y) - (x > y) : (i > j) - (i < j);
}

/* ---- checks */

spade_status spade_solver_check(spade_context *context, const spade_solve_options *options)
{
    if (!(options->damping >= 0 && options->damping <= SPADE_MAX_DAMPING)) { /* nor NaN */
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "damping %g is not from 0 to %g", options->damping,
                          SPADE_MAX_DAMPING);
    }
    if ((unsigned)options->count > SPADE_COUNT_PUBLISHED || (unsigned)options->sweep > SPADE_FP64) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "unknown count %d or precision %d", (int)options->count,
                          (int)options->sweep);
    }
    return SPADE_OK;
}

static spade_status check_solutions(spade_context *context, const spade_solver_problem *problem, int index)
{
    const spade_problem *p = problem->problem;
    const bool has_hessian = p->hessian || problem->task;
    for (int i = 0; i < p->solution_count; i++) {
        double sparsity = p->solutions[i].sparsity;
        if (!(sparsity >= 0 && sparsity <= 1)) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "problem %d: sparsity %g is not between 0 and 1", index,
                              sparsity);
        }
        if (!p->dense || !p->solutions[i].sparse || (!has_hessian && sparsity > 0)) {
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

static spade_status check_problem(spade_context *context, const spade_solver_problem *problem, int index)
{
    const spade_problem *p = problem->problem;
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
    return check_solutions(context, problem, index);
}

/* ---- calls */

static spade_status solve_dense(spade_solver_call *call, const spade_solver_problem *p)
{
    for (int k = 0; k < p->problem->solution_count; k++) {
        spade_solution_keep_dense(p->problem, &p->problem->solutions[k]);
    }
    return spade_solver_problem_done(call, p);
}

spade_status spade_solver_run(spade_solver_call *call)
{
    batch_queue queue = {.call = call};
    spade_status status = SPADE_OK;
    bool solved = true;
    for (int i = 0; i < call->count; i++) { SPADE_TRY(check_problem(call->context, &call->problems[i], i)); }
    queue.order = malloc(((size_t)call->count + 1) * sizeof *queue.order);
    if (!queue.order) {
        return spade_fail(call->context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", call->count);
    }
    for (int i = 0; i < call->count; i++) {
        spade_problem *p = call->problems[i].problem;
        p->status = SPADE_OK;
        p->seconds = 0;
        if (!spade_problem_prunes(p)) {
            SPADE_GOTO(solve_dense(call, &call->problems[i]));
            continue;
        }
        call->work_total += spade_problem_work(p, call->problems[i].samples);
        if (p->solver != SPADE_SOLVER_EXACT) { queue.order[queue.count++] = i; }
    }
    qsort_r(queue.order, (size_t)queue.count, sizeof *queue.order, compare_problems, call->problems);
    SPADE_GOTO(run_batches(&queue));
    SPADE_GOTO(spade_solve_exact(call)); /* after the batches: it has memory and threads to itself */
    for (int i = 0; i < call->count; i++) { solved = solved && call->problems[i].problem->status == SPADE_OK; }
    if (solved && call->work_total > 0) { /* the sum of what was done may be off by a rounding */
        spade_report_progress(call->context, "solve", call->work_total, call->work_total);
    }
done:
    free(queue.order);
    return status;
}

/* The first diagonal element of the Hessian that is not finite; K: there is none. */
static int64_t first_not_finite(const spade_problem *p)
{
    int64_t d = 0;
    while (d < p->columns && isfinite(p->hessian[d * (p->columns + 1)])) { d++; }
    return d;
}

static spade_status first_failure(spade_context *context, double damping, const spade_problem *problems, int count)
{
    for (int i = 0; i < count; i++) {
        const spade_problem *p = &problems[i];
        if (p->status == SPADE_OK) { continue; }
        const long long k = p->columns, at = first_not_finite(p);
        if (at < k) {
            return spade_fail(context, p->status,
                              "problem %d: element %lld of the diagonal of the Hessian [%lld, %lld] is %s", i, at, k, k,
                              isnan(p->hessian[at * (k + 1)]) ? "NaN" : "infinite");
        }
        return spade_fail(
            context, p->status,
            "problem %d: the Hessian [%lld, %lld] is not positive definite or not finite with a damping of "
            "%g; %s",
            i, k, k, damping, damping > 0 ? "a larger one may help" : "0.01 helps");
    }
    return SPADE_OK;
}

spade_status spade_solve(spade_context *context, const spade_solve_options *options, spade_problem *problems, int count)
{
    spade_solver_call call = {.context = context, .device = context->device, .count = count};
    spade_solve_options own;
    SPADE_TRY(take_options(context, options, &own));
    SPADE_TRY(spade_solver_check(context, &own));
    call.problems = calloc((size_t)count + 1, sizeof *call.problems);
    if (!call.problems) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", count); }
    for (int i = 0; i < count; i++) {
        call.problems[i] = (spade_solver_problem){.problem = &problems[i], .options = own};
    }
    spade_status status = spade_solver_run(&call);
    free(call.problems);
    return status == SPADE_OK ? first_failure(context, own.damping, problems, count) : status;
}
