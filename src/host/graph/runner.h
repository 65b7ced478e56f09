/*
 * runner.h - a plan with the weights that it runs on, ready on the device from call to call.
 *
 * One for the dense network and one for traces, of each batch and purpose. The weights of a trace are packed into fixed
 * memory: with another trace it is the same runner, and what was recorded with it is right for every image.
 */
#ifndef SPADE_GRAPH_RUNNER_H
#define SPADE_GRAPH_RUNNER_H

#include "graph/overlay.h"
#include "graph/ready.h"
#include "graph/repeat.h"

typedef struct spade_runner {
    spade_ready_item item;
    spade_plan *plan;
    spade_weights *weights;
    bool traced;
    int64_t batch;
    unsigned flags;
    spade_repeat repeat; /* what is run on it */
    void *scratch;       /* device memory beside the plan's, for who runs it */
    size_t scratch_bytes;
    uint64_t parameters; /* of the network: their serial */
    uint64_t serial;     /* another one when any of its memory is, or that of the parameters */
} spade_runner;

/* All memory of a pass is there after it, and all weights are packed. overlay NULL: the dense network. */
spade_status spade_runner_take(spade_context *context, const spade_graph *graph, int64_t batch, unsigned flags,
                               spade_weight_overlay *overlay, spade_runner **out);
/* At least so much scratch; what was in it may be lost. */
spade_status spade_runner_scratch(spade_runner *runner, size_t bytes, const char *what);
void spade_runner_give(spade_runner *runner); /* NULL is fine */

/* The forward pass, recorded where that is possible: from the plan's input to its output. */
spade_status spade_runner_forward(spade_runner *runner);

#endif
