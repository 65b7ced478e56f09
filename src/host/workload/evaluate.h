/* evaluate.h - what the files of the evaluate workload share. Private to workload/. */
#ifndef SPADE_WORKLOAD_EVALUATE_H
#define SPADE_WORKLOAD_EVALUATE_H

#include "report/class_choice.h"
#include "report/report.h"
#include "workload/pipeline.h"
#include "workload/results.h"
#include "workload/workload.h"

/* The networks that are compared: first the dense one, then its traces. */
enum { EVALUATE_MAX_COLUMNS = 17 };
typedef struct evaluate_column {
    char *name;              /* "dense", "fast", or a configuration's file without its suffix */
    spade_settings settings; /* of a configuration; else zeros */
    bool configured;
    spade_layer_rule *rules;   /* of a solver: the settings' without those about solvers; owned */
    spade_trace_options trace; /* of all but the first; its lists are the settings' */
} evaluate_column;

typedef struct evaluate_job {
    spade_context *context;
    const spade_evaluate_request *request;
    const spade_workload_events *events;
    spade_model *model;
    spade_preprocess preprocess;
    class_names names;
    spade_method_choice *methods; /* [method_count] */
    int method_count;
    char **uncovered; /* [method_count]: why the method is not defined on this network; NULL: it is, so far */
    spade_metric_choice *metrics; /* [metric_count] */
    int metric_count;
    evaluate_column columns[EVALUATE_MAX_COLUMNS];
    int column_count;
    class_choice target;
    bool of_label; /* the class that the manifest says is explained, in place of `target` */
    int64_t class_count;
    explained_run run; /* the job as JSON and messages see it */
    spade_inputs inputs;
    int64_t *labels; /* [inputs.count]: classes; -1: the manifest says none */
    spade_results results;
    spade_workload_outcome *outcome;
} evaluate_job;

/* What is known of a picture when it is done. */
typedef struct evaluated_input {
    double *scores; /* [columns, classes] */
    double *logits; /* [columns, classes] */
    int64_t top[EVALUATE_MAX_COLUMNS];
    int64_t zeros[EVALUATE_MAX_COLUMNS], weights[EVALUATE_MAX_COLUMNS]; /* of traces */
    bool chosen[EVALUATE_MAX_COLUMNS];                                  /* of traces: their sparsities were */
    spade_sparsity_choice choices[EVALUATE_MAX_COLUMNS];
    spade_target target;
    double *values; /* [methods, metrics, columns]; NaN: none */
} evaluated_input;

/* ---- evaluate.c: everything but results and the loop; context, request, events and outcome are set. Without an output folder it is
 * another workload's, which warns of options without effect itself. Closed also after a failure. */
spade_status evaluate_open(evaluate_job *job);
void evaluate_close(evaluate_job *job);

/* ---- evaluate_columns.c: from the request; columns are cleared by the job, also after a failure */
spade_status evaluate_columns_open(evaluate_job *job);
void evaluate_columns_close(evaluate_job *job);
/* What the header of results says of them. New reference. */
json_t *evaluate_columns_json(const evaluate_job *job);

/* ---- evaluate_input.c: steps of the pipeline's consumer; `state` is an evaluated_input */
spade_status evaluate_dense(void *job, const workload_item *item, void *state);
spade_status evaluate_process(void *job, const workload_item *item, void *state);
void evaluate_clear(void *state);
/* Its record. New reference; NULL: out of memory. */
json_t *evaluated_json(const evaluate_job *job, const workload_item *item, const evaluated_input *evaluated);

/* ---- evaluate_summary.c: from the records to results.json, results.csv and the summary */
spade_status evaluate_write_results(evaluate_job *job, json_t **summary);

#endif
