/*
 * gelu.c - GELU, as exporters wrote it before the operator (opset 20):
 *
 *   exact      x * (1 + erf(x / 1.41421)) * 0.5
 *   by tanh    x * (1 + tanh(0.79788 * (x + 0.044715 * x^3))) * 0.5, x^3 as Pow or as two products
 *
 * The two last products come in either order.
 */
#include "import/patterns/patterns.h"

enum { EXACT, BY_TANH };

/* Is the input of a node the activation of the match? */
static bool is_activation(const spade_import *import, const spade_pattern_match *match, int node, int input)
{
    return spade_pattern_same(import, node, input, match->input_node, match->input);
}

/* In a product of two: the one that is not the activation, if the other is; -1: none is. */
static int beside_activation(const spade_import *import, const spade_pattern_match *match, int node)
{
    if (is_activation(import, match, node, 0)) { return 1; }
    return is_activation(import, match, node, 1) ? 0 : -1;
}

/* x / 1.41421: sets the activation. */
static bool match_erf(const spade_import *import, int erf, spade_pattern_match *match)
{
    int scaled = spade_pattern_node(import, erf, 0, "Div", match);
    if (scaled < 0 || !spade_pattern_number(import, scaled, 1, 1.4142135623730951)) { return false; }
    match->input_node = scaled;
    match->input = 0;
    match->form = EXACT;
    return true;
}

/* x^3 beside the number 0.044715: is it of the activation? */
static bool match_cube(const spade_import *import, int scaled, int input, spade_pattern_match *match)
{
    int cube = spade_pattern_node(import, scaled, input, "Pow", match);
    if (cube >= 0) { return spade_pattern_number(import, cube, 1, 3) && is_activation(import, match, cube, 0); }
    cube = spade_pattern_node(import, scaled, input, "Mul", match);
    int other = cube < 0 ? -1 : beside_activation(import, match, cube);
    int square = other < 0 ? -1 : spade_pattern_node(import, cube, other, "Mul", match);
    return square >= 0 && is_activation(import, match, square, 0) && is_activation(import, match, square, 1);
}

/* 0.79788 * (x + 0.044715 * x^3): sets the activation. */
static bool match_tanh(const spade_import *import, int tanh, spade_pattern_match *match)
{
    int scaled = spade_pattern_node(import, tanh, 0, "Mul", match);
    int number = scaled < 0 ? -1 : spade_pattern_which_number(import, scaled, 0.7978845608028654);
    int sum = number < 0 ? -1 : spade_pattern_node(import, scaled, 1 - number, "Add", match);
    if (sum < 0) { return false; }
    for (int k = 0; k < 2; k++) {
        const int count = match->count;
        int cubic = spade_pattern_node(import, sum, k, "Mul", match);
        number = cubic < 0 ? -1 : spade_pattern_which_number(import, cubic, 0.044715);
        match->input_node = sum;
        match->input = 1 - k;
        match->form = BY_TANH;
        if (number >= 0 && match_cube(import, cubic, 1 - number, match)) { return true; }
        match->count = count;
    }
    return false;
}

/* 1 + erf(..) or 1 + tanh(..) as the input of a product. */
static bool match_gate(const spade_import *import, int node, int input, spade_pattern_match *match)
{
    int sum = spade_pattern_node(import, node, input, "Add", match);
    int number = sum < 0 ? -1 : spade_pattern_which_number(import, sum, 1);
    if (number < 0) { return false; }
    int function = spade_pattern_node(import, sum, 1 - number, "Erf", match);
    if (function >= 0) { return match_erf(import, function, match); }
    function = spade_pattern_node(import, sum, 1 - number, "Tanh", match);
    return function >= 0 && match_tanh(import, function, match);
}

/* Which input of the product is the gate, the other one being the activation: -1: none. */
static int find_gate(const spade_import *import, int product, spade_pattern_match *match)
{
    for (int k = 0; k < 2; k++) {
        const int count = match->count;
        if (match_gate(import, product, k, match) && is_activation(import, match, product, 1 - k)) { return k; }
        match->count = count;
    }
    return -1;
}

static bool match_gelu(const spade_import *import, spade_pattern_match *match)
{
    const int last = match->nodes[0];
    int half = spade_pattern_which_number(import, last, 0.5);
    if (half >= 0) { /* (x * gate) * 0.5 */
        int product = spade_pattern_node(import, last, 1 - half, "Mul", match);
        return product >= 0 && find_gate(import, product, match) >= 0;
    }
    for (int k = 0; k < 2; k++) { /* x * (gate * 0.5) */
        match->count = 1;
        int product = spade_pattern_node(import, last, k, "Mul", match);
        half = product < 0 ? -1 : spade_pattern_which_number(import, product, 0.5);
        if (half >= 0 && match_gate(import, product, 1 - half, match) && is_activation(import, match, last, 1 - k)) {
            return true;
        }
    }
    return false;
}

static spade_status emit_gelu(spade_import *import, const spade_pattern_match *match)
{
    const onnx_node *last = &import->onnx->nodes[match->nodes[0]];
    spade_node result = {.kind = SPADE_NODE_FUNCTION,
                         .layer = -1,
                         .pointwise = {match->form == EXACT ? SPADE_GELU : SPADE_GELU_TANH, 0, 0}};
    int input;
    SPADE_TRY(spade_activation_get(import, &import->onnx->nodes[match->input_node], match->input, &input));
    return spade_emit(import, last, &result, &input, 1, &import->network->values[input].shape);
}

const spade_pattern spade_pattern_gelu = {"GELU", "Mul", match_gelu, emit_gelu};
