/*
 * dual.c - the factor of a Hessian with fewer samples than columns, without the Hessian; backend_solver.h has the
 * derivation, kernels/dual.cu what lies between cuBLAS's products. Panels are as the sweep has them, so that V_BB is a small
 * factor of one block.
 */
#include <math.h>

#include "backend/cuda/gemm.h"
#include "backend/cuda/hessian/hessian.h"
#include "backend/cuda/solver/solver.h"

spade_cuda_dual spade_cuda_dual_of(const spade_dual_args *args)
{
    const int64_t block = args->block <= 0 || args->block > args->columns ? args->columns : args->block;
    spade_cuda_dual d = {.panel = spade_cuda_panel(args->columns, block)};
    const int64_t panels = (args->columns + d.panel - 1) / d.panel;
    size_t used = 0;
    d.v = spade_cuda_take(args->factor, &used, (size_t)(panels * d.panel * d.panel) * sizeof(double));
    d.t = spade_cuda_take(args->factor, &used, (size_t)(args->columns * args->samples) * sizeof(double));
    d.bytes = used;
    return d;
}

size_t spade_cuda_dual_factor_bytes(spade_device *device, int64_t columns, int64_t samples, int64_t block)
{
    (void)device;
    return spade_cuda_dual_of(&(spade_dual_args){.columns = columns, .samples = samples, .block = block}).bytes;
}

/* The workspace; base NULL: only its size. */
typedef struct workspace {
    spade_dual_kernel kernel;
    double *inputs, *solved; /* X_B^T, A [n, panel] */
    int *failed;             /* of one panel; the end looks at all of V */
    size_t bytes;
} workspace;

static workspace lay_out(const spade_dual_args *args)
{
    const size_t number = sizeof(double), n = (size_t)args->samples;
    const size_t panel = (size_t)spade_cuda_dual_of(args).panel;
    workspace w = {.kernel = {.k = args->columns,
                              .n = args->samples,
                              .scale = args->scale,
                              .damping = args->damping,
                              .x = args->x,
                              .dead = args->dead}};
    w.kernel.squares = spade_cuda_take(args->workspace, &w.bytes, (size_t)args->columns * number);
    w.kernel.shift = spade_cuda_take(args->workspace, &w.bytes, number);
    w.kernel.inverse = spade_cuda_take(args->workspace, &w.bytes, n * n * number);
    w.inputs = spade_cuda_take(args->workspace, &w.bytes, n * panel * number);
    w.solved = spade_cuda_take(args->workspace, &w.bytes, n * panel * number);
    w.failed = spade_cuda_take(args->workspace, &w.bytes, sizeof *w.failed);
    return w;
}

size_t spade_cuda_dual_workspace_bytes(spade_device *device, int64_t columns, int64_t samples, int64_t block)
{
    (void)device;
    return lay_out(&(spade_dual_args){.columns = columns, .samples = samples, .block = block}).bytes;
}

/* c [m, width] = alpha a b + beta c with a [m, k], or its transpose [k, m]. */
static spade_status multiply(const spade_cuda_device *cuda, bool transpose_a, int64_t m, int64_t width, int64_t k,
                             double alpha, const double *a, const double *b, double beta, double *c)
{
    const spade_cuda_product product = {.fp64 = true,
                                        .transpose_a = transpose_a,
                                        .m = m,
                                        .n = width,
                                        .k = k,
                                        .batch = 1,
                                        .alpha = alpha,
                                        .beta = beta,
                                        .a = a,
                                        .b = b,
                                        .c = c,
                                        .lda = transpose_a ? m : k,
                                        .ldb = width,
                                        .ldc = width};
    return spade_cuda_multiply(cuda, &product);
}

spade_status spade_cuda_dual_inputs(const spade_cuda_device *cuda, const spade_dual_args *args, int64_t first,
                                    int64_t width, double *out)
{
    SPADE_CUDA_LAUNCH(cuda, spade_launch_dual_inputs(cuda->stream, args->x + first * args->samples, args->samples,
                                                     width, sqrt(args->scale), out));
    return SPADE_OK;
}

spade_status spade_cuda_dual_gather(const spade_cuda_device *cuda, const spade_dual_args *args, int64_t rows,
                                    int64_t index, const double *removed, double *inputs, double *sums, double *left)
{
    const spade_cuda_dual d = spade_cuda_dual_of(args);
    const int64_t n = args->samples, first = index * d.panel, rest = args->columns - first;
    const int64_t width = rest < d.panel ? rest : d.panel, before = first - d.panel;
    SPADE_TRY(spade_cuda_dual_inputs(cuda, args, before, d.panel, inputs));
    SPADE_TRY(multiply(cuda, false, n, rows, d.panel, 1, inputs, removed + before * rows, 1, sums));
    return multiply(cuda, false, width, rows, n, 1, d.t + first * n, sums, 0, left);
}

static spade_status run_panel(const spade_cuda_device *cuda, const spade_dual_args *args, const workspace *w,
                              int64_t index)
{
    const spade_cuda_dual d = spade_cuda_dual_of(args);
    const int64_t n = args->samples, first = index * d.panel, rest = args->columns - first;
    const int64_t width = rest < d.panel ? rest : d.panel;
    double *v = d.v + index * d.panel * d.panel, *t = d.t + first * n;
    spade_factor_batch small = {.n = 1, .problems = {{width, v, w->failed}}};
    SPADE_TRY(spade_cuda_dual_inputs(cuda, args, first, width, w->inputs));
    SPADE_TRY(multiply(cuda, false, n, width, n, 1, w->kernel.inverse, w->inputs, 0, w->solved));
    SPADE_TRY(multiply(cuda, true, width, width, n, 1, w->inputs, w->solved, 0, v));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_dual_shift(cuda->stream, width, w->kernel.shift, args->dead + first, v));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_factor_small(cuda->stream, &small));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_dual_solve(cuda->stream, n, width, v, w->solved, t));
    return index ? multiply(cuda, true, n, n, width, -1, t, t, 1, w->kernel.inverse) : SPADE_OK;
}

static void deliver(void *args, const spade_result_kernel *result)
{
    ((spade_dual_args *)args)->status = result->failed ? SPADE_ERROR_NUMERICAL : SPADE_OK;
}

static spade_status factor_part(spade_cuda_device *cuda, void *args, int n, void *user)
{
    spade_dual_args *problems = args;
    spade_result_kernel *results;
    (void)user;
    SPADE_TRY(spade_cuda_results_take(cuda, problems, sizeof *problems, n, deliver, &results));
    for (int i = 0; i < n; i++) {
        const spade_dual_args *p = &problems[i];
        const spade_cuda_dual d = spade_cuda_dual_of(p);
        const workspace w = lay_out(p);
        problems[i].status = SPADE_OK;
        SPADE_CUDA_LAUNCH(cuda, spade_launch_dual_begin(cuda->stream, &w.kernel));
        for (int64_t index = (p->columns - 1) / d.panel; index >= 0; index--) {
            SPADE_TRY(run_panel(cuda, p, &w, index));
        }
        SPADE_CUDA_LAUNCH(cuda, spade_launch_dual_check(cuda->stream, p->columns, d.panel, d.v, &results[i].failed));
    }
    return SPADE_OK;
}

spade_status spade_cuda_dual_factor(spade_device *device, spade_dual_args *problems, int n)
{
    return spade_cuda_in_parts(spade_cuda_of(device), problems, sizeof *problems, n, factor_part, NULL);
}

/* ---- cost, in the nanoseconds of the Hessian's forms (cuda/hessian/hessian.h) */

double spade_cuda_fast_cost(spade_device *device, int64_t rows, int64_t columns, int64_t block, int64_t samples)
{
    static const double RATE = 10e3; /* float64 multiply-adds of large products, a nanosecond */
    enum { LAUNCHES = 10 };          /* of a panel, one after the other */
    (void)device;
    double k = (double)columns, r = (double)rows, n = (double)samples;
    if (samples == 0) { return k * k * (k / 3 + r / 2) / RATE; }
    const int64_t clipped = block <= 0 || block > columns ? columns : block;
    const double panel = (double)spade_cuda_panel(columns, clipped);
    if (panel > SPADE_FACTOR_SMALL) { return -1; } /* V_BB would not be a small factor */
    return 2 * k * n * (n + r + panel) / RATE + k / panel * LAUNCHES * SPADE_CUDA_LAUNCH_COST;
}
