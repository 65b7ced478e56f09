/*
 * gradient_driver.c - maps from backward passes over (picture, target, point) triples in micro-batches of a fixed size.
 *
 * The inputs and the list of targets are uploaded once, maps and values downloaded once, at the end of the call; between
 * them everything is enqueued: points into the plan's input, the pass, the gradients into the target's sum, the sum into
 * its map.
 *
 * Where all points of a target fit into a micro-batch, it is all points of `together` pictures (one, or as many as the device
 * takes at once), walked back for one target after the other: they share the forward pass. Otherwise the pairs of target and
 * point follow each other without gaps, of one picture.
 *
 *   the call's block on the device: | x [pictures, size] | baselines [baseline_count, size] | products [batch, size] |
 * maps [wanted, pictures, n, size] | sum [size] | squares [size] | values [images] | targets [images] |
 *
 * products: where gradients are multiplied; sum, squares: where a statistic is made of them.
 * images: of all micro-batches. The last one is filled up with the last picture or pair, whose results nobody reads again.
 */
#include "attribution/gradient_driver.h"

#include <math.h>

/* Images of a micro-batch, at most: on the host, and on a device with memory of its own, which fewer do not keep busy. */
enum { HOST_BATCH = 2 * SPADE_MICRO_BATCH - 1, DEVICE_BATCH = 32 };

_Static_assert((int)HOST_BATCH <= (int)SPADE_MAX_POINTS && (int)DEVICE_BATCH <= (int)SPADE_MAX_POINTS,
               "a micro-batch is one call of the backend");

typedef struct driver {
    const attribution_job *job;
    const attribution_samples *points;
    const attribution_wanted *wanted; /* [wanted_count] */
    int wanted_count;
    bool needs_sum, needs_squares;
    int64_t together; /* pictures in a micro-batch; 0: it has not all points of a target */
    attribution_pass pass;
    int64_t batch, images;
    float *x, *baselines, *products, *maps;
    double *sum, *squares, *values;
    spade_seed_target *targets;
    void *block;
    size_t bytes;
} driver;

/* What an image is of. */
typedef struct image_place {
    int64_t picture, target, point; /* target: of the picture's */
    bool fills_up;                  /* it only completes a micro-batch */
} image_place;

static image_place find_place(const driver *d, int64_t image)
{
    const int64_t n = d->job->n, points = d->points->points, pictures = d->job->pictures;
    if (!d->together) {
        const bool fills_up = image >= n * points;
        const int64_t pair = fills_up ? n * points - 1 : image;
        return (image_place){0, pair / points, pair % points, fills_up};
    }
    const int64_t walk = image / d->batch, picture = walk / n * d->together + image % d->batch / points;
    const bool fills_up = picture >= pictures;
    return (image_place){fills_up ? pictures - 1 : picture, walk % n, image % points, fills_up};
}

/* How many of `count` images from `image` on are points of the same map, one after the other. */
static int64_t run_length(const driver *d, int64_t image, int64_t count)
{
    const int64_t left = d->points->points - find_place(d, image).point;
    return left < count ? left : count;
}

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
    if (!add_piece(job->size * job->pictures, sizeof *d->x, &d->bytes, &x) ||
        !add_piece(job->size * d->points->baseline_count, sizeof *d->baselines, &d->bytes, &baselines) ||
        !add_piece(multiplied, sizeof *d->products, &d->bytes, &products) ||
        !add_piece(job->size * job->pictures * job->n * d->wanted_count, sizeof *d->maps, &d->bytes, &maps) ||
        !add_piece(summed, sizeof *d->sum, &d->bytes, &sum) ||
        !add_piece(squared, sizeof *d->squares, &d->bytes, &squares) ||
        !add_piece(d->images, sizeof *d->values, &d->bytes, &values) ||
        !add_piece(d->images, sizeof *d->targets, &d->bytes, &targets)) {
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "maps of %d targets, %lld numbers each, are too large",
                          job->n, (long long)job->size);
    }
    SPADE_TRY(device->backend->alloc(device, d->bytes, "inputs and their maps", &d->block));
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

static spade_status fail_list(const driver *d)
{
    return spade_fail(d->job->context, SPADE_ERROR_MEMORY, "out of memory: a list of %lld passes",
                      (long long)d->images);
}

static spade_status upload_targets(driver *d)
{
    const attribution_job *job = d->job;
    spade_device *device = job->context->device;
    const size_t bytes = (size_t)d->images * sizeof *d->targets;
    spade_seed_target *targets = malloc(bytes);
    if (!targets) { return fail_list(d); }
    for (int64_t i = 0; i < d->images; i++) {
        const image_place place = find_place(d, i);
        targets[i] = attribution_seed_target(&job->targets[place.picture * job->n + place.target]);
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
    SPADE_TRY(device->backend->upload(device, d->x, job->input, sizeof *d->x * (size_t)(job->size * job->pictures)));
    if (d->points->baselines) {
        const size_t bytes = sizeof *d->baselines * (size_t)(d->points->baseline_count * job->size);
        SPADE_TRY(device->backend->upload(device, d->baselines, d->points->baselines, bytes));
    }
    return upload_targets(d);
}

/* Lines, and where the inputs of a picture lie on them. */
typedef struct line_points {
    double scale[SPADE_MAX_POINTS];
    uint32_t sample[SPADE_MAX_POINTS], baseline[SPADE_MAX_POINTS];
} line_points;

/* Those of `count` images from `first` on. */
static spade_points find_points(const driver *d, int64_t first, int64_t count, line_points *lines)
{
    const attribution_samples *points = d->points;
    for (int64_t i = 0; i < count; i++) {
        const int64_t point = find_place(d, first + i).point;
        lines->scale[i] = points->scale ? points->scale[point] : 1.0;
        lines->sample[i] = (uint32_t)point;
        lines->baseline[i] = points->baseline ? points->baseline[point] : 0;
    }
    return (spade_points){.size = d->job->size,
                          .count = count,
                          .scale = lines->scale,
                          .deviation = points->deviation,
                          .key = points->key,
                          .sample = lines->sample,
                          .baselines = points->baselines ? d->baselines : NULL,
                          .baseline = lines->baseline,
                          .uniform = points->uniform};
}

/* Images of one picture in a micro-batch. */
static int64_t images_of_picture(const driver *d)
{
    return d->together ? d->points->points : d->batch;
}

static const float *input_of(const driver *d, int64_t image)
{
    return d->x + find_place(d, image).picture * d->job->size;
}

/* The inputs of a micro-batch, which begins with image `first`, where the pass takes them from. */
static spade_status make_inputs(driver *d, int64_t first)
{
    spade_device *device = d->job->context->device;
    const int64_t step = images_of_picture(d);
    line_points lines;
    for (int64_t at = 0; at < d->batch; at += step) {
        const spade_points inputs = find_points(d, first + at, step, &lines);
        float *to = spade_plan_input(d->pass.plan, NULL) + at * d->job->size;
        SPADE_TRY(device->backend->points(device, &inputs, input_of(d, first + at), to));
    }
    return SPADE_OK;
}

static spade_status run_pass(driver *d, int64_t first)
{
    spade_device *device = d->job->context->device;
    const size_t bytes = sizeof *d->targets * (size_t)d->batch;
    SPADE_TRY(device->backend->copy(device, d->pass.targets, d->targets + first, bytes));
    if (d->together && first / d->batch % d->job->n > 0) { return attribution_pass_again(&d->pass); }
    SPADE_TRY(make_inputs(d, first));
    return attribution_pass_run(&d->pass);
}

/* The gradients of a micro-batch times the directions of their lines. */
static spade_status multiply_paths(driver *d, int64_t first)
{
    spade_device *device = d->job->context->device;
    const int64_t step = images_of_picture(d);
    line_points lines;
    for (int64_t at = 0; at < d->batch; at += step) {
        const spade_points inputs = find_points(d, first + at, step, &lines);
        const int64_t offset = at * d->job->size;
        SPADE_TRY(device->backend->path_products(device, &inputs, input_of(d, first + at),
                                                 spade_plan_relevance(d->pass.plan) + offset, d->products + offset));
    }
    return SPADE_OK;
}

/* To the target's sums: gradients of its points first .. first+count-1, count from 1 on. */
static spade_status add_gradients(driver *d, int64_t first, int64_t count, const float *gradients)
{
    const attribution_samples *points = d->points;
    const int64_t size = d->job->size;
    spade_device *device = d->job->context->device;
    const spade_backend *backend = device->backend;
    double weight[SPADE_MAX_POINTS];
    for (int64_t i = 0; i < count; i++) { weight[i] = points->weight ? points->weight[first + i] : 1.0; }
    if (d->needs_sum) {
        SPADE_TRY(backend->sum_gradients(device, size, count, weight, gradients, false, first > 0, d->sum));
    }
    if (!d->needs_squares) { return SPADE_OK; }
    return backend->sum_gradients(device, size, count, weight, gradients, true, first > 0, d->squares);
}

/* A target's sums into a map. */
static spade_status finish_map(driver *d, const attribution_wanted *wanted, const float *x, float *map)
{
    const attribution_samples *points = d->points;
    const double *sum = wanted->statistic == ATTRIBUTION_SUM_SQUARES ? d->squares : d->sum;
    const int64_t size = d->job->size;
    spade_device *device = d->job->context->device;
    const spade_backend *backend = device->backend;
    if (wanted->statistic == ATTRIBUTION_VARIANCE) {
        return backend->finish_variance(device, size, d->sum, d->squares, points->divisor, map);
    }
    return backend->finish_map(device, size, sum, wanted->times_input ? x : NULL, points->divisor, wanted->absolute,
                               map);
}

/* Gradients of `count` points of a map, neighbours in the micro-batch, the first one image `image`, at `gradients`. */
static spade_status take_gradients(driver *d, int64_t image, int64_t count, const float *gradients)
{
    const attribution_job *job = d->job;
    const attribution_samples *points = d->points;
    const image_place place = find_place(d, image);
    const int64_t summed = points->summed - place.point < count ? points->summed - place.point : count;
    if (summed > 0) { SPADE_TRY(add_gradients(d, place.point, summed, gradients)); }
    if (place.point + count < points->points) { return SPADE_OK; }
    for (int w = 0; w < d->wanted_count; w++) {
        float *map = d->maps + ((w * job->pictures + place.picture) * job->n + place.target) * job->size;
        SPADE_TRY(finish_map(d, &d->wanted[w], input_of(d, image), map));
    }
    return SPADE_OK;
}

/* One micro-batch, in runs of the same picture and target. */
static spade_status run_batch(driver *d, int64_t first)
{
    spade_device *device = d->job->context->device;
    const float *gradients = d->points->times_path ? d->products : spade_plan_relevance(d->pass.plan);
    SPADE_TRY(run_pass(d, first));
    if (d->points->times_path) { SPADE_TRY(multiply_paths(d, first)); }
    SPADE_TRY(device->backend->copy(device, d->values + first, d->pass.values, sizeof *d->values * (size_t)d->batch));
    for (int64_t at = 0, run; at < d->batch && !find_place(d, first + at).fills_up; at += run) {
        run = run_length(d, first + at, d->batch - at);
        SPADE_TRY(take_gradients(d, first + at, run, gradients + at * d->job->size));
    }
    return SPADE_OK;
}

/* A network's NaN may end before the gradients: a relu's gradient there is 0. */
static spade_status check_value(const driver *d, const image_place *place, double value)
{
    const attribution_job *job = d->job;
    char text[SPADE_TARGET_TEXT];
    if (isfinite(value)) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_NUMERICAL,
                      "what the network says of %s is not finite at input %lld of the %d that the map is made of",
                      spade_target_text(&job->targets[place->picture * job->n + place->target], NULL, NULL, text),
                      (long long)place->point + 1, d->points->points);
}

/* by_image [images] to values [pictures, n, points], which may be NULL. */
static spade_status take_values(const driver *d, const double *by_image, double *values)
{
    for (int64_t i = 0; i < d->images; i++) {
        const image_place place = find_place(d, i);
        if (place.fills_up) { continue; }
        SPADE_TRY(check_value(d, &place, by_image[i]));
        const int64_t map = place.picture * d->job->n + place.target;
        if (values) { values[map * d->points->points + place.point] = by_image[i]; }
    }
    return SPADE_OK;
}

static spade_status finish(driver *d, double *values)
{
    const attribution_job *job = d->job;
    spade_device *device = job->context->device;
    const size_t bytes = sizeof *values * (size_t)d->images;
    double *by_image = malloc(bytes);
    if (!by_image) { return fail_list(d); }
    spade_status status;
    for (int w = 0; w < d->wanted_count; w++) {
        const int64_t numbers = job->size * job->n * job->pictures;
        SPADE_GOTO(device->backend->download(device, d->wanted[w].maps, d->maps + w * numbers,
                                             sizeof *d->maps * (size_t)numbers));
    }
    SPADE_GOTO(device->backend->download(device, by_image, d->values, bytes));
    SPADE_GOTO(device->backend->synchronize(device));
    status = take_values(d, by_image, values);
done:
    free(by_image);
    return status;
}

/* ---- the size of a micro-batch */

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static bool on_host(const driver *d)
{
    return d->job->context->device->backend->host_memory;
}

/* Of a device with memory of its own sizes are powers of two up to `most`, so that few plans are made: as many as are there. */
static int64_t power_below(int64_t wanted, int64_t most)
{
    int64_t power = 1;
    while (power < wanted && 2 * power <= most) { power *= 2; }
    return power;
}

/* The same for what follows without gaps, filled up at its end: a smaller pass leaves less to fill up, but takes as long as one
 * with PASS_IMAGES more. */
static int64_t power_for(int64_t images, int64_t most)
{
    enum { PASS_IMAGES = 4 };
    int64_t best = power_below(images, most);
    for (int64_t power = best / 2; power >= SPADE_MICRO_BATCH; power /= 2) {
        if (divide_up(images, power) * (power + PASS_IMAGES) < divide_up(images, best) * (best + PASS_IMAGES)) {
            best = power;
        }
    }
    return best;
}

/*
 * On the host: all points of a target if they are few; else the size, from SPADE_MICRO_BATCH on, that leaves the fewest images
 * to fill up, the smallest of these.
 */
static int64_t size_for(int64_t points)
{
    int64_t best = SPADE_MICRO_BATCH;
    if (points <= HOST_BATCH) { return points; }
    for (int64_t size = SPADE_MICRO_BATCH; size <= HOST_BATCH; size++) {
        if (divide_up(points, size) * size < divide_up(points, best) * best) { best = size; }
    }
    return best;
}

/* A method with one point per target gets one image a pass, so that it does not pay for a batch it cannot fill: of each
 * picture that goes along. */
static void choose_batch(driver *d, int64_t most)
{
    const int64_t points = d->points->points;
    if (points == 1 || d->points->in_one_batch) {
        d->together = on_host(d) ? 1 : power_below(d->job->pictures, most / points);
        d->batch = d->together * points;
        return;
    }
    d->batch = on_host(d) ? size_for(points) : power_for(d->job->n * points, most);
    d->together = d->batch == points ? 1 : 0;
}

static void count_images(driver *d)
{
    const attribution_job *job = d->job;
    d->images = d->together ? divide_up(job->pictures, d->together) * job->n * d->batch
                            : divide_up((int64_t)job->n * d->points->points, d->batch) * d->batch;
}

/* The pass of a micro-batch; of a smaller one where the budget does not hold what keeps the device busy. */
static spade_status open_pass(driver *d, const spade_rules *rules)
{
    spade_status status = SPADE_ERROR_MEMORY;
    bool smaller = true;
    for (int64_t most = DEVICE_BATCH; status == SPADE_ERROR_MEMORY && smaller; most /= 2) {
        choose_batch(d, most);
        smaller = !on_host(d) && (d->together > 1 || d->batch > SPADE_MICRO_BATCH);
        spade_plan_request request = spade_relevance_request(d->batch, rules);
        request.repeat = d->together && d->job->n > 1;
        status = attribution_pass_create(d->job, &request, &d->pass);
    }
    d->pass.times_output = d->points->times_output;
    count_images(d);
    return status;
}

static spade_status run_all(driver *d, const spade_rules *rules, double *values)
{
    SPADE_TRY(open_pass(d, rules));
    SPADE_TRY(begin(d));
    for (int64_t first = 0; first < d->images; first += d->batch) {
        SPADE_TRY(run_batch(d, first));
        spade_report_progress(d->job->context, d->job->method, (double)(first + d->batch), (double)d->images);
    }
    return finish(d, values);
}

spade_status attribution_backward(const attribution_job *job, const spade_rules *rules,
                                  const attribution_samples *points, const attribution_wanted *wanted, int count,
                                  double *values)
{
    spade_device *device = job->context->device;
    driver d = {.job = job, .points = points, .wanted = wanted, .wanted_count = count};
    for (int w = 0; w < count; w++) {
        d.needs_sum = d.needs_sum || wanted[w].statistic != ATTRIBUTION_SUM_SQUARES;
        d.needs_squares = d.needs_squares || wanted[w].statistic != ATTRIBUTION_SUM;
    }
    const spade_status status = run_all(&d, rules, values);
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

const attribution_family attribution_gradients_family = {.run = run_gradients, .takes_pictures = true};

spade_status attribution_check_rules(const attribution_job *job, const spade_rules *rules)
{
    spade_error error;
    const spade_status status = spade_rules_check(job->context, &job->model->network, rules);
    if (status != SPADE_ERROR_UNSUPPORTED) { return status; }
    spade_error_save(job->context, &error);
    return spade_fail(job->context, status, "%s; leave %s out, or take a method for any network, such as saliency",
                      error.message, job->method);
}
