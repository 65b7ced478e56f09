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

/* relu.c: `relu` at ReLUs, none at other functions of one value (sigmoid, hard swish), the gradient everywhere else. */
const spade_rule *spade_rule_at_relus(const spade_node *node, const spade_rule *relu);

#endif
