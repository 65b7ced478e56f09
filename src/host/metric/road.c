/*
 * road.c - remove and debias: the class's score while more and more of the picture's pixels are taken, and in their place stands
 * what their neighbours let expect, so that the holes' shape says little.
 */
#include <math.h>

#include "attribution/noise.h"
#include "metric/network_scores.h"
#include "metric/imputation.h"

typedef struct road_options {
    int64_t steps;
    double noise;
    int64_t seed;
} road_options;

typedef struct road_job {
    const attribution_job *job;
    const road_options *options;
    bool least;           /* the least important pixels are taken first */
    const int64_t *order; /* [maps, pixels]: from the most important on */
    uint64_t key;         /* of the noise */
    char *scratch;        /* [SPADE_MICRO_BATCH, slot_bytes] */
    size_t slot_bytes;
} road_job;

/* Noise on the pixels that are not kept: the same at a pixel, whatever the map and the share. */
static void add_noise(const road_job *r, const uint8_t *keep, float *out)
{
    const int64_t pixels = r->job->height * r->job->width;
    const uint32_t key[2] = {(uint32_t)r->key, (uint32_t)(r->key >> 32)};
    for (int64_t i = 0; i < pixels; i++) {
        if (keep[i]) { continue; }
        for (int64_t c = 0; c < r->job->channels; c += 2) {
            const uint32_t counter[4] = {(uint32_t)i, (uint32_t)c, 0, 0};
            double normal[2];
            spade_normal(key, counter, normal);
            for (int64_t k = c; k < r->job->channels && k < c + 2; k++) {
                float *value = &out[k * pixels + i];
                *value = (float)((double)*value + r->options->noise * normal[k - c]);
            }
        }
    }
}

/* Image s of a map has lost (s + 1) / (steps + 1) of its pixels. */
static bool make_image(const void *user, int64_t image, int slot, float *out)
{
    const road_job *r = user;
    const attribution_job *job = r->job;
    const int64_t steps = r->options->steps, pixels = job->height * job->width;
    const int64_t *order = r->order + image / steps * pixels;
    const double share = (double)(image % steps + 1) / (double)(steps + 1);
    const int64_t taken = (int64_t)floor(share * (double)pixels);
    void *scratch = r->scratch + (size_t)slot * r->slot_bytes;
    uint8_t *keep = (uint8_t *)scratch + imputation_bytes(pixels);
    memset(keep, 1, (size_t)pixels);
    for (int64_t i = 0; i < taken; i++) { keep[order[r->least ? pixels - 1 - i : i]] = 0; }
    memcpy(out, job->input, sizeof *out * (size_t)job->size);
    if (!impute_linear(out, job->channels, job->height, job->width, keep, scratch)) { return false; }
    if (r->options->noise > 0) { add_noise(r, keep, out); }
    return true;
}

static spade_status make_curves(spade_context *context, bool least, const road_options *o,
                                const spade_metric_inputs *const *inputs, int count, double *curves)
{
    const char *title = least ? "ROAD, least relevant first" : "ROAD, most relevant first";
    const int64_t pixels = inputs[0]->height * inputs[0]->width;
    spade_status status = SPADE_OK;
    attribution_job job;
    void *memory;
    SPADE_TRY(metric_job_open(context, inputs[0], title, &job));
    job.seed = (uint64_t)o->seed;
    const size_t of_order = sizeof(int64_t) * (size_t)pixels, aligned = sizeof(double);
    const size_t slot = (imputation_bytes(pixels) + (size_t)pixels + aligned - 1) / aligned * aligned;
    const size_t bytes = (size_t)count * of_order + SPADE_MICRO_BATCH * slot;
    SPADE_TRY(spade_alloc(context, bytes, "imputed images", &memory));
    int64_t *order = memory;
    road_job r = {.job = &job,
                  .options = o,
                  .least = least,
                  .order = order,
                  .key = attribution_input_key(&job),
                  .scratch = (char *)memory + (size_t)count * of_order,
                  .slot_bytes = slot};
    for (int m = 0; m < count; m++) { SPADE_GOTO(metric_rank_pixels(context, inputs[m], title, order + m * pixels)); }
    SPADE_GOTO(metric_scores(&job, count * o->steps, make_image, &r, curves));
done:
    spade_free_bytes(context, memory, bytes);
    return status;
}

static spade_status most_first(spade_context *context, const void *options, const spade_metric_inputs *const *inputs,
                               int count, double *curves)
{
    return make_curves(context, false, options, inputs, count, curves);
}

static spade_status least_first(spade_context *context, const void *options, const spade_metric_inputs *const *inputs,
                                int count, double *curves)
{
    return make_curves(context, true, options, inputs, count, curves);
}

static int64_t curve_length(const void *options, int64_t height, int64_t width)
{
    (void)height;
    (void)width;
    return ((const road_options *)options)->steps;
}

static double mean(const double *curve, int64_t length)
{
    double sum = 0;
    for (int64_t i = 0; i < length; i++) { sum += curve[i]; }
    return sum / (double)length;
}

static double passes(const void *options, int64_t height, int64_t width, double map)
{
    (void)map;
    return attribution_forward_passes(curve_length(options, height, width));
}

static const spade_option_info options[] = {
    {.name = "steps",
     .help = "shares of the pixels that are taken: 1/(steps+1) to steps/(steps+1)",
     .type = SPADE_OPTION_INTEGER,
     .min = 1,
     .max = 1000,
     .default_value = "9"},
    {.name = "noise",
     .help = "standard deviation of the noise on pixels that were made, in units of the normalised input",
     .type = SPADE_OPTION_REAL,
     .min = 0,
     .max = 100,
     .default_value = "0.01"},
    METRIC_SEED_OPTION("of the noise"),
};
static const size_t option_offsets[] = {offsetof(road_options, steps), offsetof(road_options, noise),
                                        offsetof(road_options, seed)};

#define ROAD_SOURCE                                                                                                    \
    "Rong et al. 2022, A consistent and efficient evaluation strategy for attribution methods (remove and debias)"

const metric_class metric_road_most = {
    .info = {.name = "road_most",
             .title = "ROAD, most relevant first",
             .definition =
                 "mean over shares of the dense network's score of the class without the share of the pixels that "
                 "has the largest scores; in their place noisy linear imputation: weighted means of their "
                 "neighbours. Of A-B: the difference of the two classes' scores",
             .reading = "0: without the first pixels the class is gone, 1: it never goes",
             .source = ROAD_SOURCE,
             .version = 1,
             .better = SPADE_METRIC_LOWER,
             .needs = SPADE_METRIC_NEEDS_NETWORK,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(road_options),
    .option_offsets = option_offsets,
    .curves = most_first,
    .curve_length = curve_length,
    .value_of_curve = mean,
    .passes = passes,
};

const metric_class metric_road_least = {
    .info = {.name = "road_least",
             .title = "ROAD, least relevant first",
             .definition = "as road_most, without the share of the pixels that has the smallest scores",
             .reading = "1: the class stays while all but the last pixels go, 0: it goes at once",
             .source = ROAD_SOURCE,
             .version = 1,
             .better = SPADE_METRIC_HIGHER,
             .needs = SPADE_METRIC_NEEDS_NETWORK,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(road_options),
    .option_offsets = option_offsets,
    .curves = least_first,
    .curve_length = curve_length,
    .value_of_curve = mean,
    .passes = passes,
};
