/*
 * resample.cu - 8-bit pictures: Pillow's antialiased resize of what a window of the result needs, bit by bit;
 * normalisation; floats of bytes. Compiled without contraction of a * b + c (cmake/cuda.cmake): the filters' weights
 * are backend/filter.c's.
 *
 *   workspace: | weights of the window's columns, rows | picture's rows, resized along themselves |
 *
 * Division of work
 *   filters: a thread computes the weights of one column or row of the window (float64, then fixed point).
 *   rows:    a thread makes one pixel of a picture's row, all colours: neighbours read neighbours.
 *   columns: a thread makes one pixel of the window, and its normalised floats.
 *   picture_floats: a thread turns 1 or 4 neighbouring bytes into floats.
 */
#include "kernels/filter.cuh"
#include "kernels/index.cuh"

namespace
{

enum { PRECISION_BITS = 32 - 8 - 2 }; /* Pillow's */

/* One axis of the window: weights [taps][outputs], first and count [outputs]. */
struct axis_filter {
    int32_t *weight, *first, *count;
    int64_t outputs;
};

__host__ __device__ int64_t axis_words(const spade_resample_kernel &k, int axis)
{
    return (k.end[axis] - k.begin[axis]) * (k.taps[axis] + 2);
}

/* axis: 0 rows, 1 columns */
__device__ axis_filter filter_of(const spade_resample_kernel &k, int32_t *tables, int axis)
{
    int32_t *table = tables + (axis ? axis_words(k, 0) : 0);
    const int64_t outputs = k.end[axis] - k.begin[axis];
    return {table, table + outputs * k.taps[axis], table + outputs * (k.taps[axis] + 1), outputs};
}

__global__ void filters(const __grid_constant__ spade_resample_kernel k, int32_t *tables)
{
    const int64_t down = k.end[0] - k.begin[0];
    SPADE_EACH(i, down + k.end[1] - k.begin[1])
    {
        const int axis = i >= down;
        const int64_t at = axis ? i - down : i;
        const axis_filter f = filter_of(k, tables, axis);
        spade_filter_device(k.cubic, k.in[axis], k.full[axis], k.begin[axis] + at, &f.first[at], &f.count[at],
                            [&](int64_t t, double weight) {
                                const double fixed = weight * (1 << PRECISION_BITS);
                                f.weight[t * f.outputs + at] = (int32_t)(fixed < 0.0 ? fixed - 0.5 : fixed + 0.5);
                            });
    }
}

__device__ uint8_t clip8(int32_t value)
{
    value >>= PRECISION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* picture -> middle [rows, columns of the window, 3] */
__global__ void rows(const __grid_constant__ spade_resample_kernel k, int32_t *tables, const uint8_t *picture,
                     uint8_t *middle)
{
    const axis_filter f = filter_of(k, tables, 1);
    SPADE_EACH(i, k.rows * f.outputs)
    {
        int64_t x, y = spade_divide(i, f.outputs, &x);
        const uint8_t *in = picture + ((k.first_row + y) * k.picture_width + f.first[x]) * 3;
        int32_t sum[3] = {1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1)};
        for (int t = 0; t < f.count[x]; t++, in += 3) {
            const int32_t weight = f.weight[t * f.outputs + x];
            for (int c = 0; c < 3; c++) { sum[c] += in[c] * weight; }
        }
        for (int c = 0; c < 3; c++) { middle[3 * i + c] = clip8(sum[c]); }
    }
}

/* A pixel of the resized picture. */
__device__ void resize_column(const spade_resample_kernel &k, int32_t *tables, const uint8_t *middle, int64_t row,
                              int64_t column, uint8_t (&rgb)[3])
{
    const axis_filter f = filter_of(k, tables, 0);
    const int64_t y = row - k.begin[0], columns = k.end[1] - k.begin[1];
    const uint8_t *in = middle + ((f.first[y] - k.first_row) * columns + column - k.begin[1]) * 3;
    int32_t sum[3] = {1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1)};
    for (int t = 0; t < f.count[y]; t++, in += 3 * columns) {
        const int32_t weight = f.weight[t * f.outputs + y];
        for (int c = 0; c < 3; c++) { sum[c] += in[c] * weight; }
    }
    for (int c = 0; c < 3; c++) { rgb[c] = clip8(sum[c]); }
}

__global__ void columns(const __grid_constant__ spade_resample_kernel k, int32_t *tables, const uint8_t *middle,
                        uint8_t *out, float *normalised)
{
    SPADE_EACH(i, k.size[0] * k.size[1])
    {
        int64_t x, y = spade_divide(i, k.size[1], &x);
        const int64_t row = y + k.first[0], column = x + k.first[1];
        uint8_t rgb[3] = {0, 0, 0};
        if (row >= k.begin[0] && row < k.end[0] && column >= k.begin[1] && column < k.end[1]) {
            resize_column(k, tables, middle, row, column, rgb);
        }
        for (int c = 0; c < 3; c++) { out[3 * i + c] = rgb[c]; }
        if (!normalised) { continue; }
        for (int c = 0; c < k.channels; c++) {
            normalised[k.plane[c] * k.size[0] * k.size[1] + i] = ((float)rgb[c] / 255.0f - k.mean[c]) / k.std[c];
        }
    }
}

template <int Width> __global__ void picture_floats(int64_t n, const uint8_t *picture, float *out)
{
    SPADE_EACH(group, n / Width)
    {
        float values[Width];
        if constexpr (Width == 4) {
            const uint32_t word = reinterpret_cast<const uint32_t *>(picture)[group];
            for (int i = 0; i < Width; i++) { values[i] = (float)(word >> 8 * i & 255) / 255.0f; }
        } else {
            values[0] = (float)picture[group] / 255.0f;
        }
        spade_store<Width>(out + group * Width, values);
    }
}

} // namespace

size_t spade_kernel_resample_bytes(const spade_resample_kernel *kernel)
{
    const spade_resample_kernel &k = *kernel;
    const int64_t tables = axis_words(k, 0) + axis_words(k, 1), middle = k.rows * (k.end[1] - k.begin[1]) * 3;
    return (size_t)tables * sizeof(int32_t) + (size_t)middle;
}

int spade_launch_resample(spade_stream stream, const spade_resample_kernel *kernel, const uint8_t *picture,
                          void *workspace, uint8_t *rgb, float *normalised)
{
    const spade_resample_kernel &k = *kernel;
    const int64_t lines = k.end[0] - k.begin[0] + k.end[1] - k.begin[1], pixels = k.rows * (k.end[1] - k.begin[1]);
    int32_t *tables = static_cast<int32_t *>(workspace);
    uint8_t *middle = static_cast<uint8_t *>(workspace);
    if (pixels) { /* else the window lies beside the picture, and all of it is black */
        middle += (axis_words(k, 0) + axis_words(k, 1)) * (int64_t)sizeof *tables;
        int error = SPADE_LAUNCH_INDEPENDENT(filters, spade_blocks(lines), SPADE_THREADS, stream, k, tables);
        if (error) { return error; }
        error = SPADE_LAUNCH_INDEPENDENT(rows, spade_blocks(pixels), SPADE_THREADS, stream, k, tables, picture, middle);
        if (error) { return error; }
    }
    return SPADE_LAUNCH_INDEPENDENT(columns, spade_blocks(k.size[0] * k.size[1]), SPADE_THREADS, stream, k, tables,
                                    middle, rgb, normalised);
}

int spade_launch_picture_floats(spade_stream stream, int64_t n, const uint8_t *picture, float *out)
{
    if (n % 4 == 0 && reinterpret_cast<uintptr_t>(picture) % 4 == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0) {
        return SPADE_LAUNCH_INDEPENDENT(picture_floats<4>, spade_blocks(n / 4), SPADE_THREADS, stream, n, picture, out);
    }
    return SPADE_LAUNCH_INDEPENDENT(picture_floats<1>, spade_blocks(n), SPADE_THREADS, stream, n, picture, out);
}
