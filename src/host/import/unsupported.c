/* unsupported.c - what a file asks for that is not computed here: every operator, each with its first node, and what to do. */
#include "import/unsupported.h"

#include "import/import.h"

enum { MAX_NAMED = 32 }; /* operators in the message */

/* "" for ONNX's own operators. */
static const char *domain_of(const onnx_node *node)
{
    return node->domain && strcmp(node->domain, "ai.onnx") != 0 ? node->domain : "";
}

static bool same_operator(const onnx_node *a, const onnx_node *b)
{
    return strcmp(a->op_type, b->op_type) == 0 && strcmp(domain_of(a), domain_of(b)) == 0;
}

/* Operators of networks whose weights or values are stored as small integers. */
static bool is_quantised(const onnx_node *node)
{
    static const char *const parts[] = {"QLinear", "Quantize", "Integer", "QAttention", "QGemm"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strstr(node->op_type, parts[i])) { return true; }
    }
    return false;
}

static const char *advice(bool quantised, bool foreign)
{
    if (quantised) {
        return "a quantised network; export it before quantisation, or with QuantizeLinear and DequantizeLinear";
    }
    if (foreign) { return "operators of one runtime; export the network without its optimisations"; }
    return "'spade info' lists what the file uses; export the network without them";
}

spade_status spade_fail_unsupported(spade_context *context, const onnx_model *onnx, const bool *supported)
{
    char names[640] = "";
    size_t used = 0;
    bool quantised = false, foreign = false;
    const onnx_node *first[MAX_NAMED];
    int count = 0;
    for (int i = 0; i < onnx->node_count && used < sizeof names && count < MAX_NAMED; i++) {
        const onnx_node *node = &onnx->nodes[i];
        const char *domain = domain_of(node);
        bool named = supported[i];
        for (int k = 0; k < count && !named; k++) { named = same_operator(node, first[k]); }
        if (named) { continue; }
        first[count++] = node;
        quantised = quantised || is_quantised(node);
        foreign = foreign || *domain;
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%.60s%s%.60s (node \"%.100s\")",
                                 used ? ", " : "", domain, *domain ? "." : "", node->op_type, spade_onnx_label(node));
    }
    return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "%.200s: unsupported operators: %s: %s", onnx->path, names,
                      advice(quantised, foreign));
}
