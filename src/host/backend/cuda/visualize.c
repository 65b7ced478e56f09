/* visualize.c - feature visualisation. */
#include "backend/cuda/cuda.h"

static spade_status colours(spade_device *device, const spade_colours_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_colours(cuda->stream, args));
    return SPADE_OK;
}

static spade_status colours_backward(spade_device *device, const spade_colours_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_colours_backward(cuda->stream, args));
    return SPADE_OK;
}

static spade_status warp(spade_device *device, const spade_warp_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_warp(cuda->stream, args));
    return SPADE_OK;
}

static spade_status warp_backward(spade_device *device, const spade_warp_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_warp_backward(cuda->stream, args));
    return SPADE_OK;
}

static spade_status adam(spade_device *device, const spade_adam_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_adam(cuda->stream, args));
    return SPADE_OK;
}

const spade_backend_visualize spade_cuda_visualize = {
    .colours = colours,
    .colours_backward = colours_backward,
    .warp = warp,
    .warp_backward = warp_backward,
    .adam = adam,
};
