/*
 * engine.h - a network made ready to run: its plan for a batch; forward with taps; backward by a table of rules.
 */
#ifndef SPADE_ENGINE_ENGINE_H
#define SPADE_ENGINE_ENGINE_H

#include "network/network.h"

/* ---- weights.c: weights packed for the device, dense or with a trace over them. One per (network, trace), shared by
 * its plans. */
typedef struct spade_packed_weights spade_packed_weights;
typedef struct spade_weight_override spade_weight_override; /* weight_override.h */
/* override (engine/weight_override.h; NULL: none): the layers' weights that take the place of the network's own. Borrowed while
 * it lives. */
spade_status spade_packed_weights_create(spade_context *context, const spade_network *network,
                                         spade_weight_override *override, spade_packed_weights **out);
void spade_packed_weights_destroy(spade_packed_weights *weights); /* NULL is fine */

/* ---- plan.c: memory plan of a network for one batch size: liveness, offsets in one arena, the largest workspace */
typedef struct spade_plan spade_plan;
typedef enum spade_plan_flags {
    SPADE_PLAN_FORWARD =
        0, /* logits only: activations are dropped as soon as they are used; normalisation and relu fused */
    SPADE_PLAN_BACKWARD = 1, /* keeps what the backward rules read */
    SPADE_PLAN_TAPS = 2      /* forward for taps: the input of every layer is seen by the tap */
} spade_plan_flags;
spade_status spade_plan_create(spade_context *context, const spade_network *network, int64_t batch, unsigned flags,
                               spade_plan **out);
void spade_plan_destroy(spade_plan *plan); /* NULL is fine */
uint64_t spade_plan_bytes(const spade_plan *plan);
int64_t spade_plan_batch(const spade_plan *plan);
/* Where a pass takes its input from: device memory of this shape, [batch, C, H, W]. What is put there lasts until the
 * next pass. */
float *spade_plan_input(const spade_plan *plan, spade_shape *shape /* or NULL */);
/* What the last forward pass left: host [batch, classes]. */
spade_status spade_plan_read_output(const spade_plan *plan, float *output);

/* The output [batch, classes], after a forward pass. With SPADE_PLAN_BACKWARD also where the walk back takes its seed
 * from, d(output), and where it leaves its result, d(input): all device memory, row-major. */
const float *spade_plan_output(const spade_plan *plan);
float *spade_plan_seed(const spade_plan *plan);
const float *spade_plan_input_gradient(const spade_plan *plan);

/* Called before a layer's node runs: x is its input on the device, in its planned layout, for the plan's batch. */
typedef spade_status (*spade_tap_fn)(void *user, int layer, const spade_shape *shape, const float *x);

/* ---- run.c. input: host [batch, C, H, W] row-major; NULL: it is in spade_plan_input already. output (may be NULL):
 * host [batch, classes]. wanted: tap only these layers (bool per layer); nodes after the last wanted one are skipped
 * when output is NULL. */
spade_status spade_run_forward(spade_plan *plan, spade_packed_weights *weights, const float *input, float *output,
                               spade_tap_fn tap, void *user, const bool *wanted);

/*
 * ---- backward.c: one graph walk, a table of rules per node kind. A rule turns the relevance (gradient, multiplier,
 * ...) of a node's output into that of its inputs, using the planned backward operations and the saved activations.
 * NULL: no rule, the method fails naming it.
 */
typedef struct spade_backward
    spade_backward; /* state of one walk: accessors in engine/backward.h for rules that live in interpret/ */
typedef spade_status (*spade_rule_fn)(spade_backward *walk, const spade_node *node, int node_index);
typedef struct spade_rules {
    const char *name;
    spade_rule_fn rule[SPADE_NODE_KIND_COUNT];
} spade_rules;
extern const spade_rules spade_rules_gradient;
/* After spade_run_forward with the same plan (SPADE_PLAN_BACKWARD): from spade_plan_seed to spade_plan_input_gradient.
 * Enqueued only. */
spade_status spade_walk_back(spade_plan *plan, spade_packed_weights *weights, const spade_rules *rules);

#endif
