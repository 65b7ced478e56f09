/* gemm.h - products of row-major matrices by cuBLAS: of Hessians and solvers, in float32 whatever the network's precision
 * is (hessian/hessian.h says why). */
#ifndef SPADE_CUDA_PRODUCT_H
#define SPADE_CUDA_PRODUCT_H

#include "backend/cuda/cuda.h"

/* c [m, n] = alpha * op(a) b + beta * c for each of a batch; op(a) is [m, k], b [k, n]; float, or double where fp64.
 * ld: numbers from row to row; stride: from one matrix of the batch to the next, 0: the same for all. */
typedef struct spade_cuda_product {
    bool fp64, transpose_a; /* transpose_a: a is [k, m] */
    int64_t m, n, k, batch;
    double alpha, beta;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc, stride_a, stride_b, stride_c;
} spade_cuda_product;

spade_status spade_cuda_multiply(const spade_cuda_device *cuda, const spade_cuda_product *product);
/*
 * c [n, n] = alpha * a^T a + beta * c, a [k, n]; m, b, transpose_a are not used. The upper triangle; what lies below it
 * is undefined. Panels of columns, each as high as its last column's diagonal: cuBLAS has no batched rank-k update.
 */
enum { SPADE_CUDA_PANEL = 256, SPADE_CUDA_MAX_PANELS = 8 };
int64_t spade_cuda_gram_panels(int64_t n);
spade_status spade_cuda_gram(const spade_cuda_device *cuda, const spade_cuda_product *gram);

#endif
