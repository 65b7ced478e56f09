/* solver_factor.c - stand-in for cuSOLVER's Cholesky factorisation and the inverse from it, in LAPACK's terms. */
#include <lapacke.h>

#include "solver.h"

/* What is asked for, and then required: as much as the matrix. How much the real library asks for depends on its
 * version and on the GPU; the stand-in is generous, so that no test counts on little. */
static cusolverStatus_t workspace_size(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, int lda, int *size)
{
    standin_require(handle && (uplo == CUBLAS_FILL_MODE_LOWER || uplo == CUBLAS_FILL_MODE_UPPER), "bufferSize",
                    "a handle, a triangle");
    if (n < 0 || lda < (n > 1 ? n : 1)) { return CUSOLVER_STATUS_INVALID_VALUE; }
    if (n > 46340) { return CUSOLVER_STATUS_INVALID_VALUE; } /* n * n does not fit an int */
    *size = n * n;
    return CUSOLVER_STATUS_SUCCESS;
}

/* Arguments of a factorisation in place. */
static cusolverStatus_t check(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, const double *a, int lda,
                              const double *work, int lwork, const int *info, const char *call)
{
    int needed;
    cusolverStatus_t status = workspace_size(handle, uplo, n, lda, &needed);
    if (status != CUSOLVER_STATUS_SUCCESS) { return status; }
    if (lwork < needed) { return CUSOLVER_STATUS_INVALID_VALUE; }
    standin_device(a, ((size_t)lda * (size_t)(n > 0 ? n - 1 : 0) + (size_t)n) * sizeof *a, call, "A");
    standin_device(work, (size_t)lwork * sizeof *work, call, "workspace");
    standin_device(info, sizeof *info, call, "devInfo");
    return CUSOLVER_STATUS_SUCCESS;
}

/* A factorisation, or an inverse from one. */
typedef struct task {
    cusolverDnHandle_t handle;
    cublasFillMode_t uplo;
    int n, lda, lwork;
    double *a, *work;
    int *info;
} task;

static cusolverStatus_t submit(void (*run)(const void *data), task t)
{
    int error = standin_submit(t.handle->stream, run, NULL, &t, sizeof t);
    return error ? CUSOLVER_STATUS_EXECUTION_FAILED : CUSOLVER_STATUS_SUCCESS;
}

static void spoil(double *work, int lwork)
{
    for (int i = 0; i < lwork; i++) { work[i] = -1e300; } /* it is the library's */
}

static void run_potrf(const void *data)
{
    const task *t = data;
    check(t->handle, t->uplo, t->n, t->a, t->lda, t->work, t->lwork, t->info, "cusolverDnDpotrf");
    spoil(t->work, t->lwork);
    *t->info = standin_fails("potrf")
                   ? 1
                   : (int)LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, t->uplo ? 'U' : 'L', t->n, t->a, t->lda);
}

static void run_potri(const void *data)
{
    const task *t = data;
    check(t->handle, t->uplo, t->n, t->a, t->lda, t->work, t->lwork, t->info, "cusolverDnDpotri");
    spoil(t->work, t->lwork);
    *t->info = (int)LAPACKE_dpotri_work(LAPACK_COL_MAJOR, t->uplo ? 'U' : 'L', t->n, t->a, t->lda);
}

cusolverStatus_t cusolverDnDpotrf_bufferSize(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, double *a,
                                             int lda, int *lwork)
{
    (void)a; /* only its shape counts */
    return workspace_size(handle, uplo, n, lda, lwork);
}

cusolverStatus_t cusolverDnDpotrf(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, double *a, int lda,
                                  double *work, int lwork, int *info)
{
    cusolverStatus_t status = check(handle, uplo, n, a, lda, work, lwork, info, "cusolverDnDpotrf");
    if (status != CUSOLVER_STATUS_SUCCESS) { return status; }
    if (standin_fails("cusolverDnDpotrf")) { return CUSOLVER_STATUS_EXECUTION_FAILED; }
    return submit(run_potrf, (task){handle, uplo, n, lda, lwork, a, work, info});
}

cusolverStatus_t cusolverDnDpotri_bufferSize(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, double *a,
                                             int lda, int *lwork)
{
    (void)a;
    return workspace_size(handle, uplo, n, lda, lwork);
}

cusolverStatus_t cusolverDnDpotri(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, double *a, int lda,
                                  double *work, int lwork, int *info)
{
    cusolverStatus_t status = check(handle, uplo, n, a, lda, work, lwork, info, "cusolverDnDpotri");
    if (status != CUSOLVER_STATUS_SUCCESS) { return status; }
    if (standin_fails("cusolverDnDpotri")) { return CUSOLVER_STATUS_EXECUTION_FAILED; }
    return submit(run_potri, (task){handle, uplo, n, lda, lwork, a, work, info});
}
