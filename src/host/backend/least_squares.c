/* least_squares.c - LAPACK and BLAS on one thread, which makes results independent of their number. */
#include <cblas.h>
#include <lapacke.h>

#include "backend/least_squares.h"

spade_status spade_least_squares(spade_context *context, int64_t rows, int64_t columns, double *matrix, double *right,
                                 int64_t *rank)
{
    const int64_t right_rows = rows > columns ? rows : columns;
    const size_t bytes = sizeof(lapack_int) * (size_t)columns;
    lapack_int found = 0;
    void *pivots;
    SPADE_TRY(spade_alloc_zeroed(context, bytes, "pivots of least squares", &pivots));
    const int threads = spade_set_num_threads(1);
    const lapack_int info = LAPACKE_dgelsy(LAPACK_COL_MAJOR, (lapack_int)rows, (lapack_int)columns, 1, matrix,
                                           (lapack_int)rows, right, (lapack_int)right_rows, pivots, 1e-9, &found);
    spade_set_num_threads(threads);
    spade_free_bytes(context, pivots, bytes);
    *rank = found;
    if (info == 0) { return SPADE_OK; }
    if (info == LAPACK_WORK_MEMORY_ERROR) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: least squares of %lld equations",
                          (long long)rows);
    }
    return spade_fail(context, SPADE_ERROR_NUMERICAL, "least squares: a number is not finite");
}

void spade_gram_matrix(int64_t count, int64_t columns, const double *rows, double *gram)
{
    const int threads = spade_set_num_threads(1);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)columns, (int)columns, (int)count, 1.0, rows,
                (int)columns, rows, (int)columns, 0.0, gram, (int)columns);
    spade_set_num_threads(threads);
}

void spade_product_of_rows(int64_t m, int64_t n, int64_t k, double factor, const double *a, const double *b,
                           double *out, int64_t stride)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, factor, a, (int)k, b, (int)k, 0.0, out,
                (int)stride);
}
