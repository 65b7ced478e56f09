/*
 * dual.cu - the fast solver's factor without a Hessian (backend/backend_solver.h has the derivation): what lies between
 * its matrix products. N [n, n], X_B^T [n, width], A = N X_B^T [n, width], T^T [width, n], all row by row.
 */
#include "kernels/block.cuh"

namespace
{

/* A block a row of x, threads stride over its samples. */
__global__ void measure(const __grid_constant__ spade_dual_kernel p)
{
    __shared__ spade_block_scratch<double, SPADE_THREADS> shared;
    for (int64_t row = blockIdx.x; row < p.k; row += gridDim.x) {
        double sum = 0;
        for (int64_t s = threadIdx.x; s < p.n; s += blockDim.x) {
            double x = p.x[row * p.n + s];
            sum += x * x;
        }
        sum = spade_block_reduce(
            sum, [](double a, double b) { return a + b; }, shared);
        if (threadIdx.x == 0) {
            p.dead[row] = sum == 0.0;
            p.squares[row] = sum == 0.0 ? 1.0 : p.scale * sum;
        }
    }
}

/* One block: threads stride over the diagonal. A shift that is not above zero is made no number: nothing follows from it. */
__global__ void find_shift(const __grid_constant__ spade_dual_kernel p)
{
    __shared__ spade_block_scratch<double, SPADE_THREADS> shared;
    double trace = 0;
    for (int64_t d = threadIdx.x; d < p.k; d += blockDim.x) { trace += p.squares[d]; }
    trace = spade_block_reduce(
        trace, [](double a, double b) { return a + b; }, shared);
    if (threadIdx.x == 0) {
        double shift = p.damping * (trace / (double)p.k);
        *p.shift = shift > 0 && isfinite(shift) ? shift : (double)NAN;
    }
}

__global__ void identity(int64_t n, double *a)
{
    SPADE_EACH(i, n * n)
    {
        a[i] = i / n == i % n ? 1.0 : 0.0;
    }
}

/* Neighbouring threads write neighbouring columns. */
__global__ void turn_inputs(const float *x, int64_t n, int64_t width, double root, double *out)
{
    SPADE_EACH(i, n * width)
    {
        out[i] = root * (double)x[i % width * n + i / width];
    }
}

__global__ void shift_matrix(int64_t width, const double *shift, const uint8_t *dead, double *matrix)
{
    SPADE_EACH(i, width)
    {
        matrix[i * (width + 1)] += *shift + (dead[i] ? 1.0 : 0.0);
    }
}

/* A row of T V^T = A each thread, from the last column to the first: V upper. */
__global__ void solve_rows(int64_t n, int64_t width, const double *v, const double *a, double *t)
{
    SPADE_EACH(s, n)
    {
        for (int64_t j = width - 1; j >= 0; j--) {
            double sum = a[s * width + j];
            for (int64_t h = j + 1; h < width; h++) { sum -= t[h * n + s] * v[j * width + h]; }
            t[j * n + s] = sum / v[j * width + j];
        }
    }
}

/* One block: every number of V's diagonal is finite and positive. */
__global__ void check_panels(int64_t k, int64_t panel, const double *v, int *failed)
{
    __shared__ int bad;
    if (threadIdx.x == 0) { bad = 0; }
    __syncthreads();
    for (int64_t d = threadIdx.x; d < k; d += blockDim.x) {
        int64_t first = d / panel * panel, width = k - first < panel ? k - first : panel;
        double diagonal = v[d / panel * panel * panel + (d - first) * (width + 1)];
        if (!(diagonal > 0 && isfinite(diagonal))) { bad = 1; }
    }
    __syncthreads();
    if (threadIdx.x == 0) { *failed = bad; }
}

/* One number each thread; those of a row, which lie beside each other, are of neighbouring positions. */
__global__ void copy_samples(spade_patch_kernel p, int64_t positions, int64_t group, int first, int taps, float *out)
{
    int64_t area = (int64_t)p.output[0] * p.output[1];
    SPADE_EACH(i, (int64_t)p.channels * taps * positions)
    {
        int64_t position = i % positions, column = i / positions, image = position / area;
        int at = (int)(position % area), tap = first + (int)(column % taps);
        int y = at / p.output[1] * p.stride[0] - p.pad[0] + tap / p.kernel[1] * p.dilation[0];
        int x = at % p.output[1] * p.stride[1] - p.pad[1] + tap % p.kernel[1] * p.dilation[1];
        bool inside = y >= 0 && y < p.size[0] && x >= 0 && x < p.size[1];
        int64_t channel = group * p.channels + column / taps;
        out[i] = inside ? p.x[image * p.stride_n + y * p.stride_h + x * p.stride_w + channel * p.stride_c] : 0.0f;
    }
}

} // namespace

int spade_launch_dual_begin(spade_stream stream, const spade_dual_kernel *p)
{
    unsigned rows = (unsigned)(p->k < 65535 ? p->k : 65535);
    int result = SPADE_LAUNCH(measure, rows, SPADE_THREADS, 0, stream, *p);
    if (result) { return result; }
    result = SPADE_LAUNCH(find_shift, 1, SPADE_THREADS, 0, stream, *p);
    if (result) { return result; }
    return SPADE_LAUNCH_INDEPENDENT(identity, spade_blocks(p->n * p->n), SPADE_THREADS, stream, p->n, p->inverse);
}

int spade_launch_dual_inputs(spade_stream stream, const float *x, int64_t n, int64_t width, double root, double *out)
{
    return SPADE_LAUNCH_INDEPENDENT(turn_inputs, spade_blocks(n * width), SPADE_THREADS, stream, x, n, width, root,
                                    out);
}

int spade_launch_dual_shift(spade_stream stream, int64_t width, const double *shift, const uint8_t *dead,
                            double *matrix)
{
    return SPADE_LAUNCH_INDEPENDENT(shift_matrix, spade_blocks(width), SPADE_THREADS, stream, width, shift, dead,
                                    matrix);
}

int spade_launch_dual_solve(spade_stream stream, int64_t n, int64_t width, const double *v, const double *a, double *t)
{
    return SPADE_LAUNCH_INDEPENDENT(solve_rows, spade_blocks(n), SPADE_THREADS, stream, n, width, v, a, t);
}

int spade_launch_dual_check(spade_stream stream, int64_t k, int64_t panel, const double *v, int *failed)
{
    return SPADE_LAUNCH(check_panels, 1, SPADE_THREADS, 0, stream, k, panel, v, failed);
}

int spade_launch_samples(spade_stream stream, spade_patch_kernel patches, int64_t positions, int64_t group, int first,
                         int taps, float *out)
{
    return SPADE_LAUNCH_INDEPENDENT(copy_samples, spade_blocks((int64_t)patches.channels * taps * positions),
                                    SPADE_THREADS, stream, patches, positions, group, first, taps, out);
}
