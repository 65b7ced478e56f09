/*
 * attribution.cu - maps of interpretability methods: inputs from one, the seed of the backward pass, sums of gradients,
 * all in float64. Parameters of the images come by value. Compiled without contraction of a * b + c
 * (cmake/cuda.cmake): beside CUDA's own log, exp, sin and cos the numbers are the CPU backend's, bit by bit.
 *
 * Division of work
 *   points, path_products: a thread has two neighbouring elements of one image (blockIdx.y): one block of noise.
 *   mask_inputs, blend_inputs: a thread has one pixel of one image (blockIdx.y), in all channels.
 *   seed:          a block has one image, its threads stride over the outputs; softmax sums meet in shared memory.
 *   sum_gradients: a thread has 1 or 4 neighbouring elements and walks through the images in their order.
 *   finish_map, finish_variance: a thread has one element.
 */
#include <math.h>

#include "kernels/block.cuh"
#include "kernels/index.cuh"
#include "kernels/philox.cuh"

namespace
{

/* Elements of an image's line, two from e = 2 * pair on: its end, x with noise, and its baseline. */
__device__ __forceinline__ void make_line(const spade_points_kernel &k, unsigned image, const float *x, int64_t pair,
                                          double (&end)[2], double (&baseline)[2])
{
    const int64_t e = 2 * pair;
    const int count = e + 1 < k.size ? 2 : 1;
    const float *picture = k.baselines ? k.baselines + k.baseline[image] * k.size : nullptr;
    for (int i = 0; i < 2; i++) {
        end[i] = i < count ? x[e + i] : 0.0;
        baseline[i] = picture && i < count ? picture[e + i] : 0.0;
    }
    if (k.deviation != 0.0) {
        uint32_t counter[4] = {k.sample[image], (uint32_t)pair, (uint32_t)((uint64_t)pair >> 32), 0};
        double radius, angle;
        spade_normal_device(k.key[0], k.key[1], counter, &radius, &angle);
        end[0] += k.deviation * (radius * cos(angle));
        end[1] += k.deviation * (radius * sin(angle));
    }
    if (k.uniform.pixels) {
        const uint64_t block = (uint64_t)pair / 2;
        uint32_t random[4] = {k.sample[image], (uint32_t)block, (uint32_t)(block >> 32), SPADE_BASELINE_STREAM};
        spade_philox_device(k.key[0], k.key[1], random);
        for (int i = 0; i < count; i++) {
            int64_t pixel;
            const int64_t c = spade_divide(e + i, k.uniform.pixels, &pixel);
            const int64_t channel = c < SPADE_UNIFORM_CHANNELS ? c : SPADE_UNIFORM_CHANNELS - 1;
            const double low = k.uniform.low[channel], high = k.uniform.high[channel];
            const uint32_t word = pair % 2 ? random[2 + i] : random[i];
            baseline[i] = low + (word + 0.5) * 0x1p-32 * (high - low);
        }
    }
}

__global__ void points(const __grid_constant__ spade_points_kernel k, const float *x, float *out)
{
    const double scale = k.scale[blockIdx.y];
    float *image = out + blockIdx.y * k.size;
    SPADE_EACH(pair, (k.size + 1) / 2)
    {
        double end[2], baseline[2];
        make_line(k, blockIdx.y, x, pair, end, baseline);
        for (int i = 0; i < 2 && 2 * pair + i < k.size; i++) {
            image[2 * pair + i] = (float)(scale * end[i] + (1.0 - scale) * baseline[i]);
        }
    }
}

__global__ void path_products(const __grid_constant__ spade_points_kernel k, const float *x, const float *gradients,
                              float *products)
{
    const float *image = gradients + blockIdx.y * k.size;
    float *out = products + blockIdx.y * k.size;
    SPADE_EACH(pair, (k.size + 1) / 2)
    {
        double end[2], baseline[2];
        make_line(k, blockIdx.y, x, pair, end, baseline);
        for (int i = 0; i < 2 && 2 * pair + i < k.size; i++) {
            out[2 * pair + i] = (float)((end[i] - baseline[i]) * image[2 * pair + i]);
        }
    }
}

__global__ void mask_inputs(const __grid_constant__ spade_mask_inputs_args a)
{
    const uint8_t *mask = a.masks + blockIdx.y * a.cell_count;
    float *image = a.out + blockIdx.y * a.channels * a.pixels;
    SPADE_EACH(p, a.pixels)
    {
        const float *from = mask[a.cells[p]] ? a.x : a.baseline;
        for (int64_t e = p; e < a.channels * a.pixels; e += a.pixels) { image[e] = from[e]; }
    }
}

__global__ void blend_inputs(const __grid_constant__ spade_blend_inputs_args a)
{
    const int64_t pixels = a.height * a.width;
    const uint8_t *mask = a.masks + blockIdx.y * a.grid * a.grid;
    const spade_grid_position *rows = a.rows + a.shifts[2 * blockIdx.y];
    const spade_grid_position *columns = a.columns + a.shifts[2 * blockIdx.y + 1];
    float *image = a.out + blockIdx.y * a.channels * pixels;
    SPADE_EACH(p, pixels)
    {
        int64_t column;
        const int64_t row = spade_divide(p, a.width, &column);
        const double m = spade_grid_value(mask, a.grid, rows[row], columns[column]);
        for (int64_t e = p; e < a.channels * pixels; e += pixels) {
            image[e] = (float)(m * a.x[e] + (1.0 - m) * a.baseline[e]);
        }
    }
}

__global__ void seed_softmax(int64_t outputs, const float *all, const spade_seed_target *targets, float *seeds,
                             double *values)
{
    __shared__ spade_block_scratch<double, SPADE_THREADS> scratch;
    const float *z = all + blockIdx.x * outputs;
    const spade_seed_target target = targets[blockIdx.x];
    double largest = z[0], sum = 0.0;
    for (int64_t j = threadIdx.x; j < outputs; j += SPADE_THREADS) { largest = fmax(largest, (double)z[j]); }
    largest = spade_block_reduce(
        largest, [](double a, double b) { return fmax(a, b); }, scratch);
    for (int64_t j = threadIdx.x; j < outputs; j += SPADE_THREADS) { sum += exp(z[j] - largest); }
    sum = spade_block_reduce(
        sum, [](double a, double b) { return a + b; }, scratch);
    const double plus = exp(z[target.plus] - largest) / sum;
    const double minus = target.minus < 0 ? 0.0 : exp(z[target.minus] - largest) / sum;
    for (int64_t j = threadIdx.x; seeds && j < outputs; j += SPADE_THREADS) {
        const double other = exp(z[j] - largest) / sum;
        seeds[blockIdx.x * outputs + j] = (float)(plus * ((j == target.plus ? 1.0 : 0.0) - other) -
                                                  minus * ((j == target.minus ? 1.0 : 0.0) - other));
    }
    if (threadIdx.x == 0) { values[blockIdx.x] = plus - minus; }
}

/* A class whose F depends on one output alone: the output's place, F of the class and its slope there. */
struct seed_class {
    int64_t at;
    double value, slope;
};

__device__ __forceinline__ seed_class make_seed_class(int64_t outputs, bool sigmoid, const float *z,
                                                      int64_t class_index)
{
    const int64_t at = outputs == 1 ? 0 : class_index;
    const double sign = outputs == 1 && class_index == 0 ? -1.0 : 1.0, logit = sign * z[at];
    if (!sigmoid) { return {at, logit, sign}; }
    const double small = exp(-fabs(logit)), sum = 1.0 + small;
    return {at, (logit >= 0.0 ? 1.0 : small) / sum, sign * (small / (sum * sum))};
}

__global__ void seed_each(int64_t outputs, bool sigmoid, bool times_output, const float *all,
                          const spade_seed_target *targets, float *seeds, double *values)
{
    const float *z = all + blockIdx.x * outputs;
    const spade_seed_target target = targets[blockIdx.x];
    const seed_class plus = make_seed_class(outputs, sigmoid, z, target.plus);
    const seed_class minus =
        target.minus < 0 ? seed_class{-1, 0.0, 0.0} : make_seed_class(outputs, sigmoid, z, target.minus);
    for (int64_t j = threadIdx.x; seeds && j < outputs; j += SPADE_THREADS) {
        const double slope = (j == plus.at ? plus.slope : 0.0) - (j == minus.at ? minus.slope : 0.0);
        seeds[blockIdx.x * outputs + j] = slope == 0.0 ? 0.0f : (float)(times_output ? slope * z[j] : slope);
    }
    if (threadIdx.x == 0) { values[blockIdx.x] = plus.value - minus.value; }
}

template <int Width>
__global__ void sum_gradients(int64_t size, const __grid_constant__ spade_weights_kernel k, const float *gradients,
                              bool squared, bool add, double *sums)
{
    SPADE_EACH(group, size / Width)
    {
        double sum[Width];
        for (int i = 0; i < Width; i++) { sum[i] = add ? sums[group * Width + i] : 0.0; }
        for (int image = 0; image < k.count; image++) {
            float gradient[Width];
            spade_load<Width>(gradients + image * size + group * Width, gradient);
            for (int i = 0; i < Width; i++) {
                const double g = gradient[i], term = k.weight[image] * (squared ? g * g : g);
                sum[i] = image == 0 && !add ? term : sum[i] + term;
            }
        }
        for (int i = 0; i < Width; i++) { sums[group * Width + i] = sum[i]; }
    }
}

__global__ void finish_map(int64_t size, const double *sum, const float *x, double divisor, bool absolute, float *map)
{
    SPADE_EACH(i, size)
    {
        const double value = (x ? x[i] * sum[i] : sum[i]) / divisor;
        map[i] = (float)(absolute ? fabs(value) : value);
    }
}

__global__ void finish_variance(int64_t size, const double *sum, const double *squares, double divisor, float *map)
{
    SPADE_EACH(i, size)
    {
        const double mean = sum[i] / divisor, variance = squares[i] / divisor - mean * mean;
        map[i] = (float)(variance < 0.0 ? 0.0 : variance); /* NaN stays */
    }
}

} // namespace

int spade_launch_points(spade_stream stream, const spade_points_kernel *kernel, const float *x, float *out)
{
    const spade_points_kernel &k = *kernel;
    const dim3 grid(spade_blocks((k.size + 1) / 2), (unsigned)k.count);
    return SPADE_LAUNCH_INDEPENDENT(points, grid, SPADE_THREADS, stream, k, x, out);
}

int spade_launch_path_products(spade_stream stream, const spade_points_kernel *kernel, const float *x,
                               const float *gradients, float *products)
{
    const spade_points_kernel &k = *kernel;
    const dim3 grid(spade_blocks((k.size + 1) / 2), (unsigned)k.count);
    return SPADE_LAUNCH_INDEPENDENT(path_products, grid, SPADE_THREADS, stream, k, x, gradients, products);
}

int spade_launch_mask_inputs(spade_stream stream, const spade_mask_inputs_args *args)
{
    const dim3 grid(spade_blocks(args->pixels), (unsigned)args->count);
    return SPADE_LAUNCH_INDEPENDENT(mask_inputs, grid, SPADE_THREADS, stream, *args);
}

int spade_launch_blend_inputs(spade_stream stream, const spade_blend_inputs_args *args)
{
    const dim3 grid(spade_blocks(args->height * args->width), (unsigned)args->count);
    return SPADE_LAUNCH_INDEPENDENT(blend_inputs, grid, SPADE_THREADS, stream, *args);
}

int spade_launch_seed(spade_stream stream, const spade_seed_args *args)
{
    const unsigned images = (unsigned)args->batch;
    if (args->score != SPADE_SCORE_SOFTMAX) {
        return SPADE_LAUNCH_INDEPENDENT(seed_each, images, SPADE_THREADS, stream, args->outputs,
                                        args->score == SPADE_SCORE_SIGMOID, args->times_output, args->z, args->targets,
                                        args->seed, args->values);
    }
    return SPADE_LAUNCH(seed_softmax, images, SPADE_THREADS, 0, stream, args->outputs, args->z, args->targets,
                        args->seed, args->values);
}

int spade_launch_sum_gradients(spade_stream stream, int64_t size, const spade_weights_kernel *weights,
                               const float *gradients, bool squared, bool add, double *sum)
{
    const spade_weights_kernel &k = *weights;
    if (size % 4 == 0 && reinterpret_cast<uintptr_t>(gradients) % 16 == 0) {
        return SPADE_LAUNCH_INDEPENDENT(sum_gradients<4>, spade_blocks(size / 4), SPADE_THREADS, stream, size, k,
                                        gradients, squared, add, sum);
    }
    return SPADE_LAUNCH_INDEPENDENT(sum_gradients<1>, spade_blocks(size), SPADE_THREADS, stream, size, k, gradients,
                                    squared, add, sum);
}

int spade_launch_finish_map(spade_stream stream, int64_t size, const double *sum, const float *x, double divisor,
                            bool absolute, float *map)
{
    return SPADE_LAUNCH_INDEPENDENT(finish_map, spade_blocks(size), SPADE_THREADS, stream, size, sum, x, divisor,
                                    absolute, map);
}

int spade_launch_finish_variance(spade_stream stream, int64_t size, const double *sum, const double *squares,
                                 double divisor, float *map)
{
    return SPADE_LAUNCH_INDEPENDENT(finish_variance, spade_blocks(size), SPADE_THREADS, stream, size, sum, squares,
                                    divisor, map);
}
