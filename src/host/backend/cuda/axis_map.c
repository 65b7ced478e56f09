/* axis_map.c - sparse linear maps along one axis. In memory a tensor is [outer, length, inner] around any axis, in either
 * layout. */
#include "backend/cuda/cuda.h"
#include "backend/tensor_iterator.h"

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    int64_t strides[SPADE_MAX_RANK];
    spade_shape_strides(&d->a, strides);
    spade_axis_map_kernel k = {
        .rows = d->y.dims[d->axis], .columns = d->a.dims[d->axis], .inner = strides[d->axis], .map = args->rows};
    k.outer = spade_shape_size(&d->y) / (k.rows * k.inner);
    SPADE_CUDA_LAUNCH(spade_cuda_of(op->device),
                      spade_launch_axis_map(spade_cuda_of(op->device)->stream, &k, args->a, args->out));
    return SPADE_OK;
}

const spade_op_entry spade_cuda_axis_map_op = {.run = run};
