/*
 * pool.cu - maximum and average pooling, and their backward. The average over a whole image is a sum (reduce.cu).
 *
 * Division of work: threads stride over the elements of what is written, in the order of its memory; 4 neighbouring
 * channels each where both tensors have their channels last. The backward pass gathers: an element of dx looks at the
 * windows that hold it, in their order, so nothing is added atomically.
 *
 * `saved` is [n, out height, out width, channels] whatever the layouts: the number of the window's position that was
 * the maximum, the first of equals; all ones where no position lies in the image.
 */
#include <math.h>

#include "kernels/index.cuh"

namespace
{

struct place {
    int64_t n, channel, h, w; /* channel: the first of a thread's */
};

/* Item i of a tensor [n, channels, height, width] with `width_of` channels an item. */
template <int Width>
__device__ place locate(int64_t i, int64_t channels, int64_t height, int64_t width, bool channels_last)
{
    place p;
    if (channels_last) {
        i = spade_divide(i, channels / Width, &p.channel);
        p.channel *= Width;
        i = spade_divide(i, width, &p.w);
        p.n = spade_divide(i, height, &p.h);
    } else {
        i = spade_divide(i, width, &p.w);
        i = spade_divide(i, height, &p.h);
        p.n = spade_divide(i, channels, &p.channel);
    }
    return p;
}

__device__ int64_t offset(const int64_t (&strides)[4], const place &p)
{
    return p.n * strides[0] + p.channel * strides[1] + p.h * strides[2] + p.w * strides[3];
}

/* The positions first .. end-1 of a window that lie in the image, along one axis. `start`: where the window begins. */
__device__ void clip(int64_t start, int64_t dilation, int64_t kernel, int64_t size, int64_t *first, int64_t *end)
{
    int64_t to = size <= start ? 0 : (size - start + dilation - 1) / dilation;
    *first = start >= 0 ? 0 : (-start + dilation - 1) / dilation;
    *end = to < kernel ? to : kernel;
    *end = *end > *first ? *end : *first;
}

template <int Width, typename Saved>
__device__ void largest(const spade_pool_kernel &k, const float *x, int64_t i, Saved *saved, float *y)
{
    const place out = locate<Width>(i, k.channels, k.out[0], k.out[1], k.y_last);
    const int64_t top = out.h * k.stride[0] - k.pad[0], left = out.w * k.stride[1] - k.pad[1];
    int64_t row, row_end, first, column_end;
    float best[Width], value[Width];
    Saved which[Width];
    clip(top, k.dilation[0], k.kernel[0], k.in[0], &row, &row_end);
    clip(left, k.dilation[1], k.kernel[1], k.in[1], &first, &column_end);
    const bool any = row < row_end && first < column_end;
    for (int j = 0; j < Width; j++) {
        best[j] = -INFINITY;
        which[j] = any ? (Saved)(row * k.kernel[1] + first) : (Saved)-1;
    }
    for (; row < row_end; row++) {
        for (int64_t column = first; column < column_end; column++) {
            const place in = {out.n, out.channel, top + row * k.dilation[0], left + column * k.dilation[1]};
            spade_load(x + offset(k.x_strides, in), value);
            for (int j = 0; j < Width; j++) {
                /* NaN is larger than all */
                if (value[j] > best[j] || value[j] != value[j]) { best[j] = value[j], which[j] = (Saved)(row * k.kernel[1] + column); }
            }
        }
    }
    spade_store(y + offset(k.y_strides, out), best);
    if (!saved) { return; }
    Saved *to = saved + ((out.n * k.out[0] + out.h) * k.out[1] + out.w) * k.channels + out.channel;
    for (int j = 0; j < Width; j++) { to[j] = which[j]; }
}

template <int Width> __device__ void average(const spade_pool_kernel &k, const float *x, int64_t i, float *y)
{
    const place out = locate<Width>(i, k.channels, k.out[0], k.out[1], k.y_last);
    const int64_t top = out.h * k.stride[0] - k.pad[0], left = out.w * k.stride[1] - k.pad[1];
    int64_t first_row, row_end, first, column_end;
    float sum[Width] = {}, value[Width];
    clip(top, k.dilation[0], k.kernel[0], k.in[0], &first_row, &row_end);
    clip(left, k.dilation[1], k.kernel[1], k.in[1], &first, &column_end);
    for (int64_t row = first_row; row < row_end; row++) {
        for (int64_t column = first; column < column_end; column++) {
            const place in = {out.n, out.channel, top + row * k.dilation[0], left + column * k.dilation[1]};
            spade_load(x + offset(k.x_strides, in), value);
            for (int j = 0; j < Width; j++) { sum[j] += value[j]; }
        }
    }
    const int64_t inside = (row_end - first_row) * (column_end - first);
    const float count = (float)(k.count_padding ? k.kernel[0] * k.kernel[1] : inside);
    for (int j = 0; j < Width; j++) { sum[j] /= count; }
    spade_store(y + offset(k.y_strides, out), sum);
}

/* Positions of the average's window at output (p, q) that lie in the image: what its sum was divided by. */
__device__ float divisor(const spade_pool_kernel &k, int64_t p, int64_t q)
{
    int64_t row, row_end, column, column_end;
    if (k.count_padding) { return (float)(k.kernel[0] * k.kernel[1]); }
    clip(p * k.stride[0] - k.pad[0], k.dilation[0], k.kernel[0], k.in[0], &row, &row_end);
    clip(q * k.stride[1] - k.pad[1], k.dilation[1], k.kernel[1], k.in[1], &column, &column_end);
    return (float)((row_end - row) * (column_end - column));
}

/* Outputs first .. last whose windows reach over `position` (counted with the padding), along one axis. */
__device__ void windows_over(const spade_pool_kernel &k, int axis, int64_t position, int64_t *first, int64_t *last)
{
    const int64_t before = position - (k.kernel[axis] - 1) * k.dilation[axis];
    const int64_t to = position / k.stride[axis];
    *first = before <= 0 ? 0 : (before + k.stride[axis] - 1) / k.stride[axis];
    *last = to < k.out[axis] - 1 ? to : k.out[axis] - 1;
}

template <int Width, typename Saved>
__device__ void gather(const spade_pool_kernel &k, const float *dy, const Saved *saved, int64_t i, float *dx)
{
    const place in = locate<Width>(i, k.channels, k.in[0], k.in[1], k.x_last);
    const int64_t h = in.h + k.pad[0], w = in.w + k.pad[1];
    int64_t p, p_last, q_first, q_last, rest;
    float sum[Width] = {}, value[Width];
    windows_over(k, 0, h, &p, &p_last);
    windows_over(k, 1, w, &q_first, &q_last);
    for (; p <= p_last; p++) {
        const int64_t row = spade_divide(h - p * k.stride[0], k.dilation[0], &rest);
        if (rest) { continue; }
        for (int64_t q = q_first; q <= q_last; q++) {
            const int64_t column = spade_divide(w - q * k.stride[1], k.dilation[1], &rest);
            if (rest) { continue; }
            const place out = {in.n, in.channel, p, q};
            spade_load(dy + offset(k.y_strides, out), value);
            if (saved) {
                const Saved *from = saved + ((in.n * k.out[0] + p) * k.out[1] + q) * k.channels + in.channel;
                const Saved here = (Saved)(row * k.kernel[1] + column);
                for (int j = 0; j < Width; j++) { sum[j] += from[j] == here ? value[j] : 0; }
            } else {
                const float count = divisor(k, p, q);
                for (int j = 0; j < Width; j++) { sum[j] += value[j] / count; }
            }
        }
    }
    spade_store(dx + offset(k.x_strides, in), sum);
}

template <int Width, typename Saved>
__global__ void pool(const __grid_constant__ spade_pool_kernel k, int64_t n, const float *x, Saved *saved, float *y)
{
    SPADE_EACH(i, n)
    {
        if (k.max) {
            largest<Width>(k, x, i, saved, y);
        } else {
            average<Width>(k, x, i, y);
        }
    }
}

template <int Width, typename Saved>
__global__ void pool_backward(const __grid_constant__ spade_pool_kernel k, int64_t n, const float *dy,
                              const Saved *saved, float *dx)
{
    SPADE_EACH(i, n)
    {
        gather<Width>(k, dy, saved, i, dx);
    }
}

/* The whole of a mean to every element that it was taken of. */
__global__ void spread(const __grid_constant__ spade_pool_kernel k, int64_t n, const float *dy, float *dx)
{
    const float count = (float)(k.in[0] * k.in[1]);
    SPADE_EACH(i, n)
    {
        place p = locate<1>(i, k.channels, k.in[0], k.in[1], k.x_last);
        dx[i] = dy[p.n * k.y_strides[0] + p.channel * k.y_strides[1]] / count;
    }
}

bool quads(const spade_pool_kernel &k, const void *x, const void *y)
{
    return k.x_last && k.y_last && k.channels % 4 == 0 && (uintptr_t)x % 16 == 0 && (uintptr_t)y % 16 == 0;
}

template <typename Saved>
int launch_pool(spade_stream stream, const spade_pool_kernel &k, const float *x, Saved *saved, float *y)
{
    int64_t n = k.n * k.channels * k.out[0] * k.out[1];
    return quads(k, x, y)
               ? SPADE_LAUNCH_INDEPENDENT((pool<4, Saved>), spade_blocks(n / 4), SPADE_THREADS, stream, k, n / 4, x,
                                          saved, y)
               : SPADE_LAUNCH_INDEPENDENT((pool<1, Saved>), spade_blocks(n), SPADE_THREADS, stream, k, n, x, saved, y);
}

template <typename Saved>
int launch_backward(spade_stream stream, const spade_pool_kernel &k, const float *dy, const Saved *saved, float *dx)
{
    int64_t n = k.n * k.channels * k.in[0] * k.in[1];
    return quads(k, dx, dy) ? SPADE_LAUNCH_INDEPENDENT((pool_backward<4, Saved>), spade_blocks(n / 4), SPADE_THREADS,
                                                       stream, k, n / 4, dy, saved, dx)
                            : SPADE_LAUNCH_INDEPENDENT((pool_backward<1, Saved>), spade_blocks(n), SPADE_THREADS,
                                                       stream, k, n, dy, saved, dx);
}

/* Positions of a window are numbered in one byte where they fit beside the mark of none. */
bool saved_in_bytes(const spade_pool_kernel &k)
{
    return k.kernel[0] * k.kernel[1] <= UINT8_MAX;
}

} // namespace

size_t spade_kernel_pool_saved_bytes(const spade_pool_kernel *kernel)
{
    size_t outputs = (size_t)(kernel->n * kernel->channels * kernel->out[0] * kernel->out[1]);
    return outputs * (saved_in_bytes(*kernel) ? sizeof(uint8_t) : sizeof(uint32_t));
}

int spade_launch_pool(spade_stream stream, const spade_pool_kernel *kernel, const float *x, void *saved, float *y)
{
    return saved_in_bytes(*kernel) ? launch_pool(stream, *kernel, x, static_cast<uint8_t *>(saved), y)
                                   : launch_pool(stream, *kernel, x, static_cast<uint32_t *>(saved), y);
}

int spade_launch_pool_backward(spade_stream stream, const spade_pool_kernel *kernel, const float *dy, const void *saved,
                               float *dx)
{
    return saved_in_bytes(*kernel) ? launch_backward(stream, *kernel, dy, static_cast<const uint8_t *>(saved), dx)
                                   : launch_backward(stream, *kernel, dy, static_cast<const uint32_t *>(saved), dx);
}

int spade_launch_spread_mean(spade_stream stream, const spade_pool_kernel *kernel, const float *dy, float *dx)
{
    int64_t n = kernel->n * kernel->channels * kernel->in[0] * kernel->in[1];
    return SPADE_LAUNCH_INDEPENDENT(spread, spade_blocks(n), SPADE_THREADS, stream, *kernel, n, dy, dx);
}
