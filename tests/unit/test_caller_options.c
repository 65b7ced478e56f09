/* test_caller_options.c - option structs of programs that were built with another version of the headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/caller_options.h"
#include "spade/spade.h"
#include "support/random.h"

/* Version 1 of a struct, then with a member more. */
typedef struct options_v1 {
    size_t size;
    double damping;
} options_v1;
typedef struct options_v2 {
    size_t size;
    double damping;
    int64_t steps;
} options_v2;
static const options_v1 defaults_v1 = {.damping = 0.01};
static const options_v2 defaults_v2 = {.damping = 0.01, .steps = 7};

static void test_older_caller(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    struct {
        options_v1 options;
        int64_t behind;
    } caller = {.behind = -1};
    spade_caller_options_init(&caller.options, sizeof caller.options, &defaults_v2, sizeof defaults_v2);
    assert_int_equal(caller.options.size, sizeof(options_v1));
    assert_true(caller.options.damping == 0.01);
    assert_int_equal(caller.behind, -1);
    caller.options.damping = 5;
    options_v2 own = defaults_v2;
    assert_int_equal(spade_caller_options_take(&context, "options", &caller.options, &own, sizeof own), SPADE_OK);
    assert_true(own.damping == 5 && own.steps == 7); /* what it lacks is the default */
    assert_int_equal(own.size, sizeof own);
}

static void test_newer_caller(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    options_v2 caller = {.steps = 3};
    spade_caller_options_init(&caller, sizeof caller, &defaults_v1, sizeof defaults_v1);
    assert_int_equal(caller.size, sizeof(options_v2));
    assert_int_equal(caller.steps, 0);
    caller.damping = 5;
    struct {
        options_v1 options;
        int64_t behind;
    } own = {.behind = -1};
    assert_int_equal(spade_caller_options_take(&context, "options", &caller, &own.options, sizeof own.options),
                     SPADE_OK);
    assert_true(own.options.damping == 5);
    assert_int_equal(own.behind, -1);
    caller.steps = 3; /* nothing that an older library could do right */
    assert_int_equal(spade_caller_options_take(&context, "options", &caller, &own.options, sizeof own.options),
                     SPADE_ERROR_ARGUMENT);
    assert_string_equal(context.message, "options: made for a newer libspade than this one: an option that it does not "
                                         "know is set");
}

static void test_forgotten_init(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, sizeof(size_t) - 1, SPADE_MAX_OPTIONS_BYTES + 1, SIZE_MAX};
    spade_context context = {.budget = UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        options_v1 caller = {.size = sizes[i]}, own = defaults_v1;
        assert_int_equal(spade_caller_options_take(&context, "options", &caller, &own, sizeof own),
                         SPADE_ERROR_ARGUMENT);
        assert_non_null(strstr(context.message, "call options_init() first"));
    }
}

/* ---- the library's own structs, at each place that takes one */
enum { SIDE = 64, VARIANTS = 4 };
typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_picture picture;
    spade_preprocess preprocess;
    spade_augment_options augment;
    spade_batch *batch;
    float input[VARIANTS * 3 * SIDE * SIDE];
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    spade_context_options options;
    random_stream random = {.key = 3};
    assert_non_null(f);
    spade_context_options_init(&options);
    options.device = "cpu";
    assert_int_equal(spade_context_create(&options, &f->context), SPADE_OK);
    assert_int_equal(spade_model_load(f->context, SPADE_TEST_DATA "/models/scene_resnet.onnx", NULL, &f->model),
                     SPADE_OK);
    for (int i = 0; i < VARIANTS * 3 * SIDE * SIDE; i++) { f->input[i] = random_float(&random); }
    assert_int_equal(spade_batch_from_array(f->context, f->input, VARIANTS, 3, SIDE, SIDE, &f->batch), SPADE_OK);
    spade_preprocess_init(&f->preprocess, SIDE, SIDE);
    spade_augment_options_init(&f->augment);
    assert_int_equal(spade_picture_from_tensor(f->context, &f->preprocess, f->input, &f->picture), SPADE_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    spade_picture_clear(&f->picture);
    spade_batch_destroy(f->batch);
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

static void expect_refused(const fixture *f, spade_status status, const char *name)
{
    char says[128];
    snprintf(says, sizeof says, "call %s_init() first", name);
    if (status != SPADE_ERROR_ARGUMENT || !strstr(spade_message(f->context), says)) {
        fail_msg("%s: status %d, '%s'", name, status, spade_message(f->context));
    }
}

static void test_every_struct(void **state)
{
    fixture *f = *state;
    const spade_context_options no_context = {.device = "cpu"};
    const spade_model_options no_model = {0};
    const spade_preprocess no_preprocess = {.height = SIDE, .width = SIDE};
    const spade_augment_options no_augment = {.variants = 1};
    const spade_solve_options no_solve = {.damping = 0.01};
    const spade_trace_options no_trace[2] = {{.sparsity = 0.5}, {.sparsity = 0.5}};
    spade_context *context;
    spade_model *model;
    spade_batch *batch;
    spade_trace *traces[2];
    spade_variant variant;
    uint8_t mask[SIDE * SIDE];
    spade_problem problem = {.rows = 1, .columns = 4};

    assert_int_equal(spade_context_create(&no_context, &context), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(context), "call spade_context_options_init() first"));
    spade_context_destroy(context);
    expect_refused(f, spade_model_load(f->context, "x.onnx", &no_model, &model), "spade_model_options");
    assert_null(model);
    expect_refused(f, spade_preprocess_apply(f->context, &no_preprocess, &f->picture, f->input, NULL),
                   "spade_preprocess");
    expect_refused(f, spade_preprocess_mask(f->context, &no_preprocess, &f->picture, mask), "spade_preprocess");
    expect_refused(f, spade_picture_from_tensor(f->context, &no_preprocess, f->input, &(spade_picture){0}),
                   "spade_preprocess");
    expect_refused(f, spade_augment_apply(f->context, &no_preprocess, &f->picture, &variant, 0, f->input),
                   "spade_preprocess");
    expect_refused(f, spade_batch_from_picture(f->context, &f->picture, &no_preprocess, &f->augment, &batch),
                   "spade_preprocess");
    expect_refused(f, spade_batch_from_picture(f->context, &f->picture, &f->preprocess, &no_augment, &batch),
                   "spade_augment_options");
    expect_refused(f, spade_batch_from_tensor(f->context, f->input, &f->preprocess, &no_augment, &batch),
                   "spade_augment_options");
    expect_refused(f, spade_augment_draw(f->context, &no_augment, &f->picture, 8, 8, 0, 1, &variant),
                   "spade_augment_options");
    expect_refused(f, spade_solve(f->context, &no_solve, &problem, 1), "spade_solve_options");
    assert_true(spade_solve_workspace(f->context, &no_solve, &problem) == UINT64_MAX);
    expect_refused(f, spade_trace_create(f->context, f->model, f->batch, no_trace, traces), "spade_trace_options");
    assert_null(traces[0]);
    const spade_batch *batches[] = {f->batch};
    expect_refused(f, spade_trace_create_many(f->context, f->model, batches, 1, no_trace, 2, traces),
                   "spade_trace_options");
}

/* Of the last layer. */
static size_t weight_count(const fixture *f)
{
    spade_layer_info info;
    spade_model_layer(f->model, spade_model_layer_count(f->model) - 1, &info);
    return (size_t)(info.rows * info.columns);
}

/* Weights of the last layer after a trace with these options; the caller's structs lie one behind the other. */
static void weights_of(fixture *f, const spade_trace_options *options, int count, float *out)
{
    const spade_batch *batches[] = {f->batch};
    spade_trace *traces[2] = {NULL, NULL};
    const int layer = spade_model_layer_count(f->model) - 1;
    const size_t size = weight_count(f);
    spade_status status = spade_trace_create_many(f->context, f->model, batches, 1, options, count, traces);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    for (int i = 0; i < count; i++) {
        memcpy(out + (size_t)i * size, spade_trace_weights(traces[i], layer), size * sizeof(float));
        spade_trace_destroy(traces[i]);
    }
}

/* Arrays of options and of rules go by the caller's sizes: shorter by the last member, longer by one that is zero. */
static void test_arrays(void **state)
{
    fixture *f = *state;
    enum { MAX_WEIGHTS = 4096 };
    static float expected[MAX_WEIGHTS], found[MAX_WEIGHTS];
    const size_t rule_size = sizeof(spade_layer_rule), size = sizeof(spade_trace_options);
    const spade_layer_rule rules[2] = {
        {.layers = "*", .set = SPADE_RULE_SPARSITY, .sparsity = 0.75},
        {.layers = "*", .set = SPADE_RULE_SOLVER, .solver = SPADE_SOLVER_MAGNITUDE},
    };
    const char *const include[] = {"fc"};
    spade_trace_options options[2];
    for (int i = 0; i < 2; i++) {
        spade_trace_options_init(&options[i]);
        options[i].include = include;
        options[i].include_count = 1;
        options[i].rules = rules;
        options[i].rule_count = i ? 2 : 1;
    }
    weights_of(f, options, 2, expected);
    size_t zeros = 0, differ = 0, half = weight_count(f);
    for (size_t i = 0; i < half; i++) {
        zeros += expected[i] == 0;
        differ += expected[i] != expected[half + i];
    }
    assert_true(zeros >= half / 2 && differ > 0); /* both rules were read */

    const ptrdiff_t changes[] = {-(ptrdiff_t)sizeof(void *), 0, 16};
    for (int c = 0; c < 3; c++) {
        const size_t other = (size_t)((ptrdiff_t)size + changes[c]);
        const size_t other_rule = (size_t)((ptrdiff_t)rule_size + changes[c]);
        unsigned char *all = calloc(2, other), *all_rules = calloc(2, other_rule);
        assert_true(all && all_rules);
        for (size_t i = 0; i < 2; i++) {
            spade_trace_options_init_sized((spade_trace_options *)(all + i * other), other, other_rule);
            spade_trace_options copy = options[i];
            copy.size = other;
            copy.rule_size = other_rule;
            copy.rules = (const spade_layer_rule *)all_rules;
            memcpy(all + i * other, &copy, other < size ? other : size);
            memcpy(all_rules + i * other_rule, &rules[i], other_rule < rule_size ? other_rule : rule_size);
        }
        memset(found, 0, sizeof found);
        weights_of(f, (const spade_trace_options *)all, 2, found);
        assert_memory_equal(found, expected, sizeof found);
        free(all);
        free(all_rules);
    }
}

static void expect_trace_refused(fixture *f, const spade_trace_options *options, int count, const char *says)
{
    const spade_batch *batches[] = {f->batch};
    spade_trace *traces[2];
    spade_status status = spade_trace_create_many(f->context, f->model, batches, 1, options, count, traces);
    if (status != SPADE_ERROR_ARGUMENT || !strstr(spade_message(f->context), says)) {
        fail_msg("status %d, '%s', not '%s'", status, spade_message(f->context), says);
    }
}

static void test_arrays_refused(void **state)
{
    fixture *f = *state;
    spade_layer_rule rule = {.layers = "*", .set = 1u << 20};
    spade_trace_options options[2];
    spade_trace_options_init(&options[0]);
    spade_trace_options_init(&options[1]);
    options[1].size -= sizeof(void *);
    expect_trace_refused(f, options, 2, "the first of several has a size of");
    options[0].rules = &rule;
    options[0].rule_count = 1;
    expect_trace_refused(f, options, 1, "made for a newer libspade");
    rule.set = SPADE_RULE_SPARSITY;
    options[0].rule_size = 0;
    expect_trace_refused(f, options, 1, "call spade_trace_options_init() first");
    options[0].rule_size = sizeof rule - 1;
    expect_trace_refused(f, options, 1, "call spade_trace_options_init() first");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_older_caller),
        cmocka_unit_test(test_newer_caller),
        cmocka_unit_test(test_forgotten_init),
        cmocka_unit_test_setup_teardown(test_every_struct, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arrays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arrays_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
