/*
 * team.h - how many threads oneDNN and OpenBLAS use in the calls that follow.
 *
 * spade_set_num_threads(1) makes BLAS generation: OpenBLAS (OpenMP build) uses its own threads wherever omp_get_max_threads() > 1 and
 * no region of several threads is active; a region of one thread does not count as active. Setting the number to one
 * first is inherited by the region's threads, so that a BLAS call computes the same bits whatever the size of the team.
 */
#ifndef SPADE_TEAM_H
#define SPADE_TEAM_H

#include <omp.h>

/* Returns the number there was, for a second call that restores it. */
static inline int spade_set_num_threads(int threads)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    return before;
}

#endif
