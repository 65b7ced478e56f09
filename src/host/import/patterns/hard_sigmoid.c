/*
 * hard_sigmoid.c - the hard sigmoid and the hard swish as networks had them before there were operators for them:
 *
 *   hard sigmoid   Clip(x + 3, 0, 6) / 6, or times 1/6
 *   hard swish     x times that, before or behind the division
 */
#include "import/patterns/patterns.h"

enum { HARD_SIGMOID, HARD_SWISH }; /* match->form */

/* A bound of a Clip: an input, before opset 11 an attribute. */
static bool has_bound(const spade_import *import, int clip, int input, const char *attribute, double bound)
{
    const onnx_attribute *given = onnx_find_attribute(&import->onnx->nodes[clip], attribute);
    if (given) { return given->kind == ONNX_ATTR_FLOAT && (double)given->f == bound; }
    return spade_pattern_number(import, clip, input, bound);
}

/* Clip(x + 3, 0, 6): of x the match takes note. */
static bool match_ramp(const spade_import *import, int node, int input, spade_pattern_match *match)
{
    const int clip = spade_pattern_node(import, node, input, "Clip", match);
    if (clip < 0 || !has_bound(import, clip, 1, "min", 0) || !has_bound(import, clip, 2, "max", 6)) { return false; }
    const int sum = spade_pattern_node(import, clip, 0, "Add", match);
    const int three = sum < 0 ? -1 : spade_pattern_which_number(import, sum, 3);
    match->input_node = sum;
    match->input = 1 - three;
    return three >= 0;
}

/* The ramp, or x times it. */
static bool match_numerator(const spade_import *import, int node, int input, spade_pattern_match *match)
{
    const int count = match->count;
    match->form = HARD_SIGMOID;
    if (match_ramp(import, node, input, match)) { return true; }
    match->count = count;
    match->form = HARD_SWISH;
    const int product = spade_pattern_node(import, node, input, "Mul", match), before = match->count;
    for (int k = 0; product >= 0 && k < 2; k++) {
        match->count = before;
        if (match_ramp(import, product, k, match) &&
            spade_pattern_same(import, product, 1 - k, match->input_node, match->input)) {
            return true;
        }
    }
    return false;
}

static bool match_quotient(const spade_import *import, spade_pattern_match *match)
{
    const int last = match->nodes[0];
    return spade_pattern_number(import, last, 1, 6) && match_numerator(import, last, 0, match);
}

/* x times the ramp that is divided already. */
static bool match_gated(const spade_import *import, int input, spade_pattern_match *match)
{
    const int last = match->nodes[0];
    match->count = 1;
    match->form = HARD_SWISH;
    int scaled = spade_pattern_node(import, last, input, "Div", match), of = 0;
    if (scaled >= 0 && !spade_pattern_number(import, scaled, 1, 6)) { return false; }
    if (scaled < 0) {
        scaled = spade_pattern_node(import, last, input, "Mul", match);
        const int sixth = scaled < 0 ? -1 : spade_pattern_which_number(import, scaled, 1.0 / 6);
        if (sixth < 0) { return false; }
        of = 1 - sixth;
    }
    return match_ramp(import, scaled, of, match) &&
           spade_pattern_same(import, last, 1 - input, match->input_node, match->input);
}

static bool match_product(const spade_import *import, spade_pattern_match *match)
{
    const int last = match->nodes[0], sixth = spade_pattern_which_number(import, last, 1.0 / 6);
    if (sixth >= 0) { return match_numerator(import, last, 1 - sixth, match); }
    return match_gated(import, 0, match) || match_gated(import, 1, match);
}

static spade_status emit_hard(spade_import *import, const spade_pattern_match *match)
{
    const onnx_node *last = &import->onnx->nodes[match->nodes[0]];
    spade_node result = {.kind = SPADE_NODE_FUNCTION, .layer = -1, .pointwise = {SPADE_HARD_SIGMOID, 1.0f / 6, 0.5f}};
    int input;
    if (match->form == HARD_SWISH) {
        result.pointwise.function = SPADE_HARD_SWISH;
        result.pointwise.alpha = result.pointwise.beta = 0;
    }
    SPADE_TRY(spade_activation_get(import, &import->onnx->nodes[match->input_node], match->input, &input));
    return spade_emit(import, last, &result, &input, 1, &import->network->values[input].shape);
}

const spade_pattern spade_pattern_hard_quotient = {"hard sigmoid, hard swish", "Div", match_quotient, emit_hard};
const spade_pattern spade_pattern_hard_product = {"hard sigmoid, hard swish", "Mul", match_product, emit_hard};
