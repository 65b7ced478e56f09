/*
 * spade/attribution.h - interpretability methods, on the dense network or on a trace.
 *
 * Every method gives a signed map [C, H, W] for a class. F is the class's logit, or its softmax score.
 *   saliency              abs(dF/dx)                                                  Simonyan 2013
 *   input_x_gradient      x * dF/dx                                                   Shrikumar 2016
 *   integrated_gradients  (x - x') * mean gradient on the line from the baseline x' = 0 to x: `steps` Gauss-Legendre
 * nodes, weights w/2; delta = sum(map) - (F(x) - F(x'))              Sundararajan 2017 smoothgrad            mean of
 * dF/dx over `samples` copies with Gaussian noise, standard deviation sigma*(max x - min x) Smilkov 2017 An operator
 * that a method has no backward rule for is SPADE_ERROR_UNSUPPORTED and named, never a silent gradient.
 */
#ifndef SPADE_ATTRIBUTION_H
#define SPADE_ATTRIBUTION_H

#include "spade/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spade_method {
    SPADE_SALIENCY,
    SPADE_INPUT_X_GRADIENT,
    SPADE_INTEGRATED_GRADIENTS,
    SPADE_SMOOTHGRAD,
    SPADE_METHOD_COUNT
} spade_method;

SPADE_API const char *spade_method_name(spade_method method);
SPADE_API spade_status spade_method_find(spade_context *context, const char *name,
                                         spade_method *out);         /* the error lists them */
SPADE_API bool spade_method_signed(spade_method method);             /* may the map be negative */
SPADE_API const char *spade_method_reduce_name(spade_reduce reduce); /* "abs-max", ... */

typedef struct spade_attribution_options {
    spade_method method;
    bool softmax;  /* F is the softmax score instead of the logit */
    int steps;     /* integrated_gradients: 50 */
    int samples;   /* smoothgrad: 50 */
    double sigma;  /* smoothgrad: 0.15 */
    uint64_t seed; /* smoothgrad */
} spade_attribution_options;
SPADE_API void spade_attribution_options_init(spade_attribution_options *options, spade_method method);

/*
 * input [C, H, W] normalised; classes [n]; maps out [n, C, H, W]; deltas out [n] (completeness delta; NaN where the
 * method has none), may be NULL. trace: NULL for the dense network.
 */
SPADE_API spade_status spade_attribute(spade_context *context, const spade_model *model, const spade_trace *trace,
                                       const spade_attribution_options *options, const float *input,
                                       const int64_t *classes, int n, float *maps, double *deltas);

#ifdef __cplusplus
}
#endif
#endif
