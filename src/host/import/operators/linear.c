/* linear.c - Gemm, MatMul. */
#include "import/build.h"
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

typedef struct gemm {
    float alpha, beta;
    int64_t transpose_a, transpose_b;
} gemm;

static spade_status read_gemm(spade_import *import, const onnx_node *node, gemm *out)
{
    spade_context *context = import->context;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "transA", 0, &out->transpose_a)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "transB", 0, &out->transpose_b)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "alpha", 1, &out->alpha)));
    return spade_import_attribute(import, onnx_get_float(context, node, "beta", 1, &out->beta));
}

/* The bias as a vector of the layer's rows? */
static bool is_row_bias(const onnx_tensor *c, int64_t rows)
{
    const int64_t last = c->rank ? c->dims[c->rank - 1] : 1;
    return c->rank <= 2 && (last == rows || last == 1) && c->count == last;
}

/* y + beta * C, of a C that is no vector of the layer's. */
static spade_status add_matrix(spade_import *import, const onnx_node *node, float beta, int y, int *out)
{
    spade_operand c = {.value = -1};
    SPADE_TRY(spade_operand_get(import, node, 2, &c));
    if (c.value < 0) {
        const onnx_tensor *tensor = NULL;
        const spade_extent beside = spade_value_extent(import, y);
        SPADE_TRY(spade_grown_constant_get(import, node, 2, &beside, &tensor));
        SPADE_TRY(spade_constant_value(import, node, tensor, &beside, &c.value));
        const spade_value *made = &import->network->values[c.value]; /* of one picture, where the tensor repeats it */
        for (int64_t e = 0; e < spade_shape_size(&made->shape); e++) { made->constant[e] *= beta; }
    } else {
        SPADE_TRY(spade_build_scale(import, node, c.value, beta, &c.value));
    }
    return spade_build_binary(import, node, SPADE_NODE_ADD, y, c.value, out);
}

static spade_status transpose_matrix(spade_import *import, const onnx_node *node, int value, int *out)
{
    const int order[2] = {1, 0};
    return spade_build_permute(import, node, value, order, out);
}

/* A constant as a value without a batch, for products: none of its axes stands beside one of the other operand's. */
static spade_status matrix_value(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, bool transpose,
                                 int *out)
{
    const spade_extent none = {.rank = tensor->rank, .batch_axis = -1};
    SPADE_TRY(spade_constant_value(import, node, tensor, &none, out));
    if (!transpose) { return SPADE_OK; }
    spade_value *value = &import->network->values[*out];
    const int64_t rows = tensor->dims[0], columns = tensor->dims[1];
    for (int64_t e = 0; e < tensor->count; e++) {
        value->constant[e % columns * rows + e / columns] = onnx_tensor_float(tensor, e);
    }
    value->shape.dims[0] = columns;
    value->shape.dims[1] = rows;
    return SPADE_OK;
}

/* Gemm without a layer: its right operand is no constant. */
static spade_status lower_general_gemm(spade_import *import, const onnx_node *node, const gemm *g)
{
    int values[2], y;
    const int64_t transpose[2] = {g->transpose_a, g->transpose_b};
    for (int k = 0; k < 2; k++) {
        spade_operand operand = {.value = -1};
        SPADE_TRY(spade_operand_get(import, node, k, &operand));
        values[k] = operand.value;
        if (operand.value >= 0) {
            if (import->network->values[operand.value].shape.rank != 2) {
                return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its operand %d is no matrix", k);
            }
            if (transpose[k]) { SPADE_TRY(transpose_matrix(import, node, values[k], &values[k])); }
            continue;
        }
        SPADE_TRY(spade_constant_get(import, node, k, &operand.tensor));
        if (operand.tensor->rank != 2) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its operand %d is no matrix", k);
        }
        SPADE_TRY(matrix_value(import, node, operand.tensor, transpose[k] != 0, &values[k]));
    }
    SPADE_TRY(spade_build_matmul(import, node, values[0], values[1], &y));
    SPADE_TRY(spade_build_scale(import, node, y, g->alpha, &y));
    if (spade_has_input(node, 2)) { SPADE_TRY(add_matrix(import, node, g->beta, y, &y)); }
    return spade_bind_output(import, node, 0, y);
}

static spade_status lower_gemm(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_LINEAR, .layer = -1};
    spade_operand a = {.value = -1}, right = {.value = -1}, c = {.value = -1};
    int y;
    gemm g;
    SPADE_TRY(read_gemm(import, node, &g));
    SPADE_TRY(spade_operand_get(import, node, 0, &a));
    SPADE_TRY(spade_operand_get(import, node, 1, &right));
    if (a.value < 0 || right.value >= 0) { return lower_general_gemm(import, node, &g); }
    SPADE_TRY(spade_constant_get(import, node, 1, &right.tensor));
    const onnx_tensor *w = right.tensor;
    if (import->network->values[a.value].shape.rank != 2 || w->rank != 2) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its operands have %d and %d dimensions instead of 2",
                                 import->network->values[a.value].shape.rank, w->rank);
    }
    if (g.transpose_a) { SPADE_TRY(transpose_matrix(import, node, a.value, &a.value)); }
    spade_extent x = spade_value_extent(import, a.value);
    SPADE_TRY(spade_check_axis(import, node, a.value, 1, "a sum"));
    const int64_t rows = w->dims[g.transpose_b ? 0 : 1], columns = w->dims[g.transpose_b ? 1 : 0];
    if (columns != x.dims[1] || rows < 1) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its weight takes %lld inputs, there are %lld",
                                 (long long)columns, (long long)x.dims[1]);
    }
    bool in_layer = false;
    if (spade_has_input(node, 2)) {
        SPADE_TRY(spade_operand_get(import, node, 2, &c));
        in_layer = c.value < 0 && c.tensor && is_row_bias(c.tensor, rows);
    }
    spade_layer layer = {
        .weight = {rows, columns, 1, 1}, .groups = 1, .rows = rows, .columns = columns, .transposed = !g.transpose_b};
    SPADE_TRY(spade_import_layer(import, onnx_node_index, w, layer, &result.layer));
    if (in_layer) { SPADE_TRY(read_gemm_bias(import, node, rows, g.beta, &result.parameters[SPADE_SHIFT])); }
    spade_status status = make_scale(import, rows, g.alpha, &result.parameters[SPADE_SCALE]);
    if (status != SPADE_OK) {
        spade_node_release(import->context, &result);
        return status;
    }
    x.dims[1] = rows;
    SPADE_TRY(spade_make(import, node, &result, &a.value, 1, &x, &y));
    if (spade_has_input(node, 2) && !in_layer) { SPADE_TRY(add_matrix(import, node, g.beta, y, &y)); }
    return spade_bind_output(import, node, 0, y);
}

/* A constant matrix on the right: a layer, whose rows are the matrix's columns. */
static spade_status lower_matmul_layer(spade_import *import, int onnx_node_index, int input, const onnx_tensor *w)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_LINEAR, .layer = -1};
    spade_extent y = spade_value_extent(import, input);
    int out;
    SPADE_TRY(spade_check_axis(import, node, input, y.rank - 1, "a sum"));
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
    SPADE_TRY(spade_make(import, node, &result, &input, 1, &y, &out));
    return spade_bind_output(import, node, 0, out);
}

/* A vector is a matrix of one row, or as the right operand of one column; the result has no such axis. */
static spade_status make_matrix(spade_import *import, const onnx_node *node, bool right, int *value)
{
    const spade_extent x = spade_value_extent(import, *value);
    spade_extent y = {.rank = 2, .dims = {1, x.dims[0]}, .batch_axis = -1, .batch_outer = 1};
    SPADE_TRY(spade_check_axis(import, node, *value, 0, "a sum"));
    if (right) {
        y.dims[0] = x.dims[0];
        y.dims[1] = 1;
    }
    return spade_build_reshape(import, node, *value, &y, value);
}

static spade_status lower_matmul(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_operand operands[2] = {{.value = -1}, {.value = -1}};
    int values[2], y;
    for (int k = 0; k < 2; k++) {
        SPADE_TRY(spade_operand_get(import, node, k, &operands[k]));
        values[k] = operands[k].value;
        if (values[k] < 0 && !operands[k].tensor) { SPADE_TRY(spade_activation_get(import, node, k, &values[k])); }
    }
    if (values[0] >= 0 && values[1] < 0 && operands[1].tensor && operands[1].tensor->rank == 2 &&
        import->network->values[values[0]].shape.rank >= 2) {
        return lower_matmul_layer(import, onnx_node_index, values[0], operands[1].tensor);
    }
    for (int k = 0; k < 2; k++) {
        const onnx_tensor *constant = operands[k].tensor;
        if (values[k] < 0 && constant) { SPADE_TRY(matrix_value(import, node, constant, false, &values[k])); }
    }
    bool vector[2];
    for (int k = 0; k < 2; k++) {
        vector[k] = import->network->values[values[k]].shape.rank == 1;
        if (vector[k]) { SPADE_TRY(make_matrix(import, node, k == 1, &values[k])); }
    }
    SPADE_TRY(spade_build_matmul(import, node, values[0], values[1], &y));
    const int rank = import->network->values[y].shape.rank;
    if (vector[1]) { SPADE_TRY(spade_build_drop_axis(import, node, y, rank - 1, &y)); }
    if (vector[0]) { SPADE_TRY(spade_build_drop_axis(import, node, y, rank - 2, &y)); }
    return spade_bind_output(import, node, 0, y);
}

const spade_onnx_operator spade_linear_operators[] = {{"Gemm", lower_gemm}, {"MatMul", lower_matmul}, {0}};
