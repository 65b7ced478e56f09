/* counts.c - how many weights go, as every solver but the exact one counts them. */
#include <math.h>

#include "solve/schedule.h"

void spade_solve_counts(const spade_problem *problem, double sparsity, spade_count count, int64_t block,
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
