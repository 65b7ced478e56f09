/*
 * engine.h - a network made ready to run: a plan for a purpose; forward; relevance going back by rules (rule.h).
 */
#ifndef SPADE_ENGINE_ENGINE_H
#define SPADE_ENGINE_ENGINE_H

#include "network/network.h"

/* ---- packed_weights.c: weights packed for the device, dense or with a trace's in their place. */
typedef struct spade_packed_weights spade_packed_weights;
typedef struct spade_weight_override spade_weight_override; /* weight_override.h */
/* override (NULL: none): the layers' weights that take the place of the network's own. Borrowed while it lives. */
spade_status spade_packed_weights_create(spade_context *context, const spade_network *network,
                                         spade_weight_override *override, spade_packed_weights **out);
void spade_packed_weights_destroy(spade_packed_weights *weights); /* NULL is fine */

/* ---- plan.c: what is computed when, and where it lies, for one purpose */
typedef struct spade_rules spade_rules; /* rule.h */
typedef struct spade_plan_request {
    int64_t batch;            /* images */
    const spade_rules *rules; /* how relevance goes back after a forward pass; NULL: forward only */
    /* Values that can be read after the pass, and with rules their relevance too. */
    const int *taps;
    int tap_count;
    int stop; /* with rules: the value at which the walk back ends; SPADE_TO_INPUT: the network's input */
    int start; /* with rules: the value at which the walk back begins; what does not lead to it is not computed then, and has
                  no relevance. SPADE_FROM_OUTPUT: the network's output */
    bool repeat;       /* with rules: the walk back may be done again after one forward pass: what it reads stays */
    bool layer_inputs; /* the forward pass shows the input of layers to an observer */
} spade_plan_request;
enum { SPADE_TO_INPUT = -1, SPADE_FROM_OUTPUT = -1 };
static inline spade_plan_request spade_forward_request(int64_t batch)
{
    return (spade_plan_request){.batch = batch, .stop = SPADE_TO_INPUT, .start = SPADE_FROM_OUTPUT};
}
static inline spade_plan_request spade_relevance_request(int64_t batch, const spade_rules *rules)
{
    return (spade_plan_request){.batch = batch, .rules = rules, .stop = SPADE_TO_INPUT, .start = SPADE_FROM_OUTPUT};
}

typedef struct spade_plan spade_plan;
/* A node without a rule, or an operation that the backend has not, is SPADE_ERROR_UNSUPPORTED and named. What the request
 * points to is copied, but for the rules' functions and name. */
spade_status spade_plan_create(spade_context *context, const spade_network *network, const spade_plan_request *request,
                               spade_plan **out);
void spade_plan_destroy(spade_plan *plan); /* NULL is fine */
uint64_t spade_plan_bytes(const spade_plan *plan);
int64_t spade_plan_batch(const spade_plan *plan);
/* Would a plan for the request be this one? */
bool spade_plan_serves(const spade_plan *plan, const spade_plan_request *request);
/*
 * Where a pass takes its input from: device memory of this shape, [batch, C, H, W]. What is put there lasts until the next
 * pass.
 */
float *spade_plan_input(const spade_plan *plan, spade_shape *shape /* or NULL */);
/* The output [batch, classes], after a forward pass, on the device; NULL where a walk begins before it. */
const float *spade_plan_output(const spade_plan *plan);
/* What the last forward pass left: host [batch, classes]. */
spade_status spade_plan_read_output(const spade_plan *plan, float *output);
/* With rules. Where the walk back takes the relevance of the output from, [batch, classes], or of the value where it begins,
 * and where it leaves that of the value where it ends, both in the value's shape and layout: device memory. */
float *spade_plan_output_relevance(const spade_plan *plan);
const float *spade_plan_relevance(const spade_plan *plan);
/* Tap i of the request, after a pass: the value, its shape, and with rules its relevance. */
const float *spade_plan_tap(const spade_plan *plan, int i, spade_shape *shape /* or NULL */);
const float *spade_plan_tap_relevance(const spade_plan *plan, int i);

/* Called before a layer's node runs: x is its input on the device, in its planned layout, for the plan's batch. */
typedef spade_status (*spade_layer_observer)(void *user, int layer, const spade_shape *shape, const float *x);

/* ---- forward.c. input: host [batch, C, H, W] row-major; NULL: it is in spade_plan_input already. output (may be NULL):
 * host [batch, classes]. wanted: observe only these layers (bool per layer), nodes after the last of them are skipped where
 * output is NULL; wanted NULL: all layers. */
spade_status spade_run_forward(spade_plan *plan, spade_packed_weights *weights, const float *input, float *output,
                               spade_layer_observer observer, void *user, const bool *wanted);

/* ---- backward.c: after spade_run_forward with the same plan, which has rules: from spade_plan_output_relevance to
 * spade_plan_relevance. Once, or with `repeat` in the request as often as new relevance is put there. The work is given to
 * the device, nobody waits for it. */
spade_status spade_run_backward(spade_plan *plan, spade_packed_weights *weights);
typedef struct spade_rule_account spade_rule_account; /* rule.h */
/* Who watches a walk; a function that is NULL is not called. Relevance is device memory. */
typedef struct spade_walk_observer {
    void *user;
    /* Before relevance goes back through a node: that of its output, complete. */
    spade_status (*relevance)(void *user, int node, const spade_shape *shape, const float *relevance);
    /* A share of a value's relevance, as it is added to it. What goes back through several nodes at once is `node`'s, the
     * first one's. */
    spade_status (*share)(void *user, int node, int value, const spade_shape *shape, const float *share);
    /* After a node: what stays there, as spade_rule.account says, else nothing. */
    spade_status (*account)(void *user, int node, const spade_rule_account *account);
} spade_walk_observer;
/* The same walk, watched; observer NULL: by nobody. */
spade_status spade_run_backward_observed(spade_plan *plan, spade_packed_weights *weights,
                                         const spade_walk_observer *observer);

#endif
