/*
 * layer_norm.cu - layer normalisation and its backward. Sums are float64.
 *
 * Division of work: a row of up to LONG elements is a warp's, WARPS rows a block; its lanes stride over the row and meet in
 * shuffles. A longer row is a block's, whose warps then meet in shared memory. Three passes over a row (mean; squares and
 * what the gradient sums; result), all but the first out of the cache. Everybody adds partial sums in the same order, which
 * depends on the row's length only; it is not the CPU's, so a * b + c may be fused.
 */
#include "kernels/portable.cuh"

namespace
{

enum { LANES = 32, WARPS = 8, LONG = 2048 };

/* The threads that share a row, Sharing warps of them (1 or WARPS): which rows and which elements of a row are a thread's. */
template <int Sharing> struct share {
    enum { ROWS = WARPS / Sharing /* of a block, at once */, STEP = LANES * Sharing /* to a thread's next element */ };
    int64_t row, rows; /* the first one, and how many are taken at once */
    int first;         /* element */
};

template <int Sharing> __device__ share<Sharing> share_of()
{
    share<Sharing> s;
    const int warp = (int)threadIdx.y;
    s.row = (int64_t)blockIdx.x * s.ROWS + warp / Sharing;
    s.rows = (int64_t)gridDim.x * s.ROWS;
    s.first = warp % Sharing * LANES + (int)threadIdx.x;
    return s;
}

/* The sum over all threads that share a row; each gets it. */
template <int Sharing> __device__ double sum_of(double value, double *parts /* shared [WARPS] */)
{
    for (int mask = LANES / 2; mask; mask /= 2) { value += __shfl_xor_sync(0xffffffffu, value, mask); }
    if (Sharing == 1) { return value; }
    if (threadIdx.x == 0) { parts[threadIdx.y] = value; }
    __syncthreads();
    value = parts[0];
    for (int i = 1; i < WARPS; i++) { value += parts[i]; }
    __syncthreads(); /* the parts are free again */
    return value;
}

template <int Sharing> __device__ double mean_of(int64_t length, const float *x, int first, double *parts)
{
    double sum = 0;
    for (int64_t i = first; i < length; i += share<Sharing>::STEP) { sum += x[i]; }
    return sum_of<Sharing>(sum, parts) / (double)length;
}

template <int Sharing> __global__ void normalise(spade_layer_norm_kernel k, float *y)
{
    __shared__ double parts[WARPS];
    const share<Sharing> s = share_of<Sharing>();
    for (int64_t row = s.row; row < k.count; row += s.rows) {
        const float *x = k.x + row * k.length;
        const double mean = k.root_mean_square ? 0 : mean_of<Sharing>(k.length, x, s.first, parts);
        double squares = 0;
        for (int64_t i = s.first; i < k.length; i += s.STEP) {
            const double c = x[i] - mean;
            squares += c * c;
        }
        const double inverse = 1 / sqrt(sum_of<Sharing>(squares, parts) / (double)k.length + k.epsilon);
        for (int64_t i = s.first; i < k.length; i += s.STEP) {
            const double normal = (x[i] - mean) * inverse;
            y[row * k.length + i] = (float)(normal * (k.scale ? k.scale[i] : 1) + (k.shift ? k.shift[i] : 0));
        }
    }
}

/* dx = r (g - mean(g) - z mean(g z)), where g = dy * scale, r = 1 / sqrt(variance + epsilon) and z = r (x - mean);
 * without a mean that of g is not there either. */
template <int Sharing> __global__ void normalise_backward(spade_layer_norm_kernel k, const float *dys, float *dx)
{
    __shared__ double parts[WARPS];
    const share<Sharing> s = share_of<Sharing>();
    for (int64_t row = s.row; row < k.count; row += s.rows) {
        const float *x = k.x + row * k.length, *dy = dys + row * k.length;
        const double mean = k.root_mean_square ? 0 : mean_of<Sharing>(k.length, x, s.first, parts);
        double squares = 0, gradient = 0, product = 0;
        for (int64_t i = s.first; i < k.length; i += s.STEP) {
            const double c = x[i] - mean, g = (double)dy[i] * (k.scale ? k.scale[i] : 1);
            squares += c * c;
            gradient += g;
            product += g * c;
        }
        const double variance = sum_of<Sharing>(squares, parts) / (double)k.length;
        const double mean_gradient = k.root_mean_square ? 0 : sum_of<Sharing>(gradient, parts) / (double)k.length;
        const double mean_product = sum_of<Sharing>(product, parts) / (double)k.length;
        const double inverse = 1 / sqrt(variance + k.epsilon), slope = inverse * inverse * mean_product;
        for (int64_t i = s.first; i < k.length; i += s.STEP) {
            const double g = (double)dy[i] * (k.scale ? k.scale[i] : 1);
            dx[row * k.length + i] = (float)(inverse * (g - mean_gradient - slope * (x[i] - mean)));
        }
    }
}

unsigned blocks_of(int64_t blocks)
{
    return blocks < SPADE_MAX_BLOCKS ? (unsigned)blocks : (unsigned)SPADE_MAX_BLOCKS;
}

} // namespace

int spade_launch_layer_norm(spade_stream stream, const spade_layer_norm_kernel *kernel, float *y)
{
    const spade_layer_norm_kernel k = *kernel;
    const dim3 block(LANES, WARPS);
    if (k.length > LONG) { return SPADE_LAUNCH(normalise<WARPS>, blocks_of(k.count), block, 0, stream, k, y); }
    return SPADE_LAUNCH(normalise<1>, blocks_of((k.count + WARPS - 1) / WARPS), block, 0, stream, k, y);
}

int spade_launch_layer_norm_backward(spade_stream stream, const spade_layer_norm_kernel *kernel, const float *dy,
                                     float *dx)
{
    const spade_layer_norm_kernel k = *kernel;
    const dim3 block(LANES, WARPS);
    if (k.length > LONG) {
        return SPADE_LAUNCH(normalise_backward<WARPS>, blocks_of(k.count), block, 0, stream, k, dy, dx);
    }
    return SPADE_LAUNCH(normalise_backward<1>, blocks_of((k.count + WARPS - 1) / WARPS), block, 0, stream, k, dy, dx);
}
