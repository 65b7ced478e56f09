/*
 * visualize.cu - feature visualisation; ops.h has the formulas, in float64. Compiled without contraction of a * b + c
 * (cmake/cuda.cmake): beside CUDA's own exp the numbers are the CPU backend's, bit by bit.
 *
 * Division of work: a thread makes one number of the result, of the channel blockIdx.y where there are channels. The way back
 * through a warp gathers as well: a pixel of the picture asks the pixels that saw it, so nothing is added by several threads.
 */
#include <math.h>

#include "kernels/index.cuh"

namespace
{

__global__ void colours(const __grid_constant__ spade_colours_args a)
{
    SPADE_EACH(p, a.pixels)
    {
        a.picture[blockIdx.y * a.pixels + p] = spade_colours_value(&a, blockIdx.y, p);
    }
}

__global__ void colours_backward(const __grid_constant__ spade_colours_args a)
{
    SPADE_EACH(p, a.pixels)
    {
        a.x_gradient[blockIdx.y * a.pixels + p] = spade_colours_gradient(&a, blockIdx.y, p);
    }
}

__global__ void warp(const __grid_constant__ spade_warp_args a)
{
    SPADE_EACH(p, a.out_height * a.out_width)
    {
        int64_t column;
        const int64_t row = spade_divide(p, a.out_width, &column);
        a.out[blockIdx.y * (a.out_height * a.out_width) + p] = spade_warp_pixel(&a, blockIdx.y, row, column);
    }
}

__global__ void warp_backward(const __grid_constant__ spade_warp_args a)
{
    SPADE_EACH(p, a.height * a.width)
    {
        int64_t column;
        const int64_t row = spade_divide(p, a.width, &column);
        a.picture_gradient[blockIdx.y * (a.height * a.width) + p] = spade_warp_gradient(&a, blockIdx.y, row, column);
    }
}

__global__ void adam(const __grid_constant__ spade_adam_args a)
{
    SPADE_EACH(i, a.size)
    {
        spade_adam_step(&a, i);
    }
}

} // namespace

int spade_launch_colours(spade_stream stream, const spade_colours_args *args)
{
    const dim3 grid(spade_blocks(args->pixels), (unsigned)args->channels);
    return SPADE_LAUNCH_INDEPENDENT(colours, grid, SPADE_THREADS, stream, *args);
}

int spade_launch_colours_backward(spade_stream stream, const spade_colours_args *args)
{
    const dim3 grid(spade_blocks(args->pixels), (unsigned)args->channels);
    return SPADE_LAUNCH_INDEPENDENT(colours_backward, grid, SPADE_THREADS, stream, *args);
}

int spade_launch_warp(spade_stream stream, const spade_warp_args *args)
{
    const dim3 grid(spade_blocks(args->out_height * args->out_width), (unsigned)args->channels);
    return SPADE_LAUNCH_INDEPENDENT(warp, grid, SPADE_THREADS, stream, *args);
}

int spade_launch_warp_backward(spade_stream stream, const spade_warp_args *args)
{
    const dim3 grid(spade_blocks(args->height * args->width), (unsigned)args->channels);
    return SPADE_LAUNCH_INDEPENDENT(warp_backward, grid, SPADE_THREADS, stream, *args);
}

int spade_launch_adam(spade_stream stream, const spade_adam_args *args)
{
    return SPADE_LAUNCH_INDEPENDENT(adam, spade_blocks(args->size), SPADE_THREADS, stream, *args);
}
