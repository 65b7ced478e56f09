/*
 * factor.cu - around the Cholesky factorisations: conditioning, matrices turned around, small factors, the check.
 *
 * V with H = V V^T, V upper triangular, is the Cholesky factor of H with rows and columns reversed, reversed back. In
 * memory that is the array of k^2 numbers from its end to its beginning.
 */
#include "kernels/block.cuh"

namespace
{

typedef spade_block_scratch<double, SPADE_THREADS> scratch;

/* One block a problem; threads stride over the diagonal. */
__global__ void condition(const __grid_constant__ spade_damp_batch batch)
{
    __shared__ scratch shared;
    const spade_damp_kernel &p = batch.problems[blockIdx.x];
    double trace = 0;
    for (int64_t d = threadIdx.x; d < p.k; d += blockDim.x) {
        double diagonal = p.hessian[d * (p.k + 1)];
        p.dead[d] = diagonal == 0.0;
        trace += diagonal == 0.0 ? 1.0 : diagonal;
    }
    trace = spade_block_reduce(
        trace, [](double x, double y) { return x + y; }, shared);
    double shift = p.damping * (trace / (double)p.k);
    for (int64_t d = threadIdx.x; d < p.k; d += blockDim.x) {
        double *diagonal = &p.hessian[d * (p.k + 1)];
        *diagonal = (*diagonal == 0.0 ? 1.0 : *diagonal) + shift;
    }
    if (threadIdx.x == 0) { *p.failed = !isfinite(trace); }
}

/* Each thread swaps element i with the i-th from the end; i and its counterpart are both neighbours of a neighbour's.
 */
__global__ void reverse(int64_t n, double *a)
{
    SPADE_EACH(i, n / 2)
    {
        double low = a[i];
        a[i] = a[n - 1 - i];
        a[n - 1 - i] = low;
    }
}

/* Below the diagonal what is above it: threads stride over the elements, those below the diagonal are written. */
__global__ void mirror(int64_t k, double *a)
{
    SPADE_EACH(i, k * k)
    {
        int64_t row = i / k, column = i % k;
        if (column < row) { a[i] = a[column * k + row]; }
    }
}

/* One block of one warp: every number of V's diagonal is finite and positive. Numbers that are not finite anywhere end
 * up there: each row's diagonal is a root of what its other elements left. */
__global__ void check_factor(int64_t k, const double *v, const int *info, int *failed)
{
    __shared__ int bad;
    if (threadIdx.x == 0) { bad = *info != 0; }
    __syncthreads();
    for (int64_t d = threadIdx.x; d < k; d += blockDim.x) {
        double diagonal = v[d * (k + 1)];
        if (!(diagonal > 0 && isfinite(diagonal))) { bad = 1; }
    }
    __syncthreads();
    if (threadIdx.x == 0) { *failed = bad; }
}

__device__ int64_t packed_at(int64_t i, int64_t j)
{
    return i * (i + 1) / 2 + j;
}

/*
 * A whole factor by one block in shared memory: L of the reversed matrix, packed by rows. Right-looking: after column j
 * the threads, 16 x 16, stride over what is left.
 */
__global__ void factor_small(const __grid_constant__ spade_factor_batch batch)
{
    enum { SIDE = 16 };
    __shared__ double a[SPADE_FACTOR_SMALL * (SPADE_FACTOR_SMALL + 1) / 2];
    const spade_factor_kernel &p = batch.problems[blockIdx.x];
    int64_t k = p.k, n = k * k, t = threadIdx.x;
    for (int64_t q = t; q < n; q += blockDim.x) {
        int64_t i = q / k, j = q % k;
        if (j <= i) { a[packed_at(i, j)] = p.hessian[n - 1 - q]; }
    }
    bool good = true;
    for (int64_t j = 0; j < k && good; j++) {
        __syncthreads();
        double diagonal = a[packed_at(j, j)];
        good = diagonal > 0 && isfinite(diagonal); /* of all threads */
        double root = sqrt(diagonal);
        __syncthreads();
        for (int64_t i = j + t; i < k && good; i += blockDim.x) {
            a[packed_at(i, j)] = i == j ? root : a[packed_at(i, j)] / root;
        }
        __syncthreads();
        for (int64_t i = j + 1 + t / SIDE; i < k && good; i += blockDim.x / SIDE) {
            double left = a[packed_at(i, j)];
            for (int64_t l = j + 1 + t % SIDE; l <= i; l += SIDE) { a[packed_at(i, l)] -= left * a[packed_at(l, j)]; }
        }
    }
    __syncthreads();
    for (int64_t q = t; q < n; q += blockDim.x) {
        int64_t i = q / k, j = q % k;
        if (j <= i) { p.hessian[n - 1 - q] = a[packed_at(i, j)]; }
    }
    if (t == 0) { *p.failed = !good; }
}

/* One block: threads stride over the numbers, their sums meet in a fixed order. */
__global__ void dot(int64_t n, const double *a, const double *b, double *out)
{
    __shared__ scratch shared;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) { sum += a[i] * b[i]; }
    sum = spade_block_reduce(
        sum, [](double x, double y) { return x + y; }, shared);
    if (threadIdx.x == 0) { *out = sum; }
}

} // namespace

int spade_launch_damp(spade_stream stream, const spade_damp_batch *batch)
{
    return SPADE_LAUNCH(condition, (unsigned)batch->n, SPADE_THREADS, 0, stream, *batch);
}

int spade_launch_reverse(spade_stream stream, int64_t n, double *a)
{
    return SPADE_LAUNCH_INDEPENDENT(reverse, spade_blocks(n / 2), SPADE_THREADS, stream, n, a);
}

int spade_launch_mirror(spade_stream stream, int64_t k, double *a)
{
    return SPADE_LAUNCH_INDEPENDENT(mirror, spade_blocks(k * k), SPADE_THREADS, stream, k, a);
}

int spade_launch_check_factor(spade_stream stream, int64_t k, const double *v, const int *info, int *failed)
{
    return SPADE_LAUNCH(check_factor, 1, SPADE_WARP, 0, stream, k, v, info, failed);
}

int spade_launch_factor_small(spade_stream stream, const spade_factor_batch *batch)
{
    return SPADE_LAUNCH(factor_small, (unsigned)batch->n, SPADE_THREADS, 0, stream, *batch);
}

int spade_launch_dot(spade_stream stream, int64_t n, const double *a, const double *b, double *out)
{
    return SPADE_LAUNCH(dot, 1, SPADE_THREADS, 0, stream, n, a, b, out);
}
