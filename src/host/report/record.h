/*
 * record.h - a run and each input that was explained, as data: the pipeline fills records, the writers read them.
 */
#ifndef SPADE_REPORT_RECORD_H
#define SPADE_REPORT_RECORD_H

#include "base/fingerprint.h"
#include "base/target_text.h"
#include "config/settings.h"
#include "base/sparsity_choice.h"

/* Which network: an index into the pairs below. */
enum { DENSE, TRACE, NETWORKS };
/* "dense", "trace": in messages, tables and names of files. */
extern const char *const explained_networks[NETWORKS];

/* One map of one network, for one target. */
typedef struct explained_map {
    bool present;
    bool all_zero;            /* it says nothing: a saturated score, dead inputs */
    double delta, difference; /* spade_map_note; NaN: none */
    double *values;           /* [metrics of the run], of the input; NaN: none */
    char *array, *heatmap;    /* files, relative to the output folder */
    json_t *check;            /* workload/map_check.h; owned; NULL: not asked for, or nothing is promised */
} explained_map;

/* The maps of one method and target, dense and trace beside each other. */
typedef struct explained_pair {
    int method; /* of the run */
    spade_reduce reduce;
    spade_target target;
    double scale; /* map value at full colour, of both */
    explained_map maps[NETWORKS];
} explained_pair;

typedef struct explained_input {
    const char *file, *name; /* borrowed; name: of its folder in the output */
    const char *title;       /* borrowed; in messages; NULL in a record that was read back */
    int64_t index;           /* entry of a .npy file; -1: a picture */
    char content[SPADE_FINGERPRINT_SIZE], mask[SPADE_FINGERPRINT_SIZE]; /* fingerprints; mask "": there is none */
    int64_t class_count;
    double *logits, *scores; /* [NETWORKS][class_count]: as spade_model_scores() gives them */
    bool ran[NETWORKS];      /* the network's forward pass was done */
    int64_t top[NETWORKS];   /* class of the highest logit */
    explained_pair *pairs;   /* method by method, target by target */
    int pair_count;
    double *values;         /* [pairs][NETWORKS][metrics of the run] */
    char *picture;          /* input.png, relative */
    char *mask_picture;     /* mask.png, relative: the input, dark where the mask is not; NULL: there is no mask */
    int64_t zeros, weights; /* over the trace's layers */
    bool chosen;            /* the trace's sparsity was: */
    spade_sparsity_choice choice;
    int64_t empty_layers;    /* of the trace: all their weights are 0 */
    char *empty_layer;       /* the first of them, or NULL */
    double trace_seconds[3]; /* augmentation and forward, Hessians, solve */
    double map_seconds[NETWORKS];
} explained_input;
/* Do the trace's maps explain another decision than the dense network's? */
static inline bool explained_class_changed(const explained_input *explained)
{
    return explained->ran[TRACE] && explained->top[TRACE] != explained->top[DENSE];
}

/* The trace keeps the class, but with less than half of the dense network's score: it is not the same decision to the same
 * degree, and its maps are to be read with care. */
static inline bool explained_score_fell(const explained_input *explained)
{
    const int64_t top = explained->top[DENSE];
    return explained->ran[TRACE] && !explained_class_changed(explained) &&
           explained->scores[explained->class_count + top] < 0.5 * explained->scores[top];
}

/* Make its pairs, without maps and with NaN for values; false: out of memory. */
bool explained_input_add_pairs(explained_input *explained, int pairs, int metrics);
void explained_input_clear(explained_input *explained);

/* How many maps keep what their methods promise, of those of which that was asked (explained_map.check). */
typedef struct explained_promises {
    int64_t maps, broken;      /* those that promise anything; those that do not keep all of it: */
    int64_t incomplete, lossy; /* they do not sum to F(x) - F(baseline); they do not conserve relevance */
} explained_promises;
void explained_promises_add(explained_promises *promises,
                            const json_t *check); /* NULL: of a map that promises nothing */

/* Names of classes: from --labels, else the model's, else numbers. */
typedef struct class_names {
    char **items; /* [count], or NULL */
    int64_t count;
    const spade_model *model;
} class_names;
spade_status class_names_load(spade_context *context, const char *path, const spade_model *model, class_names *out);
void class_names_clear(class_names *names);
/* Its name, or NULL: it has none. */
const char *class_given_name(const class_names *names, int64_t index);
/* Name of a class, or its number in buffer (at least 32 bytes). */
const char *class_name(const class_names *names, int64_t index, char *buffer);

/* What all inputs of a run have in common. Everything is borrowed. */
typedef struct explained_run {
    spade_context *context;
    const char *folder; /* where results go */
    const char *model;  /* path */
    const char *batch;  /* path of the given variants, or NULL */
    const spade_settings *settings;
    const class_names *names;
    const spade_method_choice *methods;
    int method_count;
    const spade_metric_choice *metrics;
    int metric_count;
    int64_t class_count; /* of the network */
    int64_t left;        /* inputs that the run was stopped before */
} explained_run;

/* What a method of the run is. */
static inline const spade_method_info *explained_method(const explained_run *run, int method)
{
    return spade_attribution_method(run->methods[method].attribution);
}

/* Its maps say for and against. */
static inline bool explained_signed(const explained_run *run, int method)
{
    return (spade_attribution_flags(run->methods[method].attribution) & SPADE_METHOD_SIGNED) != 0;
}

/* Its maps promise a sum, or that relevance is conserved. */
static inline bool explained_promising(const explained_run *run, int method)
{
    const spade_attribution *attribution = run->methods[method].attribution;
    return spade_attribution_flags(attribution) & SPADE_METHOD_CONSERVATION ||
           spade_attribution_completeness(attribution) > 0;
}

/* How its maps become what is drawn. */
static inline spade_reduce explained_drawn(const explained_run *run, int method)
{
    const unsigned flags = spade_attribution_flags(run->methods[method].attribution);
    if (flags & SPADE_METHOD_OFFSET) { return SPADE_REDUCE_ABOVE_LEAST; }
    return explained_signed(run, method) ? SPADE_REDUCE_SUM : SPADE_REDUCE_ABS_MAX;
}

/* And what metrics compare with a mask: larger where a pixel matters more. */
static inline spade_reduce explained_measured(const explained_run *run, int method)
{
    return spade_attribution_flags(run->methods[method].attribution) & SPADE_METHOD_OFFSET ? SPADE_REDUCE_ABOVE_LEAST
                                                                                           : SPADE_REDUCE_ABS_MAX;
}

static inline const spade_metric_info *explained_metric(const explained_run *run, int metric)
{
    return spade_metric_describe(run->metrics[metric].metric);
}

/* What a map explains, with the run's names of classes: base/target_text.h. */
const char *explained_target_text(const explained_run *run, const spade_target *target, char text[SPADE_TARGET_TEXT]);
/* "cat: the dense map of smoothgrad (samples=25) for class 3 (tabby)": how messages name a map. input: its name. */
enum { EXPLAINED_MAP_TEXT = 900 };
const char *explained_map_text(const explained_run *run, const char *input, int network, int method,
                               const spade_target *target, char text[EXPLAINED_MAP_TEXT]);

#endif
