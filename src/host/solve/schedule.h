/*
 * schedule.h - the solve stage's inside: what trace/ uses beyond include/spade/solve.h, and what its files share.
 */
#ifndef SPADE_SOLVE_SCHEDULE_H
#define SPADE_SOLVE_SCHEDULE_H

#include "backend/backend.h"
#include "spade/solve.h"

/* Where a problem has no `hessian`: write it to device memory [K, K], at least the upper triangle (column >= row). */
typedef spade_status (*spade_solve_fetch_fn)(void *user, int problem, double *device_hessian);

/* The dense weights of a problem in device memory. */
typedef const float *(*spade_solve_weights_fn)(void *user, int problem);

/* A problem has its solutions: called once for each whose status is SPADE_OK, from the calling thread. */
typedef void (*spade_solve_done_fn)(void *user, int problem);

/* Who solves within the pipeline; everything may be NULL. */
typedef struct spade_solve_client {
    spade_solve_fetch_fn fetch;
    /* then `sparse` of the fast solver's solutions is device memory too, and no sparsity is 0 */
    spade_solve_weights_fn weights;
    spade_solve_done_fn done;
    void *user;
} spade_solve_client;
spade_status spade_solve_for(const spade_solve_client *client, spade_context *context,
                             const spade_solve_options *options, spade_problem *problems, int count);

/* A call of spade_solve. */
typedef struct spade_schedule {
    spade_context *context;
    spade_device *device;
    const spade_solve_options *options;
    spade_problem *problems;
    int *order; /* indices of the problems that fly: largest first; not the exact solver's */
    int count;
    const spade_solve_client *client;
    void *arena; /* device: the memory of a flight, used again by the next one */
    size_t arena_bytes;
    double work_total, work_done; /* for progress */
} spade_schedule;

/* A problem in flight. The device's memory lies in the schedule's arena. */
typedef struct spade_solving {
    spade_problem *problem;
    int index; /* of the problem in the caller's list */
    int64_t block;
    spade_solution *solution; /* the one at hand; NULL: no more of this problem, or it has failed */
    int64_t prune[2];         /* of the solution at hand: weights of a block, of the last one */
    double *hessian;          /* device [K, K]: conditioned, then V */
    uint8_t *dead;            /* device [K] */
    const float *dense;       /* device [R, K]; the caller's where it is there already */
    bool in_place;            /* both are the caller's */
    float *sparse;            /* device [R, K]; may be `dense`, and the caller's memory where that is the device's */
    void *workspace;          /* device: of the factor, then of the sweep; of a baseline */
    void *host;               /* scratch of a baseline */
    size_t host_bytes;
    const spade_damp_args *condition; /* the flight's */
    const spade_factor_args *factor;  /* the flight's; NULL: not a fast problem, or it had failed */
} spade_solving;

/* What a sweep of a flight is for. */
typedef struct spade_sweeping {
    spade_problem *problem;
    spade_solution *solution;
} spade_sweeping;

/* Problems in flight, and what the backend was asked for: it writes there until the host waits for it, at the end. */
typedef struct spade_flight {
    spade_solving *problems;
    int n, rounds;               /* rounds: most solutions of any problem */
    spade_damp_args *conditions; /* [n] */
    spade_factor_args *factors;  /* [n] */
    spade_sweep_args *sweeps;    /* [n * rounds] */
    spade_sweeping *sweepings;   /* [n * rounds] */
    int sweep_count;
} spade_flight;
/* Is it known by now that the problem has failed? */
bool spade_solving_failed(const spade_solving *solving);

/* ---- flight.c: the problems order[first .. first + n) from their Hessians to their solutions */
spade_status spade_flight_run(spade_schedule *schedule, int first, int n);
/* Bytes of the arena that a problem needs. */
size_t spade_flight_bytes(spade_device *device, const spade_solve_options *options, const spade_problem *problem);
/* Multiply-adds of factor and sweeps. */
double spade_problem_work(const spade_problem *problem);
/* Columns a block, clipped. */
int64_t spade_problem_block(const spade_problem *problem);
/* S = 0: the layer stays as it is. */
void spade_solve_keep(const spade_problem *problem, spade_solution *solution);

/* ---- counts.c: weights to prune in each block, and in the last one: floor(sparsity * rows * width), one more as
 * published; never more than there are. */
void spade_solve_counts(const spade_problem *problem, double sparsity, spade_count count, int64_t block,
                        int64_t prune[2]);

/* ---- fast.c: factors of the fast problems in flight; then a sweep of each one's solution at hand. Enqueued only. */
spade_status spade_solve_factor(spade_device *device, spade_flight *flight);
spade_status spade_solve_sweep(spade_device *device, const spade_solve_options *options, spade_flight *flight);

/* ---- baseline.c: magnitude and random. Masks are found on the host, losses on the device. */
spade_status spade_solve_baselines(spade_device *device, const spade_solve_options *options, spade_solving *flight,
                                   int n);
size_t spade_baseline_host_bytes(const spade_problem *problem);
size_t spade_baseline_device_bytes(const spade_problem *problem);

/* ---- exact.c: the problems of a call that ask for the exact solver and have something to prune, pool by pool. */
typedef struct spade_exact_call {
    spade_context *context;
    const spade_solve_options *options;
    spade_problem *problems;
    int count;
    const spade_solve_client *client;
    double work_total, work_done; /* for progress */
} spade_exact_call;
spade_status spade_solve_exact(spade_exact_call *call);
/* Bytes of a problem and the others of its pool, `problems` in all, on one row at a time. */
uint64_t spade_solve_exact_bytes(const spade_context *context, const spade_problem *problem, int64_t problems);
/* Multiply-adds of one problem. */
double spade_solve_exact_work(const spade_problem *problem);
/* Columns of one group of the problem. */
int64_t spade_solve_exact_group(const spade_problem *problem);

#endif
