/* workload.h - what the commands do, without argument parsing. Results go to files and, as JSON, to the caller. */
#ifndef SPADE_WORKLOAD_WORKLOAD_H
#define SPADE_WORKLOAD_WORKLOAD_H

#include "config/settings.h"

/* How a job talks while it runs. Every function may be NULL. */
typedef struct spade_workload_events {
    void *user;
    /* A phase begins: its share of the whole job is from..to, 0 to 1. What the context reports as progress happens
     * inside. */
    void (*phase)(void *user, const char *label, double from, double to);
    /* Something the user should know now: the estimate of the time. */
    void (*note)(void *user, const char *line);
    /* An input could not be used; the job goes on. */
    void (*failed)(void *user, const char *message);
    /* An input is done: the object that results.json gets. Borrowed. */
    void (*result)(void *user, const json_t *result);
    /* Should the job stop? It is asked between inputs: the one at hand is finished first. */
    bool (*stop)(void *user);
} spade_workload_events;

void spade_workload_phase(const spade_workload_events *events, const char *label, double from, double to);
void spade_workload_note(const spade_workload_events *events, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

typedef struct spade_workload_outcome {
    int done, failed; /* inputs */
    int kept;         /* of those done, the ones whose results were in the output folder already */
    int changed;      /* of those done, the ones that the trace decides differently */
    int fell;         /* likewise, the ones whose class the trace keeps with less than half of its score */
    bool stopped;     /* events->stop said so before the last input */
} spade_workload_outcome;

/* ---- explain */
typedef struct spade_explain_request {
    const char *model;
    char *const *inputs;
    int input_count;
    bool recursive;     /* the folders in given folders as well */
    const char *batch;  /* variants [n, 3, H, W] of the only input, or NULL */
    const char *mask;   /* picture or folder, or NULL */
    const char *labels; /* class names, one a line, or NULL */
    const char *output; /* folder, made if it is not there */
    bool dense, trace;  /* maps of which networks */
    bool restart;       /* results that are in the output folder are removed; else those of the same request are kept,
                           and those of another one are refused */
    bool report;        /* write report.html */
    int in_flight;      /* inputs whose traces are found together, 64 at most; 0: as many as pay on the device. Results
                           do not depend on it. */
    const spade_settings *settings;
} spade_explain_request;

/*
 * SPADE_OK also when single inputs failed: see the outcome. SPADE_ERROR_ARGUMENT: the request cannot work (a class or
 * layer that does not exist); any other failure ends the job.
 */
spade_status spade_explain(spade_context *context, const spade_explain_request *request,
                           const spade_workload_events *events, spade_workload_outcome *outcome);

/* ---- check: do maps depend on what the network has learned? spade/check.h */
typedef struct spade_check_request {
    const char *model;
    char *const *inputs;
    int input_count;
    bool recursive;     /* the folders in given folders as well */
    const char *labels; /* class names, one a line, or NULL */
    const char *output; /* folder for check.html and pictures of all maps, NAME/check_METHOD_STAGE.png; NULL: none */
    int stages; /* in which the layers are randomised, from the last one on, each of about as many; 0: one a layer */
    const spade_settings *settings;
} spade_check_request;

/*
 * Of every input events->result gets: file, index, name; dense: class, name, score; stages: [{layer: the last one that was
 * randomised, layers: how many are by then}]; maps: [{method, options, class, name, check: completeness and conservation of the
 * network's own map (map_check.h), similarity: [stages] of {spearman, spearman_abs, ssim}, null where it is not defined, verdict:
 * {level: SPADE_CHECK_LEVEL, correlation, follows: does the map show what the network has learned? null: it cannot be said}}]; how
 * weights are drawn, model, version, configuration. With an output, each map has pictures, too: [stages + 1], the first of the
 * network's own. Fails as spade_explain() does.
 */
spade_status spade_check(spade_context *context, const spade_check_request *request,
                         const spade_workload_events *events, spade_workload_outcome *outcome);

/* ---- evaluate: how good are the methods' maps, on the network and on its traces, over a data set? */
typedef struct spade_evaluate_request {
    const char *model;
    const char *manifest; /* manifest.h */
    const char *mask;     /* folder with masks of pictures for which the manifest has none, or NULL */
    const char *labels;   /* class names, one a line, or NULL */
    const char *output;   /* folder, made if it is not there */
    /* The traces that the network is compared with: solvers (fast, exact, magnitude, random), with the settings otherwise,
     * sparse_fc, or configurations (a path that ends in .yaml or .yml; of it counts how a trace is found, not the variants). NULL:
     * one, as the settings say; "": none. Behind commas. */
    const char *traces;
    bool restart;
    bool report; /* write report.html; else the one that is there is removed */
    int gallery; /* pictures that it shows of each method and trace, of those that gain most and of those that lose most; 0: none;
                    below 0: 6, or fewer where there are many methods and traces */
    int in_flight;
    const spade_settings
        *settings; /* one class: of the setting `classes` the first, which may be `label`: the manifest's */
    /* A manifest: what the last layer of sparse_fc (trace/sparse_fc.h) is fitted to, once; pictures without a label to the dense
     * network's decision. It is kept in DIR/sparse_fc.safetensors. NULL: there is no sparse_fc. */
    const char *fit;
    double fit_margin; /* 0 to 1; below 0: not given, EVALUATE_FIT_MARGIN */
} spade_evaluate_request;
#define EVALUATE_FIT_MARGIN 0.05

/*
 * Results are written picture by picture (DIR/results.jsonl), and the same request goes on; at the end they become DIR/results.json,
 * DIR/results.csv and DIR/report.html. Of sparse_fc's column results.json has a "fit": {"layer", "lambda", "lambda_max", "step", "steps",
 * "weights": that are not 0, "features", "classes": that pictures have, "empty_classes": those of them without a weight,
 * "weights_per_class", "fitted", "kept_aside": pictures, "dense_accuracy", "sparse_accuracy": of those kept aside, "unlabelled",
 * "unreadable": pictures}. *summary (new reference; NULL where nothing was done): {"columns": ["dense", ...], "pictures",
 * "labelled", "rows": [{"metric", "title", "metric_options" or null, "better", "method": "mean" in the row of the mean over the methods,
 * null in that of a metric of the traces themselves, "options" or null, "columns": [{"count", "mean", "error": standard error of the
 * mean; and of all but the first "pairs", "difference": mean of the differences from the dense network's, "low", "high": 95 % interval
 * by bootstrap, "better", "same": shares of the pairs}]}], "decisions": [of each column {"kept", "correct"}: shares, null for what is
 * not known], "uncovered": [{"method", "reason"}]}. Fails as spade_explain() does.
 */
spade_status spade_evaluate(spade_context *context, const spade_evaluate_request *request,
                            const spade_workload_events *events, spade_workload_outcome *outcome, json_t **summary);

/* ---- annotate: a whole data set into a store of shards; docs/store.md */
typedef struct spade_annotate_request {
    const char *model;
    const char *manifest; /* manifest.h */
    const char *labels;   /* class names, one a line, or NULL */
    const char *output;   /* the store, a folder, made if it is not there */
    bool dense, trace;    /* maps of which networks */
    const char *values;   /* how maps are written: store/map_values.h */
    /* rows of the manifest in a shard; 0: as the store has it, else about 256 MB, or so few that there are 32 shards of 8 rows or more,
     * or that each share and worker has four */
    int64_t shard_size;
    int64_t share, shares; /* the shards s with s % shares == share; 0 of 1: all */
    int workers;           /* processes that are asked for to do the share together; 0: as many as do it best, or one */
    bool retry; /* pictures that failed, shards that were set aside, and those whose tar is damaged, are tried again */
    int in_flight;
    const spade_settings *settings;
    /* For a process of several that share the work: the shard to do next, *shard below 0: there is none; asked ahead. NULL: those of
     * the share, in their order. */
    spade_status (*next_shard)(void *user, int64_t *shard);
    void (*finished)(void *user,
                     int64_t shard); /* it is in the store, also where it was before; or it is set aside. May be NULL */
    /* It is taken up, and so many rows of it are there: with maps, and failed ones. May be NULL */
    void (*kept)(void *user, int64_t shard, int64_t done, int64_t failed);
    void (*begun)(void *user, int64_t row); /* the work on it begins, and on those of its group. May be NULL */
    void *shard_user;
} spade_annotate_request;

typedef struct spade_annotate_outcome {
    spade_workload_outcome pictures; /* of the shards that are this run's */
    int64_t shards, finished, aside; /* its shards; those in the store, and those that are set aside */
} spade_annotate_outcome;

/*
 * Goes on with what is in the store. events->result gets what KEY.json says. SPADE_OK also when single pictures failed or the
 * run was stopped: see the outcome. SPADE_ERROR_ARGUMENT: the request cannot work, or the store is of another one.
 */
spade_status spade_annotate(spade_context *context, const spade_annotate_request *request,
                            const spade_workload_events *events, spade_annotate_outcome *outcome);

/* In processes of this machine that share the work: store/ledger.h has who does what. */
enum { SPADE_MAX_WORKERS = 256 };
typedef struct spade_worker spade_worker;
/* How many of them do the request best with so many threads and so much memory, on the CPU: at least 1. To be called before any context
 * is made. */
int spade_annotate_plan_workers(const spade_annotate_request *request, int threads, uint64_t memory);

typedef struct spade_workers {
    int count;
    const char *ledger; /* its file, or NULL: store/ledger.h */
    /* In the new process of worker 0..count-1: make a context, call spade_worker_annotate(), and say how it exits. */
    int (*work)(void *user, spade_worker *worker, int number);
    void *user;
} spade_workers;
/*
 * To be called before any context is made: processes are forked, and this one only watches them; `context` is for messages, log and
 * progress. The request without next_shard and finished. A shard that ends its worker three times at the same picture is set aside.
 */
spade_status spade_annotate_workers(spade_context *context, const spade_annotate_request *request,
                                    const spade_workload_events *events, const spade_workers *workers,
                                    spade_annotate_outcome *outcome);
/* stop: what ends this process alone. The parent hears of failures. */
spade_status spade_worker_annotate(spade_context *context, spade_worker *worker, bool (*stop)(void *user), void *user);

/* ---- tune: sparsities of a network's stages that make a metric of maps best */
typedef struct spade_tune_request {
    const char *model;
    const char *manifest; /* manifest.h */
    const char *mask;     /* folder with masks of pictures for which the manifest has none, or NULL */
    const char *labels;   /* class names, one a line, or NULL */
    const char *output;   /* the configuration that is written, .yaml */
    const char
        *stages;  /* globs of layers, behind commas, a stage each; NULL: by the layers' names (spade_model_stages()) */
    double aside; /* share of the pictures that is not tuned on, 0 to less than 1 */
    double
        max_changed; /* share of the traces that may decide for another class, 0 to 1; a quarter of it where it is tuned */
    int seeds;       /* of variants, for each picture; at least 1 */
    int patience;    /* stages in a row without a gain after which earlier ones are not tried; 0: all are tried */
    const spade_settings *settings; /* one metric; methods, whose mean is tuned; one class */
} spade_tune_request;

/*
 * *summary (new reference; also where nothing is written as nothing good was found): {"metric", "better", "methods", "seeds",
 * "changed_limit": of "changed" while it tunes, "tuned": {"pictures", "dense", "trace", "changed"}, "aside" (where pictures were kept
 * aside): the same with "failed": those that could not be compared, "dense_error", "trace_error", "pairs", "difference", "low", "high",
 * "same" and "better", the shares of them, "stages": [from the output to the input {"name", "layers", "tried": [{"sparsity", "mean",
 * "changed", "missing": traces without a value of the metric, of which "mean" is null then}], "sparsity"}], "file"}.
 * SPADE_ERROR_INPUT: nothing was better than the network, or what was changes too many classes. Fails as spade_explain() does otherwise.
 */
spade_status spade_tune(spade_context *context, const spade_tune_request *request, const spade_workload_events *events,
                        spade_workload_outcome *outcome, json_t **summary);

/* ---- bench: how long does it take, and how much memory? */
typedef struct spade_bench_request {
    const char *model;
    const char *input;  /* picture or .npy of one normalised input; NULL: seeded noise */
    const char *labels; /* class names, one a line, or NULL */
    bool trace;         /* find traces, and make maps of them, too */
    int repeat;         /* times that everything is done */
    int warm_up;        /* before that, without being measured */
    const spade_settings *settings;
} spade_bench_request;

/*
 * *result: model, device, threads, version, libraries, input, variants, configuration; "rows": [{"name": "load", "first forward pass"
 * (with plans and packed weights), "forward pass", "augment", .. "sweep" (spade_stage_name()), "picture to trace", "METHOD, dense",
 * "METHOD, trace"; "seconds": [repeat], "median", "least", "most"; "memory": the most that counted against the budget in a stage, or
 * null}]; "peak_memory": of what counts against the budget; "resident_memory": the process's largest. A new reference.
 */
spade_status spade_bench(spade_context *context, const spade_bench_request *request,
                         const spade_workload_events *events, json_t **result);

/* ---- trace */
typedef struct spade_trace_request {
    const char *model;
    const char *input;  /* picture or .npy of one normalised input, or NULL: */
    const char *batch;  /* given variants */
    const char *output; /* .onnx or .safetensors */
    const spade_settings *settings;
} spade_trace_request;

/* *result: model, input, layers with zeros, loss and seconds, totals, configuration; a new reference. */
spade_status spade_trace_to_file(spade_context *context, const spade_trace_request *request,
                                 const spade_workload_events *events, json_t **result);

/* ---- visualize: pictures that neurons answer most to; spade/visualize.h */
typedef struct spade_visualize_request {
    const char *model;
    char *const *neurons; /* [neuron_count], at least one: LAYER:INDEX or class:N, a number or a name */
    int neuron_count;
    const char *labels; /* class names, one a line, or NULL */
    bool central;       /* of layers the channel's central neuron; else the mean of the channel */
    const char
        *input; /* picture or .npy of one normalised input: its trace has pictures beside the network's; or NULL */
    const char *batch;  /* given variants in its place, or NULL */
    const char *output; /* .png */
    int64_t size;       /* of the pictures' shorter side; 0: as the network's input */
    int64_t steps;      /* 0: the default */
    bool still;         /* the pictures are not moved */
    const spade_settings *settings;
} spade_visualize_request;

/*
 * One PNG of all pictures: with a trace a row for each neuron, the network's and the trace's; else row by row in a square.
 * Of each picture events->result gets: neuron, layer (null: a class), index, objective (class, channel, neuron), network (dense,
 * trace), row and column in the file, before and after: the objective's value; shape, file, model, version, configuration.
 */
spade_status spade_visualize_to_file(spade_context *context, const spade_visualize_request *request,
                                     const spade_workload_events *events);

/* ---- merge: the check of a store (`spade annotate`), and its index */
typedef struct spade_merge_request {
    const char *store;
    bool html; /* STORE/gallery, too */
} spade_merge_request;

/*
 * Every checksum of the store, and STORE/index.sqlite (docs/store.md) of the shards that are whole. What is wrong with the store
 * (shards that are missing, damaged or set aside) is a line of events->failed each; outcome: shards that are whole, and faults.
 * *summary (new reference): {"store", "shards", "whole", "entries", "pictures", "failures", "faults", "index", "gallery"}, NULL where
 * it was stopped, and nothing is written.
 */
spade_status spade_merge(spade_context *context, const spade_merge_request *request,
                         const spade_workload_events *events, spade_workload_outcome *outcome, json_t **summary);

/* ---- status: how far is a store? Nothing is written, nobody waits. */
/*
 * *result (new reference): {"store", "entries", "shards": {"all", "done", "in_the_making", "interrupted": that have been begun, and
 * nobody is at them, "lost": done, but the tar is not there, "set_aside": [numbers]}, "pictures": {"done", "failed", "left"},
 * "workers": [{"shard", "done", "of", "host", "pid"}], "rate": pictures a second, "seconds_left": null where nobody can tell}.
 */
spade_status spade_store_status(spade_context *context, const char *store, json_t **result);

/* ---- info. *result: operators and, when the model can be loaded, input, classes, layers and, if graph is true, the nodes
 * that it was made into; new reference. *supported: it can. */
spade_status spade_describe_model(spade_context *context, const char *path, const spade_settings *settings, bool graph,
                                  json_t **result, bool *supported);

#endif
