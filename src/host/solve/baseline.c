/*
 * baseline.c - magnitude and random: the counts of the fast solver, block by block, without any update of the other
 * weights. Loss: tr (W-W') H (W-W')^T / 2 with the damped H, the quadratic form that the fast solver's errors sum up
 * to.
 */
#include "base/select.h"
#include "solve/schedule.h"

/* A block's scores as spade_select_lowest wants them: [columns, rows]. */
static void magnitude_scores(const double *w, int64_t rows, int64_t columns, int64_t from, int64_t to, double *scores)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = from; j < to; j++) {
            double weight = w[r * columns + j];
            scores[(j - from) * rows + r] = weight * weight;
        }
    }
}

/* Philox: key the seed, counter (row, column) within the stream; the same weight gets the same number whatever the
 * block. */
static void random_scores(uint64_t seed, uint64_t stream, int64_t rows, int64_t from, int64_t to, double *scores)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int64_t j = from; j < to; j++) {
        for (int64_t r = 0; r < rows; r++) {
            uint32_t counter[4] = {(uint32_t)r, (uint32_t)j, (uint32_t)stream, (uint32_t)(stream >> 32)}, random[4];
            spade_philox(key, counter, random);
            scores[(j - from) * rows + r] = spade_uniform(random[0], random[1]);
        }
    }
}

/* The workspace holds scores and scratch [block, rows] each, a mask [block, rows]; or, afterwards, two matrices [rows,
 * k]. */
void spade_solve_baseline(spade_device *device, const spade_solve_options *options, spade_solving *solving)
{
    spade_problem *p = solving->problem;
    int64_t rows = p->rows, k = p->columns, size = rows * k;
    double *w = solving->host_weights, *scores = solving->workspace, *scratch = scores + rows * solving->block;
    uint8_t *mask = (uint8_t *)(scratch + rows * solving->block);
    double *sparse = solving->host_sparse;
    memcpy(sparse, w, (size_t)size * sizeof *w);
    for (int64_t from = 0, b = 0; from < k; from += solving->block, b++) {
        int64_t to = from + solving->block < k ? from + solving->block : k;
        if (p->solver == SPADE_SOLVER_MAGNITUDE) {
            magnitude_scores(w, rows, k, from, to, scores);
        } else {
            random_scores(options->seed, p->stream, rows, from, to, scores);
        }
        if (p->of) {
            spade_select_rows(scores, rows, to - from, p->keep, mask);
        } else {
            spade_select_lowest(scores, rows, to - from, solving->prune[b], scratch, mask);
        }
        for (int64_t i = 0; i < rows * (to - from); i++) {
            if (mask[i]) { sparse[i % rows * k + from + i / rows] = 0.0; }
        }
    }
    double *removed = solving->workspace, *product = removed + size;
    for (int64_t i = 0; i < size; i++) { removed[i] = w[i] - sparse[i]; }
    solving->solution->loss =
        device->backend->quadratic_form(device, rows, k, solving->host_hessian, removed, product) / 2;
}
