/* head.c - from a graph's output back to the logits. */
#include "import/head.h"

/* ---- which value */

static bool is_operator(const onnx_node *node, const char *op_type)
{
    return strcmp(node->op_type, op_type) == 0;
}

/* Moves the numbers of an image, or rounds them to integers and back, which is left out (operators/quantise.c): between a head
 * and the graph's output it changes nothing. */
static bool only_moves(const onnx_node *node)
{
    static const char *const names[] = {"Identity",  "Dropout", "Flatten",        "Reshape",         "Squeeze",
                                        "Unsqueeze", "Cast",    "QuantizeLinear", "DequantizeLinear"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (is_operator(node, names[i])) { return true; }
    }
    return false;
}

/* To whole numbers: of scores nothing is left. */
static bool cuts_off(const spade_import *import, const onnx_node *node)
{
    int64_t type;
    if (!is_operator(node, "Cast") || onnx_get_int(import->context, node, "to", 0, &type) != SPADE_OK) { return false; }
    return type != ONNX_FLOAT && type != ONNX_FLOAT16 && type != ONNX_DOUBLE && type != ONNX_BFLOAT16;
}

/* Says which class has won, of what it reads. */
static bool names_winner(const onnx_node *node)
{
    return is_operator(node, "ArgMax") ||
           (is_operator(node, "ZipMap") && node->domain && strcmp(node->domain, "ai.onnx.ml") == 0);
}

bool spade_is_head_operator(const char *op_type)
{
    return strcmp(op_type, "Softmax") == 0 || strcmp(op_type, "LogSoftmax") == 0 || strcmp(op_type, "Sigmoid") == 0 ||
           strcmp(op_type, "ArgMax") == 0;
}

/* The ONNX node that makes the value, or NULL. */
static const onnx_node *maker_of(const spade_import *import, const char *name)
{
    const int index = spade_name_map_get(&import->producers, name);
    return index < 0 ? NULL : &import->onnx->nodes[index];
}

/* The ONNX node that makes the value as its first output; -1: none, or there is nothing that it reads. */
static int producer_of(const spade_import *import, const char *name)
{
    const int index = spade_name_map_get(&import->producers, name);
    if (index < 0) { return -1; }
    const onnx_node *node = &import->onnx->nodes[index];
    return strcmp(node->outputs[0], name) == 0 && spade_has_input(node, 0) ? index : -1;
}

/* The head that ends at the node. */
static spade_head head_at(const spade_import *import, int node, int nodes[2])
{
    const onnx_node *last = &import->onnx->nodes[node];
    nodes[0] = node;
    if (is_operator(last, "Softmax")) { return SPADE_HEAD_SOFTMAX; }
    if (is_operator(last, "LogSoftmax")) { return SPADE_HEAD_LOG_SOFTMAX; }
    if (is_operator(last, "Sigmoid")) { return SPADE_HEAD_SIGMOID; }
    const int before = is_operator(last, "Log") ? producer_of(import, last->inputs[0]) : -1;
    nodes[0] = nodes[1] = -1;
    if (before < 0 || !is_operator(&import->onnx->nodes[before], "Softmax")) { return SPADE_HEAD_NONE; }
    nodes[0] = before;
    nodes[1] = node;
    return SPADE_HEAD_LOG_SOFTMAX;
}

/* ---- scores that are no longer a softmax's or sigmoid's own */

typedef enum origin { FROM_CONSTANTS, FROM_SCORES, FROM_OTHERS } origin;

/* Changes scores, number by number or by where they stand, and nothing more. */
static bool changes_scores(const onnx_node *node)
{
    static const char *const names[] = {"Concat", "Split", "Slice", "Gather",     "Transpose", "Expand",     "Add",
                                        "Sub",    "Mul",   "Div",   "Neg",        "Sum",       "Mean",       "Min",
                                        "Max",    "Clip",  "Pow",   "ReduceMean", "ReduceSum", "Reciprocal", "Sqrt",
                                        "Abs",    "Pad",   "Tile",  "ReduceMax",  "ReduceMin", "GatherND",   "Where"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (is_operator(node, names[i])) { return true; }
    }
    return only_moves(node);
}

static bool is_made_by(const spade_import *import, const char *name, const char *op_type)
{
    const onnx_node *node = maker_of(import, name);
    return node && is_operator(node, op_type);
}

/* What the softmax and the sigmoid are where they are written out: a / sum of a, exp(log softmax), 1 / (1 + exp(..)). */
static bool makes_scores(const spade_import *import, const onnx_node *node)
{
    static const char *const names[] = {"Softmax", "Sigmoid", "HardSigmoid"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (is_operator(node, names[i])) { return true; }
    }
    if (is_operator(node, "Exp")) {
        return spade_has_input(node, 0) && is_made_by(import, node->inputs[0], "LogSoftmax");
    }
    const bool inverse = is_operator(node, "Reciprocal"), divides = is_operator(node, "Div");
    if ((!inverse && !divides) || node->input_count < (divides ? 2 : 1)) { return false; }
    const onnx_node *below = maker_of(import, node->inputs[divides ? 1 : 0]);
    if (!below) { return false; }
    if (divides && is_operator(below, "ReduceSum")) {
        return spade_has_input(below, 0) && strcmp(below->inputs[0], node->inputs[0]) == 0;
    }
    if (!is_operator(below, "Add") || below->input_count < 2) { return false; }
    return is_made_by(import, below->inputs[0], "Exp") || is_made_by(import, below->inputs[1], "Exp");
}

/* What the value's numbers are made of. *left: nodes that may still be looked at. */
static origin origin_of(const spade_import *import, const char *name, int *left)
{
    const onnx_model *onnx = import->onnx;
    const onnx_node *node = maker_of(import, name);
    if (!node) {
        for (int i = 0; i < onnx->input_count; i++) {
            if (strcmp(onnx->inputs[i].name, name) == 0) { return FROM_OTHERS; }
        }
        return FROM_CONSTANTS;
    }
    if (makes_scores(import, node)) { return FROM_SCORES; }
    if (is_operator(node, "Constant")) { return FROM_CONSTANTS; }
    if (!changes_scores(node) || (*left)-- <= 0) { return FROM_OTHERS; }
    origin of_all = FROM_CONSTANTS;
    /* where a Where's condition comes from does not matter: both of its sides do */
    for (int i = is_operator(node, "Where"); i < node->input_count && of_all != FROM_OTHERS; i++) {
        if (!spade_has_input(node, i)) { continue; }
        const origin own = origin_of(import, node->inputs[i], left);
        of_all = own > of_all ? own : of_all;
    }
    return of_all;
}

/* Walk back from an output. *logits: what the head reads, or where there is none the output's own name; *winner: the node
 * that names the winner, -1: none. */
static spade_import_output follow(const spade_import *import, const onnx_value *graph, const char **logits, int *winner)
{
    spade_import_output out = {.name = graph->name, .nodes = {-1, -1}};
    const char *name = graph->name;
    int left = import->onnx->node_count; /* a cycle is refused later */
    bool cut = false;
    *winner = -1;
    for (int node = producer_of(import, name); node >= 0 && left--; node = producer_of(import, name)) {
        const onnx_node *at = &import->onnx->nodes[node];
        if (names_winner(at)) {
            *winner = node;
            out.name = at->inputs[0]; /* what it reads holds the classes, whether or not there is a head */
        } else if (!only_moves(at)) {
            out.head = cut && *winner < 0 ? SPADE_HEAD_NONE : head_at(import, node, out.nodes);
            break;
        }
        cut = cut || cuts_off(import, at); /* the operator refuses it, unless it is the number of a class */
        name = at->inputs[0];
    }
    *logits = out.head == SPADE_HEAD_NONE ? out.name : import->onnx->nodes[out.nodes[0]].inputs[0];
    left = 64; /* more is no classifier's head */
    if (out.head == SPADE_HEAD_NONE && origin_of(import, out.name, &left) == FROM_SCORES) {
        out.head = SPADE_HEAD_SCORES;
    }
    return out;
}

bool spade_output_is_behind(const spade_import *import, int index)
{
    int left = 64; /* more is no classifier's head */
    for (int node = producer_of(import, import->output); node >= 0 && left--;) {
        const onnx_node *at = &import->onnx->nodes[node];
        if (node == index) { return true; }
        if (!only_moves(at) && !spade_is_head_operator(at->op_type)) { return false; }
        node = producer_of(import, at->inputs[0]);
    }
    return false;
}

/* ---- which output */

static spade_status fail_choice(spade_import *import, const char *wanted)
{
    const onnx_model *onnx = import->onnx;
    char names[512] = "";
    size_t used = 0;
    for (int i = 0; i < onnx->output_count && used < sizeof names; i++) {
        used +=
            (size_t)snprintf(names + used, sizeof names - used, "%s\"%.100s\"", i ? ", " : "", onnx->outputs[i].name);
    }
    if (wanted) {
        return spade_fail(import->context, SPADE_ERROR_ARGUMENT, "%.200s: there is no output \"%.100s\", only %s",
                          onnx->path, wanted, names);
    }
    return spade_fail(import->context, SPADE_ERROR_UNSUPPORTED,
                      "%.200s: the graph has %d outputs; say which one holds the classes (--output-name): %s",
                      onnx->path, onnx->output_count, names);
}

/* Of several outputs that are all about the same logits, scores and winner for example, the first that has a head. */
static spade_status choose(spade_import *import, const char *wanted, int *out)
{
    const onnx_model *onnx = import->onnx;
    const char *logits, *first;
    bool same = true;
    int winner, best = -1;
    *out = 0;
    if (onnx->output_count < 1) {
        return spade_fail(import->context, SPADE_ERROR_INPUT, "%s: the graph has no output", onnx->path);
    }
    follow(import, &onnx->outputs[0], &first, &winner);
    for (int i = 0; i < onnx->output_count; i++) {
        if (wanted && strcmp(onnx->outputs[i].name, wanted) == 0) {
            *out = i;
            return SPADE_OK;
        }
        const spade_import_output output = follow(import, &onnx->outputs[i], &logits, &winner);
        same = same && strcmp(logits, first) == 0;
        if (best < 0 && output.head != SPADE_HEAD_NONE && output.head != SPADE_HEAD_SCORES) { best = i; }
    }
    if (wanted || !same) { return fail_choice(import, wanted); }
    *out = best < 0 ? 0 : best;
    return SPADE_OK;
}

spade_status spade_output_find(spade_import *import, spade_import_output *out)
{
    const char *wanted = import->options ? import->options->output : NULL;
    const char *logits;
    int index, winner;
    SPADE_TRY(choose(import, wanted, &index));
    *out = follow(import, &import->onnx->outputs[index], &logits, &winner);
    if (winner >= 0) {
        const onnx_node *node = &import->onnx->nodes[winner];
        spade_log(import->context, SPADE_LOG_INFO,
                  "%.200s: node \"%.100s\" (%.60s) only names the class; \"%.100s\", which it reads, is the output",
                  import->onnx->path, spade_onnx_label(node), node->op_type, node->inputs[0]);
    }
    if (out->head == SPADE_HEAD_SCORES) {
        spade_log(import->context, SPADE_LOG_WARNING,
                  "%.200s: the output \"%.100s\" is made of what a softmax or sigmoid says: its numbers are the "
                  "scores, and they are "
                  "explained, not the logits before",
                  import->onnx->path, out->name);
    } else if (out->head != SPADE_HEAD_NONE) {
        spade_log(import->context, SPADE_LOG_INFO, "%.200s: ends in a %s; its input \"%.100s\" holds the logits",
                  import->onnx->path, spade_head_name(out->head), logits);
    }
    return SPADE_OK;
}

/* ---- is it a classifier's? */

/* A softmax has to be over all classes. shape: of its input, of one image. */
static spade_status check_axis(spade_import *import, const onnx_node *node, const spade_shape *shape)
{
    const bool flattens = import->onnx->opset < 13; /* then all axes from `axis` on are one */
    int64_t axis, over = 1;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", flattens ? 1 : -1, &axis)));
    axis += axis < 0 ? shape->rank : 0;
    if (axis < 0 || axis >= shape->rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its axis is out of range");
    }
    for (int i = (int)axis; i < (flattens ? shape->rank : (int)axis + 1); i++) { over *= shape->dims[i]; }
    if (over != spade_shape_size(shape)) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "the last softmax has to be over the classes, axis %lld is not", (long long)axis);
    }
    if (over == 1) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "a softmax over one class is always 1: there is nothing to explain");
    }
    return SPADE_OK;
}

spade_status spade_output_pass(spade_import *import, int index)
{
    const onnx_node *node = &import->onnx->nodes[index];
    int value;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    if (!is_operator(node, "Sigmoid") && !is_operator(node, "Log")) {
        SPADE_TRY(check_axis(import, node, &import->network->values[value].shape));
    }
    return spade_bind(import, node->outputs[0], (spade_operand){.value = value});
}

static spade_status fail_output(spade_import *import, spade_status status, const char *what, const char *name)
{
    return spade_fail(import->context, status, "%.200s: %s \"%.200s\"", import->onnx->path, what, name);
}

/* [batch, classes], and axes of 1 wherever they like. */
static bool is_vector(const spade_value *value)
{
    int longer = 0;
    for (int i = 0; i < value->shape.rank; i++) { longer += value->shape.dims[i] != 1; }
    return longer <= 1 && value->batch_axis == 0 && value->batch_outer == 1;
}

/* Is the value the logarithm of scores? Of several classes it serves as logits: their softmax is the scores again. */
static bool is_log_of_scores(const spade_import *import, const char *name)
{
    int left = 64; /* more is no classifier's head */
    const onnx_node *node = maker_of(import, name);
    while (node && only_moves(node) && left-- && spade_has_input(node, 0)) { node = maker_of(import, node->inputs[0]); }
    return node && is_operator(node, "Log") && spade_has_input(node, 0) &&
           origin_of(import, node->inputs[0], &left) == FROM_SCORES;
}

spade_status spade_output_take(spade_import *import, const spade_import_output *output)
{
    spade_network *network = import->network;
    const int index = spade_name_map_get(&import->names, output->name);
    if (index < 0) {
        return fail_output(import, SPADE_ERROR_INPUT, "no supported node computes the output", output->name);
    }
    const int value = import->operands[index].value;
    if (value < 0 || value == network->input) {
        return fail_output(import, SPADE_ERROR_UNSUPPORTED, "the output does not depend on the network:", output->name);
    }
    if (!is_vector(&network->values[value])) {
        return fail_output(import, SPADE_ERROR_UNSUPPORTED,
                           "only classifiers with an output [batch, classes] are supported, unlike", output->name);
    }
    const bool scores = output->head == SPADE_HEAD_SCORES ||
                        (output->head == SPADE_HEAD_NONE && is_log_of_scores(import, output->name));
    if (scores && spade_shape_size(&network->values[value].shape) == 1) {
        return fail_output(
            import, SPADE_ERROR_UNSUPPORTED,
            "one number that is made of a sigmoid's says not which class it is for; end the file at the sigmoid or "
            "before it:",
            output->name);
    }
    network->output = value;
    network->head = output->head;
    return SPADE_OK;
}
