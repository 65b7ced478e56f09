/*
 * backend_solver.h - a backend's solvers; include/spade/solve.h has the definitions. All float64; only upper triangles
 * are read or written.
 */
#ifndef SPADE_BACKEND_SOLVER_H
#define SPADE_BACKEND_SOLVER_H

#include "base/base.h"
#include "spade/hessian.h"

/* Dead inputs (H_dd = 0 exactly: 1, and marked), then damping. */
typedef struct spade_damp_args {
    int64_t k;
    double damping;
    double *hessian;     /* [k, k]; only its diagonal changes */
    uint8_t *dead;       /* [k] out: 1 where the input is dead */
    spade_status status; /* out: SPADE_ERROR_NUMERICAL: the diagonal is not finite */
} spade_damp_args;

/* Reversed Cholesky factor of one damped Hessian. */
typedef struct spade_factor_args {
    int64_t k;
    double *hessian;     /* [k, k] in; V out: H = V V^T, V upper triangular (row major), below it undefined */
    void *workspace;     /* factor_workspace_bytes */
    spade_status status; /* out: SPADE_ERROR_NUMERICAL: not positive definite, or a number anywhere is not finite */
} spade_factor_args;

/*
 * The factor of a damped Hessian that is not there itself: H = shift I + X X^T, X the inputs, with fewer samples than
 * columns (the dual form of `damp` and `factor`; this project's own). The columns fall into panels of whole blocks. Let B
 * be one, A the columns left of it, C those right of it, V as `factor` makes it, and
 *   N = shift (shift I + X_C^T X_C)^-1 [n, n], so that N = I at the right end.
 * Eliminating C from H leaves the Schur complement P = H_BB - H_BC H_CC^-1 H_CB = shift I + X_B N X_B^T, because the
 * push-through identity makes I - X_C^T (shift I + X_C X_C^T)^-1 X_C = N. From right to left:
 *   V_BB V_BB^T = P,   T = N X_B^T V_BB^-T [n, B],   V_AB = X_A T,   N -= T T^T   (Woodbury).
 * Only T and V near the diagonal are kept: all that the sweep asks of V_AB is D_A V_AB = (D_A X_A) T, and D_A X_A [R, n]
 * grows panel by panel. A dead input has a row of zeros in X: P_dd = 1 + shift stands alone. About 2 K n^2 operations
 * instead of K^3 / 3, and memory that is linear in K; no difference of large numbers is taken but N, whose errors the
 * later panels damp.
 */
typedef struct spade_dual_args {
    int64_t columns, samples, block;
    const float *x; /* [columns, samples]: H = scale x x^T, before damping */
    double scale;
    double damping;      /* as in spade_damp_args; 0 is SPADE_ERROR_NUMERICAL: H has fewer ranks than columns */
    uint8_t *dead;       /* [columns] out */
    void *factor;        /* out: dual_factor_bytes; what is in it is the backend's own */
    void *workspace;     /* dual_workspace_bytes */
    spade_status status; /* out: SPADE_ERROR_NUMERICAL, as of `damp` and `factor` */
} spade_dual_args;

/* The fast solver's sweep over one matrix of weights. */
typedef struct spade_sweep_args {
    int64_t rows, columns, block;
    int64_t prune, prune_last; /* weights to prune in each block; in the last one, which may have fewer columns */
    bool n_of_m;               /* instead, in each row of a block all weights but `keep` */
    int64_t keep;
    spade_precision precision;   /* at least; of the products with finished panels (spade/solve.h) */
    const double *v;             /* [columns, columns] from factor; or */
    const spade_dual_args *dual; /* from dual_factor, of the same columns and block; NULL: v is */
    const float *dense;          /* [rows, columns] */
    const uint8_t *dead;         /* [columns] from damp or dual_factor: these columns count as zero */
    float *sparse;               /* [rows, columns] out; may be `dense` */
    void *workspace;             /* sweep_workspace_bytes */
    double loss;                 /* out */
    int64_t zeros;               /* out: weights of `sparse` that are zero */
    spade_status status;         /* out: SPADE_ERROR_NUMERICAL: a weight or the loss is not finite */
} spade_sweep_args;

/* tr (d h d^T): the loss of weights that were found in another way. */
typedef struct spade_quadratic_args {
    int64_t rows, k;
    const double *h; /* [k, k] symmetric */
    const double *d; /* [rows, k] */
    double *scratch; /* [rows, k] */
    double result;   /* out */
} spade_quadratic_args;

/*
 * Exact OBC of one matrix, float64: rows [R], columns [K] in groups of b neighbours, C = K / b groups a row (columns
 * past the last whole group are never removed). eliminate: for every row, among the groups left, again and again the
 * one of least loss w_g^T (A_gg)^-1 w_g / 2 (ties: lower group), then w -= A_:g (A_gg)^-1 w_g and A -= A_:g (A_gg)^-1
 * A_g:, A = H^-1 at the row's start; to the end. refit: the weights of least loss on what a row keeps after the first
 * counts[r] groups of its order.
 */
typedef struct spade_exact_args {
    int64_t rows, columns, group;
    const double *inverse; /* [K, K] H^-1, full */
    const double *hessian; /* refit: [K, K] H, upper triangle */
    const double *w;       /* [R, K] dense weights, dead columns zero */
    int32_t *order;        /* [R, C]; eliminate writes it, refit reads it */
    double *losses;        /* [R, C] out of eliminate */
    const int64_t *counts; /* host [R]; refit */
    double *q;             /* [R, K] out of refit */
    spade_status status;   /* SPADE_ERROR_NUMERICAL: a part of H^-1 or H is not positive definite */
} spade_exact_args;

/*
 * n independent problems a call, largest first; spread over threads or streams, each one's result is its own. What they
 * hand to the host (out: status, loss, ...) is there after the next synchronize or download; until then args must stay
 * where they are, and a status says SPADE_OK, or already that the problem has failed. Whatever that call returns, args
 * are the caller's again; those of a call that itself fails are at once.
 */
typedef struct spade_backend_solver {
    spade_status (*damp)(struct spade_device *device, spade_damp_args *problems, int n);
    spade_status (*factor)(struct spade_device *device, spade_factor_args *problems, int n);
    size_t (*factor_workspace_bytes)(struct spade_device *device, int64_t k);
    /* damp and factor in one, in the dual form. */
    spade_status (*dual_factor)(struct spade_device *device, spade_dual_args *problems, int n);
    size_t (*dual_factor_bytes)(struct spade_device *device, int64_t columns, int64_t samples, int64_t block);
    size_t (*dual_workspace_bytes)(struct spade_device *device, int64_t columns, int64_t samples, int64_t block);
    spade_status (*sweep)(struct spade_device *device, spade_sweep_args *problems, int n);
    /* samples: of the dual form, 0: v is there */
    size_t (*sweep_workspace_bytes)(struct spade_device *device, int64_t rows, int64_t columns, int64_t block,
                                    int64_t samples, spade_precision precision);
    /* Of factor and one sweep, in the units of spade_backend_hessian's cost, from sizes only; samples as above. Negative:
     * the backend does not have this form. */
    double (*fast_cost)(struct spade_device *device, int64_t rows, int64_t columns, int64_t block, int64_t samples);
    spade_status (*quadratic_form)(struct spade_device *device, spade_quadratic_args *problems, int n);

    /* Exact solver. inverse: V as `factor` leaves it -> H^-1, full; workspace: inverse_workspace_bytes. */
    spade_status (*inverse)(struct spade_device *device, spade_factor_args *problems, int n);
    size_t (*inverse_workspace_bytes)(struct spade_device *device, int64_t k);
    spade_status (*eliminate)(struct spade_device *device, spade_exact_args *problems, int n, void *workspace,
                              size_t bytes);
    spade_status (*refit)(struct spade_device *device, spade_exact_args *problems, int n, void *workspace,
                          size_t bytes);
    /* Working memory of eliminate and refit on up to `rows` rows at once: at least one; no result depends on how many.
     * Several problems: the largest's. */
    size_t (*exact_bytes)(struct spade_device *device, int64_t columns, int64_t group, int64_t rows);
    /* Rows that the device works on at once where memory allows. */
    int64_t (*exact_max_rows)(struct spade_device *device);
} spade_backend_solver;

#endif
