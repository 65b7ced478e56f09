/* conservation.c - is relevance lost on its way through the network? */
#include <math.h>

#include "metric/registry.h"
#include "spade/check.h"

static spade_status run(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out)
{
    (void)options;
    spade_conservation walk = {0};
    double most = 0;
    SPADE_TRY(spade_attribution_conservation(context, inputs->model, inputs->trace, inputs->attribution, inputs->input,
                                             inputs->target, &walk));
    for (int i = 0; i < walk.count; i++) {
        const spade_conservation_step *step = &walk.steps[i];
        if (step->magnitude > 0) { most = fmax(most, fabs(spade_conservation_missing(step)) / step->magnitude); }
    }
    spade_conservation_clear(&walk);
    *out = most;
    return SPADE_OK;
}

static double passes(const void *options, int64_t height, int64_t width, double map)
{
    (void)options;
    (void)height;
    (void)width;
    return map;
}

const metric_class metric_conservation = {
    .info = {.name = "conservation",
             .title = "Conservation",
             .definition =
                 "largest share of a node's relevance (of the sum of its absolute values) that neither its inputs get "
                 "nor constants keep, over all nodes of the map's own network, of methods that hand relevance on",
             .reading = "0: nothing is lost or made on the way",
             .source = "Bach et al. 2015, On pixel-wise explanations for non-linear classifier decisions by layer-wise "
                       "relevance propagation",
             .version = 1,
             .better = SPADE_METRIC_LOWER,
             .needs = SPADE_METRIC_NEEDS_NETWORK | SPADE_METRIC_NEEDS_MAP,
             .method_flags = SPADE_METHOD_CONSERVATION},
    .run = run,
    .passes = passes,
};
