/*
 * baseline.c - magnitude and random: the counts of the fast solver, block by block, without any update of the other
 * weights. Loss: tr (W-W') H (W-W')^T / 2 with the damped H, the quadratic form that the fast solver's errors sum up
 * to.
 */
#include <math.h>

#include "backend/partial_select.h"
#include "solve/solver.h"

/* A baseline's scratch on the host; its device workspace holds `removed` and a matrix of the same size. */
typedef struct scratch {
    double *removed;   /* W - W' [rows, columns] */
    double *scores;    /* [block, rows], as spade_select_lowest wants them with one group of all rows */
    double *selection; /* as scores, and SPADE_SELECT_MORE */
    uint8_t *mask;     /* [block, rows] */
    uint8_t *dead;     /* [columns] */
} scratch;

static scratch lay_out(const spade_problem *p, void *base)
{
    size_t size = (size_t)(p->rows * p->columns), block = (size_t)(p->rows * spade_problem_block(p));
    scratch s = {.removed = base};
    s.scores = s.removed + size;
    s.selection = s.scores + block;
    s.mask = (uint8_t *)(s.selection + block + SPADE_SELECT_MORE);
    s.dead = s.mask + block;
    return s;
}

size_t spade_baseline_host_bytes(const spade_problem *p)
{
    size_t size = (size_t)(p->rows * p->columns), block = (size_t)(p->rows * spade_problem_block(p));
    return (size + 2 * block + SPADE_SELECT_MORE) * sizeof(double) + block + (size_t)p->columns;
}

size_t spade_baseline_device_bytes(const spade_problem *problem)
{
    return (size_t)(2 * problem->rows * problem->columns) * sizeof(double);
}

static void magnitude_scores(const spade_problem *p, const uint8_t *dead, int64_t from, int64_t to, double *scores)
{
    for (int64_t r = 0; r < p->rows; r++) {
        for (int64_t j = from; j < to; j++) {
            double weight = dead[j] ? 0.0 : (double)p->dense[r * p->columns + j];
            scores[(j - from) * p->rows + r] = weight * weight;
        }
    }
}

/* Philox: key the seed, counter (row, column) within the stream; the same weight gets the same number whatever the
 * block. */
static void random_scores(uint64_t seed, const spade_problem *p, int64_t from, int64_t to, double *scores)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int64_t j = from; j < to; j++) {
        for (int64_t r = 0; r < p->rows; r++) {
            uint32_t counter[4] = {(uint32_t)r, (uint32_t)j, (uint32_t)p->stream, (uint32_t)(p->stream >> 32)};
            uint32_t random[4];
            spade_philox(key, counter, random);
            scores[(j - from) * p->rows + r] = spade_uniform(random[0], random[1]);
        }
    }
}

/* The solution of this round on the host, and what it removes. */
static void prune(const spade_batch_problem *v)
{
    const spade_problem *p = v->problem;
    float *sparse = v->solution->sparse;
    const scratch s = lay_out(p, v->host);
    for (int64_t from = 0; from < p->columns; from += v->block) {
        int64_t to = from + v->block < p->columns ? from + v->block : p->columns;
        if (p->solver == SPADE_SOLVER_MAGNITUDE) {
            magnitude_scores(p, s.dead, from, to, s.scores);
        } else {
            random_scores(v->source->options.seed, p, from, to, s.scores);
        }
        if (p->of) {
            spade_select_rows(s.scores, p->rows, to - from, p->rows, p->keep, s.mask);
        } else {
            spade_select_lowest(s.scores, p->rows, to - from, p->rows, v->prune[to == p->columns], s.selection, s.mask);
        }
        for (int64_t r = 0; r < p->rows; r++) {
            for (int64_t j = from; j < to; j++) {
                int64_t index = r * p->columns + j;
                float weight = s.dead[j] ? 0.0f : p->dense[index];
                bool pruned = s.mask[(j - from) * p->rows + r] != 0;
                s.removed[index] = pruned ? (double)weight : 0.0;
                sparse[index] = pruned ? 0.0f : weight;
            }
        }
    }
}

static bool is_baseline(const spade_batch_problem *v)
{
    return v->solution && (v->problem->solver == SPADE_SOLVER_MAGNITUDE || v->problem->solver == SPADE_SOLVER_RANDOM);
}

static void finish(const spade_batch_problem *v, double loss)
{
    spade_solution *solution = v->solution;
    bool finite = isfinite(loss) != 0;
    solution->loss = loss;
    solution->zeros = 0;
    for (int64_t i = 0; i < v->problem->rows * v->problem->columns; i++) {
        solution->zeros += solution->sparse[i] == 0.0f;
        finite = finite && isfinite(solution->sparse[i]);
    }
    if (!finite) { v->problem->status = SPADE_ERROR_NUMERICAL; }
}

/* The losses of all baselines of the batch, from what the masks remove. */
static spade_status add_losses(spade_device *device, const spade_solve_batch *batch)
{
    const spade_batch_problem *problems = batch->problems;
    const int n = batch->n;
    const spade_backend *backend = device->backend;
    spade_quadratic_args *args = calloc((size_t)n, sizeof *args);
    if (!args) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d losses", n); }
    spade_status status = SPADE_OK;
    int count = 0;
    for (int i = 0; i < n; i++) {
        const spade_batch_problem *v = &problems[i];
        if (!is_baseline(v)) { continue; }
        int64_t rows = v->problem->rows, k = v->problem->columns;
        double *removed = v->workspace;
        const scratch s = lay_out(v->problem, v->host);
        SPADE_GOTO(backend->upload(device, removed, s.removed, (size_t)(rows * k) * sizeof *removed));
        args[count++] =
            (spade_quadratic_args){.rows = rows, .k = k, .h = v->hessian, .d = removed, .scratch = removed + rows * k};
    }
    SPADE_GOTO(backend->solver->quadratic_form(device, args, count));
    SPADE_GOTO(backend->synchronize(device));
    for (int i = 0, next = 0; i < n; i++) {
        if (is_baseline(&problems[i])) { finish(&problems[i], args[next++].result / 2); }
    }
done:
    free(args);
    return status;
}

spade_status spade_solve_baselines(spade_device *device, const spade_solve_batch *batch)
{
    const spade_batch_problem *problems = batch->problems;
    int count = 0;
    for (int i = 0; i < batch->n; i++) {
        if (!is_baseline(&problems[i])) { continue; }
        const scratch s = lay_out(problems[i].problem, problems[i].host);
        SPADE_TRY(device->backend->download(device, s.dead, problems[i].dead, (size_t)problems[i].problem->columns));
        count++;
    }
    if (!count) { return SPADE_OK; }
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->context->threads)
    for (int i = 0; i < batch->n; i++) {
        if (is_baseline(&problems[i])) { prune(&problems[i]); }
    }
    return add_losses(device, batch);
}
