/*
 * search.h - the search for traces: from batches to sparse weights, shared by request.c, units.c and find.c.
 *
 * A request is one trace to find: a sample (batch) with its options. All requests of a sample share its Hessians. A
 * pass has one part for each sample in it: layers with their Hessians. A unit is a layer of a part with one way to
 * solve it, for all requests that ask for that: one factor, a solution for each sparsity.
 */
#ifndef SPADE_TRACE_SEARCH_H
#define SPADE_TRACE_SEARCH_H

#include "hessian/hessians.h"
#include "trace/checkpoint.h"

typedef struct spade_trace_job {
    const spade_trace_options *options;
    spade_trace *trace;
    spade_checkpoint checkpoint;
    spade_layer_options *choices; /* [layers] */
    bool *wanted;                 /* [layers] to be solved yet */
    int *sources;                 /* [layers]: the layer whose sums this one's are a part of, -1: none. A trace of its
                                    own would decide that from all its layers, and last bits depend on it. */
} spade_trace_job;

typedef struct spade_sample {
    const spade_batch *batch;
    spade_trace_job *requests;
    int count;
} spade_sample;

typedef struct spade_part {
    spade_sample *sample;
    int *layers;  /* those of the pass, with the sources of their sums before them */
    int *sources; /* as in the request */
    int count;
    spade_precision precision;
    spade_hessians *hessians;
} spade_part;

/* ---- request.c */
/* Opens the checkpoint too, and takes from it what is there. */
spade_status spade_trace_job_open(spade_context *context, const spade_batch *batch, const spade_trace_options *options,
                                  spade_trace *trace, spade_trace_job *out);
void spade_trace_job_close(spade_trace_job *request);
/* Is a layer of the part to be solved for the request, from these sums? */
bool spade_trace_job_takes(const spade_trace_job *request, const spade_part *part, int slot);
/* Where the solution of a layer belongs: device memory for the fast solver, the host's for the others. */
spade_status spade_trace_job_target(const spade_trace_job *request, int layer, float **out);
/* The layer, solved, to the checkpoint. */
void spade_trace_job_save(const spade_trace_job *request, int layer);
/* For each of the layers: the layer, in this list, whose sums its own are a part of, -1. */
void spade_find_sources(const spade_network *network, const int *layers, int count, int *sources);
/*
 * The next layers of a sample into the part (layers, sources: room for all): those that are wanted, and the sources of
 * their sums. Precision: that of the first request that is not done. count 0: all is done.
 */
spade_status spade_sample_list(spade_context *context, const spade_network *network, spade_part *part);

/* ---- units.c */
/* Solve what the parts hold, for every request that takes it. */
spade_status spade_layer_tasks_solve(spade_context *context, const spade_network *network, const spade_part *parts,
                                     int count);
/* Bytes that a layer needs while it is solved: the most that any request asks for. */
uint64_t spade_layer_tasks_bytes(const spade_context *context, const spade_network *network, const spade_part *part,
                                 int slot);
/* Multiply-adds that a layer of a request takes, where nothing of it is shared. */
double spade_layer_tasks_work(const spade_network *network, const spade_trace_job *request, int layer);

#endif
