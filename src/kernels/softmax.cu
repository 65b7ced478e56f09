/*
 * softmax.cu - softmax along one axis and its backward. Sums are float64.
 *
 * Division of work: a line along the axis is a thread's where it is short or its elements lie apart (neighbouring
 * threads then take neighbouring lines); long lines of neighbours are a warp's, whose lanes stride over them and meet
 * in shuffles.
 */
#include <math.h>

#include "kernels/index.cuh"

namespace
{

enum { LANES = 32, WARPS = 8, SHORT = 64 };

/* Where line number i begins. */
__device__ int64_t begin_of(const spade_lines_kernel &l, int64_t i)
{
    int64_t inner, outer = spade_divide(i, l.step, &inner);
    return outer * l.length * l.step + inner;
}

/* Who shares a line. Each thread takes its elements number first, first + by, ...; then all combine what they found. */
struct alone {
};
struct lanes_of_a_warp {
};

__device__ float largest_of(alone, float x)
{
    return x;
}

__device__ double sum_of(alone, double x)
{
    return x;
}

__device__ float largest_of(lanes_of_a_warp, float x)
{
    for (int mask = LANES / 2; mask; mask /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, x, mask);
        x = other > x ? other : x;
    }
    return x;
}

__device__ double sum_of(lanes_of_a_warp, double x)
{
    for (int mask = LANES / 2; mask; mask /= 2) { x += __shfl_xor_sync(0xffffffffu, x, mask); }
    return x;
}

/* A line of -inf alone, which is masked whole, becomes 0. */
template <typename Team>
__device__ void softmax_line(int64_t length, int64_t step, int64_t first, int64_t by, const float *x, float *y)
{
    float largest = x[0];
    for (int64_t i = first; i < length; i += by) { largest = x[i * step] > largest ? x[i * step] : largest; }
    largest = largest_of(Team(), largest);
    largest = largest == -INFINITY ? 0 : largest;
    double sum = 0;
    for (int64_t i = first; i < length; i += by) {
        float e = expf(x[i * step] - largest);
        y[i * step] = e;
        sum += e;
    }
    sum = sum_of(Team(), sum);
    float scale = sum == 0 ? 0 : (float)(1 / sum);
    for (int64_t i = first; i < length; i += by) { y[i * step] *= scale; }
}

template <typename Team>
__device__ void softmax_backward_line(int64_t length, int64_t step, int64_t first, int64_t by, const float *y,
                                      const float *dy, float *dx)
{
    double sum = 0;
    for (int64_t i = first; i < length; i += by) { sum += (double)y[i * step] * dy[i * step]; }
    sum = sum_of(Team(), sum);
    for (int64_t i = first; i < length; i += by) { dx[i * step] = (float)(y[i * step] * (dy[i * step] - sum)); }
}

__global__ void softmax_threads(spade_lines_kernel l, const float *x, float *y)
{
    SPADE_EACH(i, l.count)
    {
        int64_t at = begin_of(l, i);
        softmax_line<alone>(l.length, l.step, 0, 1, x + at, y + at);
    }
}

__global__ void softmax_backward_threads(spade_lines_kernel l, const float *y, const float *dy, float *dx)
{
    SPADE_EACH(i, l.count)
    {
        int64_t at = begin_of(l, i);
        softmax_backward_line<alone>(l.length, l.step, 0, 1, y + at, dy + at, dx + at);
    }
}

/* step is 1 in these; all lanes of a warp have the same line. x may be y: a lane reads its own elements again, and the
 * line's first before any lane has written. */
__global__ void softmax_warps(spade_lines_kernel l, const float *x, float *y)
{
    for (int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.y; i < l.count; i += (int64_t)gridDim.x * WARPS) {
        softmax_line<lanes_of_a_warp>(l.length, 1, threadIdx.x, LANES, x + i * l.length, y + i * l.length);
    }
}

__global__ void softmax_backward_warps(spade_lines_kernel l, const float *y, const float *dy, float *dx)
{
    for (int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.y; i < l.count; i += (int64_t)gridDim.x * WARPS) {
        int64_t at = i * l.length;
        softmax_backward_line<lanes_of_a_warp>(l.length, 1, threadIdx.x, LANES, y + at, dy + at, dx + at);
    }
}

bool by_warps(const spade_lines_kernel &l)
{
    return l.step == 1 && l.length > SHORT;
}

unsigned warp_blocks(const spade_lines_kernel &l)
{
    int64_t blocks = (l.count + WARPS - 1) / WARPS;
    return blocks < SPADE_MAX_BLOCKS ? (unsigned)blocks : (unsigned)SPADE_MAX_BLOCKS;
}

} // namespace

int spade_launch_softmax(spade_stream stream, spade_lines_kernel l, const float *x, float *y)
{
    return by_warps(l)
               ? SPADE_LAUNCH(softmax_warps, warp_blocks(l), dim3(LANES, WARPS), 0, stream, l, x, y)
               : SPADE_LAUNCH_INDEPENDENT(softmax_threads, spade_blocks(l.count), SPADE_THREADS, stream, l, x, y);
}

int spade_launch_softmax_backward(spade_stream stream, spade_lines_kernel l, const float *y, const float *dy, float *dx)
{
    return by_warps(l)
               ? SPADE_LAUNCH(softmax_backward_warps, warp_blocks(l), dim3(LANES, WARPS), 0, stream, l, y, dy, dx)
               : SPADE_LAUNCH_INDEPENDENT(softmax_backward_threads, spade_blocks(l.count), SPADE_THREADS, stream, l, y,
                                          dy, dx);
}
