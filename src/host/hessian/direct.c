/*
 * direct.c - the Hessian in its direct form: unfold the layer's input, multiply it by its own transpose. The backend
 * gathers the patches; here is what they are.
 */
#include "hessian/hessians.h"

spade_patches spade_hessian_patches(const spade_graph *graph, int layer, const spade_shape *shape)
{
    const spade_layer *l = &graph->layers[layer];
    const spade_node *node = &graph->nodes[l->node];
    spade_patches patches = {.x = *shape, .linear = !l->convolution, .groups = 1};
    if (l->convolution) {
        const spade_shape *output = &graph->values[node->output].shape;
        patches.window = node->window;
        patches.groups = l->groups;
        patches.out_height = output->dims[2];
        patches.out_width = output->dims[3];
    }
    return patches;
}

spade_status spade_hessian_direct(spade_context *context, const spade_patches *patches, const float *x, double scale,
                                  spade_precision precision, void *h, void *workspace)
{
    spade_device *device = context->device;
    return device->backend->hessian_update(device, patches, x, scale, precision, h, workspace);
}

size_t spade_hessian_direct_bytes(const spade_model *model, int layer, int64_t n, spade_precision precision)
{
    const spade_graph *graph = &model->graph;
    const spade_value *input = &graph->values[graph->nodes[graph->layers[layer].node].inputs[0]];
    spade_shape shape = spade_value_shape(input, n);
    spade_patches patches = spade_hessian_patches(graph, layer, &shape);
    spade_device *device = model->context->device;
    return device->backend->hessian_workspace_bytes(device, &patches, precision);
}
