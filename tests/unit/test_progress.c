/* What long work reports: one stage that never goes back, never beyond its end, and comes to its end by its own work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "spade/spade.h"

enum { VARIANTS = 6, SAMPLES = 2 };

typedef struct heard {
    int count;
    double last, before; /* shares: the last report, the one before */
} heard;

static void hear(void *user, const char *stage, double done, double total)
{
    heard *h = user;
    assert_string_equal(stage, "trace");
    assert_true(done <= total && done / total >= h->last);
    h->before = h->last;
    h->last = done / total;
    h->count++;
}

typedef struct fixture {
    heard heard;
    spade_context *context;
    spade_model *model;
    float *variants[SAMPLES];
    spade_batch *batches[SAMPLES];
} fixture;

static void open_fixture(fixture *f, uint64_t memory)
{
    spade_context_options options;
    int64_t c, h, w;
    *f = (fixture){0};
    spade_context_options_init(&options);
    options.device = "cpu";
    options.memory = memory;
    options.progress = hear;
    options.user = &f->heard;
    assert_int_equal(spade_context_create(&options, &f->context), SPADE_OK);
    assert_int_equal(spade_model_load(f->context, SPADE_TEST_DATA "/models/scene_resnet.onnx", NULL, &f->model),
                     SPADE_OK);
    spade_model_input(f->model, &c, &h, &w);
    for (int s = 0; s < SAMPLES; s++) {
        f->variants[s] = malloc((size_t)(VARIANTS * c * h * w) * sizeof *f->variants[s]);
        assert_non_null(f->variants[s]);
        for (int64_t i = 0; i < VARIANTS * c * h * w; i++) {
            f->variants[s][i] = (float)(i * (7919 + s) % 1009) / 1009.0f;
        }
        assert_int_equal(spade_batch_from_array(f->context, f->variants[s], VARIANTS, c, h, w, &f->batches[s]),
                         SPADE_OK);
    }
}

static void close_fixture(fixture *f)
{
    for (int s = 0; s < SAMPLES; s++) {
        spade_batch_destroy(f->batches[s]);
        free(f->variants[s]);
    }
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

/* Traces of the first `samples` samples. Returns how many reports there were. */
static int find_traces(fixture *f, int samples, const spade_trace_options *options, int option_count)
{
    spade_trace *traces[SAMPLES * 3];
    f->heard = (heard){0};
    spade_status status = spade_trace_create_many(f->context, f->model, (const spade_batch *const *)f->batches, samples,
                                                  options, option_count, traces);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    for (int i = 0; i < samples * option_count; i++) { spade_trace_destroy(traces[i]); }
    assert_true(f->heard.last == 1);
    return f->heard.count;
}

static void assert_no_jump(const fixture *f)
{
    if (f->heard.before < 1 - 1e-9) { fail_msg("from %g to the end", f->heard.before); }
}

static void test_one_trace(void **state)
{
    (void)state;
    fixture f;
    spade_trace_options options;
    open_fixture(&f, 0);
    spade_trace_options_init(&options);
    find_traces(&f, 1, &options, 1);
    assert_no_jump(&f);
    options.solver = SPADE_SOLVER_EXACT;
    find_traces(&f, 1, &options, 1);
    assert_no_jump(&f);
    close_fixture(&f);
}

/* Several samples, and options that share passes or need their own. */
static void test_many_traces(void **state)
{
    (void)state;
    fixture f;
    spade_trace_options options[3];
    const spade_layer_rule rule = {.layers = "layer3.*", .set = SPADE_RULE_SOLVER, .solver = SPADE_SOLVER_EXACT};
    open_fixture(&f, 0);
    for (int i = 0; i < 3; i++) { spade_trace_options_init(&options[i]); }
    options[0].rules = &rule;
    options[0].rule_count = 1;
    options[1].sparsity = 0.8;
    options[1].damping = 0.1;
    options[2].hessian = SPADE_FP64;
    find_traces(&f, SAMPLES, options, 3);
    assert_no_jump(&f);
    close_fixture(&f);
}

/* Hessians come a few layers at a time: more passes, each of which reports. */
static void test_a_small_budget(void **state)
{
    (void)state;
    fixture f;
    spade_trace_options options;
    spade_trace_options_init(&options);
    open_fixture(&f, 0);
    int whole = find_traces(&f, 1, &options, 1);
    close_fixture(&f);
    open_fixture(&f, UINT64_C(12) << 20);
    assert_true(find_traces(&f, 1, &options, 1) > whole);
    assert_no_jump(&f);
    close_fixture(&f);
}

static void test_all_from_a_checkpoint(void **state)
{
    (void)state;
    fixture f;
    char folder[] = "/tmp/spade-progress-XXXXXX", line[64];
    spade_trace_options options;
    assert_non_null(mkdtemp(folder));
    open_fixture(&f, 0);
    spade_trace_options_init(&options);
    options.checkpoint = folder;
    find_traces(&f, 1, &options, 1);
    assert_int_equal(find_traces(&f, 1, &options, 1), 1); /* at its end at once */
    close_fixture(&f);
    snprintf(line, sizeof line, "rm -r %s", folder);
    assert_int_equal(system(line), 0);
}

/* After a call that failed, reports are those of the next one. */
static void test_after_a_failure(void **state)
{
    (void)state;
    fixture f;
    spade_trace *trace;
    spade_trace_options options;
    open_fixture(&f, 0);
    spade_trace_options_init(&options);
    options.damping = 0; /* few variants: no factor, known when the pass is over */
    assert_int_equal(spade_trace_create(f.context, f.model, f.batches[1], &options, &trace), SPADE_ERROR_NUMERICAL);
    assert_true(f.heard.last > 0.1 && f.heard.last < 1);
    options.damping = 0.01;
    find_traces(&f, 1, &options, 1);
    assert_no_jump(&f);
    assert_null(f.context->span.stage);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_trace),       cmocka_unit_test(test_many_traces),
        cmocka_unit_test(test_a_small_budget),  cmocka_unit_test(test_all_from_a_checkpoint),
        cmocka_unit_test(test_after_a_failure),
    };
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
