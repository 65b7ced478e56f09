/*
 * schedule.h - the solve stage's inside: what trace/ uses beyond include/spade/solve.h, and what its files share.
 */
#ifndef SPADE_SOLVE_SCHEDULE_H
#define SPADE_SOLVE_SCHEDULE_H

#include "backend/backend.h"
#include "spade/solve.h"

/* Where a problem has no `hessian`: write it [K, K], at least the upper triangle (column >= row). Called from several
 * threads. */
typedef void (*spade_solve_fetch_fn)(const void *user, int problem, double *hessian);

/* A problem has its solutions: called once for each whose status is SPADE_OK, from the calling thread. */
typedef void (*spade_solve_done_fn)(void *user, int problem);

/* fetch, done: may be NULL */
spade_status spade_solve_fetched(spade_context *context, const spade_solve_options *options, spade_problem *problems,
                                 int count, spade_solve_fetch_fn fetch, spade_solve_done_fn done, void *user);
/* Bytes that one problem needs while it is solved. */
uint64_t spade_solve_bytes(const spade_context *context, int64_t rows, int64_t columns, int64_t block);

/* The same for a problem of the exact solver and the others of its pool. */
uint64_t spade_solve_exact_bytes(const spade_context *context, int64_t rows, int64_t columns, int64_t group,
                                 int64_t problems);

/* A problem in flight. */
typedef struct spade_solving {
    spade_problem *problem;
    int index; /* of the problem in the caller's list */
    int64_t block, blocks;
    spade_solution *solution; /* the one at hand; NULL: no more of this problem */
    int64_t *prune;           /* [blocks], of the solution at hand */
    double *hessian;          /* device [K, K]: damped, then V */
    double *dense, *sparse;   /* device [R, K], float64 */
    void *workspace;
    size_t workspace_bytes;
    double *host_hessian, *host_weights,
        *host_sparse; /* the same memory where the host can reach the device's, else its own */
    double seconds;
} spade_solving;

/* fast.c: factors of the fast problems in flight; then a sweep of each one's solution at hand */
spade_status spade_solve_factor(spade_device *device, spade_solving *flight, int n);
spade_status spade_solve_sweep(spade_device *device, spade_solving *flight, int n);
/* baseline.c: magnitude and random; host memory only */
void spade_solve_baseline(spade_device *device, const spade_solve_options *options, spade_solving *solving);

/* solve.c: sparsity 0, the weights as they are */
void spade_solve_keep(const spade_problem *problem, spade_solution *solution);

/* exact.c: the problems of a call that ask for the exact solver and have something to prune, pool by pool. */
typedef struct spade_exact_call {
    spade_context *context;
    const spade_solve_options *options;
    spade_problem *problems;
    int count;
    spade_solve_fetch_fn fetch; /* may be NULL */
    spade_solve_done_fn done;   /* may be NULL */
    void *user;
    double work_total, work_done; /* for progress */
} spade_exact_call;
spade_status spade_solve_exact(spade_exact_call *call);
/* Multiply-adds of one problem. */
double spade_solve_exact_work(const spade_problem *problem);
/* Columns of one group of the problem. */
int64_t spade_solve_exact_group(const spade_problem *problem);

#endif
