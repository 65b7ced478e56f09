/* saliency.c - how strongly the class reacts to each input value: one backward pass. */
#include "attribution/gradient_driver.h"

static const attribution_wanted wanted = {.statistic = ATTRIBUTION_SUM, .absolute = true};

const attribution_method attribution_saliency = {
    .info = {.name = "saliency",
             .title = "Saliency",
             .definition = "abs(dF/dx)",
             .source = "Simonyan, Vedaldi, Zisserman 2013, Deep inside convolutional networks",
             .cost = "one forward and one backward pass; saliency and input_x_gradient share them"},
    .family = &attribution_gradients_family,
    .part = &wanted,
};
