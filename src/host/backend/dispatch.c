/* dispatch.c - planned operations: checks a description, and hands it to the entry of its kind. */
#include "backend/dispatch.h"
#include "backend/check.h"

spade_status spade_op_plan(spade_device *device, const spade_op_desc *desc, spade_op **out)
{
    spade_context *context = device->context;
    *out = NULL;
    SPADE_TRY(spade_op_check(context, desc));
    const spade_op_entry *entry = device->backend->ops[desc->kind];
    if (!entry) {
        char text[256];
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "%s: not an operation of the %s backend",
                          spade_op_describe(desc, text, sizeof text), device->backend->name);
    }
    spade_op *op = calloc(1, entry->state_bytes ? entry->state_bytes : sizeof *op);
    if (!op) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a planned operation"); }
    op->device = device;
    op->entry = entry;
    op->desc = *desc;
    spade_status status = entry->plan ? entry->plan(op) : SPADE_OK;
    if (status != SPADE_OK) {
        spade_op_destroy(op);
        return status;
    }
    *out = op;
    return SPADE_OK;
}

void spade_op_destroy(spade_op *op)
{
    if (op && op->entry->destroy) { op->entry->destroy(op); }
    free(op);
}

size_t spade_op_workspace_bytes(const spade_op *op)
{
    return op->workspace_bytes;
}
size_t spade_op_saved_bytes(const spade_op *op)
{
    return op->saved_bytes;
}
size_t spade_op_packed_bytes(const spade_op *op)
{
    return op->packed_bytes;
}

spade_status spade_op_pack(spade_op *op, const float *weights, const float *row_scale, void *packed)
{
    if (!op->entry->pack) {
        return spade_fail(op->device->context, SPADE_ERROR_ARGUMENT, "%s has no weights to pack",
                          spade_op_kind_name(op->desc.kind));
    }
    return op->entry->pack(op, weights, row_scale, packed);
}

spade_status spade_op_run(spade_op *op, const spade_op_args *args)
{
    return op->entry->run(op, args);
}
