/* backward.h - relevance from and to the host's memory, for tests of plans. */
#ifndef SPADE_TEST_BACKWARD_H
#define SPADE_TEST_BACKWARD_H

#include "attribution/rules/rules.h"

/* relevance: of the output [batch, classes]; out: of the input [batch, C, H, W]. A plan without rules is refused. */
static inline spade_status test_run_backward(spade_plan *plan, spade_packed_weights *weights,
                                             const spade_network *network, const float *relevance, float *out)
{
    spade_device *device = network->context->device;
    const spade_shape y = spade_value_shape(&network->values[network->output], spade_plan_batch(plan));
    const spade_shape x = spade_value_shape(&network->values[network->input], spade_plan_batch(plan));
    float *to = spade_plan_output_relevance(plan);
    if (to) { SPADE_TRY(device->backend->upload(device, to, relevance, (size_t)spade_shape_size(&y) * sizeof(float))); }
    SPADE_TRY(spade_run_backward(plan, weights));
    return device->backend->download(device, out, spade_plan_relevance(plan),
                                     (size_t)spade_shape_size(&x) * sizeof(float));
}

#endif
