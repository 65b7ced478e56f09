/* class_activation.h - what methods of the Grad-CAM family share: a map of a layer, made of its feature maps A [C, h, w]
 * and of dF/dA. */
#ifndef SPADE_ATTRIBUTION_CLASS_ACTIVATION_H
#define SPADE_ATTRIBUTION_CLASS_ACTIVATION_H

#include "attribution/coarse_map.h"
#include "attribution/layer_value.h"

typedef struct attribution_activation {
    int64_t channels, pixels;
    const float *values, *gradients; /* [channels, pixels]: A, dF/dA */
} attribution_activation;

/* What a method makes of one target's: map [pixels] += ...; it is zero before. */
typedef void (*attribution_combine_fn)(const attribution_activation *a, const void *options, double *map);

/* max(what `combine` makes, 0) for each of the job's targets. */
typedef struct attribution_combination {
    attribution_combine_fn combine;
    const void *options;
    float *maps; /* host [n, h, w] */
} attribution_combination;

/* Combinations [count], from 1 to SPADE_MAX_TOGETHER, of the same values and gradients. */
spade_status attribution_class_activation(const attribution_job *job, const attribution_features *features,
                                          const attribution_combination *wanted, int count);
/* Grad-CAM's: the sum over c of mean(dF/dA[c]) * A[c]. */
void attribution_combine_gradcam(const attribution_activation *a, const void *options, double *map);

/* The feature maps themselves: host [channels, h, w], as they lie in a value of the network. */
void attribution_take_features(const attribution_features *features, const float *value, const spade_shape *shape,
                               float *out);

/* ---- methods that are such a combination, whose options begin with these */
typedef struct attribution_cam_options {
    spade_layer_option layer;
    int upsample;
} attribution_cam_options;

spade_status attribution_cam_check(const attribution_job *job, const void *options);
void attribution_cam_shape(const attribution_job *job, const void *options, int64_t shape[3]);
/* What a member makes of values and gradients: its `part`. */
typedef struct attribution_cam_part {
    attribution_combine_fn combine;
} attribution_cam_part;
extern const attribution_family attribution_cam_family;

#endif
