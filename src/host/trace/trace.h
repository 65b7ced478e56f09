/*
 * trace.h - the trace's inside, shared by the files of this stage.
 */
#ifndef SPADE_TRACE_INTERNAL_H
#define SPADE_TRACE_INTERNAL_H

#include "engine/engine.h"
#include "engine/model.h"
#include "engine/weight_override.h"
#include "solve/solver.h"
#include "spade/trace.h"

struct spade_trace {
    spade_weight_override base; /* first: the engine reads a trace as its weight override */
    spade_trace_layer *layers;
    double seconds[3];
    bool chosen; /* by SPADE_SPARSITY_AUTO */
    spade_sparsity_choice choice;
};

/* As spade_trace_weights(), with a status. */
spade_status spade_trace_read(const spade_trace *trace, int layer, const float **out);

/* What the options and their rules say of one layer. Like the method it has no gaps. */
typedef struct spade_layer_options {
    double sparsity; /* 0: the layer stays dense; n:m: 1 - n/m */
    spade_layer_method method;
} spade_layer_options;

/* ---- layer_options.c: of every layer [layers]. Globs and values are checked here. */
spade_status spade_trace_layer_options(spade_context *context, const spade_model *model,
                                       const spade_trace_options *options, spade_layer_options *layers);
/* Every layer's solver is asked the same by both; false where it is asked what is refused. */
bool spade_trace_same_layers(spade_context *context, const spade_model *model, const spade_trace_options *a,
                             const spade_trace_options *b);

/* [layers]: the layer has the same sparsity, or none, whatever an automatic one comes to. *open: how many prunable layers have not. */
spade_status spade_trace_fixed_layers(spade_context *context, const spade_model *model,
                                      const spade_trace_options *options, bool *fixed, int *open);
/* Warn of what rounding leaves of the sparsity that was chosen for the trace. Nothing where it was given: that was said when the
 * options were checked. */
spade_status spade_trace_warn_of_choice(spade_context *context, const spade_trace *trace,
                                        const spade_trace_options *options, const char *title);

/* spade_trace_check_options(), of options in our own size. */
spade_status spade_trace_check_layers(spade_context *context, const spade_model *model,
                                      const spade_trace_options *options);

/* ---- search.c: Hessians and sparse weights of the layers with a sparsity above 0, in as many passes as the budget asks
 * for. traces [batch_count * option_count] exist already, without any change. */
spade_status spade_trace_search(spade_context *context, const spade_batch *const *batches, int batch_count,
                                const spade_trace_options *options, int option_count, spade_trace *const *traces);
/* The sparsities, beside 0, that are tried where one is to be found. */
enum { SPADE_SPARSITY_LEVELS = 6 };
extern const double spade_sparsity_levels[SPADE_SPARSITY_LEVELS];
/* ---- choose_sparsity.c: the same, where some of the options have SPADE_SPARSITY_AUTO. */
spade_status spade_trace_search_and_choose(spade_context *context, const spade_batch *const *batches, int batch_count,
                                           const spade_trace_options *options, int option_count,
                                           spade_trace *const *traces);

#endif
