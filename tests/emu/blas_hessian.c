/* blas_hessian.c - stand-in for cuBLAS: batches of matrix products that lie a fixed stride apart. */
#include <cblas.h>

#include <cublas_v2.h>

#include "standin.h"

/* One call's sizes. Matrices count columns first: op(a) is [m, k], op(b) [k, n], c [m, n]. */
typedef struct gemm {
    const char *call;
    size_t element;
    cublasOperation_t op_a, op_b;
    int m, n, k, lda, ldb, ldc, batch;
    long long stride_a, stride_b, stride_c;
} gemm;

/* Numbers from the first to behind the last of a batch of matrices. */
static size_t extent(int rows, int columns, int ld, long long stride, int batch)
{
    if (rows == 0 || columns == 0 || batch == 0) { return 0; }
    return (size_t)(batch - 1) * (size_t)stride + (size_t)(columns - 1) * (size_t)ld + (size_t)rows;
}

static int at_least_one(int n)
{
    return n > 1 ? n : 1;
}

/* Whether there is something to compute; *status says why not. */
static bool check(cublasHandle_t handle, const gemm *g, const void *alpha, const void *a, const void *b,
                  const void *beta, const void *c, cublasStatus_t *status)
{
    bool ta = g->op_a == CUBLAS_OP_T, tb = g->op_b == CUBLAS_OP_T;
    int rows_a = ta ? g->k : g->m, columns_a = ta ? g->m : g->k, rows_b = tb ? g->n : g->k,
        columns_b = tb ? g->k : g->n;
    cudaStream_t stream;
    standin_require(handle && (unsigned)g->op_a <= CUBLAS_OP_T && (unsigned)g->op_b <= CUBLAS_OP_T, g->call,
                    "a handle, known operations");
    cublasGetStream(handle, &stream);
    standin_stream(stream, g->call);
    standin_require(g->m >= 0 && g->n >= 0 && g->k >= 0 && g->batch >= 0, g->call, "sizes of 0 or more");
    standin_require(g->lda >= at_least_one(rows_a) && g->ldb >= at_least_one(rows_b) && g->ldc >= at_least_one(g->m),
                    g->call, "leading dimensions of at least the rows");
    standin_require(g->stride_a >= 0 && g->stride_b >= 0 && g->stride_c >= 0, g->call, "strides of 0 or more");
    size_t one = extent(g->m, g->n, g->ldc, 0, 1);
    standin_require(g->batch < 2 || (size_t)g->stride_c >= one, g->call, "results that do not overlap");
    standin_host(alpha, g->element, g->call, "alpha");
    standin_host(beta, g->element, g->call, "beta");
    standin_device(a, extent(rows_a, columns_a, g->lda, g->stride_a, g->batch) * g->element, g->call, "A");
    standin_device(b, extent(rows_b, columns_b, g->ldb, g->stride_b, g->batch) * g->element, g->call, "B");
    standin_device(c, extent(g->m, g->n, g->ldc, g->stride_c, g->batch) * g->element, g->call, "C");
    *status = CUBLAS_STATUS_SUCCESS;
    if (cudaGetLastError() != cudaSuccess || standin_fails(g->call)) { *status = CUBLAS_STATUS_EXECUTION_FAILED; }
    return *status == CUBLAS_STATUS_SUCCESS && g->m > 0 && g->n > 0;
}

static CBLAS_TRANSPOSE transposed(cublasOperation_t op)
{
    return op == CUBLAS_OP_T ? CblasTrans : CblasNoTrans;
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                                         int n, int k, const float *alpha, const float *a, int lda, long long stride_a,
                                         const float *b, int ldb, long long stride_b, const float *beta, float *c,
                                         int ldc, long long stride_c, int batch)
{
    cublasStatus_t status;
    gemm g = {"cublasSgemmStridedBatched",
              sizeof *c,
              op_a,
              op_b,
              m,
              n,
              k,
              lda,
              ldb,
              ldc,
              batch,
              stride_a,
              stride_b,
              stride_c};
    if (!check(handle, &g, alpha, a, b, beta, c, &status)) { return status; }
    for (int i = 0; i < batch; i++) {
        cblas_sgemm(CblasColMajor, transposed(op_a), transposed(op_b), m, n, k, *alpha, a + i * stride_a, lda,
                    b + i * stride_b, ldb, *beta, c + i * stride_c, ldc);
    }
    return status;
}

cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                                         int n, int k, const double *alpha, const double *a, int lda,
                                         long long stride_a, const double *b, int ldb, long long stride_b,
                                         const double *beta, double *c, int ldc, long long stride_c, int batch)
{
    cublasStatus_t status;
    gemm g = {"cublasDgemmStridedBatched",
              sizeof *c,
              op_a,
              op_b,
              m,
              n,
              k,
              lda,
              ldb,
              ldc,
              batch,
              stride_a,
              stride_b,
              stride_c};
    if (!check(handle, &g, alpha, a, b, beta, c, &status)) { return status; }
    for (int i = 0; i < batch; i++) {
        cblas_dgemm(CblasColMajor, transposed(op_a), transposed(op_b), m, n, k, *alpha, a + i * stride_a, lda,
                    b + i * stride_b, ldb, *beta, c + i * stride_c, ldc);
    }
    return status;
}
