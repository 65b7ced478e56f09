/*
 * pipeline.h - the loop that every command over many inputs runs: inputs are read ahead, worked on in groups, their traces
 * found together, and handed to the command (the consumer) one after the other, in their order.
 *
 * One input's failure stays its own: what goes wrong for a group as a whole (a Hessian that cannot be factored, memory
 * that holds one input but not several) is tried again with each of its inputs alone.
 */
#ifndef SPADE_WORKLOAD_PIPELINE_H
#define SPADE_WORKLOAD_PIPELINE_H

#include "workload/image_item.h"
#include "workload/workload.h"

enum { WORKLOAD_MAX_IN_FLIGHT = 64 };

/* What is done with every input, whoever consumes it. Everything is borrowed. */
typedef struct workload_plan {
    spade_context *context;
    const spade_model *model;
    const spade_preprocess *preprocess;
    const char *mask;                     /* see spade_reader; NULL: none */
    bool upright;                         /* pictures are turned as EXIF asks */
    const spade_augment_options *augment; /* the variants behind a trace */
    const spade_array *batch;             /* given variants [n, C, H, W] in their place, or NULL */
    const spade_trace_options *traces;    /* [trace_count]: the traces of an input; 0: none */
    int trace_count;
    double passes; /* forward and backward passes that the consumer makes with an input, for the estimate of the time */
    size_t bytes;  /* that the consumer holds of each input of a group, for its group_* */
    int in_flight; /* inputs in a group, at most WORKLOAD_MAX_IN_FLIGHT; 0: as many as pay on the device. On the CPU results do
                      not depend on it, elsewhere only by rounding. */
    const spade_workload_events *events;
} workload_plan;

/* One input on its way through the loop. */
typedef struct workload_item {
    const spade_input *input;
    const spade_image_item *image;
    spade_trace *const *traces; /* [trace_count]; NULL before they are found, or where none are wanted */
    bool in_group;              /* its traces were found together with those of other inputs */
    double from, to;            /* share of the whole job that its last step is */
} workload_item;

/*
 * What a command does with an input. `state`: the consumer's own [state_bytes] for one input, zeroed before `dense`.
 * From dense and process, SPADE_ERROR_INPUT and SPADE_ERROR_NUMERICAL are the input's own failures; from anywhere else,
 * and any other status, ends the job.
 */
typedef struct workload_consumer {
    void *user;
    size_t state_bytes;
    /* Before `dense` and before `process` of the inputs of a group that did not fail, on a device that several keep busier than
     * one: what is made of them at once. NULL: nothing. A failure ends the group, which is tried again one by one. */
    spade_status (*group_dense)(void *user, const workload_item *items, void *const *states, int count);
    spade_status (*group_process)(void *user, const workload_item *items, void *const *states, int count);
    void (*group_end)(void *user); /* after the last of its inputs, also where it broke off */
    /* Before any trace: an input that the dense network cannot take is not worth one. */
    spade_status (*dense)(void *user, const workload_item *item, void *state);
    /* After the traces: maps, metrics, files. May be tried again after a failure that the group shares. */
    spade_status (*process)(void *user, const workload_item *item, void *state);
    /* The input is done: write its record. */
    spade_status (*record)(void *user, const workload_item *item, void *state);
    /* The input could not be used; the message names it. */
    spade_status (*failed)(void *user, const spade_input *input, const char *message);
    void (*clear)(void *state);
} workload_consumer;

/* Inputs that are not all known before the work begins. */
typedef struct workload_source {
    void *user;
    /* The next inputs, at most `most`, copied to out; what they point to stays until the run has ended. *count 0: there are no
     * more. Asked ahead, while the inputs before are worked on. Its failure ends the job. */
    spade_status (*next)(void *user, spade_input *out, int most, int *count);
    int64_t total; /* how many there are, or may be: for progress and the estimate of the time */
} workload_source;

spade_status workload_run_from(const workload_plan *plan, const workload_source *source,
                               const workload_consumer *consumer, bool *stopped);
/* *stopped: events->stop said so, and inputs are left. */
spade_status workload_run(const workload_plan *plan, const spade_inputs *inputs, const workload_consumer *consumer,
                          bool *stopped);

/* Is a report to be written? Also when the job broke off: what was done is worth keeping. Where nothing was done, only in place
 * of an earlier run's, FOLDER/report, which is not true any more. */
bool workload_reports(const char *folder, const char *report, const spade_workload_outcome *outcome);

/* ---- estimate.c: seconds for one input, from a timed forward pass and counted operations */
typedef struct time_estimate {
    double traces, maps;
} time_estimate;
spade_status estimate_time(const workload_plan *plan, const float *input, time_estimate *out);

#endif
