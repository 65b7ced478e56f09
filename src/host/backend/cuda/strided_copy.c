/* strided_copy.c - permutations, concatenations and their parts. */
#include "backend/strided_copy.h"

#include "backend/cuda/cuda.h"

/* Matrices with a side that is shorter are copied element by element. */
enum { NARROW = 8 };

static spade_copy_kernel kernel_of(const spade_strided_copy *copy)
{
    const int last = copy->axes.rank - 1, transposed = copy->transposed;
    spade_copy_kernel k = {.axes = spade_cuda_iterator(&copy->axes)};
    k.count = spade_tensor_iterator_size(&copy->axes, copy->axes.rank);
    if (transposed < 0 || copy->axes.dims[transposed] < NARROW || copy->axes.dims[last] < NARROW) { return k; }
    k.rows = copy->axes.dims[transposed];
    k.columns = copy->axes.dims[last];
    k.to_step = copy->axes.strides[SPADE_COPY_TO][transposed];
    k.from_step = copy->axes.strides[SPADE_COPY_FROM][last];
    k.count /= k.rows * k.columns;
    k.axes = (spade_tensor_iterator_kernel){0};
    for (int i = 0; i < last; i++) {
        if (i == transposed) { continue; }
        k.axes.dims[k.axes.rank] = copy->axes.dims[i];
        for (int side = 0; side < 2; side++) { k.axes.strides[side][k.axes.rank] = copy->axes.strides[side][i]; }
        k.axes.rank++;
    }
    if (k.axes.rank == 0) { k.axes.rank = 1, k.axes.dims[0] = 1; }
    return k;
}

static spade_status copy(const spade_op *op, const float *from, float *to)
{
    const spade_strided_copy c = spade_strided_copy_make(&op->desc);
    const spade_copy_kernel k = kernel_of(&c);
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device),
                      spade_launch_copy(spade_cuda_of(op->device)->stream, &k, from + c.first[SPADE_COPY_FROM],
                                        to + c.first[SPADE_COPY_TO]));
    return SPADE_OK;
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    return copy(op, args->a, args->out);
}

static spade_status run_backward(spade_op *op, const spade_op_args *args)
{
    return copy(op, args->dy, args->out);
}

const spade_op_entry spade_cuda_permute_op = {.run = run};
const spade_op_entry spade_cuda_concat_op = {.run = run};
const spade_op_entry spade_cuda_concat_backward_op = {.run = run_backward};
