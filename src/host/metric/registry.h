/* registry.h - the table of metrics. */
#ifndef SPADE_METRIC_REGISTRY_H
#define SPADE_METRIC_REGISTRY_H

#include "base/named_options.h"
#include "spade/metric.h"

/*
 * One row per metric, at the end of the metric's file. `options` below is the metric's own struct, [options_bytes],
 * filled in from the texts of its options; base/named_options.h says which type of member each type of option has.
 *
 * The inputs are complete: what info.needs says is there. Messages begin with the title.
 */
typedef struct metric_class {
    spade_metric_info info;
    size_t options_bytes;
    const size_t *option_offsets; /* [info.option_count]: of each option's member */
    /* One of the three. The value of one map; */
    spade_status (*run)(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out);
    /* of several maps of one picture, target and network, [count], which share passes: out [count]; */
    spade_status (*run_together)(spade_context *context, const void *options, const spade_metric_inputs *const *inputs,
                                 int count, double *out);
    /* or their curves, [count, curve_length()], of each of which value_of_curve() makes the value. */
    spade_status (*curves)(spade_context *context, const void *options, const spade_metric_inputs *const *inputs,
                           int count, double *curves);
    int64_t (*curve_length)(const void *options, int64_t height, int64_t width);
    double (*value_of_curve)(const double *curve, int64_t length);
    /* Forward and backward passes that a map takes, of a picture of height x width; `map`: those of the map itself. NULL: none. */
    double (*passes)(const void *options, int64_t height, int64_t width, double map);
} metric_class;

/* THE list of metrics, in the order in which they are shown: metric_NAME is the row, in NAME.c or in the file of what it is
 * the other half of (insertion.c: deletion; road.c: both; agreement.c: both). */
/* clang-format off */
#define METRICS(ROW)     \
    ROW(roc_auc)         \
    ROW(pointing)        \
    ROW(energy)          \
    ROW(insertion)       \
    ROW(deletion)        \
    ROW(road_most)       \
    ROW(road_least)      \
    ROW(infidelity)      \
    ROW(sensitivity_max) \
    ROW(completeness)    \
    ROW(conservation)    \
    ROW(gini)            \
    ROW(class_kept)      \
    ROW(kl_divergence)
/* clang-format on */
#define METRIC_DECLARATION(name) extern const metric_class metric_##name;
METRICS(METRIC_DECLARATION)
#undef METRIC_DECLARATION

/* The row of an option that metrics with random numbers have; its member is int64_t. */
#define METRIC_SEED_OPTION(meaning)                                                                                    \
    {                                                                                                                  \
        .name = "seed", .help = (meaning), .type = SPADE_OPTION_INTEGER, .min = 0, .max = 9007199254740992,            \
        .default_value = "0"                                                                                           \
    }

struct spade_metric {
    const metric_class *class;
    void *options;             /* the metric's own struct */
    spade_named_options named; /* the same, by the names of its options */
};

/* From a row and the part of the text behind its name: "" or ":tolerance=2". */
spade_status metric_create(spade_context *context, const metric_class *class, const char *options, spade_metric **out);

#endif
