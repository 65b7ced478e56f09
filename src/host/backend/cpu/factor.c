/*
 * factor.c - H = V V^T with V upper triangular, in place, float64: the reversed Cholesky factorisation, so called
 * because V is the Cholesky factor of H with rows and columns reversed, reversed back. The sweep wants U with H^-1 =
 * U^T U, U upper: U = V^-1.
 *
 * Tiles from the last to the first (n the tile at hand, i <= j < n):
 *   H_nn = V_nn V_nn^T            (a small Cholesky, reversed)
 *   V_in = H_in V_nn^-T           (triangular solve)
 *   H_ij = H_ij - V_in V_jn^T     (product)
 * Every step is a task on whole tiles without BLAS threads; the dependences order the updates of a tile, so the result
 * does not depend on the number of threads (LAPACK's own threads do change the last bits). Only the upper triangle is
 * read.
 */
#include <cblas.h>
#include <lapacke.h>
#include <math.h>

#include "backend/cpu/cpu.h"

enum { TILE = 192 };

typedef struct matrix {
    double *data; /* [k, k] */
    int64_t k, tiles;
    int failed; /* set once a tile is not positive definite: the tasks that follow do nothing */
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

static bool has_failed(const matrix *m)
{
    return __atomic_load_n(&m->failed, __ATOMIC_RELAXED) != 0;
}

/* A tile on the diagonal; scratch [TILE, TILE]. */
static void factor_tile(matrix *m, int64_t n, double *scratch)
{
    int size = tile_size(m, n);
    int64_t ld = m->k, last = size - 1;
    double *tile = tile_at(m, n, n);
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
        for (int64_t i = j; i < size; i++) { tile[(last - i) * ld + last - j] = scratch[j * size + i]; }
    }
}

static void solve_tile(const matrix *m, int64_t i, int64_t n)
{
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, tile_size(m, i), tile_size(m, n), 1.0,
                tile_at(m, n, n), (int)m->k, tile_at(m, i, n), (int)m->k);
}

static void update_tile(const matrix *m, int64_t i, int64_t j, int64_t n)
{
    int ld = (int)m->k, inner = tile_size(m, n);
    if (i == j) {
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, tile_size(m, i), inner, -1.0, tile_at(m, i, n), ld, 1.0,
                    tile_at(m, i, i), ld);
    } else {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, tile_size(m, i), tile_size(m, j), inner, -1.0,
                    tile_at(m, i, n), ld, tile_at(m, j, n), ld, 1.0, tile_at(m, i, j), ld);
    }
}

/* Make the tasks of one problem; run by whichever thread is free. */
static void factor_tasks(matrix *m, double *scratch)
{
    for (int64_t n = m->tiles - 1; n >= 0; n--) {
#pragma omp task default(none) firstprivate(m, n, scratch) depend(inout : *tile_at(m, n, n))
        if (!has_failed(m)) { factor_tile(m, n, scratch + (int64_t)omp_get_thread_num() * TILE * TILE); }
        for (int64_t i = n - 1; i >= 0; i--) {
#pragma omp task default(none) firstprivate(m, n, i) depend(in : *tile_at(m, n, n)) depend(inout : *tile_at(m, i, n))
            if (!has_failed(m)) { solve_tile(m, i, n); }
        }
        for (int64_t j = n - 1; j >= 0; j--) {
            for (int64_t i = j; i >= 0; i--) {
#pragma omp task default(none) firstprivate(m, n, i, j) depend(in                                                      \
                                                               : *tile_at(m, i, n), *tile_at(m, j, n))                 \
    depend(inout                                                                                                       \
           : *tile_at(m, i, j))
                if (!has_failed(m)) { update_tile(m, i, j, n); }
            }
        }
    }
}

spade_status spade_cpu_factor(spade_device *device, spade_factor_args *problems, int n)
{
    int threads = spade_cpu_threads(device);
    size_t scratch_bytes = (size_t)threads * TILE * TILE * sizeof(double);
    double *scratch = NULL;
    matrix *matrices = malloc((size_t)n * sizeof *matrices + 1);
    if (!matrices) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d factors", n); }
    spade_status status = SPADE_OK;
    SPADE_GOTO(spade_alloc(device->context, scratch_bytes, "scratch of the Cholesky factors", (void **)&scratch));
    for (int p = 0; p < n; p++) {
        matrices[p] =
            (matrix){.data = problems[p].hessian, .k = problems[p].k, .tiles = (problems[p].k + TILE - 1) / TILE};
    }
    int before = spade_team(1);
#pragma omp parallel num_threads(threads)
#pragma omp single
    for (int p = 0; p < n; p++) { factor_tasks(&matrices[p], scratch); }
    spade_team(before);
    for (int p = 0; p < n; p++) { problems[p].status = matrices[p].failed ? SPADE_ERROR_NUMERICAL : SPADE_OK; }
done:
    free(matrices);
    spade_free_bytes(device->context, scratch, scratch_bytes);
    return status;
}
