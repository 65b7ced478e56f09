/* shape.c - shapes of results; windows of convolutions and poolings with all ways of padding made explicit. */
#include "import/build.h"

spade_status spade_check_shape(spade_import *import, const onnx_node *node, const spade_shape *shape)
{
    int64_t size;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] < 1) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "dimension %d of its result would be %lld", i,
                                     (long long)shape->dims[i]);
        }
    }
    if (!spade_mul_dims(shape->dims, shape->rank, &size) || size > SPADE_MAX_ELEMENTS) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its result is beyond the limit of 2^40 elements");
    }
    return SPADE_OK;
}

bool spade_broadcast(const spade_shape *a, const spade_shape *b, spade_shape *out)
{
    if (a->rank != b->rank) { return false; }
    *out = *a;
    for (int i = 0; i < a->rank; i++) {
        if (a->dims[i] != b->dims[i] && a->dims[i] != 1 && b->dims[i] != 1) { return false; }
        out->dims[i] = a->dims[i] > b->dims[i] ? a->dims[i] : b->dims[i];
    }
    return true;
}

/* ---- pads */

bool spade_is_pad_mode(const char *mode)
{
    return strcmp(mode, "constant") == 0 || strcmp(mode, "edge") == 0 || strcmp(mode, "reflect") == 0 ||
           strcmp(mode, "wrap") == 0;
}

/* What is left of the axis: from *first on; the pads that are none are 0 then. Its length. */
static int64_t crop_axis(int64_t n, int64_t *before, int64_t *after, int64_t *first)
{
    *first = *before < 0 ? -*before : 0;
    n += (*before < 0 ? *before : 0) + (*after < 0 ? *after : 0);
    *before = *before < 0 ? 0 : *before;
    *after = *after < 0 ? 0 : *after;
    return n;
}

bool spade_pads_fit(int64_t n, int64_t before, int64_t after, const char *mode)
{
    int64_t first, room;
    if (before < -n || after < -n || before > SPADE_MAX_WINDOW || after > SPADE_MAX_WINDOW) { return false; }
    n = crop_axis(n, &before, &after, &first);
    if (n < 0 || strcmp(mode, "constant") == 0) { return n >= 0; }
    room = strcmp(mode, "edge") == 0 ? INT64_MAX : n - (strcmp(mode, "reflect") == 0);
    return (before == 0 && after == 0) || (n > 0 && before <= room && after <= room);
}

int64_t spade_padded_index(int64_t e, int64_t n, int64_t before, int64_t after, const char *mode)
{
    int64_t first;
    n = crop_axis(n, &before, &after, &first);
    const int64_t at = e - before;
    if (at >= 0 && at < n) { return first + at; }
    if (strcmp(mode, "edge") == 0) { return first + (at < 0 ? 0 : n - 1); }
    if (strcmp(mode, "reflect") == 0) { return first + (at < 0 ? -at : 2 * (n - 1) - at); }
    if (strcmp(mode, "wrap") == 0) { return first + (at < 0 ? at + n : at - n); }
    return -1;
}

/* An attribute of `count` numbers within [low, high], or all `fallback`. */
static spade_status read_numbers(spade_import *import, const onnx_node *node, const char *name, int count, int64_t low,
                                 int64_t high, int64_t fallback, int64_t *out)
{
    const int64_t *numbers;
    int n;
    SPADE_TRY(spade_import_attribute(import, onnx_get_ints(import->context, node, name, &numbers, &n)));
    if (n && n != count) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%s has %d numbers instead of %d", name, n, count);
    }
    for (int i = 0; i < count; i++) {
        out[i] = n ? numbers[i] : fallback;
        if (out[i] < low || out[i] > high) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%s holds %lld, the limits are %lld and %lld",
                                     name, (long long)out[i], (long long)low, (long long)high);
        }
    }
    return SPADE_OK;
}

typedef enum padding { PAD_EXPLICIT, PAD_VALID, PAD_SAME_UPPER, PAD_SAME_LOWER } padding;

static spade_status read_padding(spade_import *import, const onnx_node *node, padding *out)
{
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    const char *name;
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(import->context, node, "auto_pad", "NOTSET", &name)));
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (padding)i;
            return SPADE_OK;
        }
    }
    return spade_import_fail(import, node, SPADE_ERROR_INPUT, "auto_pad is \"%.40s\"", name);
}

/* One axis: padding made explicit, size of the result. False where the window does not fit. extent: of the dilated
 * window. */
static bool fit_axis(int64_t in, int64_t extent, int64_t stride, padding mode, bool ceil_mode, int64_t *before,
                     int64_t *after, int64_t *out, bool *ceil_extra)
{
    if (mode == PAD_SAME_UPPER || mode == PAD_SAME_LOWER) {
        *out = (in + stride - 1) / stride;
        int64_t total = (*out - 1) * stride + extent - in;
        total = total > 0 ? total : 0;
        *before = mode == PAD_SAME_UPPER ? total / 2 : total - total / 2;
        *after = total - *before;
        return true;
    }
    if (mode == PAD_VALID) { *before = *after = 0; }
    int64_t room = in + *before + *after - extent;
    if (room < 0) { return false; }
    *out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    /* A last window that would begin in the padding after the image is dropped. */
    if (ceil_mode && (*out - 1) * stride >= in + *before) { (*out)--; }
    int64_t needed = (*out - 1) * stride + extent - in - *before;
    if (needed > *after) {
        *ceil_extra = true;
        *after = needed;
    }
    return true;
}

/* ---- images of one, two or more axes */

spade_status spade_image_kernel(spade_import *import, const onnx_node *node, int rank, spade_image *out)
{
    *out = (spade_image){.count = rank - 2};
    if (rank < 3) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its input is no image"); }
    if (!onnx_find_attribute(node, "kernel_shape")) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "kernel_shape is missing");
    }
    return read_numbers(import, node, "kernel_shape", out->count, 1, SPADE_MAX_WINDOW, 0, out->kernel);
}

/* The two axes that windows are over: those where they do anything, else the last ones; -1: there is but one. */
static spade_status choose_axes(spade_import *import, const onnx_node *node, spade_image *image)
{
    const int count = image->count;
    int64_t strides[SPADE_MAX_RANK], pads[2 * SPADE_MAX_RANK];
    int chosen = 0;
    SPADE_TRY(read_numbers(import, node, "strides", count, 1, SPADE_MAX_WINDOW, 1, strides));
    SPADE_TRY(read_numbers(import, node, "pads", 2 * count, 0, SPADE_MAX_WINDOW, 0, pads));
    image->axes[0] = image->axes[1] = -1;
    for (int i = 0; i < count; i++) {
        const bool moves = image->kernel[i] != 1 || strides[i] != 1 || pads[i] || pads[i + count];
        const int left = count - i; /* this one and those behind it */
        if (!moves && left > 2 - chosen) { continue; }
        if (chosen == 2) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                     "only windows over two dimensions are supported, its are over %d", count);
        }
        image->axes[chosen++] = i;
    }
    if (count == 1) { /* a column of pixels */
        image->axes[0] = -1;
        image->axes[1] = 0;
    }
    return SPADE_OK;
}

/* order: the value's axes as batch, the axes that windows do not touch, channels, the two axes of windows. */
static void order_axes(const spade_image *image, int *order)
{
    int at = 0;
    order[at++] = 0;
    for (int i = 0; i < image->count; i++) {
        if (i != image->axes[0] && i != image->axes[1]) { order[at++] = i + 2; }
    }
    order[at++] = 1;
    for (int k = 0; k < 2; k++) {
        if (image->axes[k] >= 0) { order[at++] = image->axes[k] + 2; }
    }
}

spade_status spade_image_enter(spade_import *import, const onnx_node *node, spade_image *image, int *value)
{
    int order[SPADE_MAX_RANK];
    SPADE_TRY(spade_check_batch_first(import, node, *value));
    SPADE_TRY(choose_axes(import, node, image));
    if (image->count == 2) { return SPADE_OK; }
    order_axes(image, order);
    SPADE_TRY(spade_build_permute(import, node, *value, order, value));
    const spade_extent x = spade_value_extent(import, *value);
    const int more = image->count > 2 ? image->count - 2 : 0;
    spade_extent y = {.rank = 4, .batch_axis = x.batch_axis, .batch_outer = x.batch_outer};
    y.dims[0] = x.dims[0];
    for (int i = 0; i < more; i++) { y.dims[0] *= image->others[i] = x.dims[i + 1]; }
    y.dims[1] = x.dims[more + 1];
    y.dims[2] = image->axes[0] < 0 ? 1 : x.dims[more + 2];
    y.dims[3] = x.dims[x.rank - 1];
    return spade_build_reshape(import, node, *value, &y, value);
}

spade_status spade_image_leave(spade_import *import, const onnx_node *node, const spade_image *image, int *value)
{
    int order[SPADE_MAX_RANK], back[SPADE_MAX_RANK];
    if (image->count == 2) { return SPADE_OK; }
    const spade_extent x = spade_value_extent(import, *value);
    const int more = image->count > 2 ? image->count - 2 : 0;
    spade_extent y = {.rank = image->count + 2, .batch_axis = x.batch_axis, .batch_outer = x.batch_outer};
    y.dims[0] = x.dims[0];
    for (int i = 0; i < more; i++) {
        y.dims[i + 1] = image->others[i];
        y.dims[0] /= image->others[i];
    }
    y.dims[more + 1] = x.dims[1];
    for (int k = 0; k < 2; k++) {
        if (image->axes[k] >= 0) { y.dims[y.rank - 2 + k] = x.dims[2 + k]; }
    }
    SPADE_TRY(spade_build_reshape(import, node, *value, &y, value));
    order_axes(image, order);
    for (int i = 0; i < y.rank; i++) { back[order[i]] = i; }
    return spade_build_permute(import, node, *value, back, value);
}

spade_status spade_window_read(spade_import *import, const onnx_node *node, const spade_image *image,
                               const spade_shape *x, spade_window *window, int64_t out[2], bool *ceil_extra)
{
    const int count = image->count;
    int64_t ceil_mode = 0, strides[SPADE_MAX_RANK], dilations[SPADE_MAX_RANK], pads[2 * SPADE_MAX_RANK];
    padding mode = PAD_EXPLICIT;
    SPADE_TRY(read_numbers(import, node, "strides", count, 1, SPADE_MAX_WINDOW, 1, strides));
    SPADE_TRY(read_numbers(import, node, "dilations", count, 1, SPADE_MAX_WINDOW, 1, dilations));
    SPADE_TRY(read_numbers(import, node, "pads", 2 * count, 0, SPADE_MAX_WINDOW, 0, pads));
    SPADE_TRY(read_padding(import, node, &mode));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "ceil_mode", 0, &ceil_mode)));
    *ceil_extra = false;
    for (int i = 0; i < 2; i++) {
        const int axis = image->axes[i];
        window->kernel[i] = axis < 0 ? 1 : image->kernel[axis];
        window->stride[i] = axis < 0 ? 1 : strides[axis];
        window->dilation[i] = axis < 0 ? 1 : dilations[axis];
        window->pad[i] = axis < 0 ? 0 : pads[axis];
        window->pad[i + 2] = axis < 0 ? 0 : pads[axis + count];
        int64_t extent = (window->kernel[i] - 1) * window->dilation[i] + 1;
        if (!fit_axis(x->dims[2 + i], extent, window->stride[i], mode, ceil_mode != 0, &window->pad[i],
                      &window->pad[i + 2], &out[i], ceil_extra)) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                     "its window of %lld does not fit into the padded input of %lld", (long long)extent,
                                     (long long)(x->dims[2 + i] + window->pad[i] + window->pad[i + 2]));
        }
    }
    return SPADE_OK;
}
