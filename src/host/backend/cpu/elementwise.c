/* elementwise.c - scale and shift, unary functions and their derivatives (PyTorch's conventions at the corners). */
#include <math.h>

#include "backend/cpu/cpu.h"

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- y = x * scale[c] + shift[c] */

static void scale_rows(int64_t rows, int64_t channels, const float *x, const float *scale, const float *shift, float *y)
{
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels) {
        for (int64_t c = 0; c < channels; c++) { y[c] = shift ? x[c] * scale[c] + shift[c] : x[c] * scale[c]; }
    }
}

spade_status spade_cpu_scale_shift_run(spade_op *op, const spade_op_args *args)
{
    const spade_shape *shape = &op->desc.a;
    int64_t channels = shape->dims[1], n = spade_shape_size(shape), plane = n / (shape->dims[0] * channels);
    const float *x = args->a, *scale = args->b, *shift = args->bias;
    float *y = args->out;
    int threads = spade_cpu_threads(&op->device->base);
    if (shape->layout == SPADE_CHANNELS_LAST || plane == 1) {
        int64_t rows = n / channels, piece = SPADE_CPU_CHUNK / channels + 1;
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t r = 0; r < rows; r += piece) {
            scale_rows(least(piece, rows - r), channels, x + r * channels, scale, shift, y + r * channels);
        }
        return SPADE_OK;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t p = 0; p < shape->dims[0] * channels; p++) {
        float by = scale[p % channels], add = shift ? shift[p % channels] : 0;
        const float *from = x + p * plane;
        float *to = y + p * plane;
        for (int64_t i = 0; i < plane; i++) { to[i] = shift ? from[i] * by + add : from[i] * by; }
    }
    return SPADE_OK;
}

/* ---- y = f(x). Comparisons are written so that NaN stays NaN. */

static inline float clip(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

static inline float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static void apply(const spade_op_desc *d, int64_t n, const float *x, float *y)
{
    const float alpha = d->alpha, beta = d->beta;
    switch (d->function) {
    case SPADE_RELU:
        for (int64_t i = 0; i < n; i++) { y[i] = x[i] < 0 ? 0 : x[i]; }
        break;
    case SPADE_CLIP:
        for (int64_t i = 0; i < n; i++) { y[i] = clip(x[i], alpha, beta); }
        break;
    case SPADE_SIGMOID:
        for (int64_t i = 0; i < n; i++) { y[i] = sigmoid(x[i]); }
        break;
    case SPADE_HARD_SIGMOID:
        for (int64_t i = 0; i < n; i++) { y[i] = clip(alpha * x[i] + beta, 0, 1); }
        break;
    case SPADE_HARD_SWISH:
        for (int64_t i = 0; i < n; i++) { y[i] = x[i] * clip(x[i] + 3, 0, 6) / 6; }
        break;
    case SPADE_FUNCTION_COUNT: break;
    }
}

/* dx = dy * f'(x) */
static void apply_backward(const spade_op_desc *d, int64_t n, const float *x, const float *dy, float *dx)
{
    const float alpha = d->alpha, beta = d->beta;
    switch (d->function) {
    case SPADE_RELU:
        for (int64_t i = 0; i < n; i++) { dx[i] = x[i] > 0 ? dy[i] : 0; }
        break;
    case SPADE_CLIP:
        for (int64_t i = 0; i < n; i++) { dx[i] = x[i] >= alpha && x[i] <= beta ? dy[i] : 0; }
        break;
    case SPADE_SIGMOID:
        for (int64_t i = 0; i < n; i++) {
            float s = sigmoid(x[i]);
            dx[i] = dy[i] * (s * (1 - s));
        }
        break;
    case SPADE_HARD_SIGMOID:
        for (int64_t i = 0; i < n; i++) {
            float s = alpha * x[i] + beta;
            dx[i] = s > 0 && s < 1 ? dy[i] * alpha : 0;
        }
        break;
    case SPADE_HARD_SWISH:
        for (int64_t i = 0; i < n; i++) { dx[i] = x[i] < -3 ? 0 : x[i] <= 3 ? dy[i] * (x[i] / 3 + 0.5f) : dy[i]; }
        break;
    case SPADE_FUNCTION_COUNT: break;
    }
}

spade_status spade_cpu_unary_run(spade_op *op, const spade_op_args *args)
{
    int64_t n = spade_shape_size(&op->desc.a);
#pragma omp parallel for num_threads(spade_cpu_threads(&op->device->base)) schedule(static)
    for (int64_t i = 0; i < n; i += SPADE_CPU_CHUNK) {
        apply(&op->desc, least(SPADE_CPU_CHUNK, n - i), args->a + i, args->out + i);
    }
    return SPADE_OK;
}

spade_status spade_cpu_unary_backward_run(spade_op *op, const spade_op_args *args)
{
    int64_t n = spade_shape_size(&op->desc.a);
#pragma omp parallel for num_threads(spade_cpu_threads(&op->device->base)) schedule(static)
    for (int64_t i = 0; i < n; i += SPADE_CPU_CHUNK) {
        apply_backward(&op->desc, least(SPADE_CPU_CHUNK, n - i), args->a + i, args->dy + i, args->out + i);
    }
    return SPADE_OK;
}
