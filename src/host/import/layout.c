/*
 * layout.c - which values are kept channels-last, and the conversions that this takes.
 *
 * Convolutions, poolings and normalisations of images work channels-last, elementwise nodes follow their inputs,
 * everything else reads and writes row-major. A value is converted at most once to each layout. Where both layouts are
 * the same bytes (one channel, or one pixel) the conversion is a RESHAPE, which the plan turns into an alias.
 */
#include "import/import.h"
#include "network/node_class.h"

typedef struct layout_pass {
    spade_network *network;
    spade_node *old; /* the nodes before the pass */
    int old_count;
    int *converted; /* [values before the pass]: the value in the other layout, or -1 */
    int value_count;
} layout_pass;

static bool same_bytes(const spade_shape *shape)
{
    return shape->rank != 4 || shape->dims[1] == 1 || shape->dims[2] * shape->dims[3] == 1;
}

/* Copy the constant [1, C, H, W] into channels-last order. */
static spade_status convert_constant(spade_context *context, spade_value *value)
{
    spade_shape *shape = &value->shape;
    int64_t channels = shape->dims[1], pixels = shape->dims[2] * shape->dims[3];
    size_t bytes = (size_t)spade_shape_size(shape) * sizeof(float);
    void *memory;
    if (!same_bytes(shape)) {
        SPADE_TRY(spade_alloc(context, bytes, "the network's weights", &memory));
        float *to = memory;
        for (int64_t c = 0; c < channels; c++) {
            for (int64_t p = 0; p < pixels; p++) { to[p * channels + c] = value->constant[c * pixels + p]; }
        }
        spade_free_bytes(context, value->constant, bytes);
        value->constant = to;
    }
    shape->layout = SPADE_CHANNELS_LAST;
    return SPADE_OK;
}

/* The value in the wanted layout; inserts a conversion where there is none yet. */
static spade_status convert(layout_pass *pass, const char *node_name, int value, spade_layout layout, int *out)
{
    spade_network *network = pass->network;
    spade_context *context = network->context;
    const spade_value *from = &network->values[value];
    *out = value;
    if (from->shape.layout == layout) { return SPADE_OK; }
    if (from->constant) { return convert_constant(context, &network->values[value]); }
    if (pass->converted[value] >= 0) {
        *out = pass->converted[value];
        return SPADE_OK;
    }
    spade_value to = *from;
    spade_node node = {.kind = same_bytes(&from->shape) ? SPADE_NODE_RESHAPE : SPADE_NODE_CONVERT_LAYOUT, .layer = -1};
    to.shape.layout = layout;
    to.producer = network->node_count;
    to.name = strdup(from->name);
    node.name = strdup(node_name);
    int output = to.name && node.name ? spade_network_add_value(network, &to) : -1;
    if (output < 0) {
        free(to.name);
        free(node.name);
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while laying out the network");
    }
    if (!spade_node_connect(&node, &value, 1, &output, 1) || spade_network_add_node(network, &node) < 0) {
        spade_node_release(context, &node);
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while laying out the network");
    }
    pass->converted[value] = *out = output;
    return SPADE_OK;
}

/* The layout in which a node reads its inputs and writes its output. */
static spade_layout wanted_layout(const spade_network *network, const spade_node *node)
{
    switch (spade_node_class_of(node)->layout) {
    case SPADE_LAYOUT_CHANNELS_LAST: return SPADE_CHANNELS_LAST;
    case SPADE_LAYOUT_IMAGES_CHANNELS_LAST:
        return network->values[node->outputs[0]].shape.rank == 4 ? SPADE_CHANNELS_LAST : SPADE_ROW_MAJOR;
    case SPADE_LAYOUT_FOLLOWS_INPUTS:
        for (int i = 0; i < node->input_count; i++) {
            const spade_value *input = &network->values[node->inputs[i]];
            if (!input->constant && input->shape.layout == SPADE_CHANNELS_LAST) { return SPADE_CHANNELS_LAST; }
        }
        return SPADE_ROW_MAJOR;
    case SPADE_LAYOUT_ROW_MAJOR: break;
    }
    return SPADE_ROW_MAJOR;
}

static spade_status place_node(layout_pass *pass, spade_node *node)
{
    spade_network *network = pass->network;
    spade_layout layout = wanted_layout(network, node);
    for (int i = 0; i < node->input_count; i++) {
        const spade_shape *shape = &network->values[node->inputs[i]].shape;
        bool alias = node->kind == SPADE_NODE_RESHAPE && same_bytes(shape); /* reads the bytes as they are */
        if (shape->rank != 4 || alias) { continue; }
        SPADE_TRY(convert(pass, node->name, node->inputs[i], layout, &node->inputs[i]));
    }
    network->values[node->outputs[0]].shape.layout = layout;
    network->values[node->outputs[0]].producer = network->node_count;
    if (node->layer >= 0) { network->layers[node->layer].node = network->node_count; }
    if (spade_network_add_node(network, node) < 0) {
        return spade_fail(network->context, SPADE_ERROR_MEMORY, "out of memory while laying out the network");
    }
    return SPADE_OK;
}

spade_status spade_network_layout(spade_context *context, spade_network *network)
{
    layout_pass pass = {network, network->nodes, network->node_count, NULL, network->value_count};
    spade_status status = SPADE_OK;
    int next = 0;
    pass.converted = malloc((size_t)pass.value_count * sizeof *pass.converted);
    if (!pass.converted) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while laying out the network");
    }
    memset(pass.converted, -1, (size_t)pass.value_count * sizeof *pass.converted);
    network->nodes = NULL;
    network->node_count = 0;
    for (; next < pass.old_count; next++) { SPADE_GOTO(place_node(&pass, &pass.old[next])); }
done:
    /* After a failure the graph still owns every node. */
    for (; next < pass.old_count; next++) {
        spade_node *node = &pass.old[next];
        if (spade_network_add_node(network, node) < 0) { spade_node_release(network->context, node); }
    }
    free(pass.old);
    free(pass.converted);
    return status;
}
