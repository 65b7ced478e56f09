/* inner_values.h - what methods that look inside of the network share: values of the picture at some places of it, and their
 * gradients, on the host. */
#ifndef SPADE_ATTRIBUTION_INNER_VALUES_H
#define SPADE_ATTRIBUTION_INNER_VALUES_H

#include "attribution/registry.h"
#include "engine/engine.h"

/* What is there for one of the job's targets. Values and gradients lie as they do in the network: attribution_arrange(). */
typedef struct attribution_inner {
    int target;                    /* among the job's targets */
    int count;                     /* of places */
    const float *const *values;    /* [count] */
    const float *const *gradients; /* [count] dF/dvalue; NULL where they were not asked for */
    const spade_shape *shapes;     /* [count] */
} attribution_inner;

typedef spade_status (*attribution_inner_fn)(void *user, const attribution_inner *inner);

/* With gradients: `each` for every target, after a pass whose walk back ends at the value `stop` (or SPADE_TO_INPUT), of
 * which all places have to be a part or depend on it. Without: once, for target 0, as values do not depend on it. */
spade_status attribution_inner_values(const attribution_job *job, const int *places, int count, bool gradients,
                                      int stop, attribution_inner_fn each, void *user);

/* A part of an axis; axis -1: nothing, `count` is 1. */
typedef struct attribution_range {
    int axis;
    int64_t first, count;
} attribution_range;

/* A value of one picture in another order: to [all other axes in their order, rows.count, columns.count]. */
void attribution_arrange(const float *value, const spade_shape *shape, const attribution_range *rows,
                         const attribution_range *columns, float *to);

#endif
