/*
 * lime.c - a sparse linear model of F near x over superpixels, as Captum's Lime: each superpixel is kept with probability
 * 1/2; a sample's weight is exp(-d^2 / (2 * kernel_width^2)), d the cosine distance between x and the sample as inputs of
 * the network; the model has an intercept, which is not penalised.
 */
#include <math.h>

#include "attribution/perturbation_driver.h"
#include "attribution/surrogate.h"
#include "backend/least_squares.h"

enum { LIME_STREAM = 2 }; /* of random numbers under the key: the last word of their counters */

static double passes(const attribution_job *job, const void *options)
{
    (void)job;
    return attribution_forward_passes(((const surrogate_options *)options)->samples);
}

static int64_t image_count(int64_t samples, int64_t segments)
{
    (void)segments;
    return samples;
}

/* A bit of a random block for each superpixel. */
static void draw(const surrogate_problem *problem)
{
    const int64_t segments = problem->segments;
    for (int64_t i = 0; i < problem->images; i++) {
        uint32_t random[4] = {0};
        for (int64_t s = 0; s < segments; s++) {
            const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(s / 128), 0, LIME_STREAM};
            if (s % 128 == 0) { spade_philox(problem->key, counter, random); }
            problem->coalitions[i * segments + s] = random[s % 128 / 32] >> (s % 32) & 1;
        }
    }
}

/* Products over the pixels of each superpixel, all [segments]: x with itself, with the baseline, the baseline with itself. */
typedef struct inner_products {
    double *input, *mixed, *baseline;
} inner_products;

static void find_products(const surrogate_problem *problem, const inner_products *out)
{
    const attribution_job *job = problem->job;
    const int64_t pixels = job->height * job->width;
    for (int64_t s = 0; s < problem->segments; s++) { out->input[s] = out->mixed[s] = out->baseline[s] = 0; }
    for (int64_t e = 0; e < job->size; e++) {
        const double x = job->input[e], baseline = problem->baseline[e];
        const int32_t s = problem->segment_of[e % pixels];
        out->input[s] += x * x;
        out->mixed[s] += x * baseline;
        out->baseline[s] += baseline * baseline;
    }
}

/* weights [images], their sum 1. */
static void find_weights(const surrogate_problem *problem, const inner_products *products, double *weights)
{
    const double width = problem->options->kernel_width;
    double sum = 0, whole = 0;
    for (int64_t s = 0; s < problem->segments; s++) { whole += products->input[s]; }
    for (int64_t i = 0; i < problem->images; i++) {
        const uint8_t *keep = problem->coalitions + i * problem->segments;
        double dot = 0, square = 0;
        for (int64_t s = 0; s < problem->segments; s++) {
            dot += keep[s] ? products->input[s] : products->mixed[s];
            square += keep[s] ? products->input[s] : products->baseline[s];
        }
        const double distance = 1 - dot / fmax(sqrt(whole * square), 1e-8); /* PyTorch's least divisor */
        weights[i] = exp(-distance * distance / (2 * width * width));
        sum += weights[i];
    }
    for (int64_t i = 0; i < problem->images; i++) { weights[i] /= sum; }
}

/* rows [images, segments]: the samples about their weighted mean, times the root of their weight. */
static void make_rows(const surrogate_problem *problem, const double *weights, double *mean, double *rows)
{
    const int64_t segments = problem->segments;
    memset(mean, 0, sizeof *mean * (size_t)segments);
    for (int64_t i = 0; i < problem->images; i++) {
        for (int64_t s = 0; s < segments; s++) { mean[s] += weights[i] * problem->coalitions[i * segments + s]; }
    }
    for (int64_t i = 0; i < problem->images; i++) {
        for (int64_t s = 0; s < segments; s++) {
            rows[i * segments + s] = sqrt(weights[i]) * (problem->coalitions[i * segments + s] - mean[s]);
        }
    }
}

/* correlation [segments] = sum over the samples of their weight * (F - mean F) * (sample - mean sample) */
static void correlate(const surrogate_problem *problem, const double *weights, const double *rows, const double *values,
                      double *correlation)
{
    const int64_t segments = problem->segments;
    double mean = 0;
    memset(correlation, 0, sizeof *correlation * (size_t)segments);
    for (int64_t i = 0; i < problem->images; i++) { mean += weights[i] * values[i]; }
    for (int64_t i = 0; i < problem->images; i++) {
        const double value = sqrt(weights[i]) * (values[i] - mean);
        for (int64_t s = 0; s < segments; s++) { correlation[s] += value * rows[i * segments + s]; }
    }
}

static spade_status fit(const surrogate_problem *problem)
{
    const attribution_job *job = problem->job;
    const int64_t segments = problem->segments, images = problem->images;
    const size_t bytes = sizeof(double) * (size_t)(images * segments + segments * segments + images + 3 * segments);
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "a linear model of superpixels", &memory));
    double *rows = memory, *gram = rows + images * segments, *weights = gram + segments * segments;
    double *scratch = weights + images; /* [3, segments] */
    const inner_products products = {scratch, scratch + segments, scratch + 2 * segments};
    find_products(problem, &products);
    find_weights(problem, &products, weights);
    make_rows(problem, weights, scratch, rows);
    spade_gram_matrix(images, segments, rows, gram);
    bool settled = true;
    for (int c = 0; c < job->n && settled; c++) {
        double *correlation = scratch + segments;
        correlate(problem, weights, rows, problem->values + c * images, correlation);
        settled = surrogate_lasso(segments, gram, correlation, problem->options->alpha,
                                  problem->coefficients + c * segments, scratch);
    }
    spade_free_bytes(job->context, memory, bytes);
    if (settled) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_NUMERICAL,
                      "the Lasso did not come to rest: take more samples, or an alpha above %g",
                      problem->options->alpha);
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    static const surrogate_method method = {.images = image_count, .draw = draw, .fit = fit};
    (void)notes;
    return surrogate_run(job, options, &method, maps, NULL);
}

const attribution_method attribution_lime = {
    .info = {.name = "lime",
             .title = "LIME",
             .definition =
                 "coefficients w of the Lasso sum v (F - w0 - w z)^2 / (2 sum v) + alpha |w| over samples z that "
                 "keep each superpixel with probability 1/2; v = exp(-d^2 / (2 kernel_width^2)), d the cosine "
                 "distance of the sample from x",
             .source = "Ribeiro, Singh, Guestrin 2016, \"Why should I trust you?\": explaining the predictions of any "
                       "classifier",
             .cost = "one forward pass for each sample",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_RANDOM,
             .options = surrogate_option_infos,
             .option_count = SURROGATE_OPTIONS},
    .options_bytes = sizeof(surrogate_options),
    .option_offsets = surrogate_option_offsets,
    .check = surrogate_check,
    .shape = attribution_pixels_shape,
    .passes = passes,
    .run = run,
};
