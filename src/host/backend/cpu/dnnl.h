/* dnnl.h - what the operations on oneDNN (convolution.c, pool.c) share. */
#ifndef SPADE_CPU_DNNL_H
#define SPADE_CPU_DNNL_H

#include "backend/cpu/cpu.h"

/* An operand of a oneDNN primitive. Primitives work channels-last; a row-major tensor passes through a copy in the
 * workspace. */
typedef struct spade_cpu_operand {
    dnnl_memory_t memory;
    const spade_shape *shape; /* the tensor's; in the operation's description */
    bool convert;
    size_t offset; /* of the copy in the workspace */
} spade_cpu_operand;

/* A planned operation that oneDNN computes: its primitive and the primitive's operands. */
typedef struct spade_cpu_dnnl_op {
    spade_op base;
    int threads; /* of the primitive: 1 where its sums would depend on the number of threads */
    dnnl_primitive_t primitive;
    dnnl_primitive_t without_saved;  /* max pooling that writes no `saved` */
    spade_cpu_operand input, output; /* x and y, or dy and dx */
    dnnl_memory_t weights, bias, saved, scratchpad;
    size_t scratchpad_offset; /* in the workspace */
    size_t bias_offset;       /* in the packed weights: zeros, for a convolution without bias */
} spade_cpu_dnnl_op;

static inline spade_cpu_dnnl_op *spade_cpu_dnnl_of(spade_op *base)
{
    return (spade_cpu_dnnl_op *)base;
}

/* SPADE_OK for dnnl_success, else the kind of failure that a oneDNN status is, with the operation described. */
spade_status spade_cpu_dnnl_status(const spade_cpu_dnnl_op *op, dnnl_status_t result, const char *call);
/* A sliding window as oneDNN takes it: its own array type, dilation counts from 0. */
typedef struct spade_cpu_window {
    dnnl_dims_t kernel, stride, dilation, pad_before, pad_after;
} spade_cpu_window;
void spade_cpu_dnnl_window(const spade_window *window, spade_cpu_window *out);
/* A channels-last tensor of this shape. */
spade_status spade_cpu_dnnl_shape(const spade_cpu_dnnl_op *op, const spade_shape *shape, dnnl_memory_desc_t *out);
/* Attributes: strict float32, scratchpad from the caller, relu after it where asked. */
spade_status spade_cpu_dnnl_attributes(const spade_cpu_dnnl_op *op, bool relu, dnnl_primitive_attr_t *out);
spade_status spade_cpu_dnnl_memory(const spade_cpu_dnnl_op *op, const dnnl_memory_desc_t *desc, dnnl_memory_t *out);
/* From a primitive's descriptor: its operands, its scratchpad, where both lie in the workspace. */
spade_status spade_cpu_dnnl_operands(spade_cpu_dnnl_op *op, const_dnnl_primitive_desc_t primitive_desc);
/* Run with the operands bound: extra holds the other arguments (weights, bias, saved). */
spade_status spade_cpu_dnnl_execute(spade_cpu_dnnl_op *op, dnnl_primitive_t primitive, const spade_op_args *args,
                                    const dnnl_exec_arg_t *extra, int extra_count);
void spade_cpu_dnnl_destroy(spade_op *base);

#endif
