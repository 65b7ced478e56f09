/* guided_backprop.c - the gradient with ReLUs that let only positive evidence through: one backward pass. */
#include "attribution/gradient_driver.h"

static spade_status check(const attribution_job *job, const void *options)
{
    (void)options;
    return attribution_check_rules(job, &spade_rules_guided);
}

const attribution_method attribution_guided_backprop = {
    .info = {.name = "guided_backprop",
             .title = "Guided backpropagation",
             .definition = "dF/dx, where each ReLU hands back max(r, 0) if its input is positive, else 0",
             .source = "Springenberg et al. 2015, Striving for simplicity: the all convolutional net",
             .cost = "one forward and one backward pass; guided_backprop and guided_gradcam share them",
             .needs = "no other activations than rectifiers",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_SLOPE},
    .check = check,
    .family = &attribution_guided_family,
};
