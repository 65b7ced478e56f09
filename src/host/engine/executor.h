/*
 * executor.h - a plan with the weights that it runs on, ready on the device from call to call.
 *
 * One for the dense network, one for traces and one for traces with biases of their own, of each request: what it is for is a part
 * of what it is, so methods do not take each other's. The weights of a trace are packed into fixed memory, and so are biases in
 * the last: with another trace it is the same executor, and what was captured with it is right for every image.
 */
#ifndef SPADE_ENGINE_EXECUTOR_H
#define SPADE_ENGINE_EXECUTOR_H

#include "engine/cache.h"
#include "engine/capture.h"
#include "engine/weight_override.h"

typedef struct spade_executor {
    spade_cache_entry entry;
    spade_plan *plan;
    spade_packed_weights *weights;
    bool traced, biased;   /* by an override, which has biases */
    spade_capture capture; /* of what is run on it */
    spade_capture again;   /* of the walk back alone, where it is repeated */
    spade_capture checked; /* of the forward pass that looks at magnitudes: magnitude.h */
    void *scratch;         /* device memory beside the plan's, for who runs it */
    size_t scratch_bytes;
    uint64_t parameters; /* of the network: their generation */
    uint64_t generation; /* another one when any of its memory is, or that of the parameters */
} spade_executor;

/* All memory of a pass is there after it, and all weights are packed. override NULL: the dense network. */
spade_status spade_executor_acquire(spade_context *context, const spade_network *network,
                                    const spade_plan_request *request, spade_weight_override *override,
                                    spade_executor **out);
/* At least so much scratch; what was in it may be lost. */
spade_status spade_executor_scratch(spade_executor *executor, size_t bytes, const char *what);
void spade_executor_release(spade_executor *executor); /* NULL is fine */

/* Bytes that an executor of the dense network takes on the device, with packed weights and so much scratch, but without the
 * network's parameters. No device memory is taken to find out. */
spade_status spade_executor_bytes(spade_context *context, const spade_network *network,
                                  const spade_plan_request *request, size_t scratch, uint64_t *out);

/* The forward pass, captured where that is possible: from the plan's input to its output. */
spade_status spade_executor_forward(spade_executor *executor);

#endif
