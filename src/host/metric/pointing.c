/*
 * pointing.c - the pointing game: does the largest score, the first one of equals, lie on the mask? With a tolerance t, is
 * a pixel of the mask at most t pixels away from it (Euclidean distance of the pixels' centres)?
 *
 * Zhang et al. use a tolerance of 15. TorchRay's PointingGame counts only pixels that are nearer than its tolerance: its 15
 * is 14.99 here.
 */
#include <math.h>

#include "metric/registry.h"

typedef struct pointing_options {
    double tolerance;
} pointing_options;

/* Of equals the first. -1: a score is not finite. */
static int64_t find_largest(const float *scores, int64_t n)
{
    int64_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(scores[i])) { return -1; }
        if (scores[i] > scores[largest]) { largest = i; }
    }
    return largest;
}

/* Is a pixel of the mask at most `tolerance` away from the pixel (y, x)? */
static bool is_near(const spade_metric_inputs *inputs, int64_t y, int64_t x, double tolerance)
{
    const int64_t reach = (int64_t)tolerance;
    for (int64_t dy = -reach; dy <= reach; dy++) {
        if (y + dy < 0 || y + dy >= inputs->height) { continue; }
        for (int64_t dx = -reach; dx <= reach; dx++) {
            if (x + dx < 0 || x + dx >= inputs->width) { continue; }
            const bool inside = inputs->mask[(y + dy) * inputs->width + x + dx] != 0;
            if (inside && (double)(dy * dy + dx * dx) <= tolerance * tolerance) { return true; }
        }
    }
    return false;
}

static spade_status run(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out)
{
    const double tolerance = ((const pointing_options *)options)->tolerance;
    const int64_t pixels = inputs->height * inputs->width, largest = find_largest(inputs->scores, pixels);
    int64_t inside = 0;
    if (largest < 0) { return spade_fail(context, SPADE_ERROR_INPUT, "Pointing game: the map is not finite"); }
    for (int64_t i = 0; i < pixels; i++) { inside += inputs->mask[i] != 0; }
    if (!inside) { return spade_fail(context, SPADE_ERROR_INPUT, "Pointing game: the mask is empty"); }
    *out = is_near(inputs, largest / inputs->width, largest % inputs->width, tolerance);
    return SPADE_OK;
}

static const spade_option_info options[] = {
    {.name = "tolerance",
     .help = "pixels from the mask that still count as a hit",
     .type = SPADE_OPTION_REAL,
     .min = 0,
     .max = 1000,
     .default_value = "0"},
};
static const size_t option_offsets[] = {offsetof(pointing_options, tolerance)};

const metric_class metric_pointing = {
    .info = {.name = "pointing",
             .title = "Pointing game",
             .definition = "1 where the largest score (of equals the first) lies on the mask, or at most tolerance "
                           "pixels away from it (Euclidean); else 0",
             .reading = "1 is a hit, 0 is a miss",
             .source = "Zhang et al. 2016, Top-down neural attention by excitation backprop",
             .version = 1,
             .better = SPADE_METRIC_HIGHER,
             .needs = SPADE_METRIC_NEEDS_MASK,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(pointing_options),
    .option_offsets = option_offsets,
    .run = run,
};
