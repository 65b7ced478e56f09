/*
 * peak.c - what this machine computes at most: matrix products of several sizes in float32 and float64, as one product
 * by all threads and as a product of its own for each thread. The largest number of each precision is the peak that
 * the other benchmarks are measured against.
 *
 *   bench_peak THREADS
 */
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/support.h"

static const double seconds_each = 0.25; /* a size is repeated for so long; the fastest product counts */

typedef struct matrices {
    float *single[3];
    double *twice[3];
} matrices;

static void multiply(const matrices *m, bool twice, int n)
{
    if (twice) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1.0, m->twice[0], n, m->twice[1], n, 0.0,
                    m->twice[2], n);
    } else {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1.0f, m->single[0], n, m->single[1], n, 0.0f,
                    m->single[2], n);
    }
}

/* Seconds of one round: one product by all threads, or `threads` products by a thread each. */
static double round_seconds(const matrices *m, bool twice, int n, int threads, bool own)
{
    double start = bench_now();
    if (!own) {
        multiply(m, twice, n);
        return bench_now() - start;
    }
    omp_set_num_threads(1); /* inherited by the region's threads: no threads of the BLAS inside them */
#pragma omp parallel num_threads(threads)
    multiply(&m[omp_get_thread_num()], twice, n);
    omp_set_num_threads(threads);
    return bench_now() - start;
}

static double measure(const matrices *m, bool twice, int n, int threads, bool own)
{
    double best = round_seconds(m, twice, n, threads, own), end = bench_now() + seconds_each;
    do {
        double seconds = round_seconds(m, twice, n, threads, own);
        best = seconds < best ? seconds : best;
    } while (bench_now() < end);
    return 2.0 * n * n * n * (own ? threads : 1) / best;
}

/* Prints one line a size; returns the largest operations a second. */
static double measure_all(const matrices *m, bool twice, int threads)
{
    static const int sizes[] = {256, 512, 1024, 2048, 4096};
    double peak = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int own = 0; own < 2; own++) {
            if (own && (threads == 1 || sizes[i] > 1024)) { continue; } /* memory of one set of large matrices only */
            double speed = measure(m, twice, sizes[i], threads, own);
            peak = speed > peak ? speed : peak;
            printf("{\"precision\": \"%s\", \"size\": %d, \"own\": %s, \"flops\": %.6g}\n",
                   twice ? "float64" : "float32", sizes[i], own ? "true" : "false", speed);
        }
    }
    return peak;
}

static void fill(matrices *m, int64_t n)
{
    for (int i = 0; i < 3; i++) {
        m->single[i] = bench_alloc((size_t)(n * n) * sizeof(float));
        m->twice[i] = bench_alloc((size_t)(n * n) * sizeof(double));
        bench_fill(m->single[i], n * n);
        for (int64_t j = 0; j < n * n; j++) { m->twice[i][j] = m->single[i][j]; }
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bench_peak THREADS\n");
        return 2;
    }
    int threads = (int)bench_integer(argv[1], "THREADS", 1);
    matrices *m = bench_alloc((size_t)threads * sizeof *m);
    omp_set_num_threads(threads);
    for (int t = 0; t < threads; t++) { fill(&m[t], t ? 1024 : 4096); }
    double single = measure_all(m, false, threads), twice = measure_all(m, true, threads);
    printf("{\"threads\": %d, \"float32\": %.6g, \"float64\": %.6g}\n", threads, single, twice);
    for (int t = 0; t < threads; t++) {
        for (int i = 0; i < 3; i++) {
            free(m[t].single[i]);
            free(m[t].twice[i]);
        }
    }
    free(m);
    return 0;
}
