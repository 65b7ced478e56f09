/* test_statistics.c - means and pairs of a metric's values over pictures: known answers, the definition in plain loops, and that the
 * bootstrap's interval covers the truth as often as it says. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"
#include "report/statistics.h"

static double normal(uint32_t seed, uint32_t index)
{
    double out[2];
    spade_normal((uint32_t[2]){seed, 77}, (uint32_t[4]){index, 0, 0, 0}, out);
    return out[0];
}

static void test_sample(void **state)
{
    (void)state;
    const double values[5] = {1, NAN, 2, 3, 6}, none[2] = {NAN, NAN};
    sample_statistics s = describe_sample(values, 5);
    assert_true(s.count == 4 && s.mean == 3);
    assert_true(fabs(s.error - sqrt((4 + 1 + 0 + 9) / 3.0 / 4)) < 1e-15);
    s = describe_sample(values, 1);
    assert_true(s.count == 1 && s.mean == 1 && isnan(s.error));
    s = describe_sample(none, 2);
    assert_true(s.count == 0 && isnan(s.mean) && isnan(s.error));
}

static void test_pairs(void **state)
{
    (void)state;
    const double a[6] = {1, 2, 3, NAN, 5, 6}, b[6] = {2, 2, 1, 9, NAN, 10};
    double differences[6], *means = malloc(sizeof *means * BOOTSTRAP_SAMPLES);
    pair_statistics p = compare_pairs(a, b, 6, true, 0, differences, means);
    assert_true(p.count == 4 && p.difference == 0.75 && p.better == 0.5 && p.same == 0.25);
    assert_true(p.low >= -2 && p.low < 0.75 && p.high > 0.75 && p.high <= 4);
    pair_statistics again = compare_pairs(a, b, 6, false, 0, differences, means);
    assert_true(again.better == 0.25 && again.low == p.low && again.high == p.high); /* the same samples */
    again = compare_pairs(a, a, 3, true, 5, differences, means);
    assert_true(again.difference == 0 && again.low == 0 && again.high == 0 && again.same == 1 && again.better == 0);
    again = compare_pairs(a + 3, b + 3, 1, true, 0, differences, means);
    assert_true(again.count == 0 && isnan(again.difference) && isnan(again.low) && isnan(again.better));
    again = compare_pairs(a, b, 1, true, 0, differences, means);
    assert_true(again.count == 1 && again.difference == 1 &&
                isnan(again.low)); /* one pair says nothing of its spread */
    free(means);
}

/* Of 40 normal differences of mean 0.3: like the interval of the normal distribution, 1.96 standard errors each way, and around
 * the mean in about 95 of 100 data sets (by chance, and as 40 are few, 88 to 100). */
static void test_interval(void **state)
{
    (void)state;
    enum { N = 40, SETS = 100 };
    double zeros[N] = {0}, values[N], differences[N], *means = malloc(sizeof *means * BOOTSTRAP_SAMPLES);
    int covered = 0;
    for (uint32_t set = 0; set < SETS; set++) {
        for (uint32_t i = 0; i < N; i++) { values[i] = 0.3 + normal(set, i); }
        const pair_statistics p = compare_pairs(zeros, values, N, true, set, differences, means);
        const sample_statistics s = describe_sample(values, N);
        assert_true(fabs((p.high - p.low) / (2 * 1.96 * s.error) - 1) < 0.12);
        covered += p.low <= 0.3 && 0.3 <= p.high;
    }
    assert_true(covered >= 88);
    free(means);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sample), cmocka_unit_test(test_pairs),
                                       cmocka_unit_test(test_interval)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
