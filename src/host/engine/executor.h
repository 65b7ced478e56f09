/*
 * executor.h - a plan with the weights that it runs on, ready on the device from call to call.
 *
 * One for the dense network and one for traces, of each batch and purpose. The weights of a trace are packed into fixed
 * memory: with another trace it is the same executor, and what was captured with it is right for every image.
 */
#ifndef SPADE_ENGINE_RUNNER_H
#define SPADE_ENGINE_RUNNER_H

#include "engine/weight_override.h"
#include "engine/cache.h"
#include "engine/capture.h"

typedef struct spade_executor {
    spade_cache_entry item;
    spade_plan *plan;
    spade_packed_weights *weights;
    bool traced;
    int64_t batch;
    unsigned flags;
    spade_capture capture; /* what is run on it */
    void *scratch;         /* device memory beside the plan's, for who runs it */
    size_t scratch_bytes;
    uint64_t parameters; /* of the network: their generation */
    uint64_t generation; /* another one when any of its memory is, or that of the parameters */
} spade_executor;

/* All memory of a pass is there after it, and all weights are packed. override NULL: the dense network. */
spade_status spade_executor_acquire(spade_context *context, const spade_network *network, int64_t batch, unsigned flags,
                                    spade_weight_override *override, spade_executor **out);
/* At least so much scratch; what was in it may be lost. */
spade_status spade_executor_scratch(spade_executor *executor, size_t bytes, const char *what);
void spade_executor_release(spade_executor *executor); /* NULL is fine */

/* The forward pass, captured where that is possible: from the plan's input to its output. */
spade_status spade_executor_forward(spade_executor *executor);

#endif
