/* chain.c - chains of elementwise stages. */
#include "backend/cuda/cuda.h"
#include "backend/space.h"

_Static_assert((int)SPADE_KERNEL_STAGES == (int)SPADE_CHAIN_STAGES, "stages of a chain");

spade_status spade_cuda_chain_run(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    const spade_shape *operands[SPADE_SPACE_OPERANDS] = {&d->y, &d->a};
    spade_chain_kernel k = {.count = d->stage_count, .x = args->a};
    for (int s = 0; s < d->stage_count; s++) {
        const spade_chain_stage *stage = &d->stages[s];
        bool alone = stage->kind == SPADE_CHAIN_FUNCTION;
        operands[2 + s] = alone ? &d->y : &stage->operand;
        k.stages[s] = (spade_stage_kernel){.kind = (int)stage->kind,
                                           .f = {(int)stage->function, stage->alpha, stage->beta},
                                           .operand = alone ? NULL : args->operands[s]};
    }
    const spade_space space = spade_space_make(&d->y, operands, 2 + d->stage_count);
    k.rank = space.rank;
    for (int i = 0; i < space.rank; i++) {
        k.dims[i] = space.dims[i];
        for (int s = 0; s <= d->stage_count; s++) { k.strides[i][s] = space.strides[1 + s][i]; }
    }
    SPADE_CUDA_LAUNCH(op->device, spade_launch_chain(op->device->stream, &k, args->out));
    return SPADE_OK;
}
