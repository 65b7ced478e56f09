/* pointwise.c - pointwise sequences of steps. */
#include "backend/cuda/cuda.h"
#include "backend/tensor_iterator.h"

_Static_assert((int)SPADE_KERNEL_STEPS == (int)SPADE_POINTWISE_STEPS, "steps of a chain");

spade_status spade_cuda_pointwise_run(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    const spade_shape *operands[SPADE_ITERATOR_OPERANDS] = {&d->y, &d->a};
    spade_pointwise_kernel k = {.count = d->step_count, .x = args->a};
    for (int s = 0; s < d->step_count; s++) {
        const spade_pointwise_step *step = &d->steps[s];
        bool alone = step->kind == SPADE_POINTWISE_FUNCTION;
        operands[2 + s] = alone ? &d->y : &step->operand;
        k.steps[s] = (spade_pointwise_step_kernel){.kind = (int)step->kind,
                                                   .f = {(int)step->function, step->alpha, step->beta},
                                                   .operand = alone ? NULL : args->operands[s]};
    }
    const spade_tensor_iterator space = spade_tensor_iterator_make(&d->y, operands, 2 + d->step_count);
    k.rank = space.rank;
    for (int i = 0; i < space.rank; i++) {
        k.dims[i] = space.dims[i];
        for (int s = 0; s <= d->step_count; s++) { k.strides[i][s] = space.strides[1 + s][i]; }
    }
    SPADE_CUDA_LAUNCH(op->device, spade_launch_pointwise(op->device->stream, &k, args->out));
    return SPADE_OK;
}
