/* deconvolution.c - what of the input a deconvolutional network makes of the class: one backward pass. */
#include "attribution/gradient_driver.h"

static spade_status check(const attribution_job *job, const void *options)
{
    (void)options;
    return attribution_check_rules(job, &spade_rules_deconvolution);
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)options;
    (void)notes;
    const attribution_samples input = {.points = 1, .summed = 1, .divisor = 1};
    return attribution_backward(job, &spade_rules_deconvolution, &input, &(attribution_wanted){.maps = maps}, 1, NULL);
}

const attribution_method attribution_deconvolution = {
    .info = {.name = "deconvolution",
             .title = "Deconvolution",
             .definition = "dF/dx, where each ReLU hands back max(r, 0), whatever its input is",
             .source = "Zeiler, Fergus 2014, Visualizing and understanding convolutional networks",
             .cost = "one forward and one backward pass",
             .needs = "no other activations than rectifiers",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_SLOPE},
    .check = check,
    .run = run,
    .takes_pictures = true,
};
