/* explain.h - what the files of the explain workload share. Private to workload/. */
#ifndef SPADE_WORKLOAD_EXPLAIN_H
#define SPADE_WORKLOAD_EXPLAIN_H

#include "report/class_choice.h"
#include "report/report.h"
#include "workload/pipeline.h"
#include "workload/results.h"
#include "workload/workload.h"

/* What was made of several inputs at once, for when each is worked on: see explain_group.c. */
typedef struct explain_group {
    const spade_input *inputs[WORKLOAD_MAX_IN_FLIGHT]; /* [count] */
    int count;
    spade_map_note *notes; /* [methods of the job, count, targets] */
    float *pictures;       /* [count, size of an input] */
    float *outputs;        /* [count, outputs of the network] */
    bool *made;            /* [methods of the job]: its maps are there */
    double seconds;        /* that the maps of one input took */
    void *memory;
    size_t bytes;
} explain_group;

/* A map that was made, for whoever takes it in place of files. Everything is borrowed. */
typedef struct explain_made_map {
    explained_input *explained; /* the step's state */
    explained_pair *pair;
    int network, target;  /* target: of the job's */
    const float *map;     /* [shape] */
    const int64_t *shape; /* [C, h, w] */
} explain_made_map;
typedef struct explain_sink {
    void *user;
    spade_status (*take)(void *user, const explain_made_map *map);
} explain_sink;

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
    explain_group group;
    const explain_sink *sink; /* gets the maps; NULL: they, and pictures of them, go to files of the input's folder */
    spade_inputs inputs;
    spade_results results;
    spade_workload_outcome *outcome;
} explain_job;

/* ---- explain.c: everything but inputs and results, for whoever makes maps; context, request and events are set. Closed also after a
 * failure. */
spade_status explain_open(explain_job *job);
void explain_close(explain_job *job);
/* What is done with every input. */
void explain_plan(const explain_job *job, workload_plan *out);
/* What is asked for and has no effect on the inputs is warned of. pictures, masks: there are any. */
void explain_warn_unused(const explain_job *job, bool pictures, bool masks, bool manifest);

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
/* FOLDER/relative; malloc'ed, NULL after a failure. */
spade_status explain_join(spade_context *context, const char *folder, const char *relative, char **out);

/*
 * ---- explain_group.c: the group's part of both steps, see workload_consumer. `states` are explained_inputs. Inputs that
 * cannot be worked on together are left to be worked on alone.
 */
spade_status explain_group_scores(void *job, const workload_item *items, void *const *states, int count);
spade_status explain_group_maps(void *job, const workload_item *items, void *const *states, int count);
/* What the dense network said of the input, [outputs], borrowed; NULL: it is to be asked. */
const float *explain_group_output(const explain_job *job, const workload_item *item);
/* Copies a method's maps of the input, [targets, size of a map], and their notes; false: they are to be made. */
bool explain_group_take(const explain_job *job, const workload_item *item, int method, float *maps,
                        spade_map_note *notes);
/* That the group's maps took of the input's time. */
double explain_group_seconds(const explain_job *job, const workload_item *item);
/* That are held of each input of a group. */
size_t explain_group_bytes(const explain_job *job);
void explain_group_clear(void *job);

/* ---- explain_report.c: from the records to results.json, results.csv and report.html */
spade_status explain_write_reports(explain_job *job);

#endif
