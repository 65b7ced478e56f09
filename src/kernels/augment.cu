/*
 * augment.cu - variants of a picture: crop and antialiased resize, flip, colour, normalise, erase, noise, straight from
 * the decoded picture to the variant's place in the batch. Parameters come by value, SPADE_AUGMENT_GROUP variants a
 * launch: nothing is uploaded, nothing waits.
 *
 * The steps, formulas and types are those of the CPU backend; this file is compiled without contraction of a * b + c
 * (cmake/cuda.cmake), so that a variant without noise is the CPU's, bit by bit, up to the mean of the contrast, whose
 * sum has another order.
 *
 * Division of work
 *   filters: a thread computes the weights of one output row or column of one variant (all in float64).
 *   pixels:  a thread makes one pixel, all colours: it sums over the filter's rows the sums over its columns. A middle
 *            picture between both directions would save at most half of these sums, and cost its memory and a pass.
 *   means:   contrast only. A block sums up one variant's grey; what `pixels` wrote so far waits in the batch itself.
 *   colours: contrast only. A thread finishes one pixel.
 */
#include <math.h>

#include "kernels/filter.cuh"
#include "kernels/index.cuh"
#include "kernels/philox.cuh"

namespace
{

/* Where one axis of a filter lies in the tables of a variant: [taps][outputs], so that neighbours read neighbours. */
struct axis_filter {
    const float *weight;
    const int32_t *first, *count;
    int64_t outputs;
};

/* A variant's tables: across, then down; weights [taps][size], then first [size], count [size]. */
__host__ __device__ int64_t axis_words(int64_t size, int64_t taps)
{
    return size * (taps + 2);
}

__device__ float *axis_table(const spade_augment_kernel &k, float *tables, int64_t variant, int axis)
{
    int64_t across = axis_words(k.width, k.taps[0]);
    return tables + variant * (across + axis_words(k.height, k.taps[1])) + (axis ? across : 0);
}

__device__ axis_filter filter_of(const spade_augment_kernel &k, const float *tables, int64_t variant, int axis)
{
    const int64_t outputs = axis ? k.height : k.width;
    const float *table = axis_table(k, const_cast<float *>(tables), variant, axis);
    const int32_t *first = reinterpret_cast<const int32_t *>(table + outputs * k.taps[axis]);
    return {table, first, first + outputs, outputs};
}

/* blockIdx.y: the variant. */
__global__ void filters(const __grid_constant__ spade_augment_kernel k, float *tables)
{
    const spade_variant_kernel &v = k.variants[blockIdx.y];
    SPADE_EACH(i, k.width + k.height)
    {
        const int axis = i >= k.width;
        const int64_t outputs = axis ? k.height : k.width, output = axis ? i - k.width : i;
        float *table = axis_table(k, tables, blockIdx.y, axis);
        int32_t *first = reinterpret_cast<int32_t *>(table + k.taps[axis] * outputs);
        spade_filter_device(false, axis ? v.height : v.width, outputs, output, &first[output], &first[outputs + output],
                            [&](int64_t t, double weight) { table[t * outputs + output] = (float)weight; });
    }
}

/* ---- a pixel */

__device__ void resize(const spade_augment_kernel &k, const float *tables, const float *picture, int64_t variant,
                       int64_t y, int64_t x, float (&rgb)[3])
{
    const spade_variant_kernel &v = k.variants[variant];
    const axis_filter across = filter_of(k, tables, variant, 0), down = filter_of(k, tables, variant, 1);
    const int first = across.first[x], columns = across.count[x], top = down.first[y], rows = down.count[y];
    rgb[0] = rgb[1] = rgb[2] = 0.0f;
    for (int row = 0; row < rows; row++) {
        const float *in = picture + ((v.top + top + row) * k.picture_width + v.left + first) * 3;
        float r = 0.0f, g = 0.0f, b = 0.0f;
        for (int column = 0; column < columns; column++) {
            const float weight = across.weight[column * across.outputs + x];
            r += weight * in[3 * column];
            g += weight * in[3 * column + 1];
            b += weight * in[3 * column + 2];
        }
        const float weight = down.weight[row * down.outputs + y];
        rgb[0] += weight * r;
        rgb[1] += weight * g;
        rgb[2] += weight * b;
    }
}

__device__ float clamp01(float value)
{
    return value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value;
}

__device__ float grey(const float (&rgb)[3])
{
    return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

__device__ void blend(float (&rgb)[3], float factor, float with)
{
    for (int c = 0; c < 3; c++) { rgb[c] = clamp01(factor * rgb[c] + (1.0f - factor) * with); }
}

/* Through HSV, the hue (in turns) shifted, and back. */
__device__ void shift_hue(float (&rgb)[3], float shift)
{
    const float r = rgb[0], g = rgb[1], b = rgb[2];
    const float most = fmaxf(r, fmaxf(g, b)), least = fminf(r, fminf(g, b)), range = most - least;
    if (range <= 0.0f) { return; } /* grey has no hue */
    float hue = most == r ? (g - b) / range : most == g ? 2.0f + (b - r) / range : 4.0f + (r - g) / range;
    hue = hue / 6.0f + shift;
    hue = (hue - floorf(hue)) * 6.0f;
    const float saturation = range / most, sector = floorf(hue), f = hue - sector;
    const float low = most * (1.0f - saturation);
    const float falling = most * (1.0f - saturation * f), rising = most * (1.0f - saturation * (1.0f - f));
    switch ((int)sector % 6) {
    case 0: rgb[0] = most, rgb[1] = rising, rgb[2] = low; break;
    case 1: rgb[0] = falling, rgb[1] = most, rgb[2] = low; break;
    case 2: rgb[0] = low, rgb[1] = most, rgb[2] = rising; break;
    case 3: rgb[0] = low, rgb[1] = falling, rgb[2] = most; break;
    case 4: rgb[0] = rising, rgb[1] = low, rgb[2] = most; break;
    default: rgb[0] = most, rgb[1] = low, rgb[2] = falling; break;
    }
}

/* Standard normal number of element `element`, counted in (channel, row, column) order. */
__device__ double normal(const spade_variant_kernel &v, uint32_t element)
{
    uint32_t counter[4] = {v.noise_key[2], v.noise_key[3], element / 2, 1};
    double radius, angle;
    spade_normal_device(v.noise_key[0], v.noise_key[1], counter, &radius, &angle);
    return radius * (element % 2 ? sin(angle) : cos(angle));
}

/* What follows brightness: colour, normalisation, erasing, noise. mean: of the variant's grey, for contrast. */
__device__ void finish(const spade_augment_kernel &k, const spade_variant_kernel &v, float mean, int64_t pixel,
                       float (&rgb)[3])
{
    int64_t x, y = spade_divide(pixel, k.width, &x);
    if (v.contrast != 1.0f) { blend(rgb, v.contrast, mean); }
    if (v.saturation != 1.0f) { blend(rgb, v.saturation, grey(rgb)); }
    if (v.hue != 0.0f) { shift_hue(rgb, v.hue); }
    const bool erased =
        y >= v.erase[0] && y < v.erase[0] + v.erase[2] && x >= v.erase[1] && x < v.erase[1] + v.erase[3];
    for (int c = 0; c < 3; c++) {
        rgb[c] = erased ? 0.0f : (rgb[c] - k.mean[c]) / k.std[c];
        if (v.noise > 0.0) {
            rgb[c] += (float)(v.noise * normal(v, (uint32_t)(k.plane[c] * k.width * k.height + pixel)));
        }
    }
}

/* The variant's place in the batch: elements between neighbouring pixels and channels. */
struct target {
    float *out;
    int64_t pixel, channel;
    int channels, plane[3];
};

__device__ target target_of(const spade_augment_kernel &k, int64_t variant, float *out)
{
    const int64_t pixels = k.width * k.height;
    return {out + variant * k.all_channels * pixels,
            k.channels_last ? k.all_channels : 1,
            k.channels_last ? 1 : pixels,
            k.channels,
            {k.plane[0], k.plane[1], k.plane[2]}};
}

__device__ void read_pixel(const target &t, int64_t pixel, float (&rgb)[3])
{
    for (int c = 0; c < 3; c++) { rgb[c] = t.out[pixel * t.pixel + t.plane[c] * t.channel]; }
}

__device__ void write_pixel(const target &t, int64_t pixel, const float (&rgb)[3])
{
    for (int c = 0; c < t.channels; c++) { t.out[pixel * t.pixel + t.plane[c] * t.channel] = rgb[c]; }
}

/* blockIdx.y: the variant. Variants with contrast stop after brightness. */
__global__ void pixels(const __grid_constant__ spade_augment_kernel k, const float *tables, const float *picture,
                       float *out)
{
    const spade_variant_kernel &v = k.variants[blockIdx.y];
    const target to = target_of(k, blockIdx.y, out);
    SPADE_EACH(i, k.width * k.height)
    {
        float rgb[3];
        int64_t x, y = spade_divide(i, k.width, &x);
        resize(k, tables, picture, blockIdx.y, y, v.flip ? k.width - 1 - x : x, rgb);
        if (v.brightness != 1.0f) {
            for (int c = 0; c < 3; c++) { rgb[c] = clamp01(rgb[c] * v.brightness); }
        }
        if (v.contrast == 1.0f) { finish(k, v, 0.0f, i, rgb); }
        write_pixel(to, i, rgb);
    }
}

__global__ void means(const __grid_constant__ spade_augment_kernel k, float *out, float *mean)
{
    __shared__ double sums[SPADE_THREADS];
    const int64_t variant = blockIdx.x, pixels = k.width * k.height;
    const target from = target_of(k, variant, out);
    if (k.variants[variant].contrast == 1.0f) { return; } /* the whole block */
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < pixels; i += SPADE_THREADS) {
        float rgb[3];
        read_pixel(from, i, rgb);
        sum += grey(rgb);
    }
    sums[threadIdx.x] = sum;
    for (unsigned half = SPADE_THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) { sums[threadIdx.x] += sums[threadIdx.x + half]; }
    }
    if (threadIdx.x == 0) { mean[variant] = (float)(sums[0] / (double)pixels); }
}

/* blockIdx.y: the variant. */
__global__ void colours(const __grid_constant__ spade_augment_kernel k, const float *mean, float *out)
{
    const spade_variant_kernel &v = k.variants[blockIdx.y];
    const target to = target_of(k, blockIdx.y, out);
    if (v.contrast == 1.0f) { return; }
    SPADE_EACH(i, k.width * k.height)
    {
        float rgb[3];
        read_pixel(to, i, rgb);
        finish(k, v, mean[blockIdx.y], i, rgb);
        write_pixel(to, i, rgb);
    }
}

bool any_contrast(const spade_augment_kernel &k)
{
    for (int i = 0; i < k.count; i++) {
        if (k.variants[i].contrast != 1.0f) { return true; }
    }
    return false;
}

} // namespace

size_t spade_kernel_augment_bytes(int64_t height, int64_t width, const int64_t taps[2], int64_t count)
{
    int64_t words = axis_words(width, taps[0]) + axis_words(height, taps[1]) + 1; /* and the mean of grey */
    return (size_t)(count * words) * sizeof(float);
}

int spade_launch_augment(spade_stream stream, const spade_augment_kernel *kernel, const float *picture, void *workspace,
                         float *out)
{
    const spade_augment_kernel &k = *kernel;
    const unsigned count = (unsigned)k.count;
    float *mean = static_cast<float *>(workspace), *tables = mean + k.count;
    const dim3 lines(spade_blocks(k.width + k.height), count), all(spade_blocks(k.width * k.height), count);
    int error = SPADE_LAUNCH_INDEPENDENT(filters, lines, SPADE_THREADS, stream, k, tables);
    if (error) { return error; }
    error = SPADE_LAUNCH_INDEPENDENT(pixels, all, SPADE_THREADS, stream, k, tables, picture, out);
    if (error || !any_contrast(k)) { return error; }
    error = SPADE_LAUNCH(means, count, SPADE_THREADS, 0, stream, k, out, mean);
    if (error) { return error; }
    return SPADE_LAUNCH_INDEPENDENT(colours, all, SPADE_THREADS, stream, k, mean, out);
}
