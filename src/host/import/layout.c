/*
 * layout.c - which values are kept channels-last, and the conversions that this takes.
 *
 * Convolutions, poolings and normalisations of images work channels-last; elementwise nodes, sums, concatenations and maps
 * along an axis follow their inputs; everything else reads and writes row-major. A value is converted at most once to each
 * layout. Where both layouts are the same bytes (one channel, or one pixel) the conversion is a RESHAPE, which the plan turns
 * into an alias; so is a permutation that only says in other words where the numbers are (channels first to channels last).
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

/* An axis that is 1 long in one picture is longer in a batch if it is the one that grows. */
static bool same_bytes(const spade_value *value)
{
    const int64_t *dims = value->shape.dims;
    const int grows = value->batch_axis;
    return value->shape.rank != 4 || (dims[1] == 1 && grows != 1) || (dims[2] * dims[3] == 1 && grows < 2);
}

/* Images [rows, columns] -> [columns, rows] */
static void transpose_images(int64_t images, int64_t rows, int64_t columns, const float *from, float *to)
{
    for (int64_t image = 0; image < images; image++, from += rows * columns, to += rows * columns) {
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < columns; j++) { to[j * rows + i] = from[i * columns + j]; }
        }
    }
}

static int count_readers(const layout_pass *pass, int value)
{
    int readers = 0;
    for (int n = 0; n < pass->old_count; n++) {
        for (int k = 0; k < pass->old[n].input_count; k++) { readers += pass->old[n].inputs[k] == value; }
    }
    return readers;
}

/* A constant [N, C, H, W] in the other layout: in place, or where others read it as it is, a value of its own. */
static spade_status convert_constant(layout_pass *pass, int value, int *out)
{
    spade_context *context = pass->network->context;
    spade_value to = pass->network->values[value];
    const bool last = to.shape.layout == SPADE_ROW_MAJOR; /* channels last from now on */
    const int64_t channels = to.shape.dims[1], pixels = to.shape.dims[2] * to.shape.dims[3];
    const size_t bytes = (size_t)spade_shape_size(&to.shape) * sizeof(float);
    void *memory;
    SPADE_TRY(spade_alloc(context, bytes, "the network's weights", &memory));
    transpose_images(to.shape.dims[0], last ? channels : pixels, last ? pixels : channels, to.constant, memory);
    to.shape.layout = last ? SPADE_CHANNELS_LAST : SPADE_ROW_MAJOR;
    *out = value;
    if (count_readers(pass, value) < 2) {
        spade_free_bytes(context, to.constant, bytes);
        to.constant = memory;
        pass->network->values[value] = to;
        return SPADE_OK;
    }
    to.constant = memory;
    to.name = strdup(to.name);
    *out = to.name ? spade_network_add_value(pass->network, &to) : -1;
    if (*out < 0) {
        free(to.name);
        spade_free_bytes(context, memory, bytes);
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while laying out the network");
    }
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
    if (pass->converted[value] >= 0) {
        *out = pass->converted[value];
        return SPADE_OK;
    }
    if (from->constant) {
        SPADE_TRY(convert_constant(pass, value, out));
        pass->converted[value] = *out;
        return SPADE_OK;
    }
    spade_value to = *from;
    spade_node node = {.kind = same_bytes(from) ? SPADE_NODE_RESHAPE : SPADE_NODE_CONVERT_LAYOUT, .layer = -1};
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

/* The axes of a value in the order of its memory, without those that have length 1 for any batch. */
static int order_axes(const spade_value *value, spade_layout layout, int axes[SPADE_MAX_RANK])
{
    static const int channels_last[4] = {0, 2, 3, 1};
    int count = 0;
    for (int i = 0; i < value->shape.rank; i++) {
        const int axis = layout == SPADE_CHANNELS_LAST ? channels_last[i] : i;
        if (value->shape.dims[axis] != 1 || value->batch_axis == axis) { axes[count++] = axis; }
    }
    return count;
}

/* Does the permutation leave all numbers where they are, if its output has this layout? */
static bool keeps_order(const spade_network *network, const spade_node *node, spade_layout layout)
{
    const spade_value *x = &network->values[node->inputs[0]], *y = &network->values[node->outputs[0]];
    int of_x[SPADE_MAX_RANK], of_y[SPADE_MAX_RANK];
    if (layout == SPADE_CHANNELS_LAST && y->shape.rank != 4) { return false; }
    const int count = order_axes(x, x->shape.layout, of_x);
    bool same = order_axes(y, layout, of_y) == count;
    for (int i = 0; same && i < count; i++) { same = node->permute.axes[of_y[i]] == of_x[i]; }
    return same;
}

/* The layout in which a node reads its inputs and writes its output. */
static spade_layout wanted_layout(const spade_network *network, const spade_node *node)
{
    switch (spade_node_class_of(node)->layout) {
    case SPADE_LAYOUT_CHANNELS_LAST: return SPADE_CHANNELS_LAST;
    case SPADE_LAYOUT_IMAGES_CHANNELS_LAST:
        return network->values[node->outputs[0]].shape.rank == 4 ? SPADE_CHANNELS_LAST : SPADE_ROW_MAJOR;
    case SPADE_LAYOUT_FOLLOWS_INPUTS:
        for (int i = 0; network->values[node->outputs[0]].shape.rank == 4 && i < node->input_count; i++) {
            const spade_value *input = &network->values[node->inputs[i]];
            if (!input->constant && input->shape.layout == SPADE_CHANNELS_LAST) { return SPADE_CHANNELS_LAST; }
        }
        return SPADE_ROW_MAJOR;
    case SPADE_LAYOUT_KEEPS_ORDER:
        return keeps_order(network, node, SPADE_CHANNELS_LAST) ? SPADE_CHANNELS_LAST : SPADE_ROW_MAJOR;
    case SPADE_LAYOUT_ROW_MAJOR: break;
    }
    return SPADE_ROW_MAJOR;
}

/* The same bytes of a constant under another shape are a constant too, and no node's: an alias has no memory of its own. */
static spade_status reshape_constant(layout_pass *pass, spade_node *node, spade_layout layout)
{
    spade_network *network = pass->network;
    const spade_value *from = &network->values[node->inputs[0]];
    spade_value *to = &network->values[node->outputs[0]];
    const size_t bytes = (size_t)spade_shape_size(&from->shape) * sizeof(float);
    void *memory;
    SPADE_TRY(spade_alloc(network->context, bytes, "the network's weights", &memory));
    memcpy(memory, from->constant, bytes);
    to->constant = memory;
    to->shape.layout = layout;
    to->producer = -1;
    spade_node_release(network->context, node);
    *node = (spade_node){.kind = SPADE_NODE_RESHAPE, .layer = -1};
    return SPADE_OK;
}

static spade_status place_node(layout_pass *pass, spade_node *node)
{
    spade_network *network = pass->network;
    spade_layout layout = wanted_layout(network, node);
    for (int i = 0; i < node->input_count; i++) {
        const spade_value *input = &network->values[node->inputs[i]];
        bool alias = node->kind == SPADE_NODE_RESHAPE && same_bytes(input); /* reads the bytes as they are */
        if (input->shape.rank != 4 || alias || spade_node_class_of(node)->reads_any_layout) { continue; }
        SPADE_TRY(convert(pass, node->name, node->inputs[i], layout, &node->inputs[i]));
    }
    if (node->kind == SPADE_NODE_PERMUTE && keeps_order(network, node, layout)) { node->kind = SPADE_NODE_RESHAPE; }
    if (node->kind == SPADE_NODE_RESHAPE && network->values[node->inputs[0]].constant) {
        return reshape_constant(pass, node, layout);
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
