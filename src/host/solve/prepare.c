/* prepare.c - dead inputs, damping and counts, as every solver sees them. */
#include <math.h>

#include "solve/prepare.h"

static bool upper_is_finite(const double *h, int64_t k)
{
    for (int64_t i = 0; i < k; i++) {
        double sum = 0; /* NaN or infinity as soon as one number is: 0 * x is 0 for every finite x */
        for (int64_t j = i; j < k; j++) { sum += 0.0 * h[i * k + j]; }
        if (isnan(sum)) { return false; }
    }
    return true;
}

bool spade_solve_prepare(double *h, int64_t k, double damping, double *w, int64_t rows)
{
    if (!upper_is_finite(h, k)) { return false; }
    double trace = 0;
    for (int64_t d = 0; d < k; d++) {
        double *diagonal = &h[d * (k + 1)];
        if (*diagonal == 0.0) {
            *diagonal = 1.0;
            for (int64_t r = 0; r < rows; r++) { w[r * k + d] = 0.0; }
        }
        trace += *diagonal;
    }
    double shift = damping * (trace / (double)k);
    for (int64_t d = 0; d < k; d++) { h[d * (k + 1)] += shift; }
    double sum = 0;
    for (int64_t i = 0; i < rows * k; i++) { sum += 0.0 * w[i]; }
    return !isnan(sum) && isfinite(trace);
}

void spade_solve_counts(const spade_problem *problem, double sparsity, spade_count count, int64_t block, int64_t *prune)
{
    for (int64_t from = 0, b = 0; from < problem->columns; from += block, b++) {
        int64_t width = problem->columns - from < block ? problem->columns - from : block;
        int64_t all = problem->rows * width;
        int64_t wanted = (int64_t)floor((double)all * sparsity) + (count == SPADE_COUNT_PUBLISHED ? 1 : 0);
        prune[b] = wanted < all ? wanted : all;
    }
}
