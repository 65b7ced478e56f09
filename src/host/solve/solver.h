/*
 * solver.h - the solve stage's inside: the layer tasks that trace/ hands over, and what the stage's files share.
 */
#ifndef SPADE_SOLVE_SOLVER_H
#define SPADE_SOLVE_SOLVER_H

#include "backend/backend.h"
#include "spade/solve.h"

/* ---- layers.c: layers of a network, whose Hessians and weights lie on the device */

/*
 * How a layer is solved: all that its solutions at different sparsities have in common. There are no gaps between the
 * members, so that methods are compared and hashed as bytes, and a new member takes part in both.
 */
typedef struct spade_layer_method {
    spade_solver solver;
    spade_group group;     /* of the exact solver */
    spade_count count;     /* as in spade_solve_options, like the three below */
    spade_precision sweep; /* (solve.h says when FP32 is read) */
    int keep, of;          /* n:m; of = 0: unstructured */
    int64_t block;         /* columns a block */
    uint64_t seed;
    double damping;
} spade_layer_method;
_Static_assert(sizeof(spade_layer_method) == 6 * sizeof(int) + 3 * sizeof(int64_t), "a gap would be hashed");

static inline bool spade_layer_method_equal(const spade_layer_method *a, const spade_layer_method *b)
{
    const void *left = a, *right = b;
    return memcmp(left, right, sizeof *a) == 0;
}
static inline uint64_t spade_layer_method_hash(const spade_layer_method *method, uint64_t seed)
{
    return spade_hash(method, sizeof *method, seed);
}

/* A layer's sparse weights at one sparsity. */
typedef struct spade_layer_solution {
    double sparsity; /* above 0 */
    float *weights;  /* out: [rows, columns]; device memory for the fast solver, host memory for the others */
    double loss;     /* out: of all groups */
    int64_t zeros;   /* out: of all groups */
} spade_layer_solution;

typedef struct spade_layer_task {
    int layer;                             /* its number: the random solver's stream depends on it */
    int64_t rows, columns, groups, kernel; /* rows of all groups; kernel: kh*kw */
    spade_layer_method method;
    /* The Hessian as backend->hessian_read takes it: description and accumulator, and which kernel position's block of it
     * is the layer's, -1: all of it. */
    const spade_hessian_desc *hessian;
    const void *accumulator;
    /* Dual form (fast solver): so many samples; `hessian` describes the inputs of all variants, which lie at
     * `accumulator`, and H = scale X X^T. 0: the Hessian is there. */
    int64_t samples;
    double scale;
    int64_t position;
    const float *dense, *device_dense; /* [rows, columns] on the host, on the device */
    spade_layer_solution *solutions;
    int solution_count;
    double seconds;       /* out: for all solutions */
    spade_status status;  /* out: the first group's that failed */
    int64_t failed_group; /* out: where status is not SPADE_OK */
    /* solve's own */
    int first_problem;
    int64_t pending_groups; /* not solved yet */
} spade_layer_task;

/* All groups of a task are solved. Called on the calling thread; a failure ends the call. */
typedef spade_status (*spade_layer_solved_fn)(void *user, int task);
/*
 * Solve layers; each task is reported as soon as it is solved, for an interrupted search to have its checkpoint.
 * SPADE_ERROR_NUMERICAL where a task failed (its status and failed_group say more); the others are solved all the same.
 */
spade_status spade_solve_layers(spade_context *context, spade_layer_task *tasks, int count,
                                spade_layer_solved_fn solved, void *user);
/* Bytes that a task needs at least while it is solved; its sizes and its method count. */
uint64_t spade_layer_task_bytes(const spade_context *context, const spade_layer_task *task);
/* Multiply-adds of all solutions of a task. */
double spade_layer_task_work(const spade_layer_task *task);

/* ---- a solver call: problems of spade_solve(), or the groups of layer tasks */

typedef struct spade_solver_problem {
    spade_problem *problem;
    spade_solve_options options;
    spade_layer_task *task; /* NULL: Hessian and weights are the problem's own, on the host */
    int64_t task_group;
    int64_t samples; /* of the task */
    bool gathered;   /* exact.c: it is solved with its layer, or was */
} spade_solver_problem;

typedef struct spade_solver_call {
    spade_context *context;
    spade_device *device;
    spade_solver_problem *problems;
    int count;
    spade_layer_task *tasks;      /* NULL: there are none */
    spade_layer_solved_fn solved; /* of a task */
    void *user;
    double work_total, work_done; /* for progress */
} spade_solver_call;

/* ---- solve.c */
/*
 * The fast solver has two forms: with the Hessian (samples 0), and without it from its samples, where they are fewer than
 * its columns (backend_solver.h: spade_dual_args). What the two choose differs in near ties only.
 *
 * Checks and solves the problems. One that fails numerically has its status set, and is no failure of the call. */
spade_status spade_solver_run(spade_solver_call *call);
spade_status spade_solver_check(spade_context *context, const spade_solve_options *options);
/* spade_solve_workspace(), of options that are ours already (base/caller_options.h). */
uint64_t spade_solver_problem_bytes(const spade_context *context, const spade_solve_options *options,
                                    const spade_problem *problem, int64_t samples);
/* The problem's Hessian to device memory [K, K]: at least its upper triangle (column >= row). */
spade_status spade_solver_load_hessian(const spade_solver_call *call, const spade_solver_problem *problem,
                                       double *device_hessian);
/* Whether any solution's sparsity is above 0; if none is, no Hessian is needed. */
bool spade_problem_prunes(const spade_problem *problem);
/* Multiply-adds of factor and sweeps. */
double spade_problem_work(const spade_problem *problem, int64_t samples);
/* Columns a block: at most all. */
int64_t spade_problem_block(const spade_problem *problem);
/* Weights to prune in each block, and in the last one, by every solver but the exact one: floor(sparsity * rows * width),
 * one more where the count is the published one; never more than there are. */
void spade_problem_prune_counts(const spade_problem *problem, double sparsity, spade_count count, int64_t block,
                                int64_t prune[2]);
/* The solution at sparsity 0: the weights stay as they are. */
void spade_solution_keep_dense(const spade_problem *problem, spade_solution *solution);
/* layers.c: a problem has been solved, or has failed. */
spade_status spade_solver_problem_done(spade_solver_call *call, const spade_solver_problem *problem);

/* ---- batch.c: problems that are solved together. The device's memory of each lies in one arena. */
typedef struct spade_batch_problem {
    const spade_solver_problem *source;
    spade_problem *problem;
    int64_t block;
    spade_solution *solution; /* of this round; NULL: the problem has no more of them, or has failed */
    int64_t prune[2];         /* of this round: weights of a block, of the last one */
    double *hessian;          /* device [K, K]: damped, then V; dual form: the dual factor */
    float *inputs;            /* device [K, samples]; dual form */
    uint8_t *dead;            /* device [K] */
    const float *dense;       /* device [R, K] */
    bool in_place;            /* dense and solution->sparse are device memory: nothing is copied */
    float *sparse;            /* device [R, K], of this round */
    void *workspace;          /* device: of the factor, then of the sweep; of a baseline */
    void *host;               /* scratch of a baseline */
    size_t host_bytes;
    /* The batch's; NULL: another form or solver, or the problem had failed before. */
    const spade_damp_args *damp;
    const spade_factor_args *factor;
    const spade_dual_args *dual;
} spade_batch_problem;

/* The backend writes to the arguments until the host waits for it, at the end of the batch. */
typedef struct spade_solve_batch {
    spade_batch_problem *problems;
    int n, rounds;          /* rounds: the largest number of solutions of a problem; round r makes the r-th of each */
    spade_damp_args *damps; /* [n] */
    spade_factor_args *factors; /* [n] */
    spade_dual_args *duals;     /* [n] */
    spade_sweep_args *sweeps;   /* [n * rounds], round by round */
    int sweep_count;
    int *sweep_of; /* [n * rounds]: the sweep of problem i's solution r, -1: none; at i * rounds + r */
} spade_solve_batch;

/* Solve problems[order[0 .. n)] of the call. */
spade_status spade_solve_batch_run(spade_solver_call *call, const int *order, int n, void *arena);
/* Bytes of the arena that a problem needs. */
size_t spade_solve_batch_bytes(spade_device *device, const spade_solve_options *options, const spade_problem *problem,
                               int64_t samples);
/* Whether it is known already that the problem has failed. */
bool spade_batch_problem_failed(const spade_batch_problem *problem);

/* ---- fast.c: factors of the batch's fast problems; sweeps for their solutions of a round. They only enqueue. */
spade_status spade_solve_factor(spade_device *device, spade_solve_batch *batch);
spade_status spade_solve_sweep(spade_device *device, spade_solve_batch *batch, int round);

/* ---- baseline.c: magnitude and random. Masks are found on the host, losses on the device. */
spade_status spade_solve_baselines(spade_device *device, const spade_solve_batch *batch);
size_t spade_baseline_host_bytes(const spade_problem *problem);
size_t spade_baseline_device_bytes(const spade_problem *problem);

/* ---- exact.c: the problems of a call that ask for the exact solver and have something to prune, layer by layer. */
spade_status spade_solve_exact(spade_solver_call *call);
/* Bytes of a layer of so many problems of this size, one row at a time. */
uint64_t spade_solve_exact_bytes(const spade_context *context, const spade_problem *problem, int64_t problems);
/* Multiply-adds of one problem. */
double spade_solve_exact_work(const spade_problem *problem);

#endif
