/* explain.h - what the files of the explain workload share. Private to workload/. */
#ifndef SPADE_WORKLOAD_EXPLAIN_H
#define SPADE_WORKLOAD_EXPLAIN_H

#include "report/report.h"
#include "workload/image_item.h"
#include "workload/workload.h"

typedef struct explain_job {
    spade_context *context;
    const spade_explain_request *request;
    const spade_workload_events *events;
    spade_model *model;
    spade_preprocess preprocess;
    class_names names;
    spade_method_choice *methods; /* [method_count] */
    int method_count;
    spade_array batch; /* --batch, or empty */
    int64_t outputs;
    double map_share; /* of an input's time; the rest is the trace's */
    /* What becomes of the inputs, in their order. */
    explained_run run; /* the job as the writers see it */
    json_t *results, *failed;
    html_report *report;
    spade_workload_outcome *outcome;
} explain_job;

/* ---- explain_group.c: all inputs, a few at a time */
enum { EXPLAIN_MAX_IN_FLIGHT = 64 };
spade_status explain_groups(explain_job *job, const spade_inputs *inputs);

/*
 * ---- explain_input.c: everything about one input except the files of the whole job, in three steps: the dense
 * network's scores; where a trace is wanted, the variants and, with those of other inputs, the traces; trace scores,
 * maps and files. *out is released by the caller, also after a failure.
 */
spade_status explain_dense(explain_job *job, const spade_image_item *item, const spade_input *input,
                           explained_input *out);
spade_status explain_variants(explain_job *job, const spade_image_item *item, spade_batch **out);
/* trace: NULL where none is wanted; shared: it was found with others. from..to: share of the whole job. */
spade_status explain_maps(explain_job *job, const spade_image_item *item, const spade_trace *trace, bool shared,
                          double from, double to, explained_input *out);

/* ---- explain_map.c: the maps of all methods, and their files */
spade_status explain_methods(explain_job *job, const spade_image_item *item, const spade_trace *trace, double from,
                             double to, explained_input *out);
/* "dense", "trace": how files of the networks begin. */
extern const char *const explain_prefixes[NETWORKS];
/* Encode a picture, keep the PNG and write it as OUTPUT/relative. */
spade_status explain_save_picture(explain_job *job, const spade_picture *picture, const char *relative, uint8_t **png,
                                  size_t *size);
/* FOLDER/relative; malloc'ed, NULL after a failure. */
spade_status explain_join(spade_context *context, const char *folder, const char *relative, char **out);

/* ---- estimate.c: seconds for one input, from a timed forward pass and counted operations */
typedef struct time_estimate {
    double trace, maps;
} time_estimate;
spade_status estimate_time(explain_job *job, const float *input, time_estimate *out);

#endif
