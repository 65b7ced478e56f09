/* least_squares.h - small dense least squares in the host's memory, for any backend. */
#ifndef SPADE_BACKEND_LEAST_SQUARES_H
#define SPADE_BACKEND_LEAST_SQUARES_H

#include "base/base.h"

/*
 * The x of least norm that minimises |matrix x - right|, in double by a complete orthogonal factorisation (LAPACK's gelsy).
 * matrix [rows, columns] lies column by column; right has room for the larger of rows and columns. Both are overwritten, the
 * first `columns` numbers of `right` by x. *rank: of the matrix, singular values below 1e-9 of the largest counting as 0. The
 * same bits for any number of threads.
 * SPADE_ERROR_NUMERICAL: a number is not finite.
 */
spade_status spade_least_squares(spade_context *context, int64_t rows, int64_t columns, double *matrix, double *right,
                                 int64_t *rank);
/* gram [columns, columns] = rows' rows, rows [count, columns] row by row. The same bits for any number of threads. */
void spade_gram_matrix(int64_t count, int64_t columns, const double *rows, double *gram);
/* out [m, n], whose rows are `stride` apart, = factor a b^T, of a [m, k] and b [n, k]. On the calling thread, where
 * spade_set_num_threads(1) holds for it: the same bits then. */
void spade_product_of_rows(int64_t m, int64_t n, int64_t k, double factor, const double *a, const double *b,
                           double *out, int64_t stride);

#endif
