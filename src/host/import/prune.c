/* prune.c - nodes that the output does not depend on: only their shapes were read, or nobody wants this output of theirs. */
#include "import/import.h"

/* From old numbers to new ones; -1: it is gone. */
typedef struct numbering {
    int *nodes, *values, *layers;
} numbering;

/* Nodes are in topological order: who is read by a node that stays, stays. */
static void mark(const spade_network *network, numbering *to)
{
    to->values[network->input] = 0;
    to->values[network->output] = 0;
    for (int n = network->node_count - 1; n >= 0; n--) {
        const spade_node *node = &network->nodes[n];
        for (int k = 0; k < node->output_count; k++) {
            if (to->values[node->outputs[k]] >= 0) { to->nodes[n] = 0; }
        }
        if (to->nodes[n] < 0) { continue; }
        for (int k = 0; k < node->input_count; k++) { to->values[node->inputs[k]] = 0; }
        for (int k = 0; k < node->output_count; k++) { to->values[node->outputs[k]] = 0; }
        if (node->layer >= 0) { to->layers[node->layer] = 0; }
    }
}

/* What stays gets the numbers from 0 up; returns how many. */
static int number(int *items, int count)
{
    int next = 0;
    for (int i = 0; i < count; i++) {
        if (items[i] >= 0) { items[i] = next++; }
    }
    return next;
}

static void move_values(spade_network *network, const numbering *to)
{
    for (int v = 0; v < network->value_count; v++) {
        spade_value *value = &network->values[v];
        if (to->values[v] < 0) {
            if (value->constant) {
                spade_free_bytes(network->context, value->constant,
                                 (size_t)spade_shape_size(&value->shape) * sizeof(float));
            }
            free(value->name);
            continue;
        }
        if (value->producer >= 0) { value->producer = to->nodes[value->producer]; }
        network->values[to->values[v]] = *value;
    }
    network->input = to->values[network->input];
    network->output = to->values[network->output];
}

static void move_layers(spade_network *network, const numbering *to)
{
    for (int l = 0; l < network->layer_count; l++) {
        spade_layer *layer = &network->layers[l];
        if (to->layers[l] < 0) {
            spade_free_bytes(network->context, layer->weights, (size_t)(layer->rows * layer->columns) * sizeof(float));
            free(layer->name);
            continue;
        }
        layer->node = to->nodes[layer->node];
        network->layers[to->layers[l]] = *layer;
    }
}

static void move_nodes(spade_network *network, const numbering *to)
{
    for (int n = 0; n < network->node_count; n++) {
        spade_node *node = &network->nodes[n];
        if (to->nodes[n] < 0) {
            spade_node_release(network->context, node);
            continue;
        }
        for (int k = 0; k < node->input_count; k++) { node->inputs[k] = to->values[node->inputs[k]]; }
        for (int k = 0; k < node->output_count; k++) { node->outputs[k] = to->values[node->outputs[k]]; }
        if (node->layer >= 0) { node->layer = to->layers[node->layer]; }
        network->nodes[to->nodes[n]] = *node;
    }
}

spade_status spade_network_prune(spade_context *context, spade_network *network)
{
    const size_t counts[3] = {(size_t)network->node_count, (size_t)network->value_count, (size_t)network->layer_count};
    int *memory = malloc((counts[0] + counts[1] + counts[2] + 1) * sizeof *memory);
    if (!memory) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while reading the graph"); }
    numbering to = {memory, memory + counts[0], memory + counts[0] + counts[1]};
    memset(memory, -1, (counts[0] + counts[1] + counts[2]) * sizeof *memory);
    mark(network, &to);
    const int nodes = number(to.nodes, network->node_count), values = number(to.values, network->value_count);
    const int layers = number(to.layers, network->layer_count);
    move_values(network, &to);
    move_layers(network, &to);
    move_nodes(network, &to);
    network->node_count = nodes;
    network->value_count = values;
    network->layer_count = layers;
    free(memory);
    return SPADE_OK;
}
