/* patterns.c - finds the subgraphs that are one node, and answers what patterns ask about a graph. */
#include "import/patterns/patterns.h"

#include <math.h>

static const spade_pattern *const patterns[] = {
#define ADDRESS(name) &spade_pattern_##name,
    SPADE_PATTERNS(ADDRESS)
#undef ADDRESS
        NULL};

/* ---- for those who match */

static int producer_of(const spade_import *import, int node, int input)
{
    const onnx_node *reader = &import->onnx->nodes[node];
    if (!spade_has_input(reader, input) || spade_name_map_get(&import->names, reader->inputs[input]) >= 0) {
        return -1; /* constants are known already */
    }
    return spade_name_map_get(&import->producers, reader->inputs[input]);
}

/* Of ONNX's own operators, not another set's operator of the same name. */
static bool is_standard(const onnx_node *node)
{
    return !node->domain || !node->domain[0] || strcmp(node->domain, "ai.onnx") == 0;
}

int spade_pattern_node(const spade_import *import, int node, int input, const char *op_type, spade_pattern_match *match)
{
    int producer = producer_of(import, node, input);
    if (producer < 0 || strcmp(import->onnx->nodes[producer].op_type, op_type) != 0 ||
        !is_standard(&import->onnx->nodes[producer])) {
        return -1;
    }
    for (int i = 0; i < match->count; i++) {
        if (match->nodes[i] == producer) { return producer; }
    }
    if (match->count == SPADE_PATTERN_MAX_NODES) { return -1; }
    match->nodes[match->count++] = producer;
    return producer;
}

const onnx_tensor *spade_pattern_constant(const spade_import *import, int node, int input)
{
    const onnx_node *reader = &import->onnx->nodes[node];
    if (!spade_has_input(reader, input)) { return NULL; }
    const int operand = spade_name_map_get(&import->names, reader->inputs[input]);
    return operand >= 0 ? import->operands[operand].tensor : NULL;
}

bool spade_pattern_scalar(const spade_import *import, int node, int input, double *out)
{
    const onnx_tensor *tensor = spade_pattern_constant(import, node, input);
    const bool one = tensor && tensor->count == 1 && tensor->rank <= 1 && tensor->bytes;
    if (!one || (tensor->type != ONNX_FLOAT && tensor->type != ONNX_INT64)) {
        return false;
    } /* an exponent may be one */
    *out = tensor->type == ONNX_FLOAT ? (double)onnx_tensor_float(tensor, 0) : (double)onnx_tensor_int(tensor, 0);
    return true;
}

bool spade_pattern_number(const spade_import *import, int node, int input, double number)
{
    double found;
    return spade_pattern_scalar(import, node, input, &found) && fabs(found - number) <= 1e-6 * fabs(number);
}

int spade_pattern_which_number(const spade_import *import, int node, double number)
{
    for (int i = 0; i < 2; i++) {
        if (spade_pattern_number(import, node, i, number)) { return i; }
    }
    return -1;
}

bool spade_pattern_same(const spade_import *import, int node, int input, int other_node, int other_input)
{
    const onnx_node *a = &import->onnx->nodes[node], *b = &import->onnx->nodes[other_node];
    return spade_has_input(a, input) && spade_has_input(b, other_input) &&
           strcmp(a->inputs[input], b->inputs[other_input]) == 0;
}

/* ---- finding */

/* uses[nodes]: how often live nodes read what a node computes. What the network's output is, none of them reads. */
static void count_uses(const spade_import *import, const bool *live, int *uses)
{
    const onnx_model *onnx = import->onnx;
    for (int n = 0; n < onnx->node_count; n++) {
        for (int k = 0; live[n] && k < onnx->nodes[n].input_count; k++) {
            int producer = producer_of(import, n, k);
            if (producer >= 0) { uses[producer]++; }
        }
    }
}

/* Is what the match's nodes compute, but for the last one, read by its nodes alone, and none of them in another match? */
static bool stands_alone(const spade_import *import, const int *uses, const spade_pattern_matches *matches,
                         const spade_pattern_match *match)
{
    for (int i = 1; i < match->count; i++) {
        int node = match->nodes[i], within = 0;
        if (matches->taken[node] || matches->at[node] >= 0) { return false; }
        for (int r = 0; r < match->count; r++) {
            for (int k = 0; k < import->onnx->nodes[match->nodes[r]].input_count; k++) {
                within += producer_of(import, match->nodes[r], k) == node;
            }
        }
        if (within != uses[node]) { return false; }
    }
    return true;
}

static bool find_match(const spade_import *import, const int *uses, const spade_pattern_matches *matches, int node,
                       spade_pattern_match *out)
{
    const onnx_node *last = &import->onnx->nodes[node];
    if (!is_standard(last)) { return false; }
    for (size_t p = 0; patterns[p]; p++) {
        *out = (spade_pattern_match){.pattern = patterns[p], .nodes = {node}, .count = 1};
        if (strcmp(last->op_type, patterns[p]->last) == 0 && patterns[p]->match(import, out) &&
            stands_alone(import, uses, matches, out)) {
            return true;
        }
    }
    return false;
}

spade_status spade_patterns_find(const spade_import *import, const int *order, const bool *live,
                                 spade_pattern_matches *out)
{
    const size_t n = (size_t)import->onnx->node_count;
    int *uses = calloc(n + 1, sizeof *uses), count = 0;
    *out = (spade_pattern_matches){.items = malloc((n + 1) * sizeof *out->items),
                                   .at = malloc((n + 1) * sizeof *out->at),
                                   .taken = calloc(n + 1, sizeof *out->taken)};
    spade_status status = SPADE_OK;
    if (!uses || !out->items || !out->at || !out->taken) {
        status = spade_fail(import->context, SPADE_ERROR_MEMORY, "%s: out of memory while reading the graph",
                            import->onnx->path);
        goto done;
    }
    memset(out->at, -1, (n + 1) * sizeof *out->at);
    count_uses(import, live, uses);
    for (int i = (int)n - 1; i >= 0; i--) {
        spade_pattern_match match;
        int node = order[i];
        if (!live[node] || out->taken[node] || !find_match(import, uses, out, node, &match)) { continue; }
        for (int k = 1; k < match.count; k++) { out->taken[match.nodes[k]] = true; }
        out->at[node] = count;
        out->items[count++] = match;
    }
done:
    free(uses);
    return status;
}

void spade_patterns_clear(spade_pattern_matches *matches)
{
    free(matches->items);
    free(matches->at);
    free(matches->taken);
    *matches = (spade_pattern_matches){0};
}
