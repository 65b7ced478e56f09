/* gradient.c - saliency and input x gradient: one backward pass for a class. */
#include <math.h>

#include "interpret/methods.h"

static void write_input(const interpret_job *job, void *user, int point, float *x)
{
    (void)user, (void)point;
    memcpy(x, job->input, sizeof *x * (size_t)job->size);
}

static void take_saliency(const interpret_job *job, void *user, int class_index, int point, double value,
                          const float *gradient)
{
    (void)point, (void)value;
    float *map = (float *)user + class_index * job->size;
    for (int64_t i = 0; i < job->size; i++) { map[i] = fabsf(gradient[i]); }
}

static void take_input_x_gradient(const interpret_job *job, void *user, int class_index, int point, double value,
                                  const float *gradient)
{
    (void)point, (void)value;
    float *map = (float *)user + class_index * job->size;
    for (int64_t i = 0; i < job->size; i++) { map[i] = job->input[i] * gradient[i]; }
}

spade_status interpret_saliency(const interpret_job *job, float *maps, double *deltas)
{
    (void)deltas;
    interpret_points points = {.points = 1, .write = write_input, .take = take_saliency, .user = maps};
    return interpret_backward(job, &spade_rules_gradient, &points);
}

spade_status interpret_input_x_gradient(const interpret_job *job, float *maps, double *deltas)
{
    (void)deltas;
    interpret_points points = {.points = 1, .write = write_input, .take = take_input_x_gradient, .user = maps};
    return interpret_backward(job, &spade_rules_gradient, &points);
}
