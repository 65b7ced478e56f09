/*
 * spade/metric.h - how good a map is. The metrics and their options are listed by spade_metric_at(), with definition and
 * source.
 *
 *   spade_metric *metric;
 *   spade_metric_inputs inputs;
 *   spade_metric_create(context, "roc_auc", &metric);
 *   spade_metric_inputs_init(&inputs);
 *   inputs.scores = scores; inputs.mask = mask; inputs.height = height; inputs.width = width;
 *   spade_measure(context, metric, &inputs, &value);
 *   spade_metric_destroy(metric);
 */
#ifndef SPADE_METRIC_H
#define SPADE_METRIC_H

#include <stddef.h>

#include "spade/attribution.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what there is */

typedef enum spade_metric_better {
    SPADE_METRIC_HIGHER, /* the higher the value, the better the map */
    SPADE_METRIC_LOWER
} spade_metric_better;

/* What a metric reads, of spade_metric_inputs. */
typedef enum spade_metric_needs {
    SPADE_METRIC_NEEDS_MASK = 1,    /* which pixels the map should point at */
    SPADE_METRIC_NEEDS_NETWORK = 2, /* model, input, target: it takes passes through the network */
    SPADE_METRIC_NEEDS_MAP = 4,     /* the map as it was made, and by what */
    SPADE_METRIC_NEEDS_TRACE = 8    /* model, input, trace: it is a metric of the trace, the same for all of its maps */
} spade_metric_needs;

typedef struct spade_metric_info {
    const char *name;       /* "roc_auc" */
    const char *title;      /* "ROC AUC" */
    const char *definition; /* one line */
    const char *reading;    /* how to read a value: "1 is perfect, 0.5 is chance" */
    const char *source;     /* paper */
    int version;            /* counts up when the same map gets another value than before */
    spade_metric_better better;
    unsigned needs;        /* spade_metric_needs */
    unsigned method_flags; /* spade_method_flags that the map's method must have; of others there is no value */
    const spade_option_info *options;
    int option_count;
} spade_metric_info;

SPADE_API int spade_metric_count(void);
SPADE_API const spade_metric_info *spade_metric_at(int index);          /* NULL: no such index */
SPADE_API const spade_metric_info *spade_metric_find(const char *name); /* NULL: no such metric */

/* ---- a metric with its options */

typedef struct spade_metric spade_metric;

/* From text: METRIC[:OPTION=VALUE]..., as spade/option.h says it. SPADE_ERROR_ARGUMENT says what is wrong and what there
 * is. *out: NULL after a failure. */
SPADE_API spade_status spade_metric_create(spade_context *context, const char *text, spade_metric **out);
/* Set one option. The value is written as in the text. */
SPADE_API spade_status spade_metric_set(spade_context *context, spade_metric *metric, const char *option,
                                        const char *value);
SPADE_API const spade_metric_info *spade_metric_describe(const spade_metric *metric);
/* 1: the same metric, and every option has the same value, whether it was written or is the default. */
SPADE_API int spade_metrics_equal(const spade_metric *a, const spade_metric *b);
SPADE_API void spade_metric_destroy(spade_metric *metric); /* NULL is fine */

/* ---- values */

/* What is measured. Members that the metric does not need may stay as spade_metric_inputs_init() leaves them. */
typedef struct spade_metric_inputs {
    size_t size;           /* set by spade_metric_inputs_init() */
    int64_t height, width; /* of the picture */
    /* [height, width]: one number a pixel, larger: more important. Of a map: spade_map_reduce() with
     * SPADE_REDUCE_ABS_MAX (SPADE_REDUCE_ABOVE_LEAST of a method with SPADE_METHOD_OFFSET), and spade_map_resize() where
     * it is smaller than the picture. */
    const float *scores;
    const uint8_t *mask; /* [height, width]: not 0 inside */
    const spade_model *model;
    const float *input;         /* [C, height, width], normalised: what was explained */
    const spade_target *target; /* and for which class */
    /* The map as spade_attribute() gave it: */
    const float *map;
    int64_t map_shape[3];                 /* spade_attribution_map_shape() */
    const spade_attribution *attribution; /* by which it was made, */
    const spade_trace *trace;             /* on which; NULL: the dense network */
    spade_map_note note;
} spade_metric_inputs;

/* Everything 0, and no note. */
SPADE_API void spade_metric_inputs_init_sized(spade_metric_inputs *inputs, size_t size);
static inline void spade_metric_inputs_init(spade_metric_inputs *inputs)
{
    spade_metric_inputs_init_sized(inputs, sizeof *inputs);
}
/*
 * SPADE_ERROR_ARGUMENT: something that the metric needs is missing. SPADE_ERROR_INPUT: there is no value for these
 * inputs (the mask is empty, a score is not finite); the message says why. *out NaN: the metric says nothing of such a map: it is 0
 * everywhere, or not of the kind that the metric is for (method_flags, the definition).
 */
SPADE_API spade_status spade_measure(spade_context *context, const spade_metric *metric,
                                     const spade_metric_inputs *inputs, double *out);
/* The same of `count` maps with the same model, input and target, which share passes through the network: out [count], to the bit
 * what each has alone. */
SPADE_API spade_status spade_measure_together(spade_context *context, const spade_metric *metric,
                                              const spade_metric_inputs *const *inputs, int count, double *out);
/* Of metrics that are made of a curve (insertion, deletion, road_most, road_least): how many numbers it has for a picture of this
 * size. 0: there is none. */
SPADE_API int64_t spade_metric_curve_length(const spade_metric *metric, int64_t height, int64_t width);
/* The curve [spade_metric_curve_length()]: scores of the class, from the picture or what it begins with to its end. */
SPADE_API spade_status spade_measure_curve(spade_context *context, const spade_metric *metric,
                                           const spade_metric_inputs *inputs, double *curve);
/* Forward and backward passes that it takes for a map of a method which takes `map_passes`: for estimates of time. */
SPADE_API double spade_metric_passes(const spade_metric *metric, const spade_model *model, double map_passes);

/* ---- metrics as functions */

/*
 * Area under the ROC curve of the scores [n] for telling the pixels of the mask (1) from the rest (0); ties shared, as
 * scikit-learn's roc_auc_score. SPADE_ERROR_INPUT where the mask is empty or full, or a score is not finite.
 */
SPADE_API spade_status spade_roc_auc(spade_context *context, const float *scores, const uint8_t *mask, int64_t n,
                                     double *out);

#ifdef __cplusplus
}
#endif
#endif
