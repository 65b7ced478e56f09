/*
 * exact.c - the exact solver against the row-by-row form as published.
 *
 *   bench_exact [THREADS [SIZES]]        SIZES: only the first of the table
 *
 * The naive form is what a C user makes of the publication: each row has its own K x K copy of the inverse, each
 * elimination updates all of it. Rows run side by side on all threads. It takes hours on the larger sizes, and every
 * elimination of it takes the same time: so a few rows and their first `steps` eliminations are timed and scaled to the
 * whole; their order is compared with spade's. Seconds of spade are those of the whole call: factor, inverse, order,
 * weights at sparsity 0.5. GFLOP/s count K^3/3 operations a row.
 */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

/* LAPACK, which OpenBLAS contains */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);

typedef struct size {
    int64_t rows, columns, group;
    int64_t steps; /* eliminations of the naive form that are timed; 0: all */
} size;

static const size sizes[] = {
    {256, 1152, 9, 0}, {256, 1024, 1, 0}, {256, 2304, 9, 64}, {512, 4608, 9, 16}, {64, 1152, 1, 0}};

/* ---- a layer: correlated inputs, some of them weak */

static double *make_hessian(int64_t k)
{
    int64_t n = k / 2 + 64;
    float *random = bench_alloc((size_t)(k * n) * sizeof *random);
    double *x = bench_alloc((size_t)(k * n) * sizeof *x), *h = bench_alloc((size_t)(k * k) * sizeof *h);
    bench_fill(random, k * n);
    for (int64_t i = 0; i < k; i++) {
        double strength = 0.1 + (double)random[i * n];
        for (int64_t j = 0; j < n; j++) { x[i * n + j] = fmax(strength * ((double)random[i * n + j] - 0.4), 0); }
    }
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)k, (int)k, (int)n, 2.0 / (double)n, x, (int)n, x, (int)n,
                0.0, h, (int)k);
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < i; j++) { h[i * k + j] = h[j * k + i]; }
    }
    free(random);
    free(x);
    return h;
}

/* (H + 0.01 mean(diag H) I)^-1, full */
static double *make_inverse(const double *h, int64_t k)
{
    double *a = bench_alloc((size_t)(k * k) * sizeof *a), trace = 0;
    int n = (int)k, info = 0;
    memcpy(a, h, (size_t)(k * k) * sizeof *a);
    for (int64_t d = 0; d < k; d++) { trace += h[d * (k + 1)]; }
    for (int64_t d = 0; d < k; d++) { a[d * (k + 1)] += 0.01 * (trace / (double)k); }
    dpotrf_("L", &n, a, &n, &info);
    if (!info) { dpotri_("L", &n, a, &n, &info); }
    if (info) {
        fprintf(stderr, "the Hessian is not positive definite\n");
        exit(1);
    }
    for (int64_t i = 0; i < k; i++) { /* column-major lower is row-major upper */
        for (int64_t j = i + 1; j < k; j++) { a[j * k + i] = a[i * k + j]; }
    }
    return a;
}

/* ---- the naive form */

/* L [b, b] of the diagonal block of group g and z = L^-1 w_g; returns z^T z. */
static double factor_group(const double *a, const double *w, int64_t k, int64_t b, int64_t g, double *l, double *z)
{
    double loss = 0;
    for (int64_t i = 0; i < b; i++) {
        double value = w[g * b + i];
        for (int64_t j = 0; j <= i; j++) {
            double sum = a[(g * b + i) * k + g * b + j];
            for (int64_t p = 0; p < j; p++) { sum -= l[i * b + p] * l[j * b + p]; }
            l[i * b + j] = j < i ? sum / l[j * b + j] : sqrt(sum);
            if (j < i) { value -= l[i * b + j] * z[j]; }
        }
        z[i] = value / l[i * b + i];
        loss += z[i] * z[i];
    }
    return loss;
}

/* u [b, k] = L^-1 A_g:; then w -= u^T z, A -= u^T u. */
static void remove_group(double *restrict a, double *restrict w, int64_t k, int64_t b, int64_t g, const double *l,
                         const double *z, double *restrict u)
{
    for (int64_t c = 0; c < b; c++) {
        double *restrict own = u + c * k;
        memcpy(own, a + (g * b + c) * k, (size_t)k * sizeof *own);
        for (int64_t p = 0; p < c; p++) {
            for (int64_t j = 0; j < k; j++) { own[j] -= l[c * b + p] * u[p * k + j]; }
        }
        for (int64_t j = 0; j < k; j++) {
            own[j] /= l[c * b + c];
            w[j] -= own[j] * z[c];
        }
    }
    for (int64_t i = 0; i < k; i++) {
        double *restrict row = a + i * k;
        for (int64_t c = 0; c < b; c++) {
            const double *restrict own = u + c * k;
            double factor = own[i];
            for (int64_t j = 0; j < k; j++) { row[j] -= factor * own[j]; }
        }
    }
    for (int64_t c = 0; c < b; c++) { w[g * b + c] = 0; }
}

/* Memory of one row's elimination; made before the clock starts. */
typedef struct naive {
    double *a, *w, *u, *l, *z;
    bool *gone;
} naive;

static void naive_row(naive *m, const double *inverse, const float *weights, const size *s, int64_t steps,
                      int32_t *order)
{
    int64_t k = s->columns, b = s->group, groups = k / b;
    memcpy(m->a, inverse, (size_t)(k * k) * sizeof *m->a);
    memset(m->gone, 0, (size_t)groups);
    for (int64_t j = 0; j < k; j++) { m->w[j] = (double)weights[j]; }
    for (int64_t t = 0; t < steps; t++) {
        double best = INFINITY;
        int64_t pivot = 0;
        for (int64_t g = 0; g < groups; g++) {
            if (m->gone[g]) { continue; }
            double loss = factor_group(m->a, m->w, k, b, g, m->l, m->z);
            if (loss < best) {
                best = loss;
                pivot = g;
            }
        }
        order[t] = (int32_t)pivot;
        m->gone[pivot] = true;
        factor_group(m->a, m->w, k, b, pivot, m->l, m->z);
        remove_group(m->a, m->w, k, b, pivot, m->l, m->z, m->u);
    }
}

static naive make_naive(const size *s)
{
    size_t k = (size_t)s->columns, b = (size_t)s->group;
    naive m = {.a = bench_alloc(k * k * sizeof(double)),
               .w = bench_alloc(k * sizeof(double)),
               .u = bench_alloc(k * b * sizeof(double)),
               .l = bench_alloc(b * b * sizeof(double)),
               .z = bench_alloc(b * sizeof(double)),
               .gone = bench_alloc(k)};
    memset(m.a, 0, k * k * sizeof(double)); /* its pages are there when the clock starts */
    return m;
}

/* Seconds of the whole layer, from one row a thread; counts the steps of these rows that agree with `order`. */
static double time_naive(const size *s, const double *inverse, const float *weights, const int32_t *order, int threads,
                         int64_t *agree, int64_t *compared)
{
    int64_t groups = s->columns / s->group, steps = s->steps ? s->steps : groups;
    int32_t *own = bench_alloc((size_t)(threads * groups) * sizeof *own);
    naive *memory = bench_alloc((size_t)threads * sizeof *memory);
    for (int t = 0; t < threads; t++) { memory[t] = make_naive(s); }
    double start = bench_now();
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int t = 0; t < threads; t++) {
        naive_row(&memory[t], inverse, weights + t * s->columns, s, steps, own + t * groups);
    }
    double seconds = bench_now() - start;
    *agree = 0;
    *compared = threads * steps;
    for (int t = 0; t < threads; t++) {
        for (int64_t i = 0; i < steps; i++) { *agree += own[t * groups + i] == order[t * groups + i]; }
        free(memory[t].a);
        free(memory[t].w);
        free(memory[t].u);
        free(memory[t].l);
        free(memory[t].z);
        free(memory[t].gone);
    }
    free(memory);
    free(own);
    return seconds * (double)s->rows / threads * (double)groups / (double)steps;
}

/* ---- spade */

static double time_spade(const size *s, const double *h, const float *weights, int32_t *order, int threads)
{
    spade_context *context = bench_context("cpu", threads, 0, SPADE_NETWORK_FP32, false);
    spade_solve_options options;
    spade_solve_options_init(&options);
    spade_solution solution = {.sparsity = 0.5, .sparse = bench_alloc((size_t)(s->rows * s->columns) * sizeof(float))};
    spade_problem p = {.rows = s->rows,
                       .columns = s->columns,
                       .kernel = s->group,
                       .solver = SPADE_SOLVER_EXACT,
                       .hessian = h,
                       .dense = weights,
                       .solutions = &solution,
                       .solution_count = 1,
                       .order = order};
    double start = bench_now();
    bench_check(context, spade_solve(context, &options, &p, 1));
    double seconds = bench_now() - start;
    free(solution.sparse);
    spade_context_destroy(context);
    return seconds;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? (int)bench_integer(argv[1], "THREADS", 1) : omp_get_max_threads();
    size_t count = argc > 2 ? (size_t)bench_integer(argv[2], "SIZES", 1) : sizeof sizes / sizeof *sizes;
    printf("| rows x columns | columns a group | naive s | spade s | ratio | GFLOP/s | same order |\n"
           "|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < count && i < sizeof sizes / sizeof *sizes; i++) {
        const size *s = &sizes[i];
        int64_t k = s->columns, groups = k / s->group, agree = 0, compared = 0;
        double *h = make_hessian(k), *inverse = make_inverse(h, k);
        float *weights = bench_alloc((size_t)(s->rows * k) * sizeof *weights);
        int32_t *order = bench_alloc((size_t)(s->rows * groups) * sizeof *order);
        bench_fill(weights, s->rows * k);
        for (int64_t j = 0; j < s->rows * k; j++) { weights[j] -= 0.5f; }
        double ours = time_spade(s, h, weights, order, threads);
        double theirs = time_naive(s, inverse, weights, order, threads, &agree, &compared);
        double work = (double)s->rows * (double)k * (double)k * (double)k / 3;
        printf("| %lld x %lld | %lld | %.1f (scaled) | %.2f | %.1f | %.0f | %lld of %lld |\n", (long long)s->rows,
               (long long)k, (long long)s->group, theirs, ours, theirs / ours, work / ours / 1e9, (long long)agree,
               (long long)compared);
        fflush(stdout);
        free(h);
        free(inverse);
        free(weights);
        free(order);
    }
    return 0;
}
