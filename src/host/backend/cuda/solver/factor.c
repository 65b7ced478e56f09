/*
 * factor.c - conditioning, factors, inverses, quadratic forms.
 *
 * Factors are cuSOLVER's, of the matrix turned around (kernels/factor.cu): a row-major lower triangle is the upper one
 * of a library that counts columns first. Large problems take turns on a few streams, so that one's panels run beside
 * another's products; small ones are one launch, a block each.
 */
#include <limits.h>

#include "backend/cuda/solver/solver.h"

/* ---- what the solvers have to themselves */

void spade_cuda_solve_close(spade_cuda_device *cuda)
{
    spade_cuda_solve *solve = cuda->solve;
    if (!solve) { return; }
    for (int i = 0; i < SPADE_CUDA_SIDE_STREAMS; i++) {
        if (solve->side_streams[i]) { (void)cudaStreamSynchronize(solve->side_streams[i]); }
        if (solve->solvers[i]) { (void)cusolverDnDestroy(solve->solvers[i]); }
        if (solve->done[i]) { (void)cudaEventDestroy(solve->done[i]); }
        if (solve->side_streams[i]) { (void)cudaStreamDestroy(solve->side_streams[i]); }
    }
    if (solve->begun) { (void)cudaEventDestroy(solve->begun); }
    if (solve->counts) { (void)cudaFreeAsync(solve->counts, cuda->stream); }
    spade_cuda_results_close(cuda);
    free(solve);
    cuda->solve = NULL;
}

static spade_status make_side_stream(spade_cuda_device *cuda, int i)
{
    spade_cuda_solve *solve = cuda->solve;
    SPADE_CUDA_TRY(cuda, cudaStreamCreateWithFlags(&solve->side_streams[i], cudaStreamNonBlocking));
    SPADE_CUDA_TRY(cuda, cudaEventCreateWithFlags(&solve->done[i], cudaEventDisableTiming));
    SPADE_CUDA_SOLVER(cuda, cusolverDnCreate(&solve->solvers[i]));
    SPADE_CUDA_SOLVER(cuda, cusolverDnSetStream(solve->solvers[i], solve->side_streams[i]));
    return SPADE_OK;
}

static spade_status make_solve(spade_cuda_device *cuda)
{
    size_t bytes = SPADE_CUDA_COUNTS * sizeof(int64_t) + SPADE_CUDA_SIDE_STREAMS * sizeof(int); /* fixed: not counted */
    SPADE_TRY(spade_cuda_results_open(cuda));
    SPADE_CUDA_TRY(cuda, cudaMallocFromPoolAsync((void **)&cuda->solve->counts, bytes, cuda->pool, cuda->stream));
    cuda->solve->info = (int *)(cuda->solve->counts + SPADE_CUDA_COUNTS);
    SPADE_CUDA_TRY(cuda, cudaEventCreateWithFlags(&cuda->solve->begun, cudaEventDisableTiming));
    for (int i = 0; i < SPADE_CUDA_SIDE_STREAMS; i++) { SPADE_TRY(make_side_stream(cuda, i)); }
    return SPADE_OK;
}

spade_status spade_cuda_solve_open(spade_cuda_device *cuda)
{
    if (cuda->solve) { return SPADE_OK; }
    SPADE_TRY(spade_cuda_refuse_capture(cuda, "a solver's first run"));
    cuda->solve = calloc(1, sizeof *cuda->solve);
    if (!cuda->solve) {
        return spade_fail(cuda->base.context, SPADE_ERROR_MEMORY, "out of memory: streams of a solver");
    }
    spade_status status = make_solve(cuda);
    if (status != SPADE_OK) { spade_cuda_solve_close(cuda); }
    return status;
}

/* The side streams wait for what is enqueued on the device's stream; then that one for them. */
static spade_status fork_side_streams(spade_cuda_device *cuda)
{
    spade_cuda_solve *solve = cuda->solve;
    SPADE_CUDA_TRY(cuda, cudaEventRecord(solve->begun, cuda->stream));
    for (int i = 0; i < SPADE_CUDA_SIDE_STREAMS; i++) {
        SPADE_CUDA_TRY(cuda, cudaStreamWaitEvent(solve->side_streams[i], solve->begun, 0));
    }
    return SPADE_OK;
}

static spade_status join_side_streams(spade_cuda_device *cuda)
{
    spade_cuda_solve *solve = cuda->solve;
    for (int i = 0; i < SPADE_CUDA_SIDE_STREAMS; i++) {
        SPADE_CUDA_TRY(cuda, cudaEventRecord(solve->done[i], solve->side_streams[i]));
        SPADE_CUDA_TRY(cuda, cudaStreamWaitEvent(cuda->stream, solve->done[i], 0));
    }
    return SPADE_OK;
}

/* ---- dead inputs and damping */

static void deliver_damp(void *args, const spade_result_kernel *result)
{
    ((spade_damp_args *)args)->status = result->failed ? SPADE_ERROR_NUMERICAL : SPADE_OK;
}

static spade_status damp_part(spade_cuda_device *cuda, void *args, int n, void *user)
{
    spade_damp_args *problems = args;
    (void)user;
    spade_result_kernel *results;
    SPADE_TRY(spade_cuda_results_take(cuda, problems, sizeof *problems, n, deliver_damp, &results));
    for (int first = 0; first < n; first += SPADE_SOLVE_BATCH) {
        spade_damp_batch batch = {.n = n - first < SPADE_SOLVE_BATCH ? n - first : SPADE_SOLVE_BATCH};
        for (int i = 0; i < batch.n; i++) {
            spade_damp_args *p = &problems[first + i];
            p->status = SPADE_OK;
            batch.problems[i] = (spade_damp_kernel){p->k, p->damping, p->hessian, p->dead, &results[first + i].failed};
        }
        SPADE_CUDA_LAUNCH(cuda, spade_launch_damp(cuda->stream, &batch));
    }
    return SPADE_OK;
}

spade_status spade_cuda_damp(spade_device *device, spade_damp_args *problems, int n)
{
    return spade_cuda_in_parts(spade_cuda_of(device), problems, sizeof *problems, n, damp_part, NULL);
}

/* ---- factors */

/* cuSOLVER counts in int; 0: its workspace could not be asked for, which the factor itself then reports. */
static size_t potrf_bytes(spade_cuda_device *cuda, int64_t k)
{
    int count = 0;
    if (k > INT_MAX || cusolverDnDpotrf_bufferSize(cuda->solver, CUBLAS_FILL_MODE_UPPER, (int)k, NULL, (int)k,
                                                   &count) != CUSOLVER_STATUS_SUCCESS) {
        return 0;
    }
    return (size_t)count * sizeof(double);
}

size_t spade_cuda_factor_workspace_bytes(spade_device *device, int64_t k)
{
    return k <= SPADE_FACTOR_SMALL ? 0 : potrf_bytes(spade_cuda_of(device), k);
}

static spade_status factor_large(spade_cuda_device *cuda, int index, const spade_factor_args *p,
                                 spade_result_kernel *result)
{
    spade_cuda_solve *solve = cuda->solve;
    cudaStream_t stream = solve->side_streams[index];
    int k = (int)p->k, count = (int)(potrf_bytes(cuda, p->k) / sizeof(double));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_reverse(stream, p->k * p->k, p->hessian));
    SPADE_CUDA_SOLVER(cuda, cusolverDnDpotrf(solve->solvers[index], CUBLAS_FILL_MODE_UPPER, k, p->hessian, k,
                                             p->workspace, count, &result->info));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_reverse(stream, p->k * p->k, p->hessian));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_check_factor(stream, p->k, p->hessian, &result->info, &result->failed));
    return SPADE_OK;
}

static spade_status factor_small(spade_cuda_device *cuda, const spade_factor_args *problems, int n,
                                 spade_result_kernel *results)
{
    spade_factor_batch batch = {.n = 0};
    for (int i = 0; i < n; i++) {
        const spade_factor_args *p = &problems[i];
        if (p->k > SPADE_FACTOR_SMALL) { continue; }
        batch.problems[batch.n++] = (spade_factor_kernel){p->k, p->hessian, &results[i].failed};
        if (batch.n == SPADE_SOLVE_BATCH) {
            SPADE_CUDA_LAUNCH(cuda, spade_launch_factor_small(cuda->stream, &batch));
            batch.n = 0;
        }
    }
    if (batch.n) { SPADE_CUDA_LAUNCH(cuda, spade_launch_factor_small(cuda->stream, &batch)); }
    return SPADE_OK;
}

static bool has_large(const spade_factor_args *problems, int n)
{
    for (int i = 0; i < n; i++) {
        if (problems[i].k > SPADE_FACTOR_SMALL) { return true; }
    }
    return false;
}

static void deliver_factor(void *args, const spade_result_kernel *result)
{
    ((spade_factor_args *)args)->status = result->failed ? SPADE_ERROR_NUMERICAL : SPADE_OK;
}

static spade_status factor_part(spade_cuda_device *cuda, void *args, int n, void *user)
{
    spade_factor_args *problems = args;
    (void)user;
    spade_result_kernel *results;
    int large = 0;
    bool any = has_large(problems, n);
    SPADE_TRY(spade_cuda_results_take(cuda, problems, sizeof *problems, n, deliver_factor, &results));
    spade_status status = any ? fork_side_streams(cuda) : SPADE_OK;
    for (int i = 0; i < n && status == SPADE_OK; i++) {
        problems[i].status = SPADE_OK;
        if (problems[i].k <= SPADE_FACTOR_SMALL) { continue; }
        status = factor_large(cuda, large++ % SPADE_CUDA_SIDE_STREAMS, &problems[i], results + i);
    }
    if (status == SPADE_OK) { status = factor_small(cuda, problems, n, results); }
    spade_status joined = any ? join_side_streams(cuda) : SPADE_OK; /* also after a failure: memory is freed in order */
    return status == SPADE_OK ? joined : status;
}

static spade_status check_size(const spade_cuda_device *cuda, const spade_factor_args *problems, int n)
{
    for (int i = 0; i < n; i++) {
        if (problems[i].k > INT_MAX) {
            return spade_fail(cuda->base.context, SPADE_ERROR_ARGUMENT, "cuda:%d: a Hessian of %lld columns",
                              cuda->index, (long long)problems[i].k);
        }
    }
    return SPADE_OK;
}

spade_status spade_cuda_factor(spade_device *device, spade_factor_args *problems, int n)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_TRY(check_size(cuda, problems, n));
    return spade_cuda_in_parts(cuda, problems, sizeof *problems, n, factor_part, NULL);
}

/* ---- inverses: of the matrix turned around, then turned back */

static int potri_count(spade_cuda_device *cuda, int64_t k)
{
    int count = 0;
    if (k > INT_MAX || cusolverDnDpotri_bufferSize(cuda->solver, CUBLAS_FILL_MODE_UPPER, (int)k, NULL, (int)k,
                                                   &count) != CUSOLVER_STATUS_SUCCESS) {
        return 0;
    }
    return count;
}

size_t spade_cuda_inverse_workspace_bytes(spade_device *device, int64_t k)
{
    return (size_t)potri_count(spade_cuda_of(device), k) * sizeof(double);
}

static spade_status invert(spade_cuda_device *cuda, int index, const spade_factor_args *p, int *info)
{
    spade_cuda_solve *solve = cuda->solve;
    cudaStream_t stream = solve->side_streams[index];
    int k = (int)p->k, count = potri_count(cuda, p->k);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_reverse(stream, p->k * p->k, p->hessian));
    SPADE_CUDA_SOLVER(cuda, cusolverDnDpotri(solve->solvers[index], CUBLAS_FILL_MODE_UPPER, k, p->hessian, k,
                                             p->workspace, count, info));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_reverse(stream, p->k * p->k, p->hessian));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_mirror(stream, p->k, p->hessian));
    return SPADE_OK;
}

/* A diagonal without zeros, which the factor has, always has an inverse: `info` need not be read. */
spade_status spade_cuda_inverse(spade_device *device, spade_factor_args *problems, int n)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    spade_status status = SPADE_OK;
    SPADE_TRY(check_size(cuda, problems, n));
    SPADE_TRY(spade_cuda_refuse_capture(cuda, "an inverse"));
    SPADE_TRY(spade_cuda_solve_open(cuda));
    SPADE_TRY(fork_side_streams(cuda));
    for (int i = 0; i < n && status == SPADE_OK; i++) {
        int index = i % SPADE_CUDA_SIDE_STREAMS;
        status = invert(cuda, index, &problems[i], cuda->solve->info + index);
    }
    spade_status joined = join_side_streams(cuda);
    return status == SPADE_OK ? joined : status;
}

/* ---- quadratic forms: D H by cuBLAS, where a row-major upper triangle is a lower one and D [rows, k] is k x rows */

static void deliver_quadratic(void *args, const spade_result_kernel *result)
{
    ((spade_quadratic_args *)args)->result = result->value;
}

static spade_status quadratic_part(spade_cuda_device *cuda, void *args, int n, void *user)
{
    spade_quadratic_args *problems = args;
    (void)user;
    spade_result_kernel *results;
    const double one = 1, zero = 0;
    SPADE_TRY(spade_cuda_results_take(cuda, problems, sizeof *problems, n, deliver_quadratic, &results));
    for (int i = 0; i < n; i++) {
        const spade_quadratic_args *p = &problems[i];
        int k = (int)p->k, rows = (int)p->rows;
        SPADE_CUDA_BLAS(cuda, cublasDsymm(cuda->blas, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_LOWER, k, rows, &one, p->h, k,
                                          p->d, k, &zero, p->scratch, k));
        SPADE_CUDA_LAUNCH(cuda, spade_launch_dot(cuda->stream, p->rows * p->k, p->d, p->scratch, &results[i].value));
    }
    return SPADE_OK;
}

spade_status spade_cuda_quadratic_form(spade_device *device, spade_quadratic_args *problems, int n)
{
    return spade_cuda_in_parts(spade_cuda_of(device), problems, sizeof *problems, n, quadratic_part, NULL);
}
