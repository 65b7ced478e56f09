/*
 * attribution.c - maps of interpretability methods: inputs from one, the seed of the backward pass, sums of gradients.
 * Pieces of SPADE_CPU_CHUNK elements are a thread's; an element's sum is taken in the order of the images.
 */
#include <math.h>

#include "backend/cpu/cpu.h"

/* Elements of the line of image i, two from e on, which is even: its end, x with noise, and its baseline. */
static void make_line(const spade_points *p, int64_t i, const float *x, int64_t e, double end[2], double baseline[2])
{
    const uint32_t key[2] = {(uint32_t)p->key, (uint32_t)(p->key >> 32)};
    const float *picture = p->baselines ? p->baselines + (p->baseline ? p->baseline[i] : 0) * p->size : NULL;
    const int count = e + 1 < p->size ? 2 : 1;
    double z[2] = {0};
    uint32_t random[4] = {0};
    if (p->deviation != 0) {
        const uint64_t block = (uint64_t)e / 2;
        spade_normal(key, (uint32_t[4]){p->sample[i], (uint32_t)block, (uint32_t)(block >> 32), 0}, z);
    }
    if (p->uniform.pixels) {
        const uint64_t block = (uint64_t)e / 4;
        spade_philox(key, (uint32_t[4]){p->sample[i], (uint32_t)block, (uint32_t)(block >> 32), SPADE_BASELINE_STREAM},
                     random);
    }
    for (int k = 0; k < count; k++) {
        end[k] = p->deviation != 0 ? x[e + k] + p->deviation * z[k] : x[e + k];
        baseline[k] = picture ? picture[e + k] : 0;
        if (p->uniform.pixels) {
            const int64_t c = (e + k) / p->uniform.pixels;
            const int64_t channel = c < SPADE_UNIFORM_CHANNELS ? c : SPADE_UNIFORM_CHANNELS - 1;
            const double low = p->uniform.low[channel], high = p->uniform.high[channel];
            baseline[k] = low + (random[(e + k) % 4] + 0.5) * 0x1p-32 * (high - low);
        }
    }
}

/* Elements begin .. end-1 of image i; begin is even. */
static void make_point(const spade_points *p, int64_t i, const float *x, int64_t begin, int64_t end, float *out)
{
    const double scale = p->scale[i];
    if (p->deviation == 0 && !p->baselines && !p->uniform.pixels) {
        for (int64_t e = begin; e < end; e++) { out[e] = (float)(scale * x[e]); }
        return;
    }
    for (int64_t e = begin; e < end; e += 2) {
        double to[2], from[2];
        make_line(p, i, x, e, to, from);
        for (int64_t k = 0; k < 2 && e + k < end; k++) {
            out[e + k] = (float)(scale * to[k] + (1.0 - scale) * from[k]);
        }
    }
}

/* Elements begin .. end-1 of the gradients of image i; begin is even. */
static void multiply_path(const spade_points *p, int64_t i, const float *x, int64_t begin, int64_t end,
                          const float *gradients, float *products)
{
    for (int64_t e = begin; e < end; e += 2) {
        double to[2], from[2];
        make_line(p, i, x, e, to, from);
        for (int64_t k = 0; k < 2 && e + k < end; k++) {
            products[e + k] = (float)((to[k] - from[k]) * gradients[e + k]);
        }
    }
}

spade_status spade_cpu_points(spade_device *device, const spade_points *points, const float *x, float *out)
{
    const int64_t size = points->size;
#pragma omp parallel for collapse(2) num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t i = 0; i < points->count; i++) {
        for (int64_t begin = 0; begin < size; begin += SPADE_CPU_CHUNK) {
            int64_t end = size - begin < SPADE_CPU_CHUNK ? size : begin + SPADE_CPU_CHUNK;
            make_point(points, i, x, begin, end, out + i * size);
        }
    }
    return SPADE_OK;
}

spade_status spade_cpu_path_products(spade_device *device, const spade_points *points, const float *x,
                                     const float *gradients, float *products)
{
    const int64_t size = points->size;
#pragma omp parallel for collapse(2) num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t i = 0; i < points->count; i++) {
        for (int64_t begin = 0; begin < size; begin += SPADE_CPU_CHUNK) {
            int64_t end = size - begin < SPADE_CPU_CHUNK ? size : begin + SPADE_CPU_CHUNK;
            multiply_path(points, i, x, begin, end, gradients + i * size, products + i * size);
        }
    }
    return SPADE_OK;
}

/* Pixels begin .. end-1 of image i, in all channels. */
static void mask_pixels(const spade_mask_inputs_args *a, int64_t i, int64_t begin, int64_t end)
{
    const uint8_t *mask = a->masks + i * a->cell_count;
    for (int64_t c = 0; c < a->channels; c++) {
        const float *x = a->x + c * a->pixels, *baseline = a->baseline + c * a->pixels;
        float *out = a->out + (i * a->channels + c) * a->pixels;
        for (int64_t p = begin; p < end; p++) { out[p] = mask[a->cells[p]] ? x[p] : baseline[p]; }
    }
}

spade_status spade_cpu_mask_inputs(spade_device *device, const spade_mask_inputs_args *args)
{
    const int64_t pixels = args->pixels;
#pragma omp parallel for collapse(2) num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t i = 0; i < args->count; i++) {
        for (int64_t begin = 0; begin < pixels; begin += SPADE_CPU_CHUNK) {
            mask_pixels(args, i, begin, pixels - begin < SPADE_CPU_CHUNK ? pixels : begin + SPADE_CPU_CHUNK);
        }
    }
    return SPADE_OK;
}

/* Row r of image i, in all channels. */
static void blend_row(const spade_blend_inputs_args *a, int64_t i, int64_t r)
{
    const spade_grid_position row = a->rows[a->shifts[2 * i] + r], *columns = a->columns + a->shifts[2 * i + 1];
    const uint8_t *mask = a->masks + i * a->grid * a->grid;
    for (int64_t c = 0; c < a->width; c++) {
        const double m = spade_grid_value(mask, a->grid, row, columns[c]);
        for (int64_t channel = 0; channel < a->channels; channel++) {
            const int64_t e = (channel * a->height + r) * a->width + c;
            a->out[i * a->channels * a->height * a->width + e] = (float)(m * a->x[e] + (1.0 - m) * a->baseline[e]);
        }
    }
}

spade_status spade_cpu_blend_inputs(spade_device *device, const spade_blend_inputs_args *args)
{
#pragma omp parallel for collapse(2) num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t i = 0; i < args->count; i++) {
        for (int64_t r = 0; r < args->height; r++) { blend_row(args, i, r); }
    }
    return SPADE_OK;
}

/* A class whose F depends on one output alone, `factor` times: added to the seed where it is wanted; returns its part of F. */
static double seed_class(const spade_seed_args *args, int64_t class_index, double factor, const float *z, float *seed)
{
    const bool binary = args->outputs == 1;
    const int64_t at = binary ? 0 : class_index;
    const double sign = binary && class_index == 0 ? -1 : 1, logit = sign * z[at];
    double value = logit, slope = factor * sign;
    if (args->score == SPADE_SCORE_SIGMOID) {
        const double small = exp(-fabs(logit)), sum = 1 + small;
        value = (logit >= 0 ? 1 : small) / sum;
        slope *= small / (sum * sum);
    }
    if (seed) { seed[at] += (float)(args->times_output ? slope * z[at] : slope); }
    return factor * value;
}

static double seed_softmax(const spade_seed_args *args, spade_seed_target target, const float *z, float *seed)
{
    const int64_t n = args->outputs;
    double largest = z[0], sum = 0;
    for (int64_t j = 1; j < n; j++) { largest = fmax(largest, z[j]); }
    for (int64_t j = 0; j < n; j++) { sum += exp(z[j] - largest); }
    const double plus = exp(z[target.plus] - largest) / sum;
    const double minus = target.minus < 0 ? 0 : exp(z[target.minus] - largest) / sum;
    for (int64_t j = 0; seed && j < n; j++) {
        const double other = exp(z[j] - largest) / sum;
        seed[j] = (float)(plus * ((j == target.plus ? 1.0 : 0.0) - other) -
                          minus * ((j == target.minus ? 1.0 : 0.0) - other));
    }
    return plus - minus;
}

/* One row of outputs z [n]: the seed where it is wanted, and F. */
static double seed_row(const spade_seed_args *args, spade_seed_target target, const float *z, float *seed)
{
    if (args->score == SPADE_SCORE_SOFTMAX) { return seed_softmax(args, target, z, seed); }
    if (seed) { memset(seed, 0, sizeof *seed * (size_t)args->outputs); }
    const double value = seed_class(args, target.plus, 1, z, seed);
    return target.minus < 0 ? value : value + seed_class(args, target.minus, -1, z, seed);
}

spade_status spade_cpu_seed(spade_device *device, const spade_seed_args *args)
{
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t i = 0; i < args->batch; i++) {
        args->values[i] = seed_row(args, args->targets[i], args->z + i * args->outputs,
                                   args->seed ? args->seed + i * args->outputs : NULL);
    }
    return SPADE_OK;
}

/* sum = [sum +] weight * gradient, or its square, for n elements. */
static void add_gradient(int64_t n, double weight, const float *gradient, bool squared, bool add, double *sum)
{
    if (squared && add) {
        for (int64_t e = 0; e < n; e++) { sum[e] += weight * ((double)gradient[e] * gradient[e]); }
    } else if (squared) {
        for (int64_t e = 0; e < n; e++) { sum[e] = weight * ((double)gradient[e] * gradient[e]); }
    } else if (add) {
        for (int64_t e = 0; e < n; e++) { sum[e] += weight * gradient[e]; }
    } else {
        for (int64_t e = 0; e < n; e++) { sum[e] = weight * gradient[e]; }
    }
}

spade_status spade_cpu_sum_gradients(spade_device *device, int64_t size, int64_t count, const double *weight,
                                     const float *gradients, bool squared, bool add, double *sum)
{
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t begin = 0; begin < size; begin += SPADE_CPU_CHUNK) {
        int64_t end = size - begin < SPADE_CPU_CHUNK ? size : begin + SPADE_CPU_CHUNK;
        for (int64_t i = 0; i < count; i++) {
            add_gradient(end - begin, weight[i], gradients + i * size + begin, squared, add || i > 0, sum + begin);
        }
    }
    return SPADE_OK;
}

spade_status spade_cpu_finish_map(spade_device *device, int64_t size, const double *sum, const float *x, double divisor,
                                  bool absolute, float *map)
{
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t begin = 0; begin < size; begin += SPADE_CPU_CHUNK) {
        int64_t end = size - begin < SPADE_CPU_CHUNK ? size : begin + SPADE_CPU_CHUNK;
        for (int64_t e = begin; e < end; e++) {
            double value = (x ? x[e] * sum[e] : sum[e]) / divisor;
            map[e] = (float)(absolute ? fabs(value) : value);
        }
    }
    return SPADE_OK;
}

spade_status spade_cpu_finish_variance(spade_device *device, int64_t size, const double *sum, const double *squares,
                                       double divisor, float *map)
{
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t begin = 0; begin < size; begin += SPADE_CPU_CHUNK) {
        int64_t end = size - begin < SPADE_CPU_CHUNK ? size : begin + SPADE_CPU_CHUNK;
        for (int64_t e = begin; e < end; e++) {
            const double mean = sum[e] / divisor, variance = squares[e] / divisor - mean * mean;
            map[e] = (float)(variance < 0 ? 0 : variance); /* NaN stays */
        }
    }
    return SPADE_OK;
}
