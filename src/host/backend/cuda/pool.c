/* pool.c - maximum and average pooling and their backward. */
#include "backend/check.h"
#include "backend/cuda/cuda.h"
#include "backend/tensor_iterator.h"

spade_pool_kernel spade_cuda_pool_kernel(const spade_op_desc *desc)
{
    const spade_window *w = &desc->window;
    int64_t x[SPADE_MAX_RANK], y[SPADE_MAX_RANK];
    spade_pool_kernel k = {.n = desc->a.dims[0], .channels = desc->a.dims[1]};
    spade_shape_strides(&desc->a, x);
    spade_shape_strides(&desc->y, y);
    for (int axis = 0; axis < 2; axis++) {
        k.in[axis] = desc->a.dims[2 + axis];
        k.out[axis] = desc->y.dims[2 + axis];
        k.kernel[axis] = w->kernel[axis];
        k.stride[axis] = w->stride[axis];
        k.dilation[axis] = w->dilation[axis];
        k.pad[axis] = w->pad[axis];
    }
    for (int i = 0; i < 4; i++) { k.x_strides[i] = x[i], k.y_strides[i] = y[i]; }
    k.x_last = desc->a.layout == SPADE_CHANNELS_LAST;
    k.y_last = desc->y.layout == SPADE_CHANNELS_LAST;
    k.max = desc->pool_max;
    k.count_padding = desc->count_padding;
    return k;
}

/* Average over whole images: a sum. */
static spade_reduction_kernel global_average(const spade_op_desc *desc)
{
    return spade_cuda_reduction(&desc->a, &desc->y, (double)(desc->a.dims[2] * desc->a.dims[3]));
}

/* Does the last window reach beyond the padding: was the output size rounded up? */
static bool reaches_beyond(const spade_op_desc *desc, int axis)
{
    const spade_window *w = &desc->window;
    int64_t extent = (w->kernel[axis] - 1) * w->dilation[axis] + 1;
    int64_t reached = (desc->y.dims[2 + axis] - 1) * w->stride[axis] + extent;
    return reached > desc->a.dims[2 + axis] + w->pad[axis] + w->pad[2 + axis];
}

static spade_status plan(spade_op *op)
{
    const spade_op_desc *desc = &op->desc;
    const spade_pool_kernel k = spade_cuda_pool_kernel(desc);
    bool counts = !desc->pool_max && desc->count_padding;
    if (counts && (reaches_beyond(desc, 0) || reaches_beyond(desc, 1))) {
        char text[256];
        return spade_fail(op->device->context, SPADE_ERROR_UNSUPPORTED,
                          "%s: an average that counts padding, with the output size rounded up",
                          spade_op_describe(desc, text, sizeof text));
    }
    if (desc->pool_max) { op->saved_bytes = spade_kernel_pool_saved_bytes(&k); }
    if (desc->kind == SPADE_OP_POOL && spade_op_is_global_average(desc)) {
        const spade_reduction_kernel r = global_average(desc);
        op->workspace_bytes = spade_cuda_reduction_bytes(&r);
    }
    return SPADE_OK;
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    spade_stream stream = spade_cuda_of(op->device)->stream;
    if (spade_op_is_global_average(&op->desc)) {
        const spade_reduction_kernel r = global_average(&op->desc);
        SPADE_CUDA_LAUNCH(spade_cuda_of(op->device), spade_launch_sum(stream, &r, args->a, args->workspace, args->out));
        return SPADE_OK;
    }
    const spade_pool_kernel k = spade_cuda_pool_kernel(&op->desc);
    void *saved = op->desc.pool_max ? args->saved : NULL;
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device), spade_launch_pool(stream, &k, args->a, saved, args->out));
    return SPADE_OK;
}

static spade_status run_backward(spade_op *op, const spade_op_args *args)
{
    const spade_pool_kernel k = spade_cuda_pool_kernel(&op->desc);
    spade_stream stream = spade_cuda_of(op->device)->stream;
    if (spade_op_is_global_average(&op->desc)) {
        SPADE_CUDA_LAUNCH(spade_cuda_of(op->device), spade_launch_spread_mean(stream, &k, args->dy, args->out));
        return SPADE_OK;
    }
    if (op->desc.pool_max && !args->saved) {
        return spade_fail(op->device->context, SPADE_ERROR_ARGUMENT,
                          "max pooling's backward needs what the forward saved");
    }
    const void *saved = op->desc.pool_max ? args->saved : NULL;
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device), spade_launch_pool_backward(stream, &k, args->dy, saved, args->out));
    return SPADE_OK;
}

const spade_op_entry spade_cuda_pool_op = {.plan = plan, .run = run};
const spade_op_entry spade_cuda_pool_backward_op = {.plan = plan, .run = run_backward};
