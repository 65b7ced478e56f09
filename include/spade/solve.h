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
 *
 * A trace solves fast layers with fewer samples (variants times positions) than columns without any Hessian, from their
 * inputs X, H = lam I + X X^T (dual form; this project's own). Let B be the columns at hand, A those left of them, already
 * decided, D what they have lost, r = B and all to its right, M = lam I + X_r^T X_r [samples, samples]. By the
 * push-through identity the weights of B are W_B + (D_A X_A) M^-1 X_B^T, and the block of H_rr^-1 that has the scores'
 * U_ii is (I - X_B M^-1 X_B^T) / lam: no matrix is K x K, work grows with K n (n + 2 R) instead of K^3 / 3 + R K^2, and
 * memory with K. The same masks but for near ties, weights to 1e-6. spade_solve() has the Hessian already, and uses it; the
 * other solvers have no such form.
 *
 * exact (SPADE; OBC, Frantar 2022): the b columns of a group go together, C = K / b groups a row (columns past the last
 * whole group always stay). Per row, among the groups left, again and again the one of least loss w_g^T (A_gg)^-1 w_g /
 * 2 (ties: lower group) is removed, A = H^-1, then w -= A_:g (A_gg)^-1 w_g and A -= A_:g (A_gg)^-1 A_g:; to the end of
 * the row. Then over all rows of the layer: a row removes as many groups, the first of its order, as it has losses
 * among the ceil(S*R*C) smallest of the layer (product in double; ties: lower row, then earlier removal). What remains
 * are the weights of least loss on their support. Loss = sum of the losses of what was removed. About R K^3/3
 * operations, whatever the sparsity: all solutions share them.
 *
 * n:m (2:4 and so on): a block is `of` columns, aligned; in each row the of - keep lowest scores of a block go (ties:
 * lower column first), as SparseGPT chooses them. Where K is no multiple of `of`, at most `keep` of the last block's
 * columns stay. The sparsity is then only 0 (as it is) or not.
 */
#ifndef SPADE_SOLVE_H
#define SPADE_SOLVE_H

#include <stdbool.h>

#include "spade/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- limits; both ends are allowed, beyond them is SPADE_ERROR_ARGUMENT */
#define SPADE_MAX_DAMPING 1000.0 /* the least is 0 */
enum {
    SPADE_MAX_BLOCK = 1000000, /* columns a block */
    SPADE_MAX_PATTERN = 1024   /* m of n:m */
};

typedef enum spade_solver {
    SPADE_SOLVER_FAST,
    SPADE_SOLVER_EXACT,
    SPADE_SOLVER_MAGNITUDE,
    SPADE_SOLVER_RANDOM
} spade_solver;
/* floor: floor(S*R*b) weights a block. published: one more, as the code published with the paper prunes. */
typedef enum spade_count { SPADE_COUNT_FLOOR, SPADE_COUNT_PUBLISHED } spade_count;

typedef struct spade_solve_options {
    size_t size; /* set by spade_solve_options_init() */
    spade_count count;
    double damping; /* 0.01 */
    uint64_t seed;  /* of the random solver */
    /*
     * SPADE_FP64 (default): everything float64, so that all backends choose the same masks given the same H.
     * SPADE_FP32: where the fast solver's sweep adds up what the columns before a panel of about 128 have lost (nearly
     * all of its work), products may be float32, and float64 sums take them up every 192. Factors and all decisions are
     * float64. On all layers of ResNet-18, damping 0.01 to 1e-6, sparsity 0.5 and 0.95, that moved 2 weights of 2.4
     * million in one case of 112, and no loss by more than 4e-6 of it, in two thirds of the time on the largest layers.
     */
    spade_precision sweep;
} spade_solve_options;
SPADE_API void spade_solve_options_init_sized(spade_solve_options *options, size_t size);
static inline void spade_solve_options_init(spade_solve_options *options)
{
    spade_solve_options_init_sized(options, sizeof *options);
}

/* Sparse weights at one sparsity. All solutions of a problem share one factor of its Hessian. */
typedef struct spade_solution {
    double sparsity; /* S in [0, 1]; 0 leaves the weights as they are */
    float *sparse;   /* out: [R, K]; may be the same memory as `dense` in a problem's last solution */
    double loss;     /* out */
    int64_t zeros;   /* out: exact zeros of `sparse` */
    int64_t *counts; /* out: [R] groups that each row removes; exact, optional */
} spade_solution;

/* Which weights the exact solver removes together. */
typedef enum spade_group {
    SPADE_GROUP_KERNEL,       /* the kh*kw weights of one input channel */
    SPADE_GROUP_ELEMENT,      /* single weights */
    SPADE_GROUP_CHANNELS_LAST /* kh*kw consecutive columns in (row, column, channel) order */
} spade_group;

/* One problem: one group of one layer. */
typedef struct spade_problem {
    int64_t rows, columns; /* R, K */
    int64_t block;         /* b, columns a block; 0: all K in one */
    int64_t kernel;        /* kh*kw: columns of one input channel; 1 for linear layers */
    spade_solver solver;
    spade_group group; /* of the exact solver */
    int keep, of;      /* n:m: at most `keep` of every `of` consecutive columns of a row stay; of = 0: unstructured */
    const double *hessian; /* [K, K] symmetric, full; not changed */
    const float *dense;    /* [R, K] */
    uint64_t stream;       /* random solver: which stream of random numbers (layer and group) */
    int layer_id;          /* exact: problems with the same number above 0 are one layer's and choose their counts
                              together, with the same sparsities; 0: alone */
    spade_solution *solutions;
    int solution_count;
    /* out */
    int32_t *order; /* [R, C] groups in the order of their removal; exact, optional. Not written where every
                       sparsity is 0. */
    double *losses; /* [R, C] their losses; exact, optional */
    double seconds;
    spade_status status; /* SPADE_ERROR_NUMERICAL: H not positive definite even when damped, or not finite */
} spade_problem;

/* Solve all problems, spread over the context's threads. Results do not depend on their number: work is cut into pieces
 * of a fixed size, each computed by one thread, in a fixed order of sums. */
SPADE_API spade_status spade_solve(spade_context *context, const spade_solve_options *options, spade_problem *problems,
                                   int count);
/*
 * Bytes of working memory that one problem needs while it is solved; its sizes, solver, group, block and n:m count.
 * Exact: at least; half a K x K float64 matrix more for each further row that is worked on at once (as many as there
 * are threads, or as the budget holds). UINT64_MAX: the options are none (spade_solve() says why).
 */
SPADE_API uint64_t spade_solve_workspace(const spade_context *context, const spade_solve_options *options,
                                         const spade_problem *problem);

#ifdef __cplusplus
}
#endif
#endif
