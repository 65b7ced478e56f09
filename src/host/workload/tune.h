/* tune.h - what the files of the tune workload share. Private to workload/. */
#ifndef SPADE_WORKLOAD_TUNE_H
#define SPADE_WORKLOAD_TUNE_H

#include "trace/trace.h"
#include "workload/evaluate.h"

/* What can be chosen for a stage: that it stays dense (0), or spade_sparsity_levels[choice - 1]. */
enum { TUNE_CHOICES = SPADE_SPARSITY_LEVELS + 1 };
double tune_sparsity(int choice);

/* What was found of one choice. */
typedef struct tune_value {
    double mean;    /* of the metric, over pictures, seeds and methods; NaN: it was not tried */
    double changed; /* share of the traces that decide for another class than the network */
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

/* ---- tune_stages.c */
/* In the order of the network: as the globs say (given: "GLOB[,...]"), or by the names of layers (NULL). Cleared also after a
 * failure. */
spade_status tune_stages_open(spade_context *context, const spade_model *model, const spade_trace_options *options,
                              const char *given, tune_stage **out, int *count);
void tune_stages_close(tune_stage *stages, int count); /* NULL is fine */

/* ---- tune_config.c */
/* The configuration: the settings of a trace that are not the defaults, and the sparsities of the stages; before it, as comments,
 * what `summary` says of it. Renamed into place when complete. */
spade_status tune_write_config(spade_context *context, const char *path, const spade_settings *settings,
                               const spade_model *model, const tune_stage *stages, int count, const json_t *summary);

#endif
