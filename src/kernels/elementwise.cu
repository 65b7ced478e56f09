/*
 * elementwise.cu - functions of one element, y = relu(x * scale + shift) by channels, y = alpha x + beta y.
 *
 * Division of work, all kernels: threads stride over the elements, 4 neighbours (16 bytes) each where the arrays allow
 * it; neighbouring threads take neighbouring elements.
 */
#include "kernels/index.cuh"

namespace
{

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

template <int Width> __global__ void unary(spade_unary_kernel f, int64_t n, const float *x, float *y)
{
    SPADE_EACH(i, n)
    {
        float value[Width];
        spade_load(x + i * Width, value);
        for (int j = 0; j < Width; j++) { value[j] = apply(f, value[j]); }
        spade_store(y + i * Width, value);
    }
}

template <int Width>
__global__ void unary_backward(spade_unary_kernel f, int64_t n, const float *x, const float *dy, float *dx)
{
    SPADE_EACH(i, n)
    {
        float value[Width], gradient[Width];
        spade_load(x + i * Width, value);
        spade_load(dy + i * Width, gradient);
        for (int j = 0; j < Width; j++) { gradient[j] = apply_backward(f, value[j], gradient[j]); }
        spade_store(dx + i * Width, gradient);
    }
}

/* What is done to each channel; scale and shift may be NULL. */
struct channel_map {
    int64_t channels, inner; /* inner: elements between channels */
    const float *scale, *shift;
    bool relu;
};

template <int Width> __global__ void map_channels(channel_map m, int64_t n, const float *x, float *y)
{
    SPADE_EACH(i, n)
    {
        float value[Width];
        int64_t rest, channel;
        spade_divide(spade_divide(i * Width, m.inner, &rest), m.channels, &channel);
        spade_load(x + i * Width, value);
        for (int j = 0; j < Width; j++) {
            const int64_t c = channel + (m.inner == 1 ? j : 0); /* 4 neighbours: of one channel, or of 4 */
            value[j] = m.scale ? value[j] * m.scale[c] : value[j];
            value[j] = m.shift ? value[j] + m.shift[c] : value[j];
            value[j] = m.relu && value[j] < 0 ? 0 : value[j]; /* NaN stays NaN */
        }
        spade_store(y + i * Width, value);
    }
}

template <int Width> __global__ void axpby(int64_t n, float alpha, const float *x, float beta, float *y)
{
    SPADE_EACH(i, n)
    {
        float from[Width], to[Width] = {};
        spade_load(x + i * Width, from);
        if (beta != 0) { spade_load(y + i * Width, to); }
        for (int j = 0; j < Width; j++) { to[j] = beta == 0 ? alpha * from[j] : alpha * from[j] + beta * to[j]; }
        spade_store(y + i * Width, to);
    }
}

bool quads(int64_t n, const void *x, const void *y, const void *z)
{
    return n % 4 == 0 && ((uintptr_t)x | (uintptr_t)y | (uintptr_t)z) % 16 == 0;
}

int launch_channels(spade_stream stream, const channel_map &m, int64_t n, const float *x, float *y)
{
    bool whole = m.inner == 1 ? m.channels % 4 == 0 : m.inner % 4 == 0;
    return whole && quads(n, x, y, nullptr)
               ? SPADE_LAUNCH_APART(map_channels<4>, spade_blocks(n / 4), SPADE_THREADS, stream, m, n / 4, x, y)
               : SPADE_LAUNCH_APART(map_channels<1>, spade_blocks(n), SPADE_THREADS, stream, m, n, x, y);
}

} // namespace

int spade_launch_unary(spade_stream stream, spade_unary_kernel f, int64_t n, const float *x, float *y)
{
    return quads(n, x, y, nullptr)
               ? SPADE_LAUNCH_APART(unary<4>, spade_blocks(n / 4), SPADE_THREADS, stream, f, n / 4, x, y)
               : SPADE_LAUNCH_APART(unary<1>, spade_blocks(n), SPADE_THREADS, stream, f, n, x, y);
}

int spade_launch_unary_backward(spade_stream stream, spade_unary_kernel f, int64_t n, const float *x, const float *dy,
                                float *dx)
{
    return quads(n, x, dy, dx)
               ? SPADE_LAUNCH_APART(unary_backward<4>, spade_blocks(n / 4), SPADE_THREADS, stream, f, n / 4, x, dy, dx)
               : SPADE_LAUNCH_APART(unary_backward<1>, spade_blocks(n), SPADE_THREADS, stream, f, n, x, dy, dx);
}

int spade_launch_scale_shift(spade_stream stream, int64_t n, int64_t channels, int64_t inner, const float *x,
                             const float *scale, const float *shift, float *y)
{
    return launch_channels(stream, {channels, inner, scale, shift, false}, n, x, y);
}

int spade_launch_bias_relu(spade_stream stream, int64_t n, int64_t channels, int64_t inner, const float *bias,
                           bool relu, float *y)
{
    return launch_channels(stream, {channels, inner, nullptr, bias, relu}, n, y, y);
}

int spade_launch_axpby(spade_stream stream, int64_t n, float alpha, const float *x, float beta, float *y)
{
    return quads(n, x, y, nullptr)
               ? SPADE_LAUNCH_APART(axpby<4>, spade_blocks(n / 4), SPADE_THREADS, stream, n / 4, alpha, x, beta, y)
               : SPADE_LAUNCH_APART(axpby<1>, spade_blocks(n), SPADE_THREADS, stream, n, alpha, x, beta, y);
}
