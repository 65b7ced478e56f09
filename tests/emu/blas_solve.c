/* blas_solve.c - stand-in for the cuBLAS calls of the solvers. */
#include <cblas.h>
#include <cublas_v2.h>

#include "standin.h"

cublasStatus_t cublasDsymm(cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t uplo, int m, int n,
                           const double *alpha, const double *a, int lda, const double *b, int ldb, const double *beta,
                           double *c, int ldc)
{
    int order = side == CUBLAS_SIDE_LEFT ? m : n;
    standin_require(handle && (side == CUBLAS_SIDE_LEFT || side == CUBLAS_SIDE_RIGHT) &&
                        (uplo == CUBLAS_FILL_MODE_LOWER || uplo == CUBLAS_FILL_MODE_UPPER),
                    "cublasDsymm", "a side and a triangle");
    if (m < 0 || n < 0 || lda < order || ldb < m || ldc < m || lda < 1 || ldb < 1 || ldc < 1) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (m == 0 || n == 0) { return CUBLAS_STATUS_SUCCESS; }
    standin_host(alpha, sizeof *alpha, "cublasDsymm", "alpha"); /* pointer mode: host */
    standin_host(beta, sizeof *beta, "cublasDsymm", "beta");
    standin_device(a, ((size_t)lda * (size_t)(order - 1) + (size_t)order) * sizeof *a, "cublasDsymm", "A");
    standin_device(b, ((size_t)ldb * (size_t)(n - 1) + (size_t)m) * sizeof *b, "cublasDsymm", "B");
    standin_device(c, ((size_t)ldc * (size_t)(n - 1) + (size_t)m) * sizeof *c, "cublasDsymm", "C");
    if (standin_fails("cublasDsymm")) { return CUBLAS_STATUS_EXECUTION_FAILED; }
    cblas_dsymm(CblasColMajor, side == CUBLAS_SIDE_LEFT ? CblasLeft : CblasRight,
                uplo == CUBLAS_FILL_MODE_LOWER ? CblasLower : CblasUpper, m, n, *alpha, a, lda, b, ldb, *beta, c, ldc);
    return CUBLAS_STATUS_SUCCESS;
}
