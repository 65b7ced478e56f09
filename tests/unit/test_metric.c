/* test_metric.c - ROC AUC on cases with known answers, ties, and against counting pairs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "spade/metric.h"

static double auc_of(const float *scores, const uint8_t *mask, int64_t n)
{
    spade_context context = {.budget = UINT64_MAX};
    double out = -1;
    assert_int_equal(spade_roc_auc(&context, scores, mask, n, &out), SPADE_OK);
    assert_int_equal(context.used, 0);
    return out;
}

static void test_known(void **state)
{
    (void)state;
    const uint8_t mask[4] = {0, 0, 1, 1};
    const float perfect[4] = {0, 1, 2, 3}, wrong[4] = {3, 2, 1, 0}, equal[4] = {5, 5, 5, 5},
                mixed[4] = {0.1f, 0.4f, 0.35f, 0.8f};
    assert_true(auc_of(perfect, mask, 4) == 1);
    assert_true(auc_of(wrong, mask, 4) == 0);
    assert_true(auc_of(equal, mask, 4) == 0.5);
    assert_true(auc_of(mixed, mask, 4) == 0.75); /* scikit-learn's own example */
}

/* The definition: pairs (inside, outside) ranked right, ties count half. */
static void test_against_pairs(void **state)
{
    (void)state;
    enum { N = 97 };
    for (uint32_t round = 0; round < 50; round++) {
        float scores[N];
        uint8_t mask[N];
        double right = 0, pairs = 0;
        for (uint32_t i = 0; i < N; i++) {
            uint32_t key[2] = {round, 0}, counter[4] = {i, 0, 0, 0}, random[4];
            spade_philox(key, counter, random);
            scores[i] = (float)(random[0] % 20) - 10; /* many ties */
            mask[i] = i == 0 ? 1 : i == 1 ? 0 : random[1] % 3 == 0;
        }
        for (int i = 0; i < N; i++) {
            for (int k = 0; k < N; k++) {
                if (!mask[i] || mask[k]) { continue; }
                right += scores[i] > scores[k] ? 1 : scores[i] == scores[k] ? 0.5 : 0;
                pairs++;
            }
        }
        assert_true(fabs(auc_of(scores, mask, N) - right / pairs) < 1e-12);
    }
}

static void test_refused(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    double out;
    const float scores[3] = {1, 2, 3}, broken[3] = {1, NAN, 3};
    const uint8_t empty[3] = {0, 0, 0}, full[3] = {1, 1, 1}, good[3] = {0, 1, 0};
    assert_int_equal(spade_roc_auc(&context, scores, empty, 3, &out), SPADE_ERROR_INPUT);
    assert_non_null(strstr(context.message, "empty"));
    assert_int_equal(spade_roc_auc(&context, scores, full, 3, &out), SPADE_ERROR_INPUT);
    assert_non_null(strstr(context.message, "full"));
    assert_int_equal(spade_roc_auc(&context, broken, good, 3, &out), SPADE_ERROR_INPUT);
    assert_int_equal(spade_roc_auc(&context, scores, good, 0, &out), SPADE_ERROR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_against_pairs),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
