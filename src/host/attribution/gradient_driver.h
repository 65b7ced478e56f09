/* gradient_driver.h - what methods made of gradients share: backward passes at many inputs, in micro-batches on the
 * device. */
#ifndef SPADE_ATTRIBUTION_GRADIENT_DRIVER_H
#define SPADE_ATTRIBUTION_GRADIENT_DRIVER_H

#include "attribution/registry.h"
#include "attribution/rules/rules.h"
#include "engine/executor.h"

/*
 * ---- gradient_driver.c: backward passes at `points` inputs for each of the targets, and what a method makes of them.
 *
 * Input p of a target lies at scale[p] on the line from a baseline b to x + deviation * z, z the standard normal numbers `p`
 * of the stream `key`: it is scale[p] * (x + deviation * z) + (1 - scale[p]) * b. The map is a statistic of the gradients
 * at the first `summed` inputs, or of the gradients times their line's direction, x + deviation * z - b.
 *
 * Work is cut into micro-batches. On the CPU their size depends on `points` only: a map is a function of the job, never of
 * the budget, the threads or the pictures beside it. Where a micro-batch has all points of a target, the targets share the
 * forward pass.
 */
typedef enum attribution_statistic {
    ATTRIBUTION_SUM,         /* their sum, weight[p] each, over `divisor` */
    ATTRIBUTION_SUM_SQUARES, /* the sum of their squares, weight[p] each, over `divisor` */
    /* The variance, divided by `divisor`, their number; weights are 1. Sums and their difference are in double: what is
     * lost there is less than what the gradients, being floats, are off by. */
    ATTRIBUTION_VARIANCE
} attribution_statistic;

typedef struct attribution_samples {
    int points, summed;           /* 1 <= summed <= points */
    const double *scale, *weight; /* [points]; NULL: all 1 */
    double deviation;             /* 0: no noise */
    uint64_t key;
    const float *baselines; /* host [baseline_count, size]; NULL: b is 0, or random */
    int64_t baseline_count;
    const uint32_t *baseline;      /* [points]: which of them is b; NULL: the first one */
    spade_uniform_picture uniform; /* b is a random picture, number `p` of the stream; no pixels: it is not */
    bool times_path;               /* the gradients times their line's direction */
    double divisor;
    bool in_one_batch; /* the rules need all points of a target in one micro-batch */
    bool times_output; /* what goes back begins as dF/dz * z: relevance */
} attribution_samples;

/* A statistic of the gradients, and the maps that it makes: host [pictures, n, size]. */
typedef struct attribution_wanted {
    float *maps;
    attribution_statistic statistic;
    bool times_input, absolute; /* of a sum: times x, its absolute value */
} attribution_wanted;

/* rules: how the backward walk goes (the plain gradient: spade_rules_gradient). wanted [count], from 1 to
 * SPADE_MAX_TOGETHER, of the same gradients: each is what it is alone. values: host [pictures, n, points], F at each; NULL: not
 * wanted. Several pictures of a job: of one point, or in_one_batch, without noise and baselines of their own. */
spade_status attribution_backward(const attribution_job *job, const spade_rules *rules,
                                  const attribution_samples *points, const attribution_wanted *wanted, int count,
                                  double *values);

/* Methods that are statistics of the plain gradient at the input: `part` is an attribution_wanted without maps. */
extern const attribution_family attribution_gradients_family;
/* guided_gradcam.c: of the guided gradient; without a part, that itself. */
extern const attribution_family attribution_guided_family;

/* Do the rules have one for every node? Else SPADE_ERROR_UNSUPPORTED, with the node's name and what to do: for a method's
 * `check`, so that the method is refused before there is any work. */
spade_status attribution_check_rules(const attribution_job *job, const spade_rules *rules);

/* ---- pass.c: forward, seed and backward of one micro-batch, on memory that stays where it is from pass to pass */
typedef struct attribution_pass {
    spade_executor *executor; /* taken; targets and values are its scratch */
    spade_plan *plan;         /* the executor's */
    spade_score score;        /* what F is */
    int64_t outputs;
    spade_seed_target *targets; /* device [batch]: what each image is explained for */
    double *values;             /* device [batch]: F of each image */
    bool times_output;          /* the walk back begins with dF/dz * z; false after creation */
} attribution_pass;

spade_status attribution_pass_create(const attribution_job *job, const spade_plan_request *request,
                                     attribution_pass *out);
void attribution_pass_destroy(attribution_pass *pass);
/* From inputs in spade_plan_input and what is explained in `targets` to gradients in spade_plan_relevance and `values`. The
 * same work on the same memory at every call, enqueued only, and captured where that is possible. */
spade_status attribution_pass_run(attribution_pass *pass);
/* The same for other `targets` of the same inputs, without the forward pass, which attribution_pass_run() has done: of a
 * request with `repeat`. */
spade_status attribution_pass_again(attribution_pass *pass);

/* quadrature.c: nodes (0, 1) and weights (sum 1) of the n-point Gauss-Legendre rule on [0, 1], ascending. */
void attribution_gauss_legendre(int n, double *nodes, double *weights);

#endif
