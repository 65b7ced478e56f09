/* layers.c - Conv, Gemm, MatMul, BatchNormalization. */
#include <math.h>

#include "import/import.h"

/* Rows and columns of a weight matrix and the weight itself, moved into the graph as a layer. */
static spade_status add_layer(spade_import *import, int onnx_node_index, const onnx_tensor *tensor, spade_layer layer,
                              int *out)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    SPADE_TRY(spade_copy_floats(import, node, tensor, &layer.weights));
    size_t bytes = (size_t)tensor->count * sizeof(float);
    if (layer.transposed) { /* [columns, rows] in the file */
        const char *file = tensor->bytes;
        for (int64_t r = 0; r < layer.rows; r++) {
            for (int64_t c = 0; c < layer.columns; c++) {
                memcpy(&layer.weights[r * layer.columns + c], file + (c * layer.rows + r) * (int64_t)sizeof(float),
                       sizeof(float));
            }
        }
    }
    layer.onnx_node = onnx_node_index;
    layer.onnx_input = 1;
    layer.name = spade_layer_name(import->network, node, tensor->name ? tensor->name : "", layer.rows, layer.columns);
    *out = layer.name ? spade_network_add_layer(import->network, &layer) : -1;
    if (*out < 0) {
        spade_free_bytes(import->context, layer.weights, bytes);
        free(layer.name);
        return spade_import_memory(import);
    }
    return SPADE_OK;
}

/* ---- convolution */

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

spade_status spade_import_conv(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const onnx_tensor *w = NULL;
    spade_node result = {.kind = SPADE_NODE_CONVOLUTION, .input_count = 1, .layer = -1};
    int64_t out[2];
    bool ceil_extra;
    SPADE_TRY(spade_activation_get(import, node, 0, &result.inputs[0]));
    SPADE_TRY(spade_constant_get(import, node, 1, &w));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "group", 1, &result.groups)));
    spade_shape x = import->network->values[result.inputs[0]].shape;
    SPADE_TRY(check_conv_weight(import, node, &x, w, result.groups));
    SPADE_TRY(check_kernel_shape(import, node, w));
    result.window.kernel[0] = w->dims[2];
    result.window.kernel[1] = w->dims[3];
    SPADE_TRY(spade_window_read(import, node, &x, &result.window, out, &ceil_extra));

    spade_layer layer = {.convolution = true,
                         .weight = {w->dims[0], w->dims[1], w->dims[2], w->dims[3]},
                         .groups = result.groups,
                         .rows = w->dims[0],
                         .columns = w->dims[1] * w->dims[2] * w->dims[3]};
    SPADE_TRY(add_layer(import, onnx_node_index, w, layer, &result.layer));
    if (spade_has_input(node, 2)) { SPADE_TRY(spade_copy_vector(import, node, 2, layer.rows, &result.bias)); }
    spade_shape y = {4, {x.dims[0], layer.rows, out[0], out[1]}, SPADE_ROW_MAJOR};
    return spade_emit(import, node, &result, &y);
}

/* ---- linear layers */

/* beta * C as a vector of length rows; C is [rows], [1, rows] or a scalar. */
static spade_status read_gemm_bias(spade_import *import, const onnx_node *node, int64_t rows, float beta, float **out)
{
    const onnx_tensor *c = NULL;
    void *bias;
    SPADE_TRY(spade_constant_get(import, node, 2, &c));
    SPADE_TRY(spade_require_float(import, node, c));
    int64_t last = c->rank ? c->dims[c->rank - 1] : 1;
    if (c->rank > 2 || (last != rows && last != 1) || c->count != last) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its bias \"%.100s\" is not a vector of %lld",
                                 c->name, (long long)rows);
    }
    SPADE_TRY(spade_alloc(import->context, (size_t)rows * sizeof(float), "the network's weights", &bias));
    *out = bias;
    for (int64_t r = 0; r < rows; r++) { (*out)[r] = beta * onnx_tensor_float(c, last == 1 ? 0 : r); }
    return SPADE_OK;
}

spade_status spade_import_gemm(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_context *context = import->context;
    spade_node result = {.kind = SPADE_NODE_LINEAR, .input_count = 1, .layer = -1};
    const onnx_tensor *w = NULL;
    int64_t transpose_a, transpose_b;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "transA", 0, &transpose_a)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "transB", 0, &transpose_b)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "alpha", 1, &result.alpha)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "beta", 1, &result.beta)));
    if (transpose_a) { return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "transA = 1 is not supported"); }
    SPADE_TRY(spade_activation_get(import, node, 0, &result.inputs[0]));
    SPADE_TRY(spade_constant_get(import, node, 1, &w));
    spade_shape x = import->network->values[result.inputs[0]].shape;
    if (x.rank != 2 || w->rank != 2) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its operands have %d and %d dimensions instead of 2",
                                 x.rank, w->rank);
    }
    int64_t rows = w->dims[transpose_b ? 0 : 1], columns = w->dims[transpose_b ? 1 : 0];
    if (columns != x.dims[1] || rows < 1) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its weight takes %lld inputs, there are %lld",
                                 (long long)columns, (long long)x.dims[1]);
    }
    spade_layer layer = {
        .weight = {rows, columns, 1, 1}, .groups = 1, .rows = rows, .columns = columns, .transposed = !transpose_b};
    SPADE_TRY(add_layer(import, onnx_node_index, w, layer, &result.layer));
    if (spade_has_input(node, 2)) { SPADE_TRY(read_gemm_bias(import, node, rows, result.beta, &result.bias)); }
    spade_shape y = {2, {x.dims[0], rows}, SPADE_ROW_MAJOR};
    return spade_emit(import, node, &result, &y);
}

/* A product of two activations: [.., m, k] x [.., k, n], leading dimensions equal or 1, the batch in both. */
static spade_status lower_product(spade_import *import, const onnx_node *node, int a, int b)
{
    spade_shape x = import->network->values[a].shape, z = import->network->values[b].shape, y = x;
    bool fits = x.rank == z.rank && x.rank >= 3 && x.dims[0] == z.dims[0];
    for (int i = 1; fits && i < x.rank - 2; i++) {
        fits = x.dims[i] == z.dims[i] || x.dims[i] == 1 || z.dims[i] == 1;
        y.dims[i] = x.dims[i] > z.dims[i] ? x.dims[i] : z.dims[i];
    }
    if (!fits) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "the shapes of its two operands are not supported");
    }
    if (x.dims[x.rank - 1] != z.dims[x.rank - 2]) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%lld columns times %lld rows",
                                 (long long)x.dims[x.rank - 1], (long long)z.dims[x.rank - 2]);
    }
    y.dims[x.rank - 1] = z.dims[x.rank - 1];
    spade_node result = {.kind = SPADE_NODE_MATMUL, .inputs = {a, b}, .input_count = 2, .layer = -1};
    return spade_emit(import, node, &result, &y);
}

spade_status spade_import_matmul(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_LINEAR, .input_count = 1, .layer = -1, .alpha = 1, .beta = 1};
    spade_operand right = {-1, NULL};
    SPADE_TRY(spade_activation_get(import, node, 0, &result.inputs[0]));
    SPADE_TRY(spade_operand_get(import, node, 1, &right));
    if (right.value >= 0) { return lower_product(import, node, result.inputs[0], right.value); }
    const onnx_tensor *w = right.tensor;
    spade_shape y = import->network->values[result.inputs[0]].shape;
    if (w->rank != 2 || y.rank < 2) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "its constant operand has %d dimensions, only 2 are supported", w->rank);
    }
    if (w->dims[0] != y.dims[y.rank - 1] || w->dims[1] < 1) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its weight takes %lld inputs, there are %lld",
                                 (long long)w->dims[0], (long long)y.dims[y.rank - 1]);
    }
    spade_layer layer = {.weight = {w->dims[1], w->dims[0], 1, 1},
                         .groups = 1,
                         .rows = w->dims[1],
                         .columns = w->dims[0],
                         .transposed = true};
    SPADE_TRY(add_layer(import, onnx_node_index, w, layer, &result.layer));
    y.dims[y.rank - 1] = layer.rows;
    return spade_emit(import, node, &result, &y);
}

/* ---- normalisation: y = gamma * (x - mean) / sqrt(var + eps) + beta, as scale and shift of each channel, computed in
 * double */

static spade_status fold_statistics(spade_import *import, const onnx_node *node, int64_t channels, double epsilon,
                                    spade_node *result)
{
    float *mean = NULL, *variance = NULL;
    spade_status status;
    size_t bytes = (size_t)channels * sizeof(float);
    SPADE_GOTO(spade_copy_vector(import, node, 1, channels, &result->scale));
    SPADE_GOTO(spade_copy_vector(import, node, 2, channels, &result->shift));
    SPADE_GOTO(spade_copy_vector(import, node, 3, channels, &mean));
    SPADE_GOTO(spade_copy_vector(import, node, 4, channels, &variance));
    for (int64_t c = 0; c < channels; c++) {
        double spread = (double)variance[c] + epsilon;
        if (!(spread > 0)) {
            SPADE_GOTO(spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                         "the variance of channel %lld is not positive", (long long)c));
        }
        double scale = (double)result->scale[c] / sqrt(spread);
        result->scale[c] = (float)scale;
        result->shift[c] = (float)((double)result->shift[c] - (double)mean[c] * scale);
    }
done:
    spade_free_bytes(import->context, mean, bytes);
    spade_free_bytes(import->context, variance, bytes);
    if (status != SPADE_OK) {
        spade_free_bytes(import->context, result->scale, bytes);
        spade_free_bytes(import->context, result->shift, bytes);
    }
    return status;
}

spade_status spade_import_batch_norm(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_BATCH_NORM, .input_count = 1, .layer = -1};
    int64_t training;
    float epsilon;
    SPADE_TRY(spade_activation_get(import, node, 0, &result.inputs[0]));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "training_mode", 0, &training)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(import->context, node, "epsilon", 1e-5f, &epsilon)));
    if (training) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "training mode is not supported; export for inference");
    }
    spade_shape x = import->network->values[result.inputs[0]].shape;
    if (x.rank < 2) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its input has no channels"); }
    SPADE_TRY(fold_statistics(import, node, x.dims[1], (double)epsilon, &result));
    return spade_emit(import, node, &result, &x);
}
