/* input_x_gradient.c - the first-order share of each input value in the class: one backward pass. */
#include "attribution/gradient_driver.h"

static const attribution_wanted wanted = {.statistic = ATTRIBUTION_SUM, .times_input = true};

const attribution_method attribution_input_x_gradient = {
    .info = {.name = "input_x_gradient",
             .title = "Input x gradient",
             .definition = "x * dF/dx",
             .source = "Shrikumar et al. 2016, Not just a black box",
             .cost = "as saliency",
             .flags = SPADE_METHOD_SIGNED},
    .family = &attribution_gradients_family,
    .part = &wanted,
};
