/*
 * integrated_gradients.c - (x - x') * integral of the gradient on the line from the baseline x' = 0 to x, by
 * Gauss-Legendre quadrature. Two more points, x' and x, give F there for the completeness delta.
 */
#include "attribution/gradient_driver.h"

spade_status attribution_integrated_gradients(const attribution_job *job, float *maps, double *deltas)
{
    spade_status status = SPADE_OK;
    int steps = job->options->steps, points = steps + 2;
    size_t bytes = sizeof(double) * (size_t)points * (2 + (size_t)job->n);
    void *memory = NULL;
    SPADE_TRY(spade_alloc(job->context, bytes, "the points of a path", &memory));
    double *scale = memory, *weight = scale + points, *values = weight + points; /* values [n, points] */
    attribution_gauss_legendre(steps, scale, weight);
    scale[steps] = 0;
    scale[steps + 1] = 1;
    const attribution_samples path = {
        .points = points, .summed = steps, .scale = scale, .weight = weight, .times_input = true, .divisor = 1};
    SPADE_GOTO(attribution_backward(job, &spade_rules_gradient, &path, maps, values));
    for (int c = 0; deltas && c < job->n; c++) {
        const double *start = values + (int64_t)c * points + steps; /* F(x'), then F(x) */
        double total = 0;
        for (int64_t i = 0; i < job->size; i++) { total += maps[c * job->size + i]; }
        deltas[c] = total - (start[1] - start[0]);
    }
done:
    spade_free_bytes(job->context, memory, bytes);
    return status;
}
