/*
 * spectral.cu - the spectral Hessian's kernels around its matrix products (backend/cuda/hessian/spectral.c): tables of
 * cosines and sines, pixels beside their neighbours at the borders, sums into the float64 accumulator, and H from the
 * accumulator of any lag form.
 */
#include "kernels/portable.cuh"

namespace
{

enum { MAX_BLOCKS = 1 << 16, COLUMNS = 64, POSITIONS = 4 };

unsigned blocks_of(int64_t items)
{
    return (unsigned)(items < 1 ? 1 : items < MAX_BLOCKS ? items : (int64_t)MAX_BLOCKS);
}

__host__ __device__ int half_lags(int reach_y, int reach_x)
{
    return ((2 * reach_y - 1) * (2 * reach_x - 1) + 1) / 2;
}

/* Half lag h -> D */
__device__ void half_lag(int reach_x, int h, int d[2])
{
    int row = 2 * reach_x - 1, at = reach_x - 1 + h; /* counted from D = (0, 1 - reach_x) */
    d[0] = at / row;
    d[1] = at % row - reach_x + 1;
}

__device__ int64_t pair_count(int channels)
{
    return (int64_t)channels * (channels + 1) / 2;
}

/* Pair c <= d */
__device__ int64_t pair_index(int channels, int c, int d)
{
    return (int64_t)c * channels - (int64_t)c * (c - 1) / 2 + d - c;
}

/* ---- tables */

/* 2 (k j mod n) / n: the angle of e^(2 pi i k j / n) in half turns */
__device__ double half_turns(int k, int j, int n)
{
    int64_t at = (int64_t)k * j % n;
    return 2.0 * (double)(at < 0 ? at + n : at) / n;
}

/* A thread per number of the three tables, one after the other. */
template <typename T> __global__ void tables(spade_spectral_kernel s, T *rows, T *columns, T *fold)
{
    int frequencies = s.length[0] / 2 + 1, half = half_lags(s.reach[0], s.reach[1]);
    int64_t n = 2 * (int64_t)frequencies * s.size[0], m = 4 * (int64_t)s.length[1] * s.size[1];
    int64_t spectrum = (int64_t)frequencies * s.length[1], all = n + m + 2 * half * spectrum;
    SPADE_EACH(at, all)
    {
        if (at < n) {
            double angle = half_turns((int)(at / s.size[0] / 2), (int)(at % s.size[0]), s.length[0]);
            rows[at] = (T)(at / s.size[0] % 2 ? -sinpi(angle) : cospi(angle));
        } else if (at < n + m) {
            int64_t i = at - n, line = i / s.size[1];
            double angle = half_turns((int)(line / 2 % s.length[1]), (int)(i % s.size[1]), s.length[1]);
            bool imaginary = line / 2 >= s.length[1], of_imaginary = line % 2;
            columns[i] = (T)(imaginary == of_imaginary ? cospi(angle) : imaginary ? -sinpi(angle) : sinpi(angle));
        } else {
            int64_t i = at - n - m, f = i % spectrum;
            int fy = (int)(f / s.length[1]), fx = (int)(f % s.length[1]), d[2];
            half_lag(s.reach[1], (int)(i / spectrum % half), d);
            double angle = half_turns(fy, d[0], s.length[0]) + half_turns(fx, d[1], s.length[1]);
            /* the rows of frequencies that are not there are conjugates of these */
            double weight = (2 * fy % s.length[0] ? 2.0 : 1.0) / ((double)s.length[0] * s.length[1]);
            fold[i] = (T)(weight * (i < half * spectrum ? cospi(angle) : -sinpi(angle)));
        }
    }
}

__global__ void widen(int64_t n, const float *x, double *y)
{
    SPADE_EACH(i, n)
    {
        y[i] = (double)x[i];
    }
}

/* ---- sums into the accumulator */

/* A block per group, half lag and channel c; threads stride over the channels d >= c. */
template <typename T>
__global__ void add_spectral(int groups, int channels, int64_t count, int half, int64_t middle, const T *cosine,
                             const T *sine, double alpha, double *accumulator)
{
    int64_t pairs = pair_count(channels), rows = (int64_t)half * groups * channels;
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        int c = (int)(row % channels), h = (int)(row / channels / groups), g = (int)(row / channels % groups);
        const T *s = sine + (row - c) * channels; /* [C, C] of this lag */
        double *lags = accumulator + (int64_t)g * count * pairs;
        for (int d = c + threadIdx.x; d < channels; d += blockDim.x) {
            double even = (double)cosine[row * channels + d];
            double odd = (double)s[(int64_t)c * channels + d] - (double)s[(int64_t)d * channels + c];
            int64_t pair = pair_index(channels, c, d);
            lags[(middle + h) * pairs + pair] += alpha * (even + odd);
            if (h) { lags[(middle - h) * pairs + pair] += alpha * (even - odd); }
        }
    }
}

/* Threads as in patches.cu's gather: 64 of them per pixel, which stride over its half lags and channels. */
template <typename T>
__global__ void gather_borders(const __grid_constant__ spade_border_kernel e, int groups, int channels, int height,
                               int width, const float *x, T *out)
{
    int row = half_lags(e.reach[0], e.reach[1]) * channels, area = e.size[0] * e.size[1];
    int64_t padded = (int64_t)e.chunk * e.chunks, all = (int64_t)groups * channels;
    int64_t pixels = e.parts * groups * padded * area;
    for (int64_t i = (int64_t)blockIdx.x * POSITIONS + threadIdx.y; i < pixels; i += (int64_t)gridDim.x * POSITIONS) {
        int at = (int)(i % area), y = at / e.size[1], left = at % e.size[1];
        int64_t image = i / area % padded;
        int block = (int)(i / area / padded), part = block / groups, group = block % groups;
        const float *corner = x + ((image * height + e.start[part][0]) * width + e.start[part][1]) * all;
        for (int j = threadIdx.x; j < row; j += COLUMNS) {
            int d[2];
            half_lag(e.reach[1], j / channels, d);
            d[0] += y;
            d[1] += left;
            bool inside = image < e.images && d[0] < e.size[0] && d[1] >= 0 && d[1] < e.size[1];
            out[i * row + j] =
                inside ? (T)corner[((int64_t)d[0] * width + d[1]) * all + group * channels + j % channels] : (T)0;
        }
    }
}

/* A block per part, group, half lag and channel c; threads stride over the channels d >= c. */
template <typename T>
__global__ void add_borders(const __grid_constant__ spade_border_kernel e, int groups, int channels, int64_t count,
                            const T *products, double alpha, double *accumulator)
{
    int half = half_lags(e.reach[0], e.reach[1]);
    int64_t pairs = pair_count(channels), size = (int64_t)channels * half * channels;
    int64_t rows = (int64_t)e.parts * groups * half * channels;
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        int c = (int)(row % channels), h = (int)(row / channels % half);
        int block = (int)(row / channels / half), g = block % groups;
        int64_t middle = e.middle[block / groups];
        const T *product = products + (int64_t)block * e.chunks * size;
        double *lags = accumulator + (int64_t)g * count * pairs;
        for (int d = c + threadIdx.x; d < channels; d += blockDim.x) {
            double forward = 0, back = 0;
            for (int chunk = 0; chunk < e.chunks; chunk++) {
                forward += (double)product[chunk * size + ((int64_t)c * half + h) * channels + d];
                back += (double)product[chunk * size + ((int64_t)d * half + h) * channels + c];
            }
            int64_t pair = pair_index(channels, c, d);
            lags[(middle + h) * pairs + pair] += alpha * forward;
            if (h) { lags[(middle - h) * pairs + pair] += alpha * back; }
        }
    }
}

/* ---- H */

/* Rows (columns) that offset d reads: [begin, end) */
__device__ void window_of(const spade_lag_axis_kernel &a, int d, int *begin, int *end)
{
    int low = d - a.pad, high = d - a.pad + a.output;
    *begin = low < 0 ? 0 : low < a.size ? low : a.size;
    high = high < a.size ? high : a.size;
    *end = high > *begin ? high : *begin;
}

/* A thread per channel and offset: the cells inside the offset's window. */
__global__ void read_diagonal(const __grid_constant__ spade_autocorrelation_kernel lags, const double *accumulator,
                              int group, int first, int offsets, double *out)
{
    int64_t n = (int64_t)lags.channels * offsets, all = (int64_t)lags.groups * lags.channels;
    const double *cells = accumulator + lags.groups * lags.count * pair_count(lags.channels);
    SPADE_EACH(i, n)
    {
        int c = group * lags.channels + (int)(i / offsets), offset = first + (int)(i % offsets), begin[2], end[2];
        double sum = 0;
        window_of(lags.axis[0], offset / lags.axis[1].kernel, &begin[0], &end[0]);
        window_of(lags.axis[1], offset % lags.axis[1].kernel, &begin[1], &end[1]);
        for (int y = 0; y < lags.axis[0].cells; y++) {
            int row = lags.axis[0].cell_start[y];
            for (int x = 0; row >= begin[0] && row < end[0] && x < lags.axis[1].cells; x++) {
                int column = lags.axis[1].cell_start[x];
                if (column >= begin[1] && column < end[1]) { sum += cells[(y * lags.axis[1].cells + x) * all + c]; }
            }
        }
        out[i * (n + 1)] = sum;
    }
}

/* The parts of one axis that a pair of offsets needs: whole; first t; last t; -1: not that one. */
__device__ void parts_of_pair(const spade_lag_axis_kernel &a, int d, int e, int parts[3])
{
    int low = d < e ? d : e, high = d < e ? e : d;
    int first = high - a.pad < a.cut[0] ? high - a.pad : a.cut[0];
    int last = a.cut[1] - low < a.cut[1] ? a.cut[1] - low : a.cut[1];
    parts[0] = 0;
    parts[1] = low > a.pad ? first : -1;
    parts[2] = high < a.cut[1] ? a.cut[0] + last : -1;
}

/* One number of H: channels c <= d at kernel positions t, u. lags: of the group. */
__device__ double read_pair(const spade_autocorrelation_kernel &lags, const double *numbers, int64_t pair,
                            int64_t pairs, int t, int u)
{
    const spade_lag_axis_kernel *a = lags.axis;
    int rows[3], columns[3], lag[2] = {u / a[1].kernel - t / a[1].kernel, u % a[1].kernel - t % a[1].kernel};
    parts_of_pair(a[0], t / a[1].kernel, u / a[1].kernel, rows);
    parts_of_pair(a[1], t % a[1].kernel, u % a[1].kernel, columns);
    int width = a[1].first_lag[a[1].parts];
    double sum = 0;
    for (int y = 0; y < 3; y++) {
        if (rows[y] < 0) { continue; }
        int reach_y = a[0].kernel < a[0].extent[rows[y]] ? a[0].kernel : a[0].extent[rows[y]];
        if (lag[0] >= reach_y || -lag[0] >= reach_y) { continue; }
        for (int x = 0; x < 3; x++) {
            if (columns[x] < 0) { continue; }
            int reach_x = a[1].kernel < a[1].extent[columns[x]] ? a[1].kernel : a[1].extent[columns[x]];
            if (lag[1] >= reach_x || -lag[1] >= reach_x) { continue; }
            int64_t index = (int64_t)a[0].first_lag[rows[y]] * width +
                            (int64_t)(2 * reach_y - 1) * a[1].first_lag[columns[x]] +
                            (lag[0] + reach_y - 1) * (2 * reach_x - 1) + lag[1] + reach_x - 1;
            double value = numbers[index * pairs + pair];
            sum += (y > 0) == (x > 0) ? value : -value;
        }
    }
    return sum;
}

/*
 * A block per row (c, t) of H; threads stride over the columns (d, u) behind the diagonal, neighbours in neighbouring
 * channels d, as these lie side by side in the lags. The diagonal is there already: where it is zero, the input is
 * never read, and so are its row and column.
 */
__global__ void read_lags(const __grid_constant__ spade_autocorrelation_kernel lags, const double *accumulator,
                          int group, int first, int offsets, double *out)
{
    int64_t n = (int64_t)lags.channels * offsets, pairs = pair_count(lags.channels);
    const double *numbers = accumulator + (int64_t)group * lags.count * pairs;
    for (int64_t r = blockIdx.x; r < n; r += gridDim.x) {
        int c = (int)(r / offsets), t = (int)(r % offsets), wide = lags.channels - c;
        for (int64_t j = threadIdx.x; j < (int64_t)wide * offsets; j += blockDim.x) {
            int d = c + (int)(j % wide), u = (int)(j / wide);
            int64_t s = (int64_t)d * offsets + u;
            if (s <= r) { continue; }
            bool dead = out[r * (n + 1)] == 0 || out[s * (n + 1)] == 0;
            out[r * n + s] =
                dead ? 0 : read_pair(lags, numbers, pair_index(lags.channels, c, d), pairs, first + t, first + u);
        }
    }
}

} // namespace

int spade_launch_spectral_tables(spade_stream stream, spade_spectral_kernel transform, bool fp64, void *rows,
                                 void *columns, void *fold)
{
    int64_t frequencies = transform.length[0] / 2 + 1;
    int64_t size = 2 * frequencies * transform.size[0] + 4 * (int64_t)transform.length[1] * transform.size[1] +
                   2 * half_lags(transform.reach[0], transform.reach[1]) * frequencies * transform.length[1];
    if (fp64) {
        return SPADE_LAUNCH_INDEPENDENT(tables<double>, spade_blocks(size), SPADE_THREADS, stream, transform,
                                        (double *)rows, (double *)columns, (double *)fold);
    }
    return SPADE_LAUNCH_INDEPENDENT(tables<float>, spade_blocks(size), SPADE_THREADS, stream, transform, (float *)rows,
                                    (float *)columns, (float *)fold);
}

int spade_launch_widen(spade_stream stream, int64_t n, const float *x, double *y)
{
    return SPADE_LAUNCH_INDEPENDENT(widen, spade_blocks(n), SPADE_THREADS, stream, n, x, y);
}

int spade_launch_add_spectral(spade_stream stream, const spade_autocorrelation_kernel *lags, bool fp64,
                              const void *cosine, const void *sine, double alpha, double *accumulator)
{
    const spade_lag_axis_kernel *a = lags->axis; /* the whole image is the first part */
    int reach[2];
    for (int i = 0; i < 2; i++) { reach[i] = a[i].kernel < a[i].size ? a[i].kernel : a[i].size; }
    int half = half_lags(reach[0], reach[1]);
    unsigned blocks = blocks_of((int64_t)half * lags->groups * lags->channels);
    if (fp64) {
        return SPADE_LAUNCH_INDEPENDENT(add_spectral<double>, blocks, SPADE_THREADS, stream, lags->groups,
                                        lags->channels, lags->count, half, (int64_t)half - 1, (const double *)cosine,
                                        (const double *)sine, alpha, accumulator);
    }
    return SPADE_LAUNCH_INDEPENDENT(add_spectral<float>, blocks, SPADE_THREADS, stream, lags->groups, lags->channels,
                                    lags->count, half, (int64_t)half - 1, (const float *)cosine, (const float *)sine,
                                    alpha, accumulator);
}

int spade_launch_gather_borders(spade_stream stream, const spade_autocorrelation_kernel *lags,
                                spade_border_kernel borders, bool fp64, const float *x, void *out)
{
    int64_t pixels =
        (int64_t)borders.parts * lags->groups * borders.chunk * borders.chunks * borders.size[0] * borders.size[1];
    unsigned blocks = blocks_of((pixels + POSITIONS - 1) / POSITIONS);
    dim3 threads(COLUMNS, POSITIONS);
    int height = lags->axis[0].size, width = lags->axis[1].size;
    if (fp64) {
        return SPADE_LAUNCH_INDEPENDENT(gather_borders<double>, blocks, threads, stream, borders, lags->groups,
                                        lags->channels, height, width, x, (double *)out);
    }
    return SPADE_LAUNCH_INDEPENDENT(gather_borders<float>, blocks, threads, stream, borders, lags->groups,
                                    lags->channels, height, width, x, (float *)out);
}

int spade_launch_add_borders(spade_stream stream, const spade_autocorrelation_kernel *lags, spade_border_kernel borders,
                             bool fp64, const void *products, double alpha, double *accumulator)
{
    unsigned blocks = blocks_of((int64_t)borders.parts * lags->groups * half_lags(borders.reach[0], borders.reach[1]) *
                                lags->channels);
    if (fp64) {
        return SPADE_LAUNCH_INDEPENDENT(add_borders<double>, blocks, SPADE_THREADS, stream, borders, lags->groups,
                                        lags->channels, lags->count, (const double *)products, alpha, accumulator);
    }
    return SPADE_LAUNCH_INDEPENDENT(add_borders<float>, blocks, SPADE_THREADS, stream, borders, lags->groups,
                                    lags->channels, lags->count, (const float *)products, alpha, accumulator);
}

int spade_launch_read_lags(spade_stream stream, const spade_autocorrelation_kernel *lags, const double *accumulator,
                           int group, int first, int offsets, double *out)
{
    int64_t n = (int64_t)lags->channels * offsets;
    int result = SPADE_LAUNCH_INDEPENDENT(read_diagonal, spade_blocks(n), SPADE_THREADS, stream, *lags, accumulator,
                                          group, first, offsets, out);
    if (result) { return result; }
    return SPADE_LAUNCH_INDEPENDENT(read_lags, blocks_of(n), SPADE_THREADS, stream, *lags, accumulator, group, first,
                                    offsets, out);
}
