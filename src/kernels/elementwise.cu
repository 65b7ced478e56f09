/*
 * elementwise.cu - what goes with matrix products: weights' rows scaled, bias and relu; y = alpha x + beta y.
 *
 * Division of work, all kernels: threads stride over the elements, 4 neighbours (16 bytes) each where the arrays allow
 * it; neighbouring threads take neighbouring elements.
 */
#include "kernels/index.cuh"

namespace
{

/* What is done to each channel; scale and bias may be NULL. */
struct channel_map {
    int64_t channels, inner; /* inner: elements between channels */
    const float *scale, *bias;
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
            value[j] = m.bias ? value[j] + m.bias[c] : value[j];
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

bool quads(int64_t n, const void *x, const void *y)
{
    return n % 4 == 0 && ((uintptr_t)x | (uintptr_t)y) % 16 == 0;
}

int launch_channels(spade_stream stream, const channel_map &m, int64_t n, const float *x, float *y)
{
    bool whole = m.inner == 1 ? m.channels % 4 == 0 : m.inner % 4 == 0;
    return whole && quads(n, x, y)
               ? SPADE_LAUNCH_APART(map_channels<4>, spade_blocks(n / 4), SPADE_THREADS, stream, m, n / 4, x, y)
               : SPADE_LAUNCH_APART(map_channels<1>, spade_blocks(n), SPADE_THREADS, stream, m, n, x, y);
}

} // namespace

int spade_launch_scale_rows(spade_stream stream, int64_t rows, int64_t columns, const float *x, const float *scale,
                            float *y)
{
    return launch_channels(stream, {rows, columns, scale, nullptr, false}, rows * columns, x, y);
}

int spade_launch_bias_relu(spade_stream stream, int64_t n, int64_t channels, int64_t inner, const float *bias,
                           bool relu, float *y)
{
    return launch_channels(stream, {channels, inner, nullptr, bias, relu}, n, y, y);
}

int spade_launch_axpby(spade_stream stream, int64_t n, float alpha, const float *x, float beta, float *y)
{
    return quads(n, x, y)
               ? SPADE_LAUNCH_APART(axpby<4>, spade_blocks(n / 4), SPADE_THREADS, stream, n / 4, alpha, x, beta, y)
               : SPADE_LAUNCH_APART(axpby<1>, spade_blocks(n), SPADE_THREADS, stream, n, alpha, x, beta, y);
}
