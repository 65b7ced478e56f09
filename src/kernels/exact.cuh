/* exact.cuh - what elimination and refit of the exact solver share: rows of several problems as one list, memory. */
#ifndef SPADE_EXACT_CUH
#define SPADE_EXACT_CUH

#include "kernels/portable.cuh"

/* Cut a piece off a row's working memory: its offset. */
static inline size_t spade_take(size_t *used, size_t bytes)
{
    size_t at = *used;
    *used += (bytes + 255) / 256 * 256;
    return at;
}

static inline int64_t spade_batch_rows(const spade_exact_batch *batch)
{
    int64_t rows = 0;
    for (int i = 0; i < batch->n; i++) { rows += batch->problems[i].rows; }
    return rows;
}

/* The problem that row `job` of the list is of, and which of its rows. */
__device__ __forceinline__ const spade_exact_kernel &spade_find_row(const spade_exact_batch &batch, int64_t job,
                                                                    int64_t *row)
{
    int p = 0;
    for (; p + 1 < batch.n && job >= batch.problems[p].rows; p++) { job -= batch.problems[p].rows; }
    *row = job;
    return batch.problems[p];
}

#endif
