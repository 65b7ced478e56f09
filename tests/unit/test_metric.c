/* test_metric.c - the table of metrics and their texts; ROC AUC on cases with known answers, ties, and against counting
 * pairs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "metric/registry.h"
#include "report/html.h"

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

/* ---- energy, Gini index */

static spade_status measure_named(spade_context *context, const char *name, const spade_metric_inputs *inputs,
                                  double *out)
{
    spade_metric *metric;
    assert_int_equal(spade_metric_create(context, name, &metric), SPADE_OK);
    const spade_status status = spade_measure(context, metric, inputs, out);
    spade_metric_destroy(metric);
    return status;
}

static void test_energy(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    spade_metric_inputs inputs;
    const float scores[6] = {1, -2, 3, 0.5f, 0, 4}, none[6] = {0, -1, -2, 0, 0, 0}, broken[6] = {1, INFINITY};
    const uint8_t mask[6] = {1, 1, 0, 9, 0, 0}, empty[6] = {0};
    double value;
    spade_metric_inputs_init(&inputs);
    inputs.height = 2, inputs.width = 3, inputs.mask = mask, inputs.scores = scores;
    assert_int_equal(measure_named(&context, "energy", &inputs, &value), SPADE_OK);
    assert_true(fabs(value - 1.5 / 8.5) < 1e-12);
    inputs.scores = none;
    assert_int_equal(measure_named(&context, "energy", &inputs, &value), SPADE_OK);
    assert_true(isnan(value));
    inputs.scores = broken;
    assert_int_equal(measure_named(&context, "energy", &inputs, &value), SPADE_ERROR_INPUT);
    inputs.scores = scores;
    inputs.mask = empty;
    assert_int_equal(measure_named(&context, "energy", &inputs, &value), SPADE_ERROR_INPUT);
}

/* Half of the mean absolute difference of all pairs, over the mean. */
static void test_gini(void **state)
{
    (void)state;
    enum { N = 60 };
    spade_context context = {.budget = UINT64_MAX};
    spade_metric_inputs inputs;
    float scores[N], equal[N], one[N] = {0}, zero[N] = {0};
    double value, differences = 0, sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        const uint32_t key[2] = {3, 0}, counter[4] = {i, 0, 0, 0};
        uint32_t random[4];
        spade_philox(key, counter, random);
        scores[i] = (float)(random[0] % 50) - 25;
        equal[i] = -2;
    }
    one[7] = 3;
    for (int i = 0; i < N; i++) {
        sum += fabs((double)scores[i]);
        for (int k = 0; k < N; k++) { differences += fabs(fabs((double)scores[i]) - fabs((double)scores[k])); }
    }
    spade_metric_inputs_init(&inputs);
    inputs.height = 6, inputs.width = 10, inputs.scores = scores;
    assert_int_equal(measure_named(&context, "gini", &inputs, &value), SPADE_OK);
    assert_true(fabs(value - differences / (2 * N * sum)) < 1e-12);
    inputs.scores = equal;
    assert_int_equal(measure_named(&context, "gini", &inputs, &value), SPADE_OK);
    assert_true(fabs(value) < 1e-12);
    inputs.scores = one;
    assert_int_equal(measure_named(&context, "gini", &inputs, &value), SPADE_OK);
    assert_true(fabs(value - (N - 1.0) / N) < 1e-12);
    inputs.scores = zero;
    assert_int_equal(measure_named(&context, "gini", &inputs, &value), SPADE_OK);
    assert_true(isnan(value));
    assert_int_equal(context.used, 0);
}

/* ---- the table */
static void test_table(void **state)
{
    (void)state;
    assert_true(spade_metric_count() >= 1);
    for (int i = 0; i < spade_metric_count(); i++) {
        const spade_metric_info *info = spade_metric_at(i);
        assert_ptr_equal(spade_metric_find(info->name), info);
        assert_true(info->title && info->definition && info->reading && info->source);
        assert_true(info->version >= 1 && info->option_count <= SPADE_MAX_OPTIONS);
    }
    assert_null(spade_metric_at(spade_metric_count()));
    assert_null(spade_metric_at(-1));
    assert_null(spade_metric_find("roc"));
    assert_int_equal(spade_metric_find("roc_auc")->better, SPADE_METRIC_HIGHER);
}

/* A metric whose value is its option. */
typedef struct sample_options {
    double share;
} sample_options;

static spade_status run_sample(spade_context *context, const void *options, const spade_metric_inputs *inputs,
                               double *out)
{
    (void)context;
    *out = ((const sample_options *)options)->share + inputs->scores[0];
    return SPADE_OK;
}

static const spade_option_info sample_infos[] = {
    {.name = "share", .type = SPADE_OPTION_REAL, .min = 0, .max = 1, .default_value = "0.25"}};
static const size_t sample_offsets[] = {offsetof(sample_options, share)};
static const metric_class sample_metric = {
    .info = {.name = "sample", .title = "Sample", .options = sample_infos, .option_count = 1},
    .options_bytes = sizeof(sample_options),
    .option_offsets = sample_offsets,
    .run = run_sample};

static void test_texts(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    spade_metric *metric;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"roc", "unknown metric 'roc' (there are roc_auc"},
        {"", "unknown metric ''"},
        {"roc_auc:share=1", "roc_auc: no option 'share' (there are none)"},
        {"roc_auc:", "roc_auc: no option ''"},
        {"pointing:tolerance=-1", "pointing: tolerance: -1 is not from 0 to 1000"},
        {"pointing:radius=1", "pointing: no option 'radius' (there is tolerance)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spade_status status = spade_metric_create(&context, bad[i].text, &metric);
        if (status != SPADE_ERROR_ARGUMENT || metric || !strstr(context.message, bad[i].says)) {
            fail_msg("%s: status %d, '%s'", bad[i].text, status, context.message);
        }
    }
    assert_int_equal(metric_create(&context, &sample_metric, ":share=1.5", &metric), SPADE_ERROR_ARGUMENT);
    assert_string_equal(context.message, "sample: share: 1.5 is not from 0 to 1");

    const float scores[1] = {2};
    double value = 0;
    spade_metric_inputs inputs;
    spade_metric_inputs_init(&inputs);
    inputs.scores = scores;
    inputs.height = inputs.width = 1;
    assert_int_equal(metric_create(&context, &sample_metric, "", &metric), SPADE_OK);
    assert_int_equal(spade_measure(&context, metric, &inputs, &value), SPADE_OK); /* it needs no mask */
    assert_true(value == 2.25);
    assert_int_equal(spade_metric_set(&context, metric, "share", "0.5"), SPADE_OK);
    assert_int_equal(spade_metric_set(&context, metric, "share", "x"), SPADE_ERROR_ARGUMENT);
    assert_string_equal(context.message, "sample: share: 'x' is not a number (write 0.5)");
    assert_int_equal(spade_measure(&context, metric, &inputs, &value), SPADE_OK);
    assert_true(value == 2.5);
    spade_metric_destroy(metric);
    spade_metric_destroy(NULL);
}

/* Which of two values is marked as the better: the metric says in which direction, and of two that print the same none is. */
static void test_better(void **state)
{
    (void)state;
    const spade_metric_info higher = {.better = SPADE_METRIC_HIGHER}, lower = {.better = SPADE_METRIC_LOWER};
    assert_int_equal(html_compare_printed(&higher, 0.25, 0.5), 1);
    assert_int_equal(html_compare_printed(&higher, 0.5, 0.25), -1);
    assert_int_equal(html_compare_printed(&lower, 0.25, 0.5), -1);
    assert_int_equal(html_compare_printed(&lower, 0.5, 0.25), 1);
    assert_int_equal(html_compare_printed(&higher, 0.5001, 0.5002), 0);
    assert_int_equal(html_compare_printed(&lower, 0.5001, 0.5002), 0);
}

static void test_measure(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    spade_metric *metric;
    spade_metric_inputs inputs;
    const float scores[6] = {0.1f, 0.4f, 0.35f, 0.8f, -1, 2};
    const uint8_t mask[6] = {0, 0, 1, 1, 0, 0};
    double value = -1;
    assert_int_equal(spade_metric_create(&context, "roc_auc", &metric), SPADE_OK);
    assert_string_equal(spade_metric_describe(metric)->title, "ROC AUC");
    spade_metric_inputs_init(&inputs);
    assert_int_equal(spade_measure(&context, metric, &inputs, &value), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(context.message, "a picture of 0 x 0"));
    inputs.height = 2;
    inputs.width = 3;
    assert_int_equal(spade_measure(&context, metric, &inputs, &value), SPADE_ERROR_ARGUMENT);
    assert_string_equal(context.message, "ROC AUC needs a map");
    inputs.scores = scores;
    assert_int_equal(spade_measure(&context, metric, &inputs, &value), SPADE_ERROR_ARGUMENT);
    assert_string_equal(context.message, "ROC AUC needs a mask");
    inputs.mask = mask;
    assert_int_equal(spade_measure(&context, metric, &inputs, &value), SPADE_OK);
    assert_true(value == auc_of(scores, mask, 6));
    inputs.size = 0; /* not set up */
    assert_int_equal(spade_measure(&context, metric, &inputs, &value), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(context.message, "call spade_metric_inputs_init() first"));

    struct { /* what a newer library would know */
        spade_metric_inputs inputs;
        int64_t more;
    } newer;
    spade_metric_inputs_init_sized(&newer.inputs, sizeof newer);
    newer.inputs.scores = scores;
    newer.inputs.mask = mask;
    newer.inputs.height = 2;
    newer.inputs.width = 3;
    assert_int_equal(spade_measure(&context, metric, &newer.inputs, &value), SPADE_OK);
    newer.more = 1;
    assert_int_equal(spade_measure(&context, metric, &newer.inputs, &value), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(context.message, "newer libspade"));
    spade_metric_destroy(metric);
}

/* ---- the pointing game */
static spade_status play(spade_context *context, double tolerance, const float *scores, const uint8_t *mask,
                         int64_t height, int64_t width, double *out)
{
    char text[64];
    spade_metric *metric;
    spade_metric_inputs inputs;
    spade_metric_inputs_init(&inputs);
    inputs.scores = scores;
    inputs.mask = mask;
    inputs.height = height;
    inputs.width = width;
    snprintf(text, sizeof text, "pointing:tolerance=%.17g", tolerance);
    assert_int_equal(spade_metric_create(context, text, &metric), SPADE_OK);
    spade_status status = spade_measure(context, metric, &inputs, out);
    spade_metric_destroy(metric);
    return status;
}

static double hit(double tolerance, const float *scores, const uint8_t *mask, int64_t height, int64_t width)
{
    spade_context context = {.budget = UINT64_MAX};
    double out = -1;
    if (play(&context, tolerance, scores, mask, height, width, &out) != SPADE_OK) { fail_msg("%s", context.message); }
    return out;
}

static void test_pointing_known(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    double out;
    const float tie[6] = {0, 3, 1, 3, 2, 0}, zeros[6] = {0}, broken[6] = {0, 1, INFINITY, 0, 0, 0};
    const uint8_t first[6] = {0, 1, 0, 0, 0, 0}, second[6] = {0, 0, 0, 1, 0, 0}, corner[6] = {1, 0, 0, 0, 0, 0},
                  empty[6] = {0}, full[6] = {1, 1, 1, 1, 1, 1};
    assert_true(hit(0, tie, first, 2, 3) == 1); /* of equals the first */
    assert_true(hit(0, tie, second, 2, 3) == 0);
    assert_true(hit(1, tie, second, 2, 3) == 0); /* one down, one left: sqrt 2 away */
    assert_true(hit(1.4142136, tie, second, 2, 3) == 1);
    assert_true(hit(2, tie, second, 2, 3) == 1);
    assert_true(hit(1, tie, corner, 2, 3) == 1); /* exactly the tolerance away */
    assert_true(hit(0.999, tie, corner, 2, 3) == 0);
    assert_true(hit(0, zeros, corner, 2, 3) == 1); /* all are equal */
    assert_true(hit(0, tie, full, 2, 3) == 1);
    assert_int_equal(play(&context, 0, tie, empty, 2, 3, &out), SPADE_ERROR_INPUT);
    assert_string_equal(context.message, "Pointing game: the mask is empty");
    assert_int_equal(play(&context, 0, broken, first, 2, 3, &out), SPADE_ERROR_INPUT);
    assert_string_equal(context.message, "Pointing game: the map is not finite");
}

/* The definition: over all pixels of the mask, is one of them near enough? */
static void test_pointing_against_all_pixels(void **state)
{
    (void)state;
    enum { HEIGHT = 11, WIDTH = 7, N = HEIGHT * WIDTH };
    int hits = 0;
    for (uint32_t round = 0; round < 300; round++) {
        float scores[N];
        uint8_t mask[N];
        int point = 0;
        bool should = false;
        const double tolerance = round % 12 * 0.5;
        for (uint32_t i = 0; i < N; i++) {
            uint32_t key[2] = {round, 1}, counter[4] = {i, 0, 0, 0}, random[4];
            spade_philox(key, counter, random);
            scores[i] = (float)(random[0] % 50); /* ties */
            mask[i] = random[1] % 20 == 0 || (i == 76 && round % 2) ? (uint8_t)(1 + random[2] % 255) : 0;
            if (scores[i] > scores[point]) { point = (int)i; }
        }
        mask[round % N] = 1;
        for (int i = 0; i < N; i++) {
            double distance = hypot(i / WIDTH - point / WIDTH, i % WIDTH - point % WIDTH);
            should |= mask[i] && distance <= tolerance;
        }
        hits += should;
        assert_true(hit(tolerance, scores, mask, HEIGHT, WIDTH) == should);
    }
    assert_true(hits > 50 && hits < 250); /* both happen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_energy),
                                       cmocka_unit_test(test_gini),
                                       cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_texts),
                                       cmocka_unit_test(test_better),
                                       cmocka_unit_test(test_measure),
                                       cmocka_unit_test(test_known),
                                       cmocka_unit_test(test_pointing_known),
                                       cmocka_unit_test(test_pointing_against_all_pixels),
                                       cmocka_unit_test(test_against_pairs),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
