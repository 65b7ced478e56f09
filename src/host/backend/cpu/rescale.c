/*
 * rescale.c - what DeepLift asks of a device: partners exchanged; multipliers of softmax, layer normalisation and maximum
 * pooling between x and its partner x'. A line, a row or a group of channels of an image is one thread's; sums are float64
 * in its order.
 */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "backend/tensor_iterator.h"

/* ---- partners */

static spade_status run_swap(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    int64_t image = d->start; /* elements of a piece of an image */
    for (int i = d->axis + 1; i < d->a.rank; i++) { image *= d->a.dims[i]; }
    const int64_t pieces = spade_shape_size(&d->a) / image;
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t i = 0; i < pieces; i++) {
        memcpy(args->out + i * image, args->a + (i ^ 1) * image, sizeof(float) * (size_t)image);
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_swap_images_op = {.run = run_swap};

/*
 * ---- softmax: y = exp(x - L), L = log(S), S = sum of e = exp(x), each step by the rescale rule. Its slopes are logarithmic
 * means: of y and y' for the last exp, and of e and e' over that of S and S' for L; they stay between 0 and 1. (As e * (1 / S)
 * by the rule for products the multipliers are right as well, but cancel: as large as S / S'.)
 */

/* (a - b) / (log a - log b), where that difference is `apart`. */
static double logarithmic_mean(double a, double b, double apart)
{
    if (a == 0 && b == 0) { return 0; }
    return fabs(apart) > 1e-3 ? (a - b) / apart : sqrt(a * b) * (1 + apart * apart / 24);
}

/* L; a line that is masked whole, of -inf alone, has 0. */
static double log_sum(int64_t n, int64_t step, const float *x)
{
    double sum = 0;
    float largest = x[0];
    for (int64_t i = 1; i < n; i++) { largest = x[i * step] > largest ? x[i * step] : largest; }
    if (largest == -INFINITY) { return 0; }
    for (int64_t i = 0; i < n; i++) { sum += exp((double)x[i * step] - (double)largest); }
    return (double)largest + log(sum);
}

static void softmax_line(int64_t n, int64_t step, const float *x, const float *other, const float *dy, float *dx)
{
    const double log_s = log_sum(n, step, x), other_log_s = log_sum(n, step, other), apart = log_s - other_log_s;
    /* Both sums, over the larger of them: neither they nor e overflow. */
    const double top = log_s > other_log_s ? log_s : other_log_s;
    const double mean_sum = logarithmic_mean(exp(log_s - top), exp(other_log_s - top), apart);
    double product = 0;
    for (int64_t i = 0; i < n; i++) {
        const double a = x[i * step] - log_s, b = other[i * step] - other_log_s;
        product += dy[i * step] * logarithmic_mean(exp(a), exp(b), a - b);
    }
    for (int64_t i = 0; i < n; i++) {
        const double u = x[i * step], v = other[i * step], y = exp(u - log_s), other_y = exp(v - other_log_s);
        const double own = logarithmic_mean(y, other_y, u - log_s - (v - other_log_s));
        const double share = logarithmic_mean(exp(u - top), exp(v - top), u - v) / mean_sum; /* of L */
        dx[i * step] = (float)(own * dy[i * step] - share * product);
    }
}

static spade_status run_softmax(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    int64_t strides[SPADE_MAX_RANK];
    spade_shape_strides(&d->a, strides);
    const int64_t length = d->a.dims[d->axis], step = strides[d->axis], count = spade_shape_size(&d->a) / length;
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = i / step * length * step + i % step;
        softmax_line(length, step, args->a + at, args->b + at, args->dy + at, args->out + at);
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_softmax_rescale_op = {.run = run_softmax};

/* ---- layer normalisation: y = c r, r = V^(-1/2), V = mean(c^2) + epsilon */

static double mean_of(int64_t n, const float *x)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) { sum += x[i]; }
    return sum / (double)n;
}

static void layer_norm_row(const spade_op_desc *d, int64_t n, const float *x, const float *other, const float *scale,
                           const float *dy, float *dx)
{
    const double mean = d->root_mean_square ? 0 : mean_of(n, x);
    const double other_mean = d->root_mean_square ? 0 : mean_of(n, other);
    double squares = 0, other_squares = 0, product = 0, total = 0;
    for (int64_t i = 0; i < n; i++) {
        const double c = x[i] - mean, other_c = other[i] - other_mean, g = dy[i] * (scale ? (double)scale[i] : 1);
        squares += c * c;
        other_squares += other_c * other_c;
        product += g * (c + other_c) / 2;
    }
    const double root = sqrt(squares / (double)n + (double)d->epsilon);
    const double other_root = sqrt(other_squares / (double)n + (double)d->epsilon);
    const double inverse = (1 / root + 1 / other_root) / 2;              /* mean of r */
    const double slope = -1 / (root * other_root * (root + other_root)); /* Dr / DV */
    for (int64_t i = 0; !d->root_mean_square && i < n; i++) {
        const double sum = x[i] - mean + (other[i] - other_mean), g = dy[i] * (scale ? (double)scale[i] : 1);
        total += inverse * g + product * slope * sum / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        const double sum = x[i] - mean + (other[i] - other_mean), g = dy[i] * (scale ? (double)scale[i] : 1);
        dx[i] = (float)(inverse * g + product * slope * sum / (double)n - total / (double)n);
    }
}

static spade_status run_layer_norm(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    int64_t length = 1;
    for (int i = d->axis; i < d->a.rank; i++) { length *= d->a.dims[i]; }
    const int64_t count = spade_shape_size(&d->a) / length;
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t row = 0; row < count; row++) {
        const int64_t at = row * length;
        layer_norm_row(d, length, args->a + at, args->b + at, args->operands[0], args->dy + at, args->out + at);
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_layer_norm_rescale_op = {.run = run_layer_norm};

/* ---- maximum pooling */

enum { CHANNELS = 16 }; /* of one task */

typedef struct pool_pair {
    const spade_op_desc *desc;
    int64_t x_strides[SPADE_MAX_RANK], y_strides[SPADE_MAX_RANK];
    const float *x, *other, *dy;
    float *dx;
    /* Where only the last of overlapping windows counts, as large as x: what the windows hand to their maximum of x, to that
     * of x', and the gradient. */
    float *own_shares, *other_shares, *gradients;
} pool_pair;

/* The largest of each channel in a window of image and channels at `first`, and where; none: -1. */
static void find_maxima(const pool_pair *p, const float *x, int64_t first, int channels, int64_t top, int64_t left,
                        float *best, int64_t *place)
{
    const spade_window *w = &p->desc->window;
    for (int c = 0; c < channels; c++) { best[c] = -INFINITY, place[c] = -1; }
    for (int64_t i = 0; i < w->kernel[0]; i++) {
        const int64_t row = top + i * w->dilation[0];
        if (row < 0 || row >= p->desc->a.dims[2]) { continue; }
        for (int64_t j = 0; j < w->kernel[1]; j++) {
            const int64_t column = left + j * w->dilation[1];
            if (column < 0 || column >= p->desc->a.dims[3]) { continue; }
            const int64_t at = first + row * p->x_strides[2] + column * p->x_strides[3];
            for (int c = 0; c < channels; c++) {
                const int64_t here = at + c * p->x_strides[1];
                if (place[c] < 0 || x[here] > best[c]) { best[c] = x[here], place[c] = here; }
            }
        }
    }
}

/* One window hands on what it got, for one channel. */
static void hand_on(const pool_pair *p, float dy, float y, int64_t own, float other_y, int64_t other)
{
    if (own < 0) { return; }
    if (p->desc->last_window) {
        const float larger = y > other_y ? y : other_y;
        p->own_shares[own] = dy * (larger - other_y);
        p->other_shares[other] = dy * (y - larger);
        p->gradients[own] += dy;
        return;
    }
    const int64_t to = y >= other_y ? own : other;
    const float apart = p->x[to] - p->other[to];
    p->dx[to] += fabsf(apart) < SPADE_SECANT_APART ? dy : dy * ((y - other_y) / apart);
}

static void pool_channels(const pool_pair *p, int64_t image, int64_t channel, int channels)
{
    const spade_op_desc *d = p->desc;
    const int64_t x_first = image * p->x_strides[0] + channel * p->x_strides[1];
    const int64_t y_first = image * p->y_strides[0] + channel * p->y_strides[1];
    for (int64_t row = 0; row < d->y.dims[2]; row++) {
        for (int64_t column = 0; column < d->y.dims[3]; column++) {
            const int64_t top = row * d->window.stride[0] - d->window.pad[0];
            const int64_t left = column * d->window.stride[1] - d->window.pad[1];
            float y[CHANNELS], other_y[CHANNELS];
            int64_t own[CHANNELS], other[CHANNELS];
            find_maxima(p, p->x, x_first, channels, top, left, y, own);
            find_maxima(p, p->other, x_first, channels, top, left, other_y, other);
            const float *dy = p->dy + y_first + row * p->y_strides[2] + column * p->y_strides[3];
            for (int c = 0; c < channels; c++) {
                hand_on(p, dy[c * p->y_strides[1]], y[c], own[c], other_y[c], other[c]);
            }
        }
    }
}

static spade_status plan_pool(spade_op *op)
{
    if (op->desc.last_window) { op->workspace_bytes = 3 * sizeof(float) * (size_t)spade_shape_size(&op->desc.a); }
    return SPADE_OK;
}

static spade_status run_pool(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    const int64_t size = spade_shape_size(&d->a), groups = (d->a.dims[1] + CHANNELS - 1) / CHANNELS;
    pool_pair p = {.desc = d, .x = args->a, .other = args->b, .dy = args->dy, .dx = args->out};
    spade_shape_strides(&d->a, p.x_strides);
    spade_shape_strides(&d->y, p.y_strides);
    if (d->last_window) {
        p.own_shares = args->workspace;
        p.other_shares = p.own_shares + size;
        p.gradients = p.other_shares + size;
        memset(args->workspace, 0, op->workspace_bytes);
    } else {
        memset(args->out, 0, sizeof(float) * (size_t)size);
    }
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t task = 0; task < d->a.dims[0] * groups; task++) {
        const int64_t first = task % groups * CHANNELS, left = d->a.dims[1] - first;
        pool_channels(&p, task / groups, first, left < CHANNELS ? (int)left : CHANNELS);
    }
    for (int64_t i = 0; d->last_window && i < size; i++) {
        const float apart = p.x[i] - p.other[i];
        p.dx[i] = fabsf(apart) < SPADE_SECANT_APART ? p.gradients[i] : (p.own_shares[i] + p.other_shares[i]) / apart;
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_pool_rescale_op = {.plan = plan_pool, .run = run_pool};
