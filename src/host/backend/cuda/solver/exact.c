/* exact.c - the exact solver's rows: elimination orders, weights (kernels/exact_eliminate.cu, exact_refit.cu). */
#include "backend/cuda/solver/solver.h"

enum {
    ROWS_A_PROCESSOR = 2
}; /* rows worked on at once on a multiprocessor: one's barriers beside another's arithmetic */

typedef struct row_kernel {
    int (*launch)(spade_stream stream, const spade_exact_batch *batch, int64_t max_rows, void *workspace);
    size_t (*row_bytes)(int64_t columns, int64_t group);
    bool counts; /* it reads them */
} row_kernel;

static size_t refit_bytes(int64_t columns, int64_t group)
{
    (void)group;
    return spade_refit_row_bytes(columns);
}

static const row_kernel elimination = {spade_launch_eliminate, spade_exact_row_bytes, false};
static const row_kernel refitting = {spade_launch_refit, refit_bytes, true};

int64_t spade_cuda_exact_max_rows(spade_device *device)
{
    return (int64_t)spade_cuda_of(device)->processors * ROWS_A_PROCESSOR;
}

size_t spade_cuda_exact_bytes(spade_device *device, int64_t columns, int64_t group, int64_t rows)
{
    int64_t max_rows = spade_cuda_exact_max_rows(device);
    size_t order = spade_exact_row_bytes(columns, group), refit = spade_refit_row_bytes(columns);
    return (order > refit ? order : refit) * (size_t)(rows < max_rows ? rows : max_rows);
}

/* A batch that is being filled, and the counts of its rows. */
typedef struct filling {
    spade_cuda_device *cuda;
    const row_kernel *kernel;
    void *workspace;
    size_t bytes;
    spade_exact_batch batch;
    int64_t counts[SPADE_CUDA_COUNTS];
    int64_t rows;
} filling;

static spade_status run_batch(filling *f)
{
    spade_cuda_device *cuda = f->cuda;
    if (!f->batch.n) { return SPADE_OK; }
    int64_t max_rows = (int64_t)(f->bytes / f->kernel->row_bytes(f->batch.columns, f->batch.group));
    if (f->kernel->counts) {
        SPADE_TRY(spade_cuda_upload(&cuda->base, cuda->solve->counts, f->counts, (size_t)f->rows * sizeof *f->counts));
    }
    SPADE_CUDA_LAUNCH(cuda, f->kernel->launch(cuda->stream, &f->batch, max_rows, f->workspace));
    f->batch.n = 0;
    f->rows = 0;
    return SPADE_OK;
}

/* The rows [first, first + rows) of a problem. */
static void add_rows(filling *f, const spade_exact_args *p, int64_t first, int64_t rows, int *failed)
{
    int64_t k = p->columns, groups = k / p->group;
    spade_exact_kernel *to = &f->batch.problems[f->batch.n++];
    *to = (spade_exact_kernel){.rows = rows,
                               .inverse = p->inverse,
                               .hessian = p->hessian,
                               .w = p->w + first * k,
                               .order = p->order + first * groups,
                               .losses = p->losses + first * groups,
                               .q = p->q + first * k,
                               .failed = failed};
    if (f->kernel->counts) {
        to->counts = f->cuda->solve->counts + f->rows;
        memcpy(f->counts + f->rows, p->counts + first, (size_t)rows * sizeof *f->counts);
    }
    f->batch.columns = k;
    f->batch.group = p->group;
    f->rows += rows;
}

static spade_status add_problem(filling *f, const spade_exact_args *p, int *failed)
{
    bool alike = f->batch.n > 0 && p->columns == f->batch.columns && p->group == f->batch.group;
    if (!alike) { SPADE_TRY(run_batch(f)); }
    for (int64_t first = 0; first < p->rows;) {
        int64_t left = p->rows - first, room = SPADE_CUDA_COUNTS - f->rows;
        if (room == 0 || f->batch.n == SPADE_SOLVE_BATCH) {
            SPADE_TRY(run_batch(f));
            continue;
        }
        int64_t rows = left < room ? left : room;
        add_rows(f, p, first, rows, failed);
        first += rows;
    }
    return SPADE_OK;
}

static void deliver(void *args, const spade_result_kernel *result)
{
    ((spade_exact_args *)args)->status = result->failed ? SPADE_ERROR_NUMERICAL : SPADE_OK;
}

static spade_status run_part(spade_cuda_device *cuda, void *args, int n, void *user)
{
    filling *f = user;
    spade_exact_args *problems = args;
    spade_result_kernel *results;
    SPADE_TRY(spade_cuda_results_take(cuda, problems, sizeof *problems, n, deliver, &results));
    SPADE_TRY(spade_cuda_zero(&cuda->base, results, (size_t)n * sizeof *results));
    for (int i = 0; i < n; i++) {
        problems[i].status = SPADE_OK;
        SPADE_TRY(add_problem(f, &problems[i], &results[i].failed));
    }
    return run_batch(f);
}

static spade_status run(spade_device *device, const row_kernel *kernel, spade_exact_args *problems, int n,
                        void *workspace, size_t bytes)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    filling *f = calloc(1, sizeof *f);
    if (!f) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of rows"); }
    *f = (filling){.cuda = cuda, .kernel = kernel, .workspace = workspace, .bytes = bytes};
    spade_status status = spade_cuda_in_parts(cuda, problems, sizeof *problems, n, run_part, f);
    free(f);
    return status;
}

spade_status spade_cuda_eliminate(spade_device *device, spade_exact_args *problems, int n, void *workspace,
                                  size_t bytes)
{
    return run(device, &elimination, problems, n, workspace, bytes);
}

spade_status spade_cuda_refit(spade_device *device, spade_exact_args *problems, int n, void *workspace, size_t bytes)
{
    return run(device, &refitting, problems, n, workspace, bytes);
}
