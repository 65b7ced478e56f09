/* network_scores.c - see network_scores.h. */
#include "metric/network_scores.h"

#include <math.h>

spade_status metric_job_open(spade_context *context, const spade_metric_inputs *inputs, const char *title,
                             attribution_job *out)
{
    attribution_job job = attribution_job_of_scores(context, inputs->model, title);
    job.input = inputs->input;
    job.targets = inputs->target;
    job.n = 1;
    if (inputs->height != job.height || inputs->width != job.width) {
        return spade_fail(
            context, SPADE_ERROR_ARGUMENT, "%s: a map of %lld x %lld pixels of a network whose input has %lld x %lld",
            title, (long long)inputs->width, (long long)inputs->height, (long long)job.width, (long long)job.height);
    }
    *out = job;
    return attribution_check_targets(&job);
}

/* ---- images from the host */

typedef struct host_images {
    const attribution_job *job;
    metric_make_image_fn make;
    const void *user;
    float *images; /* [SPADE_MICRO_BATCH, size] */
} host_images;

static spade_status generate(void *user, int64_t first, int64_t count, float *out)
{
    host_images *h = user;
    const attribution_job *job = h->job;
    spade_device *device = job->context->device;
    bool made = true;
#pragma omp parallel for schedule(dynamic) reduction(&& : made) num_threads(job->context->threads)
    for (int64_t i = 0; i < count; i++) {
        made = h->make(h->user, first + i, (int)i, h->images + i * job->size) && made;
    }
    if (!made) { return spade_fail(job->context, SPADE_ERROR_NUMERICAL, "%s: an image cannot be made", job->method); }
    return device->backend->upload(device, out, h->images, sizeof *out * (size_t)(count * job->size));
}

spade_status metric_scores(const attribution_job *job, int64_t images, metric_make_image_fn make, const void *user,
                           double *values)
{
    const size_t bytes = sizeof(float) * (size_t)(SPADE_MICRO_BATCH * job->size);
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "perturbed images", &memory));
    host_images h = {.job = job, .make = make, .user = user, .images = memory};
    const spade_status status = attribution_perturb(job, images, generate, &h, values);
    spade_free_bytes(job->context, memory, bytes);
    return status;
}

/* ---- order */

static int by_score(const void *left, const void *right, void *user)
{
    const float *scores = user;
    const int64_t i = *(const int64_t *)left, k = *(const int64_t *)right;
    if (scores[i] != scores[k]) { return scores[i] > scores[k] ? -1 : 1; }
    return (i > k) - (i < k);
}

spade_status metric_rank_pixels(spade_context *context, const spade_metric_inputs *inputs, const char *title,
                                int64_t *order)
{
    const int64_t pixels = inputs->height * inputs->width;
    for (int64_t i = 0; i < pixels; i++) {
        if (!isfinite(inputs->scores[i])) {
            return spade_fail(context, SPADE_ERROR_INPUT, "%s: the map is not finite", title);
        }
        order[i] = i;
    }
    qsort_r(order, (size_t)pixels, sizeof *order, by_score, (void *)(uintptr_t)inputs->scores);
    return SPADE_OK;
}
