/* decision_layer.c - see decision_layer.h. */
#include "network/decision_layer.h"

#include "network/node_class.h"

static const spade_node *producer_of(const spade_network *network, int value)
{
    const int producer = network->values[value].producer;
    return producer < 0 ? NULL : &network->nodes[producer];
}

/* The input of an ADD that is a constant with a number for each output, or one for all; -1: none is. */
static int find_constant(const spade_network *network, const spade_node *node)
{
    for (int k = 0; k < node->input_count && node->kind == SPADE_NODE_ADD; k++) {
        const spade_value *value = &network->values[node->inputs[k]];
        const int64_t count = spade_shape_size(&value->shape);
        if (value->constant && (count == 1 || count == spade_network_outputs(network))) { return k; }
    }
    return -1;
}

/* The axes of one picture that are longer than 1, in the order of its memory. */
static int order_axes(const spade_shape *shape, int axes[SPADE_MAX_RANK])
{
    static const int channels_last[4] = {0, 2, 3, 1};
    int count = 0;
    for (int i = 0; i < shape->rank; i++) {
        const int axis = shape->layout == SPADE_CHANNELS_LAST ? channels_last[i] : i;
        if (shape->dims[axis] != 1) { axes[count++] = axis; }
    }
    return count;
}

/* A permutation or a change of layout moves whole axes: do the numbers of a picture stay in their order? */
static bool keeps_order(const spade_network *network, const spade_node *node)
{
    const spade_shape *x = &network->values[node->inputs[0]].shape, *y = &network->values[node->outputs[0]].shape;
    int of_x[SPADE_MAX_RANK], of_y[SPADE_MAX_RANK];
    const int count = order_axes(x, of_x);
    bool same = order_axes(y, of_y) == count;
    for (int i = 0; same && i < count; i++) {
        const int from = node->kind == SPADE_NODE_PERMUTE ? node->permute.axes[of_y[i]] : of_y[i];
        same = from == of_x[i];
    }
    return same;
}

/* What stands behind the layer hands its numbers on in their order, or adds constants: the input that it does that with; -1: it
 * does something else. */
static int find_carried(const spade_network *network, const spade_node *node)
{
    const bool moves = node->kind == SPADE_NODE_PERMUTE || node->kind == SPADE_NODE_CONVERT_LAYOUT;
    const int constant = find_constant(network, node);
    if (moves) { return keeps_order(network, node) ? 0 : -1; }
    if (spade_node_is_alias(node)) { return 0; }
    if (constant < 0 || node->input_count != 2) { return -1; }
    const spade_value *carried = &network->values[node->inputs[1 - constant]];
    return spade_shape_size(&carried->shape) == spade_network_outputs(network) ? 1 - constant : -1;
}

/* One output for each row, from one vector: not a layer of several positions, nor of groups or windows. */
static bool is_linear_in_features(const spade_network *network, const spade_node *node)
{
    const spade_layer *layer = &network->layers[node->layer];
    return spade_shape_size(&network->values[node->outputs[0]].shape) == layer->rows &&
           spade_shape_size(&network->values[node->inputs[0]].shape) == layer->columns && layer->groups == 1 &&
           layer->weight[2] * layer->weight[3] == 1;
}

spade_status spade_find_decision_layer(spade_context *context, const spade_network *network, int *out)
{
    const spade_node *node = producer_of(network, network->output);
    *out = -1;
    while (node && node->layer < 0) {
        const int carried = find_carried(network, node);
        if (carried < 0) { break; }
        node = producer_of(network, node->inputs[carried]);
    }
    if (node && node->layer >= 0 && is_linear_in_features(network, node)) {
        *out = node->layer;
        return SPADE_OK;
    }
    return spade_fail(context, SPADE_ERROR_UNSUPPORTED,
                      "the network's outputs are not those of a linear layer of one vector of features: node "
                      "\"%.200s\" (%s) makes them",
                      node ? node->name : "input", node ? spade_node_kind_name(node->kind) : "input");
}

void spade_decision_offsets(const spade_network *network, float *out)
{
    const int64_t outputs = spade_network_outputs(network);
    memset(out, 0, sizeof *out * (size_t)outputs);
    for (const spade_node *node = producer_of(network, network->output); node->layer < 0;) {
        const int constant = find_constant(network, node);
        if (constant >= 0) {
            const spade_value *value = &network->values[node->inputs[constant]];
            const bool one = spade_shape_size(&value->shape) == 1;
            for (int64_t i = 0; i < outputs; i++) { out[i] += value->constant[one ? 0 : i]; }
        }
        node = producer_of(network, node->inputs[find_carried(network, node)]);
    }
}
