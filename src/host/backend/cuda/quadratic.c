/* quadratic.c - tr (d h d^T), by cuBLAS in float64. */
#include "backend/cuda/cuda.h"

/* scratch = d h, then its product with d, element by element -> *result (device). */
static spade_status evaluate(spade_cuda_device *cuda, const spade_quadratic_args *args, double *result)
{
    const double one = 1, zero = 0;
    const int k = (int)args->k, rows = (int)args->rows;
    if (args->rows * args->k > INT32_MAX) {
        return spade_fail(cuda->base.context, SPADE_ERROR_UNSUPPORTED,
                          "cuda:%d: a loss of %lld x %lld weights: more than 2^31 - 1", cuda->index,
                          (long long)args->rows, (long long)args->k);
    }
    /* columns first: scratch^T = h d^T, and h's upper triangle by rows is the lower one by columns */
    SPADE_CUDA_BLAS(cuda, cublasDsymm(cuda->blas, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_LOWER, k, rows, &one, args->h, k,
                                      args->d, k, &zero, args->scratch, k));
    SPADE_CUDA_BLAS(cuda, cublasSetPointerMode(cuda->blas, CUBLAS_POINTER_MODE_DEVICE));
    spade_status status = spade_cuda_blas_status(
        cuda, cublasDdot(cuda->blas, rows * k, args->d, 1, args->scratch, 1, result), "cublasDdot");
    SPADE_CUDA_BLAS(cuda, cublasSetPointerMode(cuda->blas, CUBLAS_POINTER_MODE_HOST));
    return status;
}

spade_status spade_cuda_quadratic_form(spade_device *device, spade_quadratic_args *problems, int n)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    size_t bytes = (size_t)n * sizeof(double);
    void *results = NULL, *host = NULL;
    spade_status status = SPADE_OK;
    if (n < 1) { return SPADE_OK; }
    SPADE_GOTO(spade_alloc(device->context, bytes, "losses", &host));
    SPADE_GOTO(spade_cuda_alloc(device, bytes, "losses", &results));
    for (int i = 0; i < n; i++) { SPADE_GOTO(evaluate(cuda, &problems[i], (double *)results + i)); }
    SPADE_GOTO(spade_cuda_download(device, host, results, bytes));
    for (int i = 0; i < n; i++) { problems[i].result = ((double *)host)[i]; }
done:
    spade_cuda_free(device, results, bytes);
    spade_free_bytes(device->context, host, bytes);
    return status;
}
