/* linear.c - Gemm, MatMul. */
#include "import/operators/operators.h"

/* beta * C as a vector of length rows; C is [rows], [1, rows] or a scalar. */
static spade_status read_gemm_bias(spade_import *import, const onnx_node *node, int64_t rows, float beta,
                                   spade_parameter *out)
{
    const onnx_tensor *c = NULL;
    void *bias;
    SPADE_TRY(spade_constant_get(import, node, 2, &c));
    SPADE_TRY(spade_require_float(import, node, c));
    SPADE_TRY(spade_require_finite(import, node, c));
    int64_t last = c->rank ? c->dims[c->rank - 1] : 1;
    if (c->rank > 2 || (last != rows && last != 1) || c->count != last) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its bias \"%.100s\" is not a vector of %lld",
                                 c->name, (long long)rows);
    }
    SPADE_TRY(spade_alloc(import->context, (size_t)rows * sizeof(float), "the network's weights", &bias));
    *out = (spade_parameter){bias, rows};
    for (int64_t r = 0; r < rows; r++) { out->data[r] = beta * onnx_tensor_float(c, last == 1 ? 0 : r); }
    return SPADE_OK;
}

/* Gemm's factor of the product, as the scale of each row; 1 needs none. */
static spade_status make_scale(spade_import *import, int64_t rows, float alpha, spade_parameter *out)
{
    void *scale;
    if (alpha == 1) { return SPADE_OK; }
    SPADE_TRY(spade_alloc(import->context, (size_t)rows * sizeof(float), "the network's weights", &scale));
    *out = (spade_parameter){scale, rows};
    for (int64_t r = 0; r < rows; r++) { out->data[r] = alpha; }
    return SPADE_OK;
}

static spade_status lower_gemm(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_context *context = import->context;
    spade_node result = {.kind = SPADE_NODE_LINEAR, .layer = -1};
    int input;
    float alpha, beta;
    const onnx_tensor *w = NULL;
    int64_t transpose_a, transpose_b;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "transA", 0, &transpose_a)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "transB", 0, &transpose_b)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "alpha", 1, &alpha)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "beta", 1, &beta)));
    if (transpose_a) { return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "transA = 1 is not supported"); }
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_constant_get(import, node, 1, &w));
    spade_shape x = import->network->values[input].shape;
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
    SPADE_TRY(spade_import_layer(import, onnx_node_index, w, layer, &result.layer));
    if (spade_has_input(node, 2)) {
        SPADE_TRY(read_gemm_bias(import, node, rows, beta, &result.parameters[SPADE_SHIFT]));
    }
    spade_status status = make_scale(import, rows, alpha, &result.parameters[SPADE_SCALE]);
    if (status != SPADE_OK) {
        spade_node_release(import->context, &result);
        return status;
    }
    spade_shape y = {2, {x.dims[0], rows}, SPADE_ROW_MAJOR};
    return spade_emit(import, node, &result, &input, 1, &y);
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
    spade_node result = {.kind = SPADE_NODE_MATMUL, .layer = -1};
    return spade_emit(import, node, &result, (int[]){a, b}, 2, &y);
}

static spade_status lower_matmul(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_LINEAR, .layer = -1};
    int input;
    spade_operand right = {-1, NULL};
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_operand_get(import, node, 1, &right));
    if (right.value >= 0) { return lower_product(import, node, input, right.value); }
    const onnx_tensor *w = right.tensor;
    spade_shape y = import->network->values[input].shape;
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
    SPADE_TRY(spade_import_layer(import, onnx_node_index, w, layer, &result.layer));
    y.dims[y.rank - 1] = layer.rows;
    return spade_emit(import, node, &result, &input, 1, &y);
}

const spade_onnx_operator spade_linear_operators[] = {{"Gemm", lower_gemm}, {"MatMul", lower_matmul}, {0}};
