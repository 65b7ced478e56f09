/*
 * softplus.c - Softplus as PyTorch's exporter writes it since 2.9: where x > 20, x itself, else Softplus(x). In float32 both
 * are the same number there.
 */
#include "import/patterns/patterns.h"

static bool match_softplus(const spade_import *import, spade_pattern_match *match)
{
    const int last = match->nodes[0];
    const int above = spade_pattern_node(import, last, 0, "Greater", match);
    const int function = spade_pattern_node(import, last, 2, "Softplus", match);
    match->input_node = function;
    match->input = 0;
    return above >= 0 && function >= 0 && spade_pattern_number(import, above, 1, 20) &&
           spade_pattern_same(import, above, 0, function, 0) && spade_pattern_same(import, last, 1, function, 0);
}

static spade_status emit_softplus(spade_import *import, const spade_pattern_match *match)
{
    const onnx_node *last = &import->onnx->nodes[match->nodes[0]];
    spade_node result = {.kind = SPADE_NODE_FUNCTION, .layer = -1, .pointwise = {SPADE_SOFTPLUS, 0, 0}};
    int input;
    SPADE_TRY(spade_activation_get(import, &import->onnx->nodes[match->input_node], match->input, &input));
    return spade_emit(import, last, &result, &input, 1, &import->network->values[input].shape);
}

const spade_pattern spade_pattern_softplus = {"Softplus", "Where", match_softplus, emit_softplus};
