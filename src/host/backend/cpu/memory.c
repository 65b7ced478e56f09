/* memory.c - the host's memory as device memory, and y = alpha x + beta y. */
#include "backend/cpu/cpu.h"

spade_status spade_cpu_alloc(spade_device *device, size_t bytes, const char *what, void **out)
{
    return spade_alloc(device->context, bytes, what, out);
}

void spade_cpu_free(spade_device *device, void *pointer, size_t bytes)
{
    spade_free_bytes(device->context, pointer, bytes);
}

spade_status spade_cpu_copy(spade_device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    if (bytes) { memcpy(to, from, bytes); }
    return SPADE_OK;
}

spade_status spade_cpu_zero(spade_device *device, void *to, size_t bytes)
{
    (void)device;
    if (bytes) { memset(to, 0, bytes); }
    return SPADE_OK;
}

spade_status spade_cpu_axpby(spade_device *device, int64_t n, float alpha, const float *x, float beta, float *y)
{
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t begin = 0; begin < n; begin += SPADE_CPU_CHUNK) {
        int64_t end = n - begin < SPADE_CPU_CHUNK ? n : begin + SPADE_CPU_CHUNK;
        if (beta == 0) {
            for (int64_t i = begin; i < end; i++) { y[i] = alpha * x[i]; }
        } else {
            for (int64_t i = begin; i < end; i++) { y[i] = alpha * x[i] + beta * y[i]; }
        }
    }
    return SPADE_OK;
}
