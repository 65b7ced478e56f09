/* input_x_gradient.c - the first-order share of each input value in the class: one backward pass. */
#include "attribution/gradient_driver.h"

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)options;
    (void)notes;
    const attribution_samples input = {.points = 1, .summed = 1, .times_input = true, .divisor = 1};
    return attribution_backward(job, &spade_rules_gradient, &input, maps, NULL);
}

const attribution_method attribution_input_x_gradient = {
    .info = {.name = "input_x_gradient",
             .title = "Input x gradient",
             .definition = "x * dF/dx",
             .source = "Shrikumar et al. 2016, Not just a black box",
             .cost = "one forward and one backward pass",
             .flags = SPADE_METHOD_SIGNED},
    .run = run,
};
