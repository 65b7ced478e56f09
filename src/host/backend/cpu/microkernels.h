/*
 * microkernels.h - the arithmetic of factor.c and sweep.c on groups of SPADE_LANES rows, with the best instructions of this
 * processor.
 *
 * A pack holds a matrix [rows, n] as [groups][n][SPADE_LANES]: the numbers of one column in a group of rows lie beside
 * each other, so that every step below works on whole vectors. SPADE_STRIP columns at a time: SPADE_STRIP * SPADE_LANES
 * sums fill the registers of AVX-512. (A general product packs its operands in every call; here they are packed once
 * and used many times.)
 *
 * All functions compute the same sums in the same order on every processor with the same instructions; `count` is at
 * most SPADE_STRIP.
 */
#ifndef SPADE_CPU_MICROKERNELS_H
#define SPADE_CPU_MICROKERNELS_H

#include <stdint.h>

enum { SPADE_LANES = 24, SPADE_STRIP = 8 };

typedef struct spade_microkernels {
    /* c[i][l] += sign * sum over p < n of b[p][i] * a[p][l], i < count: a [n, LANES], b rows of ldb, c rows of ldc */
    void (*product)(int64_t n, const double *a, const double *b, int64_t ldb, int count, double sign, double *c,
                    int64_t ldc);
    /* The same sums in float32, of two groups at once: a [n, 2 * LANES] holds rows of the first, then of the second,
     * whose float64 sums are first and second [count, LANES]. */
    void (*product_single)(int64_t n, const float *a, const float *b, int64_t ldb, int count, double *first,
                           double *second);
    /* X T = G for a triangle T [count, count]: x [count, LANES] holds G and gets X; reciprocal: 1 / T_jj.
     * forward: T upper, t[i][j] = T_ij. backward: T lower. */
    void (*forward)(int count, const double *t, int64_t ldt, const double *reciprocal, double *x);
    void (*backward)(int count, const double *t, int64_t ldt, const double *reciprocal, double *x);
    /* x[j] = ((w[j] + x[j]) * diagonal[j])^2 for n columns */
    void (*score)(int64_t n, const double *w, const double *diagonal, double *x);
    /*
     * Prune `count` columns one after the other (sweep.c has the formulas): left, w, removed, mask [count, LANES]. w: W
     * in, Q out. sums [LANES] += err^2.
     */
    void (*prune)(int count, const double *v, int64_t ldv, const double *diagonal, const double *reciprocal,
                  const double *left, const uint8_t *mask, double *w, double *removed, double *sums);
    /* to[j][i] = from[i][j], STRIP x STRIP */
    void (*transpose)(const double *from, int64_t ld_from, double *to, int64_t ld_to);
    /* to[i] = from[i] in float32, n numbers */
    void (*narrow)(int64_t n, const double *from, float *to);
} spade_microkernels;

/* The best that this processor has. */
const spade_microkernels *spade_cpu_microkernels(void);
/* 2: AVX-512, 1: AVX2 with FMA, 0: plain C; NULL where the processor has not got it. */
const spade_microkernels *spade_cpu_microkernels_of(int level);

/* Groups of SPADE_LANES rows. */
static inline int64_t spade_lane_groups(int64_t rows)
{
    return (rows + SPADE_LANES - 1) / SPADE_LANES;
}

#endif
