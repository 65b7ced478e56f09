/*
 * block.cuh - what the threads of one block find together: reductions and prefix sums, in an order that depends on the
 * number of threads only. Barriers instead of shuffles: two levels of 32, each a short walk through shared memory.
 */
#ifndef SPADE_BLOCK_CUH
#define SPADE_BLOCK_CUH

#include "kernels/portable.cuh"

enum { SPADE_WARP = 32 };

/* Shared memory of the functions below; `values` for each thread. */
template <typename T, int THREADS> struct spade_block_scratch {
    T values[THREADS];
    T parts[SPADE_WARP];
};

/* op over the values of all threads; every thread gets it. blockDim.x is a multiple of 32. */
template <typename T, int THREADS, typename Op>
__device__ __forceinline__ T spade_block_reduce(T value, Op op, spade_block_scratch<T, THREADS> &scratch)
{
    int t = (int)threadIdx.x, warps = (int)blockDim.x / SPADE_WARP;
    scratch.values[t] = value;
    __syncthreads();
    if (t < SPADE_WARP) {
        T part = scratch.values[t];
        for (int i = 1; i < warps; i++) { part = op(part, scratch.values[i * SPADE_WARP + t]); }
        scratch.parts[t] = part;
    }
    __syncthreads();
    T result = scratch.parts[0];
    for (int i = 1; i < SPADE_WARP; i++) { result = op(result, scratch.parts[i]); }
    __syncthreads(); /* the scratch is free again */
    return result;
}

/* Sum of the values of the threads before this one; *total: of all. */
template <typename T, int THREADS>
__device__ __forceinline__ T spade_block_before(T value, T *total, spade_block_scratch<T, THREADS> &scratch)
{
    int t = (int)threadIdx.x, run = (int)blockDim.x / SPADE_WARP;
    scratch.values[t] = value;
    __syncthreads();
    if (t < SPADE_WARP) {
        T part = 0;
        for (int i = 0; i < run; i++) { part += scratch.values[t * run + i]; }
        scratch.parts[t] = part;
    }
    __syncthreads();
    T before = 0, all = 0;
    for (int i = 0; i < SPADE_WARP; i++) {
        before += i < t / run ? scratch.parts[i] : 0;
        all += scratch.parts[i];
    }
    for (int i = t / run * run; i < t; i++) { before += scratch.values[i]; }
    __syncthreads();
    *total = all;
    return before;
}

#endif
