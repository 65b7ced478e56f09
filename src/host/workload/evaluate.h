/* evaluate.h - what the files of the evaluate workload share. Private to workload/. */
#ifndef SPADE_WORKLOAD_EVALUATE_H
#define SPADE_WORKLOAD_EVALUATE_H

#include "report/class_choice.h"
#include "report/report.h"
#include "trace/sparse_fc.h"
#include "workload/pipeline.h"
#include "workload/results.h"
#include "workload/workload.h"

/* The networks that are compared: first the dense one, then its traces. */
enum { EVALUATE_MAX_COLUMNS = 17 };
typedef struct evaluate_column {
    char *name;              /* "dense", "fast", or a configuration's file without its suffix */
    spade_settings settings; /* of a configuration; else zeros */
    bool configured;
    bool fitted;               /* sparse_fc: one trace for all pictures */
    int place;                 /* of others: among the traces that a picture has */
    spade_layer_rule *rules;   /* of a solver: the settings' without those about solvers; owned */
    spade_trace_options trace; /* of all but the first; its lists are the settings' */
} evaluate_column;

/* What report.html shows of single pictures: evaluate_gallery.c. */
typedef struct gallery_entry {
    double gain; /* above 0: the trace's map is better */
    int position;
} gallery_entry;
enum { GALLERY_BEST, GALLERY_WORST, GALLERY_LISTS };
typedef struct evaluate_gallery {
    int size;               /* entries of a list, at most; 0: there is no gallery */
    int metric;             /* of the job: whose values it is sorted by */
    int first_column;       /* of its pairs of a method and a column; 0: there is no trace, and gains are values */
    gallery_entry *entries; /* [methods, columns - first_column, GALLERY_LISTS, size] */
    int *counts;            /* [methods, columns - first_column, GALLERY_LISTS] */
    char **keys; /* [inputs.count]: what the file of a picture that is in a list is called; NULL: it is in none */
    char header[SPADE_FINGERPRINT_SIZE]; /* of what the results' header says */
} evaluate_gallery;

/* A picture of the gallery, PNG. */
typedef struct gallery_tile {
    int method, column; /* GALLERY_PICTURE: the picture itself */
    int network;        /* DENSE, TRACE */
    const uint8_t *png;
    size_t size;
} gallery_tile;
enum { GALLERY_PICTURE = -1 };
typedef struct gallery_tiles {
    gallery_tile *items;
    int count;
    spade_mapping file; /* that holds the PNGs; else each is malloc'ed */
    bool damaged;       /* there is a file, but it is not what was written: it holds nothing */
} gallery_tiles;

/* The network with a sparse last layer: trace/sparse_fc.h. */
typedef struct evaluate_fit {
    bool wanted;
    int layer;
    double margin;
    spade_inputs inputs;
    int64_t *labels;                          /* [inputs.count]: -1: none */
    char (*contents)[SPADE_FINGERPRINT_SIZE]; /* [inputs.count]: "": the file cannot be read */
    char fingerprint[SPADE_FINGERPRINT_SIZE]; /* of all of them, with their labels */
    json_t *record;                           /* what results.json says of it; NULL before it is there */
    json_t *warnings;                         /* texts: all that was warned of, for the report; NULL: nothing */
    spade_trace *trace;
} evaluate_fit;

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
    evaluate_fit fit;
    class_choice target;
    bool of_label; /* the class that the manifest says is explained, in place of `target` */
    int64_t class_count;
    explained_run run; /* the job as JSON and messages see it */
    spade_inputs inputs;
    int64_t *labels; /* [inputs.count]: classes; -1: the manifest says none */
    spade_results results;
    evaluate_gallery gallery;
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
    double *values;      /* [methods + 1, metrics, columns]; NaN: none; the last: of metrics of the traces themselves */
    gallery_tiles tiles; /* of the pairs for whose lists it is a candidate */
} evaluated_input;

/* ---- evaluate.c: everything but results and the loop; context, request, events and outcome are set. Without an output folder it is
 * another workload's, which warns of options without effect itself. Closed also after a failure. */
spade_status evaluate_open(evaluate_job *job);
void evaluate_close(evaluate_job *job);
/* A metric of the traces: it says nothing of maps, and has one value for all methods. */
static inline bool evaluate_of_trace(const evaluate_job *job, int metric)
{
    return (explained_metric(&job->run, metric)->needs & SPADE_METRIC_NEEDS_TRACE) != 0;
}

/* method: job->method_count of such a metric. */
static inline double *evaluated_value(const evaluate_job *job, const evaluated_input *evaluated, int method, int metric,
                                      int column)
{
    return evaluated->values + ((int64_t)method * job->metric_count + metric) * job->column_count + column;
}

/* The context's message says why the method is not defined on this network; without the method's name before it */
spade_status evaluate_set_uncovered(evaluate_job *job, int method);

/* ---- evaluate_columns.c: from the request; columns are cleared by the job, also after a failure */
spade_status evaluate_columns_open(evaluate_job *job);
void evaluate_columns_close(evaluate_job *job);
/* What the header of results says of them. New reference. */
json_t *evaluate_columns_json(const evaluate_job *job);

/* The network of a column, with a picture's own traces; NULL: the dense one. */
static inline const spade_trace *evaluate_trace(const evaluate_job *job, const workload_item *item, int column)
{
    if (column == 0) { return NULL; }
    return job->columns[column].fitted ? job->fit.trace : item->traces[job->columns[column].place];
}

/* ---- evaluate.c: the classes of a manifest's labels, [inputs->count], -1: it has none; folders: of a tree, 0: of a CSV file.
 * malloc'ed, also after a failure. */
spade_status evaluate_read_labels(const evaluate_job *job, const char *manifest, const spade_inputs *inputs,
                                  int64_t folders, int64_t **out);

/* ---- evaluate_fit.c: where a column is sparse_fc, else nothing. It is cleared by the job, also after a failure. */
/* Its manifest is read, and what can be refused is; after the job's own. */
spade_status evaluate_fit_open(evaluate_job *job);
/* Once the folder of results is open: from what an earlier run has kept there, or made. *stopped: events->stop said so. */
spade_status evaluate_fit_run(evaluate_job *job, bool *stopped);
void evaluate_fit_close(evaluate_job *job);
/* What was found, in words; before the fit zeros. */
void evaluate_fit_describe(const evaluate_job *job, char *text, size_t size);
/* Is the target a class that has no weight? */
bool evaluate_fit_is_empty(const evaluate_job *job, const spade_target *target);
/* The header of results.json: that of results.jsonl, and what was found. malloc'ed; NULL: out of memory. */
char *evaluate_fit_header(const evaluate_job *job);

/* ---- evaluate_fit_file.c: the layer that an earlier run has kept, and its record; *there false: there is none of the same question,
 * or it is not what was written, which is said. fc: opened. */
spade_status evaluate_fit_read_file(evaluate_job *job, spade_sparse_fc *fc, bool *there);
spade_status evaluate_fit_write_file(const evaluate_job *job, const spade_sparse_fc *fc);

/* ---- evaluate_input.c: steps of the pipeline's consumer; `state` is an evaluated_input */
spade_status evaluate_dense(void *job, const workload_item *item, void *state);
spade_status evaluate_process(void *job, const workload_item *item, void *state);
void evaluate_clear(void *state);
/* Its record. New reference; NULL: out of memory. */
json_t *evaluated_json(const evaluate_job *job, const workload_item *item, const evaluated_input *evaluated);

/* ---- evaluate_gallery.c; a job's gallery is zeros before it is opened, and closed also after a failure */
/* After the inputs are known, before the results are opened. header: theirs. */
spade_status evaluate_gallery_open(evaluate_job *job, const json_t *header);
/* Remove from the output folder what belongs to no picture of a list. After the results were opened, which lock the folder. */
void evaluate_gallery_sweep(const evaluate_job *job);
void evaluate_gallery_close(evaluate_job *job);
/* Is the picture in a list of this pair, or would it be now? values: of the pair, dense and trace. */
bool evaluate_gallery_wants(const evaluate_job *job, int position, int method, int column, double dense, double value);
/* The picture's record holds: it goes to the lists that it belongs to, and what is pushed out of all of them loses its file.
 * tiles: its file is written first; NULL: it has been. */
spade_status evaluate_gallery_add(evaluate_job *job, int position, const json_t *record, const gallery_tiles *tiles);
/* The record was not written after all. */
void evaluate_gallery_forget(evaluate_job *job, int position);
/* Write the file of a picture that is in a list; false in *same: its record is another one by now. */
spade_status evaluate_gallery_complete(evaluate_job *job, int position, const json_t *record,
                                       const gallery_tiles *tiles, bool *same);
/* The picture is in a list, but tiles that the report needs are not there. */
spade_status evaluate_gallery_lacks(const evaluate_job *job, int position, bool *lacks);
/* Tiles of a picture that is in a list; none where there is no such file. Cleared by the caller. */
spade_status evaluate_gallery_load(const evaluate_job *job, int position, gallery_tiles *out);
const gallery_tile *gallery_tiles_find(const gallery_tiles *tiles, int method, int column, int network);
void gallery_tiles_clear(gallery_tiles *tiles);
/* *count entries of a list, in its order. which: GALLERY_BEST, GALLERY_WORST */
const gallery_entry *evaluate_gallery_list(const evaluate_job *job, int method, int column, int which, int *count);

/* ---- evaluate_tiles.c: what the gallery shows of a picture. maps: of a method, [columns, size of a map] */
spade_status evaluate_draw_picture(const evaluate_job *job, const workload_item *item, gallery_tiles *tiles);
spade_status evaluate_draw_pair(const evaluate_job *job, const workload_item *item, const float *maps,
                                const int64_t shape[3], int method, int column, gallery_tiles *tiles);

/* ---- evaluate_html.c: report.html. summary NULL: nothing was done */
spade_status evaluate_write_report(evaluate_job *job, const json_t *summary);

/* ---- evaluate_summary.c: from the records to results.json, results.csv and the summary */
spade_status evaluate_write_results(evaluate_job *job, json_t **summary);

#endif
