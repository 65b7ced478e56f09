/*
 * trace_stage.h - the trace's inside, shared by the files of this stage.
 */
#ifndef SPADE_TRACE_STAGE_H
#define SPADE_TRACE_STAGE_H

#include "graph/graph.h"
#include "graph/overlay.h"
#include "spade/trace.h"

struct spade_trace {
    spade_weight_overlay base; /* first: the graph reads a trace as its overlay */
    spade_trace_layer *layers;
    double seconds[3];
};

/* select.c: the sparsity of every layer [layers], 0 where it stays as it is. Globs are checked here. */
spade_status spade_trace_select(spade_context *context, const spade_model *model, const spade_trace_options *options,
                                double *sparsities);
/* Columns a block of a layer. */
int64_t spade_trace_block(const spade_layer *layer, const spade_trace_options *options);

/* Room for a layer's own weights; once there, it stays. */
spade_status spade_trace_reserve(spade_context *context, spade_trace *trace, int layer);

/* find.c: Hessians and sparse weights of the layers with a sparsity above 0, in as many passes as the budget asks for
 */
spade_status spade_trace_find(spade_context *context, spade_trace *trace, const spade_batch *batch,
                              const spade_trace_options *options);

#endif
