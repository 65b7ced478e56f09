/* op.c - plans an operation and hands its run to the file that computes it. */
#include "backend/check.h"
#include "backend/cuda/cuda.h"

/* What computes each kind. plan, pack: NULL where there is nothing to plan or pack; run: NULL for what is not there. */
typedef struct kind_entry {
    spade_status (*plan)(spade_op *op);
    spade_status (*pack)(spade_op *op, const float *weights, const float *row_scale, void *packed);
    spade_status (*run)(spade_op *op, const spade_op_args *args);
} kind_entry;

static const kind_entry kinds[SPADE_OP_KIND_COUNT] = {
    [SPADE_OP_LINEAR] = {spade_cuda_linear_plan, spade_cuda_linear_pack, spade_cuda_linear_run},
    [SPADE_OP_LINEAR_BACKWARD] = {spade_cuda_linear_plan, spade_cuda_linear_pack, spade_cuda_linear_run},
    [SPADE_OP_MATMUL] = {spade_cuda_matmul_plan, NULL, spade_cuda_matmul_run},
    /* convolution.c */
    [SPADE_OP_CONVOLUTION] = {spade_cuda_convolution_plan, spade_cuda_convolution_pack, spade_cuda_convolution_run},
    [SPADE_OP_CONVOLUTION_BACKWARD] = {spade_cuda_convolution_plan, spade_cuda_convolution_pack,
                                       spade_cuda_convolution_run},
    [SPADE_OP_POINTWISE] = {NULL, NULL, spade_cuda_pointwise_run},
    [SPADE_OP_REDUCE_SUM] = {spade_cuda_reduce_sum_plan, NULL, spade_cuda_reduce_sum_run},
    [SPADE_OP_SOFTMAX] = {NULL, NULL, spade_cuda_softmax_run},
    [SPADE_OP_SOFTMAX_BACKWARD] = {NULL, NULL, spade_cuda_softmax_backward_run},
    [SPADE_OP_POOL] = {spade_cuda_pool_plan, NULL, spade_cuda_pool_run},
    [SPADE_OP_POOL_BACKWARD] = {spade_cuda_pool_plan, NULL, spade_cuda_pool_backward_run},
    [SPADE_OP_CONVERT_LAYOUT] = {NULL, NULL, spade_cuda_convert_layout_run},
};

spade_status spade_cuda_plan(spade_device *device, const spade_op_desc *desc, spade_op **out)
{
    spade_context *context = device->context;
    *out = NULL;
    SPADE_TRY(spade_op_check(context, desc));
    if (!kinds[desc->kind].run) {
        char text[256];
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "%s: not an operation of the CUDA backend",
                          spade_op_describe(desc, text, sizeof text));
    }
    spade_op *op = calloc(1, sizeof *op);
    if (!op) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a planned operation"); }
    op->device = spade_cuda_of(device);
    op->desc = *desc;
    spade_status status = kinds[desc->kind].plan ? kinds[desc->kind].plan(op) : SPADE_OK;
    if (status != SPADE_OK) {
        spade_cuda_destroy(op);
        return status;
    }
    *out = op;
    return SPADE_OK;
}

bool spade_cuda_supports(spade_device *device, const spade_op_desc *desc)
{
    spade_op *op;
    bool supported = spade_cuda_plan(device, desc, &op) == SPADE_OK;
    spade_cuda_destroy(op);
    return supported;
}

void spade_cuda_destroy(spade_op *op)
{
    if (!op) { return; }
    free(op);
}

size_t spade_cuda_workspace_bytes(const spade_op *op)
{
    return op->workspace_bytes;
}
size_t spade_cuda_saved_bytes(const spade_op *op)
{
    return op->saved_bytes;
}
size_t spade_cuda_packed_bytes(const spade_op *op)
{
    return op->packed_bytes;
}

spade_status spade_cuda_pack(spade_op *op, const float *weights, const float *row_scale, void *packed)
{
    const kind_entry *entry = &kinds[op->desc.kind];
    if (!entry->pack) {
        return spade_fail(op->device->base.context, SPADE_ERROR_ARGUMENT, "%s has no weights to pack",
                          spade_op_kind_name(op->desc.kind));
    }
    return spade_cuda_latch_error(op->device, entry->pack(op, weights, row_scale, packed));
}

spade_status spade_cuda_run(spade_op *op, const spade_op_args *args)
{
    return spade_cuda_latch_error(op->device, kinds[op->desc.kind].run(op, args));
}
