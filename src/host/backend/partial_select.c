/*
 * partial_select.c - the threshold, then one pass that marks, and hands out ties in order. The threshold in a few passes: a
 * bracket [low, high] around it, guessed from a sample, then only what lies in the bracket (Floyd and Rivest 1975).
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "backend/partial_select.h"

enum { SAMPLE = 32 };

/* Write the numbers in [low, high] to `out` (which may be `from`: it never overtakes), count those below. */
typedef int64_t (*take_fn)(const double *from, int64_t n, double low, double high, double *out, int64_t *below);

static int64_t take_plain(const double *from, int64_t n, double low, double high, double *out, int64_t *below)
{
    int64_t taken = 0, under = 0;
    for (int64_t i = 0; i < n; i++) {
        double value = from[i];
        under += value < low;
        out[taken] = value;
        taken += value >= low && value <= high;
    }
    *below = under;
    return taken;
}

#if defined(__x86_64__)
__attribute__((target("avx512f,popcnt"))) static int64_t take_avx512(const double *from, int64_t n, double low,
                                                                     double high, double *out, int64_t *below)
{
    const __m512d lows = _mm512_set1_pd(low), highs = _mm512_set1_pd(high);
    int64_t taken = 0, under = 0;
    for (int64_t i = 0; i < n; i += 8) {
        __mmask8 valid = n - i < 8 ? (__mmask8)((1u << (n - i)) - 1) : (__mmask8)0xff;
        __m512d values = _mm512_maskz_loadu_pd(valid, from + i);
        __mmask8 less = _mm512_mask_cmp_pd_mask(valid, values, lows, _CMP_LT_OQ);
        __mmask8 inside = _mm512_mask_cmp_pd_mask(_mm512_mask_cmp_pd_mask(valid, values, lows, _CMP_GE_OQ), values,
                                                  highs, _CMP_LE_OQ);
        _mm512_storeu_pd(out + taken, _mm512_maskz_compress_pd(inside, values));
        taken += __builtin_popcount(inside);
        under += __builtin_popcount(less);
    }
    *below = under;
    return taken;
}
#endif

static take_fn choose_take(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) { return take_avx512; }
#endif
    return take_plain;
}

static void sort(double *a, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        double value = a[i];
        int64_t j = i;
        for (; j > 0 && a[j - 1] > value; j--) { a[j] = a[j - 1]; }
        a[j] = value;
    }
}

/* Which of the sorted sample lie around rank k of n, as far away as chance makes likely (two standard deviations). */
static void guess(const double *sample, int64_t n, int64_t k, double *low, double *high)
{
    double share = (double)k / (double)n;
    int at = (int)(share * SAMPLE), margin = 1 + (int)(2 * sqrt(SAMPLE * share * (1 - share)));
    if (at - margin >= 0) { *low = sample[at - margin]; }
    if (at + margin < SAMPLE) { *high = sample[at + margin]; }
}

static double median_of_three(double a, double b, double c)
{
    if (a < b) { return b < c ? b : (a < c ? c : a); }
    return a < c ? a : (b < c ? c : b);
}

/* The value of rank k (from 0) of a[0 .. n-1]; reorders a. Hoare's partition: it stops on equal keys, so many ties cost
 * nothing. */
static double quickselect(double *a, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        double pivot = median_of_three(a[low], a[low + (high - low) / 2], a[high]);
        int64_t i = low, j = high;
        while (i <= j) {
            while (a[i] < pivot) { i++; }
            while (pivot < a[j]) { j--; }
            if (i <= j) {
                double t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        if (k <= j) {
            high = j;
        } else if (k >= i) {
            low = i;
        } else {
            return a[k];
        }
    }
    return a[k];
}

/* The value of rank k (from 0) of scores[0 .. n-1]. Brackets as long as they at least halve what is left. */
static double select_rank(const double *scores, int64_t n, int64_t k, double *scratch)
{
    const take_fn take = choose_take();
    const double *from = scores;
    const int64_t all = n, rank = k;
    while (n > SAMPLE) {
        double sample[SAMPLE], low = -INFINITY, high = INFINITY;
        for (int64_t i = 0; i < SAMPLE; i++) { sample[i] = from[i * n / SAMPLE]; }
        sort(sample, SAMPLE);
        guess(sample, n, k, &low, &high);
        int64_t below, before = n;
        n = take(from, n, low, high, scratch, &below);
        k -= below;
        from = scratch;
        if (k < 0 || k >= n) { /* the guess missed the rank */
            from = scores;
            n = all;
            k = rank;
            break;
        }
        if (n > before / 2) { break; }
    }
    if (from == scores) { memcpy(scratch, scores, (size_t)n * sizeof *scratch); }
    return quickselect(scratch, n, k);
}

static int64_t mark(const double *scores, int64_t n, double threshold, bool equal, uint8_t *mask)
{
    int64_t marked = 0;
    for (int64_t i = 0; i < n; i++) {
        mask[i] = equal ? scores[i] <= threshold : scores[i] < threshold;
        marked += mask[i];
    }
    return marked;
}

void spade_select_lowest(const double *scores, int64_t rows, int64_t columns, int64_t lanes, int64_t count,
                         double *scratch, uint8_t *mask)
{
    int64_t n = (rows + lanes - 1) / lanes * lanes * columns;
    if (count <= 0 || count >= rows * columns) {
        memset(mask, count > 0, (size_t)n);
        return;
    }
    double threshold = select_rank(scores, n, count - 1, scratch);
    if (mark(scores, n, threshold, true, mask) == count) { return; }
    int64_t ties = count - mark(scores, n, threshold, false, mask);
    for (int64_t r = 0; r < rows && ties > 0; r++) {
        for (int64_t c = 0; c < columns && ties > 0; c++) {
            int64_t at = (r / lanes * columns + c) * lanes + r % lanes;
            if (scores[at] == threshold) {
                mask[at] = 1;
                ties--;
            }
        }
    }
}

void spade_select_rows(const double *scores, int64_t rows, int64_t columns, int64_t lanes, int64_t keep, uint8_t *mask)
{
    for (int64_t group = 0; group * lanes < rows; group++) {
        const double *own = scores + group * columns * lanes;
        for (int64_t at = 0; at < columns * lanes; at++) {
            int64_t higher = 0; /* scores of the row that outrank this one */
            for (int64_t other = at % lanes; other < columns * lanes; other += lanes) {
                higher += own[other] > own[at] || (other > at && own[other] == own[at]);
            }
            mask[group * columns * lanes + at] = higher >= keep;
        }
    }
}
