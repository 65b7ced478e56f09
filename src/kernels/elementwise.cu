/*
 * elementwise.cu - functions of one element, y = x * scale + shift, y = alpha x + beta y.
 *
 * Division of work, all kernels: threads stride over the elements; neighbouring threads take neighbouring elements.
 */
#include "kernels/portable.cuh"

namespace {

/* backend.h's spade_function */
enum { RELU, CLIP, SIGMOID, HARD_SIGMOID, HARD_SWISH };

/* Comparisons are written so that NaN stays NaN. */
__device__ float clip(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

__device__ float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

__device__ float apply(const spade_unary_kernel &f, float x)
{
    switch (f.function) {
    case RELU: return x < 0 ? 0 : x;
    case CLIP: return clip(x, f.alpha, f.beta);
    case SIGMOID: return sigmoid(x);
    case HARD_SIGMOID: return clip(f.alpha * x + f.beta, 0, 1);
    default: return x * clip(x + 3, 0, 6) / 6;
    }
}

__device__ float apply_backward(const spade_unary_kernel &f, float x, float dy)
{
    switch (f.function) {
    case RELU: return x > 0 ? dy : 0;
    case CLIP: return x >= f.alpha && x <= f.beta ? dy : 0;
    case SIGMOID: {
        float s = sigmoid(x);
        return dy * (s * (1 - s));
    }
    case HARD_SIGMOID: {
        float s = f.alpha * x + f.beta;
        return s > 0 && s < 1 ? dy * f.alpha : 0;
    }
    default: return x < -3 ? 0 : x <= 3 ? dy * (x / 3 + 0.5f) : dy;
    }
}

__global__ void unary(spade_unary_kernel f, int64_t n, const float *x, float *y)
{
    SPADE_EACH(i, n) { y[i] = apply(f, x[i]); }
}

__global__ void unary_backward(spade_unary_kernel f, int64_t n, const float *x, const float *dy, float *dx)
{
    SPADE_EACH(i, n) { dx[i] = apply_backward(f, x[i], dy[i]); }
}

__global__ void scale_shift(int64_t n, int64_t channels, int64_t inner, const float *x, const float *scale,
                            const float *shift, float *y)
{
    SPADE_EACH(i, n)
    {
        int64_t c = i / inner % channels;
        y[i] = shift ? x[i] * scale[c] + shift[c] : x[i] * scale[c];
    }
}

__global__ void axpby(int64_t n, float alpha, const float *x, float beta, float *y)
{
    SPADE_EACH(i, n) { y[i] = beta == 0 ? alpha * x[i] : alpha * x[i] + beta * y[i]; }
}

} // namespace

int spade_launch_unary(spade_stream stream, spade_unary_kernel f, int64_t n, const float *x, float *y)
{
    return SPADE_LAUNCH_APART(unary, spade_blocks(n), SPADE_THREADS, stream, f, n, x, y);
}

int spade_launch_unary_backward(spade_stream stream, spade_unary_kernel f, int64_t n, const float *x, const float *dy,
                                float *dx)
{
    return SPADE_LAUNCH_APART(unary_backward, spade_blocks(n), SPADE_THREADS, stream, f, n, x, dy, dx);
}

int spade_launch_scale_shift(spade_stream stream, int64_t n, int64_t channels, int64_t inner, const float *x,
                             const float *scale, const float *shift, float *y)
{
    return SPADE_LAUNCH_APART(scale_shift, spade_blocks(n), SPADE_THREADS, stream, n, channels, inner, x, scale, shift,
                              y);
}

int spade_launch_axpby(spade_stream stream, int64_t n, float alpha, const float *x, float beta, float *y)
{
    return SPADE_LAUNCH_APART(axpby, spade_blocks(n), SPADE_THREADS, stream, n, alpha, x, beta, y);
}
