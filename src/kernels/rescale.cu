/*
 * rescale.cu - DeepLift between x and its partner x': partners exchanged; multipliers of softmax, layer normalisation and
 * maximum pooling. Sums are float64.
 *
 * Division of work: the exchange is a copy, an element a thread. A line of a softmax, or a row of a normalisation, is a
 * warp's, whose lanes stride over it and meet in shuffles, WARPS of them a block. Pooling gathers: a thread has an element of
 * dx and looks at the windows that hold it, in their order, so nothing is added atomically.
 */
#include <math.h>

#include "kernels/index.cuh"

namespace
{

enum { LANES = 32, WARPS = 8 };

__device__ double sum_of(double value)
{
    for (int mask = LANES / 2; mask; mask /= 2) { value += __shfl_xor_sync(0xffffffffu, value, mask); }
    return value;
}

__device__ float largest_of(float value)
{
    for (int mask = LANES / 2; mask; mask /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, value, mask);
        value = other > value ? other : value;
    }
    return value;
}

__global__ void swap(int64_t n, int64_t length, const float *x, float *y)
{
    SPADE_EACH(i, n)
    {
        int64_t rest;
        const int64_t piece = spade_divide(i, length, &rest);
        y[i] = x[(piece ^ 1) * length + rest];
    }
}

/* ---- softmax */

/* (a - b) / (log a - log b), where that difference is `apart`. */
__device__ double logarithmic_mean(double a, double b, double apart)
{
    if (a == 0.0 && b == 0.0) { return 0.0; }
    return fabs(apart) > 1e-3 ? (a - b) / apart : sqrt(a * b) * (1.0 + apart * apart / 24.0);
}

/* The logarithm of the sum of e^x over a line; 0 where it is masked whole, of -inf alone. */
__device__ double log_sum(const spade_lines_kernel &l, const float *x)
{
    float largest = x[0];
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < l.length; i += LANES) {
        largest = x[i * l.step] > largest ? x[i * l.step] : largest;
    }
    largest = largest_of(largest);
    if (largest == -INFINITY) { return 0.0; }
    for (int64_t i = threadIdx.x; i < l.length; i += LANES) { sum += exp((double)x[i * l.step] - (double)largest); }
    return (double)largest + log(sum_of(sum));
}

/* y = exp(x - L), L = log(S), S = sum of e = exp(x): each step's slope is a logarithmic mean (the CPU's rescale.c). */
__global__ void softmax(spade_lines_kernel l, const float *all, const float *others, const float *dys, float *dxs)
{
    for (int64_t line = (int64_t)blockIdx.x * WARPS + threadIdx.y; line < l.count; line += (int64_t)gridDim.x * WARPS) {
        int64_t inner, outer = spade_divide(line, l.step, &inner);
        const int64_t begin = outer * l.length * l.step + inner;
        const float *x = all + begin, *other = others + begin, *dy = dys + begin;
        const double log_s = log_sum(l, x), other_log_s = log_sum(l, other), apart = log_s - other_log_s;
        const double top = log_s > other_log_s ? log_s : other_log_s; /* neither e nor sums overflow */
        const double mean_sum = logarithmic_mean(exp(log_s - top), exp(other_log_s - top), apart);
        double product = 0.0;
        for (int64_t i = threadIdx.x; i < l.length; i += LANES) {
            const double a = x[i * l.step] - log_s, b = other[i * l.step] - other_log_s;
            product += dy[i * l.step] * logarithmic_mean(exp(a), exp(b), a - b);
        }
        product = sum_of(product);
        for (int64_t i = threadIdx.x; i < l.length; i += LANES) {
            const double u = x[i * l.step], v = other[i * l.step];
            const double y = exp(u - log_s), other_y = exp(v - other_log_s);
            const double own = logarithmic_mean(y, other_y, u - log_s - (v - other_log_s));
            const double share = logarithmic_mean(exp(u - top), exp(v - top), u - v) / mean_sum; /* of L */
            dxs[begin + i * l.step] = (float)(own * dy[i * l.step] - share * product);
        }
    }
}

/* ---- layer normalisation */

__device__ double mean_of(int64_t n, const float *x)
{
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += LANES) { sum += x[i]; }
    return sum_of(sum) / (double)n;
}

/* y = c r, r = V^(-1/2), V = mean(c^2) + epsilon */
__global__ void layer_norm(spade_layer_norm_kernel k, const float *others, const float *dys, float *dxs)
{
    const int64_t n = k.length;
    for (int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.y; row < k.count; row += (int64_t)gridDim.x * WARPS) {
        const float *x = k.x + row * n, *other = others + row * n, *dy = dys + row * n;
        const double mean = k.root_mean_square ? 0.0 : mean_of(n, x);
        const double other_mean = k.root_mean_square ? 0.0 : mean_of(n, other);
        double squares = 0.0, other_squares = 0.0, product = 0.0, gradient = 0.0;
        for (int64_t i = threadIdx.x; i < n; i += LANES) {
            const double c = x[i] - mean, other_c = other[i] - other_mean;
            const double g = (double)dy[i] * (k.scale ? k.scale[i] : 1);
            squares += c * c;
            other_squares += other_c * other_c;
            product += g * (c + other_c) / 2.0;
            gradient += g;
        }
        const double root = sqrt(sum_of(squares) / (double)n + k.epsilon);
        const double other_root = sqrt(sum_of(other_squares) / (double)n + k.epsilon);
        const double inverse = (1.0 / root + 1.0 / other_root) / 2.0;          /* mean of r */
        const double slope = -1.0 / (root * other_root * (root + other_root)); /* Dr / DV */
        product = sum_of(product);
        const double mean_gradient = sum_of(gradient) / (double)n;
        for (int64_t i = threadIdx.x; i < n; i += LANES) {
            const double sum = x[i] - mean + (other[i] - other_mean); /* their mean is 0, but for RMSNorm */
            const double g = (double)dy[i] * (k.scale ? k.scale[i] : 1) - (k.root_mean_square ? 0.0 : mean_gradient);
            dxs[row * n + i] = (float)(inverse * g + product * slope * sum / (double)n);
        }
    }
}

/* ---- maximum pooling */

/* Where the largest of a window's positions lies in an image and channel that begin at x; it holds one at least. */
__device__ int64_t largest_in(const spade_pool_kernel &k, const float *x, int64_t top, int64_t left)
{
    float best = -INFINITY;
    int64_t place = -1;
    for (int64_t i = 0; i < k.kernel[0]; i++) {
        const int64_t row = top + i * k.dilation[0];
        for (int64_t j = 0; j < k.kernel[1]; j++) {
            const int64_t column = left + j * k.dilation[1];
            if (row < 0 || row >= k.in[0] || column < 0 || column >= k.in[1]) { continue; }
            const int64_t at = row * k.x_strides[2] + column * k.x_strides[3];
            if (place < 0 || x[at] > best) { best = x[at], place = at; }
        }
    }
    return place;
}

/* Outputs first .. last whose windows may reach over `position` (counted with the padding), along one axis. */
__device__ void windows_over(const spade_pool_kernel &k, int axis, int64_t position, int64_t *first, int64_t *last)
{
    const int64_t before = position - (k.kernel[axis] - 1) * k.dilation[axis];
    const int64_t to = position / k.stride[axis];
    *first = before <= 0 ? 0 : (before + k.stride[axis] - 1) / k.stride[axis];
    *last = to < k.out[axis] - 1 ? to : k.out[axis] - 1;
}

/* What comes to one element from its windows. */
struct pooled {
    float sum;                  /* all windows' shares */
    float own, other, gradient; /* of the last window whose maximum of x, or of x', it is; the gradient */
};

__global__ void pool(const __grid_constant__ spade_pool_kernel k, bool last_window, int64_t n, const float *xs,
                     const float *others, const float *dys, float *dx)
{
    SPADE_EACH(i, n)
    {
        int64_t rest = i, image, channel, h, w, p, p_last, q_first, q_last;
        rest = spade_divide(rest, k.in[1], &w);
        rest = spade_divide(rest, k.in[0], &h);
        image = spade_divide(rest, k.channels, &channel);
        const int64_t first = image * k.x_strides[0] + channel * k.x_strides[1];
        const int64_t here = h * k.x_strides[2] + w * k.x_strides[3];
        const float *x = xs + first, *other = others + first;
        const float *dy = dys + image * k.y_strides[0] + channel * k.y_strides[1];
        const float apart = SPADE_ADD(x[here], -other[here]);
        const bool equal = fabsf(apart) < SPADE_SECANT_APART;
        pooled to = {};
        windows_over(k, 0, h + k.pad[0], &p, &p_last);
        windows_over(k, 1, w + k.pad[1], &q_first, &q_last);
        for (; p <= p_last; p++) {
            for (int64_t q = q_first; q <= q_last; q++) {
                const int64_t top = p * k.stride[0] - k.pad[0], left = q * k.stride[1] - k.pad[1];
                const int64_t own_place = largest_in(k, x, top, left), other_place = largest_in(k, other, top, left);
                if (own_place != here && other_place != here) { continue; }
                const float m = dy[p * k.y_strides[2] + q * k.y_strides[3]];
                const float y = x[own_place], other_y = other[other_place], larger = y > other_y ? y : other_y;
                if ((y >= other_y ? own_place : other_place) == here) {
                    to.sum += equal ? m : SPADE_MUL(m, SPADE_ADD(y, -other_y) / apart);
                }
                if (own_place == here) {
                    to.own = SPADE_MUL(m, SPADE_ADD(larger, -other_y));
                    to.gradient += m;
                }
                if (other_place == here) { to.other = SPADE_MUL(m, SPADE_ADD(y, -larger)); }
            }
        }
        dx[first + here] = !last_window ? to.sum : equal ? to.gradient : SPADE_ADD(to.own, to.other) / apart;
    }
}

unsigned warp_blocks(int64_t count)
{
    const int64_t blocks = (count + WARPS - 1) / WARPS;
    return blocks < SPADE_MAX_BLOCKS ? (unsigned)blocks : (unsigned)SPADE_MAX_BLOCKS;
}

} // namespace

int spade_launch_swap(spade_stream stream, int64_t n, int64_t length, const float *x, float *y)
{
    return SPADE_LAUNCH_INDEPENDENT(swap, spade_blocks(n), SPADE_THREADS, stream, n, length, x, y);
}

int spade_launch_softmax_rescale(spade_stream stream, spade_lines_kernel l, const float *x, const float *other,
                                 const float *dy, float *dx)
{
    return SPADE_LAUNCH(softmax, warp_blocks(l.count), dim3(LANES, WARPS), 0, stream, l, x, other, dy, dx);
}

int spade_launch_layer_norm_rescale(spade_stream stream, const spade_layer_norm_kernel *kernel, const float *other,
                                    const float *dy, float *dx)
{
    const spade_layer_norm_kernel k = *kernel;
    return SPADE_LAUNCH(layer_norm, warp_blocks(k.count), dim3(LANES, WARPS), 0, stream, k, other, dy, dx);
}

int spade_launch_pool_rescale(spade_stream stream, const spade_pool_kernel *kernel, bool last_window, const float *x,
                              const float *other, const float *dy, float *dx)
{
    const int64_t n = kernel->n * kernel->channels * kernel->in[0] * kernel->in[1];
    return SPADE_LAUNCH_INDEPENDENT(pool, spade_blocks(n), SPADE_THREADS, stream, *kernel, last_window, n, x, other, dy,
                                    dx);
}
