/*
 * product.h - products of matrices in float32, by oneDNN: its kernels are made for the processor at hand, where a BLAS of
 * a distribution that does not know the processor falls back to instructions of twenty years ago (a tenth of the speed).
 *
 * Each call computes on the calling thread alone where that stands in a parallel region or has omp_set_num_threads(1), so
 * that who cuts a product into tiles of a fixed size gets the same sums for any number of threads.
 */
#ifndef SPADE_CPU_PRODUCT_H
#define SPADE_CPU_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

/* rows x columns as stored, or their transpose */
typedef struct spade_cpu_matrix {
    const float *data;
    int64_t stride; /* elements from row to row, as stored */
    bool transpose;
} spade_cpu_matrix;

/* c [m, n], with rows of ldc, = a [m, k] b [k, n]. false: no memory for oneDNN's buffers. */
bool spade_cpu_product(int64_t m, int64_t n, int64_t k, spade_cpu_matrix a, spade_cpu_matrix b, float *c, int64_t ldc);

/* The lower triangle of p^T p for p [k, n] with rows of ldp -> c [n, n] with rows of ldc; some numbers above the diagonal
 * are written as well. false: as above. */
bool spade_cpu_product_with_itself(int64_t n, int64_t k, const float *p, int64_t ldp, float *c, int64_t ldc);

/* For a flag that threads of a parallel region share. */
static inline void spade_cpu_set(bool *flag)
{
#pragma omp atomic write
    *flag = true;
}

#endif
