/*
 * magnitude.h - does a pass stay within float32? How large each layer's input gets is looked at on the device while the
 * pass runs, and read once, after it.
 *
 * An input that is infinite or NaN is the network's overflow, whatever comes of it: a sigmoid makes 1 of infinity, a relu
 * that is fused into a convolution may make 0 of NaN. So that no sum of a layer is NaN unseen, its input also has to be so
 * small that none can overflow. (-inf that pads before a maximum, or masks before a softmax, reaches no layer.)
 */
#ifndef SPADE_ENGINE_MAGNITUDE_H
#define SPADE_ENGINE_MAGNITUDE_H

#include "engine/executor.h"

/* The forward pass as spade_executor_forward() runs it, and output [batch, outputs] on the host. SPADE_ERROR_NUMERICAL: the
 * input of a layer, which is named, is not finite, or its sums may not be. */
spade_status spade_executor_forward_checked(spade_executor *executor, float *output);

/* largest: host [layers], the largest |x| of each layer's input. The same failure. */
spade_status spade_magnitudes_check(spade_context *context, const spade_network *network, const float *largest);
/* An observer (engine.h) that adds to device numbers [layers] what it sees: user is a spade_magnitudes. */
typedef struct spade_magnitudes {
    spade_device *device;
    float *largest; /* device [layers], zero at first */
} spade_magnitudes;
spade_status spade_magnitudes_observe(void *user, int layer, const spade_shape *shape, const float *x);

#endif
