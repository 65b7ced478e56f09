/*
 * layer_norm.c - layer normalisation as it was written before opset 17, and RMSNorm before opset 23:
 *
 *   mean = ReduceMean(x), c = Sub(x, mean), variance = ReduceMean(Pow(c, 2) or Mul(c, c)),
 *   Div(c, Sqrt(Add(variance, epsilon))), then, each where the file has it, Mul by a constant and Add of a constant
 *
 * The quotient may be Mul(c, Reciprocal(Sqrt(..))). RMSNorm is the same with x itself in place of c.
 *
 * Both means are over the same axes, the last ones, counted from the end: how many axes x has is not known yet. Constants
 * that reach beyond these axes are no scale and shift of it.
 */
#include "import/operators/operators.h"
#include "import/patterns/patterns.h"

/* What a subgraph consists of. */
typedef struct chain {
    int axes;              /* how many of the last axes are normalised over */
    int input_node, input; /* x */
    bool root_mean_square;
    float epsilon;
    const onnx_tensor *scale, *shift; /* NULL: none */
} chain;

/* How many axes a mean over the last axes, kept as 1, is over; 0: it is another mean. */
static int count_axes(const spade_import *import, int node)
{
    const onnx_node *mean = &import->onnx->nodes[node];
    const onnx_attribute *attribute = onnx_find_attribute(mean, "axes"), *keep = onnx_find_attribute(mean, "keepdims");
    const onnx_tensor *tensor = spade_pattern_constant(import, node, 1); /* from opset 18 on */
    const bool in_attribute = attribute && attribute->kind == ONNX_ATTR_INTS;
    const bool in_input = tensor && tensor->type == ONNX_INT64 && tensor->bytes;
    const int64_t count = in_attribute ? attribute->count : in_input ? tensor->count : 0;
    unsigned seen = 0;
    if (count < 1 || count > SPADE_MAX_RANK || (keep && keep->i != 1)) { return 0; }
    for (int i = 0; i < count; i++) {
        const int64_t axis = in_attribute ? attribute->ints[i] : onnx_tensor_int(tensor, i);
        if (axis < -count || axis >= 0) { return 0; }
        seen |= 1u << -axis;
    }
    return seen == (2u << count) - 2 ? (int)count : 0; /* bits 1 to count */
}

/* A Pow by 2, or a Mul of something by itself; -1: neither. */
static int find_square(const spade_import *import, int mean, spade_pattern_match *match)
{
    const int power = spade_pattern_node(import, mean, 0, "Pow", match);
    if (power >= 0) { return spade_pattern_number(import, power, 1, 2) ? power : -1; }
    const int product = spade_pattern_node(import, mean, 0, "Mul", match);
    return product >= 0 && spade_pattern_same(import, product, 0, product, 1) ? product : -1;
}

/* Sqrt(Add(variance, epsilon)), an input of the node; *variance: a ReduceMean. */
static bool read_deviation(const spade_import *import, int node, int input, spade_pattern_match *match, chain *out,
                           int *variance)
{
    const int root = spade_pattern_node(import, node, input, "Sqrt", match);
    const int sum = root < 0 ? -1 : spade_pattern_node(import, root, 0, "Add", match);
    for (int k = 0; sum >= 0 && k < 2; k++) {
        double epsilon;
        if (!spade_pattern_scalar(import, sum, k, &epsilon)) { continue; }
        out->epsilon = (float)epsilon;
        *variance = spade_pattern_node(import, sum, 1 - k, "ReduceMean", match);
        return out->epsilon >= 0 && *variance >= 0;
    }
    return false;
}

/* What is divided, an input of the node: x - mean, or x itself; the square is the same one's. */
static bool read_dividend(const spade_import *import, int node, int input, int variance, spade_pattern_match *match,
                          chain *out)
{
    const int square = find_square(import, variance, match);
    const int count = match->count, centre = spade_pattern_node(import, node, input, "Sub", match);
    if (square < 0) { return false; }
    out->axes = count_axes(import, variance);
    if (centre >= 0 && spade_pattern_node(import, square, 0, "Sub", match) == centre) {
        const int mean = spade_pattern_node(import, centre, 1, "ReduceMean", match);
        if (mean >= 0 && spade_pattern_same(import, centre, 0, mean, 0)) {
            out->input_node = centre;
            out->input = 0;
            return out->axes > 0 && count_axes(import, mean) == out->axes;
        }
    }
    match->count = count; /* a difference of something else is x */
    out->root_mean_square = true;
    out->input_node = node;
    out->input = input;
    return out->axes > 0 && spade_pattern_same(import, node, input, square, 0);
}

/* The quotient: everything but scale and shift. */
static bool read_quotient(const spade_import *import, int node, spade_pattern_match *match, chain *out)
{
    int variance;
    if (strcmp(import->onnx->nodes[node].op_type, "Div") == 0) {
        return read_deviation(import, node, 1, match, out, &variance) &&
               read_dividend(import, node, 0, variance, match, out);
    }
    for (int k = 0; k < 2; k++) {
        const int count = match->count, inverse = spade_pattern_node(import, node, k, "Reciprocal", match);
        if (inverse >= 0 && read_deviation(import, inverse, 0, match, out, &variance) &&
            read_dividend(import, node, 1 - k, variance, match, out)) {
            return true;
        }
        match->count = count;
    }
    return false;
}

/* The node behind an input that may be a quotient: -1: it is none. */
static int find_quotient(const spade_import *import, int node, int input, spade_pattern_match *match)
{
    const int quotient = spade_pattern_node(import, node, input, "Div", match);
    return quotient >= 0 ? quotient : spade_pattern_node(import, node, input, "Mul", match);
}

/* Which input of a product or sum is a constant of one number for each element normalised over, or fewer: 0, 1; -1: none. */
static int find_parameter(const spade_import *import, int node, const onnx_tensor **out)
{
    for (int input = 0; input < 2; input++) {
        *out = spade_pattern_constant(import, node, input);
        if (*out && (*out)->type == ONNX_FLOAT) { return input; }
    }
    *out = NULL;
    return -1;
}

static bool reaches_beyond(const onnx_tensor *tensor, int axes)
{
    for (int i = 0; tensor && i < tensor->rank - axes; i++) {
        if (tensor->dims[i] != 1) { return true; }
    }
    return false;
}

/* The chain that ends at the match's last node. */
static bool read_chain(const spade_import *import, spade_pattern_match *match, chain *out)
{
    int node = match->nodes[0];
    *out = (chain){0};
    if (strcmp(import->onnx->nodes[node].op_type, "Add") == 0) {
        const int shift = find_parameter(import, node, &out->shift);
        if (shift < 0) { return false; }
        node = find_quotient(import, node, 1 - shift, match);
    }
    const int scale = node < 0 || strcmp(import->onnx->nodes[node].op_type, "Mul") != 0
                          ? -1
                          : find_parameter(import, node, &out->scale);
    if (scale >= 0) { node = find_quotient(import, node, 1 - scale, match); }
    return node >= 0 && read_quotient(import, node, match, out) && !reaches_beyond(out->scale, out->axes) &&
           !reaches_beyond(out->shift, out->axes);
}

static bool match_chain(const spade_import *import, spade_pattern_match *match)
{
    chain found;
    if (!read_chain(import, match, &found)) { return false; }
    match->input_node = found.input_node;
    match->input = found.input;
    return true;
}

static spade_status emit_chain(spade_import *import, const spade_pattern_match *match)
{
    spade_pattern_match again = {.nodes = {match->nodes[0]}, .count = 1};
    chain found;
    int input;
    if (!read_chain(import, &again, &found)) {
        return spade_fail(import->context, SPADE_ERROR_INTERNAL, "a layer normalisation is not there any more");
    }
    SPADE_TRY(spade_activation_get(import, &import->onnx->nodes[match->input_node], match->input, &input));
    const int rank = import->network->values[input].shape.rank;
    if ((found.scale && found.scale->rank > rank) || (found.shift && found.shift->rank > rank)) {
        return spade_import_fail(import, &import->onnx->nodes[match->nodes[0]], SPADE_ERROR_UNSUPPORTED,
                                 "its constant has more axes than its input");
    }
    const spade_layer_norm norm = {.axis = -found.axes,
                                   .epsilon = found.epsilon,
                                   .root_mean_square = found.root_mean_square,
                                   .scale = found.scale,
                                   .shift = found.shift};
    return spade_emit_layer_norm(import, &import->onnx->nodes[match->nodes[0]], input, &norm);
}

const spade_pattern spade_pattern_layer_norm_shift = {"layer normalisation", "Add", match_chain, emit_chain};
const spade_pattern spade_pattern_layer_norm_scale = {"layer normalisation", "Mul", match_chain, emit_chain};
const spade_pattern spade_pattern_layer_norm = {"layer normalisation", "Div", match_chain, emit_chain};
