/* registry.h - the table of methods, and what a call of spade_attribute() hands to each of them. */
#ifndef SPADE_ATTRIBUTION_REGISTRY_H
#define SPADE_ATTRIBUTION_REGISTRY_H

#include "engine/model.h"
#include "spade/attribution.h"

/* Everything that one call of spade_attribute() works on. */
typedef struct attribution_job {
    spade_context *context;
    const spade_model *model;
    const spade_trace *trace; /* NULL: the dense network */
    const spade_attribution_options *options;
    const char *method;     /* its name, for messages and progress */
    bool softmax;           /* what is explained: the softmax score, else the logit */
    const float *input;     /* [size] */
    const int64_t *classes; /* [n] */
    int n;
    int64_t size;    /* C*H*W */
    int64_t outputs; /* classes of the network */
} attribution_job;

typedef spade_status (*attribution_fn)(const attribution_job *job, float *maps, double *deltas);

/* One row per method. A new method is a function, a row here and a value of spade_method. */
typedef struct attribution_method {
    const char *name;
    bool is_signed;
    attribution_fn run;
} attribution_method;

spade_status attribution_saliency(const attribution_job *job, float *maps, double *deltas);
spade_status attribution_input_x_gradient(const attribution_job *job, float *maps, double *deltas);
spade_status attribution_integrated_gradients(const attribution_job *job, float *maps, double *deltas);
spade_status attribution_smoothgrad(const attribution_job *job, float *maps, double *deltas);

#endif
