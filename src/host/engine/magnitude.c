/* magnitude.c - see magnitude.h. */
#include "engine/magnitude.h"

#include <float.h>
#include <math.h>

spade_status spade_magnitudes_observe(void *user, int layer, const spade_shape *shape, const float *x)
{
    const spade_magnitudes *m = user;
    return m->device->backend->magnitude(m->device, spade_shape_size(shape), x, m->largest + layer);
}

/* The largest factor that a normalisation may have been folded into a layer's weights with. */
static double largest_scale(const spade_network *network)
{
    double largest = 1;
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        if (node->kind != SPADE_NODE_BATCH_NORM) { continue; }
        for (int64_t c = 0; c < node->parameters[SPADE_SCALE].count; c++) {
            largest = fmax(largest, fabs((double)node->parameters[SPADE_SCALE].data[c]));
        }
    }
    return largest;
}

spade_status spade_magnitudes_check(spade_context *context, const spade_network *network, const float *largest)
{
    const double scale = largest_scale(network);
    for (int l = 0; l < network->layer_count; l++) {
        const spade_layer *layer = &network->layers[l];
        if (!isfinite(largest[l])) {
            return spade_fail(
                context, SPADE_ERROR_NUMERICAL,
                "layer %.200s: its input holds %s; the network overflows float32 before it, or divides by 0",
                layer->name, isnan(largest[l]) ? "NaN" : "infinite numbers");
        }
        /* each sum is of `columns` products */
        if ((double)largest[l] * (double)layer->largest * (double)layer->columns * scale > (double)FLT_MAX) {
            return spade_fail(
                context, SPADE_ERROR_NUMERICAL,
                "layer %.200s: its input reaches %.1e and its weights %.1e: its sums may overflow float32", layer->name,
                (double)largest[l], (double)layer->largest);
        }
    }
    return SPADE_OK;
}

static spade_status forward(void *user)
{
    spade_executor *executor = user;
    spade_device *device = executor->entry.context->device;
    const spade_network *network = executor->entry.network;
    spade_magnitudes m = {device, executor->scratch};
    SPADE_TRY(device->backend->zero(device, m.largest, sizeof *m.largest * (size_t)network->layer_count));
    return spade_run_forward(executor->plan, executor->weights, NULL, NULL, spade_magnitudes_observe, &m, NULL);
}

spade_status spade_executor_forward_checked(spade_executor *executor, float *output)
{
    spade_context *context = executor->entry.context;
    const spade_network *network = executor->entry.network;
    const size_t bytes = sizeof(float) * (size_t)network->layer_count;
    if (!bytes) {
        SPADE_TRY(spade_executor_forward(executor));
        return spade_plan_read_output(executor->plan, output);
    }
    float *largest = malloc(bytes);
    spade_status status;
    if (!largest) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers"); }
    SPADE_GOTO(spade_executor_scratch(executor, bytes, "magnitudes of layers"));
    SPADE_GOTO(spade_capture_run(context->device, &executor->checked, executor->generation, forward, executor));
    SPADE_GOTO(context->device->backend->download(context->device, largest, executor->scratch, bytes));
    SPADE_GOTO(spade_plan_read_output(executor->plan, output));
    SPADE_GOTO(spade_magnitudes_check(context, network, largest));
done:
    free(largest);
    return status;
}
