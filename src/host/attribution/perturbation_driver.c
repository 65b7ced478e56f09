/*
 * perturbation_driver.c - F at many images from forward passes over micro-batches of a fixed size.
 *
 * The targets are uploaded once and the values downloaded once; between them everything is enqueued: a micro-batch of
 * images into the plan's input, the pass, and each target's F to its place.
 *
 *   the call's block on the device: | values [n, images] | targets [n, micro-batch] |
 *
 * The last micro-batch is filled up with its first image, whose values there nobody takes.
 */
#include "attribution/perturbation_driver.h"

#include <math.h>

#include "engine/executor.h"

typedef struct driver {
    const attribution_job *job;
    int64_t images;
    spade_executor *executor;
    double *values;
    spade_seed_target *targets;
    void *block;
    size_t bytes;
} driver;

static spade_status begin(driver *d)
{
    const attribution_job *job = d->job;
    spade_device *device = job->context->device;
    spade_seed_target targets[SPADE_MICRO_BATCH];
    size_t values, all_targets;
    if (!spade_mul_size((size_t)d->images, sizeof *d->values * (size_t)job->n, &values) ||
        !spade_mul_size((size_t)job->n, sizeof targets, &all_targets) || values > SIZE_MAX / 2 ||
        all_targets > SIZE_MAX / 2) {
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "values of %d targets at %lld images are too many", job->n,
                          (long long)d->images);
    }
    d->bytes = values + all_targets;
    SPADE_TRY(device->backend->alloc(device, d->bytes, "values of perturbed images", &d->block));
    d->values = d->block;
    d->targets = (spade_seed_target *)((char *)d->block + values);
    for (int c = 0; c < job->n; c++) {
        for (int i = 0; i < SPADE_MICRO_BATCH; i++) { targets[i] = attribution_seed_target(&job->targets[c]); }
        SPADE_TRY(device->backend->upload(device, d->targets + (size_t)c * SPADE_MICRO_BATCH, targets, sizeof targets));
    }
    return SPADE_OK;
}

/* Images first .. first+count-1 are in the plan's input. */
static spade_status run_batch(driver *d, int64_t first, int64_t count)
{
    const attribution_job *job = d->job;
    spade_device *device = job->context->device;
    spade_plan *plan = d->executor->plan;
    float *input = spade_plan_input(plan, NULL);
    for (int64_t i = count; i < SPADE_MICRO_BATCH; i++) {
        SPADE_TRY(device->backend->copy(device, input + i * job->size, input, sizeof *input * (size_t)job->size));
    }
    SPADE_TRY(spade_executor_forward(d->executor));
    for (int c = 0; c < job->n; c++) {
        const spade_seed_args seed = {.batch = count,
                                      .outputs = job->outputs,
                                      .score = job->score,
                                      .z = spade_plan_output(plan),
                                      .targets = d->targets + (size_t)c * SPADE_MICRO_BATCH,
                                      .values = d->values + c * d->images + first};
        SPADE_TRY(device->backend->seed(device, &seed));
    }
    return SPADE_OK;
}

spade_status attribution_perturb(const attribution_job *job, int64_t images, attribution_generate_fn generate,
                                 void *user, double *values)
{
    spade_context *context = job->context;
    spade_device *device = context->device;
    spade_status status = SPADE_OK;
    driver d = {.job = job, .images = images};
    char text[SPADE_TARGET_TEXT];
    const spade_plan_request request = spade_forward_request(SPADE_MICRO_BATCH);
    SPADE_GOTO(spade_executor_acquire(context, &job->model->network, &request, spade_weight_override_of(job->trace),
                                      &d.executor));
    SPADE_GOTO(begin(&d));
    for (int64_t first = 0; first < images; first += SPADE_MICRO_BATCH) {
        const int64_t count = images - first < SPADE_MICRO_BATCH ? images - first : SPADE_MICRO_BATCH;
        SPADE_GOTO(generate(user, first, count, spade_plan_input(d.executor->plan, NULL)));
        SPADE_GOTO(run_batch(&d, first, count));
        spade_report_progress(context, job->method, (double)(first + count), (double)images);
    }
    SPADE_GOTO(device->backend->download(device, values, d.values, sizeof *values * (size_t)(job->n * images)));
    SPADE_GOTO(device->backend->synchronize(device));
    for (int64_t i = 0; i < images * job->n; i++) {
        if (isfinite(values[i])) { continue; }
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_NUMERICAL,
                              "what the network says of %s is not finite at perturbed input %lld of %lld",
                              spade_target_text(&job->targets[i / images], NULL, NULL, text),
                              (long long)(i % images) + 1, (long long)images));
    }
done:
    if (d.block) { device->backend->free(device, d.block, d.bytes); }
    spade_executor_release(d.executor);
    return status;
}
