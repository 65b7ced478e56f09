/* blas.c - stand-in for cuBLAS: matrices count columns first, arguments are checked as strictly as their documentation.
 */
#include <stdlib.h>

#include <cblas.h>
#include <cublas_v2.h>
#include <omp.h>

#include "standin.h"

struct cublasContext {
    cudaStream_t stream;
};

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    *handle = calloc(1, sizeof **handle);
    return *handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion(cublasHandle_t handle, int *version)
{
    (void)handle; /* may be NULL */
    *version = 130000;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    standin_stream(stream, "cublasSetStream");
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    standin_require(handle && (unsigned)mode <= CUBLAS_TF32_TENSOR_OP_MATH, "cublasSetMathMode", "a known mode");
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetAtomicsMode(cublasHandle_t handle, cublasAtomicsMode_t mode)
{
    standin_require(handle && (unsigned)mode <= CUBLAS_ATOMICS_ALLOWED, "cublasSetAtomicsMode", "a known mode");
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- dense products. Computed by OpenBLAS on one thread: sums in one order. */

typedef struct operand {
    const void *data;
    int64_t rows, columns; /* as stored, columns first */
    int64_t ld;
    int64_t stride, count; /* of a batch */
    const char *name;
} operand;

static size_t extent(const operand *o, size_t element)
{
    if (o->rows < 1 || o->columns < 1 || o->count < 1) { return 0; }
    return (size_t)((o->count - 1) * o->stride + (o->columns - 1) * o->ld + o->rows) * element;
}

static void check_operand(const operand *o, size_t element, const char *call)
{
    standin_require(o->rows >= 0 && o->columns >= 0 && o->count >= 0 && o->stride >= 0, call, "sizes of at least 0");
    standin_require(o->ld >= (o->rows > 1 ? o->rows : 1), call, "a leading dimension that a column fits into");
    standin_require((uintptr_t)o->data % element == 0, call, "aligned operands");
    standin_device(o->data, extent(o, element), call, o->name);
}

/* What is written must not overlap itself nor what is read. */
static void check_result(const operand *c, const operand *a, const operand *b, size_t element, const char *call)
{
    const operand *inputs[] = {a, b};
    const char *begin = c->data, *end = begin + extent(c, element);
    check_operand(c, element, call);
    standin_require(c->count < 2 || c->stride >= (c->columns - 1) * c->ld + c->rows, call, "results apart");
    for (int i = 0; i < 2; i++) {
        const char *first = inputs[i]->data;
        standin_require(first >= end || first + extent(inputs[i], element) <= begin, call,
                        "a result apart from the operands");
    }
}

/* The handle, the scalars, and what the device says: checks that all calls share. */
static cublasStatus_t begin_call(cublasHandle_t handle, const void *alpha, const void *beta, size_t element,
                                 const char *call)
{
    standin_require(handle != NULL, call, "a handle");
    standin_stream(handle->stream, call);
    standin_require(alpha && beta, call, "scalars");
    standin_host(alpha, element, call, "alpha"); /* pointer mode: host */
    standin_host(beta, element, call, "beta");
    if (standin_fails(call) || standin_lost()) { return CUBLAS_STATUS_EXECUTION_FAILED; }
    return CUBLAS_STATUS_SUCCESS;
}

typedef struct gemm {
    operand a, b, c;
    CBLAS_TRANSPOSE transa, transb;
} gemm;

static gemm check_gemm(cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k, operand a, operand b,
                       operand c, size_t element, const char *call)
{
    standin_require((unsigned)transa <= CUBLAS_OP_T && (unsigned)transb <= CUBLAS_OP_T, call, "known operations");
    a.rows = transa == CUBLAS_OP_T ? k : m, a.columns = transa == CUBLAS_OP_T ? m : k, a.name = "A";
    b.rows = transb == CUBLAS_OP_T ? n : k, b.columns = transb == CUBLAS_OP_T ? k : n, b.name = "B";
    c.rows = m, c.columns = n, c.name = "C";
    check_operand(&a, element, call);
    check_operand(&b, element, call);
    check_result(&c, &a, &b, element, call);
    return (gemm){a, b, c, transa == CUBLAS_OP_T ? CblasTrans : CblasNoTrans,
                  transb == CUBLAS_OP_T ? CblasTrans : CblasNoTrans};
}

static cublasStatus_t sgemm(cublasHandle_t handle, const gemm *g, int k, const float *alpha, const float *beta,
                            const char *call)
{
    cublasStatus_t status = begin_call(handle, alpha, beta, sizeof(float), call);
    if (status != CUBLAS_STATUS_SUCCESS) { return status; }
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    for (int64_t i = 0; i < g->c.count; i++) {
        cblas_sgemm(CblasColMajor, g->transa, g->transb, (int)g->c.rows, (int)g->c.columns, k, *alpha,
                    (const float *)g->a.data + i * g->a.stride, (int)g->a.ld,
                    (const float *)g->b.data + i * g->b.stride, (int)g->b.ld, *beta,
                    (float *)g->c.data + i * g->c.stride, (int)g->c.ld);
    }
    omp_set_num_threads(threads);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t dgemm(cublasHandle_t handle, const gemm *g, int k, const double *alpha, const double *beta,
                            const char *call)
{
    cublasStatus_t status = begin_call(handle, alpha, beta, sizeof(double), call);
    if (status != CUBLAS_STATUS_SUCCESS) { return status; }
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    for (int64_t i = 0; i < g->c.count; i++) {
        cblas_dgemm(CblasColMajor, g->transa, g->transb, (int)g->c.rows, (int)g->c.columns, k, *alpha,
                    (const double *)g->a.data + i * g->a.stride, (int)g->a.ld,
                    (const double *)g->b.data + i * g->b.stride, (int)g->b.ld, *beta,
                    (double *)g->c.data + i * g->c.stride, (int)g->c.ld);
    }
    omp_set_num_threads(threads);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                           int k, const float *alpha, const float *A, int lda, const float *B, int ldb,
                           const float *beta, float *C, int ldc)
{
    operand a = {.data = A, .ld = lda, .count = 1}, b = {.data = B, .ld = ldb, .count = 1};
    operand c = {.data = C, .ld = ldc, .count = 1};
    gemm g = check_gemm(transa, transb, m, n, k, a, b, c, sizeof(float), "cublasSgemm");
    return sgemm(handle, &g, k, alpha, beta, "cublasSgemm");
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                         int m, int n, int k, const float *alpha, const float *A, int lda,
                                         long long int strideA, const float *B, int ldb, long long int strideB,
                                         const float *beta, float *C, int ldc, long long int strideC, int batchCount)
{
    operand a = {.data = A, .ld = lda, .stride = strideA, .count = batchCount};
    operand b = {.data = B, .ld = ldb, .stride = strideB, .count = batchCount};
    operand c = {.data = C, .ld = ldc, .stride = strideC, .count = batchCount};
    gemm g = check_gemm(transa, transb, m, n, k, a, b, c, sizeof(float), "cublasSgemmStridedBatched");
    return sgemm(handle, &g, k, alpha, beta, "cublasSgemmStridedBatched");
}

cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                         int m, int n, int k, const double *alpha, const double *A, int lda,
                                         long long int strideA, const double *B, int ldb, long long int strideB,
                                         const double *beta, double *C, int ldc, long long int strideC, int batchCount)
{
    operand a = {.data = A, .ld = lda, .stride = strideA, .count = batchCount};
    operand b = {.data = B, .ld = ldb, .stride = strideB, .count = batchCount};
    operand c = {.data = C, .ld = ldc, .stride = strideC, .count = batchCount};
    gemm g = check_gemm(transa, transb, m, n, k, a, b, c, sizeof(double), "cublasDgemmStridedBatched");
    return dgemm(handle, &g, k, alpha, beta, "cublasDgemmStridedBatched");
}

cublasStatus_t cublasDsymm(cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t uplo, int m, int n,
                           const double *alpha, const double *A, int lda, const double *B, int ldb, const double *beta,
                           double *C, int ldc)
{
    int64_t order = side == CUBLAS_SIDE_LEFT ? m : n;
    operand a = {A, order, order, lda, 0, 1, "A"}, b = {B, m, n, ldb, 0, 1, "B"}, c = {C, m, n, ldc, 0, 1, "C"};
    standin_require((unsigned)side <= CUBLAS_SIDE_RIGHT && (unsigned)uplo <= CUBLAS_FILL_MODE_UPPER, "cublasDsymm",
                    "a known side and triangle");
    check_operand(&a, sizeof(double), "cublasDsymm");
    check_operand(&b, sizeof(double), "cublasDsymm");
    check_result(&c, &a, &b, sizeof(double), "cublasDsymm");
    cublasStatus_t status = begin_call(handle, alpha, beta, sizeof(double), "cublasDsymm");
    if (status != CUBLAS_STATUS_SUCCESS) { return status; }
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    cblas_dsymm(CblasColMajor, side == CUBLAS_SIDE_LEFT ? CblasLeft : CblasRight,
                uplo == CUBLAS_FILL_MODE_LOWER ? CblasLower : CblasUpper, m, n, *alpha, A, lda, B, ldb, *beta, C, ldc);
    omp_set_num_threads(threads);
    return CUBLAS_STATUS_SUCCESS;
}
