/* relu.c - where methods that change only what a ReLU hands back have their rule. */
#include "attribution/rules/rules.h"

/* max(x, 0), or that with an upper bound: ReLU6. */
static bool is_relu(const spade_node *node)
{
    return node->pointwise.function == SPADE_RELU ||
           (node->pointwise.function == SPADE_CLIP && node->pointwise.alpha == 0);
}

bool spade_rule_is_linear(const spade_node *node)
{
    return node->pointwise.function == SPADE_AFFINE || node->pointwise.function == SPADE_NEG;
}

const spade_rule *spade_rule_at_relus(const spade_node *node, const spade_rule *relu)
{
    if (node->kind != SPADE_NODE_FUNCTION || spade_rule_is_linear(node)) { return &spade_rule_gradient; }
    return is_relu(node) ? relu : NULL;
}
