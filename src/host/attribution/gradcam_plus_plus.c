/*
 * gradcam_plus_plus.c - Grad-CAM whose gradients count where they are positive, and less where several places show the same
 * thing, so that each of several objects is seen.
 *
 * The paper takes the score exp(F), whose derivatives are exp(F) times powers of g = dF/dA: the factor cancels in alpha, and
 * the map is the paper's but for it. alpha has g^2 above and below: without epsilon it is 1 / (2 + sum(A) g), finite also for
 * the smallest gradients. It was derived for feature maps behind a ReLU: where they sum to less than zero, 2 + sum(A) g may
 * come close to zero, and a place weigh without limit. pytorch-grad-cam's GradCAMPlusPlus adds 1e-6 below, which counts where
 * gradients are small.
 */
#include "attribution/class_activation.h"

typedef struct plus_plus_options {
    attribution_cam_options cam;
    double epsilon;
} plus_plus_options;

/* alpha of one place; 0 where the gradient is 0, or nothing is divided by. */
static double share_of(double g, double sum, double epsilon)
{
    if (g == 0) { return 0; }
    if (epsilon > 0) { return g * g / (2 * g * g + sum * g * g * g + epsilon); }
    return 2 + sum * g == 0 ? 0 : 1 / (2 + sum * g);
}

static void combine(const attribution_activation *a, const void *options, double *map)
{
    const double epsilon = ((const plus_plus_options *)options)->epsilon;
    for (int64_t c = 0; c < a->channels; c++) {
        const float *values = a->values + c * a->pixels, *gradients = a->gradients + c * a->pixels;
        double sum = 0, weight = 0;
        for (int64_t i = 0; i < a->pixels; i++) { sum += (double)values[i]; }
        for (int64_t i = 0; i < a->pixels; i++) {
            const double g = (double)gradients[i];
            if (g > 0) { weight += share_of(g, sum, epsilon) * g; }
        }
        for (int64_t i = 0; i < a->pixels; i++) { map[i] += weight * (double)values[i]; }
    }
}

static const attribution_cam_part part = {combine};

static const spade_option_info options[] = {
    ATTRIBUTION_FEATURE_MAPS_OPTION,
    ATTRIBUTION_UPSAMPLE_OPTION,
    {.name = "epsilon",
     .help = "added below alpha's fraction bar; pytorch-grad-cam: 0.000001",
     .type = SPADE_OPTION_REAL,
     .min = 0,
     .max = 1,
     .default_value = "0"},
};
static const size_t option_offsets[] = {offsetof(plus_plus_options, cam.layer),
                                        offsetof(plus_plus_options, cam.upsample),
                                        offsetof(plus_plus_options, epsilon)};

const attribution_method attribution_gradcam_plus_plus = {
    .info = {.name = "gradcam++",
             .title = "Grad-CAM++",
             .definition = "max(sum over c of w[c] * A[c], 0), w[c] = sum of alpha * max(g, 0), alpha = g^2 / (2 g^2 + "
                           "sum(A[c]) g^3), g = dF/dA[c]; made for A that are nowhere negative",
             .source =
                 "Chattopadhay et al. 2018, Grad-CAM++: improved visual explanations for deep convolutional networks",
             .cost = "as gradcam",
             .needs = "a layer whose values have a height and a width, or are a grid of tokens",
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(plus_plus_options),
    .option_offsets = option_offsets,
    .check = attribution_cam_check,
    .shape = attribution_cam_shape,
    .family = &attribution_cam_family,
    .part = &part,
};
