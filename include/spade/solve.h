/*
 * spade/solve.h - sparse weights of one layer that reproduce its outputs: min over sparse W' of tr (W-W') H (W-W')^T
 * / 2.
 *
 * Dead inputs (H_dd == 0 exactly): H_dd = 1, W[:, d] = 0. Damping: H += damping * mean(diag H) * I.
 * fast (FastSPADE; SparseGPT, Frantar 2023): U the upper Cholesky factor of H^-1 = U^T U; blocks of b columns, left to
 * right; score = W^2 / U_ii^2 with the weights as updated so far, the floor(S*R*b) lowest of the block are pruned
 * (product in double; ties: lower row, then lower column); column by column err = pruned / U_ii, W[:, i:] -= err (x)
 * U[i, i:]. Loss = sum(err^2)/2. magnitude, random: the same counts per block without any update. Their loss is the
 * same quadratic form.
 */
#ifndef SPADE_SOLVE_H
#define SPADE_SOLVE_H

#include <stdbool.h>

#include "spade/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spade_solver { SPADE_SOLVER_FAST, SPADE_SOLVER_MAGNITUDE, SPADE_SOLVER_RANDOM } spade_solver;
/* floor: floor(S*R*b) weights a block. published: one more, as the code published with the paper prunes. */
typedef enum spade_count { SPADE_COUNT_FLOOR, SPADE_COUNT_PUBLISHED } spade_count;

typedef struct spade_solve_options {
    spade_solver solver;
    spade_count count;
    double damping; /* 0.01 */
    uint64_t seed;  /* of the random solver */
} spade_solve_options;
SPADE_API void spade_solve_options_init(spade_solve_options *options);

/* One problem: one group of one layer. */
typedef struct spade_problem {
    int64_t rows, columns; /* R, K */
    int64_t block;         /* b, columns a block; 0: all K in one */
    double sparsity;       /* S in [0, 1]; 0 leaves the weights as they are */
    const double *hessian; /* [K, K] symmetric, full; not changed */
    const float *dense;    /* [R, K] */
    float *sparse;         /* out: [R, K]; may be the same memory as `dense` */
    uint64_t stream;       /* random solver: which stream of random numbers (layer and group) */
    /* out */
    double loss;
    int64_t zeros; /* exact zeros of `sparse` */
    double seconds;
    spade_status status; /* SPADE_ERROR_NUMERICAL: H not positive definite even when damped, or not finite */
} spade_problem;

/* Solve all problems, spread over the context's threads; each by one thread, so that results do not depend on their
 * number. */
SPADE_API spade_status spade_solve(spade_context *context, const spade_solve_options *options, spade_problem *problems,
                                   int count);
/* Bytes of working memory that one problem needs while it is solved. */
SPADE_API uint64_t spade_solve_workspace(int64_t rows, int64_t columns);

#ifdef __cplusplus
}
#endif
#endif
