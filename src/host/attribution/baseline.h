/* baseline.h - what a picture is compared with, or has in place of its parts: the option `baseline`, the same for all methods. */
#ifndef SPADE_ATTRIBUTION_BASELINE_H
#define SPADE_ATTRIBUTION_BASELINE_H

#include "attribution/registry.h"

/*
 * The option's values; sources: Sturmfels, Lundberg, Lee 2020, Visualizing the impact of feature attribution baselines;
 * Fong, Vedaldi 2017 (blur).
 *   a number  of every value after normalisation: 0 is the colour that the normalisation takes for the mean
 *   mean      of each channel the mean over the picture
 *   black     RGB 0, 0, 0 before normalisation: after it -mean / std of the channel
 *   blur      the picture under a Gaussian whose deviation is a twentieth of the shorter side, cut off at four
 *             deviations; at its borders the picture is mirrored, border pixels included
 *   random    every value uniform from 0 to 1 before normalisation, by (seed, input)
 *   a file    a picture of the input's size, normalised as inputs are, or normalised values, .npy [C, H, W]
 */
enum { BASELINE_MEAN, BASELINE_BLACK, BASELINE_BLUR, BASELINE_RANDOM };
#define ATTRIBUTION_BASELINE_WORDS "mean|black|blur|random"
#define ATTRIBUTION_BASELINE_HELP                                                                                      \
    "a number after normalisation (0: its mean colour), or mean (colour of the picture), black (RGB 0, 0, 0 before "   \
    "normalisation), blur (Gaussian of a twentieth of the shorter side), random (uniform from black to white), or a "  \
    "file in the size of the network's input: a picture, or normalised values (.npy)"
/* A row of a method's options, whose member is a spade_baseline_option. */
#define ATTRIBUTION_BASELINE_OPTION(standard)                                                                          \
    {                                                                                                                  \
        .name = "baseline", .help = ATTRIBUTION_BASELINE_HELP, .type = SPADE_OPTION_BASELINE, .min = -1e6, .max = 1e6, \
        .words = ATTRIBUTION_BASELINE_WORDS, .default_value = (standard)                                               \
    }

/* Baselines of an input. */
typedef struct attribution_baseline {
    float *pictures; /* host [count, size] */
    int64_t count;
    size_t bytes;
} attribution_baseline;

/* Can the job's inputs have this baseline? several: a file may hold more than one, .npy [n, C, H, W]. */
spade_status attribution_baseline_check(const attribution_job *job, const spade_baseline_option *option, bool several);
/* The job has an input. Closed also after a failure. */
spade_status attribution_baseline_open(const attribution_job *job, const spade_baseline_option *option, bool several,
                                       attribution_baseline *out);
void attribution_baseline_close(const attribution_job *job, attribution_baseline *baseline);
/* Does the attribution have a baseline that is `random`? */
bool attribution_draws_baseline(const spade_attribution *attribution);
/* `random` as the backend draws it. The option was checked. */
spade_uniform_picture attribution_baseline_uniform(const attribution_job *job);

#endif
