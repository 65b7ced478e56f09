/*
 * gradient_shap.c - expected gradients: integrated gradients whose baseline is drawn from several, one point on the line
 * for each. As Captum's GradientShap and SHAP's GradientExplainer: sample i has noise z, a baseline b and a share a of
 * its own, and adds (x + noise - b) * dF/dx at b + a (x + noise - b).
 */
#include <math.h>

#include "attribution/baseline.h"
#include "attribution/gradient_driver.h"
#include "attribution/noise.h"

enum { GRADIENT_SHAP_STREAM = 5 }; /* of random numbers under the key: the last word of their counters */

typedef struct shap_options {
    int64_t samples;
    double sigma;
    spade_baseline_option baseline;
} shap_options;

static double passes(const attribution_job *job, const void *options)
{
    (void)job;
    return (double)((const shap_options *)options)->samples;
}

static spade_status check(const attribution_job *job, const void *options)
{
    return attribution_baseline_check(job, &((const shap_options *)options)->baseline, true);
}

/* Of each sample the share of the way, and which of `count` baselines it is. */
static void draw(uint64_t hash, int64_t samples, int64_t count, double *share, uint32_t *baseline)
{
    const uint32_t key[2] = {(uint32_t)hash, (uint32_t)(hash >> 32)};
    for (int64_t i = 0; i < samples; i++) {
        const uint32_t counter[4] = {(uint32_t)i, 0, 0, GRADIENT_SHAP_STREAM};
        uint32_t random[4];
        spade_philox(key, counter, random);
        share[i] = spade_uniform(random[0], random[1]);
        baseline[i] = (uint32_t)(spade_uniform(random[2], random[3]) * (double)count);
    }
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)notes;
    const shap_options *o = options;
    const int samples = (int)o->samples;
    const size_t bytes = (sizeof(double) + sizeof(uint32_t)) * (size_t)samples;
    /* A random baseline is another one for each sample, made on the device. */
    const bool uniform = !o->baseline.path && o->baseline.word == BASELINE_RANDOM;
    spade_status status = SPADE_OK;
    attribution_baseline baselines = {0};
    void *memory = NULL;
    SPADE_TRY(spade_alloc(job->context, bytes, "the samples of a map", &memory));
    double *share = memory;
    uint32_t *baseline = (uint32_t *)(share + samples);
    if (!uniform) { SPADE_GOTO(attribution_baseline_open(job, &o->baseline, true, &baselines)); }
    const uint64_t key = attribution_input_key(job);
    draw(key, samples, uniform ? 1 : baselines.count, share, baseline);
    attribution_samples lines = {.points = samples,
                                 .summed = samples,
                                 .scale = share,
                                 .deviation = attribution_noise_deviation(job, o->sigma),
                                 .key = key,
                                 .times_path = true,
                                 .divisor = samples};
    if (uniform) {
        lines.uniform = attribution_baseline_uniform(job);
    } else {
        lines.baselines = baselines.pictures;
        lines.baseline_count = baselines.count;
        lines.baseline = baseline;
    }
    SPADE_GOTO(attribution_backward(job, &spade_rules_gradient, &lines, &(attribution_wanted){.maps = maps}, 1, NULL));
done:
    attribution_baseline_close(job, &baselines);
    spade_free_bytes(job->context, memory, bytes);
    return status;
}

static const spade_option_info options[] = {
    ATTRIBUTION_SAMPLES_OPTION("points, each with a baseline, a share of the way and noise of its own", "50"),
    ATTRIBUTION_SIGMA_OPTION("0", NULL),
    {.name = "baseline",
     .help = ATTRIBUTION_BASELINE_HELP "; random is another picture for each sample, and of a .npy [n, C, H, W] each "
                                       "sample draws one",
     .type = SPADE_OPTION_BASELINE,
     .min = -1e6,
     .max = 1e6,
     .words = ATTRIBUTION_BASELINE_WORDS,
     .default_value = "random"},
};
static const size_t option_offsets[] = {offsetof(shap_options, samples), offsetof(shap_options, sigma),
                                        offsetof(shap_options, baseline)};

const attribution_method attribution_gradient_shap = {
    .info = {.name = "gradient_shap",
             .title = "GradientSHAP",
             .definition =
                 "mean over samples of (x + e - x') * dF/dx at x' + a (x + e - x'): x' a random baseline, a uniform "
                 "from 0 to 1, e Gaussian noise of deviation sigma * (max x - min x)",
             .source = "Lundberg, Lee 2017, A unified approach to interpreting model predictions; Erion et al. 2021, "
                       "Improving performance of deep learning models with axiomatic attribution priors and expected "
                       "gradients",
             .cost = "one forward and one backward pass for each sample",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_RANDOM,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(shap_options),
    .option_offsets = option_offsets,
    .check = check,
    .passes = passes,
    .run = run,
};
