/* network_scores.h - metrics that ask the network: its score of the target at inputs that are made of the one which was
 * explained. It is the dense network that is asked, also of a trace's map: that is the one to be explained. */
#ifndef SPADE_METRIC_NETWORK_SCORES_H
#define SPADE_METRIC_NETWORK_SCORES_H

#include "attribution/perturbation_driver.h"
#include "metric/registry.h"

/* Of the inputs' model, input and target; SPADE_ERROR_ARGUMENT where the picture is not the input's size or the target no class
 * of it. */
spade_status metric_job_open(spade_context *context, const spade_metric_inputs *inputs, const char *title,
                             attribution_job *out);

/* Makes image `image` at out [C, H, W]; called by several threads, each with another `slot`, 0 to SPADE_MICRO_BATCH - 1. False:
 * it cannot be made. */
typedef bool (*metric_make_image_fn)(const void *user, int64_t image, int slot, float *out);

/* The score at images 0 .. images-1, which are made on the host: values [images]. */
spade_status metric_scores(const attribution_job *job, int64_t images, metric_make_image_fn make, const void *user,
                           double *values);

/* Pixels from the one with the largest score on; of equal scores the first one comes first. order [height * width].
 * SPADE_ERROR_INPUT: a score is not finite. */
spade_status metric_rank_pixels(spade_context *context, const spade_metric_inputs *inputs, const char *title,
                                int64_t *order);

#endif
