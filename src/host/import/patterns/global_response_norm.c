/*
 * global_response_norm.c - global response normalisation (Woo et al. 2023, ConvNeXt V2, section 3.2) as exporters write it:
 *
 *   norm = ReduceL2(x) over height and width, n = Div(norm, Add(ReduceMean(norm) over the channels, epsilon)),
 *   Mul(Mul(x, n), scale), and x and a shift added in either order; the product may be multiplied by 1 (addcmul's factor)
 *
 * Here it is x (1 + scale n) + shift: what is as large as x is multiplied once.
 */
#include "import/build.h"
#include "import/operators/operators.h"
#include "import/patterns/patterns.h"

typedef struct chain {
    int input_node, input; /* x */
    int norm, mean;        /* ReduceL2, ReduceMean */
    double epsilon;
    const onnx_tensor *scale, *shift;
} chain;

/* An operand of a sum. */
typedef struct term {
    int node, input;
} term;

static bool keeps_axes(const spade_import *import, int node)
{
    const onnx_attribute *keep = onnx_find_attribute(&import->onnx->nodes[node], "keepdims");
    return !keep || keep->i == 1;
}

static const onnx_tensor *float_constant(const spade_import *import, int node, int input)
{
    const onnx_tensor *tensor = spade_pattern_constant(import, node, input);
    return tensor && tensor->type == ONNX_FLOAT && tensor->bytes ? tensor : NULL;
}

/* x * norm / (mean(norm) + epsilon), of which the quotient is this input. */
static bool read_response(const spade_import *import, int product, int input, spade_pattern_match *match, chain *out)
{
    const int quotient = spade_pattern_node(import, product, input, "Div", match);
    const int norm = quotient < 0 ? -1 : spade_pattern_node(import, quotient, 0, "ReduceL2", match);
    const int sum = norm < 0 ? -1 : spade_pattern_node(import, quotient, 1, "Add", match);
    for (int k = 0; sum >= 0 && k < 2; k++) {
        if (!spade_pattern_scalar(import, sum, k, &out->epsilon)) { continue; }
        const int mean = spade_pattern_node(import, sum, 1 - k, "ReduceMean", match);
        out->norm = norm;
        out->mean = mean;
        return mean >= 0 && spade_pattern_node(import, mean, 0, "ReduceL2", match) == norm &&
               keeps_axes(import, norm) && keeps_axes(import, mean) &&
               spade_pattern_same(import, product, 1 - input, norm, 0);
    }
    return false;
}

/* The scaled product, an operand of the sum; x is what the sum reads there, too. */
static bool read_product(const spade_import *import, term at, term x, spade_pattern_match *match, chain *out)
{
    int product = spade_pattern_node(import, at.node, at.input, "Mul", match);
    const int one = product < 0 ? -1 : spade_pattern_which_number(import, product, 1);
    if (one >= 0) { product = spade_pattern_node(import, product, 1 - one, "Mul", match); }
    for (int k = 0; product >= 0 && k < 2; k++) {
        out->scale = float_constant(import, product, k);
        const int inner = out->scale ? spade_pattern_node(import, product, 1 - k, "Mul", match) : -1;
        for (int i = 0; inner >= 0 && i < 2; i++) {
            const int count = match->count;
            if (read_response(import, inner, i, match, out)) {
                return spade_pattern_same(import, out->norm, 0, x.node, x.input);
            }
            match->count = count;
        }
    }
    return false;
}

/* Which operand of two nested sums is x, which the product, which the shift. */
static bool read_chain(const spade_import *import, spade_pattern_match *match, chain *out)
{
    const int last = match->nodes[0];
    for (int k = 0; k < 2; k++) {
        match->count = 1;
        const int inner = spade_pattern_node(import, last, k, "Add", match);
        const term terms[3] = {{last, 1 - k}, {inner, 0}, {inner, 1}};
        const int count = match->count;
        for (int order = 0; inner >= 0 && order < 6; order++) {
            const term shift = terms[order / 2], x = terms[(order / 2 + 1 + order % 2) % 3],
                       product = terms[(order / 2 + 2 - order % 2) % 3];
            *out = (chain){.input_node = x.node, .input = x.input};
            out->shift = float_constant(import, shift.node, shift.input);
            match->count = count;
            if (out->shift && read_product(import, product, x, match, out)) { return true; }
        }
    }
    return false;
}

static bool match_chain(const spade_import *import, spade_pattern_match *match)
{
    chain found;
    if (!read_chain(import, match, &found)) { return false; }
    match->input_node = found.input_node;
    match->input = found.input;
    return true;
}

/* norm / (mean(norm) + epsilon) */
static spade_status emit_response(spade_import *import, const onnx_node *last, const chain *found, int x, int *out)
{
    const onnx_node *nodes = import->onnx->nodes;
    const int rank = import->network->values[x].shape.rank;
    unsigned pixels, channels;
    int norm, mean;
    SPADE_TRY(spade_reduced_axes(import, &nodes[found->norm], rank, &pixels));
    SPADE_TRY(spade_reduced_axes(import, &nodes[found->mean], rank, &channels));
    SPADE_TRY(spade_build_binary(import, last, SPADE_NODE_MUL, x, x, &norm));
    SPADE_TRY(spade_build_sum(import, last, norm, pixels, &norm));
    SPADE_TRY(spade_build_function(import, last, norm, SPADE_SQRT, 1, 0, &norm));
    SPADE_TRY(spade_build_mean(import, last, norm, channels, &mean));
    SPADE_TRY(spade_build_shift(import, last, mean, (float)found->epsilon, &mean));
    SPADE_TRY(spade_build_function(import, last, mean, SPADE_RECIPROCAL, 0, 0, &mean));
    return spade_build_binary(import, last, SPADE_NODE_MUL, norm, mean, out);
}

static spade_status emit_chain(spade_import *import, const spade_pattern_match *match)
{
    spade_pattern_match again = {.nodes = {match->nodes[0]}, .count = 1};
    const onnx_node *last = &import->onnx->nodes[match->nodes[0]];
    chain found;
    int x, factor, scale, shift;
    if (!read_chain(import, &again, &found)) {
        return spade_fail(import->context, SPADE_ERROR_INTERNAL, "a global response norm is not there any more");
    }
    SPADE_TRY(spade_activation_get(import, &import->onnx->nodes[match->input_node], match->input, &x));
    const spade_extent beside = spade_value_extent(import, x);
    SPADE_TRY(emit_response(import, last, &found, x, &factor));
    SPADE_TRY(spade_constant_value(import, last, found.scale, &beside, &scale));
    SPADE_TRY(spade_constant_value(import, last, found.shift, &beside, &shift));
    SPADE_TRY(spade_build_binary(import, last, SPADE_NODE_MUL, factor, scale, &factor));
    SPADE_TRY(spade_build_shift(import, last, factor, 1, &factor));
    SPADE_TRY(spade_build_binary(import, last, SPADE_NODE_MUL, x, factor, &x));
    SPADE_TRY(spade_build_binary(import, last, SPADE_NODE_ADD, x, shift, &x));
    return spade_bind_output(import, last, 0, x);
}

const spade_pattern spade_pattern_global_response_norm = {"global response normalisation", "Add", match_chain,
                                                          emit_chain};
