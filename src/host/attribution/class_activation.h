/* class_activation.h - what methods of the Grad-CAM family share: a map of a layer, made of its feature maps A [C, h, w]
 * and of dF/dA. */
#ifndef SPADE_ATTRIBUTION_CLASS_ACTIVATION_H
#define SPADE_ATTRIBUTION_CLASS_ACTIVATION_H

#include "attribution/registry.h"

/* max(sum over c of mean(dF/dA[c]) * A[c], 0) for each of the job's classes, A the value of this number
 * (attribution_feature_maps). maps: host [n, h, w]. */
spade_status attribution_class_activation(const attribution_job *job, int value, float *maps);

#endif
