/* random_problem.h - problems for the solvers out of random numbers, and what their definitions share. */
#ifndef SPADE_TEST_RANDOM_PROBLEM_H
#define SPADE_TEST_RANDOM_PROBLEM_H

#include <math.h>

#include "base/base.h"

/* Key: the test; one counter. */
typedef struct source {
    uint32_t key, count;
} source;

static inline double uniform(source *s)
{
    const uint32_t key[2] = {s->key, 77};
    uint32_t counter[4] = {s->count++, 0, 0, 0}, random[4];
    spade_philox(key, counter, random);
    return spade_uniform(random[0], random[1]);
}

static inline int64_t between(source *s, int64_t low, int64_t high)
{
    return low + (int64_t)(uniform(s) * (double)(high - low + 1));
}

/* H = 2/n X X^T of `samples` non-negative inputs of different strength, every `dead`-th of them dead (0: none). */
static inline double *random_hessian(source *s, int64_t k, int64_t samples, int64_t dead)
{
    double *x = calloc((size_t)(k * samples), sizeof *x), *h = calloc((size_t)(k * k), sizeof *h);
    for (int64_t i = 0; i < k; i++) {
        double strength = 0.2 + uniform(s);
        for (int64_t n = 0; n < samples; n++) { x[i * samples + n] = fmax(uniform(s) - 0.3, 0) * strength; }
        if (dead && i % dead == 0) { memset(x + i * samples, 0, (size_t)samples * sizeof *x); }
    }
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t n = 0; n < samples; n++) { sum += x[i * samples + n] * x[j * samples + n]; }
            h[i * k + j] = h[j * k + i] = 2.0 / (double)samples * sum;
        }
    }
    free(x);
    return h;
}

static inline float *random_weights(source *s, int64_t n)
{
    float *w = malloc((size_t)n * sizeof *w);
    for (int64_t i = 0; i < n; i++) { w[i] = (float)(2 * uniform(s) - 1); }
    return w;
}

/* Gauss-Jordan; a [k, k] is positive definite, so no pivoting. */
static inline void invert(double *a, int64_t k)
{
    for (int64_t p = 0; p < k; p++) {
        double pivot = 1 / a[p * k + p];
        a[p * k + p] = 1;
        for (int64_t j = 0; j < k; j++) { a[p * k + j] *= pivot; }
        for (int64_t i = 0; i < k; i++) {
            double factor = a[i * k + p];
            if (i == p || factor == 0) { continue; }
            a[i * k + p] = 0;
            for (int64_t j = 0; j < k; j++) { a[i * k + j] -= factor * a[p * k + j]; }
        }
    }
}

/* Dead inputs and damping, in place. h [k, k], w [rows, k] */
static inline void prepare(double *h, double *w, int64_t rows, int64_t k, double damping)
{
    double mean = 0;
    for (int64_t d = 0; d < k; d++) {
        if (h[d * k + d] == 0) {
            h[d * k + d] = 1;
            for (int64_t r = 0; r < rows; r++) { w[r * k + d] = 0; }
        }
        mean += h[d * k + d] / (double)k;
    }
    for (int64_t d = 0; d < k; d++) { h[d * k + d] += damping * mean; }
}

#endif
