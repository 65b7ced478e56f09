/* gradient.c - backpropagation: every node's own gradient, of the relevance of its output. */
#include "attribution/rules/rules.h"

static spade_status plan(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    (void)options;
    for (int k = 0; k < node->input_count; k++) {
        if (spade_rule_wants(plan, k)) { SPADE_TRY(spade_rule_share_by_gradient(plan, k)); }
    }
    return SPADE_OK;
}

const spade_rule spade_rule_gradient = {.name = "gradient", .plan = plan};

static const spade_rule *choose(const spade_network *network, const spade_node *node, const void *options)
{
    (void)network, (void)node, (void)options;
    return &spade_rule_gradient;
}

const spade_rules spade_rules_gradient = {.name = "the gradient", .choose = choose};
