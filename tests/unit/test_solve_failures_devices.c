/*
 * What a device that fails does to the solvers: its failures are that problem's, or that call's, and nothing leaks. The
 * stand-ins fail on purpose (tests/emu/standin.h), so this runs where the device is emulated.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "support/budget.h"
#include "support/context.h"
#include "spade/solve.h"

enum { PROBLEMS = 3, ROWS = 4, LARGE = 100, SMALL = 20 };

static spade_context *make_context(uint64_t memory)
{
    spade_context *context = test_context(test_device(), 0);
    test_set_budget(context, memory);
    return context;
}

typedef struct task {
    spade_problem problems[PROBLEMS];
    spade_solution solutions[PROBLEMS];
    float sparse[PROBLEMS][ROWS * LARGE];
    float dense[ROWS * LARGE];
    double hessian[LARGE * LARGE];
} task;

/* Problems of k columns whose Hessians are one, diagonally dominant. */
static task *make_task(spade_solver solver, int64_t k)
{
    task *t = calloc(1, sizeof *t);
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < k; j++) {
            t->hessian[i * k + j] = i == j ? 3 + (double)(i % 5) : 1.0 / (1 + fabs((double)(i - j)));
        }
        for (int64_t r = 0; r < ROWS; r++) { t->dense[r * k + i] = (float)(1 + (7 * i + 3 * r) % 11); }
    }
    for (int p = 0; p < PROBLEMS; p++) {
        t->solutions[p] = (spade_solution){.sparsity = 0.5, .sparse = t->sparse[p]};
        t->problems[p] = (spade_problem){.rows = ROWS,
                                         .columns = k,
                                         .block = 1,
                                         .kernel = 1,
                                         .solver = solver,
                                         .hessian = t->hessian,
                                         .dense = t->dense,
                                         .solutions = &t->solutions[p],
                                         .solution_count = 1};
    }
    return t;
}

static spade_status run(spade_context *context, task *t)
{
    spade_solve_options options;
    spade_solve_options_init(&options);
    uint64_t used = context->used;
    spade_status status = spade_solve(context, &options, t->problems, PROBLEMS);
    assert_int_equal(context->used, used);
    return status;
}

static void fail_next(const char *what)
{
    assert_int_equal(setenv("SPADE_STANDIN_FAIL", what, 1), 0);
}

/* First: the second call of potrf since the process began. */
static void test_not_positive_definite_is_one_problem(void **state)
{
    (void)state;
    if (!test_is_emulated()) { skip(); }
    spade_context *context = make_context(0);
    task *t = make_task(SPADE_SOLVER_FAST, LARGE);
    fail_next("potrf:2");
    assert_int_equal(run(context, t), SPADE_ERROR_NUMERICAL);
    fail_next("");
    for (int p = 0; p < PROBLEMS; p++) {
        assert_int_equal(t->problems[p].status, p == 1 ? SPADE_ERROR_NUMERICAL : SPADE_OK);
        if (p != 1) { assert_int_equal(t->solutions[p].zeros, LARGE * ROWS / 2); }
    }
    assert_int_equal(run(context, t), SPADE_OK); /* the same device goes on */
    free(t);
    spade_context_destroy(context);
}

/* Second: the calls before were six. */
static void test_a_library_that_fails(void **state)
{
    (void)state;
    if (!test_is_emulated()) { skip(); }
    spade_context *context = make_context(0);
    task *t = make_task(SPADE_SOLVER_FAST, LARGE);
    fail_next("cusolverDnDpotrf:8");
    assert_int_equal(run(context, t), SPADE_ERROR_DEVICE);
    assert_non_null(strstr(spade_message(context), "cusolverDnDpotrf"));
    fail_next("");
    assert_int_equal(run(context, t), SPADE_OK);
    free(t);
    spade_context_destroy(context);
}

/* Less and less memory is missing, until the device has enough. */
static void exhaust(spade_solver solver, int64_t k)
{
    spade_context *context = make_context(0);
    task *t = make_task(solver, k);
    bool failed = true;
    for (int bytes = 16 << 10; failed; bytes *= 2) {
        char memory[32];
        snprintf(memory, sizeof memory, "%d", bytes);
        assert_int_equal(setenv("SPADE_STANDIN_MEMORY", memory, 1), 0);
        spade_status status = run(context, t);
        failed = status != SPADE_OK;
        if (failed) {
            assert_int_equal(status, SPADE_ERROR_MEMORY);
            assert_non_null(strstr(spade_message(context), "out of memory"));
        }
        assert_true(bytes < 64 << 20);
    }
    assert_int_equal(unsetenv("SPADE_STANDIN_MEMORY"), 0);
    free(t);
    spade_context_destroy(context);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    if (!test_is_emulated()) { skip(); }
    exhaust(SPADE_SOLVER_FAST, LARGE);
    exhaust(SPADE_SOLVER_FAST, SMALL);
    exhaust(SPADE_SOLVER_MAGNITUDE, SMALL);
    exhaust(SPADE_SOLVER_EXACT, SMALL);
}

/* The budget decides how many rows are in the works and how many problems fly, not the result. */
static void test_a_budget_changes_no_bit(void **state)
{
    (void)state;
    if (!test_is_emulated()) { skip(); }
    for (int solver = 0; solver < 2; solver++) {
        task *a = make_task(solver ? SPADE_SOLVER_EXACT : SPADE_SOLVER_FAST, LARGE);
        task *b = make_task(solver ? SPADE_SOLVER_EXACT : SPADE_SOLVER_FAST, LARGE);
        spade_context *roomy = make_context(0), *tight = make_context(UINT64_C(800) << 10);
        assert_int_equal(run(roomy, a), SPADE_OK);
        assert_int_equal(run(tight, b), SPADE_OK);
        assert_memory_equal(a->sparse, b->sparse, sizeof a->sparse);
        for (int p = 0; p < PROBLEMS; p++) { assert_true(a->solutions[p].loss == b->solutions[p].loss); }
        free(a);
        free(b);
        spade_context_destroy(tight);
        spade_context_destroy(roomy);
    }
}

/* Last: a device stays lost, and says so without a crash; by a call that comes sooner or later. */
static void test_a_lost_device(void **state)
{
    (void)state;
    if (!test_is_emulated()) { skip(); }
    spade_context *context = make_context(0);
    task *t = make_task(SPADE_SOLVER_FAST, SMALL);
    spade_status status = SPADE_OK;
    fail_next("lost:4000");
    for (int i = 0; i < 1000 && status == SPADE_OK; i++) { status = run(context, t); }
    assert_int_equal(status, SPADE_ERROR_DEVICE);
    fail_next("");
    assert_int_equal(run(context, t), SPADE_ERROR_DEVICE);
    free(t);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_positive_definite_is_one_problem),
        cmocka_unit_test(test_a_library_that_fails),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_a_budget_changes_no_bit),
        cmocka_unit_test(test_a_lost_device),
    };
    return cmocka_run_group_tests_name("solvers on a device that fails", tests, NULL, NULL);
}
