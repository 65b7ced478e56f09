/* rescale.c - what DeepLift asks of a device: partners exchanged, multipliers between x and its partner. */
#include "backend/cuda/cuda.h"

static spade_status run_swap(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    int64_t image = d->start; /* elements of a piece of an image */
    for (int i = d->axis + 1; i < d->a.rank; i++) { image *= d->a.dims[i]; }
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device), spade_launch_swap(spade_cuda_of(op->device)->stream,
                                                                   spade_shape_size(&d->a), image, args->a, args->out));
    return SPADE_OK;
}
const spade_op_entry spade_cuda_swap_images_op = {.run = run_swap};

static spade_status run_softmax(spade_op *op, const spade_op_args *args)
{
    const spade_lines_kernel lines = spade_cuda_lines(&op->desc);
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device), spade_launch_softmax_rescale(spade_cuda_of(op->device)->stream, lines,
                                                                              args->a, args->b, args->dy, args->out));
    return SPADE_OK;
}
const spade_op_entry spade_cuda_softmax_rescale_op = {.run = run_softmax};

static spade_status run_layer_norm(spade_op *op, const spade_op_args *args)
{
    const spade_layer_norm_kernel kernel = spade_cuda_layer_norm_kernel(op, args);
    SPADE_CUDA_LAUNCH(
        spade_cuda_of(op->device),
        spade_launch_layer_norm_rescale(spade_cuda_of(op->device)->stream, &kernel, args->b, args->dy, args->out));
    return SPADE_OK;
}
const spade_op_entry spade_cuda_layer_norm_rescale_op = {.run = run_layer_norm};

static spade_status run_pool(spade_op *op, const spade_op_args *args)
{
    const spade_pool_kernel kernel = spade_cuda_pool_kernel(&op->desc);
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device),
                      spade_launch_pool_rescale(spade_cuda_of(op->device)->stream, &kernel, op->desc.last_window,
                                                args->a, args->b, args->dy, args->out));
    return SPADE_OK;
}
const spade_op_entry spade_cuda_pool_rescale_op = {.run = run_pool};
