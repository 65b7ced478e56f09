/*
 * factor.c - H = V V^T with V upper triangular, in place, float64: the reversed Cholesky factorisation, so called
 * because V is the Cholesky factor of H with rows and columns reversed, reversed back. The sweep wants U with H^-1 =
 * U^T U, U upper: U = V^-1.
 *
 * Tiles from the last to the first (n the tile at hand, i <= j < n):
 *   H_nn = V_nn V_nn^T            (a small Cholesky, reversed)
 *   V_in = H_in V_nn^-T           (triangular solve)
 *   H_ij = H_ij - V_in V_jn^T     (product)
 * Every step is a task on whole tiles; the dependences order the updates of a tile, so the result does not depend on
 * the number of threads (LAPACK's own threads do change the last bits). Only the upper triangle is read.
 *
 * The solve leaves V_in also as a pack (microkernels.h), which every product with it reads. Packs of SLOTS steps have places
 * of their own, so that steps begin before those behind them have ended.
 */
#include <lapacke.h>
#include <math.h>

#include "backend/cpu/solver/solver.h"
#include "backend/cpu/microkernels.h"

enum {
    TILE = 192, /* a multiple of SPADE_LANES and SPADE_STRIP; only the last tile may be smaller */
    SLOTS = 4   /* steps whose packs are there at a time */
};

typedef struct matrix {
    const spade_microkernels *kernels;
    double *data; /* [k, k] */
    int64_t k, tiles;
    /* workspace; the step n uses slot n % SLOTS of what only several tiles need */
    double *packs;      /* [SLOTS][tiles - 1][TILE, TILE]: V_in */
    double *diagonal;   /* [SLOTS][TILE, TILE]: V_nn^T, a lower triangle */
    double *reciprocal; /* [SLOTS][TILE]: 1 / its diagonal */
    double *scratch;    /* [TILE, TILE], or [k, k] of a single tile */
    int failed;         /* set once a tile is not positive definite: the tasks that follow do nothing */
} matrix;

static double *tile_at(const matrix *m, int64_t i, int64_t j)
{
    return m->data + i * TILE * m->k + j * TILE;
}

static int tile_size(const matrix *m, int64_t i)
{
    int64_t left = m->k - i * TILE;
    return (int)(left < TILE ? left : TILE);
}

/* The pack of V_in: groups of rows, each [tile_size(n), LANES]. */
static double *pack_of(const matrix *m, int64_t i, int64_t n)
{
    return m->packs + ((n % SLOTS) * (m->tiles - 1) + i) * TILE * TILE;
}

static bool has_failed(const matrix *m)
{
    return __atomic_load_n(&m->failed, __ATOMIC_RELAXED) != 0;
}

/* A tile on the diagonal; one after the other. */
static void factor_tile(matrix *m, int64_t n)
{
    double *scratch = m->scratch;
    int size = tile_size(m, n);
    int64_t ld = m->k, last = size - 1;
    double *tile = tile_at(m, n, n), *transposed = m->diagonal + (n % SLOTS) * TILE * TILE;
    double *reciprocal = m->reciprocal + (n % SLOTS) * TILE;
    for (int64_t j = 0; j < size; j++) {
        for (int64_t i = j; i < size; i++) { scratch[j * size + i] = tile[(last - i) * ld + last - j]; }
    }
    int info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', size, scratch, size);
    for (int64_t j = 0; j < size; j++) {
        double diagonal = scratch[j * size + j];
        if (info != 0 || !isfinite(diagonal) || diagonal <= 0) {
            __atomic_store_n(&m->failed, 1, __ATOMIC_RELAXED);
            return;
        }
        if (n > 0) { reciprocal[last - j] = 1.0 / diagonal; }
        for (int64_t i = j; i < size; i++) {
            double v = scratch[j * size + i];
            tile[(last - i) * ld + last - j] = v;
            if (n > 0) { transposed[(last - j) * TILE + last - i] = v; }
        }
    }
}

/* LANES rows of H to a pack [width, LANES]; the last columns, fewer than a strip, one by one. */
static void load_group(const matrix *m, const double *from, int width, double *pack)
{
    int whole = width / SPADE_STRIP * SPADE_STRIP;
    for (int r = 0; r < SPADE_LANES; r += SPADE_STRIP) {
        for (int c = 0; c < whole; c += SPADE_STRIP) {
            m->kernels->transpose(from + r * m->k + c, m->k, pack + c * SPADE_LANES + r, SPADE_LANES);
        }
    }
    for (int r = 0; r < SPADE_LANES; r++) {
        for (int c = whole; c < width; c++) { pack[c * SPADE_LANES + r] = from[r * m->k + c]; }
    }
}

static void store_group(const matrix *m, double *to, int width, const double *pack)
{
    int whole = width / SPADE_STRIP * SPADE_STRIP;
    for (int r = 0; r < SPADE_LANES; r += SPADE_STRIP) {
        for (int c = 0; c < whole; c += SPADE_STRIP) {
            m->kernels->transpose(pack + c * SPADE_LANES + r, SPADE_LANES, to + r * m->k + c, m->k);
        }
    }
    for (int r = 0; r < SPADE_LANES; r++) {
        for (int c = whole; c < width; c++) { to[r * m->k + c] = pack[c * SPADE_LANES + r]; }
    }
}

/* V_in, a whole number of groups: in its place and as a pack. Strips of columns from the last to the first. */
static void solve_tile(const matrix *m, int64_t i, int64_t n)
{
    int width = tile_size(m, n);
    const double *t = m->diagonal + (n % SLOTS) * TILE * TILE, *reciprocal = m->reciprocal + (n % SLOTS) * TILE;
    double *tile = tile_at(m, i, n), *pack = pack_of(m, i, n);
    for (int64_t r = 0; r < TILE; r += SPADE_LANES, pack += width * SPADE_LANES) {
        load_group(m, tile + r * m->k, width, pack);
        for (int first = (width - 1) / SPADE_STRIP * SPADE_STRIP; first >= 0; first -= SPADE_STRIP) {
            int last = first + SPADE_STRIP < width ? first + SPADE_STRIP : width;
            double *x = pack + first * SPADE_LANES;
            m->kernels->product(width - last, pack + last * SPADE_LANES, t + last * TILE + first, TILE, last - first,
                                -1.0, x, SPADE_LANES);
            m->kernels->backward(last - first, t + first * (TILE + 1), TILE, reciprocal + first, x);
        }
        store_group(m, tile + r * m->k, width, pack);
    }
}

/*
 * The products of `steps` steps, n and those below it, with H_ij; where i = j, with its upper triangle and what lies in
 * the same strips. Tiles i and j are whole: i <= j < n. The steps follow each other strip by strip, while it is in the
 * cache.
 */
static void update_tile(const matrix *m, int64_t i, int64_t j, int64_t n, int steps)
{
    double *tile = tile_at(m, i, j);
    for (int64_t r = 0; r < TILE; r += SPADE_STRIP) {
        for (int64_t c = i == j ? r / SPADE_LANES : 0; c < TILE / SPADE_LANES; c++) {
            for (int64_t step = n; step > n - steps; step--) {
                int64_t inner = tile_size(m, step), group_size = inner * SPADE_LANES;
                const double *strip = pack_of(m, i, step) + r / SPADE_LANES * group_size + r % SPADE_LANES;
                m->kernels->product(inner, pack_of(m, j, step) + c * group_size, strip, SPADE_LANES, SPADE_STRIP, -1.0,
                                    tile + r * m->k + c * SPADE_LANES, m->k);
            }
        }
    }
}

/* ---- the tasks of one problem, run by whichever thread is free. A pack stands for V_in in the dependences, the first
 * reciprocal for all that a step knows of V_nn. */

/* Column n, up to date, becomes V. */
static void column_tasks(matrix *m, int64_t n)
{
    double *diagonal = m->reciprocal + n % SLOTS * TILE, *own = tile_at(m, n, n);
#pragma omp task depend(inout : *own) depend(out : *diagonal)
    if (!has_failed(m)) { factor_tile(m, n); }
    for (int64_t i = n - 1; i >= 0; i--) {
        double *tile = tile_at(m, i, n), *pack = pack_of(m, i, n);
#pragma omp task depend(in : *diagonal) depend(inout : *tile) depend(out : *pack)
        if (!has_failed(m)) { solve_tile(m, i, n); }
    }
}

/* Two steps at a time: the column beside n first, all others then with both, so that they are read and written half as
 * often. */
static void factor_tasks(matrix *m)
{
    for (int64_t n = m->tiles - 1; n >= 0; n -= 2) {
        column_tasks(m, n);
        if (n == 0) { return; }
        for (int64_t i = n - 1; i >= 0; i--) {
            double *tile = tile_at(m, i, n - 1), *left = pack_of(m, i, n), *right = pack_of(m, n - 1, n);
#pragma omp task depend(in : *left, *right) depend(inout : *tile)
            if (!has_failed(m)) { update_tile(m, i, n - 1, n, 1); }
        }
        column_tasks(m, n - 1);
        for (int64_t j = n - 2; j >= 0; j--) {
            for (int64_t i = j; i >= 0; i--) {
                double *tile = tile_at(m, i, j), *left = pack_of(m, i, n), *right = pack_of(m, j, n);
                double *next_left = pack_of(m, i, n - 1), *next_right = pack_of(m, j, n - 1);
#pragma omp task depend(in : *left, *right, *next_left, *next_right) depend(inout : *tile)
                if (!has_failed(m)) { update_tile(m, i, j, n, 2); }
            }
        }
    }
}

/* The parts of the workspace; returns its bytes. base NULL: only measure. */
static size_t lay_out(matrix *m, void *base)
{
    int64_t side = m->tiles > 1 ? TILE : m->k, slots = m->tiles > 1 ? SLOTS : 0;
    int64_t packs = slots * (m->tiles - 1) * TILE * TILE, diagonal = slots * TILE * TILE, reciprocal = slots * TILE;
    if (base) {
        m->packs = base;
        m->diagonal = m->packs + packs;
        m->reciprocal = m->diagonal + diagonal;
        m->scratch = m->reciprocal + reciprocal;
    }
    return (size_t)(packs + diagonal + reciprocal + side * side) * sizeof(double);
}

size_t spade_cpu_factor_workspace_bytes(spade_device *device, int64_t k)
{
    (void)device;
    matrix m = {.k = k, .tiles = (k + TILE - 1) / TILE};
    return lay_out(&m, NULL);
}

spade_status spade_cpu_factor(spade_device *device, spade_factor_args *problems, int n)
{
    matrix *matrices = malloc((size_t)n * sizeof *matrices + 1);
    if (!matrices) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d factors", n); }
    for (int p = 0; p < n; p++) {
        matrices[p] = (matrix){.kernels = spade_cpu_microkernels(),
                               .data = problems[p].hessian,
                               .k = problems[p].k,
                               .tiles = (problems[p].k + TILE - 1) / TILE};
        lay_out(&matrices[p], problems[p].workspace);
    }
    int before = spade_set_num_threads(1); /* LAPACK's own threads */
#pragma omp parallel num_threads(spade_cpu_threads(device))
#pragma omp single
    for (int p = 0; p < n; p++) { factor_tasks(&matrices[p]); }
    spade_set_num_threads(before);
    for (int p = 0; p < n; p++) { problems[p].status = matrices[p].failed ? SPADE_ERROR_NUMERICAL : SPADE_OK; }
    free(matrices);
    return SPADE_OK;
}
