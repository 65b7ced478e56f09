/*
 * smoothgrad.c - mean gradient over noisy copies of the input. The noise is drawn on the host, from (seed, input) and
 * the copy's number only: every class, network and backend sees the same copies.
 */
#include "interpret/methods.h"

typedef struct smooth_state {
    uint64_t key;
    double deviation; /* of the noise: sigma * (max x - min x) */
    double *noise;    /* [size] */
    double *sum;      /* [size] */
    float *maps;
} smooth_state;

static void write_copy(const interpret_job *job, void *user, int point, float *x)
{
    smooth_state *state = user;
    interpret_normal(state->key, (uint32_t)point, job->size, state->noise);
    for (int64_t i = 0; i < job->size; i++) { x[i] = (float)(job->input[i] + state->deviation * state->noise[i]); }
}

static void take_copy(const interpret_job *job, void *user, int class_index, int point, double value,
                      const float *gradient)
{
    (void)value;
    smooth_state *state = user;
    if (point == 0) { memset(state->sum, 0, sizeof *state->sum * (size_t)job->size); }
    for (int64_t i = 0; i < job->size; i++) { state->sum[i] += gradient[i]; }
    if (point == job->options->samples - 1) {
        float *map = state->maps + class_index * job->size;
        for (int64_t i = 0; i < job->size; i++) { map[i] = (float)(state->sum[i] / job->options->samples); }
    }
}

spade_status interpret_smoothgrad(const interpret_job *job, float *maps, double *deltas)
{
    (void)deltas;
    spade_status status = SPADE_OK;
    float low = job->input[0], high = job->input[0];
    for (int64_t i = 1; i < job->size; i++) {
        low = job->input[i] < low ? job->input[i] : low;
        high = job->input[i] > high ? job->input[i] : high;
    }
    size_t bytes = 2 * sizeof(double) * (size_t)job->size;
    void *memory = NULL;
    SPADE_TRY(spade_alloc(job->context, bytes, "the sum of gradients", &memory));
    smooth_state state = {.key = spade_hash(job->input, sizeof(float) * (size_t)job->size, job->options->seed),
                          .deviation = job->options->sigma * ((double)high - low),
                          .noise = memory,
                          .sum = (double *)memory + job->size,
                          .maps = maps};
    interpret_points points = {.points = job->options->samples, .write = write_copy, .take = take_copy, .user = &state};
    SPADE_GOTO(interpret_backward(job, &spade_rules_gradient, &points));
done:
    spade_free_bytes(job->context, memory, bytes);
    return status;
}
