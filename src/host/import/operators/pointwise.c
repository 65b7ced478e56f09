/* pointwise.c - functions of one value; Add and Mul with NumPy's broadcasting. */
#include <float.h>
#include <math.h>

#include "import/operators/operators.h"

/* ---- y = f(x) */

static spade_status emit_function(spade_import *import, const onnx_node *node, spade_function function, float alpha,
                                  float beta)
{
    spade_node result = {.kind = SPADE_NODE_FUNCTION, .layer = -1, .pointwise = {function, alpha, beta}};
    int input;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    return spade_emit(import, node, &result, &input, 1, &import->network->values[input].shape);
}

/* Functions whose operator says all: attributes that the function takes as alpha and beta, and what they are if not given. */
static const struct {
    const char *op_type;
    spade_function function;
    const char *alpha, *beta;
    float standard_alpha, standard_beta;
} functions[] = {
    {"Erf", SPADE_ERF, NULL, NULL, 0, 0},
    {"HardSigmoid", SPADE_HARD_SIGMOID, "alpha", "beta", 0.2f, 0.5f},
    {"HardSwish", SPADE_HARD_SWISH, NULL, NULL, 0, 0},
    {"Relu", SPADE_RELU, NULL, NULL, 0, 0},
    {"Sigmoid", SPADE_SIGMOID, NULL, NULL, 0, 0},
    {"Tanh", SPADE_TANH, NULL, NULL, 0, 0},
};

static spade_status read_number(spade_import *import, const onnx_node *node, const char *attribute, float standard,
                                float *out)
{
    *out = standard;
    if (!attribute) { return SPADE_OK; }
    return spade_import_attribute(import, onnx_get_float(import->context, node, attribute, standard, out));
}

static spade_status lower_function(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    size_t i = 0;
    float alpha, beta;
    while (strcmp(functions[i].op_type, node->op_type) != 0) { i++; } /* the operators' table names these only */
    SPADE_TRY(read_number(import, node, functions[i].alpha, functions[i].standard_alpha, &alpha));
    SPADE_TRY(read_number(import, node, functions[i].beta, functions[i].standard_beta, &beta));
    return emit_function(import, node, functions[i].function, alpha, beta);
}

/* Exact, or the approximation by tanh. */
static spade_status lower_gelu(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const char *approximate;
    SPADE_TRY(
        spade_import_attribute(import, onnx_get_string(import->context, node, "approximate", "none", &approximate)));
    if (strcmp(approximate, "none") == 0) { return emit_function(import, node, SPADE_GELU, 0, 0); }
    if (strcmp(approximate, "tanh") == 0) { return emit_function(import, node, SPADE_GELU_TANH, 0, 0); }
    return spade_import_fail(import, node, SPADE_ERROR_INPUT, "approximate is \"%.40s\"", approximate);
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

static spade_status lower_clip(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    float low, high;
    SPADE_TRY(read_bound(import, node, "min", 1, -FLT_MAX, &low));
    SPADE_TRY(read_bound(import, node, "max", 2, FLT_MAX, &high));
    return emit_function(import, node, SPADE_CLIP, low, high);
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

/* Both operands as values; *y: the shape of what they make. */
static spade_status read_operands(spade_import *import, const onnx_node *node, int values[2], spade_shape *y)
{
    spade_operand operands[2] = {{.value = -1}, {.value = -1}};
    for (int i = 0; i < 2; i++) {
        SPADE_TRY(spade_operand_get(import, node, i, &operands[i]));
        values[i] = operands[i].value;
    }
    if (operands[0].value < 0 && operands[1].value < 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "arithmetic on two constants is not supported");
    }
    for (int i = 0; i < 2; i++) {
        if (operands[i].value >= 0) { continue; }
        int rank = import->network->values[operands[1 - i].value].shape.rank;
        SPADE_TRY(add_constant(import, node, operands[i].tensor, rank, &values[i]));
    }
    const spade_value *a = &import->network->values[values[0]], *b = &import->network->values[values[1]];
    bool both = a->batch_axis >= 0 && b->batch_axis >= 0, aligned = !both || a->batch_axis == b->batch_axis;
    if (!spade_broadcast(&a->shape, &b->shape, y) || !aligned ||
        (both && a->shape.dims[a->batch_axis] != b->shape.dims[a->batch_axis])) {
        return spade_import_fail(import, node,
                                 both && (!aligned || a->shape.rank != b->shape.rank) ? SPADE_ERROR_UNSUPPORTED
                                                                                      : SPADE_ERROR_INPUT,
                                 "the shapes of its operands do not fit together");
    }
    return SPADE_OK;
}

static spade_status lower_binary(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = strcmp(node->op_type, "Add") == 0 ? SPADE_NODE_ADD : SPADE_NODE_MUL, .layer = -1};
    int values[2];
    spade_shape y;
    SPADE_TRY(read_operands(import, node, values, &y));
    return spade_emit(import, node, &result, values, 2, &y);
}

const spade_onnx_operator spade_pointwise_operators[] = {{"Add", lower_binary},
                                                         {"Clip", lower_clip},
                                                         {"Erf", lower_function},
                                                         {"Gelu", lower_gelu},
                                                         {"HardSigmoid", lower_function},
                                                         {"HardSwish", lower_function},
                                                         {"Mul", lower_binary},
                                                         {"Relu", lower_function},
                                                         {"Sigmoid", lower_function},
                                                         {"Tanh", lower_function},
                                                         {0}};
