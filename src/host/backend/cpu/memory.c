/* memory.c - the host's memory as device memory, y = alpha x + beta y, and the largest magnitude. */
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

/* The largest |x| as bits: without their sign, the bits of floats are ordered as their magnitudes are, infinity behind all
 * finite numbers and NaN behind infinity. */
static int32_t largest_bits(int64_t n, const float *x)
{
    int32_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= INT32_MAX;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

spade_status spade_cpu_magnitude(spade_device *device, int64_t n, const float *x, float *largest)
{
    int32_t bits = largest_bits(1, largest);
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static) reduction(max : bits)                 \
    if (n > SPADE_CPU_CHUNK)
    for (int64_t begin = 0; begin < n; begin += SPADE_CPU_CHUNK) {
        const int32_t found = largest_bits(n - begin < SPADE_CPU_CHUNK ? n - begin : SPADE_CPU_CHUNK, x + begin);
        bits = found > bits ? found : bits;
    }
    memcpy(largest, &bits, sizeof bits);
    return SPADE_OK;
}
