/* memory.c - device memory from the device's pool, counted against the budget; copies on the device; y = alpha x + beta
 * y; waiting. */
#include "backend/cuda/cuda.h"

/* What the device has left, in the message: the number that would fit. */
static spade_status fail_alloc(const spade_cuda_device *device, size_t bytes, const char *what)
{
    size_t left = 0, all = 0;
    char need[32], there[32];
    cudaError_t result = cudaMemGetInfo(&left, &all);
    spade_cuda_ignore_error(result);
    if (result != cudaSuccess) { left = 0; }
    return spade_fail(device->base.context, SPADE_ERROR_MEMORY,
                      "cuda:%d: out of memory: %s needs %s, the device has %s left; --memory bounds what is used",
                      device->index, what, spade_format_bytes(bytes, need), spade_format_bytes(left, there));
}

spade_status spade_cuda_alloc(spade_device *device, size_t bytes, const char *what, void **out)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    *out = NULL;
    SPADE_TRY(spade_cuda_refuse_capture(cuda, "an allocation"));
    SPADE_TRY(spade_charge(device->context, bytes, what));
    cudaError_t result;
    do {
        result = cudaMallocFromPoolAsync(out, bytes ? bytes : 1, cuda->pool, cuda->stream);
        spade_cuda_ignore_error(result); /* another try may do, or it is told below */
    } while (result == cudaErrorMemoryAllocation && spade_lru_evict(device->context));
    if (result == cudaSuccess) { return SPADE_OK; }
    *out = NULL;
    spade_release(device->context, bytes);
    if (result == cudaErrorMemoryAllocation) { return fail_alloc(cuda, bytes, what); }
    return spade_cuda_status(cuda, result, "cudaMallocFromPoolAsync");
}

void spade_cuda_free(spade_device *device, void *pointer, size_t bytes)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    if (!pointer) { return; }
    if (!spade_cuda_defer_free(cuda, pointer)) {
        spade_cuda_ignore_error(cudaFreeAsync(pointer, cuda->stream)); /* a lost device is reported by the next call */
    }
    spade_release(device->context, bytes);
}

spade_status spade_cuda_copy(spade_device *device, void *to, const void *from, size_t bytes)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    if (!bytes) { return SPADE_OK; }
    SPADE_CUDA_TRY(cuda, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, cuda->stream));
    return SPADE_OK;
}

spade_status spade_cuda_zero(spade_device *device, void *to, size_t bytes)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    if (!bytes) { return SPADE_OK; }
    SPADE_CUDA_TRY(cuda, cudaMemsetAsync(to, 0, bytes, cuda->stream));
    return SPADE_OK;
}

spade_status spade_cuda_synchronize(spade_device *device)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_TRY(spade_cuda_refuse_capture(cuda, "a wait"));
    spade_status status = spade_cuda_results_send(cuda);
    if (status == SPADE_OK) {
        status = spade_cuda_status(cuda, cudaStreamSynchronize(cuda->stream), "cudaStreamSynchronize");
    }
    if (status == SPADE_OK) {
        spade_cuda_results_deliver(cuda);
    } else {
        spade_cuda_results_drop(cuda); /* whose they are must not be written any more */
    }
    return status;
}

spade_status spade_cuda_axpby(spade_device *device, int64_t n, float alpha, const float *x, float beta, float *y)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_axpby(cuda->stream, n, alpha, x, beta, y));
    return SPADE_OK;
}

spade_status spade_cuda_magnitude(spade_device *device, int64_t n, const float *x, float *largest)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_magnitude(cuda->stream, n, x, largest));
    return SPADE_OK;
}

void *spade_cuda_take(void *base, size_t *used, size_t bytes)
{
    void *piece = base ? (char *)base + *used : NULL;
    *used += (bytes + SPADE_CUDA_ALIGNMENT - 1) / SPADE_CUDA_ALIGNMENT * SPADE_CUDA_ALIGNMENT;
    return piece;
}
