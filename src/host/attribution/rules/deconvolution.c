/* deconvolution.c - the deconvolutional network: a ReLU hands back positive relevance, whatever its input was. */
#include "attribution/rules/rules.h"

static spade_status plan(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    (void)node, (void)options;
    const spade_node_step relu = {.kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_RELU};
    return spade_rule_share_by_steps(plan, 0, &relu, 1);
}

static const spade_rule deconvolution_relu = {.name = "deconvolution's ReLU", .plan = plan};

static const spade_rule *choose(const spade_network *network, const spade_node *node, const void *options)
{
    (void)network, (void)options;
    return spade_rule_at_relus(node, &deconvolution_relu);
}

const spade_rules spade_rules_deconvolution = {.name = "the deconvolutional network", .choose = choose};
