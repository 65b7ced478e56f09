/* exact_kernels.c - see exact_kernels.h; one version for each vector unit, chosen when the program runs. */
#include <stddef.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "backend/cpu/solver/exact_kernels.h"
#include "backend/cpu/target.h"

enum { LANES = SPADE_EXACT_LANES, ROWS = SPADE_EXACT_TILE_ROWS, COLUMNS = SPADE_EXACT_TILE_COLUMNS };

#define INLINE static inline __attribute__((always_inline))

/* ---- candidates after an elimination: plain loops over lanes, which the compiler turns into vectors */

/* U, w and d of LANES groups from `at` on. */
INLINE void absorb(const spade_exact_step *s, int64_t group, int64_t at)
{
    int64_t stride = s->stride;
    for (int64_t c = 0; c < group; c++) {
        double *restrict u = s->h + c * group * stride + at;
        for (int64_t p = 0; p < c; p++) {
            const double *restrict earlier = s->h + p * group * stride + at;
            double factor = s->pivot[c * group + p];
            for (int64_t a = 0; a < group; a++) {
                for (int l = 0; l < LANES; l++) { u[a * stride + l] -= earlier[a * stride + l] * factor; }
            }
        }
        double inverse = s->pivot[c * group + c], z = s->z[c];
        double *restrict w = s->w + at;
        for (int64_t a = 0; a < group; a++) {
            for (int l = 0; l < LANES; l++) {
                u[a * stride + l] *= inverse;
                w[a * stride + l] -= u[a * stride + l] * z;
            }
        }
    }
    for (int64_t i = 0; i < group; i++) {
        for (int64_t j = 0; j <= i; j += 3) { /* three numbers of D at once share what they read */
            int64_t count = i + 1 - j < 3 ? i + 1 - j : 3;
            double sum[3][LANES] = {{0}};
            for (int64_t c = 0; c < group; c++) {
                const double *u = s->h + c * group * stride + at;
                for (int64_t q = 0; q < 3; q++) {
                    const double *other = u + (q < count ? j + q : j) * stride;
                    for (int l = 0; l < LANES; l++) { sum[q][l] += u[i * stride + l] * other[l]; }
                }
            }
            for (int64_t q = 0; q < count; q++) {
                double *restrict d = s->d + (i * (i + 1) / 2 + j + q) * stride + at;
                for (int l = 0; l < LANES; l++) { d[l] -= sum[q][l]; }
            }
        }
    }
}

/*
 * loss = sum of z^2 / v / 2 with d = L diag(v) L^T, L z = w. Column by column (right-looking): what follows a pivot
 * does not wait for one another. part [b, b] and z [b], LANES wide: what is left of d and w.
 */
INLINE void find_losses(const spade_exact_step *s, int64_t group, int64_t at, double *restrict scratch)
{
    int64_t stride = s->stride;
    double *restrict part = scratch, *restrict z = scratch + group * group * LANES;
    double loss[LANES] = {0};
    for (int64_t i = 0, k = 0; i < group; i++) {
        for (int l = 0; l < LANES; l++) { z[i * LANES + l] = s->w[i * stride + at + l]; }
        for (int64_t j = 0; j <= i; j++, k++) {
            for (int l = 0; l < LANES; l++) { part[(i * group + j) * LANES + l] = s->d[k * stride + at + l]; }
        }
    }
    for (int64_t j = 0; j < group; j++) {
        double inverse[LANES];
        for (int l = 0; l < LANES; l++) {
            double value = z[j * LANES + l];
            inverse[l] = 1.0 / part[(j * group + j) * LANES + l];
            loss[l] += value * value * inverse[l];
        }
        for (int64_t i = j + 1; i < group; i++) {
            double *restrict own = part + i * group * LANES;
            double factor[LANES];
            for (int l = 0; l < LANES; l++) {
                factor[l] = own[j * LANES + l] * inverse[l];
                z[i * LANES + l] -= factor[l] * z[j * LANES + l];
            }
            for (int64_t k = j + 1; k <= i; k++) {
                const double *other = part + (k * group + j) * LANES;
                for (int l = 0; l < LANES; l++) { own[k * LANES + l] -= factor[l] * other[l]; }
            }
        }
    }
    for (int l = 0; l < LANES; l++) { s->loss[at + l] = loss[l] / 2; }
}

INLINE void advance_elements(const spade_exact_step *s, int64_t first, int64_t last)
{
    double *restrict h = s->h, *restrict w = s->w, *restrict d = s->d, *restrict loss = s->loss;
    if (h) {
        double inverse = s->pivot[0], z = s->z[0];
        for (int64_t i = first; i < last; i++) {
            double u = h[i] * inverse, weight = w[i] - u * z, diagonal = d[i] - u * u;
            h[i] = u;
            w[i] = weight;
            d[i] = diagonal;
            loss[i] = weight * weight / diagonal / 2;
        }
    } else {
        for (int64_t i = first; i < last; i++) { loss[i] = w[i] * w[i] / d[i] / 2; }
    }
}

INLINE void advance_groups(const spade_exact_step *s, int64_t group, int64_t first, int64_t last, double *scratch)
{
    for (int64_t at = first; at < last; at += LANES) {
        if (s->h) { absorb(s, group, at); }
        find_losses(s, group, at, scratch);
    }
}

INLINE void advance(const spade_exact_step *s, int64_t first, int64_t last, double *scratch)
{
    switch (s->group) {
    case 1: advance_elements(s, first, last); break;
    case 9: advance_groups(s, 9, first, last, scratch); break;
    default: advance_groups(s, s->group, first, last, scratch); break;
    }
}

/* ---- plain versions */

static void advance_plain(const spade_exact_step *s, int64_t first, int64_t last, double *scratch)
{
    advance(s, first, last, scratch);
}

static void subtract_products_plain(const spade_exact_products *p, int64_t first, int64_t last)
{
    for (int64_t at = first; at < last; at += LANES) {
        for (int64_t c = 0; c < p->count; c++) {
            double *h = p->h + c * p->size + at, sum[LANES];
            for (int l = 0; l < LANES; l++) { sum[l] = h[l]; }
            for (int64_t s = 0; s < p->depth; s++) {
                const double *u = p->u + s * p->size + at;
                double x = p->x[s * p->count + c];
                for (int l = 0; l < LANES; l++) { sum[l] -= u[l] * x; }
            }
            for (int l = 0; l < LANES; l++) { h[l] = sum[l]; }
        }
    }
}

static void update_tile_plain(const spade_exact_tile *t)
{
    for (int i = 0; i < t->rows; i++) {
        for (int v = 0; v < COLUMNS / LANES; v++) {
            const double *b = t->b + v * t->depth * LANES;
            double sum[LANES];
            for (int l = 0; l < LANES; l++) { sum[l] = t->from[i][t->columns[v * LANES + l]]; }
            for (int64_t k = 0; k < t->depth; k++) {
                double a = t->a[k * ROWS + i];
                for (int l = 0; l < LANES; l++) { sum[l] -= a * b[k * LANES + l]; }
            }
            for (int l = 0; l < LANES; l++) { t->to[i][v * LANES + l] = sum[l]; }
        }
    }
}

static const spade_exact_kernels plain = {update_tile_plain, subtract_products_plain, advance_plain};

#if defined(__x86_64__)

/* ---- AVX-512 */
#define AVX512 __attribute__((target(SPADE_AVX512)))

AVX512 static void advance_avx512(const spade_exact_step *s, int64_t first, int64_t last, double *scratch)
{
    advance(s, first, last, scratch);
}

/* count columns, `vectors` vectors of eight from `at` on; x: those columns of the first row of p->x */
AVX512 INLINE void products_avx512(const spade_exact_products *p, const double *x, double *h, int64_t at,
                                   const int count, const int vectors)
{
    __m512d sum[9 * 2];
    const double *u = p->u + at;
#pragma GCC unroll 18
    for (int i = 0; i < count * vectors; i++) {
        sum[i] = _mm512_loadu_pd(h + i / vectors * p->size + at + i % vectors * LANES);
    }
    for (int64_t s = 0; s < p->depth; s++, u += p->size, x += p->count) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            __m512d factor = _mm512_loadu_pd(u + v * LANES);
#pragma GCC unroll 9
            for (int c = 0; c < count; c++) {
                sum[c * vectors + v] = _mm512_fnmadd_pd(factor, _mm512_set1_pd(x[c]), sum[c * vectors + v]);
            }
        }
    }
#pragma GCC unroll 18
    for (int i = 0; i < count * vectors; i++) {
        _mm512_storeu_pd(h + i / vectors * p->size + at + i % vectors * LANES, sum[i]);
    }
}

AVX512 INLINE void product_columns_avx512(const spade_exact_products *p, int64_t c, int64_t first, int64_t last,
                                          const int count, const int vectors)
{
    const double *x = p->x + c;
    double *h = p->h + c * p->size;
    int64_t at = first;
    for (; at + vectors * LANES <= last; at += vectors * LANES) { products_avx512(p, x, h, at, count, vectors); }
    for (; at < last; at += LANES) { products_avx512(p, x, h, at, count, 1); }
}

AVX512 static void subtract_products_avx512(const spade_exact_products *p, int64_t first, int64_t last)
{
    int64_t c = 0;
    for (; c + 9 <= p->count; c += 9) { product_columns_avx512(p, c, first, last, 9, 2); }
    for (; c + 4 <= p->count; c += 4) { product_columns_avx512(p, c, first, last, 4, 4); }
    for (; c < p->count; c++) { product_columns_avx512(p, c, first, last, 1, 8); }
}

AVX512 INLINE __m512d load_avx512(const double *from, const int32_t *columns, bool run)
{
    if (run) { return _mm512_loadu_pd(from + columns[0]); }
    return _mm512_i32gather_pd(_mm256_loadu_si256((const __m256i *)columns), from, 8);
}

AVX512 static void update_tile_avx512(const spade_exact_tile *t)
{
    enum { VECTORS = COLUMNS / LANES };
    __m512d sum[ROWS][VECTORS];
    const double *a = t->a, *b = t->b;
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) {
            sum[i][v] = _mm512_setzero_pd();
            _mm_prefetch((const char *)(t->from[i] + t->columns[v * LANES]), _MM_HINT_T0);
        }
    }
    int64_t panel = t->depth * LANES;
    for (int64_t k = 0; k < t->depth; k++, a += ROWS, b += LANES) {
        __m512d right[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) { right[v] = _mm512_loadu_pd(b + v * panel); }
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) {
            __m512d left = _mm512_set1_pd(a[i]);
#pragma GCC unroll 3
            for (int v = 0; v < VECTORS; v++) { sum[i][v] = _mm512_fmadd_pd(left, right[v], sum[i][v]); }
        }
    }
    const int32_t *columns = t->columns;
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
        if (i >= t->rows) { break; }
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) {
            __m512d old = load_avx512(t->from[i], columns + v * LANES, t->run[v]);
            _mm512_storeu_pd(t->to[i] + v * LANES, _mm512_sub_pd(old, sum[i][v]));
        }
    }
}

static const spade_exact_kernels avx512 = {update_tile_avx512, subtract_products_avx512, advance_avx512};

/* ---- AVX2 */
#define AVX2 __attribute__((target("avx2,fma")))
enum { HALF = LANES / 2 };

AVX2 static void advance_avx2(const spade_exact_step *s, int64_t first, int64_t last, double *scratch)
{
    advance(s, first, last, scratch);
}

/* count columns of LANES numbers from `at` on */
AVX2 INLINE void products_avx2(const spade_exact_products *p, int64_t column, int64_t at, const int count)
{
    __m256d sum[6];
    double *h = p->h + column * p->size + at;
    const double *u = p->u + at, *x = p->x + column;
#pragma GCC unroll 6
    for (int i = 0; i < 2 * count; i++) { sum[i] = _mm256_loadu_pd(h + i / 2 * p->size + i % 2 * HALF); }
    for (int64_t s = 0; s < p->depth; s++, u += p->size, x += p->count) {
        __m256d low = _mm256_loadu_pd(u), high = _mm256_loadu_pd(u + HALF);
#pragma GCC unroll 3
        for (int c = 0; c < count; c++) {
            __m256d factor = _mm256_set1_pd(x[c]);
            sum[2 * c] = _mm256_fnmadd_pd(low, factor, sum[2 * c]);
            sum[2 * c + 1] = _mm256_fnmadd_pd(high, factor, sum[2 * c + 1]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < 2 * count; i++) { _mm256_storeu_pd(h + i / 2 * p->size + i % 2 * HALF, sum[i]); }
}

AVX2 static void subtract_products_avx2(const spade_exact_products *p, int64_t first, int64_t last)
{
    int64_t c = 0;
    for (; c + 3 <= p->count; c += 3) {
        for (int64_t at = first; at < last; at += LANES) { products_avx2(p, c, at, 3); }
    }
    for (; c < p->count; c++) {
        for (int64_t at = first; at < last; at += LANES) { products_avx2(p, c, at, 1); }
    }
}

AVX2 INLINE __m256d load_avx2(const double *from, const int32_t *columns, bool run)
{
    if (run) { return _mm256_loadu_pd(from + columns[0]); }
    return _mm256_set_pd(from[columns[3]], from[columns[2]], from[columns[1]], from[columns[0]]);
}

/* Rows first .. first+3, columns 8v .. 8v+7 of a tile. */
AVX2 INLINE void update_part_avx2(const spade_exact_tile *t, int first, int v)
{
    __m256d sum[4][2];
    const double *a = t->a + first, *b = t->b + v * t->depth * LANES;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) { sum[i / 2][i % 2] = _mm256_setzero_pd(); }
    for (int64_t k = 0; k < t->depth; k++, a += ROWS, b += LANES) {
        __m256d low = _mm256_loadu_pd(b), high = _mm256_loadu_pd(b + HALF);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m256d left = _mm256_set1_pd(a[i]);
            sum[i][0] = _mm256_fmadd_pd(left, low, sum[i][0]);
            sum[i][1] = _mm256_fmadd_pd(left, high, sum[i][1]);
        }
    }
    const int32_t *columns = t->columns + v * LANES;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        if (first + i >= t->rows) { break; }
        const double *from = t->from[first + i];
        double *to = t->to[first + i] + v * LANES;
        __m256d low = load_avx2(from, columns, t->run[v]), high = load_avx2(from, columns + HALF, t->run[v]);
        _mm256_storeu_pd(to, _mm256_sub_pd(low, sum[i][0]));
        _mm256_storeu_pd(to + HALF, _mm256_sub_pd(high, sum[i][1]));
    }
}

AVX2 static void update_tile_avx2(const spade_exact_tile *t)
{
    for (int v = 0; v < COLUMNS / LANES; v++) {
        for (int first = 0; first < t->rows; first += 4) { update_part_avx2(t, first, v); }
    }
}

static const spade_exact_kernels avx2 = {update_tile_avx2, subtract_products_avx2, advance_avx2};
#endif

int spade_cpu_exact_versions(const spade_exact_kernels *out[SPADE_EXACT_VERSIONS])
{
    int count = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) { out[count++] = &avx512; }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) { out[count++] = &avx2; }
#endif
    out[count++] = &plain;
    return count;
}

const spade_exact_kernels *spade_cpu_exact_kernels(void)
{
    const spade_exact_kernels *versions[SPADE_EXACT_VERSIONS];
    spade_cpu_exact_versions(versions);
    return versions[0];
}
