/*
 * backend_visualize.h - a backend's operations of feature visualisation, a picture that is made by following a gradient: what
 * lies between its parameters and the network's input, the way back, and the step. ops.h has the formulas; every number is
 * computed by one thread, sums in a fixed order.
 */
#ifndef SPADE_BACKEND_VISUALIZE_H
#define SPADE_BACKEND_VISUALIZE_H

#include "backend/ops.h"
#include "base/base.h"

typedef struct spade_backend_visualize {
    spade_status (*colours)(struct spade_device *device, const spade_colours_args *args);
    spade_status (*colours_backward)(struct spade_device *device, const spade_colours_args *args);
    spade_status (*warp)(struct spade_device *device, const spade_warp_args *args);
    spade_status (*warp_backward)(struct spade_device *device, const spade_warp_args *args);
    spade_status (*adam)(struct spade_device *device, const spade_adam_args *args);
} spade_backend_visualize;

#endif
