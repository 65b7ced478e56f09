/* spatial.c - pixels followed from the picture to the output, and back what of them is read. */
#include "network/spatial.h"

#include "network/node_class.h"

static const spade_spatial unknown = {.axis = -1};
static const spade_reads everything = {.pixels = true, .extra = UINT64_MAX};

/* ---- axes in the order of memory: a reshape keeps that, whatever its layouts are */

static int axis_in_memory(const spade_shape *shape, int place)
{
    static const int channels_last[4] = {0, 2, 3, 1};
    return shape->layout == SPADE_CHANNELS_LAST ? channels_last[place] : place;
}

/* How many runs of this axis (and what lies inside of it) there are. */
static int64_t runs_of(const spade_shape *shape, int axis)
{
    int64_t runs = 1;
    for (int place = 0; axis_in_memory(shape, place) != axis; place++) {
        runs *= shape->dims[axis_in_memory(shape, place)];
    }
    return runs;
}

/* The axis of this length with so many runs, or -1. */
static int find_axis(const spade_shape *shape, int64_t runs, int64_t length)
{
    for (int axis = 0; axis < shape->rank; axis++) {
        if (shape->dims[axis] == length && runs_of(shape, axis) == runs) { return axis; }
    }
    return -1;
}

/* Two axes of these lengths behind one another, the first of which has so many runs; the first, or -1. */
static int find_axes(const spade_shape *shape, int64_t runs, int64_t height, int64_t width)
{
    for (int axis = 0; axis + 1 < shape->rank; axis++) {
        if (shape->dims[axis] == height && shape->dims[axis + 1] == width && runs_of(shape, axis) == runs &&
            runs_of(shape, axis + 1) == runs * height) {
            return axis;
        }
    }
    return -1;
}

static int permuted_axis(const spade_node *node, int rank, int axis)
{
    for (int k = 0; k < rank; k++) {
        if (node->permute.axes[k] == axis) { return k; }
    }
    return -1;
}

int spade_follow_axis(const spade_network *network, const spade_node *node, int axis)
{
    const spade_shape *x = &network->values[node->inputs[0]].shape, *y = &network->values[node->outputs[0]].shape;
    switch (node->kind) {
    case SPADE_NODE_PERMUTE: return permuted_axis(node, y->rank, axis);
    case SPADE_NODE_CONVERT_LAYOUT: return axis;
    case SPADE_NODE_RESHAPE: return find_axis(y, runs_of(x, axis), x->dims[axis]);
    default: return -1;
    }
}

/* ---- maps along the axis of tokens */

static spade_sparse_rows rows_of(const spade_node *node)
{
    return spade_axis_map_rows(&node->axis_map.map, node->axis_map.map.data, false);
}

/* Is row `row` the token `index`, as it is? */
static bool takes(const spade_sparse_rows *rows, int64_t row, int64_t index)
{
    const int32_t entry = rows->offsets[row];
    return rows->offsets[row + 1] == entry + 1 && rows->indices[entry] == index &&
           (!rows->weights || rows->weights[entry] == 1.0f);
}

/* Tokens of which some are taken, moved or repeated: the pixels are known as long as all stand together. */
static spade_spatial map_tokens(const spade_node *node, spade_spatial where)
{
    const spade_sparse_rows rows = rows_of(node);
    const int64_t pixels = where.height * where.width, count = node->axis_map.map.rows;
    int64_t first = 0;
    while (first < count && !takes(&rows, first, where.first)) { first++; }
    for (int64_t i = 0; i < pixels; i++) {
        if (first + i >= count || !takes(&rows, first + i, where.first + i)) { return unknown; }
    }
    where.first = first;
    where.length = count;
    return where;
}

/* Rows or columns that are cut, padded or resized stay in their order; rolled or mirrored ones do not. */
static bool keeps_order(const spade_node *node)
{
    const spade_sparse_rows rows = rows_of(node);
    int32_t before = 0;
    for (int64_t row = 0; row < node->axis_map.map.rows; row++) {
        if (rows.offsets[row] == rows.offsets[row + 1]) { continue; }
        if (rows.indices[rows.offsets[row]] < before) { return false; }
        before = rows.indices[rows.offsets[row]];
    }
    return true;
}

static bool is_pixel_axis(const spade_spatial *where, int axis)
{
    return axis == where->axis || (!where->tokens && axis == where->axis + 1);
}

/* ---- where the pixels of a node's output are */

/* With the output's height and width; rows and columns have to be there. */
static spade_spatial measured(const spade_shape *y, int axis)
{
    if (axis < 0 || axis + 1 >= y->rank) { return unknown; }
    return (spade_spatial){.axis = axis, .height = y->dims[axis], .width = y->dims[axis + 1]};
}

/* Convolutions and poolings: pictures, each of them whole. */
static spade_spatial of_picture(const spade_value *y, const spade_spatial *x)
{
    const spade_shape *shape = &y->shape;
    const bool is_picture = shape->rank == 4 && shape->dims[0] == 1 &&
                            ((x->axis == 2 && !x->tokens) || (shape->dims[2] > 1 && shape->dims[3] > 1));
    return is_picture ? measured(shape, 2) : unknown;
}

/* Rows and columns that the reshape keeps, merges into tokens, or has merged with channels and takes apart again. */
static spade_spatial of_reshape(const spade_shape *x, const spade_shape *y, spade_spatial where)
{
    const int64_t runs = where.axis < 0 ? where.runs : runs_of(x, where.axis), pixels = where.height * where.width;
    if (where.tokens) {
        const int axis = find_axis(y, runs, where.length);
        if (axis >= 0) {
            where.axis = axis;
            return where;
        }
        if (where.length != pixels) { return unknown; }
    }
    const int rows = find_axes(y, runs, where.height, where.width), axis = find_axis(y, runs, pixels);
    if (rows >= 0) { return measured(y, rows); }
    return (spade_spatial){.axis = axis,
                           .tokens = axis >= 0,
                           .length = axis >= 0 ? pixels : 0,
                           .height = where.height,
                           .width = where.width,
                           .runs = axis >= 0 ? 0 : runs};
}

/* Numbers stay where they are in memory. */
static bool keeps_places(const spade_node *node, const spade_shape *x, const spade_shape *y)
{
    const bool each = spade_node_is_pointwise(node) || node->kind == SPADE_NODE_LAYER_NORM;
    return each && x->layout == y->layout && spade_same_dims(x, y);
}

static spade_spatial of_permutation(const spade_node *node, const spade_shape *y, spade_spatial where)
{
    const int axis = permuted_axis(node, y->rank, where.axis);
    if (!where.tokens && permuted_axis(node, y->rank, where.axis + 1) != axis + 1) { return unknown; }
    where.axis = axis;
    return where;
}

static spade_spatial of_axis_map(const spade_node *node, const spade_shape *y, spade_spatial where)
{
    if (!is_pixel_axis(&where, node->axis_map.axis)) { return where; }
    if (where.tokens) { return map_tokens(node, where); }
    return keeps_order(node) ? measured(y, where.axis) : unknown;
}

/* input: the first one whose pixels are known. */
static spade_spatial of_concat(const spade_network *network, const spade_node *node, int input, spade_spatial where)
{
    const int axis = node->concat.axis;
    if (!is_pixel_axis(&where, axis)) { return where; }
    if (!where.tokens) { return unknown; }
    for (int k = 0; k < input; k++) { where.first += network->values[node->inputs[k]].shape.dims[axis]; }
    where.length = network->values[node->outputs[0]].shape.dims[axis];
    return where;
}

/* Does the output have the pixels' axes as they are? */
static bool has_axes(const spade_shape *x, const spade_shape *y, const spade_spatial *where)
{
    if (x->rank != y->rank || x->dims[where->axis] != y->dims[where->axis]) { return false; }
    return where->tokens || x->dims[where->axis + 1] == y->dims[where->axis + 1];
}

static spade_spatial of_input(const spade_network *network, const spade_node *node, int input, spade_spatial where)
{
    const spade_shape *x = &network->values[node->inputs[input]].shape;
    const spade_value *y = &network->values[node->outputs[0]];
    if (where.axis < 0) {
        if (node->kind == SPADE_NODE_RESHAPE) { return of_reshape(x, &y->shape, where); }
        return keeps_places(node, x, &y->shape) ? where : unknown;
    }
    switch (node->kind) {
    case SPADE_NODE_CONVOLUTION:
    case SPADE_NODE_MAX_POOL:
    case SPADE_NODE_AVERAGE_POOL: return of_picture(y, &where);
    case SPADE_NODE_RESHAPE: return of_reshape(x, &y->shape, where);
    case SPADE_NODE_PERMUTE: return of_permutation(node, &y->shape, where);
    case SPADE_NODE_AXIS_MAP: return of_axis_map(node, &y->shape, where);
    case SPADE_NODE_CONCAT: return of_concat(network, node, input, where);
    case SPADE_NODE_MATMUL: return unknown;
    case SPADE_NODE_LINEAR:
        if (is_pixel_axis(&where, x->rank - 1)) { return unknown; }
        break;
    default: break;
    }
    return has_axes(x, &y->shape, &where) ? where : unknown;
}

static spade_spatial of_node(const spade_network *network, const spade_node *node, const spade_spatial *where)
{
    for (int k = 0; k < node->input_count; k++) {
        const spade_spatial *input = &where[node->inputs[k]];
        if (input->axis < 0 && !input->runs) { continue; }
        const spade_spatial found = of_input(network, node, k, *input);
        if (found.axis >= 0 || found.runs) { return found; }
    }
    const bool makes_pictures = node->kind == SPADE_NODE_CONVOLUTION;
    return makes_pictures ? of_picture(&network->values[node->outputs[0]], &unknown) : unknown;
}

/* ---- what the output reads */

/* Number of a token among the extra ones. */
static uint64_t extra_bit(const spade_spatial *where, int64_t token)
{
    const int64_t number = token < where->first ? token : token - where->height * where->width;
    return UINT64_C(1) << (number < 63 ? number : 63);
}

static bool is_pixel(const spade_spatial *where, int64_t token)
{
    return token >= where->first && token < where->first + where->height * where->width;
}

static bool is_read(const spade_spatial *where, const spade_reads *reads, int64_t token)
{
    if (where->axis < 0) { return reads->pixels; }
    return is_pixel(where, token) ? reads->pixels : (reads->extra & extra_bit(where, token)) != 0;
}

static void mark(const spade_spatial *where, spade_reads *reads, int64_t token)
{
    if (is_pixel(where, token)) {
        reads->pixels = true;
    } else {
        reads->extra |= extra_bit(where, token);
    }
}

/* Does the node mix what stands along this axis? */
static bool mixes(const spade_node *node, int axis)
{
    if (node->kind == SPADE_NODE_SOFTMAX) { return node->softmax.axis == axis; }
    return node->kind == SPADE_NODE_LAYER_NORM && node->layer_norm.axis <= axis;
}

/* The tokens of input k (x) that are read where those of the output (y) are. */
static void mark_tokens(const spade_network *network, const spade_node *node, int k, const spade_spatial *y,
                        const spade_reads *of_y, const spade_spatial *x, spade_reads *of_x)
{
    if (node->kind == SPADE_NODE_AXIS_MAP && node->axis_map.axis == x->axis) {
        const spade_sparse_rows rows = rows_of(node);
        for (int64_t row = 0; row < node->axis_map.map.rows; row++) {
            if (!is_read(y, of_y, row)) { continue; }
            for (int32_t e = rows.offsets[row]; e < rows.offsets[row + 1]; e++) { mark(x, of_x, rows.indices[e]); }
        }
        return;
    }
    int64_t start = 0;
    if (y->axis < 0 || mixes(node, x->axis)) {
        *of_x = everything;
        return;
    }
    for (int i = 0; node->kind == SPADE_NODE_CONCAT && node->concat.axis == x->axis && i < k; i++) {
        start += network->values[node->inputs[i]].shape.dims[x->axis];
    }
    for (int64_t token = 0; token < x->length; token++) {
        if (y->tokens ? is_read(y, of_y, start + token) : of_y->pixels) { mark(x, of_x, token); }
    }
}

static void read_node(const spade_network *network, const spade_node *node, const spade_spatial_map *map)
{
    const spade_spatial *y = &map->where[node->outputs[0]];
    const spade_reads *of_y = &map->reads[node->outputs[0]];
    if (!of_y->pixels && !of_y->extra) { return; }
    for (int k = 0; k < node->input_count; k++) {
        const spade_spatial *x = &map->where[node->inputs[k]];
        spade_reads *of_x = &map->reads[node->inputs[k]];
        if (x->axis < 0) {
            *of_x = everything;
        } else if (x->tokens) {
            mark_tokens(network, node, k, y, of_y, x, of_x);
        } else {
            of_x->pixels = of_x->pixels || y->axis < 0 || of_y->pixels;
        }
    }
}

/* ---- all nodes */

spade_status spade_spatial_find(spade_context *context, const spade_network *network, spade_spatial_map *out)
{
    out->where = malloc(((size_t)network->value_count + 1) * sizeof *out->where);
    out->reads = calloc((size_t)network->value_count + 1, sizeof *out->reads);
    if (!out->where || !out->reads) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int v = 0; v < network->value_count; v++) { out->where[v] = unknown; }
    out->where[network->input] = measured(&network->values[network->input].shape, 2);
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        out->where[node->outputs[0]] = of_node(network, node, out->where);
    }
    out->reads[network->output] = everything;
    for (int n = network->node_count - 1; n >= 0; n--) { read_node(network, &network->nodes[n], out); }
    return SPADE_OK;
}

void spade_spatial_clear(spade_spatial_map *map)
{
    free(map->where);
    free(map->reads);
    *map = (spade_spatial_map){0};
}
