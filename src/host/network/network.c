/* network.c - the graph's arrays and what they own. */
#include "network/network.h"

static const char *const kind_names[SPADE_NODE_KIND_COUNT] = {
    [SPADE_NODE_CONVOLUTION] = "convolution",
    [SPADE_NODE_LINEAR] = "linear layer",
    [SPADE_NODE_MATMUL] = "matrix product",
    [SPADE_NODE_BATCH_NORM] = "batch normalisation",
    [SPADE_NODE_UNARY] = "elementwise function",
    [SPADE_NODE_SOFTMAX] = "softmax",
    [SPADE_NODE_MAX_POOL] = "max pooling",
    [SPADE_NODE_AVERAGE_POOL] = "average pooling",
    [SPADE_NODE_ADD] = "addition",
    [SPADE_NODE_MUL] = "multiplication",
    [SPADE_NODE_RESHAPE] = "reshape",
    [SPADE_NODE_CONVERT_LAYOUT] = "layout conversion",
};

const char *spade_node_kind_name(spade_node_kind kind)
{
    return (unsigned)kind < SPADE_NODE_KIND_COUNT ? kind_names[kind] : "unknown node";
}

spade_shape spade_value_shape(const spade_value *value, int64_t n)
{
    spade_shape shape = value->shape;
    if (value->batch_axis >= 0) { shape.dims[value->batch_axis] *= n; }
    return shape;
}

/* Arrays double when their count is a power of two, so that no capacity has to be kept. NULL: out of memory, the old
 * array stays. */
static void *grow(void *array, int count, size_t size)
{
    if (count & (count - 1)) { return array; }
    return realloc(array, (count ? (size_t)count * 2 : 1) * size);
}

int spade_network_add_value(spade_network *network, const spade_value *value)
{
    spade_value *values = grow(network->values, network->value_count, sizeof *values);
    if (!values) { return -1; }
    network->values = values;
    values[network->value_count] = *value;
    return network->value_count++;
}

int spade_network_add_node(spade_network *network, const spade_node *node)
{
    spade_node *nodes = grow(network->nodes, network->node_count, sizeof *nodes);
    if (!nodes) { return -1; }
    network->nodes = nodes;
    nodes[network->node_count] = *node;
    return network->node_count++;
}

int64_t spade_count_zeros(const float *weights, int64_t n)
{
    int64_t zeros = 0;
    for (int64_t i = 0; i < n; i++) { zeros += weights[i] == 0.0f; }
    return zeros;
}

int spade_network_add_layer(spade_network *network, const spade_layer *layer)
{
    spade_layer *layers = grow(network->layers, network->layer_count, sizeof *layers);
    if (!layers) { return -1; }
    network->layers = layers;
    layers[network->layer_count] = *layer;
    layers[network->layer_count].zeros = spade_count_zeros(layer->weights, layer->rows * layer->columns);
    return network->layer_count++;
}

void spade_node_release(spade_network *network, spade_node *node, int64_t channels)
{
    size_t rows = node->layer >= 0 ? (size_t)network->layers[node->layer].rows : 0;
    spade_free_bytes(network->context, node->bias, rows * sizeof(float));
    spade_free_bytes(network->context, node->scale, (size_t)channels * sizeof(float));
    spade_free_bytes(network->context, node->shift, (size_t)channels * sizeof(float));
    free(node->name);
}

void spade_network_clear(spade_network *network)
{
    if (!network) { return; }
    for (int i = 0; i < network->node_count; i++) {
        spade_node *node = &network->nodes[i];
        spade_node_release(network, node, network->values[node->output].shape.dims[1]);
    }
    for (int i = 0; i < network->value_count; i++) {
        spade_value *value = &network->values[i];
        if (value->constant) {
            size_t bytes = (size_t)spade_shape_size(&value->shape) * sizeof(float);
            spade_free_bytes(network->context, value->constant, bytes);
        }
        free(value->name);
    }
    for (int i = 0; i < network->layer_count; i++) {
        spade_layer *layer = &network->layers[i];
        spade_free_bytes(network->context, layer->weights, (size_t)(layer->rows * layer->columns) * sizeof(float));
        free(layer->name);
    }
    free(network->nodes);
    free(network->values);
    free(network->layers);
    *network = (spade_network){0};
}
