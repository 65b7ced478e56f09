/* softmax.c - softmax along one axis and its backward. */
#include "backend/cuda/cuda.h"
#include "backend/tensor_iterator.h"

/* In memory, a tensor is [outer, length, step] around any of its axes, in either layout. */
spade_lines_kernel spade_cuda_lines(const spade_op_desc *desc)
{
    int64_t strides[SPADE_MAX_RANK], length = desc->a.dims[desc->axis];
    spade_shape_strides(&desc->a, strides);
    return (spade_lines_kernel){spade_shape_size(&desc->a) / length, length, strides[desc->axis]};
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device), spade_launch_softmax(spade_cuda_of(op->device)->stream,
                                                                      spade_cuda_lines(&op->desc), args->a, args->out));
    return SPADE_OK;
}

static spade_status run_backward(spade_op *op, const spade_op_args *args)
{
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device),
                      spade_launch_softmax_backward(spade_cuda_of(op->device)->stream, spade_cuda_lines(&op->desc),
                                                    args->y, args->dy, args->out));
    return SPADE_OK;
}

const spade_op_entry spade_cuda_softmax_op = {.run = run};
const spade_op_entry spade_cuda_softmax_backward_op = {.run = run_backward};
