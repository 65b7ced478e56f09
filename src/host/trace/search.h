/*
 * search.h - the search for traces: from batches of variants to sparse weights. Shared by search.c, trace_job.c and
 * layer_tasks.c.
 *
 * A job is one trace to find: a batch with one set of options. All jobs of a batch share its Hessians. A pass runs a
 * batch once through the network, for the Hessians of some layers. A layer task is a layer of a pass with one method to
 * solve it, for all jobs that ask for that: one factor, and a solution for each sparsity.
 */
#ifndef SPADE_TRACE_SEARCH_H
#define SPADE_TRACE_SEARCH_H

#include "hessian/hessians.h"
#include "solve/solver.h"
#include "trace/checkpoint.h"

typedef struct spade_trace_job {
    const spade_trace_options *options;
    spade_trace *trace;
    spade_checkpoint checkpoint;
    spade_layer_options *layers; /* [layers] */
    bool *pending;               /* [layers]: still to be solved */
    bool *kept;                  /* [layers]: solved from its inputs, without a Hessian; from sizes and options only */
    int *sources; /* [layers]: the layer whose Hessian holds this one's as a block, -1: none. Decided once, from
                                    all layers of the trace, as the last bits of a Hessian depend on it. */
} spade_trace_job;

typedef struct spade_trace_batch {
    const spade_batch *variants;
    spade_trace_job *jobs;
    int job_count;
} spade_trace_batch;

typedef struct spade_trace_pass {
    spade_trace_batch *batch;
    int *layers;  /* with the sources of their Hessians before them */
    int *sources; /* of each of `layers`, as in spade_trace_job */
    int count;
    bool *kept; /* [layers of the network], likewise */
    spade_precision precision;
    spade_hessians *hessians;
} spade_trace_pass;

/* ---- trace_job.c */
/* Also opens the checkpoint, and takes from it the layers that are there. */
spade_status spade_trace_job_open(spade_context *context, const spade_batch *variants,
                                  const spade_trace_options *options, spade_trace *trace, spade_trace_job *out);
void spade_trace_job_close(spade_trace_job *job);
/* Whether the i-th layer of the pass is to be solved for the job, with the Hessian that the pass makes of it. */
bool spade_trace_job_takes(const spade_trace_job *job, const spade_trace_pass *pass, int i);
/* Where the solution of a layer belongs: device memory for the fast solver, the host's for the others. */
spade_status spade_trace_job_target(const spade_trace_job *job, int layer, float **out);
/* Write the layer, which is solved, to the checkpoint. */
void spade_trace_job_save(const spade_trace_job *job, int layer);
/*
 * Fill the pass (layers, sources: room for all) with what the batch's jobs need next: pending layers, and the sources of
 * their Hessians. The precision is that of the first job that is not done. count 0: all jobs are done.
 */
spade_status spade_trace_pass_fill(spade_context *context, const spade_network *network, spade_trace_pass *pass);

/* ---- layer_tasks.c */
/* Solve the layers of the passes, for every job that takes them. */
spade_status spade_trace_solve(spade_context *context, const spade_model *model, const spade_trace_pass *passes,
                               int count);
/* ---- failure.c: a task failed whose variants these are. Fails, too, with what was wrong, and what would help. */
spade_status spade_trace_explain_failure(spade_context *context, const spade_network *network,
                                         const spade_batch *variants, const spade_layer_task *task);

/* What the pass asks of its batch. */
static inline spade_hessian_request spade_trace_pass_request(const spade_trace_pass *pass)
{
    return (spade_hessian_request){
        .layers = pass->layers, .count = pass->count, .kept = pass->kept, .precision = pass->precision};
}

/* Bytes that the i-th layer of the pass needs while it is solved: of the job that needs most. */
uint64_t spade_trace_solve_bytes(const spade_context *context, const spade_model *model, const spade_trace_pass *pass,
                                 int i);
/* Multiply-adds that solving a layer takes for a job that shares nothing. */
double spade_trace_solve_work(const spade_batch *variants, const spade_trace_job *job, int layer);

#endif
