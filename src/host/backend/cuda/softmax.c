/* softmax.c - softmax along one axis and its backward. */
#include "backend/cuda/cuda.h"
#include "backend/tensor_iterator.h"

/* In memory, a tensor is [outer, length, step] around any of its axes, in either layout. */
static spade_lines_kernel lines_of(const spade_op_desc *desc)
{
    int64_t strides[SPADE_MAX_RANK], length = desc->a.dims[desc->axis];
    spade_shape_strides(&desc->a, strides);
    return (spade_lines_kernel){spade_shape_size(&desc->a) / length, length, strides[desc->axis]};
}

spade_status spade_cuda_softmax_run(spade_op *op, const spade_op_args *args)
{
    SPADE_CUDA_LAUNCH(op->device, spade_launch_softmax(op->device->stream, lines_of(&op->desc), args->a, args->out));
    return SPADE_OK;
}

spade_status spade_cuda_softmax_backward_run(spade_op *op, const spade_op_args *args)
{
    SPADE_CUDA_LAUNCH(op->device, spade_launch_softmax_backward(op->device->stream, lines_of(&op->desc), args->y,
                                                                args->dy, args->out));
    return SPADE_OK;
}
