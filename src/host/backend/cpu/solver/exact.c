/*
 * exact.c - what the exact solver asks of the backend: the inverse from its factor, the elimination order of every row,
 * the weights that are best on what a row keeps. float64. Rows are independent: a row is one thread's work, or, where
 * there are fewer rows than threads, several threads' with the same bits.
 */
#include <cblas.h>
#include <lapacke.h>
#include <math.h>

#include "backend/cpu/solver/exact_row.h"
#include "backend/cpu/solver/solver.h"

enum {
    TILE = 192, /* columns of the inverse that one thread computes at a time */
    MIRROR = 64 /* edge of the squares that are mirrored at a time */
};

/* ---- inverse: H = V V^T, so column block j of X = H^-1 is V^-T (V^-1 E_j); above the diagonal both solves touch only
 * the leading part of V, up to the end of block j. */

static void mirror_upper(double *a, int64_t k, int threads)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (k > TILE)
    for (int64_t i = 0; i < k; i += MIRROR) {
        for (int64_t j = i; j < k; j += MIRROR) {
            for (int64_t r = i; r < k && r < i + MIRROR; r++) {
                for (int64_t c = j > r ? j : r + 1; c < k && c < j + MIRROR; c++) { a[c * k + r] = a[r * k + c]; }
            }
        }
    }
}

static void solve_columns(const double *v, int64_t k, int64_t first, int64_t last, double *x)
{
    int width = (int)(last - first);
    memset(x, 0, (size_t)(last * width) * sizeof *x);
    for (int64_t j = 0; j < width; j++) { x[(first + j) * width + j] = 1.0; }
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, (int)last, width, 1.0, v, (int)k, x,
                width);
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasTrans, CblasNonUnit, (int)last, width, 1.0, v, (int)k, x,
                width);
}

/* Blocks are written back from the last to the first: those to the left do not need them any more. */
static void invert(double *a, int64_t k, int threads, double *scratch)
{
    int64_t tiles = (k + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic, 1) ordered num_threads(threads) if (tiles > 1)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t first = (tiles - 1 - t) * TILE, last = first + TILE < k ? first + TILE : k, width = last - first;
        double *x = scratch + (int64_t)omp_get_thread_num() * k * TILE;
        solve_columns(a, k, first, last, x);
#pragma omp ordered
        for (int64_t i = 0; i < last; i++) { memcpy(a + i * k + first, x + i * width, (size_t)width * sizeof *x); }
    }
    mirror_upper(a, k, threads);
}

static int64_t inverse_threads(const spade_device *device, int64_t k)
{
    int64_t tiles = (k + TILE - 1) / TILE, threads = spade_cpu_threads(device);
    return tiles < threads ? tiles : threads;
}

size_t spade_cpu_inverse_workspace_bytes(spade_device *device, int64_t k)
{
    return (size_t)(inverse_threads(device, k) * k * TILE) * sizeof(double);
}

/* Large ones one after the other, each by all threads; small ones side by side. */
spade_status spade_cpu_inverse(spade_device *device, spade_factor_args *problems, int n)
{
    int before = spade_set_num_threads(1);
    for (int p = 0; p < n; p++) {
        const spade_factor_args *a = &problems[p];
        if (a->k > TILE) { invert(a->hessian, a->k, (int)inverse_threads(device, a->k), a->workspace); }
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(spade_cpu_threads(device))
    for (int p = 0; p < n; p++) {
        const spade_factor_args *a = &problems[p];
        if (a->k <= TILE) { invert(a->hessian, a->k, 1, a->workspace); }
    }
    spade_set_num_threads(before);
    return SPADE_OK;
}

/* ---- the weights that are best on what a row keeps */

/* Columns of the smaller half of a row. */
static int64_t smaller_half(int64_t columns)
{
    return columns / 2 > 0 ? columns / 2 : 1;
}

static size_t refit_bytes(int64_t columns)
{
    size_t n = (size_t)smaller_half(columns);
    return (n * n + n) * sizeof(double) + (size_t)columns * sizeof(int32_t);
}

/* The columns that the row drops, ascending, into list from the start, those that it keeps behind them. */
static int64_t split_columns(const spade_exact_args *a, int64_t row, double *mark, int32_t *list)
{
    int64_t groups = a->columns / a->group, dropped = 0, kept;
    const int32_t *order = a->order + row * groups;
    for (int64_t j = 0; j < a->columns; j++) { mark[j] = 0.0; }
    for (int64_t t = 0; t < a->counts[row]; t++) {
        for (int64_t j = 0; j < a->group; j++) { mark[order[t] * a->group + j] = 1.0; }
    }
    for (int64_t j = 0; j < a->columns; j++) {
        if (mark[j] != 0.0) { list[dropped++] = (int32_t)j; }
    }
    kept = dropped;
    for (int64_t j = 0; j < a->columns; j++) {
        if (mark[j] == 0.0) { list[kept++] = (int32_t)j; }
    }
    return dropped;
}

/* Solve a[list, list] x = x in place; only the upper triangle of a [k, k] is read. m: scratch [n, n]. */
static bool solve_part(const double *a, int64_t k, const int32_t *list, int64_t n, double *m, double *x)
{
    for (int64_t i = 0; i < n; i++) {
        const double *from = a + list[i] * k;
        for (int64_t j = i; j < n; j++) { m[i * n + j] = from[list[j]]; }
    }
    if (n == 0) { return true; }
    if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', (int)n, m, (int)n) != 0) { return false; }
    return LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', (int)n, 1, m, (int)n, x, (int)n) == 0;
}

/* Few kept (S; D dropped): w_S + H_SS^-1 H_SD w_D. H: upper triangle. */
static bool refit_kept(const spade_exact_args *a, const double *w, double *q, const int32_t *dropped, int64_t n,
                       const int32_t *kept, int64_t m, double *scratch)
{
    double *x = scratch + m * m;
    for (int64_t i = 0; i < m; i++) {
        const double *h = a->hessian + kept[i] * a->columns;
        double sum = 0;
        for (int64_t j = n - 1; j >= 0 && dropped[j] > kept[i]; j--) { sum += h[dropped[j]] * w[dropped[j]]; }
        x[i] = sum;
    }
    for (int64_t j = 0; j < n; j++) {
        const double *h = a->hessian + dropped[j] * a->columns;
        double weight = w[dropped[j]];
        for (int64_t i = m - 1; i >= 0 && kept[i] > dropped[j]; i--) { x[i] += h[kept[i]] * weight; }
    }
    if (!solve_part(a->hessian, a->columns, kept, m, scratch, x)) { return false; }
    for (int64_t i = 0; i < m; i++) { q[kept[i]] = w[kept[i]] + x[i]; }
    return true;
}

/* Few dropped: w_S - A_SD A_DD^-1 w_D, A = H^-1. */
static bool refit_dropped(const spade_exact_args *a, const double *w, double *q, const int32_t *dropped, int64_t n,
                          const int32_t *kept, int64_t m, double *scratch)
{
    double *x = scratch + n * n;
    for (int64_t j = 0; j < n; j++) { x[j] = w[dropped[j]]; }
    if (!solve_part(a->inverse, a->columns, dropped, n, scratch, x)) { return false; }
    for (int64_t i = 0; i < m; i++) {
        const double *inverse = a->inverse + kept[i] * a->columns;
        double sum = 0;
        for (int64_t j = 0; j < n; j++) { sum += inverse[dropped[j]] * x[j]; }
        q[kept[i]] = w[kept[i]] - sum;
    }
    return true;
}

static bool refit_row(const spade_exact_args *a, int64_t row, void *workspace, int num_threads)
{
    (void)num_threads;
    int64_t k = a->columns, half = smaller_half(k);
    double *scratch = workspace, *q = a->q + row * k;
    int32_t *list = (int32_t *)(scratch + half * half + half);
    const double *w = a->w + row * k;
    int64_t dropped = split_columns(a, row, q, list), kept = k - dropped;
    for (int64_t j = 0; j < dropped; j++) { q[list[j]] = 0.0; }
    return kept < dropped ? refit_kept(a, w, q, list, dropped, list + dropped, kept, scratch)
                          : refit_dropped(a, w, q, list, dropped, list + dropped, kept, scratch);
}

/* ---- rows of several problems as one list */

typedef struct row_list {
    bool (*run)(const spade_exact_args *args, int64_t row, void *workspace, int num_threads);
    spade_exact_args *problems;
    int n;
    int64_t *starts; /* [n + 1] number of each problem's first row in the list */
    char *workspace;
    size_t bytes; /* of one row's working memory */
} row_list;

static void run_row(const row_list *list, int64_t job, int thread, int num_threads)
{
    int low = 0, high = list->n - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (list->starts[middle] <= job) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    spade_exact_args *args = &list->problems[low];
    void *workspace = list->workspace + (size_t)thread * list->bytes;
    if (!list->run(args, job - list->starts[low], workspace, num_threads)) {
        __atomic_store_n((int *)&args->status, (int)SPADE_ERROR_NUMERICAL, __ATOMIC_RELAXED);
    }
}

/*
 * `lanes` rows at once. What is left over at the end, where it is few rows: one after the other, by all threads.
 */
static spade_status run_rows(spade_device *device, row_list *list, size_t bytes, bool share)
{
    int threads = spade_cpu_threads(device);
    size_t together = 0;
    list->starts = calloc((size_t)list->n + 1, sizeof *list->starts);
    if (!list->starts) {
        return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", list->n);
    }
    for (int p = 0; p < list->n; p++) {
        const spade_exact_args *a = &list->problems[p];
        size_t own = spade_cpu_exact_bytes(device, a->columns, a->group, 1),
               num_threads = spade_cpu_exact_row_bytes(a->columns, a->group, threads);
        list->bytes = own > list->bytes ? own : list->bytes;
        together = num_threads > together ? num_threads : together;
        list->starts[p + 1] = list->starts[p] + a->rows;
        list->problems[p].status = SPADE_OK;
    }
    size_t fitting = list->bytes ? bytes / list->bytes : 1;
    int lanes = fitting < (size_t)threads ? (int)fitting : threads;
    int64_t rows = list->starts[list->n], rest = rows % lanes, shared = 0;
    if (share && together <= bytes && 2 * rest <= threads) { shared = rest; }
    int before = spade_set_num_threads(1);
#pragma omp parallel for schedule(dynamic, 1) num_threads(lanes)
    for (int64_t job = 0; job < rows - shared; job++) { run_row(list, job, omp_get_thread_num(), 1); }
    for (int64_t job = rows - shared; job < rows; job++) { run_row(list, job, 0, threads); }
    spade_set_num_threads(before);
    free(list->starts);
    return SPADE_OK;
}

size_t spade_cpu_exact_bytes(spade_device *device, int64_t columns, int64_t group, int64_t rows)
{
    int64_t threads = spade_cpu_threads(device);
    size_t order = spade_cpu_exact_row_bytes(columns, group, 1), refit = refit_bytes(columns);
    size_t bytes = order > refit ? order : refit;
    bytes = (bytes + SPADE_CPU_ALIGNMENT - 1) / SPADE_CPU_ALIGNMENT * SPADE_CPU_ALIGNMENT;
    return bytes * (size_t)(rows < threads ? rows : threads);
}

int64_t spade_cpu_exact_max_rows(spade_device *device)
{
    return spade_cpu_threads(device);
}

spade_status spade_cpu_eliminate(spade_device *device, spade_exact_args *problems, int n, void *workspace, size_t bytes)
{
    row_list list = {.run = spade_cpu_exact_row, .problems = problems, .n = n, .workspace = workspace};
    return run_rows(device, &list, bytes, true);
}

spade_status spade_cpu_refit(spade_device *device, spade_exact_args *problems, int n, void *workspace, size_t bytes)
{
    row_list list = {.run = refit_row, .problems = problems, .n = n, .workspace = workspace};
    return run_rows(device, &list, bytes, false);
}
