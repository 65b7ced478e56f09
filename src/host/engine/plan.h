/*
 * plan.h - inside of a plan: shared by fuse.c (what is computed together), plan.c (when), plan_ops.c (the backend's
 * operations), arena.c (where it lies), run.c and backward.c.
 *
 * Time: 0 the input arrives; 1..step_count the steps; then one moment per node of the backward walk, from the last node
 * to the first.
 */
#ifndef SPADE_ENGINE_PLAN_H
#define SPADE_ENGINE_PLAN_H

#include "engine/engine.h"

/* A piece of the arena, in use from `first` to `last` (both included). */
typedef struct spade_buffer {
    size_t offset, bytes;
    int first, last;
} spade_buffer;

/* One operation of the forward pass: a node, a layer with the normalisation and relu after it, or a chain. */
typedef struct spade_step {
    int node;                         /* the (first) node */
    int chain[SPADE_POINTWISE_STEPS]; /* elementwise nodes, each of which alone reads the one before */
    int chain_length;                 /* 0: not a chain */
    int norm;                         /* the BATCH_NORM node folded into the layer's weights, or -1 */
    bool relu;                        /* a relu is done by the operation */
    int output;                       /* value that is written: of the last node */
    int saved;                        /* buffer for max pooling's backward, or -1 */
    spade_op *op;                     /* NULL: an alias, nothing to do */
} spade_step;

/* What the backward rules of a node work with. Per input i: d(input) = sum over broadcast axes of op(dy, ...). */
typedef struct spade_back_step {
    spade_op *op[2];     /* NULL: d(input) is dy itself, or the input needs none */
    spade_op *reduce[2]; /* sums what broadcasting repeated; NULL: nothing was */
    spade_op *past[2];   /* op, and the gradient of the BATCH_NORM that made the input, which nothing else reads; NULL:
                            there is none. For the walk by the gradient's own rules (backward.c) */
    int scratch[2];      /* buffer between op and reduce, or -1 */
    int partial[2];      /* buffer for a contribution that is not the input's first, or -1 */
    int saved;           /* of the forward step, or -1 */
} spade_back_step;

struct spade_plan {
    spade_context *context;
    const spade_network *network;
    int64_t batch;
    unsigned flags;
    spade_step *steps;
    int step_count;
    spade_back_step *back; /* [nodes], with SPADE_PLAN_BACKWARD */
    int *value_buffer;     /* [values] into buffers; -1: constant, or fused away */
    int *gradient_buffer;  /* [values], with SPADE_PLAN_BACKWARD; -1: none */
    spade_buffer *buffers;
    int buffer_count;
    size_t workspace_bytes; /* at the beginning of the arena */
    size_t arena_bytes;
    char *arena; /* device memory */
};

/* ---- fuse.c */
/* The plan's steps, without their operations. */
spade_status spade_plan_steps(spade_plan *plan);
/* user[values]: the one node that reads the value; below 0: none or several, or it is the network's output. malloc'ed,
 * NULL: out of memory. */
int *spade_network_users(const spade_network *network);
/* Does the gradient's rule of the node read its input k, or (k = -1) its output? */
bool spade_rule_reads(const spade_node *node, int k);
/* Stages that an elementwise node is in a chain; 0: it is none. */
int spade_pointwise_steps(const spade_node *node);
/* The value that node i of the chain takes beside the one before it (i = 0: beside its first input), or -1. */
int spade_pointwise_operand(const spade_network *network, const spade_step *step, int i);
/* Values that a step reads, x first; their number. */
int spade_step_inputs(const spade_network *network, const spade_step *step, int values[1 + SPADE_POINTWISE_STEPS]);

/* ---- plan_ops.c */
spade_status spade_plan_forward_op(spade_plan *plan, spade_step *step);
spade_status spade_plan_backward_ops(spade_plan *plan, const int *user, int node);
/* Shape that op writes for input i of the node: of the input, before broadcasting is summed. */
spade_shape spade_plan_full_shape(const spade_plan *plan, const spade_node *node, int input);
bool spade_same_dims(const spade_shape *a, const spade_shape *b);
bool spade_same_shape(const spade_shape *a, const spade_shape *b); /* dims and layout */

/* ---- arena.c: offsets, such that buffers which are in use at the same time do not overlap; *bytes: end of the last
 * one. */
spade_status spade_arena_place(spade_context *context, spade_buffer *buffers, int count, size_t *bytes);

/* ---- weights.c, for the running passes */
typedef struct spade_packed_layer {
    const void *weights;
    const float *bias; /* NULL: none */
} spade_packed_layer;
/* Packed for this operation of the node; made at the first call and kept, and again when the override has changed. */
spade_status spade_packed_weights_get(spade_packed_weights *weights, spade_op *op, spade_op_kind kind, int64_t batch,
                                      int node, int norm, bool relu, spade_packed_layer *out);
const float *spade_packed_weights_scale(const spade_packed_weights *weights, int node); /* BATCH_NORM, on the device */
const float *spade_packed_weights_shift(const spade_packed_weights *weights, int node);
const float *spade_packed_weights_constant(const spade_packed_weights *weights,
                                           int value); /* constant value, on the device */
/* Device memory that is its own: not the parameters'. */
uint64_t spade_packed_weights_bytes(const spade_packed_weights *weights);
/* Not to be used until `wake`; what is packed stays. Returns the parameters, for the caller to give back. */
struct spade_device_parameters *spade_packed_weights_detach(spade_packed_weights *weights);
/* Of the parameters' memory. */
uint64_t spade_packed_weights_generation(const spade_packed_weights *weights);
spade_status spade_packed_weights_attach(spade_packed_weights *weights, spade_weight_override *override);

/* ---- run.c */
/* A layer's weights for its operation of the backward walk. */
spade_status spade_plan_pack_back(const spade_plan *plan, spade_packed_weights *weights, int node,
                                  spade_packed_layer *out);
/* Pack all that the plan's operations read. */
spade_status spade_plan_prepare(const spade_plan *plan, spade_packed_weights *weights);
void *spade_plan_pointer(const spade_plan *plan, int buffer);
/* A value's data: in the arena, or a constant. */
const float *spade_plan_value(const spade_plan *plan, const spade_packed_weights *weights, int value);

#endif
