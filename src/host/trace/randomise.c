/* randomise.c - a layer of a trace loses what the network has learned. */
#include <math.h>

#include "spade/check.h"
#include "trace/trace.h"

spade_status spade_trace_randomise(spade_context *context, spade_trace *trace, int layer, uint64_t seed)
{
    const spade_network *network = &trace->base.model->network;
    if (layer < 0 || layer >= network->layer_count) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "layer %d does not exist: the network has %d", layer,
                          network->layer_count);
    }
    const spade_layer *l = &network->layers[layer];
    const int64_t n = l->rows * l->columns;
    const uint64_t stream = spade_hash(&layer, sizeof layer, seed);
    const uint32_t key[2] = {(uint32_t)stream, (uint32_t)(stream >> 32)};
    double squares = 0, z[2] = {0};
    float *weights;
    for (int64_t i = 0; i < n; i++) { squares += (double)l->weights[i] * l->weights[i]; }
    const double deviation = sqrt(squares / (double)n);
    SPADE_TRY(spade_weight_override_write_host(&trace->base, layer, &weights));
    for (int64_t i = 0; i < n; i++) {
        const uint64_t block = (uint64_t)i / 2;
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0};
        if (i % 2 == 0) { spade_normal(key, counter, z); }
        weights[i] = (float)(deviation * z[i % 2]);
    }
    trace->layers[layer].zeros = spade_count_zeros(weights, n);
    return SPADE_OK;
}
