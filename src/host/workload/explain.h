/* explain.h - what the pieces of the explain job share: one explained input. Private to job/. */
#ifndef SPADE_WORKLOAD_EXPLAIN_H
#define SPADE_WORKLOAD_EXPLAIN_H

#include "workload/workload.h"
#include "workload/image_item.h"

/* Which network: an index into the pairs below. */
enum { DENSE, TRACE, NETWORKS };

/* One map of one network, for one class. */
typedef struct explained_map {
    bool present;
    double delta, roc_auc; /* NaN: none */
    char *array, *overlay; /* files, relative to the output folder */
    uint8_t *png;          /* the overlay again, for the report */
    size_t png_size;
} explained_map;

/* The maps of one method and class, dense and trace beside each other. */
typedef struct explained_pair {
    spade_method method;
    spade_reduce reduce;
    int64_t target; /* class */
    double scale;   /* map value at full colour, of both */
    explained_map maps[NETWORKS];
} explained_pair;

typedef struct explained_input {
    const spade_input *input;
    int64_t outputs;         /* classes of the network */
    double *logits, *scores; /* [NETWORKS][outputs]: logits and their softmax */
    bool ran[NETWORKS];      /* the network's forward pass was done */
    int64_t top[NETWORKS];
    explained_pair *pairs; /* method by method, class by class */
    int pair_count;
    char *picture; /* input.png, relative */
    uint8_t *png;
    size_t png_size;
    int64_t zeros, weights;  /* over the trace's layers */
    double trace_seconds[3]; /* augmentation and forward, Hessians, solve */
    double map_seconds[NETWORKS];
} explained_input;

/* Names of classes: from --labels, else the model's, else numbers. */
typedef struct class_names {
    char **items; /* [count], or NULL */
    int64_t count;
    const spade_model *model;
} class_names;
spade_status class_names_load(spade_context *context, const char *path, const spade_model *model, class_names *out);
void class_names_clear(class_names *names);
/* Name of a class, or its number in buffer (at least 32 bytes). */
const char *class_name(const class_names *names, int64_t index, char *buffer);

typedef struct report report;

typedef struct explain_job {
    spade_context *context;
    const spade_explain_request *request;
    const spade_workload_events *events;
    spade_model *model;
    spade_preprocess preprocess;
    class_names names;
    spade_array batch; /* --batch, or empty */
    int64_t outputs;
    double map_share; /* of an input's time, the rest is the trace's */
    /* what becomes of the inputs, in their order */
    json_t *results, *failed;
    report *page;
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
spade_status explain_dense(explain_job *job, const spade_sample *sample, const spade_input *input,
                           explained_input *out);
spade_status explain_variants(explain_job *job, const spade_sample *sample, spade_batch **out);
/* trace: NULL where none is wanted; shared: it was found with others. from..to: share of the whole job. */
spade_status explain_maps(explain_job *job, const spade_sample *sample, const spade_trace *trace, bool shared,
                          double from, double to, explained_input *out);
void explained_input_clear(explained_input *explained);

/* ---- explain_json.c: an explained input as it stands in results.json */
json_t *explained_json(const explain_job *job, const explained_input *explained);

/* ---- estimate.c: seconds for one input, from a timed forward pass and counted operations */
typedef struct time_estimate {
    double trace, maps;
} time_estimate;
spade_status estimate_time(explain_job *job, const float *input, time_estimate *out);

/* ---- report.c: the HTML page, written input by input so that memory does not grow with their number */
spade_status report_open(const explain_job *job, report **out);
spade_status report_add(report *page, const explained_input *explained);
void report_add_failure(report *page, const char *message);
/* Put the page together and write it; closes. */
spade_status report_save(report *page, const char *path);
void report_close(report *page); /* NULL is fine */

#endif
