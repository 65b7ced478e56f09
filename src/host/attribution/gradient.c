/* gradient.c - saliency and input x gradient: one backward pass for a class. */
#include "attribution/gradient_driver.h"

spade_status attribution_saliency(const attribution_job *job, float *maps, double *deltas)
{
    (void)deltas;
    const attribution_samples points = {.points = 1, .summed = 1, .absolute = true, .divisor = 1};
    return attribution_backward(job, &spade_rules_gradient, &points, maps, NULL);
}

spade_status attribution_input_x_gradient(const attribution_job *job, float *maps, double *deltas)
{
    (void)deltas;
    const attribution_samples points = {.points = 1, .summed = 1, .times_input = true, .divisor = 1};
    return attribution_backward(job, &spade_rules_gradient, &points, maps, NULL);
}
