/* network.c - the network's arrays and what they own; the class of each kind of node. */
#include "network/network.h"

#include "network/node_class.h"

static const spade_node_class *const classes[SPADE_NODE_KIND_COUNT] = {
#define CLASS(kind, class) [kind] = &spade_class_##class,
    SPADE_NODE_KINDS(CLASS)
#undef CLASS
};

const spade_node_class *spade_node_class_of(const spade_node *node)
{
    return classes[node->kind];
}

const char *spade_node_kind_name(spade_node_kind kind)
{
    return (unsigned)kind < SPADE_NODE_KIND_COUNT ? classes[kind]->name : "unknown node";
}

/* ---- shapes */

int64_t spade_network_outputs(const spade_network *network)
{
    return spade_shape_size(&network->values[network->output].shape);
}

spade_shape spade_value_shape(const spade_value *value, int64_t n)
{
    spade_shape shape = value->shape;
    if (value->batch_axis >= 0) { shape.dims[value->batch_axis] *= n; }
    return shape;
}

bool spade_same_dims(const spade_shape *a, const spade_shape *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

bool spade_same_shape(const spade_value *a, const spade_value *b)
{
    return spade_same_dims(&a->shape, &b->shape) && a->shape.layout == b->shape.layout &&
           a->batch_axis == b->batch_axis;
}

spade_shape spade_input_shape(const spade_node_shapes *shapes, int input)
{
    return spade_value_shape(&shapes->network->values[shapes->node->inputs[input]], shapes->batch);
}

spade_shape spade_output_shape(const spade_node_shapes *shapes)
{
    return spade_value_shape(&shapes->network->values[shapes->node->outputs[0]], shapes->batch);
}

spade_shape spade_channel_shape(const spade_shape *shape)
{
    spade_shape channels = {.rank = shape->rank - 1, .dims = {shape->dims[1]}};
    for (int i = 1; i < channels.rank; i++) { channels.dims[i] = 1; }
    return channels;
}

/* ---- growing */

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

/* Zeros, and the largest magnitude: without their sign, the bits of floats are ordered as their magnitudes are. */
static void measure_weights(spade_layer *layer)
{
    int32_t largest = 0;
    layer->zeros = 0;
    for (int64_t i = 0; i < layer->rows * layer->columns; i++) {
        int32_t bits;
        memcpy(&bits, &layer->weights[i], sizeof bits);
        bits &= INT32_MAX;
        layer->zeros += bits == 0;
        largest = bits > largest ? bits : largest;
    }
    memcpy(&layer->largest, &largest, sizeof largest);
}

int spade_network_add_layer(spade_network *network, const spade_layer *layer)
{
    spade_layer *layers = grow(network->layers, network->layer_count, sizeof *layers);
    if (!layers) { return -1; }
    network->layers = layers;
    layers[network->layer_count] = *layer;
    if (layer->weights) { measure_weights(&layers[network->layer_count]); }
    return network->layer_count++;
}

void spade_network_set_weights(spade_network *network, int layer, float *weights)
{
    network->layers[layer].weights = weights;
    measure_weights(&network->layers[layer]);
}

static int *copy_numbers(const int *numbers, int count)
{
    int *copy = malloc(((size_t)count + 1) * sizeof *copy);
    if (copy && count) { memcpy(copy, numbers, (size_t)count * sizeof *copy); }
    return copy;
}

bool spade_node_connect(spade_node *node, const int *inputs, int input_count, const int *outputs, int output_count)
{
    node->inputs = copy_numbers(inputs, input_count);
    node->outputs = copy_numbers(outputs, output_count);
    node->input_count = input_count;
    node->output_count = output_count;
    return node->inputs && node->outputs;
}

/* ---- releasing */

void spade_node_release(spade_context *context, spade_node *node)
{
    for (int p = 0; p < SPADE_PARAMETER_COUNT; p++) {
        spade_free_bytes(context, node->parameters[p].data, (size_t)node->parameters[p].count * sizeof(float));
    }
    if (node->kind == SPADE_NODE_AXIS_MAP) { spade_axis_map_clear(context, &node->axis_map.map); }
    free(node->name);
    free(node->path);
    free(node->inputs);
    free(node->outputs);
    *node = (spade_node){.layer = -1};
}

void spade_network_clear(spade_network *network)
{
    if (!network) { return; }
    for (int i = 0; i < network->node_count; i++) { spade_node_release(network->context, &network->nodes[i]); }
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
