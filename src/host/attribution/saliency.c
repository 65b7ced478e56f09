/* saliency.c - how strongly the class reacts to each input value: one backward pass. */
#include "attribution/gradient_driver.h"

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)options;
    (void)notes;
    const attribution_samples input = {.points = 1, .summed = 1, .absolute = true, .divisor = 1};
    return attribution_backward(job, &spade_rules_gradient, &input, maps, NULL);
}

const attribution_method attribution_saliency = {
    .info = {.name = "saliency",
             .title = "Saliency",
             .definition = "abs(dF/dx)",
             .source = "Simonyan, Vedaldi, Zisserman 2013, Deep inside convolutional networks",
             .cost = "one forward and one backward pass"},
    .run = run,
};
