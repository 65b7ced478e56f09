/* registry.h - the table of metrics. */
#ifndef SPADE_METRIC_REGISTRY_H
#define SPADE_METRIC_REGISTRY_H

#include "base/named_options.h"
#include "spade/metric.h"

/*
 * One row per metric, at the end of the metric's file. `options` below is the metric's own struct, [options_bytes],
 * filled in from the texts of its options; base/named_options.h says which type of member each type of option has.
 */
typedef struct metric_class {
    spade_metric_info info;
    size_t options_bytes;
    const size_t *option_offsets; /* [info.option_count]: of each option's member */
    /* The inputs are complete: what info.needs says is there. Messages begin with the title. */
    spade_status (*run)(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out);
} metric_class;

/* THE list of metrics, in the order in which they are shown: metric_NAME is the row in NAME.c. */
/* clang-format off */
#define METRICS(ROW) \
    ROW(roc_auc)     \
    ROW(pointing)
/* clang-format on */
#define METRIC_DECLARATION(name) extern const metric_class metric_##name;
METRICS(METRIC_DECLARATION)
#undef METRIC_DECLARATION

struct spade_metric {
    const metric_class *class;
    void *options;             /* the metric's own struct */
    spade_named_options named; /* the same, by the names of its options */
};

/* From a row and the part of the text behind its name: "" or ":tolerance=2". */
spade_status metric_create(spade_context *context, const metric_class *class, const char *options, spade_metric **out);

#endif
