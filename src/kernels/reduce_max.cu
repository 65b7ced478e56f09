/*
 * reduce_max.cu - the largest number over axes; its gradient, shared among all that are the largest.
 *
 * Division of work: a result is a thread's, and neighbouring threads take neighbouring results; where the fastest axis of
 * the memory is reduced and there are many terms, it is a warp's, whose lanes stride over the terms and meet in shuffles.
 */
#include "kernels/index.cuh"

namespace
{

enum { LANES = 32, WARPS = 8, SHORT = 32 };

/* Who shares a result: each thread takes the terms number first, first + by, ...; then all combine what they found. */
struct alone {
};
struct lanes_of_a_warp {
};

/* NaN is larger than all. */
__device__ __forceinline__ float larger(float a, float b)
{
    return b <= a || a != a ? a : b;
}

__device__ float largest_of(alone, float x)
{
    return x;
}

__device__ float sum_of(alone, float x)
{
    return x;
}

__device__ float largest_of(lanes_of_a_warp, float x)
{
    for (int mask = LANES / 2; mask; mask /= 2) { x = larger(x, __shfl_xor_sync(0xffffffffu, x, mask)); }
    return x;
}

__device__ float sum_of(lanes_of_a_warp, float x)
{
    for (int mask = LANES / 2; mask; mask /= 2) { x += __shfl_xor_sync(0xffffffffu, x, mask); }
    return x;
}

/* Where a term lies behind the first one of its result. */
__device__ __forceinline__ int64_t place_of(const spade_tensor_iterator_kernel &summed, int64_t term)
{
    int64_t at, same;
    if (summed.rank == 1) { return term * summed.strides[0][0]; }
    spade_locate(summed, term, 0, &at, 1, &same);
    return at;
}

/* x: of this result from its first term on. first < terms for at least one thread of the team. */
template <typename Team>
__device__ float find_largest(const spade_reduction_kernel &r, int64_t first, int64_t by, const float *x)
{
    float best = x[0];
    for (int64_t t = first; t < r.terms; t += by) { best = larger(best, x[place_of(r.summed, t)]); }
    return largest_of(Team(), best);
}

template <typename Team>
__device__ void share_gradient(const spade_reduction_kernel &r, int64_t first, int64_t by, const float *x, float y,
                               float dy, float *dx)
{
    float equal = 0;
    for (int64_t t = first; t < r.terms; t += by) { equal += x[place_of(r.summed, t)] == y; }
    const float share = dy / sum_of(Team(), equal);
    for (int64_t t = first; t < r.terms; t += by) {
        const int64_t at = place_of(r.summed, t);
        dx[at] = x[at] == y ? share : 0;
    }
}

__global__ void max_by_thread(const __grid_constant__ spade_reduction_kernel r, const float *x, float *y)
{
    SPADE_EACH(i, r.outputs)
    {
        int64_t from, to;
        spade_locate(r.kept, i, 0, &from, 1, &to);
        y[to] = find_largest<alone>(r, 0, 1, x + from);
    }
}

__global__ void max_by_warp(const __grid_constant__ spade_reduction_kernel r, const float *x, float *y)
{
    for (int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.y; i < r.outputs; i += (int64_t)gridDim.x * WARPS) {
        int64_t from, to;
        spade_locate(r.kept, i, 0, &from, 1, &to);
        const float best = find_largest<lanes_of_a_warp>(r, threadIdx.x, LANES, x + from);
        if (threadIdx.x == 0) { y[to] = best; }
    }
}

__global__ void gradient_by_thread(const __grid_constant__ spade_reduction_kernel r, const float *x, const float *y,
                                   const float *dy, float *dx)
{
    SPADE_EACH(i, r.outputs)
    {
        int64_t from, to;
        spade_locate(r.kept, i, 0, &from, 1, &to);
        share_gradient<alone>(r, 0, 1, x + from, y[to], dy[to], dx + from);
    }
}

__global__ void gradient_by_warp(const __grid_constant__ spade_reduction_kernel r, const float *x, const float *y,
                                 const float *dy, float *dx)
{
    for (int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.y; i < r.outputs; i += (int64_t)gridDim.x * WARPS) {
        int64_t from, to;
        spade_locate(r.kept, i, 0, &from, 1, &to);
        share_gradient<lanes_of_a_warp>(r, threadIdx.x, LANES, x + from, y[to], dy[to], dx + from);
    }
}

bool by_warp(const spade_reduction_kernel *r)
{
    return r->along && r->terms > SHORT;
}

unsigned warp_blocks(const spade_reduction_kernel *r)
{
    const int64_t blocks = (r->outputs + WARPS - 1) / WARPS;
    return blocks < SPADE_MAX_BLOCKS ? (unsigned)blocks : (unsigned)SPADE_MAX_BLOCKS;
}

} // namespace

int spade_launch_max(spade_stream stream, const spade_reduction_kernel *r, const float *x, float *y)
{
    if (by_warp(r)) { return SPADE_LAUNCH(max_by_warp, warp_blocks(r), dim3(LANES, WARPS), 0, stream, *r, x, y); }
    return SPADE_LAUNCH_INDEPENDENT(max_by_thread, spade_blocks(r->outputs), SPADE_THREADS, stream, *r, x, y);
}

int spade_launch_max_backward(spade_stream stream, const spade_reduction_kernel *r, const float *x, const float *y,
                              const float *dy, float *dx)
{
    if (by_warp(r)) {
        return SPADE_LAUNCH(gradient_by_warp, warp_blocks(r), dim3(LANES, WARPS), 0, stream, *r, x, y, dy, dx);
    }
    return SPADE_LAUNCH_INDEPENDENT(gradient_by_thread, spade_blocks(r->outputs), SPADE_THREADS, stream, *r, x, y, dy,
                                    dx);
}
