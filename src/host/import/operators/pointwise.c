/* pointwise.c - functions of one value. */
#include <float.h>
#include <math.h>

#include "import/build.h"
#include "import/operators/operators.h"

/* ---- y = f(x) */

static spade_status emit_function(spade_import *import, const onnx_node *node, spade_function function, float alpha,
                                  float beta)
{
    int input, out;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_build_function(import, node, input, function, alpha, beta, &out));
    return spade_bind_output(import, node, 0, out);
}

/* Functions whose operator says all: attributes that the function takes as alpha and beta, and what they are if not given. */
static const struct {
    const char *op_type;
    spade_function function;
    const char *alpha, *beta;
    float standard_alpha, standard_beta;
} functions[] = {
    {"Abs", SPADE_ABS, NULL, NULL, 0, 0},
    {"Celu", SPADE_CELU, "alpha", NULL, 1, 0},
    {"Cos", SPADE_COS, NULL, NULL, 0, 0},
    {"Elu", SPADE_ELU, "alpha", NULL, 1, 1},
    {"Erf", SPADE_ERF, NULL, NULL, 0, 0},
    {"Exp", SPADE_EXP, NULL, NULL, 0, 0},
    {"HardSigmoid", SPADE_HARD_SIGMOID, "alpha", "beta", 0.2f, 0.5f},
    {"HardSwish", SPADE_HARD_SWISH, NULL, NULL, 0, 0},
    {"LeakyRelu", SPADE_LEAKY_RELU, "alpha", NULL, 0.01f, 0},
    {"Log", SPADE_LOG, NULL, NULL, 0, 0},
    {"Mish", SPADE_MISH, NULL, NULL, 0, 0},
    {"Neg", SPADE_NEG, NULL, NULL, 0, 0},
    {"Reciprocal", SPADE_RECIPROCAL, NULL, NULL, 0, 0},
    {"Relu", SPADE_RELU, NULL, NULL, 0, 0},
    {"Selu", SPADE_ELU, "alpha", "gamma", 1.67326319217681884765625f, 1.05070102214813232421875f},
    {"Sigmoid", SPADE_SIGMOID, NULL, NULL, 0, 0},
    {"Sign", SPADE_SIGN, NULL, NULL, 0, 0},
    {"Sin", SPADE_SIN, NULL, NULL, 0, 0},
    {"Softplus", SPADE_SOFTPLUS, NULL, NULL, 0, 0},
    {"Softsign", SPADE_SOFTSIGN, NULL, NULL, 0, 0},
    {"Sqrt", SPADE_SQRT, NULL, NULL, 0, 0},
    {"Swish", SPADE_SWISH, "alpha", NULL, 1, 0},
    {"Tanh", SPADE_TANH, NULL, NULL, 0, 0},
    {"ThresholdedRelu", SPADE_THRESHOLDED_RELU, "alpha", NULL, 1, 0},
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

const spade_onnx_operator spade_pointwise_operators[] = {{"Abs", lower_function},
                                                         {"Celu", lower_function},
                                                         {"Clip", lower_clip},
                                                         {"Cos", lower_function},
                                                         {"Elu", lower_function},
                                                         {"Erf", lower_function},
                                                         {"Exp", lower_function},
                                                         {"Gelu", lower_gelu},
                                                         {"HardSigmoid", lower_function},
                                                         {"HardSwish", lower_function},
                                                         {"LeakyRelu", lower_function},
                                                         {"Log", lower_function},
                                                         {"Mish", lower_function},
                                                         {"Neg", lower_function},
                                                         {"Reciprocal", lower_function},
                                                         {"Relu", lower_function},
                                                         {"Selu", lower_function},
                                                         {"Sigmoid", lower_function},
                                                         {"Sign", lower_function},
                                                         {"Sin", lower_function},
                                                         {"Softplus", lower_function},
                                                         {"Softsign", lower_function},
                                                         {"Sqrt", lower_function},
                                                         {"Swish", lower_function},
                                                         {"Tanh", lower_function},
                                                         {"ThresholdedRelu", lower_function},
                                                         {0}};
