/* driver.c - forward and backward passes over (class, point) pairs in micro-batches of a fixed size. */
#include <math.h>

#include "graph/runner.h"
#include "interpret/methods.h"

/* Buffers of one micro-batch, on the host. */
typedef struct batch_buffers {
    int64_t batch;
    float *input, *gradient; /* [batch, size] */
    float *output, *seed;    /* [batch, outputs] */
    size_t bytes;
    float *memory;
} batch_buffers;

static spade_status buffers_create(const interpret_job *job, int64_t batch, batch_buffers *out)
{
    *out = (batch_buffers){.batch = batch};
    size_t images, rows;
    if (!spade_mul_size((size_t)batch * 2 * sizeof(float), (size_t)job->size, &images) ||
        !spade_mul_size((size_t)batch * 2 * sizeof(float), (size_t)job->outputs, &rows) || images > SIZE_MAX - rows) {
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "input of %lld numbers is too large", (long long)job->size);
    }
    void *memory = NULL;
    SPADE_TRY(spade_alloc(job->context, images + rows, "inputs and gradients of a micro-batch", &memory));
    out->bytes = images + rows;
    out->memory = memory;
    out->input = out->memory;
    out->gradient = out->input + batch * job->size;
    out->output = out->gradient + batch * job->size;
    out->seed = out->output + batch * job->outputs;
    return SPADE_OK;
}

/* F at the outputs z [outputs], and the seed dF/dz of the backward pass. */
static double seed_row(const interpret_job *job, int64_t target, const float *z, float *seed)
{
    if (!job->options->softmax) {
        memset(seed, 0, sizeof *seed * (size_t)job->outputs);
        seed[target] = 1;
        return z[target];
    }
    double largest = z[0], sum = 0;
    for (int64_t j = 1; j < job->outputs; j++) { largest = fmax(largest, z[j]); }
    for (int64_t j = 0; j < job->outputs; j++) { sum += exp(z[j] - largest); }
    double score = exp(z[target] - largest) / sum;
    for (int64_t j = 0; j < job->outputs; j++) {
        double other = exp(z[j] - largest) / sum;
        seed[j] = (float)(score * ((j == target ? 1.0 : 0.0) - other));
    }
    return score;
}

/* One micro-batch: pairs first .. first+count-1. The rest of the batch repeats the last pair, and nobody reads it. */
static spade_status run_batch(const interpret_job *job, const spade_rules *rules, const interpret_points *points,
                              spade_plan *plan, spade_weights *weights, batch_buffers *buffers, int64_t first,
                              int64_t count)
{
    double values[SPADE_MICRO_BATCH] = {0};
    for (int64_t i = 0; i < buffers->batch; i++) {
        int64_t pair = first + (i < count ? i : count - 1);
        points->write(job, points->user, (int)(pair % points->points), buffers->input + i * job->size);
    }
    SPADE_TRY(spade_run_forward(plan, weights, buffers->input, buffers->output, NULL, NULL, NULL));
    for (int64_t i = 0; i < buffers->batch; i++) {
        int64_t pair = first + (i < count ? i : count - 1);
        values[i] = seed_row(job, job->classes[pair / points->points], buffers->output + i * job->outputs,
                             buffers->seed + i * job->outputs);
    }
    SPADE_TRY(spade_run_backward(plan, weights, rules, buffers->seed, buffers->gradient));
    for (int64_t i = 0; i < count; i++) {
        int64_t pair = first + i;
        points->take(job, points->user, (int)(pair / points->points), (int)(pair % points->points), values[i],
                     buffers->gradient + i * job->size);
    }
    return SPADE_OK;
}

spade_status interpret_backward(const interpret_job *job, const spade_rules *rules, const interpret_points *points)
{
    spade_context *context = job->context;
    spade_status status = SPADE_OK;
    spade_runner *runner = NULL;
    batch_buffers buffers = {0};
    int64_t pairs = (int64_t)job->n * points->points;
    /* A method with one point per class gets one image a pass, so that it does not pay for a batch it cannot fill. */
    int64_t batch = points->points == 1 ? 1 : SPADE_MICRO_BATCH;

    SPADE_GOTO(spade_runner_take(context, &job->model->graph, batch, SPADE_PLAN_BACKWARD, spade_overlay_of(job->trace),
                                 &runner));
    SPADE_GOTO(buffers_create(job, batch, &buffers));
    for (int64_t first = 0; first < pairs; first += batch) {
        int64_t count = pairs - first < batch ? pairs - first : batch;
        SPADE_GOTO(run_batch(job, rules, points, runner->plan, runner->weights, &buffers, first, count));
        spade_report_progress(context, spade_method_name(job->options->method), (double)(first + count), (double)pairs);
    }
done:
    spade_free_bytes(context, buffers.memory, buffers.bytes);
    spade_runner_give(runner);
    return status;
}
