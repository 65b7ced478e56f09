/* explain.h - what the files of the explain workload share. Private to workload/. */
#ifndef SPADE_WORKLOAD_EXPLAIN_H
#define SPADE_WORKLOAD_EXPLAIN_H

#include "report/class_choice.h"
#include "report/report.h"
#include "workload/pipeline.h"
#include "workload/results.h"
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
    spade_metric_choice *metrics; /* [metric_count] */
    int metric_count;
    class_choice targets[SPADE_MAX_CLASSES]; /* what is explained of each picture */
    int target_count;
    spade_array batch;   /* --batch, or empty */
    int64_t class_count; /* of the network */
    explained_run run;   /* the job as the writers see it */
    spade_inputs inputs;
    spade_results results;
    spade_workload_outcome *outcome;
} explain_job;

/* ---- explain_resume.c: results that are there already */
/* What results.jsonl begins with: the request, as far as results depend on it. New reference. */
spade_status explain_header(const explain_job *job, json_t **out);
/* Opens the job's results, keeps what still holds, and lists the inputs that are left; items borrow from the job's. */
spade_status explain_resume(explain_job *job, spade_inputs *remaining);

/*
 * ---- explain_input.c: everything about one input, in two steps: the dense network's scores, and, when its trace is
 * found, that one's scores, maps and files. `state` is an explained_input.
 */
spade_status explain_dense(void *job, const workload_item *item, void *state);
spade_status explain_process(void *job, const workload_item *item, void *state);

/* ---- explain_map.c: the maps of all methods, and their files */
/* The job's targets of a picture whose dense logits are known. SPADE_ERROR_INPUT: it has not all of them. */
spade_status explain_targets(const explain_job *job, const explained_input *explained,
                             spade_target targets[SPADE_MAX_CLASSES]);
spade_status explain_methods(explain_job *job, const workload_item *item, explained_input *out);
/* "dense", "trace": how files of the networks begin. */
extern const char *const explain_prefixes[NETWORKS];
/* Write a picture as OUTPUT/relative. */
spade_status explain_save_picture(explain_job *job, const spade_picture *picture, const char *relative);
/* Remove OUTPUT/relative, if it is there; NULL is fine. */
void explain_remove(const explain_job *job, const char *relative);
/* FOLDER/relative; malloc'ed, NULL after a failure. */
spade_status explain_join(spade_context *context, const char *folder, const char *relative, char **out);

/* ---- explain_report.c: from the records to results.json, results.csv and report.html */
spade_status explain_write_reports(explain_job *job);

#endif
