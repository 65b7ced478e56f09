/* test_similarity.c - rank correlation and structural similarity of maps: against SciPy's and scikit-image's values, and against
 * their definitions in plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "spade/check.h"
#include "support/model.h"

enum { MAX_NUMBERS = 3 * 32 * 32 };

static spade_similarity compare(const float *a, const float *b, const int64_t shape[3])
{
    spade_context context = {.budget = UINT64_MAX};
    spade_similarity found;
    assert_int_equal(spade_map_similarity(&context, a, b, shape, &found), SPADE_OK);
    assert_int_equal(context.used, context.evictable);
    spade_block_cache_destroy(&context);
    return found;
}

/* ---- against other programs: scipy.stats.spearmanr (1.17.1) of the sums over channels and of those of absolute values, and
 * skimage.metrics.structural_similarity (0.26.0) of the latter, scaled to 0..1, with data_range 1 and the window's size */

static const struct {
    int64_t shape[3];
    double spearman, spearman_abs, ssim;
} stored[] = {
    {{3, 9, 11}, 0.275935855382, -0.036720326504, -0.099220342},
    {{1, 16, 16}, 0.446029286772, 0.082501890121, 0.071705240},
    {{2, 5, 4}, 0.377443609023, 0.139704192255, -0.034613252}, /* windows of 3 x 3 */
};

static void test_stored(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof stored / sizeof *stored; k++) {
        const int64_t n = stored[k].shape[0] * stored[k].shape[1] * stored[k].shape[2];
        float a[MAX_NUMBERS], b[MAX_NUMBERS];
        for (int64_t i = 0; i < n; i++) {
            a[i] = (float)((i * 37 + 11) % 101 - 50);
            b[i] = (float)((i * 53 + 11) % 97 - 40) + a[i] * 0.5f;
        }
        const spade_similarity found = compare(a, b, stored[k].shape);
        assert_true(fabs(found.spearman - stored[k].spearman) < 1e-11);
        assert_true(fabs(found.spearman_abs - stored[k].spearman_abs) < 1e-11);
        assert_true(fabs(found.ssim - stored[k].ssim) < 1e-6);
    }
}

/* ---- against the definitions */

/* Pearson's correlation of ranks that are counted: values below, and half of the others that are equal. */
static double correlate_ranks(const float *a, const float *b, int64_t n)
{
    double sums[2] = {0}, products[3] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < n; i++) {
            double ranks[2] = {0};
            for (int64_t k = 0; k < n; k++) {
                ranks[0] += a[k] < a[i] ? 1 : a[k] == a[i] && k != i ? 0.5 : 0;
                ranks[1] += b[k] < b[i] ? 1 : b[k] == b[i] && k != i ? 0.5 : 0;
            }
            const double x = ranks[0] - sums[0] / (double)n, y = ranks[1] - sums[1] / (double)n;
            if (pass == 0) {
                sums[0] += ranks[0];
                sums[1] += ranks[1];
            } else {
                products[0] += x * x;
                products[1] += y * y;
                products[2] += x * y;
            }
        }
    }
    return products[2] / sqrt(products[0] * products[1]);
}

static void reduce(const float *map, const int64_t shape[3], bool absolute, float *out)
{
    const int64_t pixels = shape[1] * shape[2];
    for (int64_t p = 0; p < pixels; p++) {
        out[p] = 0;
        for (int64_t c = 0; c < shape[0]; c++) {
            out[p] += absolute ? fabsf(map[c * pixels + p]) : map[c * pixels + p];
        }
    }
}

/* Of all windows: means first, then squares of what is left. */
static double compare_structure(const float *a, const float *b, int64_t height, int64_t width)
{
    const int64_t side = 7, n = side * side;
    double total = 0, count = 0, low[2], range[2];
    for (int m = 0; m < 2; m++) {
        const float *map = m ? b : a;
        double high = map[0];
        low[m] = map[0];
        for (int64_t i = 0; i < height * width; i++) {
            low[m] = fmin(low[m], map[i]);
            high = fmax(high, map[i]);
        }
        range[m] = high - low[m];
    }
    for (int64_t top = 0; top + side <= height; top++) {
        for (int64_t left = 0; left + side <= width; left++, count++) {
            double means[2] = {0}, moments[3] = {0};
            for (int pass = 0; pass < 2; pass++) {
                for (int64_t i = 0; i < n; i++) {
                    const int64_t at = (top + i / side) * width + left + i % side;
                    const double x = (a[at] - low[0]) / range[0], y = (b[at] - low[1]) / range[1];
                    means[0] += pass ? 0 : x / (double)n;
                    means[1] += pass ? 0 : y / (double)n;
                    moments[0] += pass ? (x - means[0]) * (x - means[0]) / (double)(n - 1) : 0;
                    moments[1] += pass ? (y - means[1]) * (y - means[1]) / (double)(n - 1) : 0;
                    moments[2] += pass ? (x - means[0]) * (y - means[1]) / (double)(n - 1) : 0;
                }
            }
            total += (2 * means[0] * means[1] + 1e-4) * (2 * moments[2] + 9e-4) /
                     ((means[0] * means[0] + means[1] * means[1] + 1e-4) * (moments[0] + moments[1] + 9e-4));
        }
    }
    return total / count;
}

static void test_definitions(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 20; round++) {
        const int64_t shape[3] = {1 + round % 3, 7 + round % 5, 8 + round % 11};
        const int64_t pixels = shape[1] * shape[2], n = shape[0] * pixels;
        float a[MAX_NUMBERS], b[MAX_NUMBERS], x[MAX_NUMBERS], y[MAX_NUMBERS];
        for (uint32_t i = 0; i < (uint32_t)n; i++) {
            a[i] = roundf(8 * pseudo_random(round, i)) / 8; /* many ties */
            b[i] = round % 2 ? pseudo_random(round + 100, i) : a[i] + 0.25f * pseudo_random(round + 100, i);
        }
        const spade_similarity found = compare(a, b, shape);
        reduce(a, shape, false, x);
        reduce(b, shape, false, y);
        assert_true(fabs(found.spearman - correlate_ranks(x, y, pixels)) < 1e-9);
        reduce(a, shape, true, x);
        reduce(b, shape, true, y);
        assert_true(fabs(found.spearman_abs - correlate_ranks(x, y, pixels)) < 1e-9);
        assert_true(fabs(found.ssim - compare_structure(x, y, shape[1], shape[2])) < 1e-5);
    }
}

/* What follows from the definitions. */
static void test_properties(void **state)
{
    (void)state;
    const int64_t shape[3] = {1, 9, 9};
    float a[81], b[81];
    for (uint32_t i = 0; i < 81; i++) {
        a[i] = pseudo_random(1, i);
        b[i] = -2 * a[i];
    }
    spade_similarity found = compare(a, a, shape);
    assert_true(found.spearman == 1 && found.spearman_abs == 1 && fabs(found.ssim - 1) < 1e-12);
    found = compare(a, b, shape); /* the other sign, another size */
    assert_true(found.spearman == -1 && found.spearman_abs == 1 && fabs(found.ssim - 1) < 1e-6);
    for (int i = 0; i < 81; i++) { b[i] = 3; }
    found = compare(a, b, shape); /* nothing varies */
    assert_true(isnan(found.spearman) && isnan(found.spearman_abs) && isnan(found.ssim));
    found = compare(a, a, (int64_t[]){1, 2, 40}); /* no window fits */
    assert_true(found.spearman == 1 && isnan(found.ssim));
}

static void test_refused(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    const float zero = 0;
    spade_similarity found;
    assert_int_equal(spade_map_similarity(&context, &zero, &zero, (int64_t[]){1, 0, 4}, &found), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(context.message, "1 x 0 x 4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stored),
        cmocka_unit_test(test_definitions),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
