/*
 * sweep.c - the fast solver's sweeps, panel by panel (kernels/sweep.cu): the panels of one index, of all problems at
 * hand, are one launch, so that the time of a flight is that of its longest problem. All in float64, whatever precision
 * is enough: the chain of decisions takes the time, not the products. Where V is not there, cuBLAS gathers (dual.c).
 */
#include "backend/cuda/solver/solver.h"

static int64_t clip_block(int64_t columns, int64_t block)
{
    return block <= 0 || block > columns ? columns : block;
}

/* A sweep, and what it has instead of V. */
typedef struct sweep {
    spade_sweep_kernel kernel;
    const spade_dual_args *dual; /* NULL: it has V */
    double *sums, *inputs;       /* [samples, rows]; [samples, panel] */
} sweep;

int64_t spade_cuda_panel(int64_t columns, int64_t block)
{
    int64_t panel = block >= SPADE_SWEEP_PANEL ? block : SPADE_SWEEP_PANEL / block * block;
    return panel < columns ? panel : columns;
}

/* Parts that a gather is summed up from, at most. */
static int64_t parts_of(int64_t columns, int64_t panel)
{
    int64_t before = (columns - 1) / panel * panel; /* columns left of the last panel */
    return (before + SPADE_SWEEP_DEPTH - 1) / SPADE_SWEEP_DEPTH;
}

/* A sweep's arrays in its workspace; base NULL: only their size. */
static size_t lay_out(int64_t rows, int64_t columns, int64_t block, int64_t samples, void *base, sweep *s)
{
    size_t used = 0, r = (size_t)rows, number = sizeof(double);
    block = clip_block(columns, block);
    int64_t panel = spade_cuda_panel(columns, block), parts = samples ? 0 : parts_of(columns, panel);
    spade_sweep_kernel *out = &s->kernel;
    *s = (sweep){.dual = NULL};
    *out = (spade_sweep_kernel){.rows = rows, .columns = columns, .block = block, .panel = panel};
    out->weights = spade_cuda_take(base, &used, r * (size_t)columns * sizeof(float));
    out->removed = spade_cuda_take(base, &used, r * (size_t)columns * number);
    out->left = spade_cuda_take(base, &used, r * (size_t)panel * number);
    out->partial = parts > 1 ? spade_cuda_take(base, &used, r * (size_t)(panel * parts) * number) : NULL;
    out->scores = spade_cuda_take(base, &used, r * (size_t)block * number);
    out->errors = spade_cuda_take(base, &used, r * number);
    s->sums = spade_cuda_take(base, &used, r * (size_t)samples * number);
    s->inputs = spade_cuda_take(base, &used, (size_t)(panel * samples) * number);
    return used;
}

size_t spade_cuda_sweep_workspace_bytes(spade_device *device, int64_t rows, int64_t columns, int64_t block,
                                        int64_t samples, spade_precision precision)
{
    (void)device;
    (void)precision; /* always float64 */
    sweep s;
    return lay_out(rows, columns, block, samples, NULL, &s);
}

static spade_status begin(spade_cuda_device *cuda, const spade_sweep_args *args, spade_result_kernel *result, sweep *s)
{
    const spade_dual_args *dual = args->dual;
    spade_sweep_kernel *out = &s->kernel;
    lay_out(args->rows, args->columns, args->block, dual ? dual->samples : 0, args->workspace, s);
    s->dual = dual;
    out->n_of_m = args->n_of_m;
    out->keep = args->keep;
    out->prune = args->prune;
    out->prune_last = args->prune_last;
    out->dual = dual != NULL;
    out->v = dual ? spade_cuda_dual_of(dual).v : args->v;
    if (dual) {
        SPADE_TRY(spade_cuda_zero(&cuda->base, s->sums, (size_t)(args->rows * dual->samples) * sizeof *s->sums));
    }
    SPADE_CUDA_LAUNCH(cuda, spade_launch_sweep_begin(cuda->stream, out, args->dense, args->dead, result));
    return SPADE_OK;
}

static bool has_panel(const spade_sweep_kernel *kernel, int64_t index)
{
    return index * kernel->panel < kernel->columns;
}

/* Panel `index` of those that have one. */
static spade_status run_panels(spade_cuda_device *cuda, const sweep *sweeps, int n, int64_t index)
{
    spade_sweep_batch batch = {.n = 0};
    bool gathers = false;
    for (int i = 0; i < n; i++) {
        const spade_sweep_kernel *kernel = &sweeps[i].kernel;
        if (has_panel(kernel, index)) {
            batch.problems[batch.n++] = *kernel;
            gathers = gathers || !kernel->dual;
        }
        if (has_panel(kernel, index) && kernel->dual && index > 0) {
            SPADE_TRY(spade_cuda_dual_gather(cuda, sweeps[i].dual, kernel->rows, index, kernel->removed,
                                             sweeps[i].inputs, sweeps[i].sums, kernel->left));
        }
        if (batch.n == SPADE_SOLVE_BATCH || (i == n - 1 && batch.n)) {
            if (index > 0 && gathers) {
                SPADE_CUDA_LAUNCH(cuda, spade_launch_sweep_gather(cuda->stream, &batch, index));
            }
            SPADE_CUDA_LAUNCH(cuda, spade_launch_sweep_panel(cuda->stream, &batch, index));
            batch.n = 0;
            gathers = false;
        }
    }
    return SPADE_OK;
}

static void deliver(void *args, const spade_result_kernel *result)
{
    spade_sweep_args *problem = args;
    problem->loss = result->value;
    problem->zeros = (int64_t)result->zeros;
    problem->status = result->failed ? SPADE_ERROR_NUMERICAL : SPADE_OK;
}

/* user: sweeps [n] */
static spade_status run_part(spade_cuda_device *cuda, void *args, int n, void *user)
{
    spade_sweep_args *problems = args;
    sweep *sweeps = user;
    spade_result_kernel *results;
    int64_t panels = 0;
    SPADE_TRY(spade_cuda_results_take(cuda, problems, sizeof *problems, n, deliver, &results));
    for (int i = 0; i < n; i++) {
        problems[i].status = SPADE_OK;
        SPADE_TRY(begin(cuda, &problems[i], results + i, &sweeps[i]));
        int64_t own = (sweeps[i].kernel.columns + sweeps[i].kernel.panel - 1) / sweeps[i].kernel.panel;
        panels = own > panels ? own : panels;
    }
    for (int64_t index = 0; index < panels; index++) { SPADE_TRY(run_panels(cuda, sweeps, n, index)); }
    for (int i = 0; i < n; i++) {
        SPADE_CUDA_LAUNCH(cuda,
                          spade_launch_sweep_end(cuda->stream, &sweeps[i].kernel, problems[i].sparse, results + i));
    }
    return SPADE_OK;
}

spade_status spade_cuda_sweep(spade_device *device, spade_sweep_args *problems, int n)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    size_t most = n < SPADE_CUDA_RESULTS ? (size_t)n : SPADE_CUDA_RESULTS; /* of a part */
    sweep *sweeps = calloc(most + 1, sizeof *sweeps);
    if (!sweeps) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d sweeps", n); }
    spade_status status = spade_cuda_in_parts(cuda, problems, sizeof *problems, n, run_part, sweeps);
    free(sweeps);
    return status;
}
