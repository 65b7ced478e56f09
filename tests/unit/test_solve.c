/*
 * The solvers against their definition: a textbook sweep with inverse and Cholesky written out, on random problems of
 * random sizes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "base/select.h"
#include "spade/solve.h"

static spade_context *make_context(int threads, uint64_t memory)
{
    spade_context_options options;
    spade_context *context = NULL;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.threads = threads;
    options.memory = memory;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    return context;
}

/* ---- random problems: key the test, one counter */
typedef struct source {
    uint32_t key, count;
} source;

static double uniform(source *s)
{
    const uint32_t key[2] = {s->key, 77};
    uint32_t counter[4] = {s->count++, 0, 0, 0}, random[4];
    spade_philox(key, counter, random);
    return spade_uniform(random[0], random[1]);
}

static int64_t between(source *s, int64_t low, int64_t high)
{
    return low + (int64_t)(uniform(s) * (double)(high - low + 1));
}

/* H = 2/n X X^T of `samples` non-negative inputs, a few of them dead */
static double *random_hessian(source *s, int64_t k, int64_t samples, bool dead)
{
    double *x = calloc((size_t)(k * samples), sizeof *x), *h = calloc((size_t)(k * k), sizeof *h);
    for (int64_t i = 0; i < k * samples; i++) { x[i] = fmax(uniform(s) - 0.3, 0); }
    for (int64_t d = 0; dead && d < k; d += 7) { memset(x + d * samples, 0, (size_t)samples * sizeof *x); }
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < k; j++) {
            for (int64_t n = 0; n < samples; n++) {
                h[i * k + j] += 2.0 / (double)samples * x[i * samples + n] * x[j * samples + n];
            }
        }
    }
    free(x);
    return h;
}

static float *random_weights(source *s, int64_t n)
{
    float *w = malloc((size_t)n * sizeof *w);
    for (int64_t i = 0; i < n; i++) { w[i] = (float)(2 * uniform(s) - 1); }
    return w;
}

/* ---- the definition, step by step */

/* a [k, k] -> lower L with a = L L^T */
static void cholesky(double *a, int64_t k)
{
    for (int64_t j = 0; j < k; j++) {
        for (int64_t p = 0; p < j; p++) {
            for (int64_t i = j; i < k; i++) { a[i * k + j] -= a[i * k + p] * a[j * k + p]; }
        }
        double root = sqrt(a[j * k + j]);
        for (int64_t i = j; i < k; i++) { a[i * k + j] /= root; }
        for (int64_t i = 0; i < j; i++) { a[i * k + j] = 0; }
    }
}

/* Gauss-Jordan; a is positive definite, so no pivoting */
static void invert(double *a, int64_t k)
{
    for (int64_t p = 0; p < k; p++) {
        double pivot = 1 / a[p * k + p];
        a[p * k + p] = 1;
        for (int64_t j = 0; j < k; j++) { a[p * k + j] *= pivot; }
        for (int64_t i = 0; i < k; i++) {
            double factor = a[i * k + p];
            if (i == p || factor == 0) { continue; }
            a[i * k + p] = 0;
            for (int64_t j = 0; j < k; j++) { a[i * k + j] -= factor * a[p * k + j]; }
        }
    }
}

typedef struct ranked {
    double score;
    int64_t row, column;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) { return x->score < y->score ? -1 : 1; }
    if (x->row != y->row) { return x->row < y->row ? -1 : 1; }
    return (x->column > y->column) - (x->column < y->column);
}

/* dead inputs and damping, in place */
static void prepare(double *h, double *w, int64_t rows, int64_t k, double damping)
{
    double mean = 0;
    for (int64_t d = 0; d < k; d++) {
        if (h[d * k + d] == 0) {
            h[d * k + d] = 1;
            for (int64_t r = 0; r < rows; r++) { w[r * k + d] = 0; }
        }
        mean += h[d * k + d] / (double)k;
    }
    for (int64_t d = 0; d < k; d++) { h[d * k + d] += damping * mean; }
}

static double textbook(const spade_problem *p, double damping, bool published, double *w)
{
    int64_t k = p->columns, rows = p->rows, block = p->block ? p->block : k;
    double *u = malloc((size_t)(k * k) * sizeof *u), loss = 0;
    ranked *order = malloc((size_t)(rows * k) * sizeof *order);
    memcpy(u, p->hessian, (size_t)(k * k) * sizeof *u);
    for (int64_t i = 0; i < rows * k; i++) { w[i] = p->dense[i]; }
    prepare(u, w, rows, k, damping);
    invert(u, k);
    cholesky(u, k); /* lower L, H^-1 = L L^T: U = L^T */
    for (int64_t from = 0; from < k; from += block) {
        int64_t to = from + block < k ? from + block : k, n = 0;
        bool *gone = calloc((size_t)(rows * k), sizeof *gone);
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t c = from; c < to; c++) {
                order[n++] = (ranked){w[r * k + c] * w[r * k + c] / (u[c * k + c] * u[c * k + c]), r, c};
            }
        }
        qsort(order, (size_t)n, sizeof *order, compare_ranked);
        int64_t count = (int64_t)floor(p->sparsity * (double)n) + published;
        for (int64_t i = 0; i < count && i < n; i++) { gone[order[i].row * k + order[i].column] = true; }
        for (int64_t c = from; c < to; c++) {
            for (int64_t r = 0; r < rows; r++) {
                if (!gone[r * k + c]) { continue; }
                double error = w[r * k + c] / u[c * k + c];
                for (int64_t j = c; j < k; j++) { w[r * k + j] -= error * u[j * k + c]; }
                w[r * k + c] = 0;
                loss += error * error / 2;
            }
        }
        free(gone);
    }
    free(order);
    free(u);
    return loss;
}

/* ---- tests */

static void check_against_textbook(spade_context *context, source *s)
{
    int64_t k = between(s, 1, 150), rows = between(s, 1, 20);
    const int64_t blocks[] = {1, 9, 4, 0, 25, 1000};
    const double sparsities[] = {0.5, 0.9, 0.99, 0.123, 1.0};
    spade_solve_options options;
    spade_solve_options_init(&options);
    options.count = uniform(s) < 0.3 ? SPADE_COUNT_PUBLISHED : SPADE_COUNT_FLOOR;
    double *h = random_hessian(s, k, between(s, 1, 200), uniform(s) < 0.5);
    float *dense = random_weights(s, rows * k), *sparse = malloc((size_t)(rows * k) * sizeof *sparse);
    double *expected = malloc((size_t)(rows * k) * sizeof *expected);
    spade_problem p = {.rows = rows,
                       .columns = k,
                       .block = blocks[between(s, 0, 5)],
                       .sparsity = sparsities[between(s, 0, 4)],
                       .hessian = h,
                       .dense = dense,
                       .sparse = sparse};
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_OK);
    double loss = textbook(&p, options.damping, options.count == SPADE_COUNT_PUBLISHED, expected);
    int64_t zeros = 0;
    for (int64_t i = 0; i < rows * k; i++) {
        assert_true(fabs(sparse[i] - expected[i]) < 1e-6 * (1 + fabs(expected[i])));
        assert_true((sparse[i] == 0) == (expected[i] == 0));
        zeros += sparse[i] == 0;
    }
    assert_int_equal(zeros, p.zeros);
    assert_true(fabs(loss - p.loss) <= 1e-9 * loss);
    free(h);
    free(dense);
    free(sparse);
    free(expected);
}

static void test_fast_is_the_textbook_sweep(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0);
    source s = {.key = 1};
    for (int i = 0; i < 60; i++) { check_against_textbook(context, &s); }
    spade_context_destroy(context);
}

static void test_factor_times_its_transpose_is_the_matrix(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0);
    source s = {.key = 2};
    const int64_t sizes[] = {1, 2, 191, 192, 193, 400};
    for (int t = 0; t < 6; t++) {
        int64_t k = sizes[t];
        double *h = random_hessian(&s, k, k + 5, false), worst = 0;
        for (int64_t d = 0; d < k; d++) { h[d * k + d] += 0.1; }
        double *v = malloc((size_t)(k * k) * sizeof *v);
        memcpy(v, h, (size_t)(k * k) * sizeof *v);
        spade_factor_args args = {.k = k, .hessian = v};
        assert_int_equal(context->device->backend->factor(context->device, &args, 1), SPADE_OK);
        assert_int_equal(args.status, SPADE_OK);
        for (int64_t i = 0; i < k; i++) {
            for (int64_t j = i; j < k; j++) {
                double sum = 0;
                for (int64_t c = j; c < k; c++) { sum += v[i * k + c] * v[j * k + c]; }
                worst = fmax(worst, fabs(sum - h[i * k + j]));
            }
        }
        assert_true(worst < 1e-12 * (double)k);
        free(h);
        free(v);
    }
    spade_context_destroy(context);
}

static void test_select_is_a_sort(void **state)
{
    (void)state;
    source s = {.key = 3};
    for (int t = 0; t < 300; t++) {
        int64_t rows = between(&s, 1, 12), columns = between(&s, 1, 9), n = rows * columns, values = between(&s, 1, 30);
        double scores[108], scratch[108];
        uint8_t mask[108];
        ranked order[108];
        for (int64_t i = 0; i < n; i++) {
            scores[i] = (double)between(&s, 0, values);
            order[i] = (ranked){scores[i], i % rows, i / rows};
        }
        int64_t count = between(&s, 0, n);
        qsort(order, (size_t)n, sizeof *order, compare_ranked);
        spade_select_lowest(scores, rows, columns, count, scratch, mask);
        for (int64_t i = 0; i < n; i++) { assert_int_equal(mask[order[i].column * rows + order[i].row], i < count); }
    }
}

static double quadratic_form(const spade_problem *p, double damping)
{
    int64_t k = p->columns, size = p->rows * k;
    double *h = malloc((size_t)(k * k) * sizeof *h), *w = malloc((size_t)size * sizeof *w), loss = 0;
    memcpy(h, p->hessian, (size_t)(k * k) * sizeof *h);
    for (int64_t i = 0; i < size; i++) { w[i] = p->dense[i]; }
    prepare(h, w, p->rows, k, damping);
    for (int64_t r = 0; r < p->rows; r++) {
        for (int64_t i = 0; i < k; i++) {
            for (int64_t j = 0; j < k; j++) {
                loss +=
                    (w[r * k + i] - p->sparse[r * k + i]) * h[i * k + j] * (w[r * k + j] - p->sparse[r * k + j]) / 2;
            }
        }
    }
    free(h);
    free(w);
    return loss;
}

/* Counts per block, no update of what stays, the loss that the fast solver must beat. */
static void test_baselines(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0);
    source s = {.key = 4};
    int64_t rows = 16, k = 63, size = rows * k;
    double *h = random_hessian(&s, k, 100, true), losses[3];
    float *dense = random_weights(&s, size), *sparse = malloc((size_t)size * sizeof *sparse);
    for (int solver = 0; solver < 3; solver++) {
        spade_solve_options options;
        spade_solve_options_init(&options);
        options.solver = (spade_solver)solver;
        spade_problem p = {.rows = rows,
                           .columns = k,
                           .block = 9,
                           .sparsity = 0.7,
                           .hessian = h,
                           .dense = dense,
                           .sparse = sparse,
                           .stream = 5};
        assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_OK);
        losses[solver] = p.loss;
        assert_true(fabs(p.loss - quadratic_form(&p, options.damping)) <= 1e-6 * p.loss);
        if (solver == SPADE_SOLVER_FAST) { continue; }
        for (int64_t b = 0; b < k; b += 9) {
            int64_t zeros = 0;
            for (int64_t i = 0; i < rows * 9; i++) {
                int64_t at = i / 9 * k + b + i % 9;
                bool dead = h[(b + i % 9) * (k + 1)] == 0;
                assert_true(sparse[at] == 0 || sparse[at] == dense[at]);
                zeros += sparse[at] == 0 && (solver == SPADE_SOLVER_MAGNITUDE || !dead);
            }
            if (solver == SPADE_SOLVER_MAGNITUDE) { assert_int_equal(zeros, (int64_t)floor((double)(rows * 9) * 0.7)); }
        }
    }
    assert_true(losses[SPADE_SOLVER_FAST] < losses[SPADE_SOLVER_MAGNITUDE]);
    assert_true(losses[SPADE_SOLVER_MAGNITUDE] < losses[SPADE_SOLVER_RANDOM]);
    free(h);
    free(dense);
    free(sparse);
    spade_context_destroy(context);
}

enum { MANY = 7 };

/* Sizes that span tiles and panels; in = out for half of them. */
static void solve_many(int threads, uint64_t memory, spade_solver solver, float *results[MANY], double losses[MANY])
{
    spade_context *context = make_context(threads, memory);
    uint64_t used = context->used;
    spade_problem problems[MANY] = {{0}};
    source s = {.key = 5};
    spade_solve_options options;
    spade_solve_options_init(&options);
    options.solver = solver;
    options.seed = 42;
    for (int i = 0; i < MANY; i++) {
        int64_t k = 9 * (1 + 8 * i), rows = 3 + 5 * i;
        float *dense = random_weights(&s, rows * k);
        results[i] = i % 2 ? dense : malloc((size_t)(rows * k) * sizeof *dense);
        problems[i] = (spade_problem){.rows = rows,
                                      .columns = k,
                                      .block = i % 3 ? 9 : 1,
                                      .sparsity = 0.6,
                                      .hessian = random_hessian(&s, k, 60, i == 2),
                                      .dense = dense,
                                      .sparse = results[i],
                                      .stream = (uint64_t)i};
    }
    assert_int_equal(spade_solve(context, &options, problems, MANY), SPADE_OK);
    for (int i = 0; i < MANY; i++) {
        losses[i] = problems[i].loss;
        free((void *)(uintptr_t)problems[i].hessian);
        if (i % 2 == 0) { free((void *)(uintptr_t)problems[i].dense); }
    }
    assert_int_equal(context->used, used);
    spade_context_destroy(context);
}

static void test_threads_and_memory_change_no_bit(void **state)
{
    (void)state;
    for (int solver = 0; solver < 3; solver++) {
        float *a[MANY], *b[MANY];
        double x[MANY], y[MANY];
        for (int run = 0; run < 3; run++) {
            const int threads[] = {1, 2, 3};
            const uint64_t memory[] = {0, 0, UINT64_C(9) << 20};
            solve_many(1, 0, (spade_solver)solver, a, x);
            solve_many(threads[run], memory[run], (spade_solver)solver, b, y);
            for (int i = 0; i < MANY; i++) {
                size_t bytes = (size_t)((3 + 5 * i) * 9 * (1 + 8 * i)) * sizeof(float);
                assert_memory_equal(a[i], b[i], bytes);
                assert_memory_equal(&x[i], &y[i], sizeof x[i]);
                free(a[i]);
                free(b[i]);
            }
        }
    }
}

static void test_sparsity_zero_changes_nothing(void **state)
{
    (void)state;
    spade_context *context = make_context(1, 0);
    float dense[] = {1, 0, -2, 3}, sparse[4];
    const double h[4] = {1, 0, 0, 1};
    spade_solve_options options;
    spade_solve_options_init(&options);
    options.count = SPADE_COUNT_PUBLISHED;
    spade_problem p = {.rows = 2, .columns = 2, .sparsity = 0, .hessian = h, .dense = dense, .sparse = sparse};
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_OK);
    assert_memory_equal(dense, sparse, sizeof dense);
    assert_int_equal(p.zeros, 1);
    spade_context_destroy(context);
}

static void test_failures(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0);
    float dense[] = {1, 2, 3, 4}, sparse[4];
    const double indefinite[4] = {1, 5, 5, 1}, unknown[4] = {1, NAN, NAN, 1}, endless[4] = {INFINITY, 0, 0, 1},
                 good[4] = {1, 0, 0, 1};
    const double *bad[] = {indefinite, unknown, endless};
    spade_solve_options options;
    spade_solve_options_init(&options);
    for (int i = 0; i < 3; i++) {
        spade_problem p[2] = {
            {.rows = 2, .columns = 2, .sparsity = 0.5, .hessian = good, .dense = dense, .sparse = sparse},
            {.rows = 2, .columns = 2, .sparsity = 0.5, .hessian = bad[i], .dense = dense, .sparse = sparse}};
        assert_int_equal(spade_solve(context, &options, p, 2), SPADE_ERROR_NUMERICAL);
        assert_int_equal(p[0].status, SPADE_OK);
        assert_int_equal(p[1].status, SPADE_ERROR_NUMERICAL);
        assert_non_null(strstr(spade_message(context), "problem 1"));
    }
    spade_problem p = {.rows = 2, .columns = 2, .sparsity = 1.5, .hessian = good, .dense = dense, .sparse = sparse};
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_ERROR_ARGUMENT);
    p.sparsity = NAN;
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_ERROR_ARGUMENT);
    p.sparsity = 0.5;
    options.damping = -1;
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_solve(context, &options, NULL, 0), SPADE_ERROR_ARGUMENT);
    options.damping = 0.01;
    assert_int_equal(spade_solve(context, &options, NULL, 0), SPADE_OK);
    spade_context_destroy(context);
}

static void test_a_budget_that_is_too_small_is_an_error(void **state)
{
    (void)state;
    spade_context *context = make_context(1, 1 << 20);
    uint64_t used = context->used;
    source s = {.key = 6};
    int64_t k = 400;
    double *h = random_hessian(&s, k, 10, false);
    float *dense = random_weights(&s, 4 * k);
    spade_solve_options options;
    spade_solve_options_init(&options);
    spade_problem p = {
        .rows = 4, .columns = k, .block = 1, .sparsity = 0.5, .hessian = h, .dense = dense, .sparse = dense};
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_ERROR_MEMORY);
    assert_int_equal(context->used, used);
    free(h);
    free(dense);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fast_is_the_textbook_sweep),
        cmocka_unit_test(test_factor_times_its_transpose_is_the_matrix),
        cmocka_unit_test(test_select_is_a_sort),
        cmocka_unit_test(test_baselines),
        cmocka_unit_test(test_threads_and_memory_change_no_bit),
        cmocka_unit_test(test_sparsity_zero_changes_nothing),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_a_budget_that_is_too_small_is_an_error),
    };
    return cmocka_run_group_tests_name("solve", tests, NULL, NULL);
}
