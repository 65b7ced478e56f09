/*
 * gradient_driver.c - maps from backward passes over (target, point) pairs in micro-batches of a fixed size.
 *
 * The input and the list of targets are uploaded once, maps and values downloaded once, at the end of the call; between
 * them everything is enqueued: points into the plan's input, the pass, the gradients into the target's sum, the sum into
 * its map.
 *
 *   the call's block on the device: | x [size] | baselines [baseline_count, size] | products [batch, size] |
 * maps [wanted, n, size] | sum [size] | squares [size] | values [padded] | targets [padded] |
 *
 * products: where gradients are multiplied; sum, squares: where a
 * statistic is made of them.
 * padded: the pairs, filled up to whole micro-batches with the last pair, which nobody reads again.
 */
#include "attribution/gradient_driver.h"

#include <math.h>

_Static_assert((int)SPADE_MICRO_BATCH <= (int)SPADE_MAX_POINTS, "a micro-batch is one call of the backend");

typedef struct driver {
    const attribution_job *job;
    const attribution_samples *points;
    const attribution_wanted *wanted; /* [wanted_count] */
    int wanted_count;
    bool needs_sum, needs_squares;
    bool shared; /* every micro-batch has the same inputs: only the first one runs forward */
    attribution_pass pass;
    int64_t batch, pairs, padded;
    float *x, *baselines, *products, *maps;
    double *sum, *squares, *values;
    spade_seed_target *targets;
    void *block;
    size_t bytes;
} driver;

/* Count the piece of n elements after the ones before it; false: more than memory can address. */
static bool add_piece(int64_t n, size_t element, size_t *bytes, size_t *offset)
{
    enum { ALIGNMENT = 256 };
    size_t piece;
    if (!spade_mul_size((size_t)n, element, &piece) || piece > SIZE_MAX / 8 || *bytes > SIZE_MAX / 2) { return false; }
    *offset = *bytes;
    *bytes += (piece + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return true;
}

static spade_status make_block(driver *d)
{
    const attribution_job *job = d->job;
    spade_device *device = job->context->device;
    const int64_t summed = d->needs_sum ? job->size : 0, squared = d->needs_squares ? job->size : 0;
    const int64_t multiplied = d->points->times_path ? job->size * d->batch : 0;
    size_t x, baselines, products, maps, sum, squares, values, targets;
    if (!add_piece(job->size, sizeof *d->x, &d->bytes, &x) ||
        !add_piece(job->size * d->points->baseline_count, sizeof *d->baselines, &d->bytes, &baselines) ||
        !add_piece(multiplied, sizeof *d->products, &d->bytes, &products) ||
        !add_piece(job->size * job->n * d->wanted_count, sizeof *d->maps, &d->bytes, &maps) ||
        !add_piece(summed, sizeof *d->sum, &d->bytes, &sum) ||
        !add_piece(squared, sizeof *d->squares, &d->bytes, &squares) ||
        !add_piece(d->padded, sizeof *d->values, &d->bytes, &values) ||
        !add_piece(d->padded, sizeof *d->targets, &d->bytes, &targets)) {
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "maps of %d targets, %lld numbers each, are too large",
                          job->n, (long long)job->size);
    }
    SPADE_TRY(device->backend->alloc(device, d->bytes, "an input and its maps", &d->block));
    char *block = d->block;
    d->x = (float *)(block + x);
    d->baselines = (float *)(block + baselines);
    d->products = (float *)(block + products);
    d->maps = (float *)(block + maps);
    d->sum = (double *)(block + sum);
    d->squares = (double *)(block + squares);
    d->values = (double *)(block + values);
    d->targets = (spade_seed_target *)(block + targets);
    return SPADE_OK;
}

static spade_status upload_targets(driver *d)
{
    const attribution_job *job = d->job;
    spade_device *device = job->context->device;
    const size_t bytes = (size_t)d->padded * sizeof *d->targets;
    spade_seed_target *targets = malloc(bytes);
    if (!targets) {
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory: a list of %lld passes",
                          (long long)d->pairs);
    }
    for (int64_t i = 0; i < d->padded; i++) {
        int64_t pair = i < d->pairs ? i : d->pairs - 1;
        targets[i] = attribution_seed_target(&job->targets[pair / d->points->points]);
    }
    spade_status status = device->backend->upload(device, d->targets, targets, bytes);
    free(targets);
    return status;
}

static spade_status begin(driver *d)
{
    const attribution_job *job = d->job;
    spade_device *device = job->context->device;
    SPADE_TRY(make_block(d));
    SPADE_TRY(device->backend->upload(device, d->x, job->input, sizeof *d->x * (size_t)job->size));
    if (d->points->baselines) {
        const size_t bytes = sizeof *d->baselines * (size_t)(d->points->baseline_count * job->size);
        SPADE_TRY(device->backend->upload(device, d->baselines, d->points->baselines, bytes));
    }
    return upload_targets(d);
}

/* The lines of a micro-batch, and where its inputs lie on them. */
typedef struct line_points {
    double scale[SPADE_MICRO_BATCH];
    uint32_t sample[SPADE_MICRO_BATCH], baseline[SPADE_MICRO_BATCH];
} line_points;

/* Those of the pairs from `first` on. */
static spade_points find_points(const driver *d, int64_t first, line_points *lines)
{
    const attribution_samples *points = d->points;
    for (int64_t i = 0; i < d->batch; i++) {
        int64_t pair = first + i < d->pairs ? first + i : d->pairs - 1, point = pair % points->points;
        lines->scale[i] = points->scale ? points->scale[point] : 1.0;
        lines->sample[i] = (uint32_t)point;
        lines->baseline[i] = points->baseline ? points->baseline[point] : 0;
    }
    return (spade_points){.size = d->job->size,
                          .count = d->batch,
                          .scale = lines->scale,
                          .deviation = points->deviation,
                          .key = points->key,
                          .sample = lines->sample,
                          .baselines = points->baselines ? d->baselines : NULL,
                          .baseline = lines->baseline,
                          .uniform = points->uniform};
}

/* The inputs of the pairs from `first` on, and what they are explained for, where the pass takes them from; and the pass. */
static spade_status run_pass(driver *d, int64_t first)
{
    spade_device *device = d->job->context->device;
    line_points lines;
    const size_t bytes = sizeof *d->targets * (size_t)d->batch;
    SPADE_TRY(device->backend->copy(device, d->pass.targets, d->targets + first, bytes));
    if (d->shared && first > 0) { return attribution_pass_again(&d->pass); }
    const spade_points inputs = find_points(d, first, &lines);
    SPADE_TRY(device->backend->points(device, &inputs, d->x, spade_plan_input(d->pass.plan, NULL)));
    return attribution_pass_run(&d->pass);
}

/* The gradients of the pairs from `first` on times the directions of their lines. */
static spade_status multiply_paths(driver *d, int64_t first)
{
    spade_device *device = d->job->context->device;
    line_points lines;
    const spade_points inputs = find_points(d, first, &lines);
    return device->backend->path_products(device, &inputs, d->x, spade_plan_relevance(d->pass.plan), d->products);
}

/* To the target's sums: gradients of its points first .. first+count-1, count from 1 on. */
static spade_status add_gradients(driver *d, int64_t first, int64_t count, const float *gradients)
{
    const attribution_samples *points = d->points;
    const int64_t size = d->job->size;
    spade_device *device = d->job->context->device;
    const spade_backend *backend = device->backend;
    double weight[SPADE_MICRO_BATCH];
    for (int64_t i = 0; i < count; i++) { weight[i] = points->weight ? points->weight[first + i] : 1.0; }
    if (d->needs_sum) {
        SPADE_TRY(backend->sum_gradients(device, size, count, weight, gradients, false, first > 0, d->sum));
    }
    if (!d->needs_squares) { return SPADE_OK; }
    return backend->sum_gradients(device, size, count, weight, gradients, true, first > 0, d->squares);
}

/* A target's sums into a map. */
static spade_status finish_map(driver *d, const attribution_wanted *wanted, float *map)
{
    const attribution_samples *points = d->points;
    const double *sum = wanted->statistic == ATTRIBUTION_SUM_SQUARES ? d->squares : d->sum;
    const int64_t size = d->job->size;
    spade_device *device = d->job->context->device;
    const spade_backend *backend = device->backend;
    if (wanted->statistic == ATTRIBUTION_VARIANCE) {
        return backend->finish_variance(device, size, d->sum, d->squares, points->divisor, map);
    }
    return backend->finish_map(device, size, sum, wanted->times_input ? d->x : NULL, points->divisor, wanted->absolute,
                               map);
}

/* Gradients of the points first .. first+count-1 of a target, neighbours in the micro-batch, the first one at
 * `gradients`. */
static spade_status take_gradients(driver *d, int64_t target, int64_t first, int64_t count, const float *gradients)
{
    const attribution_samples *points = d->points;
    int64_t summed = points->summed - first < count ? points->summed - first : count;
    if (summed > 0) { SPADE_TRY(add_gradients(d, first, summed, gradients)); }
    if (first + count < points->points) { return SPADE_OK; }
    for (int w = 0; w < d->wanted_count; w++) {
        float *map = d->maps + (w * d->job->n + target) * d->job->size;
        SPADE_TRY(finish_map(d, &d->wanted[w], map));
    }
    return SPADE_OK;
}

/* One micro-batch: pairs first .. first+count-1, in runs of the same target. */
static spade_status run_batch(driver *d, int64_t first, int64_t count)
{
    spade_device *device = d->job->context->device;
    const float *gradients = d->points->times_path ? d->products : spade_plan_relevance(d->pass.plan);
    SPADE_TRY(run_pass(d, first));
    if (d->points->times_path) { SPADE_TRY(multiply_paths(d, first)); }
    SPADE_TRY(device->backend->copy(device, d->values + first, d->pass.values, sizeof *d->values * (size_t)d->batch));
    for (int64_t at = 0, run; at < count; at += run) {
        int64_t target = (first + at) / d->points->points, point = (first + at) % d->points->points;
        run = d->points->points - point < count - at ? d->points->points - point : count - at;
        SPADE_TRY(take_gradients(d, target, point, run, gradients + at * d->job->size));
    }
    return SPADE_OK;
}

/* A network's NaN may end before the gradients: a relu's gradient there is 0. */
static spade_status check_values(const driver *d, const double *values)
{
    const int points = d->points->points;
    char text[ATTRIBUTION_TARGET_TEXT];
    for (int64_t pair = 0; pair < d->pairs; pair++) {
        if (isfinite(values[pair])) { continue; }
        return spade_fail(d->job->context, SPADE_ERROR_NUMERICAL,
                          "what the network says of %s is not finite at input %lld of the %d that the map is made of",
                          attribution_describe_target(&d->job->targets[pair / points], text),
                          (long long)(pair % points) + 1, points);
    }
    return SPADE_OK;
}

static spade_status finish(driver *d, double *values)
{
    const attribution_job *job = d->job;
    spade_device *device = job->context->device;
    const size_t bytes = sizeof *values * (size_t)d->pairs;
    double *own = values ? values : malloc(bytes);
    if (!own) {
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory: a list of %lld passes",
                          (long long)d->pairs);
    }
    spade_status status;
    for (int w = 0; w < d->wanted_count; w++) {
        const int64_t numbers = job->size * job->n;
        SPADE_GOTO(device->backend->download(device, d->wanted[w].maps, d->maps + w * numbers,
                                             sizeof *d->maps * (size_t)numbers));
    }
    SPADE_GOTO(device->backend->download(device, own, d->values, bytes));
    SPADE_GOTO(device->backend->synchronize(device));
    status = check_values(d, own);
done:
    if (own != values) { free(own); }
    return status;
}

spade_status attribution_backward(const attribution_job *job, const spade_rules *rules,
                                  const attribution_samples *points, const attribution_wanted *wanted, int count,
                                  double *values)
{
    spade_context *context = job->context;
    spade_device *device = context->device;
    spade_status status = SPADE_OK;
    driver d = {.job = job,
                .points = points,
                .wanted = wanted,
                .wanted_count = count,
                .pairs = (int64_t)job->n * points->points};
    for (int w = 0; w < count; w++) {
        d.needs_sum = d.needs_sum || wanted[w].statistic != ATTRIBUTION_SUM_SQUARES;
        d.needs_squares = d.needs_squares || wanted[w].statistic != ATTRIBUTION_SUM;
    }
    /* A method with one point per target gets one image a pass, so that it does not pay for a batch it cannot fill. */
    const int64_t several = points->batch ? points->batch : SPADE_MICRO_BATCH;
    const int64_t batch = d.batch = points->points == 1 ? 1 : several;
    d.padded = (d.pairs + batch - 1) / batch * batch;

    d.shared = job->n > 1 && points->points == batch;

    spade_plan_request request = spade_relevance_request(batch, rules);
    request.repeat = d.shared;
    SPADE_GOTO(attribution_pass_create(job, &request, &d.pass));
    d.pass.times_output = points->times_output;
    SPADE_GOTO(begin(&d));
    for (int64_t first = 0; first < d.pairs; first += batch) {
        int64_t pairs = d.pairs - first < batch ? d.pairs - first : batch;
        SPADE_GOTO(run_batch(&d, first, pairs));
        spade_report_progress(context, job->method, (double)(first + pairs), (double)d.pairs);
    }
    SPADE_GOTO(finish(&d, values));
done:
    if (d.block) { device->backend->free(device, d.block, d.bytes); }
    attribution_pass_destroy(&d.pass);
    return status;
}

static spade_status run_gradients(const attribution_job *job, const attribution_member *members, int count)
{
    const attribution_samples input = {.points = 1, .summed = 1, .divisor = 1};
    attribution_wanted wanted[SPADE_MAX_TOGETHER];
    for (int m = 0; m < count; m++) {
        wanted[m] = *(const attribution_wanted *)members[m].part;
        wanted[m].maps = members[m].maps;
    }
    return attribution_backward(job, &spade_rules_gradient, &input, wanted, count, NULL);
}

const attribution_family attribution_gradients_family = {.run = run_gradients};

spade_status attribution_check_rules(const attribution_job *job, const spade_rules *rules)
{
    spade_error error;
    const spade_status status = spade_rules_check(job->context, &job->model->network, rules);
    if (status != SPADE_ERROR_UNSUPPORTED) { return status; }
    spade_error_save(job->context, &error);
    return spade_fail(job->context, status, "%s; leave %s out, or take a method for any network, such as saliency",
                      error.message, job->method);
}
