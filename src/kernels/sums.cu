/*
 * sums.cu - sums over rectangles of pixels of x_c(q) x_c(q + D): squares of cells, lags and pairs of offsets of one
 * channel with itself. Products and sums are float64.
 */
#include "kernels/portable.cuh"

namespace
{

enum { CHANNELS = 32, SLICES = 8 };

#if defined(SPADE_EMULATE)
#define UNROLL _Pragma("GCC unroll 64")
#else
#define UNROLL _Pragma("unroll")
#endif

/* Everything a sum needs to know; handed to the kernel by value. */
struct problem {
    spade_sums_kernel sums;
    spade_patch_kernel patches;
    spade_autocorrelation_kernel lags;
    int images, entries;
    int first; /* entries before it are another kernel's */
};

/* Pixels (y + i * step0, x + j * step1), i < rows, j < columns, times those `offset` numbers further on. */
struct rectangle {
    int y, x, rows, columns, step[2];
    int64_t offset;
};

__device__ int most(int a, int b)
{
    return a > b ? a : b;
}
__device__ int least(int a, int b)
{
    return a < b ? a : b;
}

__device__ rectangle cell(const problem &p, int entry)
{
    const spade_lag_axis_kernel *a = p.lags.axis;
    int row = entry / a[1].cells, column = entry % a[1].cells;
    rectangle r = {a[0].cell_start[row], a[1].cell_start[column], 0, 0, {1, 1}, 0};
    r.rows = a[0].cell_start[row + 1] - r.y;
    r.columns = a[1].cell_start[column + 1] - r.x;
    return r;
}

/* The part of an axis that the lag `at` of a row (column) of lags belongs to, and the lag. */
__device__ int part_of(const spade_lag_axis_kernel &a, int at)
{
    int part = 0;
    while (a.first_lag[part + 1] <= at) { part++; }
    return part;
}

/* The part and lag number `entry` of all; false: a mirror image of one behind it. */
struct lag {
    int part[2], reach[2], d[2];
    int64_t first; /* of the part */
};
__device__ lag lag_of(const problem &p, int64_t entry)
{
    const spade_lag_axis_kernel *a = p.lags.axis;
    lag l;
    /* rows of parts are apart by all lags of that row: (2 reach0 - 1) * (lags of the other axis) */
    int width = a[1].first_lag[a[1].parts];
    l.part[0] = part_of(a[0], (int)(entry / width));
    l.reach[0] = least(a[0].kernel, a[0].extent[l.part[0]]);
    int64_t rest = entry - (int64_t)a[0].first_lag[l.part[0]] * width;
    int rows = 2 * l.reach[0] - 1;
    l.part[1] = part_of(a[1], (int)(rest / rows));
    l.reach[1] = least(a[1].kernel, a[1].extent[l.part[1]]);
    l.first = (int64_t)a[0].first_lag[l.part[0]] * width + (int64_t)rows * a[1].first_lag[l.part[1]];
    int at = (int)(entry - l.first), row = 2 * l.reach[1] - 1;
    l.d[0] = at / row - l.reach[0] + 1;
    l.d[1] = at % row - l.reach[1] + 1;
    return l;
}

__device__ bool lag_rectangle(const problem &p, int entry, rectangle *r)
{
    lag l = lag_of(p, entry);
    if (l.d[0] < 0 || (l.d[0] == 0 && l.d[1] < 0)) { return false; }
    int left = most(-l.d[1], 0);
    *r = {p.lags.axis[0].start[l.part[0]],
          p.lags.axis[1].start[l.part[1]] + left,
          p.lags.axis[0].extent[l.part[0]] - l.d[0],
          p.lags.axis[1].extent[l.part[1]] - most(l.d[1], 0) - left,
          {1, 1},
          l.d[0] * p.patches.stride_h + l.d[1] * p.patches.stride_w};
    return true;
}

/* entry -> offset i and offset j >= i: entries count the upper triangle by columns */
__device__ void pair_of(int entry, int *i, int *j)
{
    *j = 0;
    while ((*j + 1) * (*j + 2) / 2 <= entry) { ++*j; }
    *i = entry - *j * (*j + 1) / 2;
}

/* Output positions at which both offsets lie inside the image. */
__device__ rectangle tap_rectangle(const problem &p, int entry)
{
    const spade_patch_kernel &q = p.patches;
    int i, j, first[2], count[2], d[2];
    pair_of(entry, &i, &j);
    for (int a = 0; a < 2; a++) {
        int di = (a ? i % q.kernel[1] : i / q.kernel[1]) * q.dilation[a] - q.pad[a];
        int dj = (a ? j % q.kernel[1] : j / q.kernel[1]) * q.dilation[a] - q.pad[a];
        int low = -least(di, dj), high = q.size[a] - most(di, dj); /* low <= output * stride < high */
        int begin = low > 0 ? (low + q.stride[a] - 1) / q.stride[a] : 0;
        int end = least(q.output[a], high > 0 ? (high + q.stride[a] - 1) / q.stride[a] : 0);
        first[a] = begin * q.stride[a] + di;
        count[a] = most(end - begin, 0);
        d[a] = dj - di;
    }
    return {first[0], first[1], count[0], count[1], {q.stride[0], q.stride[1]}, d[0] * q.stride_h + d[1] * q.stride_w};
}

/*
 * A block of (32 channels, 8 slices) per 32 channels, entry and image: slice s takes the pixels s, s + 8, ... of the
 * entry's rectangle; the slices are added in their order. -> partial [image][entry][channel]
 */
__global__ void sum_products(const __grid_constant__ problem p, double *partial)
{
    __shared__ double slices[SLICES][CHANNELS];
    int all = p.patches.groups * p.patches.channels, entry = p.first + blockIdx.y;
    int c = blockIdx.x * CHANNELS + threadIdx.x, slice = threadIdx.y;
    rectangle r = {0, 0, 0, 0, {1, 1}, 0};
    if (p.sums == SPADE_SUMS_CELLS) {
        r = cell(p, entry);
    } else if (p.sums == SPADE_SUMS_OFFSET_PAIRS) {
        r = tap_rectangle(p, entry);
    } else if (!lag_rectangle(p, entry, &r)) {
        return; /* all threads of the block */
    }
    for (int image = blockIdx.z; image < p.images; image += gridDim.z) {
        const float *x = p.patches.x + image * p.patches.stride_n + c * p.patches.stride_c;
        double sum = 0;
        int column = slice, row = 0;
        while (c < all && r.columns > 0) {
            while (column >= r.columns) {
                column -= r.columns;
                row++;
            }
            if (row >= r.rows) { break; }
            const float *a =
                x + (r.y + row * r.step[0]) * p.patches.stride_h + (r.x + column * r.step[1]) * p.patches.stride_w;
            sum += (double)a[0] * (double)a[r.offset];
            column += SLICES;
        }
        slices[slice][threadIdx.x] = sum;
        __syncthreads();
        if (slice == 0 && c < all) {
            for (int s = 1; s < SLICES; s++) { sum += slices[s][threadIdx.x]; }
            partial[((int64_t)image * p.entries + entry) * all + c] = sum;
        }
        if (image + (int)gridDim.z < p.images) { __syncthreads(); } /* before slices are written again */
    }
}

/*
 * The two kernels below are the common cases of sum_products: all sums of one image at once, in registers, so that a
 * pixel is read once for all of them. A block of (32 channels, 8 slices) per 32 channels and image; slices are added in
 * their order.
 */
template <int COUNT>
__device__ void add_slices(const double (&sums)[COUNT], const int first, bool inside, double *partial, int64_t step)
{
    __shared__ double slices[SLICES][CHANNELS];
    int slice = threadIdx.y;
    UNROLL
    for (int i = 0; i < COUNT; i++) {
        slices[slice][threadIdx.x] = sums[i];
        __syncthreads();
        if (slice == 0 && inside) {
            double sum = sums[i];
            for (int s = 1; s < SLICES; s++) { sum += slices[s][threadIdx.x]; }
            partial[(first + i) * step] = sum;
        }
        __syncthreads();
    }
}

/* Half of the lags of the whole image, which is at least as large as the kernel, REACH x REACH. */
template <int REACH> __global__ void sum_whole_lags(const __grid_constant__ problem p, double *partial)
{
    constexpr int ROW = 2 * REACH - 1, HALF = (ROW * ROW + 1) / 2;
    const spade_patch_kernel &q = p.patches;
    int all = q.groups * q.channels, c = blockIdx.x * CHANNELS + threadIdx.x, area = q.size[0] * q.size[1];
    for (int image = blockIdx.z; image < p.images; image += gridDim.z) {
        const float *x = q.x + image * q.stride_n + c * q.stride_c;
        double sums[HALF] = {};
        for (int at = threadIdx.y; c < all && at < area; at += SLICES) {
            int row = at / q.size[1], column = at % q.size[1];
            const float *pixel = x + row * q.stride_h + column * q.stride_w;
            double value = (double)*pixel;
            UNROLL
            for (int h = 0; h < HALF; h++) {
                int down = (REACH - 1 + h) / ROW, right = (REACH - 1 + h) % ROW - REACH + 1;
                bool inside = row + down < q.size[0] && column + right >= 0 && column + right < q.size[1];
                if (inside) { sums[h] += value * (double)pixel[down * q.stride_h + right * q.stride_w]; }
            }
        }
        add_slices<HALF>(sums, HALF - 1, c < all, partial + (int64_t)image * p.entries * all + c, all);
    }
}

/* All pairs of offsets of a kernel EDGE x EDGE. */
template <int EDGE> __global__ void sum_tap_pairs(const __grid_constant__ problem p, double *partial)
{
    constexpr int OFFSET_PAIRS = EDGE * EDGE, PAIRS = OFFSET_PAIRS * (OFFSET_PAIRS + 1) / 2;
    const spade_patch_kernel &q = p.patches;
    int all = q.groups * q.channels, c = blockIdx.x * CHANNELS + threadIdx.x, area = q.output[0] * q.output[1];
    for (int image = blockIdx.z; image < p.images; image += gridDim.z) {
        const float *x = q.x + image * q.stride_n + c * q.stride_c;
        double sums[PAIRS] = {};
        for (int at = threadIdx.y; c < all && at < area; at += SLICES) {
            int top = at / q.output[1] * q.stride[0] - q.pad[0], left = at % q.output[1] * q.stride[1] - q.pad[1];
            double offsets[OFFSET_PAIRS];
            UNROLL
            for (int i = 0; i < OFFSET_PAIRS; i++) {
                int row = top + i / EDGE * q.dilation[0], column = left + i % EDGE * q.dilation[1];
                bool inside = row >= 0 && row < q.size[0] && column >= 0 && column < q.size[1];
                offsets[i] = inside ? (double)x[row * q.stride_h + column * q.stride_w] : 0;
            }
            UNROLL
            for (int j = 0; j < OFFSET_PAIRS; j++) {
                UNROLL
                for (int i = 0; i <= j; i++) { sums[j * (j + 1) / 2 + i] += offsets[i] * offsets[j]; }
            }
        }
        add_slices<PAIRS>(sums, 0, c < all, partial + (int64_t)image * p.entries * all + c, all);
    }
}

/* A thread per entry and channel, neighbours in neighbouring channels: images are added in their order. */
__global__ void add_partials(const __grid_constant__ problem p, double alpha, const double *partial,
                             double *accumulator)
{
    int all = p.patches.groups * p.patches.channels, offsets = p.patches.kernel[0] * p.patches.kernel[1];
    int64_t size = (int64_t)p.entries * all;
    SPADE_EACH(at, size)
    {
        int entry = (int)(at / all), source = entry, c = (int)(at % all);
        double *to = accumulator + at;
        if (p.sums == SPADE_SUMS_OFFSET_PAIRS) {
            int i, j;
            pair_of(entry, &i, &j);
            to = accumulator + ((int64_t)c * offsets + i) * offsets + j;
        } else if (p.sums == SPADE_SUMS_LAGS) {
            lag l = lag_of(p, entry);
            int last = (2 * l.reach[0] - 1) * (2 * l.reach[1] - 1) - 1, own = (int)(entry - l.first);
            source = (int)l.first + (2 * own < last ? last - own : own);
            to = accumulator + c * p.lags.count + entry;
        } else {
            int64_t pairs = (int64_t)p.lags.channels * (p.lags.channels + 1) / 2;
            to += p.lags.groups * p.lags.count * pairs;
        }
        double sum = 0;
        for (int image = 0; image < p.images; image++) {
            sum += partial[((int64_t)image * p.entries + source) * all + c];
        }
        *to += alpha * sum;
    }
}

} // namespace

int64_t spade_sums_entries(spade_sums_kernel sums, const spade_patch_kernel *patches,
                           const spade_autocorrelation_kernel *lags)
{
    int offsets = patches->kernel[0] * patches->kernel[1];
    switch (sums) {
    case SPADE_SUMS_CELLS: return (int64_t)lags->axis[0].cells * lags->axis[1].cells;
    case SPADE_SUMS_LAGS: return lags->count;
    default: return (int64_t)offsets * (offsets + 1) / 2;
    }
}

/* The entries that have a kernel of their own: the first ones, *first of them. */
static int launch_common(spade_stream stream, const problem &p, dim3 grid, double *partial, int *first)
{
    const spade_patch_kernel &q = p.patches;
    dim3 threads(CHANNELS, SLICES);
    int edge = q.kernel[0] == q.kernel[1] ? q.kernel[0] : 0;
    bool whole = p.sums == SPADE_SUMS_LAGS && q.size[0] >= edge && q.size[1] >= edge;
    grid.y = 1;
    *first = 0;
    if (p.sums == SPADE_SUMS_OFFSET_PAIRS && edge == 3) {
        *first = p.entries;
        return SPADE_LAUNCH(sum_tap_pairs<3>, grid, threads, 0, stream, p, partial);
    }
    if (whole && edge == 3) {
        *first = 5 * 5;
        return SPADE_LAUNCH(sum_whole_lags<3>, grid, threads, 0, stream, p, partial);
    }
    if (whole && edge == 5) {
        *first = 9 * 9;
        return SPADE_LAUNCH(sum_whole_lags<5>, grid, threads, 0, stream, p, partial);
    }
    return 0;
}

int spade_launch_sums(spade_stream stream, spade_sums_kernel sums, spade_patch_kernel patches,
                      const spade_autocorrelation_kernel *lags, int images, double alpha, double *partial,
                      double *accumulator)
{
    problem p = {sums, patches, {}, images, (int)spade_sums_entries(sums, &patches, lags), 0};
    if (lags) { p.lags = *lags; }
    int all = patches.groups * patches.channels;
    dim3 grid((unsigned)(all + CHANNELS - 1) / CHANNELS, 1, (unsigned)(images < 65535 ? images : 65535));
    int result = launch_common(stream, p, grid, partial, &p.first);
    if (!result && p.first < p.entries) {
        grid.y = (unsigned)(p.entries - p.first);
        result = SPADE_LAUNCH(sum_products, grid, dim3(CHANNELS, SLICES), 0, stream, p, partial);
    }
    if (result) { return result; }
    return SPADE_LAUNCH_INDEPENDENT(add_partials, spade_blocks((int64_t)p.entries * all), SPADE_THREADS, stream, p,
                                    alpha, (const double *)partial, accumulator);
}
