/* backward.h - the walk back from and to the host's memory. */
#ifndef SPADE_TEST_BACKWARD_H
#define SPADE_TEST_BACKWARD_H

#include "engine/engine.h"

/* seed: [batch, classes]; out: [batch, C, H, W]. A plan without a backward pass is refused by the walk. */
static inline spade_status test_run_backward(spade_plan *plan, spade_packed_weights *weights,
                                             const spade_network *network, const spade_rules *rules, const float *seed,
                                             float *out)
{
    spade_device *device = network->context->device;
    const spade_shape y = spade_value_shape(&network->values[network->output], spade_plan_batch(plan));
    const spade_shape x = spade_value_shape(&network->values[network->input], spade_plan_batch(plan));
    float *to = spade_plan_seed(plan);
    if (to) { SPADE_TRY(device->backend->upload(device, to, seed, (size_t)spade_shape_size(&y) * sizeof(float))); }
    SPADE_TRY(spade_walk_back(plan, weights, rules));
    return device->backend->download(device, out, spade_plan_input_gradient(plan),
                                     (size_t)spade_shape_size(&x) * sizeof(float));
}

#endif
