/* pointwise.c - functions of one value, Softmax, Add and Mul with NumPy broadcasting. */
#include <float.h>
#include <math.h>

#include "import/import.h"

/* ---- y = f(x) */

static spade_status emit_unary(spade_import *import, const onnx_node *node, spade_function function, float alpha,
                               float beta)
{
    spade_node result = {
        .kind = SPADE_NODE_UNARY, .input_count = 1, .layer = -1, .function = function, .alpha = alpha, .beta = beta};
    SPADE_TRY(spade_activation_get(import, node, 0, &result.inputs[0]));
    spade_shape shape = import->network->values[result.inputs[0]].shape;
    return spade_emit(import, node, &result, &shape);
}

spade_status spade_import_relu(spade_import *import, int onnx_node_index)
{
    return emit_unary(import, &import->onnx->nodes[onnx_node_index], SPADE_RELU, 0, 0);
}

spade_status spade_import_sigmoid(spade_import *import, int onnx_node_index)
{
    return emit_unary(import, &import->onnx->nodes[onnx_node_index], SPADE_SIGMOID, 0, 0);
}

spade_status spade_import_hard_swish(spade_import *import, int onnx_node_index)
{
    return emit_unary(import, &import->onnx->nodes[onnx_node_index], SPADE_HARD_SWISH, 0, 0);
}

spade_status spade_import_hard_sigmoid(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    float alpha, beta;
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(import->context, node, "alpha", 0.2f, &alpha)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(import->context, node, "beta", 0.5f, &beta)));
    return emit_unary(import, node, SPADE_HARD_SIGMOID, alpha, beta);
}

/* A bound of Clip: an attribute before opset 11, an optional scalar input since. */
static spade_status read_bound(spade_import *import, const onnx_node *node, const char *attribute, int input,
                               float fallback, float *out)
{
    *out = fallback;
    if (import->onnx->opset < 11) {
        SPADE_TRY(spade_import_attribute(import, onnx_get_float(import->context, node, attribute, fallback, out)));
    } else if (spade_has_input(node, input)) {
        const onnx_tensor *tensor = NULL;
        SPADE_TRY(spade_constant_get(import, node, input, &tensor));
        SPADE_TRY(spade_require_float(import, node, tensor));
        if (tensor->count != 1) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its %s is not a scalar", attribute);
        }
        *out = onnx_tensor_float(tensor, 0);
    }
    return isnan(*out) ? spade_import_fail(import, node, SPADE_ERROR_INPUT, "its %s is not a number", attribute)
                       : SPADE_OK;
}

spade_status spade_import_clip(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    float low, high;
    SPADE_TRY(read_bound(import, node, "min", 1, -FLT_MAX, &low));
    SPADE_TRY(read_bound(import, node, "max", 2, FLT_MAX, &high));
    return emit_unary(import, node, SPADE_CLIP, low, high);
}

/* ---- softmax */

spade_status spade_import_softmax(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_SOFTMAX, .input_count = 1, .layer = -1};
    bool flattens = import->onnx->opset < 13; /* then all axes from `axis` on are one */
    int64_t axis;
    SPADE_TRY(spade_activation_get(import, node, 0, &result.inputs[0]));
    spade_shape x = import->network->values[result.inputs[0]].shape;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", flattens ? 1 : -1, &axis)));
    axis += axis < 0 ? x.rank : 0;
    if (axis < 0 || axis >= x.rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its axis is out of range");
    }
    if (axis == 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "a softmax over the batch is not supported");
    }
    for (int i = (int)axis + 1; flattens && i < x.rank; i++) {
        if (x.dims[i] != 1) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                     "a softmax over several axes (opset %lld) is not supported",
                                     (long long)import->onnx->opset);
        }
    }
    result.axis = (int)axis;
    return spade_emit(import, node, &result, &x);
}

/* ---- addition and multiplication */

/* A constant operand becomes a value of the graph with leading dimensions of 1 up to `rank`. */
static spade_status add_constant(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, int rank,
                                 int *out)
{
    spade_value value = {.shape = {rank, {0}, SPADE_ROW_MAJOR}, .batch_axis = -1, .producer = -1};
    if (tensor->rank > rank || (tensor->rank == rank && tensor->dims[0] != 1)) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "its constant \"%.100s\" has a batch of its own", tensor->name);
    }
    for (int i = 0; i < rank; i++) {
        int from = i - (rank - tensor->rank);
        value.shape.dims[i] = from < 0 ? 1 : tensor->dims[from];
    }
    SPADE_TRY(spade_copy_floats(import, node, tensor, &value.constant));
    value.name = strdup(tensor->name ? tensor->name : "");
    *out = value.name ? spade_network_add_value(import->network, &value) : -1;
    if (*out >= 0) { return SPADE_OK; }
    free(value.name);
    spade_free_bytes(import->context, value.constant, (size_t)tensor->count * sizeof(float));
    return spade_import_memory(import);
}

static spade_status lower_binary(spade_import *import, int onnx_node_index, spade_node_kind kind)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = kind, .input_count = 2, .layer = -1};
    spade_operand operands[2] = {{-1, NULL}, {-1, NULL}};
    spade_shape y;
    for (int i = 0; i < 2; i++) {
        SPADE_TRY(spade_operand_get(import, node, i, &operands[i]));
        result.inputs[i] = operands[i].value;
    }
    if (operands[0].value < 0 && operands[1].value < 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "arithmetic on two constants is not supported");
    }
    for (int i = 0; i < 2; i++) {
        if (operands[i].value >= 0) { continue; }
        int rank = import->network->values[operands[1 - i].value].shape.rank;
        SPADE_TRY(add_constant(import, node, operands[i].tensor, rank, &result.inputs[i]));
    }
    const spade_value *a = &import->network->values[result.inputs[0]], *b = &import->network->values[result.inputs[1]];
    bool both = a->batch_axis >= 0 && b->batch_axis >= 0;
    if (!spade_broadcast(&a->shape, &b->shape, &y) || (both && a->shape.dims[0] != b->shape.dims[0])) {
        return spade_import_fail(import, node,
                                 both && a->shape.rank != b->shape.rank ? SPADE_ERROR_UNSUPPORTED : SPADE_ERROR_INPUT,
                                 "the shapes of its operands do not fit together");
    }
    return spade_emit(import, node, &result, &y);
}

spade_status spade_import_add(spade_import *import, int onnx_node_index)
{
    return lower_binary(import, onnx_node_index, SPADE_NODE_ADD);
}

spade_status spade_import_mul(spade_import *import, int onnx_node_index)
{
    return lower_binary(import, onnx_node_index, SPADE_NODE_MUL);
}
