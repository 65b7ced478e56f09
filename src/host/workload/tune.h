/* tune.h - what the files of the tune workload share. Private to workload/. */
#ifndef SPADE_WORKLOAD_TUNE_H
#define SPADE_WORKLOAD_TUNE_H

#include "trace/solution_file.h"
#include "workload/evaluate.h"

/* What can be chosen for a stage: that it stays dense (0), or spade_sparsity_levels[choice - 1]. */
enum { TUNE_CHOICES = SPADE_SPARSITY_LEVELS + 1 };
double tune_sparsity(int choice);

/* What was found of one choice. */
typedef struct tune_value {
    double
        mean; /* of the metric, over pictures, seeds and methods; NaN: it was not tried, or has no value of a trace */
    double changed;  /* share of the traces that decide for another class than the network */
    int64_t missing; /* traces of which the metric has no value: the choice cannot be compared, and is not taken */
} tune_value;

/* Layers that get one sparsity. */
typedef struct tune_stage {
    char *name;
    int *layers; /* those of its layers that the settings want pruned */
    int layer_count;
    tune_value values[TUNE_CHOICES];
    bool tried;
    int choice;
} tune_stage;

/* What the pictures of one kind came to on a network. */
typedef struct tune_tally {
    double sum;
    int64_t count, changed, missing;
} tune_tally;

typedef struct tune_job {
    spade_context *context;
    const spade_tune_request *request;
    const spade_workload_events *events;
    spade_workload_outcome *outcome;
    spade_evaluate_request evaluated; /* what the evaluation is asked for: all but traces */
    evaluate_job evaluate; /* methods, metric, pictures and labels; its columns are the network and candidates */
    tune_stage *stages;
    int stage_count;
    spade_trace_options levels[SPADE_SPARSITY_LEVELS];
    spade_layer_rule *rules; /* the settings', without sparsities */
    int *order;              /* [pictures]: first those that are tuned on, then those that are kept aside */
    bool *failed;            /* [pictures]: it cannot be used */
    int tuned, aside, seeds;
    solution_file solutions; /* of trace ((place in order) * seeds + seed) * SPADE_SPARSITY_LEVELS + level */
    spade_trace *candidates[SPADE_SPARSITY_LEVELS];
    tune_tally dense; /* over what is tuned on */
    double start;     /* of the job, in seconds */
    spade_reader reader;
    bool announced; /* how long it will take was said */
} tune_job;

/* The share of the traces that may change the class on the pictures that are tuned on: a quarter of what may on all, as of many
 * candidates the one that is best there keeps fewer classes on others. */
static inline double tune_changed_limit(const tune_job *job)
{
    return job->request->max_changed / 4;
}

/* ---- tune_picture.c: what is done with one picture, by its number among the inputs */
/* The user wants the job to stop, which the outcome says from now on. */
bool tune_stopped(const tune_job *job);
/* How a step ended for a picture: one that cannot be used is named, once, and left out from now on: SPADE_OK. Any other status stays
 * what it is. */
spade_status tune_fail_picture(tune_job *job, int input, spade_status status);
/* Cleared by the caller, also after a failure. */
spade_status tune_load(tune_job *job, int input, spade_image_item *item);
/* Its variants, of the settings' seed plus this one. */
spade_status tune_batch(const tune_job *job, const spade_image_item *item, int seed, spade_batch **out);
/* The metric, its mean over the methods, of the maps on the network and on traces [count]: values [count + 1], NaN where a method has
 * none; and whether each network decides for another class than the dense one. */
spade_status tune_measure(tune_job *job, int input, const spade_image_item *image, spade_trace *const *traces,
                          int count, double *values, bool *changed);

/* ---- tune_search.c: the pictures that are tuned on */
/* Layers at every sparsity, into the file. share: of the whole job. */
spade_status tune_solve(tune_job *job, double share);
/* The stages' choices. *reached: what they come to. from..to: share of the whole job. */
spade_status tune_search(tune_job *job, tune_value *reached, double from, double to);

/* A layer's name as a glob that matches nothing else; NULL: out of memory. */
char *tune_escape(const char *name);

/* ---- tune_compare.c: the pictures that were kept aside. *out: new reference; NULL where there are none, or none can be used. */
spade_status tune_compare(tune_job *job, double from, json_t **out);

/* ---- tune_stages.c */
/* In the order of the network: as the globs say (given: "GLOB[,...]"), or by the names of layers (NULL). Cleared also after a
 * failure. */
spade_status tune_stages_open(spade_context *context, const spade_model *model, const spade_trace_options *options,
                              const char *given, tune_stage **out, int *count);
void tune_stages_close(tune_stage *stages, int count); /* NULL is fine */

/* ---- tune_config.c */
/* The request's output: settings of pictures and traces that are not the defaults, without sparsities, and those of the stages; before it,
 * as comments, what `summary` says of it. Renamed into place when complete. */
spade_status tune_write_config(const tune_job *job, const json_t *summary);

#endif
