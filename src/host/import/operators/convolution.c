/* convolution.c - Conv. */
#include "import/build.h"
#include "import/operators/operators.h"

static spade_status check_conv_weight(spade_import *import, const onnx_node *node, const spade_shape *x,
                                      const onnx_tensor *w, int64_t groups)
{
    if (x->rank < 3 || w->rank != x->rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its input has %d dimensions and its weight %d",
                                 x->rank, w->rank);
    }
    SPADE_TRY(spade_require_float(import, node, w));
    for (int i = 0; i < w->rank; i++) {
        if (w->dims[i] < 1) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its weight \"%.100s\" is empty", w->name);
        }
        if (i >= 2 && w->dims[i] > SPADE_MAX_WINDOW) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its kernel is beyond the limit of %lld",
                                     (long long)SPADE_MAX_WINDOW);
        }
    }
    if (groups < 1 || groups > w->dims[0] || w->dims[0] % groups) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%lld groups do not divide %lld outputs",
                                 (long long)groups, (long long)w->dims[0]);
    }
    int64_t channels;
    if (__builtin_mul_overflow(w->dims[1], groups, &channels) || channels != x->dims[1]) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                 "its weight takes %lld channels in %lld groups, its input has %lld channels",
                                 (long long)w->dims[1], (long long)groups, (long long)x->dims[1]);
    }
    return SPADE_OK;
}

/* The kernel's sides, which kernel_shape only repeats. */
static spade_status read_kernel(spade_import *import, const onnx_node *node, const onnx_tensor *w, spade_image *out)
{
    const int64_t *kernel;
    int n;
    *out = (spade_image){.count = w->rank - 2};
    memcpy(out->kernel, w->dims + 2, (size_t)out->count * sizeof *out->kernel);
    SPADE_TRY(spade_import_attribute(import, onnx_get_ints(import->context, node, "kernel_shape", &kernel, &n)));
    bool same = n == 0 || n == out->count;
    for (int i = 0; same && i < n; i++) { same = kernel[i] == out->kernel[i]; }
    return same ? SPADE_OK
                : spade_import_fail(import, node, SPADE_ERROR_INPUT, "kernel_shape differs from its weight's sides");
}

static spade_status lower_conv(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const onnx_tensor *w = NULL;
    spade_node result = {.kind = SPADE_NODE_CONVOLUTION, .layer = -1};
    spade_window *window = &result.convolution.window;
    spade_image image;
    int64_t out[2];
    int value;
    bool ceil_extra;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(spade_constant_get(import, node, 1, &w));
    SPADE_TRY(
        spade_import_attribute(import, onnx_get_int(import->context, node, "group", 1, &result.convolution.groups)));
    SPADE_TRY(check_conv_weight(import, node, &import->network->values[value].shape, w, result.convolution.groups));
    SPADE_TRY(read_kernel(import, node, w, &image));
    SPADE_TRY(spade_image_enter(import, node, &image, &value));
    spade_extent x = spade_value_extent(import, value);
    SPADE_TRY(spade_window_read(import, node, &image, &import->network->values[value].shape, window, out, &ceil_extra));

    spade_layer layer = {.convolution = true,
                         .weight = {w->dims[0], w->dims[1], window->kernel[0], window->kernel[1]},
                         .groups = result.convolution.groups,
                         .rows = w->dims[0],
                         .columns = w->dims[1] * window->kernel[0] * window->kernel[1]};
    SPADE_TRY(spade_import_layer(import, onnx_node_index, w, layer, &result.layer));
    if (spade_has_input(node, 2)) {
        SPADE_TRY(spade_copy_vector(import, node, 2, layer.rows, &result.parameters[SPADE_SHIFT]));
    }
    x.dims[1] = layer.rows;
    x.dims[2] = out[0];
    x.dims[3] = out[1];
    SPADE_TRY(spade_make(import, node, &result, &value, 1, &x, &value));
    SPADE_TRY(spade_image_leave(import, node, &image, &value));
    return spade_bind_output(import, node, 0, value);
}

const spade_onnx_operator spade_convolution_operators[] = {{"Conv", lower_conv}, {0}};
