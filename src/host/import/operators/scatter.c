/*
 * scatter.c - Col2Im and ConvTranspose: windows laid over an image, and added where they lie on one another. Which element goes to
 * which pixel is a sparse map along the axis of all windows' elements.
 */
#include "import/build.h"
#include "import/operators/operators.h"

/* Elements of all windows of a channel, at most. */
#define MAX_WINDOW_ELEMENTS (INT64_C(1) << 26)

/* Along height and width: as many windows of these sides as `windows` says, over an image of `image`. */
typedef struct placement {
    int64_t windows[2], image[2], kernel[2], stride[2], dilation[2], pad[2];
} placement;

/* For each pixel, from row 0 on: the elements that are added there. */
static spade_status make_map(spade_import *import, const onnx_node *node, const placement *p, spade_axis_map *out)
{
    const int64_t pixels = p->image[0] * p->image[1], places = p->windows[0] * p->windows[1];
    const int64_t elements = p->kernel[0] * p->kernel[1] * places;
    int64_t *pixel_of = malloc(((size_t)elements + 1) * sizeof *pixel_of);
    int64_t *offsets = calloc((size_t)pixels + 2, sizeof *offsets);
    int64_t *indices = calloc((size_t)elements + 1, sizeof *indices);
    spade_status status = SPADE_OK;
    if (!pixel_of || !offsets || !indices) {
        status = spade_import_memory(import);
        goto done;
    }
    for (int64_t e = 0; e < elements; e++) {
        const int64_t tap = e / places, place = e % places;
        const int64_t y = place / p->windows[1] * p->stride[0] - p->pad[0] + tap / p->kernel[1] * p->dilation[0];
        const int64_t x = place % p->windows[1] * p->stride[1] - p->pad[1] + tap % p->kernel[1] * p->dilation[1];
        const bool inside = y >= 0 && y < p->image[0] && x >= 0 && x < p->image[1];
        pixel_of[e] = inside ? y * p->image[1] + x : -1;
        if (inside) { offsets[pixel_of[e] + 2]++; }
    }
    for (int64_t i = 2; i <= pixels + 1; i++) { offsets[i] += offsets[i - 1]; }
    for (int64_t e = 0; e < elements; e++) { /* offset i + 1 counts up from the beginning of row i to its end */
        if (pixel_of[e] >= 0) { indices[offsets[pixel_of[e] + 1]++] = e; }
    }
    status = spade_axis_map_create(import->context, pixels, elements, offsets, indices, NULL, NULL, out);
    if (status != SPADE_OK) { status = spade_import_fail(import, node, status, "its windows do not fit its image"); }
done:
    free(pixel_of);
    free(offsets);
    free(indices);
    return status;
}

/* [batch, channels * window, windows] -> [batch, channels, height, width] */
static spade_status build_scatter(spade_import *import, const onnx_node *node, const placement *p, int *value)
{
    const spade_extent x = spade_value_extent(import, *value);
    const int64_t taps = p->kernel[0] * p->kernel[1];
    spade_extent y = {.rank = 3,
                      .dims = {x.dims[0], x.dims[1] / taps, taps * x.dims[2]},
                      .batch_axis = x.batch_axis,
                      .batch_outer = x.batch_outer};
    spade_axis_map map;
    SPADE_TRY(spade_build_reshape(import, node, *value, &y, value));
    SPADE_TRY(make_map(import, node, p, &map));
    SPADE_TRY(spade_build_axis_map(import, node, *value, 2, &map, value));
    y.rank = 4;
    y.dims[2] = p->image[0];
    y.dims[3] = p->image[1];
    return spade_build_reshape(import, node, *value, &y, value);
}

/* One or two numbers, of width or of height and width; `given` says how many axes there are. */
static spade_status read_pair(spade_import *import, const onnx_node *node, int input, const char *name, int axes,
                              int64_t low, int64_t standard, int64_t out[2])
{
    int64_t numbers[2] = {0};
    int count;
    SPADE_TRY(spade_integers_get(import, node, input, name, 2, numbers, &count));
    if (count > 0 && count != axes) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%s has %d numbers instead of %d", name, count, axes);
    }
    for (int i = 0; i < 2; i++) {
        const int own = i - (2 - axes);
        out[i] = own < 0 || count < 1 ? standard : numbers[own];
        if (out[i] < low || out[i] > SPADE_MAX_WINDOW) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%s holds %lld, the limits are %lld and %lld",
                                     name, (long long)out[i], (long long)low, (long long)SPADE_MAX_WINDOW);
        }
    }
    return SPADE_OK;
}

/* before[2], after[2] */
static spade_status read_pads(spade_import *import, const onnx_node *node, int axes, int64_t before[2],
                              int64_t after[2])
{
    int64_t pads[4] = {0};
    int count;
    SPADE_TRY(spade_integers_get(import, node, -1, "pads", 4, pads, &count));
    if (count > 0 && count != 2 * axes) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "pads has %d numbers instead of %d", count, 2 * axes);
    }
    for (int i = 0; i < 2; i++) {
        const int own = i - (2 - axes);
        before[i] = own < 0 ? 0 : pads[own];
        after[i] = own < 0 ? 0 : pads[own + axes];
        if (before[i] < 0 || after[i] < 0 || before[i] > SPADE_MAX_WINDOW || after[i] > SPADE_MAX_WINDOW) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its pads are %lld and %lld",
                                     (long long)before[i], (long long)after[i]);
        }
    }
    return SPADE_OK;
}

static spade_status check_placement(spade_import *import, const onnx_node *node, const placement *p)
{
    const int64_t sides[4] = {p->windows[0], p->windows[1], p->kernel[0], p->kernel[1]};
    int64_t elements;
    if (!spade_mul_dims(sides, 4, &elements) || elements > MAX_WINDOW_ELEMENTS ||
        !spade_mul_dims(p->image, 2, &elements) || elements > MAX_WINDOW_ELEMENTS) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its windows hold more than %lld elements",
                                 (long long)MAX_WINDOW_ELEMENTS);
    }
    return SPADE_OK;
}

static spade_status lower_col2im(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    placement p;
    int64_t after[2];
    int value;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(spade_check_batch_first(import, node, value));
    SPADE_TRY(read_pair(import, node, 1, "image_shape", 2, 1, 0, p.image));
    SPADE_TRY(read_pair(import, node, 2, "block_shape", 2, 1, 0, p.kernel));
    SPADE_TRY(read_pair(import, node, -1, "strides", 2, 1, 1, p.stride));
    SPADE_TRY(read_pair(import, node, -1, "dilations", 2, 1, 1, p.dilation));
    SPADE_TRY(read_pads(import, node, 2, p.pad, after));
    for (int i = 0; i < 2; i++) {
        const int64_t room = p.image[i] + p.pad[i] + after[i] - (p.kernel[i] - 1) * p.dilation[i] - 1;
        if (room < 0) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its window is too large"); }
        p.windows[i] = room / p.stride[i] + 1;
    }
    SPADE_TRY(check_placement(import, node, &p));
    const spade_extent x = spade_value_extent(import, value);
    if (x.rank != 3 || x.dims[1] % (p.kernel[0] * p.kernel[1]) || x.dims[2] != p.windows[0] * p.windows[1]) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its input does not hold %lld windows of %lld",
                                 (long long)(p.windows[0] * p.windows[1]), (long long)(p.kernel[0] * p.kernel[1]));
    }
    SPADE_TRY(build_scatter(import, node, &p, &value));
    return spade_bind_output(import, node, 0, value);
}

/* ---- ConvTranspose */

/* Size and padding of the result: of an axis of so many pixels. */
static spade_status place_axis(spade_import *import, const onnx_node *node, placement *p, int i, int64_t extra,
                               int64_t after, const char *mode, int64_t wanted)
{
    const int64_t full = p->stride[i] * (p->windows[i] - 1) + extra + (p->kernel[i] - 1) * p->dilation[i] + 1;
    const bool same = strncmp(mode, "SAME", 4) == 0;
    if (strcmp(mode, "VALID") == 0) { p->pad[i] = after = 0; }
    p->image[i] = full - p->pad[i] - after;
    if (wanted > 0 || same) {
        p->image[i] = wanted > 0 ? wanted : p->windows[i] * p->stride[i];
        const int64_t total = full > p->image[i] ? full - p->image[i] : 0;
        p->pad[i] = strcmp(mode, "SAME_UPPER") == 0 ? total / 2 : total - total / 2;
    }
    return p->image[i] > 0 ? SPADE_OK : spade_import_fail(import, node, SPADE_ERROR_INPUT, "its result would be empty");
}

/* x: [batch, channels, height, width] */
static spade_status read_placement(spade_import *import, const onnx_node *node, int axes, const spade_extent *x,
                                   const onnx_tensor *w, placement *p)
{
    int64_t extra[2], after[2], kernel[2], wanted[2];
    const char *mode;
    SPADE_TRY(read_pair(import, node, -1, "strides", axes, 1, 1, p->stride));
    SPADE_TRY(read_pair(import, node, -1, "dilations", axes, 1, 1, p->dilation));
    SPADE_TRY(read_pair(import, node, -1, "output_padding", axes, 0, 0, extra));
    SPADE_TRY(read_pair(import, node, -1, "output_shape", axes, 0, 0, wanted));
    SPADE_TRY(read_pair(import, node, -1, "kernel_shape", axes, 0, 0, kernel));
    SPADE_TRY(read_pads(import, node, axes, p->pad, after));
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(import->context, node, "auto_pad", "NOTSET", &mode)));
    for (int i = 0; i < 2; i++) {
        const int own = i - (2 - axes);
        p->kernel[i] = own < 0 ? 1 : w->dims[2 + own];
        p->windows[i] = x->dims[2 + i];
        if (p->kernel[i] < 1 || p->kernel[i] > SPADE_MAX_WINDOW ||
            (own >= 0 && kernel[i] && kernel[i] != w->dims[2 + own])) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "kernel_shape differs from its weight's sides");
        }
        SPADE_TRY(place_axis(import, node, p, i, own < 0 ? 0 : extra[i], after[i], own < 0 ? "NOTSET" : mode,
                             own < 0 ? 0 : wanted[i]));
    }
    return check_placement(import, node, p);
}

/* [batch, pixels, in] -> [batch, pixels, out * window], a layer whose matrix the file holds as [in, out * window]. */
static spade_status multiply_layer(spade_import *import, int onnx_node_index, const onnx_tensor *w, int *value)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_LINEAR, .layer = -1};
    spade_extent y = spade_value_extent(import, *value);
    const int64_t rows = w->count / w->dims[0];
    const spade_layer layer = {
        .weight = {rows, w->dims[0], 1, 1}, .groups = 1, .rows = rows, .columns = w->dims[0], .transposed = true};
    SPADE_TRY(spade_import_layer(import, onnx_node_index, w, layer, &result.layer));
    y.dims[2] = rows;
    return spade_make(import, node, &result, (int[]){*value}, 1, &y, value);
}

/* The same in groups, as products of two values: no layer has a matrix for each part of its input. */
static spade_status multiply_groups(spade_import *import, const onnx_node *node, const onnx_tensor *w, int64_t groups,
                                    int *value)
{
    const spade_extent x = spade_value_extent(import, *value);
    const int order[4] = {0, 2, 1, 3};
    const int64_t in = w->dims[0] / groups, out = w->count / w->dims[0];
    const spade_shape shape = {.rank = 4, .dims = {1, groups, in, out}};
    const spade_extent apart = {.rank = 4,
                                .dims = {x.dims[0], x.dims[1], groups, in},
                                .batch_axis = x.batch_axis,
                                .batch_outer = x.batch_outer};
    const spade_extent joined = {.rank = 3,
                                 .dims = {x.dims[0], x.dims[1], groups * out},
                                 .batch_axis = x.batch_axis,
                                 .batch_outer = x.batch_outer};
    int matrix;
    SPADE_TRY(spade_require_finite(import, node, w));
    SPADE_TRY(spade_make_constant(import, node, w->name, &shape, w->bytes, &matrix));
    SPADE_TRY(spade_build_reshape(import, node, *value, &apart, value));
    SPADE_TRY(spade_build_permute(import, node, *value, order, value));
    SPADE_TRY(spade_build_matmul(import, node, *value, matrix, value));
    SPADE_TRY(spade_build_permute(import, node, *value, order, value));
    return spade_build_reshape(import, node, *value, &joined, value);
}

static spade_status add_bias(spade_import *import, const onnx_node *node, int *value)
{
    const onnx_tensor *bias = NULL;
    const spade_shape shape = {.rank = 4, .dims = {1, import->network->values[*value].shape.dims[1], 1, 1}};
    int summand;
    if (!spade_has_input(node, 2)) { return SPADE_OK; }
    SPADE_TRY(spade_constant_get(import, node, 2, &bias));
    SPADE_TRY(spade_require_float(import, node, bias));
    SPADE_TRY(spade_require_finite(import, node, bias));
    if (bias->count != shape.dims[1]) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "\"%.100s\" has %lld elements instead of %lld",
                                 bias->name, (long long)bias->count, (long long)shape.dims[1]);
    }
    SPADE_TRY(spade_make_constant(import, node, bias->name, &shape, bias->bytes, &summand));
    return spade_build_binary(import, node, SPADE_NODE_ADD, *value, summand, value);
}

static spade_status lower_conv_transpose(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const onnx_tensor *w = NULL;
    const int pixels_first[3] = {0, 2, 1};
    placement p;
    int64_t groups;
    int value;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(spade_constant_get(import, node, 1, &w));
    SPADE_TRY(spade_require_float(import, node, w));
    SPADE_TRY(spade_check_batch_first(import, node, value));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "group", 1, &groups)));
    spade_extent x = spade_value_extent(import, value);
    const int axes = x.rank - 2;
    if ((axes != 1 && axes != 2) || w->rank != x.rank) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "only images of one and two dimensions are supported, its input has %d axes", x.rank);
    }
    if (groups < 1 || w->count < 1 || w->dims[0] != x.dims[1] || w->dims[0] % groups) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                 "its weight takes %lld channels in %lld groups, its input has %lld channels",
                                 (long long)w->dims[0], (long long)groups, (long long)x.dims[1]);
    }
    if (axes == 1) { /* a row of pixels */
        x.dims[3] = x.dims[2];
        x.dims[2] = 1;
    }
    SPADE_TRY(read_placement(import, node, axes, &x, w, &p));
    x.rank = 3;
    x.dims[2] = p.windows[0] * p.windows[1];
    SPADE_TRY(spade_build_reshape(import, node, value, &x, &value));
    SPADE_TRY(spade_build_permute(import, node, value, pixels_first, &value));
    if (groups == 1) {
        SPADE_TRY(multiply_layer(import, onnx_node_index, w, &value));
    } else {
        SPADE_TRY(multiply_groups(import, node, w, groups, &value));
    }
    SPADE_TRY(spade_build_permute(import, node, value, pixels_first, &value));
    SPADE_TRY(build_scatter(import, node, &p, &value));
    SPADE_TRY(add_bias(import, node, &value));
    if (axes == 1) { SPADE_TRY(spade_build_drop_axis(import, node, value, 2, &value)); }
    return spade_bind_output(import, node, 0, value);
}

const spade_onnx_operator spade_scatter_operators[] = {
    {"Col2Im", lower_col2im}, {"ConvTranspose", lower_conv_transpose}, {0}};
