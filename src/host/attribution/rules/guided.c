/* guided.c - guided backpropagation: a ReLU hands back positive relevance, where its input was positive. */
#include "attribution/rules/rules.h"

static spade_status plan(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    (void)options;
    const spade_node_class *class = spade_node_class_of(node);
    spade_node_step steps[1 + SPADE_NODE_MAX_STEPS] = {{.kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_RELU}};
    spade_rule_keep(plan, class->gradient_keeps(node));
    return spade_rule_share_by_steps(plan, 0, steps, 1 + class->gradient_steps(node, 0, steps + 1));
}

static const spade_rule guided_relu = {.name = "guided ReLU", .plan = plan};

static const spade_rule *choose(const spade_network *network, const spade_node *node, const void *options)
{
    (void)network, (void)options;
    return spade_rule_at_relus(node, &guided_relu);
}

const spade_rules spade_rules_guided = {.name = "guided backpropagation", .choose = choose};
