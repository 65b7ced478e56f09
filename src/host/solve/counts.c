/* counts.c - how many weights go, as every solver but the exact one counts them. */
#include <math.h>

#include "solve/schedule.h"

void spade_solve_counts(const spade_problem *problem, double sparsity, spade_count count, int64_t block, int64_t *prune)
{
    for (int64_t from = 0, b = 0; from < problem->columns; from += block, b++) {
        int64_t width = problem->columns - from < block ? problem->columns - from : block;
        int64_t all = problem->rows * width;
        int64_t wanted = (int64_t)floor((double)all * sparsity) + (count == SPADE_COUNT_PUBLISHED ? 1 : 0);
        prune[b] = wanted < all ? wanted : all;
    }
}
