/* gradient.c - saliency and input x gradient: one backward pass for a class. */
#include "interpret/methods.h"

spade_status interpret_saliency(const interpret_job *job, float *maps, double *deltas)
{
    (void)deltas;
    const interpret_points points = {.points = 1, .summed = 1, .absolute = true, .divisor = 1};
    return interpret_backward(job, &spade_rules_gradient, &points, maps, NULL);
}

spade_status interpret_input_x_gradient(const interpret_job *job, float *maps, double *deltas)
{
    (void)deltas;
    const interpret_points points = {.points = 1, .summed = 1, .times_input = true, .divisor = 1};
    return interpret_backward(job, &spade_rules_gradient, &points, maps, NULL);
}
