/*
 * plan.h - inside of a plan: shared by fuse.c (what is computed together), plan.c (when), plan_ops.c (the backend's
 * operations), rule_plan.c (what rules ask for), arena.c (where it lies), forward.c and backward.c.
 *
 * Time: 0 the input arrives; 1..step_count the steps; then one moment per node of the walk back, from the last node to the
 * first; then the end, at which taps are still there.
 */
#ifndef SPADE_ENGINE_PLAN_H
#define SPADE_ENGINE_PLAN_H

#include "engine/rule.h"

/* A piece of the arena, in use from `first` to `last` (both included). */
typedef struct spade_buffer {
    size_t offset, bytes;
    int first, last;
} spade_buffer;

/* Pointwise steps of one node after another, run as one operation. */
typedef struct spade_sequence {
    int count;
    struct {
        int node;
        spade_node_step how;
    } steps[SPADE_POINTWISE_STEPS];
} spade_sequence;

/* One operation of the forward pass: a node, a layer with the normalisation and relu after it, or a pointwise sequence. */
typedef struct spade_step {
    int node;                         /* the (first) node */
    int fused[SPADE_POINTWISE_STEPS]; /* pointwise nodes, each of which alone reads the one before */
    int fused_count;                  /* 0: not pointwise */
    spade_sequence sequence;          /* of their steps */
    int norm;                         /* the BATCH_NORM node folded into the layer's weights, or -1 */
    bool relu;                        /* a relu is done by the operation */
    int output;                       /* value that is written: of the last node */
    int saved;                        /* buffer for what the node's backward reads of its operation, or -1 */
    spade_op *op;                     /* NULL: an alias, nothing to do; or parts */
    spade_op **parts;                 /* [inputs of the node], of a kind that writes its output in parts; else NULL */
} spade_step;

/* Who makes the share of an input. */
typedef enum spade_share_form {
    SPADE_SHARE_BY_RULE,  /* the rule's run */
    SPADE_SHARE_IS_DY,    /* it is the relevance of the output */
    SPADE_SHARE_BY_STEPS, /* a pointwise sequence */
    SPADE_SHARE_BY_OP     /* the class's gradient */
} spade_share_form;

/* What one input of a node gets. */
typedef struct spade_back_input {
    bool wanted;
    spade_share_form form;
    spade_sequence sequence;
    /* Whose input the share belongs to: this one, or that of a node before, whose steps the sequence goes on with. */
    int to_node, to_input;
    spade_op *op; /* of steps or gradient */
    spade_op_kind kind;
    bool first;       /* share of the value in the walk's order; the others are added to it */
    spade_op *reduce; /* sums over what was broadcast; NULL: nothing was */
    int scratch;      /* buffer before reduce, or -1 */
    int partial;      /* buffer of a share that is added, or -1 */
} spade_back_input;

static inline bool spade_op_has_weights(spade_op_kind kind)
{
    return kind == SPADE_OP_CONVOLUTION || kind == SPADE_OP_CONVOLUTION_BACKWARD || kind == SPADE_OP_LINEAR ||
           kind == SPADE_OP_LINEAR_BACKWARD;
}

typedef struct spade_rule_slot {
    spade_op *op;
    spade_op_kind kind;
    spade_weight_view weights;
} spade_rule_slot;

typedef struct spade_rule_buffer {
    spade_shape shape;
    int buffer;
} spade_rule_buffer;

/* How relevance goes through a node. */
typedef struct spade_back_step {
    const spade_rule *rule; /* NULL: none does: the node does not depend on the value where the walk ends */
    bool passed;            /* an earlier sequence goes on through it: nothing to do at its moment */
    unsigned keeps;         /* spade_keep bits */
    int saved;              /* of the forward step, or -1 */
    spade_back_input *inputs;
    spade_rule_slot *ops;
    int op_count;
    spade_rule_buffer *scratch;
    int scratch_count;
} spade_back_step;

struct spade_plan {
    spade_context *context;
    const spade_network *network;
    spade_plan_request request; /* taps are the plan's own copy; rules points to `rules` */
    spade_rules rules;          /* options are the plan's own copy */
    spade_step *steps;
    int step_count;
    spade_back_step *back; /* [nodes], with rules */
    bool *reached; /* [values], with rules: depends on the value where the walk ends, and leads to where it begins */
    int *value_buffer;     /* [values] into buffers; -1: constant, or fused away */
    int *relevance_buffer; /* [values], with rules; -1: none */
    spade_buffer *buffers;
    int buffer_count;
    size_t workspace_bytes; /* at the beginning of the arena */
    size_t arena_bytes;
    char *arena; /* device memory */
};

static inline int64_t spade_batch_of(const spade_plan *plan)
{
    return plan->request.batch;
}
/* The value where the walk back ends. */
static inline int spade_plan_stop(const spade_plan *plan)
{
    return plan->request.stop == SPADE_TO_INPUT ? plan->network->input : plan->request.stop;
}
/* The value where it begins. */
static inline int spade_plan_start(const spade_plan *plan)
{
    const bool inner = plan->request.rules && plan->request.start != SPADE_FROM_OUTPUT;
    return inner ? plan->request.start : plan->network->output;
}
bool spade_plan_is_tap(const spade_plan *plan, int value);
static inline bool spade_keeps_input(unsigned keeps, int input)
{
    return keeps >> (input < 7 ? input : 7) & 1;
}

/* ---- plan.c */
/* All of a plan but its arena, whose size is known then. */
spade_status spade_plan_make(spade_context *context, const spade_network *network, const spade_plan_request *request,
                             spade_plan **out);

/* ---- fuse.c */
/* The plan's steps, without their operations. */
spade_status spade_plan_steps(spade_plan *plan);
/* Sequences of the walk back go on through the nodes before, where nothing else asks for the relevance between. */
spade_status spade_plan_fuse_back(spade_plan *plan);
/* The value that step i of the sequence reads beside the running one, or -1. */
int spade_sequence_operand(const spade_network *network, const spade_sequence *sequence, int i);
/* Values that a step reads: how many at most, and the i-th; -1: none in this place. */
int spade_step_input_count(const spade_network *network, const spade_step *step);
int spade_step_input(const spade_network *network, const spade_step *step, int i);

/* ---- rule_plan.c: asks the rules */
spade_status spade_plan_ask_rules(spade_plan *plan);
void spade_plan_release_rules(spade_plan *plan);

/* ---- plan_ops.c */
spade_status spade_plan_op(spade_plan *plan, const spade_node *node, const spade_op_desc *desc, spade_op **out);
spade_status spade_plan_forward_op(spade_plan *plan, spade_step *step);
spade_status spade_plan_backward_ops(spade_plan *plan, int node);
spade_node_shapes spade_plan_shapes(const spade_plan *plan, const spade_node *node);
/* Shape in which the share of an input is made, before broadcasting is summed. */
spade_shape spade_plan_share_shape(const spade_plan *plan, const spade_node *node, int input);

/* ---- arena.c: offsets, such that buffers which are in use at the same time do not overlap; *bytes: end of the last
 * one. */
spade_status spade_arena_place(spade_context *context, spade_buffer *buffers, int count, size_t *bytes);

/* ---- packed_weights.c, for the running passes */
/* Which weights, packed for what. */
typedef struct spade_packing {
    int node;
    spade_op_kind kind;
    int64_t batch;
    int norm;  /* the BATCH_NORM folded into them, or -1 */
    bool relu; /* the operation does one too */
    spade_weight_view view;
} spade_packing;
typedef struct spade_packed_layer {
    const void *weights;
    const float *bias; /* NULL: none */
} spade_packed_layer;
/* Of a bias that is the packing's own: with a normalisation folded in, or a view of it, or where an override has biases (biased);
 * 0: the node's is meant. */
size_t spade_packing_bias_bytes(const spade_network *network, const spade_packing *packing, bool biased);
/* Made at the first call and kept, and again when the override has changed. */
spade_status spade_packed_weights_get(spade_packed_weights *weights, spade_op *op, const spade_packing *packing,
                                      spade_packed_layer *out);
const float *spade_packed_weights_parameter(const spade_packed_weights *weights, int node, int parameter);
/* Of an AXIS_MAP node, or of its transpose. */
spade_sparse_rows spade_packed_weights_map(const spade_packed_weights *weights, int node, bool transposed);
const float *spade_packed_weights_constant(const spade_packed_weights *weights, int value); /* on the device */
/* Device memory that is its own: not the parameters'. */
uint64_t spade_packed_weights_bytes(const spade_packed_weights *weights);
/* Not to be used until `attach`; what is packed stays. Returns the parameters, for the caller to release. */
struct spade_device_parameters *spade_packed_weights_detach(spade_packed_weights *weights);
/* Of the parameters' memory. */
uint64_t spade_packed_weights_generation(const spade_packed_weights *weights);
spade_status spade_packed_weights_attach(spade_packed_weights *weights, spade_weight_override *override);

/* ---- forward.c */
/* Everything that the plan's operations read of weights: once for each operation. */
typedef spade_status (*spade_packing_fn)(void *user, spade_op *op, const spade_packing *packing);
spade_status spade_plan_packings(const spade_plan *plan, spade_packing_fn each, void *user);
/* Pack all of it. */
spade_status spade_plan_prepare(const spade_plan *plan, spade_packed_weights *weights);
spade_packing spade_plan_packing(const spade_plan *plan, int node, spade_op_kind kind, spade_weight_view view);
void *spade_plan_pointer(const spade_plan *plan, int buffer);
/* A value's data: in the arena, or a constant. */
const float *spade_plan_value(const spade_plan *plan, const spade_packed_weights *weights, int value);
/* What a node's class asks for: the values and parameters of a pass. */
typedef struct spade_pass_data {
    const spade_plan *plan;
    const spade_packed_weights *weights;
} spade_pass_data;
spade_node_data spade_plan_node_data(const spade_pass_data *pass, const spade_node *node);
/* Operands of a pointwise sequence. */
void spade_sequence_bind(const spade_plan *plan, const spade_packed_weights *weights, const spade_sequence *sequence,
                         spade_op_args *args);

#endif
