/* convolution.c - Conv. */
#include "import/build.h"
#include "import/operators/operators.h"

static spade_status check_conv_weight(spade_import *import, const onnx_node *node, const spade_shape *x,
                                      const onnx_tensor *w, int64_t groups)
{
    if (x->rank != 4 || w->rank != 4) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "only convolutions over two dimensions are supported, this one has %d",
                                 x->rank != 4 ? x->rank - 2 : w->rank - 2);
    }
    SPADE_TRY(spade_require_float(import, node, w));
    for (int i = 0; i < 4; i++) {
        if (w->dims[i] < 1) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its weight \"%.100s\" is empty", w->name);
        }
    }
    if (w->dims[2] > SPADE_MAX_WINDOW || w->dims[3] > SPADE_MAX_WINDOW) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its kernel is beyond the limit of %lld",
                                 (long long)SPADE_MAX_WINDOW);
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

static spade_status check_kernel_shape(spade_import *import, const onnx_node *node, const onnx_tensor *w)
{
    const int64_t *kernel;
    int n;
    SPADE_TRY(spade_import_attribute(import, onnx_get_ints(import->context, node, "kernel_shape", &kernel, &n)));
    if (n && (n != 2 || kernel[0] != w->dims[2] || kernel[1] != w->dims[3])) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "kernel_shape differs from its weight's [%lld, %lld]",
                                 (long long)w->dims[2], (long long)w->dims[3]);
    }
    return SPADE_OK;
}

static spade_status lower_conv(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const onnx_tensor *w = NULL;
    spade_node result = {.kind = SPADE_NODE_CONVOLUTION, .layer = -1};
    spade_window *window = &result.convolution.window;
    int64_t out[2];
    int input;
    bool ceil_extra;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_constant_get(import, node, 1, &w));
    SPADE_TRY(
        spade_import_attribute(import, onnx_get_int(import->context, node, "group", 1, &result.convolution.groups)));
    SPADE_TRY(spade_check_batch_first(import, node, input));
    spade_shape x = import->network->values[input].shape;
    SPADE_TRY(check_conv_weight(import, node, &x, w, result.convolution.groups));
    SPADE_TRY(check_kernel_shape(import, node, w));
    window->kernel[0] = w->dims[2];
    window->kernel[1] = w->dims[3];
    SPADE_TRY(spade_window_read(import, node, &x, window, out, &ceil_extra));

    spade_layer layer = {.convolution = true,
                         .weight = {w->dims[0], w->dims[1], w->dims[2], w->dims[3]},
                         .groups = result.convolution.groups,
                         .rows = w->dims[0],
                         .columns = w->dims[1] * w->dims[2] * w->dims[3]};
    SPADE_TRY(spade_import_layer(import, onnx_node_index, w, layer, &result.layer));
    if (spade_has_input(node, 2)) {
        SPADE_TRY(spade_copy_vector(import, node, 2, layer.rows, &result.parameters[SPADE_SHIFT]));
    }
    spade_shape y = {4, {x.dims[0], layer.rows, out[0], out[1]}, SPADE_ROW_MAJOR};
    return spade_emit(import, node, &result, &input, 1, &y);
}

const spade_onnx_operator spade_convolution_operators[] = {{"Conv", lower_conv}, {0}};
