/* energy.c - how much of a map lies on the mask: its relevance mass. */
#include <math.h>

#include "metric/registry.h"

static spade_status run(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out)
{
    (void)options;
    double inside = 0, all = 0;
    bool empty = true;
    for (int64_t i = 0; i < inputs->height * inputs->width; i++) {
        const double score = inputs->scores[i];
        if (!isfinite(score)) { return spade_fail(context, SPADE_ERROR_INPUT, "Energy: the map is not finite"); }
        empty = empty && !inputs->mask[i];
        all += score > 0 ? score : 0;
        inside += score > 0 && inputs->mask[i] ? score : 0;
    }
    if (empty) { return spade_fail(context, SPADE_ERROR_INPUT, "Energy: the mask is empty"); }
    *out = all > 0 ? inside / all : NAN;
    return SPADE_OK;
}

const metric_class metric_energy = {
    .info = {.name = "energy",
             .title = "Energy on the mask",
             .definition = "sum of the positive scores on the mask, as a share of the sum of all positive scores; none "
                           "where no score is positive",
             .reading = "1: everything lies on the mask; the mask's share of the picture is chance",
             .source = "Arras et al. 2022, CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural "
                       "network explanations (relevance mass accuracy)",
             .version = 1,
             .better = SPADE_METRIC_HIGHER,
             .needs = SPADE_METRIC_NEEDS_MASK},
    .run = run,
};
