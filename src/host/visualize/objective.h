/* objective.h - an objective as a linear function of one of the network's values: F = sum of weights * value. */
#ifndef SPADE_VISUALIZE_OBJECTIVE_H
#define SPADE_VISUALIZE_OBJECTIVE_H

#include "engine/model.h"
#include "spade/visualize.h"

typedef struct visualize_objective {
    int value;                         /* in the network */
    int64_t size;                      /* of it, for one image */
    int64_t first;                     /* place of the channel's first position */
    int64_t rows, columns;             /* positions; of one number 1 */
    int64_t row_stride, column_stride; /* between positions; in memory, as the value lies there */
    bool central;                      /* only the position in the middle counts */
    double weight;                     /* of every position that counts */
} visualize_objective;

/* SPADE_ERROR_ARGUMENT: as spade_visualize_shape() says. */
spade_status visualize_objective_find(spade_context *context, const spade_model *model,
                                      const spade_objective *objective, visualize_objective *out);
/* weights [size]. */
void visualize_objective_weights(const visualize_objective *objective, float *weights);

#endif
