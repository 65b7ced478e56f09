/*
 * team.h - serial BLAS for parallel regions. OpenBLAS (OpenMP build) uses its own threads wherever
 * omp_get_max_threads() > 1 and no region of several threads is active; a region of one thread does not count as
 * active. Setting the number to one first is inherited by the region's threads, so that a BLAS call computes the same
 * bits whatever the size of the team.
 */
#ifndef SPADE_TEAM_H
#define SPADE_TEAM_H

#include <omp.h>

/* Returns what spade_team_end() restores. */
static inline int spade_team_begin(void)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    return before;
}

static inline void spade_team_end(int before)
{
    omp_set_num_threads(before);
}

#endif
