/*
 * smoothgrad.c - gradients at noisy copies of the input: their mean (smoothgrad), the mean of their squares
 * (smoothgrad_squared), their variance (vargrad). The noise depends on (seed, input) and the copy's number only: every
 * method, class, network and backend sees the same copies. Asked for together they are made of one walk.
 */
#include "attribution/gradient_driver.h"
#include "attribution/noise.h"

typedef struct noise_options {
    int64_t samples;
    double sigma;
} noise_options;

static double passes(const attribution_job *job, const void *options)
{
    (void)job;
    return (double)((const noise_options *)options)->samples;
}

static spade_status run(const attribution_job *job, const attribution_member *members, int count)
{
    const noise_options *noise = members[0].options;
    const int samples = (int)noise->samples;
    const attribution_samples copies = {.points = samples,
                                        .summed = samples,
                                        .deviation = attribution_noise_deviation(job, noise->sigma),
                                        .key = attribution_input_key(job),
                                        .divisor = samples};
    attribution_wanted wanted[SPADE_MAX_TOGETHER];
    for (int m = 0; m < count; m++) {
        wanted[m] =
            (attribution_wanted){.statistic = *(const attribution_statistic *)members[m].part, .maps = members[m].maps};
    }
    return attribution_backward(job, &spade_rules_gradient, &copies, wanted, count, NULL);
}

static const attribution_family family = {.run = run};
static const attribution_statistic mean = ATTRIBUTION_SUM, squares = ATTRIBUTION_SUM_SQUARES,
                                   variance = ATTRIBUTION_VARIANCE;

static const spade_option_info options[] = {
    ATTRIBUTION_SAMPLES_OPTION("noisy copies of the input", "50"),
    ATTRIBUTION_SIGMA_OPTION("0.15", NULL),
};
static const size_t option_offsets[] = {offsetof(noise_options, samples), offsetof(noise_options, sigma)};

const attribution_method attribution_smoothgrad = {
    .info = {.name = "smoothgrad",
             .title = "SmoothGrad",
             .definition = "mean of dF/dx over copies of x with Gaussian noise of deviation sigma * (max x - min x)",
             .source = "Smilkov et al. 2017, SmoothGrad: removing noise by adding noise",
             .cost = "one forward and one backward pass for each sample; smoothgrad, smoothgrad_squared and vargrad "
                     "with the same samples share them",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_SLOPE | SPADE_METHOD_RANDOM,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(noise_options),
    .option_offsets = option_offsets,
    .passes = passes,
    .family = &family,
    .part = &mean,
};

const attribution_method attribution_smoothgrad_squared = {
    .info = {.name = "smoothgrad_squared",
             .title = "SmoothGrad squared",
             .definition =
                 "mean of (dF/dx)^2 over copies of x with Gaussian noise of deviation sigma * (max x - min x)",
             .source = "Hooker et al. 2019, A benchmark for interpretability methods in deep neural networks",
             .cost = "as smoothgrad",
             .flags = SPADE_METHOD_RANDOM,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(noise_options),
    .option_offsets = option_offsets,
    .passes = passes,
    .family = &family,
    .part = &squares,
};

const attribution_method attribution_vargrad = {
    .info = {.name = "vargrad",
             .title = "VarGrad",
             .definition =
                 "E[(dF/dx)^2] - E[dF/dx]^2 over copies of x with Gaussian noise of deviation sigma * (max x - "
                 "min x): the variance, divided by their number",
             .source = "Adebayo et al. 2018, Local explanation methods for deep neural networks lack sensitivity to "
                       "parameter values",
             .cost = "as smoothgrad",
             .flags = SPADE_METHOD_RANDOM,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(noise_options),
    .option_offsets = option_offsets,
    .passes = passes,
    .family = &family,
    .part = &variance,
};
