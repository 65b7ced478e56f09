/*
 * reduce.cu - sums over axes.
 *
 * Division of work: a block of 32 x 8 threads takes 8 or 32 neighbouring results; the other direction splits a result's
 * terms. Lanes of a warp run along the fastest axis of the memory, whether it is summed or kept. Partial sums meet in
 * shared memory and are added in their order, in float64. sum_short: few terms a result: a thread a result. Few results
 * of many terms are cut into pieces of a length that depends on the shapes only; `combine` adds the pieces in their
 * order. So a sum is the same on every GPU.
 */
#include "kernels/index.cuh"

namespace
{

enum { LANES = 32, WARPS = 8, SHORT = 32 };

__device__ float finish(const spade_reduction_kernel &r, double sum)
{
    return (float)(r.divisor == 1 ? sum : sum / r.divisor);
}

/* Terms number first, first + step, ... below end of the result whose terms begin at `a`. */
__device__ double sum_terms(const spade_tensor_iterator_kernel &summed, const float *a, int64_t first, int64_t end,
                            int64_t step)
{
    double sum = 0;
    if (summed.rank == 1) {
        const int64_t stride = summed.strides[0][0];
        for (int64_t t = first; t < end; t += step) { sum += a[t * stride]; }
        return sum;
    }
    for (int64_t t = first; t < end; t += step) {
        int64_t at, same;
        spade_locate(summed, t, 0, &at, 0, &same);
        sum += a[at];
    }
    return sum;
}

__global__ void sum_short(const __grid_constant__ spade_reduction_kernel r, const float *a, float *y)
{
    SPADE_EACH(i, r.outputs)
    {
        int64_t from, to;
        spade_locate(r.kept, i, 0, &from, 1, &to);
        y[to] = finish(r, sum_terms(r.summed, a + from, 0, r.terms, 1));
    }
}

__global__ void sum(const __grid_constant__ spade_reduction_kernel r, const float *a, double *partial, float *y)
{
    __shared__ double sums[WARPS * (LANES + 1)];
    const int results = r.along ? WARPS : LANES, parts = r.along ? LANES : WARPS;
    const int mine = r.along ? threadIdx.y : threadIdx.x, part = r.along ? threadIdx.x : threadIdx.y;
    const int place = r.along ? mine * (LANES + 1) + part : part * LANES + mine;
    const int64_t output = (int64_t)blockIdx.x * results + mine, begin = (int64_t)blockIdx.y * r.piece;
    const int64_t end = begin + r.piece < r.terms ? begin + r.piece : r.terms;
    int64_t from = 0, to = 0;
    if (output < r.outputs) {
        spade_locate(r.kept, output, 0, &from, 1, &to);
        sums[place] = sum_terms(r.summed, a + from, begin + part, end, parts);
    }
    __syncthreads();
    if (part != 0 || output >= r.outputs) { return; }
    double all = sums[place];
    for (int i = 1; i < parts; i++) { all += sums[place + i * (r.along ? 1 : LANES)]; }
    if (partial) {
        partial[blockIdx.y * r.outputs + output] = all;
    } else {
        y[to] = finish(r, all);
    }
}

__global__ void combine(const __grid_constant__ spade_reduction_kernel r, const double *partial, float *y)
{
    SPADE_EACH(i, r.outputs)
    {
        int64_t from, to;
        double all = partial[i];
        for (int64_t p = 1; p < r.pieces; p++) { all += partial[p * r.outputs + i]; }
        spade_locate(r.kept, i, 0, &from, 1, &to);
        y[to] = finish(r, all);
    }
}

} // namespace

int spade_launch_sum(spade_stream stream, const spade_reduction_kernel *reduction, const float *a, double *partial,
                     float *y)
{
    const spade_reduction_kernel &r = *reduction;
    if (r.terms <= SHORT) {
        return SPADE_LAUNCH_INDEPENDENT(sum_short, spade_blocks(r.outputs), SPADE_THREADS, stream, r, a, y);
    }
    const int64_t results = r.along ? WARPS : LANES;
    const dim3 grid((unsigned)((r.outputs + results - 1) / results), (unsigned)r.pieces), block(LANES, WARPS);
    double *to = r.pieces > 1 ? partial : nullptr;
    int error = SPADE_LAUNCH(sum, grid, block, 0, stream, r, a, to, y);
    if (error || r.pieces == 1) { return error; }
    return SPADE_LAUNCH_INDEPENDENT(combine, spade_blocks(r.outputs), SPADE_THREADS, stream, r, to, y);
}
