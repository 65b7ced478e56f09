/*
 * gate.c - functions that are their argument times a gate, as exporters write them:
 *
 *   SiLU, swish    x * Sigmoid(x), x * Sigmoid(alpha * x): with alpha 1.702 the quick form of GELU
 *   hard swish     x * HardSigmoid(x), of slope 1/6 and offset 1/2
 *   Mish           x * Tanh(Softplus(x))
 */
#include <math.h>

#include "import/patterns/patterns.h"

typedef struct gate {
    spade_function function;
    float alpha;
} gate;

/* Sigmoid of x or of alpha x; the activation is what the product reads beside it. */
static bool read_sigmoid(const spade_import *import, int sigmoid, spade_pattern_match *match, gate *out)
{
    *out = (gate){SPADE_SWISH, 1};
    if (spade_pattern_same(import, sigmoid, 0, match->input_node, match->input)) { return true; }
    const int scaled = spade_pattern_node(import, sigmoid, 0, "Mul", match);
    for (int k = 0; scaled >= 0 && k < 2; k++) {
        double alpha;
        if (!spade_pattern_scalar(import, scaled, k, &alpha)) { continue; }
        out->alpha = (float)alpha;
        return isfinite(out->alpha) && spade_pattern_same(import, scaled, 1 - k, match->input_node, match->input);
    }
    return false;
}

static bool is_hard_sigmoid(const spade_import *import, int node)
{
    const onnx_attribute *slope = onnx_find_attribute(&import->onnx->nodes[node], "alpha"),
                         *offset = onnx_find_attribute(&import->onnx->nodes[node], "beta");
    return slope && slope->kind == ONNX_ATTR_FLOAT && fabsf(slope->f - 1.0f / 6) < 1e-6f &&
           (!offset || (offset->kind == ONNX_ATTR_FLOAT && offset->f == 0.5f));
}

/* The gate that is this input of the product, whose other input is the activation. */
static bool read_gate(const spade_import *import, int input, spade_pattern_match *match, gate *out)
{
    const int product = match->nodes[0];
    match->input_node = product;
    match->input = 1 - input;
    const int sigmoid = spade_pattern_node(import, product, input, "Sigmoid", match);
    if (sigmoid >= 0) { return read_sigmoid(import, sigmoid, match, out); }
    const int hard = spade_pattern_node(import, product, input, "HardSigmoid", match);
    if (hard >= 0) {
        *out = (gate){SPADE_HARD_SWISH, 0};
        return is_hard_sigmoid(import, hard) && spade_pattern_same(import, hard, 0, product, 1 - input);
    }
    const int tanh = spade_pattern_node(import, product, input, "Tanh", match);
    const int softplus = tanh < 0 ? -1 : spade_pattern_node(import, tanh, 0, "Softplus", match);
    *out = (gate){SPADE_MISH, 0};
    return softplus >= 0 && spade_pattern_same(import, softplus, 0, product, 1 - input);
}

static bool find_gate(const spade_import *import, spade_pattern_match *match, gate *out)
{
    for (int k = 0; k < 2; k++) {
        match->count = 1;
        if (read_gate(import, k, match, out)) { return true; }
    }
    return false;
}

static bool match_gate(const spade_import *import, spade_pattern_match *match)
{
    gate found;
    return find_gate(import, match, &found);
}

static spade_status emit_gate(spade_import *import, const spade_pattern_match *match)
{
    spade_pattern_match again = {.nodes = {match->nodes[0]}, .count = 1};
    gate found = {SPADE_SWISH, 1};
    if (!find_gate(import, &again, &found)) {
        return spade_fail(import->context, SPADE_ERROR_INTERNAL, "a gate is not there any more");
    }
    const onnx_node *last = &import->onnx->nodes[match->nodes[0]];
    spade_node result = {.kind = SPADE_NODE_FUNCTION, .layer = -1, .pointwise = {found.function, found.alpha, 0}};
    int input;
    SPADE_TRY(spade_activation_get(import, &import->onnx->nodes[match->input_node], match->input, &input));
    return spade_emit(import, last, &result, &input, 1, &import->network->values[input].shape);
}

const spade_pattern spade_pattern_gate = {"SiLU, hard swish, Mish", "Mul", match_gate, emit_gate};
