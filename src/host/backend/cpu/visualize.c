/* visualize.c - feature visualisation: a thread has rows of a picture, or a piece of SPADE_CPU_CHUNK numbers. */
#include "backend/cpu/cpu.h"

static spade_status colours(spade_device *device, const spade_colours_args *args)
{
#pragma omp parallel for collapse(2) num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t c = 0; c < args->channels; c++) {
        for (int64_t p = 0; p < args->pixels; p++) {
            args->picture[c * args->pixels + p] = spade_colours_value(args, c, p);
        }
    }
    return SPADE_OK;
}

static spade_status colours_backward(spade_device *device, const spade_colours_args *args)
{
#pragma omp parallel for collapse(2) num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t c = 0; c < args->channels; c++) {
        for (int64_t p = 0; p < args->pixels; p++) {
            args->x_gradient[c * args->pixels + p] = spade_colours_gradient(args, c, p);
        }
    }
    return SPADE_OK;
}

static spade_status warp(spade_device *device, const spade_warp_args *args)
{
#pragma omp parallel for collapse(2) num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t c = 0; c < args->channels; c++) {
        for (int64_t row = 0; row < args->out_height; row++) {
            float *out = args->out + (c * args->out_height + row) * args->out_width;
            for (int64_t column = 0; column < args->out_width; column++) {
                out[column] = spade_warp_pixel(args, c, row, column);
            }
        }
    }
    return SPADE_OK;
}

static spade_status warp_backward(spade_device *device, const spade_warp_args *args)
{
#pragma omp parallel for collapse(2) num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t c = 0; c < args->channels; c++) {
        for (int64_t row = 0; row < args->height; row++) {
            float *out = args->picture_gradient + (c * args->height + row) * args->width;
            for (int64_t column = 0; column < args->width; column++) {
                out[column] = spade_warp_gradient(args, c, row, column);
            }
        }
    }
    return SPADE_OK;
}

static spade_status adam(spade_device *device, const spade_adam_args *args)
{
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static, SPADE_CPU_CHUNK)
    for (int64_t i = 0; i < args->size; i++) { spade_adam_step(args, i); }
    return SPADE_OK;
}

const spade_backend_visualize spade_cpu_visualize = {
    .colours = colours,
    .colours_backward = colours_backward,
    .warp = warp,
    .warp_backward = warp_backward,
    .adam = adam,
};
