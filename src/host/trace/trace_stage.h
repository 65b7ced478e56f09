/*
 * trace_stage.h - the trace's inside, shared by the files of this stage.
 */
#ifndef SPADE_TRACE_STAGE_H
#define SPADE_TRACE_STAGE_H

#include "engine/engine.h"
#include "engine/model.h"
#include "engine/weight_override.h"
#include "spade/trace.h"

struct spade_trace {
    spade_weight_override base; /* first: the graph reads a trace as its override */
    spade_trace_layer *layers;
    double seconds[3];
};

/* As spade_trace_weights(), with what went wrong. */
spade_status spade_trace_read(const spade_trace *trace, int layer, const float **out);

/* What is asked of one layer. */
typedef struct spade_layer_options {
    double sparsity; /* 0: it stays as it is; n:m: 1 - n/m */
    spade_solver solver;
    spade_group group;
    spade_solve_options solve;
    int64_t block;
    int keep, of;
} spade_layer_options;

/* select.c: of every layer [layers]. Globs and values are checked here. */
spade_status spade_trace_layer_options(spade_context *context, const spade_model *model,
                                       const spade_trace_options *options, spade_layer_options *choices);

/* find.c: Hessians and sparse weights of the layers with a sparsity above 0, in as many passes as the budget asks for.
 * traces [batch_count * option_count] are there, without any change. */
spade_status spade_trace_search(spade_context *context, const spade_batch *const *batches, int batch_count,
                                const spade_trace_options *options, int option_count, spade_trace *const *traces);

#endif
