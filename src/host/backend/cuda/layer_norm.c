/* layer_norm.c - layer normalisation and its backward. */
#include "backend/cuda/cuda.h"

spade_layer_norm_kernel spade_cuda_layer_norm_kernel(const spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *desc = &op->desc;
    spade_layer_norm_kernel kernel = {.length = 1,
                                      .epsilon = (double)desc->epsilon,
                                      .root_mean_square = desc->root_mean_square,
                                      .x = args->a,
                                      .scale = args->operands[0],
                                      .shift = args->operands[1]};
    for (int i = desc->axis; i < desc->a.rank; i++) { kernel.length *= desc->a.dims[i]; }
    kernel.count = spade_shape_size(&desc->a) / kernel.length;
    return kernel;
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const spade_layer_norm_kernel kernel = spade_cuda_layer_norm_kernel(op, args);
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device),
                      spade_launch_layer_norm(spade_cuda_of(op->device)->stream, &kernel, args->out));
    return SPADE_OK;
}

static spade_status run_backward(spade_op *op, const spade_op_args *args)
{
    const spade_layer_norm_kernel kernel = spade_cuda_layer_norm_kernel(op, args);
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device), spade_launch_layer_norm_backward(spade_cuda_of(op->device)->stream,
                                                                                  &kernel, args->dy, args->out));
    return SPADE_OK;
}

const spade_op_entry spade_cuda_layer_norm_op = {.run = run};
const spade_op_entry spade_cuda_layer_norm_backward_op = {.run = run_backward};
