/* rules.h - the rules that there are, by file. */
#ifndef SPADE_ATTRIBUTION_RULES_H
#define SPADE_ATTRIBUTION_RULES_H

#include "engine/rule.h"

/* gradient.c */
extern const spade_rule spade_rule_gradient;
extern const spade_rules spade_rules_gradient; /* at every node */
/* guided.c */
extern const spade_rules spade_rules_guided;
/* deconvolution.c */
extern const spade_rules spade_rules_deconvolution;

/* deeplift.c: the images of a batch are pairs: x, then its baseline. Both get the same multipliers. */
typedef struct spade_deeplift_options {
    int captum; /* as Captum: overlapping windows of a pooling, and no rule where Captum has none */
} spade_deeplift_options;
spade_rules spade_rules_deeplift(const spade_deeplift_options *options); /* which is borrowed */

/* lrp.c: relevance, from F on. lrp_layer.c has the formulas of layers. */
typedef enum spade_lrp_composite {
    SPADE_LRP_PAPER,
    SPADE_LRP_EPSILON,
    SPADE_LRP_EPSILON_PLUS,
    SPADE_LRP_EPSILON_PLUS_FLAT,
    SPADE_LRP_GAMMA,
    SPADE_LRP_ATTENTION,       /* AttnLRP: epsilon in all layers */
    SPADE_LRP_ATTENTION_GAMMA, /* AttnLRP: gamma in all layers */
    SPADE_LRP_COMPOSITE_COUNT
} spade_lrp_composite;
typedef struct spade_lrp_options {
    int composite; /* spade_lrp_composite */
    float epsilon, gamma;
} spade_lrp_options;
spade_rules spade_rules_lrp(const spade_lrp_options *options); /* which is borrowed */

/* relu.c: sums and products with numbers, written as a function. */
bool spade_rule_is_linear(const spade_node *node);
/* `relu` at ReLUs, none at other functions of one value (sigmoid, hard swish), the gradient everywhere else. */
const spade_rule *spade_rule_at_relus(const spade_node *node, const spade_rule *relu);

#endif
