/*
 * microkernels.c - three versions of every function: AVX-512, AVX2 with FMA, plain C. The small ones are loops over the lanes
 * that the compiler vectorises for each; the product is written out, as it takes nearly all of the time.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <stddef.h>

#include "backend/cpu/microkernels.h"
#include "backend/cpu/target.h"

enum { LANES = SPADE_LANES, STRIP = SPADE_STRIP };

#define INLINE static inline __attribute__((always_inline))
#if defined(__x86_64__)
#define AVX512 __attribute__((target(SPADE_AVX512)))
#define AVX2 __attribute__((target("avx2,fma")))
#endif

/* ---- product: sums stay in registers over all of n */
#if defined(__x86_64__)

/* sums += b[0 .. count) a */
AVX512 INLINE void step_512(__m512d sums[STRIP][3], const double *a, const double *b, int count)
{
    __m512d a0 = _mm512_loadu_pd(a), a1 = _mm512_loadu_pd(a + 8), a2 = _mm512_loadu_pd(a + 16);
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) {
        __m512d factor = _mm512_set1_pd(b[i]);
        sums[i][0] = _mm512_fmadd_pd(factor, a0, sums[i][0]);
        sums[i][1] = _mm512_fmadd_pd(factor, a1, sums[i][1]);
        sums[i][2] = _mm512_fmadd_pd(factor, a2, sums[i][2]);
    }
}

AVX512 INLINE void product_512(int64_t n, const double *a, const double *b, int64_t ldb, int count, double sign,
                               double *c, int64_t ldc)
{
    enum { AHEAD = 4 }; /* steps between two prefetches of c: all at once would hold up the loads of a and b */
    __m512d sums[STRIP][3];
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) {
#pragma GCC unroll 3
        for (int q = 0; q < 3; q++) { sums[i][q] = _mm512_setzero_pd(); }
    }
    const double *next = c, *last = c + count * ldc;
    for (; n >= 3 * AHEAD && next < last; n -= 3 * AHEAD, next += ldc) {
        for (int q = 0; q < 3; q++) {
            _mm_prefetch((const char *)(next + 8 * q), _MM_HINT_T0);
            for (int step = 0; step < AHEAD; step++, a += LANES, b += ldb) { step_512(sums, a, b, count); }
        }
    }
    for (; n > 0; n--, a += LANES, b += ldb) { step_512(sums, a, b, count); }
    __m512d signs = _mm512_set1_pd(sign);
    /* All loads before all stores: rows of c are often a multiple of 4096 bytes apart, where a load waits for an
     * earlier store that only seems to have its address. */
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) {
#pragma GCC unroll 3
        for (int q = 0; q < 3; q++) {
            sums[i][q] = _mm512_fmadd_pd(signs, sums[i][q], _mm512_loadu_pd(c + i * ldc + 8 * q));
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) {
#pragma GCC unroll 3
        for (int q = 0; q < 3; q++) { _mm512_storeu_pd(c + i * ldc + 8 * q, sums[i][q]); }
    }
}

AVX512 static void product_avx512(int64_t n, const double *a, const double *b, int64_t ldb, int count, double sign,
                                  double *c, int64_t ldc)
{
    switch (count) { /* a constant for the compiler: the sums become registers */
    case 1: product_512(n, a, b, ldb, 1, sign, c, ldc); break;
    case 2: product_512(n, a, b, ldb, 2, sign, c, ldc); break;
    case 3: product_512(n, a, b, ldb, 3, sign, c, ldc); break;
    case 4: product_512(n, a, b, ldb, 4, sign, c, ldc); break;
    case 5: product_512(n, a, b, ldb, 5, sign, c, ldc); break;
    case 6: product_512(n, a, b, ldb, 6, sign, c, ldc); break;
    case 7: product_512(n, a, b, ldb, 7, sign, c, ldc); break;
    default: product_512(n, a, b, ldb, 8, sign, c, ldc); break;
    }
}

/* to += the eight numbers of half of a vector */
AVX512 INLINE void add_half(double *to, __m256 numbers)
{
    _mm512_storeu_pd(to, _mm512_add_pd(_mm512_loadu_pd(to), _mm512_cvtps_pd(numbers)));
}

AVX512 INLINE __m256 upper_half(__m512 numbers)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(numbers), 1));
}

/* 48 rows are three vectors: the middle one ends the first group and begins the second. */
AVX512 INLINE void product_single_512(int64_t n, const float *a, const float *b, int64_t ldb, int count, double *first,
                                      double *second)
{
    __m512 sums[STRIP][3];
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) {
#pragma GCC unroll 3
        for (int q = 0; q < 3; q++) { sums[i][q] = _mm512_setzero_ps(); }
    }
    for (int64_t p = 0; p < n; p++, a += 2 * LANES, b += ldb) {
        __m512 a0 = _mm512_loadu_ps(a), a1 = _mm512_loadu_ps(a + 16), a2 = _mm512_loadu_ps(a + 32);
#pragma GCC unroll 8
        for (int i = 0; i < count; i++) {
            __m512 factor = _mm512_set1_ps(b[i]);
            sums[i][0] = _mm512_fmadd_ps(factor, a0, sums[i][0]);
            sums[i][1] = _mm512_fmadd_ps(factor, a1, sums[i][1]);
            sums[i][2] = _mm512_fmadd_ps(factor, a2, sums[i][2]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) {
        add_half(first + i * LANES, _mm512_castps512_ps256(sums[i][0]));
        add_half(first + i * LANES + 8, upper_half(sums[i][0]));
        add_half(first + i * LANES + 16, _mm512_castps512_ps256(sums[i][1]));
        add_half(second + i * LANES, upper_half(sums[i][1]));
        add_half(second + i * LANES + 8, _mm512_castps512_ps256(sums[i][2]));
        add_half(second + i * LANES + 16, upper_half(sums[i][2]));
    }
}

AVX512 static void product_single_avx512(int64_t n, const float *a, const float *b, int64_t ldb, int count,
                                         double *first, double *second)
{
    switch (count) {
    case 1: product_single_512(n, a, b, ldb, 1, first, second); break;
    case 2: product_single_512(n, a, b, ldb, 2, first, second); break;
    case 3: product_single_512(n, a, b, ldb, 3, first, second); break;
    case 4: product_single_512(n, a, b, ldb, 4, first, second); break;
    case 5: product_single_512(n, a, b, ldb, 5, first, second); break;
    case 6: product_single_512(n, a, b, ldb, 6, first, second); break;
    case 7: product_single_512(n, a, b, ldb, 7, first, second); break;
    default: product_single_512(n, a, b, ldb, 8, first, second); break;
    }
}

/* Half of the lanes of up to four columns: twelve sums of four. */
AVX2 INLINE void product_256(int64_t n, const double *a, const double *b, int64_t ldb, int count, double sign,
                             double *c, int64_t ldc)
{
    __m256d sums[4][3];
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        for (int q = 0; q < 3; q++) { sums[i][q] = _mm256_setzero_pd(); }
    }
    for (int64_t p = 0; p < n; p++, a += LANES, b += ldb) {
        __m256d a0 = _mm256_loadu_pd(a), a1 = _mm256_loadu_pd(a + 4), a2 = _mm256_loadu_pd(a + 8);
#pragma GCC unroll 4
        for (int i = 0; i < count; i++) {
            __m256d factor = _mm256_broadcast_sd(b + i);
            sums[i][0] = _mm256_fmadd_pd(factor, a0, sums[i][0]);
            sums[i][1] = _mm256_fmadd_pd(factor, a1, sums[i][1]);
            sums[i][2] = _mm256_fmadd_pd(factor, a2, sums[i][2]);
        }
    }
    __m256d signs = _mm256_set1_pd(sign);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
#pragma GCC unroll 3
        for (int q = 0; q < 3; q++) {
            double *to = c + i * ldc + 4 * q;
            _mm256_storeu_pd(to, _mm256_fmadd_pd(signs, sums[i][q], _mm256_loadu_pd(to)));
        }
    }
}

AVX2 static void product_avx2(int64_t n, const double *a, const double *b, int64_t ldb, int count, double sign,
                              double *c, int64_t ldc)
{
    for (int first = 0; first < count; first += 4) {
        int some = count - first < 4 ? count - first : 4;
        for (int half = 0; half < LANES; half += LANES / 2) {
            const double *x = a + half, *y = b + first;
            double *to = c + first * ldc + half;
            switch (some) {
            case 1: product_256(n, x, y, ldb, 1, sign, to, ldc); break;
            case 2: product_256(n, x, y, ldb, 2, sign, to, ldc); break;
            case 3: product_256(n, x, y, ldb, 3, sign, to, ldc); break;
            default: product_256(n, x, y, ldb, 4, sign, to, ldc); break;
            }
        }
    }
}

/* One of the two groups, up to four columns: twelve sums of eight. */
AVX2 INLINE void product_single_256(int64_t n, const float *a, const float *b, int64_t ldb, int count, double *c)
{
    __m256 sums[4][3];
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
#pragma GCC unroll 3
        for (int q = 0; q < 3; q++) { sums[i][q] = _mm256_setzero_ps(); }
    }
    for (int64_t p = 0; p < n; p++, a += 2 * LANES, b += ldb) {
        __m256 a0 = _mm256_loadu_ps(a), a1 = _mm256_loadu_ps(a + 8), a2 = _mm256_loadu_ps(a + 16);
#pragma GCC unroll 4
        for (int i = 0; i < count; i++) {
            __m256 factor = _mm256_broadcast_ss(b + i);
            sums[i][0] = _mm256_fmadd_ps(factor, a0, sums[i][0]);
            sums[i][1] = _mm256_fmadd_ps(factor, a1, sums[i][1]);
            sums[i][2] = _mm256_fmadd_ps(factor, a2, sums[i][2]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
#pragma GCC unroll 3
        for (int q = 0; q < 3; q++) {
            double *to = c + i * LANES + 8 * q;
            __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(sums[i][q]));
            __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(sums[i][q], 1));
            _mm256_storeu_pd(to, _mm256_add_pd(_mm256_loadu_pd(to), low));
            _mm256_storeu_pd(to + 4, _mm256_add_pd(_mm256_loadu_pd(to + 4), high));
        }
    }
}

AVX2 static void product_single_avx2(int64_t n, const float *a, const float *b, int64_t ldb, int count, double *first,
                                     double *second)
{
    for (int from = 0; from < count; from += 4) {
        int some = count - from < 4 ? count - from : 4;
        for (int half = 0; half < 2; half++) {
            const float *x = a + half * LANES, *y = b + from;
            double *to = (half ? second : first) + from * LANES;
            switch (some) {
            case 1: product_single_256(n, x, y, ldb, 1, to); break;
            case 2: product_single_256(n, x, y, ldb, 2, to); break;
            case 3: product_single_256(n, x, y, ldb, 3, to); break;
            default: product_single_256(n, x, y, ldb, 4, to); break;
            }
        }
    }
}
#endif

static void product_single_plain(int64_t n, const float *a, const float *b, int64_t ldb, int count, double *first,
                                 double *second)
{
    for (int i = 0; i < count; i++) {
        float sums[2 * LANES] = {0};
        for (int64_t p = 0; p < n; p++) {
            for (int l = 0; l < 2 * LANES; l++) { sums[l] += b[p * ldb + i] * a[p * 2 * LANES + l]; }
        }
        for (int l = 0; l < LANES; l++) {
            first[i * LANES + l] += (double)sums[l];
            second[i * LANES + l] += (double)sums[LANES + l];
        }
    }
}

static void product_plain(int64_t n, const double *a, const double *b, int64_t ldb, int count, double sign, double *c,
                          int64_t ldc)
{
    for (int i = 0; i < count; i++) {
        double sums[LANES] = {0};
        for (int64_t p = 0; p < n; p++) {
            for (int l = 0; l < LANES; l++) { sums[l] += b[p * ldb + i] * a[p * LANES + l]; }
        }
        for (int l = 0; l < LANES; l++) { c[i * ldc + l] += sign * sums[l]; }
    }
}

/* ---- 8 x 8 numbers, mirrored */
#if defined(__x86_64__)
/* Pairs of rows, then of pairs, then of halves: three rounds of exchanges between registers. */
AVX512 static void transpose_avx512(const double *from, int64_t ld_from, double *to, int64_t ld_to)
{
    __m512d rows[STRIP], pairs[STRIP], fours[STRIP];
#pragma GCC unroll 8
    for (int i = 0; i < STRIP; i++) { rows[i] = _mm512_loadu_pd(from + i * ld_from); }
#pragma GCC unroll 4
    for (int i = 0; i < STRIP; i += 2) { /* pairs[i]: columns 0 2 4 6 of rows i, i + 1; pairs[i + 1]: 1 3 5 7 */
        pairs[i] = _mm512_unpacklo_pd(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_pd(rows[i], rows[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < STRIP; i += 4) { /* rows i .. i + 3: columns 0 4, 1 5, 2 6, 3 7 */
#pragma GCC unroll 2
        for (int odd = 0; odd < 2; odd++) {
            fours[i + odd] =
                _mm512_permutex2var_pd(pairs[i + odd], _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), pairs[i + 2 + odd]);
            fours[i + 2 + odd] = _mm512_permutex2var_pd(pairs[i + odd], _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2),
                                                        pairs[i + 2 + odd]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        _mm512_storeu_pd(to + i * ld_to, _mm512_shuffle_f64x2(fours[i], fours[i + 4], 0x44));
        _mm512_storeu_pd(to + (i + 4) * ld_to, _mm512_shuffle_f64x2(fours[i], fours[i + 4], 0xee));
    }
}
#endif

static void transpose_plain(const double *from, int64_t ld_from, double *to, int64_t ld_to)
{
    for (int i = 0; i < STRIP; i++) {
        for (int j = 0; j < STRIP; j++) { to[j * ld_to + i] = from[i * ld_from + j]; }
    }
}

/* ---- loops over the lanes */

INLINE void forward(int count, const double *t, int64_t ldt, const double *reciprocal, double *x)
{
    for (int j = 0; j < count; j++) {
        for (int i = 0; i < j; i++) {
            double factor = t[i * ldt + j];
            for (int l = 0; l < LANES; l++) { x[j * LANES + l] -= factor * x[i * LANES + l]; }
        }
        for (int l = 0; l < LANES; l++) { x[j * LANES + l] *= reciprocal[j]; }
    }
}

INLINE void backward(int count, const double *t, int64_t ldt, const double *reciprocal, double *x)
{
    for (int j = count - 1; j >= 0; j--) {
        for (int i = count - 1; i > j; i--) {
            double factor = t[i * ldt + j];
            for (int l = 0; l < LANES; l++) { x[j * LANES + l] -= factor * x[i * LANES + l]; }
        }
        for (int l = 0; l < LANES; l++) { x[j * LANES + l] *= reciprocal[j]; }
    }
}

INLINE void score(int64_t n, const double *w, const double *diagonal, double *x)
{
    for (int64_t j = 0; j < n; j++, w += LANES, x += LANES) {
        for (int l = 0; l < LANES; l++) {
            double error = (w[l] + x[l]) * diagonal[j];
            x[l] = error * error;
        }
    }
}

INLINE void prune(int count, const double *v, int64_t ldv, const double *diagonal, const double *reciprocal,
                  const double *left, const uint8_t *mask, double *w, double *removed, double *sums)
{
    for (int j = 0; j < count; j++) {
        double own[LANES];
        for (int l = 0; l < LANES; l++) { own[l] = left[j * LANES + l]; }
        for (int i = 0; i < j; i++) {
            double factor = v[i * ldv + j];
            for (int l = 0; l < LANES; l++) { own[l] += factor * removed[i * LANES + l]; }
        }
        for (int l = 0; l < LANES; l++) {
            double now = w[j * LANES + l] + own[l] * reciprocal[j];
            double kept = mask[j * LANES + l] ? 0.0 : now, error = (now - kept) * diagonal[j];
            removed[j * LANES + l] = w[j * LANES + l] - kept;
            w[j * LANES + l] = kept;
            sums[l] += error * error;
        }
    }
}

INLINE void narrow(int64_t n, const double *from, float *to)
{
    for (int64_t i = 0; i < n; i++) { to[i] = (float)from[i]; }
}

/* ---- each loop three times */
#if defined(__x86_64__)
AVX512 static void narrow_avx512(int64_t n, const double *from, float *to)
{
    narrow(n, from, to);
}
AVX2 static void narrow_avx2(int64_t n, const double *from, float *to)
{
    narrow(n, from, to);
}

AVX512 static void forward_avx512(int count, const double *t, int64_t ldt, const double *reciprocal, double *x)
{
    forward(count, t, ldt, reciprocal, x);
}
AVX512 static void backward_avx512(int count, const double *t, int64_t ldt, const double *reciprocal, double *x)
{
    backward(count, t, ldt, reciprocal, x);
}
AVX512 static void score_avx512(int64_t n, const double *w, const double *diagonal, double *x)
{
    score(n, w, diagonal, x);
}
AVX512 static void prune_avx512(int count, const double *v, int64_t ldv, const double *diagonal,
                                const double *reciprocal, const double *left, const uint8_t *mask, double *w,
                                double *removed, double *sums)
{
    prune(count, v, ldv, diagonal, reciprocal, left, mask, w, removed, sums);
}

AVX2 static void forward_avx2(int count, const double *t, int64_t ldt, const double *reciprocal, double *x)
{
    forward(count, t, ldt, reciprocal, x);
}
AVX2 static void backward_avx2(int count, const double *t, int64_t ldt, const double *reciprocal, double *x)
{
    backward(count, t, ldt, reciprocal, x);
}
AVX2 static void score_avx2(int64_t n, const double *w, const double *diagonal, double *x)
{
    score(n, w, diagonal, x);
}
AVX2 static void prune_avx2(int count, const double *v, int64_t ldv, const double *diagonal, const double *reciprocal,
                            const double *left, const uint8_t *mask, double *w, double *removed, double *sums)
{
    prune(count, v, ldv, diagonal, reciprocal, left, mask, w, removed, sums);
}

#endif

static void narrow_plain(int64_t n, const double *from, float *to)
{
    narrow(n, from, to);
}
static void forward_plain(int count, const double *t, int64_t ldt, const double *reciprocal, double *x)
{
    forward(count, t, ldt, reciprocal, x);
}
static void backward_plain(int count, const double *t, int64_t ldt, const double *reciprocal, double *x)
{
    backward(count, t, ldt, reciprocal, x);
}
static void score_plain(int64_t n, const double *w, const double *diagonal, double *x)
{
    score(n, w, diagonal, x);
}
static void prune_plain(int count, const double *v, int64_t ldv, const double *diagonal, const double *reciprocal,
                        const double *left, const uint8_t *mask, double *w, double *removed, double *sums)
{
    prune(count, v, ldv, diagonal, reciprocal, left, mask, w, removed, sums);
}

const spade_microkernels *spade_cpu_microkernels_of(int level)
{
#if defined(__x86_64__)
    static const spade_microkernels avx512 = {product_avx512, product_single_avx512, forward_avx512,   backward_avx512,
                                              score_avx512,   prune_avx512,          transpose_avx512, narrow_avx512};
    static const spade_microkernels avx2 = {product_avx2, product_single_avx2, forward_avx2,    backward_avx2,
                                            score_avx2,   prune_avx2,          transpose_plain, narrow_avx2};
    if (level == 2) { return __builtin_cpu_supports("avx512f") ? &avx512 : NULL; }
    if (level == 1) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &avx2 : NULL; }
#endif
    static const spade_microkernels plain = {product_plain, product_single_plain, forward_plain,   backward_plain,
                                             score_plain,   prune_plain,          transpose_plain, narrow_plain};
    return level == 0 ? &plain : NULL;
}

const spade_microkernels *spade_cpu_microkernels(void)
{
    const spade_microkernels *best = spade_cpu_microkernels_of(2);
    if (!best) { best = spade_cpu_microkernels_of(1); }
    return best ? best : spade_cpu_microkernels_of(0);
}
