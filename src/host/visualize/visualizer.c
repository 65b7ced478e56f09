/*
 * visualizer.c - see visualizer.h.
 *
 *   block on the device: | parameters, m, v, spectrum, its gradient, scale | x, picture, their gradients | matrix, mean, deviation |
 */
#include "visualize/visualizer.h"

#include <math.h>

#include "attribution/rules/rules.h"

static const double deviation_of_noise = 0.01, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, outside = 0.5;

/* Square root of the covariance of colours in ImageNet's pictures, over its longest column: Lucid's. */
static const double colour_root[3][3] = {{0.26, 0.09, 0.02}, {0.27, 0.00, -0.05}, {0.27, -0.09, 0.03}};

enum { SPECTRA = 6, PICTURES = 4 };

/* ---- what stays as it is from step to step */

/* matrix [channels, channels]: from what has no correlation to the network's channels, of which the colours have some. */
static void fill_matrix(const spade_preprocess *preprocess, int64_t channels, float *matrix)
{
    double longest = 0;
    for (int k = 0; k < 3; k++) {
        double square = 0;
        for (int c = 0; c < 3; c++) { square += colour_root[c][k] * colour_root[c][k]; }
        longest = square > longest ? square : longest;
    }
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t k = 0; k < channels; k++) { matrix[c * channels + k] = c == k; }
    }
    if (spade_preprocess_colours(preprocess) != 3) { return; }
    for (int64_t c = 0; c < 3; c++) {
        const double *row = colour_root[spade_preprocess_plane(preprocess, (int)c)];
        for (int k = 0; k < 3; k++) { matrix[c * channels + k] = (float)(row[k] / sqrt(longest)); }
    }
}

/* numbers: matrix, mean, deviation, as they lie in the block. */
static void fill_colours(const visualizer *z, float *numbers)
{
    const int64_t channels = z->shape[0];
    fill_matrix(&z->preprocess, channels, numbers);
    for (int64_t c = 0; c < channels; c++) {
        const double deviation = spade_preprocess_std(&z->preprocess, c);
        numbers[channels * channels + c] = (float)spade_preprocess_mean(&z->preprocess, c);
        numbers[channels * (channels + 1) + c] = deviation > 0 ? (float)deviation : 1;
    }
}

/* Normal numbers, two of each block of the stream. */
static void fill_noise(const visualizer *z, float *noise)
{
    const uint32_t key[2] = {(uint32_t)z->key, (uint32_t)(z->key >> 32)};
    const int64_t size = visualize_fourier_size(&z->fourier);
    for (int64_t e = 0; e < size; e += 2) {
        const uint64_t block = (uint64_t)e / 2;
        double pair[2];
        spade_normal(key, (const uint32_t[4]){(uint32_t)block, (uint32_t)(block >> 32), 0, VISUALIZE_NOISE}, pair);
        noise[e] = (float)(deviation_of_noise * pair[0]);
        if (e + 1 < size) { noise[e + 1] = (float)(deviation_of_noise * pair[1]); }
    }
}

static int64_t pixels_of(const visualizer *z)
{
    return z->shape[0] * z->shape[1] * z->shape[2];
}

static spade_status make_block(visualizer *z)
{
    const int64_t channels = z->shape[0], spectrum = visualize_fourier_size(&z->fourier), pixels = pixels_of(z);
    float **const spectra[SPECTRA] = {&z->parameters, &z->m, &z->v, &z->spectrum, &z->spectrum_gradient, &z->scale};
    float **const pictures[PICTURES] = {&z->x, &z->picture, &z->x_gradient, &z->picture_gradient};
    z->block_bytes = sizeof(float) * (size_t)(SPECTRA * spectrum + PICTURES * pixels + channels * (channels + 2));
    SPADE_TRY(z->device->backend->alloc(z->device, z->block_bytes, "a picture and its spectrum", &z->block));
    float *at = z->block;
    for (int i = 0; i < SPECTRA; i++, at += spectrum) { *spectra[i] = at; }
    for (int i = 0; i < PICTURES; i++, at += pixels) { *pictures[i] = at; }
    z->matrix = at;
    z->mean = z->matrix + channels * channels;
    z->deviation = z->mean + channels;
    return SPADE_OK;
}

/* What `fill` makes on the host, n numbers, to the device. */
static spade_status put(visualizer *z, void (*fill)(const visualizer *z, float *out), int64_t n, float *to)
{
    const size_t bytes = sizeof *to * (size_t)n;
    void *memory;
    SPADE_TRY(spade_alloc(z->context, bytes, "what a visualisation begins with", &memory));
    fill(z, memory);
    const spade_status status = z->device->backend->upload(z->device, to, memory, bytes);
    spade_free_bytes(z->context, memory, bytes);
    return status;
}

static void fill_scale(const visualizer *z, float *scale)
{
    visualize_fourier_scale(&z->fourier, scale);
}

static void fill_scaled(const visualizer *z, float *scaled)
{
    const int64_t size = visualize_fourier_size(&z->fourier);
    float *scale = scaled + size;
    fill_noise(z, scaled);
    fill_scale(z, scale);
    for (int64_t e = 0; e < size; e++) { scaled[e] *= scale[e]; }
}

static void fill_weights(const visualizer *z, float *weights)
{
    visualize_objective_weights(&z->objective, weights);
}

static spade_status fill_block(visualizer *z)
{
    const spade_backend *backend = z->device->backend;
    const int64_t channels = z->shape[0], spectrum = visualize_fourier_size(&z->fourier);
    SPADE_TRY(put(z, fill_scaled, 2 * spectrum, z->spectrum)); /* and the scale, where the gradient will be */
    SPADE_TRY(put(z, fill_noise, spectrum, z->parameters));
    SPADE_TRY(put(z, fill_scale, spectrum, z->scale));
    SPADE_TRY(put(z, fill_colours, channels * (channels + 2), z->matrix));
    SPADE_TRY(backend->zero(z->device, z->m, sizeof(float) * (size_t)spectrum));
    SPADE_TRY(backend->zero(z->device, z->v, sizeof(float) * (size_t)spectrum));
    SPADE_TRY(spade_executor_scratch(z->executor, sizeof(float) * (size_t)z->objective.size, "an objective"));
    return put(z, fill_weights, z->objective.size, z->executor->scratch);
}

void visualizer_close(visualizer *z)
{
    if (z->block) { z->device->backend->free(z->device, z->block, z->block_bytes); }
    visualize_fourier_clear(&z->fourier);
    spade_executor_release(z->executor);
}

spade_status visualizer_open(visualizer *z, const spade_model *model, const spade_trace *trace)
{
    spade_plan_request request = spade_relevance_request(1, &spade_rules_gradient);
    request.start = z->objective.value;
    request.taps = &z->objective.value;
    request.tap_count = 1;
    z->key = spade_hash("visualize", strlen("visualize"), z->options.seed);
    SPADE_TRY(visualize_fourier_create(z->context, z->shape[0], z->shape[1], z->shape[2], &z->fourier));
    SPADE_TRY(
        spade_executor_acquire(z->context, &model->network, &request, spade_weight_override_of(trace), &z->executor));
    SPADE_TRY(make_block(z));
    return fill_block(z);
}

/* ---- a step */

spade_warp_args visualizer_warp(const visualizer *z)
{
    spade_shape input;
    float *out = spade_plan_input(z->executor->plan, &input);
    return (spade_warp_args){.channels = z->shape[0],
                             .height = z->shape[1],
                             .width = z->shape[2],
                             .out_height = input.dims[2],
                             .out_width = input.dims[3],
                             .fill = outside,
                             .mean = z->mean,
                             .deviation = z->deviation,
                             .picture = z->picture,
                             .out = out,
                             .gradient = spade_plan_relevance(z->executor->plan),
                             .picture_gradient = z->picture_gradient};
}

static spade_colours_args colours_of(const visualizer *z)
{
    return (spade_colours_args){.channels = z->shape[0],
                                .pixels = z->shape[1] * z->shape[2],
                                .matrix = z->matrix,
                                .x = z->x,
                                .picture = z->picture,
                                .gradient = z->picture_gradient,
                                .x_gradient = z->x_gradient};
}

spade_status visualizer_make_input(const visualizer *z, const spade_warp_args *warp)
{
    const spade_backend_visualize *ops = z->device->backend->visualize;
    const spade_colours_args colours = colours_of(z);
    SPADE_TRY(visualize_fourier_inverse(&z->fourier, z->spectrum, z->x));
    SPADE_TRY(ops->colours(z->device, &colours));
    return ops->warp(z->device, warp);
}

static spade_status run_pass(void *user)
{
    const visualizer *z = user;
    spade_executor *executor = z->executor;
    const size_t bytes = sizeof(float) * (size_t)z->objective.size;
    SPADE_TRY(spade_run_forward(executor->plan, executor->weights, NULL, NULL, NULL, NULL, NULL));
    SPADE_TRY(
        z->device->backend->copy(z->device, spade_plan_output_relevance(executor->plan), executor->scratch, bytes));
    return spade_run_backward(executor->plan, executor->weights);
}

spade_status visualizer_gradient(visualizer *z, const spade_warp_args *warp)
{
    const spade_backend_visualize *ops = z->device->backend->visualize;
    const spade_colours_args colours = colours_of(z);
    SPADE_TRY(spade_capture_run(z->device, &z->executor->capture, z->executor->generation, run_pass, z));
    SPADE_TRY(ops->warp_backward(z->device, warp));
    SPADE_TRY(ops->colours_backward(z->device, &colours));
    return visualize_fourier_gradient(&z->fourier, z->x_gradient, z->spectrum_gradient);
}

spade_status visualizer_ascend(const visualizer *z, int64_t step)
{
    const spade_adam_args adam = {.size = visualize_fourier_size(&z->fourier),
                                  .rate = z->options.rate,
                                  .beta1 = beta1,
                                  .beta2 = beta2,
                                  .epsilon = epsilon,
                                  .correction1 = 1 - pow(beta1, (double)step),
                                  .correction2 = 1 - pow(beta2, (double)step),
                                  .scale = z->scale,
                                  .gradient = z->spectrum_gradient,
                                  .m = z->m,
                                  .v = z->v,
                                  .parameters = z->parameters,
                                  .scaled = z->spectrum};
    return z->device->backend->visualize->adam(z->device, &adam);
}

/* ---- the objective's value */

spade_status visualizer_measure(const visualizer *z, const spade_warp_args *warp, double *out)
{
    const int64_t size = z->objective.size;
    const size_t bytes = 2 * sizeof(float) * (size_t)size;
    spade_status status;
    void *memory;
    double sum = 0;
    SPADE_TRY(visualizer_make_input(z, warp));
    SPADE_TRY(spade_run_forward(z->executor->plan, z->executor->weights, NULL, NULL, NULL, NULL, NULL));
    SPADE_TRY(spade_alloc(z->context, bytes, "the value of an objective", &memory));
    float *weights = memory, *value = weights + size;
    visualize_objective_weights(&z->objective, weights);
    SPADE_GOTO(z->device->backend->download(z->device, value, spade_plan_tap(z->executor->plan, 0, NULL), bytes / 2));
    SPADE_GOTO(z->device->backend->synchronize(z->device));
    for (int64_t i = 0; i < size; i++) {
        if (weights[i] != 0) { sum += (double)weights[i] * (double)value[i]; }
    }
    if (!isfinite(sum)) { SPADE_GOTO(spade_fail(z->context, SPADE_ERROR_NUMERICAL, "the objective is not finite")); }
    *out = sum;
done:
    spade_free_bytes(z->context, memory, bytes);
    return status;
}
