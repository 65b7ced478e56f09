/* The arithmetic on groups of rows, in every version that this processor runs, against plain loops in long double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/microkernels.h"
#include "base/base.h"

enum { LANES = SPADE_LANES, STRIP = SPADE_STRIP, LONGEST = 70, LD = 31, LEVELS = 3 };

static double next(uint32_t *counter)
{
    const uint32_t key[2] = {5, 9};
    uint32_t at[4] = {(*counter)++, 0, 0, 0}, random[4];
    spade_philox(key, at, random);
    return 2 * spade_uniform(random[0], random[1]) - 1;
}

static void fill(double *numbers, int count, uint32_t *counter)
{
    for (int i = 0; i < count; i++) { numbers[i] = next(counter); }
}

static void check_product(const spade_microkernels *kernels, int64_t n, int count, uint32_t *counter)
{
    double a[LONGEST * LANES], b[LONGEST * LD], c[STRIP * LD], before[STRIP * LD];
    double sign = next(counter) < 0 ? -1 : 1;
    fill(a, LONGEST * LANES, counter);
    fill(b, LONGEST * LD, counter);
    fill(c, STRIP * LD, counter);
    memcpy(before, c, sizeof c);
    kernels->product(n, a, b, LD, count, sign, c, LD);
    for (int i = 0; i < STRIP; i++) {
        for (int l = 0; l < LD; l++) {
            long double expected = before[i * LD + l];
            for (int64_t p = 0; p < n && i < count && l < LANES; p++) {
                expected += sign * (long double)a[p * LANES + l] * (long double)b[p * LD + i];
            }
            assert_true(fabsl(expected - c[i * LD + l]) <= 1e-13L); /* what lies beside is not touched: exact */
            if (i >= count || l >= LANES) { assert_true(c[i * LD + l] == before[i * LD + l]); }
        }
    }
}

static void check_single(const spade_microkernels *kernels, int64_t n, int count, uint32_t *counter)
{
    float a[LONGEST * 2 * LANES], b[LONGEST * LD];
    double c[2][STRIP * LANES], before[2][STRIP * LANES];
    for (int i = 0; i < LONGEST * 2 * LANES; i++) { a[i] = (float)next(counter); }
    for (int i = 0; i < LONGEST * LD; i++) { b[i] = (float)next(counter); }
    fill(c[0], 2 * STRIP * LANES, counter);
    memcpy(before, c, sizeof c);
    kernels->product_single(n, a, b, LD, count, c[0], c[1]);
    for (int i = 0; i < STRIP; i++) {
        for (int l = 0; l < 2 * LANES; l++) {
            int at = i * LANES + l % LANES, group = l / LANES;
            double expected = 0;
            for (int64_t p = 0; p < n && i < count; p++) {
                expected += (double)a[p * 2 * LANES + l] * (double)b[p * LD + i];
            }
            assert_true(fabs(before[group][at] + expected - c[group][at]) <= (i < count ? 3e-5 : 0));
        }
    }
}

static void test_products(void **state)
{
    (void)state;
    uint32_t counter = 0;
    for (int level = 0; level < LEVELS; level++) {
        const spade_microkernels *kernels = spade_cpu_microkernels_of(level);
        for (int t = 0; kernels && t < 120; t++) {
            int64_t n = t < LONGEST ? t : LONGEST;
            check_product(kernels, n, 1 + t % STRIP, &counter);
            check_single(kernels, n, 1 + t % STRIP, &counter);
        }
    }
}

/* T X = X T by its own definition: multiply back. */
static void check_triangle(const spade_microkernels *kernels, int count, bool upper, uint32_t *counter)
{
    double t[STRIP * LD], reciprocal[STRIP], x[STRIP * LANES], g[STRIP * LANES];
    fill(t, STRIP * LD, counter);
    fill(x, STRIP * LANES, counter);
    memcpy(g, x, sizeof g);
    for (int j = 0; j < STRIP; j++) {
        t[j * LD + j] += 4;
        reciprocal[j] = 1 / t[j * LD + j];
    }
    (upper ? kernels->forward : kernels->backward)(count, t, LD, reciprocal, x);
    for (int j = 0; j < STRIP; j++) {
        for (int l = 0; l < LANES; l++) {
            double sum = 0;
            for (int i = upper ? 0 : j; i < (upper ? j + 1 : count); i++) { sum += x[i * LANES + l] * t[i * LD + j]; }
            double expected = j < count ? sum : x[j * LANES + l];
            assert_true(fabs(expected - g[j * LANES + l]) < 1e-13);
        }
    }
}

static void check_prune(const spade_microkernels *kernels, int count, uint32_t *counter)
{
    double v[STRIP * LD], diagonal[STRIP], reciprocal[STRIP], left[STRIP * LANES], w[STRIP * LANES];
    double removed[STRIP * LANES] = {0}, sums[LANES] = {0}, before[STRIP * LANES];
    uint8_t mask[STRIP * LANES];
    fill(v, STRIP * LD, counter);
    fill(left, STRIP * LANES, counter);
    fill(w, STRIP * LANES, counter);
    memcpy(before, w, sizeof w);
    for (int j = 0; j < STRIP; j++) {
        diagonal[j] = v[j * LD + j] = v[j * LD + j] + 3;
        reciprocal[j] = 1 / diagonal[j];
    }
    for (int i = 0; i < STRIP * LANES; i++) { mask[i] = next(counter) < 0; }
    kernels->prune(count, v, LD, diagonal, reciprocal, left, mask, w, removed, sums);
    for (int l = 0; l < LANES; l++) {
        double sum = 0;
        for (int j = 0; j < count; j++) {
            int at = j * LANES + l;
            double own = left[at];
            for (int i = 0; i < j; i++) { own += removed[i * LANES + l] * v[i * LD + j]; }
            double now = before[at] + own / diagonal[j], kept = mask[at] ? 0 : now;
            assert_true(fabs(w[at] - kept) < 1e-13 && (w[at] == 0) == (mask[at] != 0));
            assert_true(fabs(removed[at] - (before[at] - kept)) < 1e-13);
            sum += mask[at] ? now * diagonal[j] * now * diagonal[j] : 0;
        }
        assert_true(fabs(sums[l] - sum) < 1e-11);
    }
}

static void test_loops(void **state)
{
    (void)state;
    uint32_t counter = 0;
    for (int level = 0; level < LEVELS; level++) {
        const spade_microkernels *kernels = spade_cpu_microkernels_of(level);
        for (int t = 0; kernels && t < 40; t++) {
            check_triangle(kernels, 1 + t % STRIP, true, &counter);
            check_triangle(kernels, 1 + t % STRIP, false, &counter);
            check_prune(kernels, 1 + t % STRIP, &counter);
        }
    }
}

static void test_copies(void **state)
{
    (void)state;
    uint32_t counter = 0;
    for (int level = 0; level < LEVELS; level++) {
        const spade_microkernels *kernels = spade_cpu_microkernels_of(level);
        double from[STRIP * LD], to[STRIP * LD], before[STRIP * LD];
        float narrow[STRIP * LD];
        fill(from, STRIP * LD, &counter);
        fill(to, STRIP * LD, &counter);
        if (!kernels) { continue; }
        memcpy(before, to, sizeof to);
        kernels->transpose(from, LD, to, LD);
        for (int i = 0; i < STRIP * LD; i++) {
            bool inside = i % LD < STRIP;
            assert_true(to[i] == (inside ? from[i % LD * LD + i / LD] : before[i]));
        }
        for (int n = 0; n < 60; n++) {
            memset(narrow, 0, sizeof narrow);
            kernels->narrow(n, from, narrow);
            for (int i = 0; i < STRIP * LD; i++) { assert_true(narrow[i] == (i < n ? (float)from[i] : 0)); }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_loops),
                                       cmocka_unit_test(test_copies)};
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
