/* exact_row.h - the elimination order of one row, and the working memory that it takes. */
#ifndef SPADE_CPU_EXACT_ROW_H
#define SPADE_CPU_EXACT_ROW_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/solver/exact_kernels.h"

/* Bytes of working memory of one row. num_threads: that work on the row together. */
size_t spade_cpu_exact_row_bytes(int64_t columns, int64_t group, int num_threads);
/*
 * Eliminate all groups of row `row`, write its part of order and losses. false: a pivot is not positive definite. The
 * result does not depend on num_threads.
 */
bool spade_cpu_exact_row(const spade_exact_args *args, int64_t row, void *workspace, int num_threads);

#endif
