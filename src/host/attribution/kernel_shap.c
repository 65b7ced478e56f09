/*
 * kernel_shap.c - Shapley values of superpixels, by the least squares whose solution they are: with M superpixels, the
 * additive model F(baseline) + sum of z * phi, whose phi sum to F(x) - F(baseline), over all coalitions z of k superpixels,
 * weighted by (M - 1) / (C(M, k) k (M - k)). Where the samples suffice, all coalitions are taken and the values are exact;
 * else coalitions are drawn in proportion to these weights and then count alike, each followed by its complement, which has
 * the same weight (Covert, Lee 2021).
 *
 * Images 0 and 1 are x and the baseline, the others the coalitions.
 */
#include <math.h>

#include "attribution/perturbation_driver.h"
#include "attribution/surrogate.h"
#include "backend/least_squares.h"

enum { KERNEL_SHAP_STREAM = 3, ENDS = 2, MAX_ENUMERATED = 16 };

/* Coalitions that are neither nothing nor everything, where these are not more than the samples; else 0. */
static int64_t all_coalitions(int64_t samples, int64_t segments)
{
    const int64_t all = segments <= MAX_ENUMERATED ? ((int64_t)1 << segments) - ENDS : INT64_MAX;
    return all <= samples ? all : 0;
}

static int64_t image_count(int64_t samples, int64_t segments)
{
    const int64_t all = all_coalitions(samples, segments);
    return ENDS + (all ? all : samples);
}

/* By the number of superpixels that is asked for. */
static double passes(const attribution_job *job, const void *options)
{
    const surrogate_options *o = options;
    (void)job;
    return attribution_forward_passes(image_count(o->samples, o->segments));
}

/* ---- coalitions */

/* Random numbers of a coalition, in their order. */
typedef struct stream {
    const uint32_t *key;
    uint32_t coalition, next;
} stream;

static double draw_uniform(stream *s)
{
    const uint32_t counter[4] = {s->coalition, s->next++, 0, KERNEL_SHAP_STREAM};
    uint32_t random[4];
    spade_philox(s->key, counter, random);
    return spade_uniform(random[0], random[1]);
}

/* Sizes have the probability of all coalitions of that size, C(M, k) times their weight: in proportion to 1 / (k (M - k)). */
static int64_t draw_size(stream *s, int64_t segments)
{
    double sum = 0;
    for (int64_t k = 1; k < segments; k++) { sum += 1 / ((double)k * (double)(segments - k)); }
    double left = draw_uniform(s) * sum;
    int64_t size = 1;
    for (; size < segments - 1; size++) {
        left -= 1 / ((double)size * (double)(segments - size));
        if (left < 0) { break; }
    }
    return size;
}

/* Every set of its size alike: a superpixel is taken with the probability that so many of those to come are. */
static void draw_coalition(stream *s, int64_t segments, uint8_t *keep)
{
    int64_t left = draw_size(s, segments);
    for (int64_t j = 0; j < segments; j++) {
        keep[j] = draw_uniform(s) * (double)(segments - j) < (double)left;
        left -= keep[j];
    }
}

static void draw(const surrogate_problem *problem)
{
    const int64_t segments = problem->segments;
    const bool all = all_coalitions(problem->options->samples, segments) > 0;
    memset(problem->coalitions, 1, (size_t)segments);
    memset(problem->coalitions + segments, 0, (size_t)segments);
    for (int64_t i = 0; i < problem->images - ENDS; i++) {
        uint8_t *keep = problem->coalitions + (i + ENDS) * segments;
        stream s = {.key = problem->key, .coalition = (uint32_t)i};
        if (all) {
            for (int64_t j = 0; j < segments; j++) { keep[j] = (i + 1) >> j & 1; }
        } else if (i % 2 == 0) {
            draw_coalition(&s, segments, keep);
        } else {
            for (int64_t j = 0; j < segments; j++) { keep[j] = 1 - keep[j - segments]; }
        }
    }
}

/* ---- least squares */

/* (M - 1) / (C(M, k) k (M - k)) */
static double kernel_weight(int64_t segments, int64_t size)
{
    double sets = 1; /* C(M, k) */
    for (int64_t k = 1; k <= size; k++) { sets = sets * (double)(segments - k + 1) / (double)k; }
    return (double)(segments - 1) / (sets * (double)size * (double)(segments - size));
}

/*
 * phi = (F(x) - F(baseline)) / M + u, and u sums to 0: with z - k / M in place of z, whose entries sum to 0, the u of least
 * norm does so by itself. matrix [coalitions, segments], column by column, as LAPACK has it, and right [coalitions] of class c.
 */
static void make_system(const surrogate_problem *problem, int c, double *matrix, double *right)
{
    const int64_t segments = problem->segments, count = problem->images - ENDS;
    const bool all = all_coalitions(problem->options->samples, segments) > 0;
    const double *values = problem->values + c * problem->images;
    const double whole = values[0], none = values[1];
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *keep = problem->coalitions + (i + ENDS) * segments;
        int64_t size = 0;
        for (int64_t j = 0; j < segments; j++) { size += keep[j]; }
        const double root = all ? sqrt(kernel_weight(segments, size)) : 1;
        const double share = (double)size / (double)segments;
        for (int64_t j = 0; j < segments; j++) { matrix[j * count + i] = root * (keep[j] - share); }
        right[i] = root * (values[i + ENDS] - none - share * (whole - none));
    }
}

/* Of class c, from its u. */
static void find_coefficients(const surrogate_problem *problem, int c, const double *u)
{
    const int64_t segments = problem->segments;
    const double *values = problem->values + c * problem->images;
    double *coefficients = problem->coefficients + c * segments, total = 0;
    for (int64_t j = 0; j < segments; j++) {
        coefficients[j] = (values[0] - values[1]) / (double)segments + u[j];
        total += coefficients[j];
    }
    if (!problem->notes) { return; }
    problem->notes[c].difference = values[0] - values[1];
    problem->notes[c].delta = total - problem->notes[c].difference;
}

/* Class by class: LAPACK's last bits of one right side depend on the others that it is given along with it. */
static spade_status fit(const surrogate_problem *problem)
{
    const attribution_job *job = problem->job;
    const int64_t segments = problem->segments, count = problem->images - ENDS;
    const size_t bytes = sizeof(double) * (size_t)(count * segments + (count > segments ? count : segments));
    int64_t rank = 0;
    void *memory;
    spade_status status = SPADE_OK;
    SPADE_TRY(spade_alloc_zeroed(job->context, bytes, "a linear model of superpixels", &memory));
    double *matrix = memory, *right = matrix + count * segments;
    for (int c = 0; status == SPADE_OK && c < job->n; c++) {
        make_system(problem, c, matrix, right);
        status = spade_least_squares(job->context, count, segments, matrix, right, &rank);
        if (status == SPADE_OK) { find_coefficients(problem, c, right); }
    }
    spade_free_bytes(job->context, memory, bytes);
    if (status == SPADE_OK && rank < segments - 1) {
        spade_log(
            job->context, SPADE_LOG_WARNING,
            "kernel_shap: %lld samples do not determine %lld superpixels: the smallest values that agree with them",
            (long long)count, (long long)segments);
    }
    return status;
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    static const surrogate_method method = {.images = image_count, .draw = draw, .fit = fit};
    return surrogate_run(job, options, &method, maps, notes);
}

const attribution_method attribution_kernel_shap = {
    .info = {.name = "kernel_shap",
             .title = "KernelSHAP",
             .definition = "Shapley values of the superpixels in the game F: least squares over coalitions of k of M, "
                           "weighted by (M - 1) / (C(M, k) k (M - k)), with sum F(x) - F(baseline); all coalitions if "
                           "2^M - 2 <= samples, which is exact, else random ones in pairs of complements",
             .source = "Lundberg, Lee 2017, A unified approach to interpreting model predictions",
             .cost = "one forward pass for each sample; with few segments, one for each set of them",
             .needs = "two segments or more",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_COMPLETENESS | SPADE_METHOD_RANDOM,
             .completeness = 1e-3,
             .options = surrogate_option_infos,
             .option_count = SURROGATE_SHARED_OPTIONS},
    .options_bytes = sizeof(surrogate_options),
    .option_offsets = surrogate_option_offsets,
    .check = surrogate_check,
    .shape = attribution_pixels_shape,
    .passes = passes,
    .run = run,
};
