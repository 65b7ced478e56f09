/*
 * integrated_gradients.c - (x - x') * integral of the gradient on the line from the baseline x' = 0 to x, by
 * Gauss-Legendre quadrature. Two more points, x' and x with weight 0, give F there for the completeness delta.
 */
#include "interpret/methods.h"

typedef struct path_state {
    int steps;
    double *nodes, *weights; /* [steps] */
    double *sum;             /* [size]: of one class at a time */
    double start, end;       /* F at the baseline and at the input */
    float *maps;
    double *deltas;
} path_state;

static double position(const path_state *state, int point)
{
    if (point < state->steps) { return state->nodes[point]; }
    return point == state->steps ? 0 : 1;
}

static void write_point(const interpret_job *job, void *user, int point, float *x)
{
    double alpha = position(user, point);
    for (int64_t i = 0; i < job->size; i++) { x[i] = (float)(alpha * job->input[i]); }
}

/* The last point of a class completes its map. */
static void finish_class(const interpret_job *job, path_state *state, int class_index)
{
    float *map = state->maps + class_index * job->size;
    double total = 0;
    for (int64_t i = 0; i < job->size; i++) {
        map[i] = (float)(job->input[i] * state->sum[i]);
        total += map[i];
    }
    if (state->deltas) { state->deltas[class_index] = total - (state->end - state->start); }
}

static void take_point(const interpret_job *job, void *user, int class_index, int point, double value,
                       const float *gradient)
{
    path_state *state = user;
    if (point == 0) { memset(state->sum, 0, sizeof *state->sum * (size_t)job->size); }
    if (point < state->steps) {
        double weight = state->weights[point];
        for (int64_t i = 0; i < job->size; i++) { state->sum[i] += weight * gradient[i]; }
    } else if (point == state->steps) {
        state->start = value;
    } else {
        state->end = value;
        finish_class(job, state, class_index);
    }
}

spade_status interpret_integrated_gradients(const interpret_job *job, float *maps, double *deltas)
{
    spade_status status = SPADE_OK;
    int steps = job->options->steps;
    path_state state = {.steps = steps, .maps = maps, .deltas = deltas};
    size_t bytes = sizeof(double) * (size_t)job->size;
    void *sum = NULL;
    state.nodes = malloc(sizeof(double) * 2 * (size_t)steps);
    if (!state.nodes) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory for %d steps", steps); }
    state.weights = state.nodes + steps;
    interpret_gauss_legendre(steps, state.nodes, state.weights);
    SPADE_GOTO(spade_alloc(job->context, bytes, "the sum of gradients", &sum));
    state.sum = sum;
    interpret_points points = {.points = steps + 2, .write = write_point, .take = take_point, .user = &state};
    SPADE_GOTO(interpret_backward(job, &spade_rules_gradient, &points));
done:
    spade_free_bytes(job->context, sum, bytes);
    free(state.nodes);
    return status;
}
