/*
 * results.c - numbers that kernels write for the host: one record a problem, collected on the device, so that what
 * enqueues the kernels need not wait. The next wait, whoever's it is, brings all of them at once.
 */
#include "backend/cuda/cuda.h"

/* Whose a record is. */
typedef struct owner {
    void *args;
    spade_cuda_deliver_fn deliver;
} owner;

struct spade_cuda_results {
    spade_result_kernel *records; /* device [SPADE_CUDA_RESULTS] */
    spade_result_kernel *arrived; /* pinned, as many */
    owner owners[SPADE_CUDA_RESULTS];
    int count;
};

/* Fixed, as the libraries' own memory is: not counted. */
spade_status spade_cuda_results_open(spade_cuda_device *cuda)
{
    size_t bytes = SPADE_CUDA_RESULTS * sizeof(spade_result_kernel);
    cuda->results = calloc(1, sizeof *cuda->results);
    if (!cuda->results) {
        return spade_fail(cuda->base.context, SPADE_ERROR_MEMORY, "out of memory: results of a solver");
    }
    SPADE_CUDA_TRY(cuda, cudaHostAlloc((void **)&cuda->results->arrived, bytes, cudaHostAllocDefault));
    SPADE_CUDA_TRY(cuda, cudaMallocFromPoolAsync((void **)&cuda->results->records, bytes, cuda->pool, cuda->stream));
    return SPADE_OK;
}

void spade_cuda_results_close(spade_cuda_device *cuda)
{
    struct spade_cuda_results *r = cuda->results;
    if (!r) { return; }
    if (r->records) { (void)cudaFreeAsync(r->records, cuda->stream); }
    if (r->arrived) { (void)cudaFreeHost(r->arrived); }
    free(r);
    cuda->results = NULL;
}

spade_status spade_cuda_results_take(spade_cuda_device *cuda, void *problems, size_t size, int n,
                                     spade_cuda_deliver_fn deliver, spade_result_kernel **records)
{
    struct spade_cuda_results *r = cuda->results;
    SPADE_TRY(spade_cuda_refuse_capture(cuda, "numbers for the host"));
    if (r->count + n > SPADE_CUDA_RESULTS) { SPADE_TRY(spade_cuda_synchronize(&cuda->base)); }
    *records = r->records + r->count;
    for (int i = 0; i < n; i++) { r->owners[r->count++] = (owner){(char *)problems + (size_t)i * size, deliver}; }
    return SPADE_OK;
}

/* Those of the call at hand are the last. */
static void forget(spade_cuda_device *cuda, const char *problems, size_t bytes)
{
    struct spade_cuda_results *r = cuda->results;
    while (r && r->count) {
        const char *args = r->owners[r->count - 1].args;
        if (args < problems || args >= problems + bytes) { return; }
        r->count--;
    }
}

spade_status spade_cuda_in_parts(spade_cuda_device *cuda, void *problems, size_t size, int n, spade_cuda_part_fn part,
                                 void *user)
{
    spade_status status = spade_cuda_solve_open(cuda);
    for (int first = 0; first < n && status == SPADE_OK; first += SPADE_CUDA_RESULTS) {
        int count = n - first < SPADE_CUDA_RESULTS ? n - first : SPADE_CUDA_RESULTS;
        status = part(cuda, (char *)problems + (size_t)first * size, count, user);
    }
    if (status != SPADE_OK) { forget(cuda, problems, (size_t)n * size); }
    return status;
}

spade_status spade_cuda_results_send(spade_cuda_device *cuda)
{
    struct spade_cuda_results *r = cuda->results;
    if (!r || !r->count) { return SPADE_OK; }
    SPADE_CUDA_TRY(cuda, cudaMemcpyAsync(r->arrived, r->records, (size_t)r->count * sizeof *r->records,
                                         cudaMemcpyDeviceToHost, cuda->stream));
    return SPADE_OK;
}

void spade_cuda_results_deliver(spade_cuda_device *cuda)
{
    struct spade_cuda_results *r = cuda->results;
    for (int i = 0; r && i < r->count; i++) { r->owners[i].deliver(r->owners[i].args, &r->arrived[i]); }
    spade_cuda_results_drop(cuda);
}

void spade_cuda_results_drop(spade_cuda_device *cuda)
{
    if (cuda->results) { cuda->results->count = 0; }
}
