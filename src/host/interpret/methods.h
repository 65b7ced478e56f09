/* methods.h - what the methods share: the table of methods and the driver that evaluates gradients in micro-batches. */
#ifndef SPADE_INTERPRET_METHODS_H
#define SPADE_INTERPRET_METHODS_H

#include "graph/graph.h"
#include "spade/interpret.h"

/* Everything that one call of spade_interpret() works on. */
typedef struct interpret_job {
    spade_context *context;
    const spade_model *model;
    const spade_trace *trace; /* NULL: the dense network */
    const spade_interpret_options *options;
    const float *input;     /* [size] */
    const int64_t *classes; /* [n] */
    int n;
    int64_t size;    /* C*H*W */
    int64_t outputs; /* classes of the network */
} interpret_job;

typedef spade_status (*interpret_fn)(const interpret_job *job, float *maps, double *deltas);

/* One row per method. A new method is a function, a row here and a value of spade_method. */
typedef struct interpret_method {
    const char *name;
    bool is_signed;
    interpret_fn run;
} interpret_method;

spade_status interpret_saliency(const interpret_job *job, float *maps, double *deltas);
spade_status interpret_input_x_gradient(const interpret_job *job, float *maps, double *deltas);
spade_status interpret_integrated_gradients(const interpret_job *job, float *maps, double *deltas);
spade_status interpret_smoothgrad(const interpret_job *job, float *maps, double *deltas);

/*
 * ---- driver.c: backward passes at `points` inputs for each of the job's classes.
 *
 * Work is the list of (class, point) pairs, class by class, cut into micro-batches whose size depends on `points` only:
 * the result of a pair is a function of the job, never of the budget or the threads.
 */
typedef struct interpret_points {
    int points; /* inputs per class */
    void (*write)(const interpret_job *job, void *user, int point,
                  float *x); /* fill x [size] with input number `point` */
    /* Take the gradient [size] of (class, point); called in order. value: F there (logit or softmax score). */
    void (*take)(const interpret_job *job, void *user, int class_index, int point, double value, const float *gradient);
    void *user;
} interpret_points;

/* rules: how the backward walk goes (the plain gradient: spade_rules_gradient). */
spade_status interpret_backward(const interpret_job *job, const spade_rules *rules, const interpret_points *points);

/* quadrature.c: nodes (0, 1) and weights (sum 1) of the n-point Gauss-Legendre rule on [0, 1], ascending. */
void interpret_gauss_legendre(int n, double *nodes, double *weights);

/* noise.c: standard normal numbers `sample` of a stream: out [n]. Philox, Box-Muller in double. */
void interpret_normal(uint64_t key, uint32_t sample, int64_t n, double *out);

#endif
