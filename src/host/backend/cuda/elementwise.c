/* elementwise.c - scale and shift, unary functions and their derivatives. */
#include "backend/cuda/cuda.h"

spade_status spade_cuda_scale_shift_run(spade_op *op, const spade_op_args *args)
{
    const spade_shape *shape = &op->desc.a;
    int64_t channels = shape->dims[1], n = spade_shape_size(shape);
    int64_t inner = shape->layout == SPADE_CHANNELS_LAST ? 1 : n / (shape->dims[0] * channels);
    SPADE_CUDA_LAUNCH(op->device, spade_launch_scale_shift(op->device->stream, n, channels, inner, args->a, args->b,
                                                           args->bias, args->out));
    return SPADE_OK;
}

static spade_unary_kernel function_of(const spade_op_desc *desc)
{
    return (spade_unary_kernel){.function = (int)desc->function, .alpha = desc->alpha, .beta = desc->beta};
}

spade_status spade_cuda_unary_run(spade_op *op, const spade_op_args *args)
{
    int64_t n = spade_shape_size(&op->desc.a);
    SPADE_CUDA_LAUNCH(op->device,
                      spade_launch_unary(op->device->stream, function_of(&op->desc), n, args->a, args->out));
    return SPADE_OK;
}

spade_status spade_cuda_unary_backward_run(spade_op *op, const spade_op_args *args)
{
    int64_t n = spade_shape_size(&op->desc.a);
    SPADE_CUDA_LAUNCH(op->device, spade_launch_unary_backward(op->device->stream, function_of(&op->desc), n, args->a,
                                                              args->dy, args->out));
    return SPADE_OK;
}
