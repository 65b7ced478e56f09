/* conservation.h - what becomes of relevance on its way: for methods that hand it from node to node. */
#ifndef SPADE_ATTRIBUTION_CONSERVATION_H
#define SPADE_ATTRIBUTION_CONSERVATION_H

#include "attribution/registry.h"
#include "engine/rule.h"

/* How a method's relevance goes back. */
typedef struct attribution_relevance {
    const spade_rules *rules;
    bool pairs; /* of x and the baseline 0 multipliers go back; else one image's relevance, from F on */
} attribution_relevance;

/* attribution_method.conserve of a method that goes back so. */
spade_status attribution_conserve(const attribution_job *job, const attribution_relevance *relevance,
                                  const spade_target *target, spade_conservation *out);

#endif
