/* gemm.c - products of row-major matrices by cuBLAS, many of one shape at a time. */
#include <limits.h>

#include "backend/cuda/gemm.h"

static bool fits(const spade_cuda_product *p)
{
    const int64_t numbers[] = {p->m, p->n, p->k, p->lda, p->ldb, p->ldc, p->batch};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i] > INT_MAX) { return false; }
    }
    return true;
}

spade_status spade_cuda_multiply(const spade_cuda_device *cuda, const spade_cuda_product *p)
{
    if (!fits(p)) {
        return spade_cuda_latch_error(
            cuda, spade_fail(cuda->base.context, SPADE_ERROR_UNSUPPORTED,
                             "cuda:%d: matrices [%lld, %lld] times [%lld, %lld] are too large for cuBLAS", cuda->index,
                             (long long)p->m, (long long)p->k, (long long)p->k, (long long)p->n));
    }
    /* C^T = B^T op(A)^T */
    cublasOperation_t op = p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    int m = (int)p->n, n = (int)p->m, k = (int)p->k, lda = (int)p->ldb, ldb = (int)p->lda, ldc = (int)p->ldc;
    if (p->fp64) {
        SPADE_CUDA_BLAS(cuda, cublasDgemmStridedBatched(cuda->blas, CUBLAS_OP_N, op, m, n, k, &p->alpha, p->b, lda,
                                                        p->stride_b, p->a, ldb, p->stride_a, &p->beta, p->c, ldc,
                                                        p->stride_c, (int)p->batch));
        return SPADE_OK;
    }
    float alpha = (float)p->alpha, beta = (float)p->beta;
    SPADE_CUDA_BLAS(cuda, cublasSetMathMode(cuda->blas, CUBLAS_PEDANTIC_MATH));
    SPADE_CUDA_BLAS(cuda,
                    cublasSgemmStridedBatched(cuda->blas, CUBLAS_OP_N, op, m, n, k, &alpha, p->b, lda, p->stride_b,
                                              p->a, ldb, p->stride_a, &beta, p->c, ldc, p->stride_c, (int)p->batch));
    return SPADE_OK;
}

int64_t spade_cuda_gram_panels(int64_t n)
{
    int64_t panels = (n + SPADE_CUDA_PANEL - 1) / SPADE_CUDA_PANEL;
    return panels < SPADE_CUDA_MAX_PANELS ? panels : SPADE_CUDA_MAX_PANELS;
}

spade_status spade_cuda_gram(const spade_cuda_device *cuda, const spade_cuda_product *gram)
{
    int64_t panels = spade_cuda_gram_panels(gram->n), edge = (gram->n + panels - 1) / panels;
    size_t element = gram->fp64 ? sizeof(double) : sizeof(float);
    edge = (edge + 31) / 32 * 32;
    for (int64_t first = 0; first < gram->n; first += edge) {
        spade_cuda_product p = *gram;
        p.transpose_a = true;
        p.n = gram->n - first < edge ? gram->n - first : edge;
        p.m = first + p.n;
        p.b = (const char *)gram->a + (size_t)first * element;
        p.ldb = gram->lda;
        p.stride_b = gram->stride_a;
        p.c = (char *)gram->c + (size_t)first * element;
        SPADE_TRY(spade_cuda_multiply(cuda, &p));
    }
    return SPADE_OK;
}
