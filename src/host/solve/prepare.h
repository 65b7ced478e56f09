/* prepare.h - dead inputs, damping and counts, as every solver sees them. */
#ifndef SPADE_SOLVE_PREPARE_H
#define SPADE_SOLVE_PREPARE_H

#include "solve/schedule.h"

/* Of the upper triangle of h [k, k] and w [rows, k]: dead inputs, damping. false: a number is not finite. */
bool spade_solve_prepare(double *h, int64_t k, double damping, double *w, int64_t rows);
/* Weights to prune in each block: floor(sparsity * rows * width), one more as published; never more than there are. */
void spade_solve_counts(const spade_problem *problem, double sparsity, spade_count count, int64_t block,
                        int64_t *prune);

#endif
