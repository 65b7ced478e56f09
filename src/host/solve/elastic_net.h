/*
 * elastic_net.h - a linear classifier with few weights: multinomial logistic regression under an elastic net,
 *
 *   min over W [classes, features], b [classes] of
 *     1/n sum_i CE(W z_i + b, y_i) + lambda ((1 - alpha)/2 |W|^2 + alpha |W|_1)
 *
 * z: the features standardised over the samples (mean 0, deviation 1; one that does not vary is 0 and gets no weight). The bias
 * is free. Everything is float64. This is the objective of Wong, Santurkar and Madry 2021 (their GLM-SAGA is stochastic); what
 * finds the minimum here is deterministic, as glmnet does it (Friedman, Hastie, Tibshirani 2010): class by class a quadratic model
 * of the loss, minimised by coordinate descent over the weights that are not known to stay 0 (strong rules, Tibshirani et al.
 * 2012), with a line search; after each cycle the part of a feature's weights that all classes share, which the loss does not
 * see, is put where the penalty is least, and after every fifth the state goes to where the last ones lead, if that is better
 * (Anderson acceleration). A solution is one when no subgradient of the objective is further from 0 than ELASTIC_NET_TOLERANCE *
 * lambda, of all weights and biases: looked at with the gradient of everything.
 *
 * Work: a cycle takes samples * (nonzero weights + about 50 operations for each class), on one thread; each look at everything
 * samples * features * classes multiply-adds, on all. A path of 100 lambdas down to a thousandth, on two cores: 240 samples of 512
 * features in 10 classes 0.4 s, 2000 of 1280 in 100 classes 20 s, 3000 of 2048 in 1000 classes 10 minutes. The same bits for any
 * number of threads.
 */
#ifndef SPADE_SOLVE_ELASTIC_NET_H
#define SPADE_SOLVE_ELASTIC_NET_H

#include "base/base.h"

#define ELASTIC_NET_TOLERANCE 1e-5

typedef struct elastic_net_problem {
    int64_t samples, features, classes;
    const float *x;      /* [any number, features], finite */
    const int64_t *rows; /* [samples] of x */
    const int64_t *y;    /* [samples]: each class, from 0 on, has a sample */
    double alpha;        /* above 0, at most 1 */
} elastic_net_problem;

typedef struct elastic_net elastic_net;
/* Bytes that it counts against the budget. */
uint64_t elastic_net_bytes(int64_t samples, int64_t features, int64_t classes);
/* x, rows and y are read here only. */
spade_status elastic_net_create(spade_context *context, const elastic_net_problem *problem, elastic_net **out);
void elastic_net_destroy(elastic_net *net); /* NULL is fine */

/* The least lambda at which every weight is 0, and the bias the logarithm of each class's share: max |gradient there| / alpha. */
double elastic_net_lambda_max(const elastic_net *net);

typedef struct elastic_net_solution {
    double violation; /* the largest distance of a subgradient from 0 */
    int64_t weights;  /* that are not 0 */
    int64_t cycles;
    bool converged; /* violation <= ELASTIC_NET_TOLERANCE * lambda, before the limit of cycles */
} elastic_net_solution;
/* From the last solution on: along a path of falling lambda each is near the one before. lambda > 0. SPADE_ERROR_MEMORY */
spade_status elastic_net_solve(elastic_net *net, double lambda, elastic_net_solution *out);
/* What was solved last, for the features as they were given: weights [classes, features], bias [classes], of sum 0. */
void elastic_net_read(const elastic_net *net, double *weights, double *bias);

#endif
