/*
 * rule.h - how relevance goes back through a node. Relevance: what a method carries from the output towards the input, one
 * number for each number of a value: the gradient, DeepLift's multipliers, LRP's relevance. The relevance that one node hands to
 * one of its inputs is that input's share.
 *
 * What a rule needs, it says while the plan is made: values of the forward pass, operations of its own with a view of the
 * layer's weights, scratch. Nothing is found out in the middle of a walk. A method of attribution is then a choice of rules
 * (spade_rules) and a driver; attribution/rules/ holds them, one file a family.
 *
 *   plan   once, while the plan is made, before fusion and placement
 *   run    at every walk: from the relevance of the node's output to that of its inputs; only enqueues. NULL where plan said
 *          everything: shares by the gradient, or by pointwise steps, are the engine's work
 *
 * Relevance of a value that several nodes read is the sum of their shares, in the walk's order, from the last node to the
 * first and at a node in the order of its inputs.
 */
#ifndef SPADE_ENGINE_RULE_H
#define SPADE_ENGINE_RULE_H

#include "engine/engine.h"
#include "network/node_class.h"

typedef struct spade_rule_plan spade_rule_plan;
typedef struct spade_rule_call spade_rule_call;

/* Relevance that stays at a node: sums over all numbers of its output, in double. */
struct spade_rule_account {
    double constants;  /* what biases and constant inputs keep: their part of what the relevance is divided by */
    double stabilizer; /* what the stabiliser of a division keeps, and all of it where the divisor is 0 */
    bool rest; /* constants keep whatever is not handed on: the rule is linear around the values there are, and what it
                          leaves is its constant part */
};

typedef struct spade_rule {
    const char *name; /* "gradient", for messages */
    spade_status (*plan)(spade_rule_plan *plan, const spade_node *node, const void *options);
    spade_status (*run)(spade_rule_call *call, const spade_node *node, const void *options);
    /* In a walk that is watched, after the shares: what stays at the node. NULL: nothing should. */
    spade_status (*account)(spade_rule_call *call, const spade_node *node, const void *options,
                            spade_rule_account *out);
} spade_rule;

/* Which rule at which node: by kind, by place in the network, by name. */
struct spade_rules {
    const char *name; /* "guided backpropagation", for messages */
    /* NULL: there is none, and the plan is refused by the node's name. */
    const spade_rule *(*choose)(const spade_network *network, const spade_node *node, const void *options);
    const void *options; /* plain data of so many bytes, handed to choose, plan and run: a part of what a plan is for */
    size_t options_bytes;
};

/* Is there a rule at every node between the network's input and its output? SPADE_ERROR_UNSUPPORTED: none at the node that
 * is named, as a plan would say; nothing is planned to find out. */
spade_status spade_rules_check(spade_context *context, const spade_network *network, const spade_rules *rules);

/* reached [values], false before: the values that depend on `stop`, whose relevance comes through them. */
void spade_rules_find_reached(const spade_network *network, int stop, bool *reached);
/* leading[values], false before: what the value `start` is made of, itself included. */
void spade_rules_find_leading(const spade_network *network, int start, bool *leading);

/* ---- while planning */
/* Does the input get a share? Constants do not, nor what does not depend on the value where the walk ends. */
bool spade_rule_wants(const spade_rule_plan *plan, int input);
/* The share of the input is the gradient's: the class of the node says how. Keeps what that reads. */
spade_status spade_rule_share_by_gradient(spade_rule_plan *plan, int input);
/* The share of the input is made by these steps of the relevance of the output, element by element. */
spade_status spade_rule_share_by_steps(spade_rule_plan *plan, int input, const spade_node_step *steps, int count);
/* Otherwise `run` makes it: see below. */

/* These values are there at the node's moment: spade_keep bits. */
void spade_rule_keep(spade_rule_plan *plan, unsigned keeps);
/*
 * An operation of the rule's own, and what it sees of the layer's weights (layers only; packed once and kept). Slots count
 * from 0 in the order of these calls, so that `run` knows them.
 */
typedef enum spade_weight_view_kind {
    SPADE_W,             /* as they are, of a trace the trace's */
    SPADE_W_POSITIVE,    /* max(w, 0) */
    SPADE_W_NEGATIVE,    /* min(w, 0) */
    SPADE_W_SQUARED,     /* w * w */
    SPADE_W_ONES,        /* 1 */
    SPADE_W_PLUS_GAMMA,  /* w + gamma * max(w, 0) */
    SPADE_W_MINUS_GAMMA, /* w + gamma * min(w, 0) */
} spade_weight_view_kind;
typedef struct spade_weight_view {
    spade_weight_view_kind kind;
    float gamma;
    /* A BATCH_NORM node behind the layer that is folded into weights and bias before they are looked at; 0: none (node 0 is
     * behind no layer). */
    int norm;
} spade_weight_view;
spade_status spade_rule_op(spade_rule_plan *plan, const spade_op_desc *desc, spade_weight_view weights);
/* Scratch in the arena, at the node's moment only. Slots from 0, of their own. */
spade_status spade_rule_scratch(spade_rule_plan *plan, const spade_shape *shape);
/* Shapes for the plan's batch; through them the node's own operations (spade_node_class), to be varied. */
spade_node_shapes spade_rule_shapes(const spade_rule_plan *plan);

/* ---- while running */
const spade_network *spade_rule_network(const spade_rule_call *call);
/* Is it `run` that makes the share of the input? */
bool spade_rule_makes_share(const spade_rule_call *call, int input);
const float *spade_rule_relevance(const spade_rule_call *call); /* of the output, complete; in the output's layout */
const float *spade_rule_input(const spade_rule_call *call, int input);         /* NULL: it was not kept */
const float *spade_rule_output(const spade_rule_call *call);                   /* likewise */
const float *spade_rule_parameter(const spade_rule_call *call, int parameter); /* SPADE_SHIFT of a layer: its bias */
float *spade_rule_scratch_at(const spade_rule_call *call, int slot);
/* What an operation of the layer sees of its bias: with the same normalisation folded in and the same view as of the weights.
 * NULL: there is none. */
spade_status spade_rule_bias(spade_rule_call *call, int slot, const float **bias);
/* The arguments of the node's own gradient operation for this input, from dy (the class's bind_gradient). */
void spade_rule_bind_gradient(const spade_rule_call *call, int input, const float *dy, spade_op_args *args);
/* Run the operation; packed weights, workspace and saved maxima are filled in, the rest is in args. */
spade_status spade_rule_run(spade_rule_call *call, int slot, spade_op_args *args);
/* Where the share of an input is to be written (in the gradient's shape: before sums over what was broadcast) ... */
float *spade_rule_share(spade_rule_call *call, int input);
/* ... and that it is there. In the order of the inputs. */
spade_status spade_rule_deliver(spade_rule_call *call, int input);
/* For accounts: does the input get a share, and has it n numbers? */
bool spade_rule_has_share(const spade_rule_call *call, int input);
bool spade_rule_has_size(const spade_rule_call *call, int input, int64_t n);
/* For accounts: the shape of the output; n numbers of the device on the host, the caller's; spade_rule_free() is fine with NULL. */
spade_shape spade_rule_output_shape(const spade_rule_call *call);
spade_status spade_rule_read(const spade_rule_call *call, const float *from, int64_t n, float **out);
void spade_rule_free(const spade_rule_call *call, float *numbers, int64_t n);

#endif
