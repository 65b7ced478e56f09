/* op.c - checks the description of an operation, plans it, and hands its run to the file that computes it. */
#include "backend/check.h"
#include "backend/cpu/cpu.h"

/* What computes each kind. plan and pack are NULL where there is nothing to plan or pack. */
typedef struct kind_entry {
    spade_status (*plan)(spade_op *op);
    spade_status (*pack)(spade_op *op, const float *weights, const float *row_scale, void *packed);
    spade_status (*run)(spade_op *op, const spade_op_args *args);
} kind_entry;

/* ---- what computes each kind */

static const kind_entry kinds[SPADE_OP_KIND_COUNT] = {
    [SPADE_OP_CONVOLUTION] = {spade_cpu_convolution_plan, spade_cpu_convolution_pack, spade_cpu_convolution_run},
    [SPADE_OP_CONVOLUTION_BACKWARD] = {spade_cpu_convolution_plan, spade_cpu_convolution_pack,
                                       spade_cpu_convolution_run},
    [SPADE_OP_LINEAR] = {spade_cpu_linear_plan, spade_cpu_linear_pack, spade_cpu_linear_run},
    [SPADE_OP_LINEAR_BACKWARD] = {spade_cpu_linear_plan, spade_cpu_linear_pack, spade_cpu_linear_run},
    [SPADE_OP_MATMUL] = {NULL, NULL, spade_cpu_matmul_run},
    [SPADE_OP_POINTWISE] = {NULL, NULL, spade_cpu_pointwise_run},
    [SPADE_OP_REDUCE_SUM] = {NULL, NULL, spade_cpu_reduce_sum_run},
    [SPADE_OP_SOFTMAX] = {NULL, NULL, spade_cpu_softmax_run},
    [SPADE_OP_SOFTMAX_BACKWARD] = {NULL, NULL, spade_cpu_softmax_backward_run},
    [SPADE_OP_POOL] = {spade_cpu_pool_plan, NULL, spade_cpu_pool_run},
    [SPADE_OP_POOL_BACKWARD] = {spade_cpu_pool_plan, NULL, spade_cpu_pool_run},
    [SPADE_OP_CONVERT_LAYOUT] = {NULL, NULL, spade_cpu_convert_layout_run},
};

spade_status spade_cpu_plan(spade_device *device, const spade_op_desc *desc, spade_op **out)
{
    spade_context *context = device->context;
    *out = NULL;
    SPADE_TRY(spade_op_check(context, desc));
    const kind_entry *entry = &kinds[desc->kind];
    spade_op *op = calloc(1, sizeof *op);
    if (!op) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a planned operation"); }
    op->device = spade_cpu_of(device);
    op->desc = *desc;
    op->threads = spade_cpu_threads(device);
    spade_status status = entry->plan ? entry->plan(op) : SPADE_OK;
    if (status != SPADE_OK) {
        spade_cpu_destroy(op);
        return status;
    }
    *out = op;
    return SPADE_OK;
}

bool spade_cpu_supports(spade_device *device, const spade_op_desc *desc)
{
    spade_op *op;
    bool supported = spade_cpu_plan(device, desc, &op) == SPADE_OK;
    spade_cpu_destroy(op);
    return supported;
}

void spade_cpu_destroy(spade_op *op)
{
    if (!op) { return; }
    spade_cpu_dnnl_destroy(op);
    free(op);
}

size_t spade_cpu_workspace_bytes(const spade_op *op)
{
    return op->workspace_bytes;
}
size_t spade_cpu_saved_bytes(const spade_op *op)
{
    return op->saved_bytes;
}
size_t spade_cpu_packed_bytes(const spade_op *op)
{
    return op->packed_bytes;
}

spade_status spade_cpu_pack(spade_op *op, const float *weights, const float *row_scale, void *packed)
{
    const kind_entry *entry = &kinds[op->desc.kind];
    if (!entry->pack) {
        return spade_fail(op->device->base.context, SPADE_ERROR_ARGUMENT, "%s has no weights to pack",
                          spade_op_kind_name(op->desc.kind));
    }
    return entry->pack(op, weights, row_scale, packed);
}

spade_status spade_cpu_run(spade_op *op, const spade_op_args *args)
{
    return kinds[op->desc.kind].run(op, args);
}
