/* reduce.c - sums over axes. */
#include "backend/cuda/cuda.h"
#include "backend/tensor_iterator.h"

spade_tensor_iterator_kernel spade_cuda_iterator(const spade_tensor_iterator *iterator)
{
    spade_tensor_iterator_kernel k = {.rank = iterator->rank};
    for (int i = 0; i < iterator->rank; i++) {
        k.dims[i] = iterator->dims[i];
        for (int operand = 0; operand < 2; operand++) { k.strides[operand][i] = iterator->strides[operand][i]; }
    }
    return k;
}

enum { MANY = 4096 /* results fill a GPU */, PIECE = 2048 /* terms */, MAX_PIECES = 65535 /* blocks along y */ };

spade_reduction_kernel spade_cuda_reduction(const spade_shape *a, const spade_shape *y, double divisor)
{
    const spade_reduction r = spade_reduction_make(a, y);
    spade_reduction_kernel k = {
        .kept = spade_cuda_iterator(&r.kept), .summed = spade_cuda_iterator(&r.summed), .divisor = divisor};
    int64_t kept = r.kept.strides[0][r.kept.rank - 1], summed = r.summed.strides[0][r.summed.rank - 1];
    k.outputs = spade_tensor_iterator_size(&r.kept, r.kept.rank);
    k.terms = spade_tensor_iterator_size(&r.summed, r.summed.rank);
    k.along = k.outputs == 1 || summed < kept;
    k.pieces = k.outputs >= MANY ? 1 : (k.terms + PIECE - 1) / PIECE;
    k.pieces = k.pieces < MAX_PIECES ? k.pieces : MAX_PIECES;
    k.piece = (k.terms + k.pieces - 1) / k.pieces;
    return k;
}

size_t spade_cuda_reduction_bytes(const spade_reduction_kernel *reduction)
{
    return reduction->pieces > 1 ? (size_t)(reduction->pieces * reduction->outputs) * sizeof(double) : 0;
}

static spade_reduction_kernel reduction_of(const spade_op_desc *desc)
{
    return spade_cuda_reduction(&desc->a, &desc->y, desc->divisor == 0 ? 1 : desc->divisor);
}

static spade_status plan(spade_op *op)
{
    const spade_reduction_kernel k = reduction_of(&op->desc);
    op->workspace_bytes = spade_cuda_reduction_bytes(&k);
    return SPADE_OK;
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const spade_reduction_kernel k = reduction_of(&op->desc);
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device),
                      spade_launch_sum(spade_cuda_of(op->device)->stream, &k, args->a, args->workspace, args->out));
    return SPADE_OK;
}

const spade_op_entry spade_cuda_reduce_sum_op = {.plan = plan, .run = run};
