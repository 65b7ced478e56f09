/* heatmap.c - a map's colours over a picture. */
#include "backend/cuda/cuda.h"

spade_status spade_cuda_heatmap(spade_device *device, const spade_heatmap_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_heatmap(cuda->stream, args));
    return SPADE_OK;
}
