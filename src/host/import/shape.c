/* shape.c - shapes of results; windows of convolutions and poolings with all ways of padding made explicit. */
#include "import/import.h"

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

spade_status spade_window_read(spade_import *import, const onnx_node *node, const spade_shape *x, spade_window *window,
                               int64_t out[2], bool *ceil_extra)
{
    int64_t ceil_mode = 0, pads[4];
    padding mode = PAD_EXPLICIT;
    if (window->kernel[0] == 0) {
        SPADE_TRY(read_numbers(import, node, "kernel_shape", 2, 1, SPADE_MAX_WINDOW, 0, window->kernel));
    }
    SPADE_TRY(read_numbers(import, node, "strides", 2, 1, SPADE_MAX_WINDOW, 1, window->stride));
    SPADE_TRY(read_numbers(import, node, "dilations", 2, 1, SPADE_MAX_WINDOW, 1, window->dilation));
    SPADE_TRY(read_numbers(import, node, "pads", 4, 0, SPADE_MAX_WINDOW, 0, pads));
    SPADE_TRY(read_padding(import, node, &mode));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "ceil_mode", 0, &ceil_mode)));
    *ceil_extra = false;
    for (int i = 0; i < 2; i++) {
        int64_t extent = (window->kernel[i] - 1) * window->dilation[i] + 1;
        window->pad[i] = pads[i];
        window->pad[i + 2] = pads[i + 2];
        if (!fit_axis(x->dims[2 + i], extent, window->stride[i], mode, ceil_mode != 0, &window->pad[i],
                      &window->pad[i + 2], &out[i], ceil_extra)) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                     "its window of %lld does not fit into the padded input of %lld", (long long)extent,
                                     (long long)(x->dims[2 + i] + window->pad[i] + window->pad[i + 2]));
        }
    }
    return SPADE_OK;
}
