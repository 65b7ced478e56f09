/* philox.cuh - Philox4x32-10 (Salmon et al., SC 2011), uniform and normal numbers, as base/random.c has them. */
#ifndef SPADE_PHILOX_CUH
#define SPADE_PHILOX_CUH

#include <math.h>

#include "kernels/portable.cuh"

__device__ __forceinline__ void spade_philox_device(uint32_t key0, uint32_t key1, uint32_t (&counter)[4])
{
    for (int round = 0; round < 10; round++) {
        const uint64_t left = (uint64_t)0xD2511F53u * counter[0], right = (uint64_t)0xCD9E8D57u * counter[2];
        const uint32_t second = counter[1], fourth = counter[3];
        counter[0] = (uint32_t)(right >> 32) ^ second ^ key0;
        counter[1] = (uint32_t)right;
        counter[2] = (uint32_t)(left >> 32) ^ fourth ^ key1;
        counter[3] = (uint32_t)left;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

/* A double in [0, 1) with 53 bits from two words. */
__device__ __forceinline__ double spade_uniform_device(uint32_t high, uint32_t low)
{
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

/* Box-Muller: the block's two normal numbers are radius * cos(angle) and radius * sin(angle). `counter` is used up. */
__device__ __forceinline__ void spade_normal_device(uint32_t key0, uint32_t key1, uint32_t (&counter)[4],
                                                    double *radius, double *angle)
{
    spade_philox_device(key0, key1, counter);
    *radius = sqrt(-2.0 * log(1.0 - spade_uniform_device(counter[0], counter[1])));
    *angle = 2.0 * 3.14159265358979323846 * spade_uniform_device(counter[2], counter[3]);
}

#endif
