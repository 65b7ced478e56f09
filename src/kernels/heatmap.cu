/*
 * heatmap.cu - a map's colours over a picture, both enlarged with cubic splines; ops.h's spade_heatmap_args has the
 * formulas. Compiled without contraction of a * b + c (cmake/cuda.cmake): the bytes are the CPU backend's.
 *
 * Division of work: a thread makes one pixel of the result, all colours, from the 4 x 4 samples of the map and of the
 * picture around it, which it computes anew: there are few, and no plane is kept between.
 */
#include <math.h>

#include "kernels/index.cuh"

namespace
{

__device__ double spline_weight(spade_spline s, double distance)
{
    const double b = s.b, c = s.c, x = fabs(distance);
    if (x < 1.0) { return ((12 - 9 * b - 6 * c) * x * x * x + (-18 + 12 * b + 6 * c) * x * x + 6 - 2 * b) / 6; }
    if (x < 2.0) {
        return ((-b - 6 * c) * x * x * x + (6 * b + 30 * c) * x * x + (-12 * b - 48 * c) * x + 8 * b + 24 * c) / 6;
    }
    return 0.0;
}

/* The four samples of a line around output i, borders repeated, and how far away each is. */
struct neighbours {
    int64_t sample[4];
    double distance[4];
};

__device__ neighbours find_neighbours(int64_t i, int64_t n, int64_t factor)
{
    const double at = ((double)i + 0.5) / (double)factor - 0.5;
    const int64_t first = (int64_t)floor(at) - 1;
    neighbours found;
    for (int k = 0; k < 4; k++) {
        const int64_t sample = first + k;
        found.sample[k] = sample < 0 ? 0 : sample >= n ? n - 1 : sample;
        found.distance[k] = at - (double)sample;
    }
    return found;
}

/* plane(sample's row, column), enlarged, at a pixel of the result. */
template <typename Plane>
__device__ float enlarge(spade_spline spline, const neighbours &down, const neighbours &across, Plane plane)
{
    double weight[4], sum = 0.0;
    for (int k = 0; k < 4; k++) { weight[k] = spline_weight(spline, across.distance[k]); }
    for (int row = 0; row < 4; row++) {
        double line = 0.0;
        for (int k = 0; k < 4; k++) { line += weight[k] * (double)plane(down.sample[row], across.sample[k]); }
        sum += spline_weight(spline, down.distance[row]) * (double)(float)line;
    }
    return (float)sum;
}

/* What the map shows at a sample, -1 to 1. */
__device__ float heat_of(const spade_heatmap_args &k, float value)
{
    double level = k.scale > 0.0 ? value / k.scale : 0.0;
    level = level > 1.0 ? 1.0 : level < -1.0 ? -1.0 : level;
    return (float)(k.is_signed || level > 0.0 ? level : 0.0);
}

/* What lies under it. */
__device__ float base_of(const uint8_t *rgb, int channel)
{
    const float luma = 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
    return 0.06f + 0.62f * (0.8f * luma + 0.2f * rgb[channel]) / 255.0f;
}

__device__ uint8_t compose(const float *entry, int channel, float base)
{
    const float under = base < 0.0f ? 0.0f : base > 1.0f ? 1.0f : base;
    const float value = entry[channel] + entry[3] * under;
    return (uint8_t)((value < 1.0f ? value : 1.0f) * 255.0f + 0.5f);
}

__global__ void heatmap(const __grid_constant__ spade_heatmap_args k)
{
    const spade_spline map_spline = SPADE_HEATMAP_MAP_SPLINE, picture_spline = SPADE_HEATMAP_PICTURE_SPLINE;
    const int64_t wide = k.width * k.factor;
    SPADE_EACH(i, k.height * k.factor * wide)
    {
        int64_t x, y = spade_divide(i, wide, &x);
        const neighbours down = find_neighbours(y, k.height, k.factor), across = find_neighbours(x, k.width, k.factor);
        const auto heat_at = [&](int64_t row, int64_t column) { return heat_of(k, k.map[row * k.width + column]); };
        const float heat = k.factor == 1 ? heat_at(y, x) : enlarge(map_spline, down, across, heat_at);
        const float level = fabsf(heat) * (SPADE_HEATMAP_LEVELS - 1);
        const int at = level < SPADE_HEATMAP_LEVELS - 1 ? (int)(level + 0.5f) : SPADE_HEATMAP_LEVELS - 1;
        const float *entry = k.tables + ((heat < 0.0f ? SPADE_HEATMAP_LEVELS : 0) + at) * 4;
        for (int c = 0; c < 3; c++) {
            const auto base_at = [&](int64_t row, int64_t column) {
                return base_of(k.picture + (row * k.width + column) * 3, c);
            };
            const float base = k.factor == 1 ? base_at(y, x) : enlarge(picture_spline, down, across, base_at);
            k.rgb[3 * i + c] = compose(entry, c, base);
        }
    }
}

} // namespace

int spade_launch_heatmap(spade_stream stream, const spade_heatmap_args *args)
{
    const int64_t pixels = args->height * args->factor * args->width * args->factor;
    return SPADE_LAUNCH_INDEPENDENT(heatmap, spade_blocks(pixels), SPADE_THREADS, stream, *args);
}
