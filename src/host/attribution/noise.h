/* noise.h - the Gaussian noise of methods that look at noisy copies of the input: the same for all of them. */
#ifndef SPADE_ATTRIBUTION_NOISE_H
#define SPADE_ATTRIBUTION_NOISE_H

#include "attribution/registry.h"

/* The options' rows; members are int64_t and double. */
#define ATTRIBUTION_SAMPLES_OPTION(meaning, standard)                                                                  \
    {                                                                                                                  \
        .name = "samples", .help = (meaning), .type = SPADE_OPTION_INTEGER, .min = 1, .max = 10000,                    \
        .default_value = (standard)                                                                                    \
    }
#define ATTRIBUTION_SIGMA_OPTION(standard, with)                                                                       \
    {                                                                                                                  \
        .name = "sigma", .help = "standard deviation of the noise, as a share of the input's range",                   \
        .type = SPADE_OPTION_REAL, .min = 0, .max = 100, .default_value = (standard),                                  \
        .read_with = (with)                                                                                            \
    }

/* sigma * (max x - min x) */
static inline double attribution_noise_deviation(const attribution_job *job, double sigma)
{
    float low = job->input[0], high = job->input[0];
    for (int64_t i = 1; i < job->size; i++) {
        low = job->input[i] < low ? job->input[i] : low;
        high = job->input[i] > high ? job->input[i] : high;
    }
    return sigma * ((double)high - low);
}

/* Of the random numbers that an input has: they depend on it and the seed only. */
static inline uint64_t attribution_input_key(const attribution_job *job)
{
    return spade_hash(job->input, sizeof(float) * (size_t)job->size, job->seed);
}

#endif
