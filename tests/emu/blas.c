/* blas.c - stand-in for cuBLAS: matrices count columns first, arguments are checked as strictly as their documentation.
 */
#include <stdlib.h>

#include <cblas.h>
#include <cublas_v2.h>
#include <omp.h>

#include "standin.h"

struct cublasContext {
    cudaStream_t stream;
    cublasMath_t mode;
    void *workspace; /* NULL: the library's own */
    size_t workspace_bytes;
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
    handle->workspace = NULL; /* as documented: back to the library's own */
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *workspace, size_t bytes)
{
    standin_require(handle && (uintptr_t)workspace % 256 == 0, "cublasSetWorkspace", "a handle, aligned memory");
    standin_device(workspace, bytes, "cublasSetWorkspace", "workspace");
    handle->workspace = workspace;
    handle->workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    standin_require(handle && (unsigned)mode <= CUBLAS_TF32_TENSOR_OP_MATH, "cublasSetMathMode", "a known mode");
    handle->mode = mode;
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
    /* without memory of its own, the library would take some in the captured graph */
    standin_require(handle->workspace || !standin_captures(handle->stream), call, "a workspace while captured");
    standin_device(handle->workspace, handle->workspace ? handle->workspace_bytes : 0, call, "workspace");
    if (standin_fails(call) || standin_lost()) { return CUBLAS_STATUS_EXECUTION_FAILED; }
    return CUBLAS_STATUS_SUCCESS;
}

/* A product with its scalars, which the library reads at the call. */
typedef struct product {
    operand a, b, c;
    CBLAS_TRANSPOSE transa, transb;
    CBLAS_SIDE side; /* symmetric: of A */
    CBLAS_UPLO uplo;
    int k;
    bool rounds; /* operands to TF32 */
    double alpha, beta;
    size_t element;
    const char *call;
    void (*compute)(const struct product *p, int64_t i);
} product;

static void check_operands(const product *p)
{
    check_operand(&p->a, p->element, p->call);
    check_operand(&p->b, p->element, p->call);
    check_result(&p->c, &p->a, &p->b, p->element, p->call);
}

static void run_product(const void *data)
{
    const product *p = data;
    int threads = omp_get_max_threads();
    check_operands(p);
    omp_set_num_threads(1);
    for (int64_t i = 0; i < p->c.count; i++) { p->compute(p, i); }
    omp_set_num_threads(threads);
}

static cublasStatus_t submit(cublasHandle_t handle, product *p, const void *alpha, const void *beta)
{
    cublasStatus_t status = begin_call(handle, alpha, beta, p->element, p->call);
    if (status != CUBLAS_STATUS_SUCCESS) { return status; }
    bool single = p->element == sizeof(float);
    p->rounds = single && handle->mode == CUBLAS_TF32_TENSOR_OP_MATH;
    p->alpha = single ? (double)*(const float *)alpha : *(const double *)alpha;
    p->beta = single ? (double)*(const float *)beta : *(const double *)beta;
    int error = standin_submit(handle->stream, run_product, NULL, p, sizeof *p);
    return error ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

/* The i-th matrix of a batch rounded to TF32, without the gaps between its columns; to be freed. */
static float *rounded_operand(const operand *o, int64_t i)
{
    float *copy = malloc((size_t)(o->rows * o->columns + 1) * sizeof *copy), *to = copy;
    standin_require(copy, "cublasSgemm", "memory of the host");
    for (int64_t column = 0; column < o->columns; column++) {
        const float *from = (const float *)o->data + i * o->stride + column * o->ld;
        for (int64_t row = 0; row < o->rows; row++) { *to++ = standin_rounded(from[row], STANDIN_TF32_DROPS); }
    }
    return copy;
}

static int at_least_one(int64_t n)
{
    return n > 1 ? (int)n : 1;
}

static void compute_sgemm(const product *p, int64_t i)
{
    float *a = p->rounds ? rounded_operand(&p->a, i) : NULL, *b = p->rounds ? rounded_operand(&p->b, i) : NULL;
    cblas_sgemm(CblasColMajor, p->transa, p->transb, (int)p->c.rows, (int)p->c.columns, p->k, (float)p->alpha,
                a ? a : (const float *)p->a.data + i * p->a.stride, a ? at_least_one(p->a.rows) : (int)p->a.ld,
                b ? b : (const float *)p->b.data + i * p->b.stride, b ? at_least_one(p->b.rows) : (int)p->b.ld,
                (float)p->beta, (float *)p->c.data + i * p->c.stride, (int)p->c.ld);
    free(a);
    free(b);
}

static void compute_dgemm(const product *p, int64_t i)
{
    cblas_dgemm(CblasColMajor, p->transa, p->transb, (int)p->c.rows, (int)p->c.columns, p->k, p->alpha,
                (const double *)p->a.data + i * p->a.stride, (int)p->a.ld, (const double *)p->b.data + i * p->b.stride,
                (int)p->b.ld, p->beta, (double *)p->c.data + i * p->c.stride, (int)p->c.ld);
}

static void compute_dsymm(const product *p, int64_t i)
{
    (void)i;
    cblas_dsymm(CblasColMajor, p->side, p->uplo, (int)p->c.rows, (int)p->c.columns, p->alpha, p->a.data, (int)p->a.ld,
                p->b.data, (int)p->b.ld, p->beta, (double *)(uintptr_t)p->c.data, (int)p->c.ld);
}

static product check_gemm(cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k, operand a, operand b,
                          operand c, size_t element, const char *call)
{
    standin_require((unsigned)transa <= CUBLAS_OP_T && (unsigned)transb <= CUBLAS_OP_T, call, "known operations");
    a.rows = transa == CUBLAS_OP_T ? k : m, a.columns = transa == CUBLAS_OP_T ? m : k, a.name = "A";
    b.rows = transb == CUBLAS_OP_T ? n : k, b.columns = transb == CUBLAS_OP_T ? k : n, b.name = "B";
    c.rows = m, c.columns = n, c.name = "C";
    product p = {.a = a, .b = b, .c = c, .k = k, .element = element, .call = call};
    p.transa = transa == CUBLAS_OP_T ? CblasTrans : CblasNoTrans;
    p.transb = transb == CUBLAS_OP_T ? CblasTrans : CblasNoTrans;
    p.compute = element == sizeof(float) ? compute_sgemm : compute_dgemm;
    check_operands(&p);
    return p;
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                           int k, const float *alpha, const float *A, int lda, const float *B, int ldb,
                           const float *beta, float *C, int ldc)
{
    operand a = {.data = A, .ld = lda, .count = 1}, b = {.data = B, .ld = ldb, .count = 1};
    operand c = {.data = C, .ld = ldc, .count = 1};
    product p = check_gemm(transa, transb, m, n, k, a, b, c, sizeof(float), "cublasSgemm");
    return submit(handle, &p, alpha, beta);
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                         int m, int n, int k, const float *alpha, const float *A, int lda,
                                         long long int strideA, const float *B, int ldb, long long int strideB,
                                         const float *beta, float *C, int ldc, long long int strideC, int batchCount)
{
    operand a = {.data = A, .ld = lda, .stride = strideA, .count = batchCount};
    operand b = {.data = B, .ld = ldb, .stride = strideB, .count = batchCount};
    operand c = {.data = C, .ld = ldc, .stride = strideC, .count = batchCount};
    product p = check_gemm(transa, transb, m, n, k, a, b, c, sizeof(float), "cublasSgemmStridedBatched");
    return submit(handle, &p, alpha, beta);
}

cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                         int m, int n, int k, const double *alpha, const double *A, int lda,
                                         long long int strideA, const double *B, int ldb, long long int strideB,
                                         const double *beta, double *C, int ldc, long long int strideC, int batchCount)
{
    operand a = {.data = A, .ld = lda, .stride = strideA, .count = batchCount};
    operand b = {.data = B, .ld = ldb, .stride = strideB, .count = batchCount};
    operand c = {.data = C, .ld = ldc, .stride = strideC, .count = batchCount};
    product p = check_gemm(transa, transb, m, n, k, a, b, c, sizeof(double), "cublasDgemmStridedBatched");
    return submit(handle, &p, alpha, beta);
}

cublasStatus_t cublasDsymm(cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t uplo, int m, int n,
                           const double *alpha, const double *A, int lda, const double *B, int ldb, const double *beta,
                           double *C, int ldc)
{
    int64_t order = side == CUBLAS_SIDE_LEFT ? m : n;
    operand a = {A, order, order, lda, 0, 1, "A"}, b = {B, m, n, ldb, 0, 1, "B"}, c = {C, m, n, ldc, 0, 1, "C"};
    standin_require((unsigned)side <= CUBLAS_SIDE_RIGHT && (unsigned)uplo <= CUBLAS_FILL_MODE_UPPER, "cublasDsymm",
                    "a known side and triangle");
    product p = {.a = a, .b = b, .c = c, .element = sizeof(double), .call = "cublasDsymm", .compute = compute_dsymm};
    p.side = side == CUBLAS_SIDE_LEFT ? CblasLeft : CblasRight;
    p.uplo = uplo == CUBLAS_FILL_MODE_LOWER ? CblasLower : CblasUpper;
    check_operands(&p);
    return submit(handle, &p, alpha, beta);
}
