/* completeness.c - does a map sum to what its method promises? */
#include <math.h>

#include "metric/registry.h"

static spade_status run(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out)
{
    (void)context;
    (void)options;
    const double size = fabs(inputs->note.difference);
    *out = size > 0 ? fabs(inputs->note.delta) / size : NAN;
    return SPADE_OK;
}

const metric_class metric_completeness = {
    .info = {.name = "completeness",
             .title = "Completeness",
             .definition =
                 "|sum of the map - (F(x) - F(baseline))| / |F(x) - F(baseline)|, of methods that promise such a "
                 "sum, on the map's own network",
             .reading = "0: the map sums to what it should",
             .source = "Sundararajan, Taly, Yan 2017, Axiomatic attribution for deep networks",
             .version = 1,
             .better = SPADE_METRIC_LOWER,
             .needs = SPADE_METRIC_NEEDS_MAP,
             .method_flags = SPADE_METHOD_COMPLETENESS},
    .run = run,
};
