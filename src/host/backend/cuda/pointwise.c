/* pointwise.c - pointwise steps. */
#include "backend/cuda/cuda.h"
#include "backend/tensor_iterator.h"

static spade_pointwise_kernel kernel_of(const spade_op_desc *d, const float *x, const float *const *data)
{
    const spade_shape *operands[SPADE_ITERATOR_OPERANDS] = {&d->y, &d->a};
    spade_pointwise_kernel k = {.count = d->step_count, .x = x};
    for (int s = 0; s < d->step_count; s++) {
        const spade_pointwise_step *step = &d->steps[s];
        bool unary = step->kind == SPADE_POINTWISE_FUNCTION;
        operands[2 + s] = unary ? &d->y : &step->operand;
        k.steps[s] = (spade_pointwise_step_kernel){.kind = step->kind,
                                                   .function = step->function,
                                                   .alpha = step->alpha,
                                                   .beta = step->beta,
                                                   .operand = unary ? NULL : data[s]};
    }
    const spade_tensor_iterator axes = spade_tensor_iterator_make(&d->y, operands, 2 + d->step_count);
    k.rank = axes.rank;
    for (int i = 0; i < axes.rank; i++) {
        k.dims[i] = axes.dims[i];
        for (int s = 0; s <= d->step_count; s++) { k.strides[i][s] = axes.strides[1 + s][i]; }
    }
    return k;
}

static spade_status run(const spade_cuda_device *cuda, const spade_op_desc *desc, const float *x,
                        const float *const *operands, float *y)
{
    const spade_pointwise_kernel k = kernel_of(desc, x, operands);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_pointwise(cuda->stream, &k, y));
    return SPADE_OK;
}

spade_status spade_cuda_bias_relu(const spade_cuda_device *cuda, int64_t n, int64_t channels, int64_t inner,
                                  const float *bias, bool relu, float *y)
{
    const spade_shape shape = {.rank = 3, .dims = {n / (channels * inner), channels, inner}};
    const float *operands[2] = {bias};
    spade_op_desc desc = {.kind = SPADE_OP_POINTWISE, .a = shape, .y = shape};
    if (bias) {
        desc.steps[desc.step_count++] =
            (spade_pointwise_step){.kind = SPADE_POINTWISE_ADD, .operand = {.rank = 2, .dims = {channels, 1}}};
    }
    if (relu) {
        desc.steps[desc.step_count++] =
            (spade_pointwise_step){.kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_RELU};
    }
    return desc.step_count ? run(cuda, &desc, y, operands, y) : SPADE_OK;
}

spade_status spade_cuda_scale_rows(const spade_cuda_device *cuda, int64_t rows, int64_t columns, const float *x,
                                   const float *scale, float *y)
{
    const spade_shape shape = {.rank = 2, .dims = {rows, columns}}, column = {.rank = 2, .dims = {rows, 1}};
    const spade_op_desc desc = {.kind = SPADE_OP_POINTWISE,
                                .a = shape,
                                .y = shape,
                                .step_count = 1,
                                .steps = {{.kind = SPADE_POINTWISE_MULTIPLY, .operand = column}}};
    return run(cuda, &desc, x, &scale, y);
}

static spade_status run_pointwise(spade_op *op, const spade_op_args *args)
{
    return run(spade_cuda_of(op->device), &op->desc, args->a, args->operands, args->out);
}
const spade_op_entry spade_cuda_pointwise_op = {.run = run_pointwise};
