/* attention.c - softmax(q k^T) v, found from each softmax to both of its products. */
#include "network/attention.h"

#include "network/node_class.h"
#include "network/spatial.h"

enum { MAX_DEPTH = 32 }; /* nodes between the softmax and a product */

static bool is_product(const spade_network *network, const spade_node *node)
{
    return node->kind == SPADE_NODE_MATMUL && !network->values[node->inputs[0]].constant &&
           !network->values[node->inputs[1]].constant;
}

/* The product that makes the softmax's input, or -1. */
static int find_scores(const spade_network *network, int value, int depth)
{
    const int n = network->values[value].producer;
    if (n < 0 || depth == MAX_DEPTH) { return -1; }
    const spade_node *node = &network->nodes[n];
    if (is_product(network, node)) { return n; }
    const bool passes = node->kind == SPADE_NODE_ADD || node->kind == SPADE_NODE_MUL ||
                        node->kind == SPADE_NODE_FUNCTION || node->kind == SPADE_NODE_RESHAPE ||
                        node->kind == SPADE_NODE_PERMUTE || node->kind == SPADE_NODE_CONVERT_LAYOUT;
    for (int k = 0; passes && k < node->input_count; k++) {
        const int found = find_scores(network, node->inputs[k], depth + 1);
        if (found >= 0) { return found; }
    }
    return -1;
}

/* The product that sums over the softmax's axis. axes[i]: where axis i of the probabilities is in `value`, or -1. */
static bool find_product(const spade_network *network, int value, const int axes[SPADE_MAX_RANK], int depth,
                         spade_attention *out)
{
    const int rank = network->values[out->value].shape.rank, last = network->values[value].shape.rank - 1;
    for (int n = out->softmax + 1; depth < MAX_DEPTH && n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        for (int k = 0; k < node->input_count; k++) {
            if (node->inputs[k] != value) { continue; }
            if (is_product(network, node)) { /* of [.., m, s] and [.., s, n] over s */
                const int summed = k == 0 ? last : last - 1, other = k == 0 ? last - 1 : last;
                if (axes[out->key_axis] != summed) { continue; }
                out->product = n;
                for (int i = 0; i < rank; i++) {
                    if (axes[i] == other && i != out->key_axis) { out->query_axis = i; }
                }
                return out->query_axis >= 0;
            }
            int moved[SPADE_MAX_RANK] = {0};
            for (int i = 0; i < rank; i++) { moved[i] = axes[i] < 0 ? -1 : spade_follow_axis(network, node, axes[i]); }
            if (moved[out->key_axis] < 0) { continue; }
            if (find_product(network, node->outputs[0], moved, depth + 1, out)) { return true; }
        }
    }
    return false;
}

static bool find_attention(const spade_network *network, int softmax, spade_attention *out)
{
    const spade_node *node = &network->nodes[softmax];
    const spade_shape *shape = &network->values[node->outputs[0]].shape;
    int axes[SPADE_MAX_RANK];
    for (int i = 0; i < SPADE_MAX_RANK; i++) { axes[i] = i; }
    *out = (spade_attention){.softmax = softmax,
                             .value = node->outputs[0],
                             .scores = find_scores(network, node->inputs[0], 0),
                             .product = -1,
                             .query_axis = -1,
                             .key_axis = node->softmax.axis};
    if (out->scores < 0 || !find_product(network, out->value, axes, 0, out)) { return false; }
    out->queries = shape->dims[out->query_axis];
    out->keys = shape->dims[out->key_axis];
    out->heads = spade_shape_size(shape) / (out->queries * out->keys);
    return true;
}

spade_status spade_attentions_find(spade_context *context, const spade_network *network, spade_attention **out,
                                   int *count)
{
    int softmaxes = 0;
    for (int n = 0; n < network->node_count; n++) { softmaxes += network->nodes[n].kind == SPADE_NODE_SOFTMAX; }
    *count = 0;
    *out = calloc((size_t)softmaxes + 1, sizeof **out);
    if (!*out) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int n = 0; n < network->node_count; n++) {
        if (network->nodes[n].kind == SPADE_NODE_SOFTMAX) { *count += find_attention(network, n, &(*out)[*count]); }
    }
    return SPADE_OK;
}

int spade_other_product(const spade_network *network, const spade_attention *attentions, int count)
{
    for (int n = 0; n < network->node_count; n++) {
        bool known = !is_product(network, &network->nodes[n]);
        for (int i = 0; i < count; i++) { known = known || attentions[i].scores == n || attentions[i].product == n; }
        if (!known) { return n; }
    }
    return -1;
}
