/* reduce_max.c - the largest number over axes, and its gradient. */
#include "backend/cuda/cuda.h"

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const spade_reduction_kernel k = spade_cuda_reduction(&op->desc.a, &op->desc.y, 1);
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device),
                      spade_launch_max(spade_cuda_of(op->device)->stream, &k, args->a, args->out));
    return SPADE_OK;
}

static spade_status run_backward(spade_op *op, const spade_op_args *args)
{
    const spade_reduction_kernel k = spade_cuda_reduction(&op->desc.a, &op->desc.y, 1);
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device), spade_launch_max_backward(spade_cuda_of(op->device)->stream, &k,
                                                                           args->a, args->y, args->dy, args->out));
    return SPADE_OK;
}

const spade_op_entry spade_cuda_reduce_max_op = {.run = run};
const spade_op_entry spade_cuda_reduce_max_backward_op = {.run = run_backward};
