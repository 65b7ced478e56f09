/* lrp.h - what lrp.c and lrp_layer.c share: composites, which say what formula the layers have. */
#ifndef SPADE_ATTRIBUTION_RULES_LRP_H
#define SPADE_ATTRIBUTION_RULES_LRP_H

#include "attribution/rules/rules.h"

/* How a layer hands on its relevance: numbers into the table of lrp_layer.c. */
typedef enum lrp_formula_id { LRP_EPSILON, LRP_Z_PLUS, LRP_PAPER, LRP_BOX, LRP_FLAT, LRP_GAMMA } lrp_formula_id;

/* One row a composite (lrp.c). */
typedef struct lrp_composite {
    const char *name; /* for messages */
    lrp_formula_id first_convolution, first_linear, convolution, linear;
    /* As published for the paper's experiments: a normalisation passes what it gets, constants get nothing, divisions are not
     * stabilised, and nodes that its networks do not have are refused. Else a normalisation is a part of its convolution. */
    bool paper;
} lrp_composite;
const lrp_composite *lrp_composite_of(const void *options);

/* lrp_layer.c: the rule of convolutions and linear layers */
extern const spade_rule lrp_layer_rule;
/* The BATCH_NORM node that alone reads the convolution's output, or 0. */
int lrp_norm_behind(const spade_network *network, const spade_node *node);

#endif
