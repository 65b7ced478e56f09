/*
 * dispatch.h - planned operations, the same for every backend: a backend has one entry for each kind of operation, and the
 * functions below find it. A backend's table (backend.h) names them as its plan, run and so on.
 */
#ifndef SPADE_BACKEND_DISPATCH_H
#define SPADE_BACKEND_DISPATCH_H

#include "backend/backend.h"

/* How a backend computes one kind of operation. All but run may be NULL: there is nothing to do. */
typedef struct spade_op_entry {
    size_t state_bytes; /* of the struct that begins with a spade_op; 0: the spade_op itself */
    /* Fills workspace_bytes, saved_bytes, packed_bytes; the rest of the struct is zero before. */
    spade_status (*plan)(spade_op *op);
    void (*destroy)(spade_op *op); /* what plan made, also after plan has failed */
    spade_status (*pack)(spade_op *op, const float *weights, const float *row_scale, void *packed);
    spade_status (*run)(spade_op *op, const spade_op_args *args);
} spade_op_entry;

/* Every planned operation begins with this; entries with state extend it. */
struct spade_op {
    spade_device *device;
    const spade_op_entry *entry;
    spade_op_desc desc;
    size_t workspace_bytes, saved_bytes, packed_bytes;
};

spade_status spade_op_plan(spade_device *device, const spade_op_desc *desc, spade_op **out);
void spade_op_destroy(spade_op *op); /* NULL is fine */
size_t spade_op_workspace_bytes(const spade_op *op);
size_t spade_op_saved_bytes(const spade_op *op);
size_t spade_op_packed_bytes(const spade_op *op);
spade_status spade_op_pack(spade_op *op, const float *weights, const float *row_scale, void *packed);
spade_status spade_op_run(spade_op *op, const spade_op_args *args);

#endif
