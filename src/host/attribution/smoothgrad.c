/*
 * smoothgrad.c - mean gradient over noisy copies of the input. The noise depends on (seed, input) and the copy's number
 * only: every class, network and backend sees the same copies.
 */
#include "attribution/gradient_driver.h"

spade_status attribution_smoothgrad(const attribution_job *job, float *maps, double *deltas)
{
    (void)deltas;
    float low = job->input[0], high = job->input[0];
    for (int64_t i = 1; i < job->size; i++) {
        low = job->input[i] < low ? job->input[i] : low;
        high = job->input[i] > high ? job->input[i] : high;
    }
    const int samples = job->options->samples;
    const attribution_samples copies = {
        .points = samples,
        .summed = samples,
        .deviation = job->options->sigma * ((double)high - low),
        .key = spade_hash(job->input, sizeof(float) * (size_t)job->size, job->options->seed),
        .divisor = samples};
    return attribution_backward(job, &spade_rules_gradient, &copies, maps, NULL);
}
