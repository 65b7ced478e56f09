/* layout.c - moving tensors between layouts. */
#include "backend/cuda/cuda.h"

spade_status spade_cuda_convert(spade_cuda_device *device, const spade_shape *shape, spade_layout from, const float *x,
                                spade_layout to, float *y)
{
    if (from == to || shape->rank != 4) {
        return spade_cuda_copy(&device->base, y, x, (size_t)spade_shape_size(shape) * sizeof *y);
    }
    int64_t pixels = shape->dims[2] * shape->dims[3], channels = shape->dims[1];
    bool to_last = to == SPADE_CHANNELS_LAST;
    SPADE_CUDA_LAUNCH(device, spade_launch_transpose(device->stream, shape->dims[0], to_last ? channels : pixels,
                                                     to_last ? pixels : channels, x, y));
    return SPADE_OK;
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    return spade_cuda_convert(spade_cuda_of(op->device), &op->desc.a, op->desc.a.layout, args->a, op->desc.y.layout,
                              args->out);
}

const spade_op_entry spade_cuda_convert_layout_op = {.run = run};
