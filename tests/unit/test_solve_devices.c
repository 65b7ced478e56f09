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
#include "support/budget.h"
#include "backend/partial_select.h"
#include "support/context.h"
#include "support/random_problem.h"
#include "spade/solve.h"

static spade_context *make_context(int threads, uint64_t memory)
{
    spade_context *context = test_context(test_device(), threads);
    test_set_budget(context, memory);
    return context;
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

/* Which weights of the columns [from, to) go: the lowest of the block, or of each row and every `of` columns. */
static void choose(const spade_problem *p, double sparsity, bool published, const double *w, const double *u,
                   int64_t from, int64_t to, bool *gone)
{
    int64_t k = p->columns, rows = p->rows, n = 0;
    ranked *order = malloc((size_t)(rows * (to - from)) * sizeof *order);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = from; c < to; c++) {
            order[n++] = (ranked){w[r * k + c] * w[r * k + c] / (u[c * k + c] * u[c * k + c]), r, c};
        }
        if (!p->of) { continue; }
        qsort(order, (size_t)n, sizeof *order, compare_ranked);
        for (int64_t i = 0; i < n - p->keep; i++) { gone[r * k + order[i].column] = true; }
        n = 0;
    }
    qsort(order, (size_t)n, sizeof *order, compare_ranked);
    int64_t count = (int64_t)floor(sparsity * (double)n) + published;
    for (int64_t i = 0; i < count && i < n; i++) { gone[order[i].row * k + order[i].column] = true; }
    free(order);
}

static double textbook(const spade_problem *p, double sparsity, double damping, bool published, double *w)
{
    int64_t k = p->columns, rows = p->rows, block = p->of ? p->of : p->block ? p->block : k;
    double *u = malloc((size_t)(k * k) * sizeof *u), loss = 0;
    memcpy(u, p->hessian, (size_t)(k * k) * sizeof *u);
    for (int64_t i = 0; i < rows * k; i++) { w[i] = p->dense[i]; }
    prepare(u, w, rows, k, damping);
    invert(u, k);
    cholesky(u, k); /* lower L, H^-1 = L L^T: U = L^T */
    for (int64_t from = 0; from < k; from += block) {
        int64_t to = from + block < k ? from + block : k;
        bool *gone = calloc((size_t)(rows * k), sizeof *gone);
        choose(p, sparsity, published, w, u, from, to, gone);
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
    free(u);
    return loss;
}

/* ---- tests */

static void check_solution(const spade_problem *p, int index, const spade_solve_options *options)
{
    const spade_solution *solution = &p->solutions[index];
    int64_t size = p->rows * p->columns, zeros = 0;
    double *expected = malloc((size_t)size * sizeof *expected);
    double loss = textbook(p, solution->sparsity, options->damping, options->count == SPADE_COUNT_PUBLISHED, expected);
    for (int64_t i = 0; i < size; i++) {
        assert_true(fabs(solution->sparse[i] - expected[i]) < 1e-6 * (1 + fabs(expected[i])));
        assert_true((solution->sparse[i] == 0) == (expected[i] == 0));
        zeros += solution->sparse[i] == 0;
    }
    assert_int_equal(zeros, solution->zeros);
    assert_true(fabs(loss - solution->loss) <= 1e-9 * loss);
    free(expected);
}

/* One or three sparsities of one problem; unstructured or n:m. */
static void check_against_textbook(spade_context *context, source *s, bool n_of_m)
{
    int64_t k = between(s, 1, 150), rows = between(s, 1, 20);
    const int64_t blocks[] = {1, 9, 4, 0, 25, 1000};
    const double sparsities[] = {0.5, 0.9, 0.99, 0.123, 1.0};
    spade_solve_options options;
    spade_solve_options_init(&options);
    options.count = uniform(s) < 0.3 ? SPADE_COUNT_PUBLISHED : SPADE_COUNT_FLOOR;
    options.sweep = SPADE_FP64;
    double *h = random_hessian(s, k, between(s, 1, 200), uniform(s) < 0.5 ? 7 : 0);
    float *dense = random_weights(s, rows * k);
    spade_solution solutions[3];
    int count = n_of_m || uniform(s) < 0.5 ? 1 : 3;
    for (int i = 0; i < count; i++) {
        solutions[i] = (spade_solution){.sparsity = sparsities[between(s, 0, 4)],
                                        .sparse = malloc((size_t)(rows * k) * sizeof(float))};
    }
    spade_problem p = {.rows = rows,
                       .columns = k,
                       .block = blocks[between(s, 0, 5)],
                       .hessian = h,
                       .dense = dense,
                       .solutions = solutions,
                       .solution_count = count};
    if (n_of_m) {
        p.of = (int)between(s, 1, 40);
        p.keep = (int)between(s, 0, p.of);
    }
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_OK);
    for (int i = 0; i < count; i++) {
        check_solution(&p, i, &options);
        free(solutions[i].sparse);
    }
    free(h);
    free(dense);
}

static void test_fast_is_the_textbook_sweep(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0);
    source s = {.key = 1};
    for (int i = 0; i < (test_is_emulated() ? 20 : 60); i++) { check_against_textbook(context, &s, false); }
    spade_context_destroy(context);
}

/* More rows than a device has threads for, with ties; more columns than it sums up at once. */
static void test_sizes_at_the_seams(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0);
    source s = {.key = 8};
    static const int64_t sizes[][4] = {{1100, 10, 1, 0}, {520, 18, 9, 0},  {600, 12, 1, 3},  {3, 700, 9, 0},
                                       {2, 1090, 1, 0},  {70, 130, 65, 0}, {40, 129, 64, 0}, {5, 97, 97, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t rows = sizes[i][0], k = sizes[i][1], distinct = sizes[i][3] ? sizes[i][3] : rows;
        spade_solve_options options;
        spade_solve_options_init(&options);
        double *h = random_hessian(&s, k, k + 20, i == 1 ? 7 : 0);
        float *dense = random_weights(&s, rows * k);
        for (int64_t r = distinct; r < rows; r++) {
            memcpy(dense + r * k, dense + r % distinct * k, (size_t)k * sizeof *dense);
        }
        spade_solution solution = {.sparsity = 0.7, .sparse = malloc((size_t)(rows * k) * sizeof(float))};
        spade_problem p = {.rows = rows,
                           .columns = k,
                           .block = sizes[i][2],
                           .hessian = h,
                           .dense = dense,
                           .solutions = &solution,
                           .solution_count = 1};
        assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_OK);
        check_solution(&p, 0, &options);
        free(solution.sparse);
        free(h);
        free(dense);
    }
    spade_context_destroy(context);
}

static void test_n_of_m_is_the_textbook_sweep(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0);
    source s = {.key = 7};
    for (int i = 0; i < (test_is_emulated() ? 20 : 60); i++) { check_against_textbook(context, &s, true); }
    spade_context_destroy(context);
}

/*
 * A float32 sweep, with enough panels for its gathers and an odd or even number of groups of rows: the losses of the
 * float64 sweep, and its masks but for near ties. On the processor a float32 sweep that is the float64 one shows that
 * nothing was tested; a device may sweep in float64 whatever is asked for.
 */
static void test_single_precision_sweep(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0);
    source s = {.key = 8};
    int64_t different = 0;
    for (int t = 0; t < (test_is_emulated() ? 2 : 6); t++) {
        int64_t k = between(&s, 300, 700), rows = between(&s, 1, 120), size = rows * k, flips = 0;
        double *h = random_hessian(&s, k, k, 7), losses[2];
        float *dense = random_weights(&s, size), *sparse[2];
        for (int precision = 0; precision < 2; precision++) {
            spade_solve_options options;
            spade_solve_options_init(&options);
            options.sweep = precision ? SPADE_FP64 : SPADE_FP32;
            sparse[precision] = malloc((size_t)size * sizeof(float));
            spade_solution solution = {.sparsity = 0.7, .sparse = sparse[precision]};
            spade_problem p = {.rows = rows,
                               .columns = k,
                               .block = t % 2 ? 9 : 1,
                               .hessian = h,
                               .dense = dense,
                               .solutions = &solution,
                               .solution_count = 1};
            assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_OK);
            losses[precision] = solution.loss;
        }
        for (int64_t i = 0; i < size; i++) {
            bool flip = (sparse[0][i] == 0) != (sparse[1][i] == 0);
            flips += flip;
            different += sparse[0][i] != sparse[1][i];
            if (flips == 0) { assert_true(fabs(sparse[0][i] - sparse[1][i]) < 1e-4); }
        }
        assert_true(flips <= size / 1000);
        assert_true(fabs(losses[0] - losses[1]) < 1e-4 * losses[1]);
        free(sparse[0]);
        free(sparse[1]);
        free(dense);
        free(h);
    }
    assert_true(different > 0 || !context->device->backend->host_memory);
    spade_context_destroy(context);
}

/* The upper triangle of a [k, k], in host memory, to its factor by the device. */
static spade_status factor(spade_device *device, int64_t k, double *a)
{
    const spade_backend *backend = device->backend;
    size_t size = (size_t)(k * k) * sizeof *a, bytes = backend->solver->factor_workspace_bytes(device, k);
    void *matrix, *workspace;
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < i; j++) { a[i * k + j] = NAN; } /* nobody reads it */
    }
    assert_int_equal(backend->alloc(device, size, "matrix", &matrix), SPADE_OK);
    assert_int_equal(backend->alloc(device, bytes, "workspace", &workspace), SPADE_OK);
    assert_int_equal(backend->upload(device, matrix, a, size), SPADE_OK);
    spade_factor_args args = {.k = k, .hessian = matrix, .workspace = workspace};
    assert_int_equal(backend->solver->factor(device, &args, 1), SPADE_OK);
    assert_int_equal(backend->synchronize(device), SPADE_OK);
    assert_int_equal(backend->download(device, a, matrix, size), SPADE_OK);
    backend->free(device, workspace, bytes);
    backend->free(device, matrix, size);
    return args.status;
}

static void test_factor_times_its_transpose_is_the_matrix(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0);
    source s = {.key = 2};
    const int64_t sizes[] = {1, 2, 191, 192, 193, 400};
    for (int t = 0; t < 6; t++) {
        int64_t k = sizes[t];
        double *h = random_hessian(&s, k, k + 5, 0), worst = 0;
        for (int64_t d = 0; d < k; d++) { h[d * k + d] += 0.1; }
        double *v = malloc((size_t)(k * k) * sizeof *v);
        memcpy(v, h, (size_t)(k * k) * sizeof *v);
        assert_int_equal(factor(context->device, k, v), SPADE_OK);
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
        double scores[108], scratch[108 + SPADE_SELECT_MORE];
        uint8_t mask[108];
        ranked order[108];
        for (int64_t i = 0; i < n; i++) {
            scores[i] = (double)between(&s, 0, values);
            order[i] = (ranked){scores[i], i % rows, i / rows};
        }
        int64_t count = between(&s, 0, n);
        qsort(order, (size_t)n, sizeof *order, compare_ranked);
        spade_select_lowest(scores, rows, columns, rows, count, scratch, mask);
        for (int64_t i = 0; i < n; i++) { assert_int_equal(mask[order[i].column * rows + order[i].row], i < count); }
    }
}

static double quadratic_form(const spade_problem *p, double damping)
{
    const float *sparse = p->solutions[0].sparse;
    int64_t k = p->columns, size = p->rows * k;
    double *h = malloc((size_t)(k * k) * sizeof *h), *w = malloc((size_t)size * sizeof *w), loss = 0;
    memcpy(h, p->hessian, (size_t)(k * k) * sizeof *h);
    for (int64_t i = 0; i < size; i++) { w[i] = p->dense[i]; }
    prepare(h, w, p->rows, k, damping);
    for (int64_t r = 0; r < p->rows; r++) {
        for (int64_t i = 0; i < k; i++) {
            for (int64_t j = 0; j < k; j++) {
                loss += (w[r * k + i] - sparse[r * k + i]) * h[i * k + j] * (w[r * k + j] - sparse[r * k + j]) / 2;
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
    double *h = random_hessian(&s, k, 100, 7), losses[3];
    float *dense = random_weights(&s, size), *sparse = malloc((size_t)size * sizeof *sparse);
    const spade_solver solvers[] = {SPADE_SOLVER_FAST, SPADE_SOLVER_MAGNITUDE, SPADE_SOLVER_RANDOM};
    for (int i = 0; i < 3; i++) {
        spade_solver solver = solvers[i];
        spade_solve_options options;
        spade_solve_options_init(&options);
        spade_solution solution = {.sparsity = 0.7, .sparse = sparse};
        spade_problem p = {.rows = rows,
                           .columns = k,
                           .block = 9,
                           .solver = solver,
                           .hessian = h,
                           .dense = dense,
                           .stream = 5,
                           .solutions = &solution,
                           .solution_count = 1};
        assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_OK);
        losses[i] = solution.loss;
        assert_true(fabs(solution.loss - quadratic_form(&p, options.damping)) <= 1e-6 * solution.loss);
        if (solver == SPADE_SOLVER_FAST) { continue; }
        for (int64_t b = 0; b < k; b += 9) {
            int64_t zeros = 0;
            for (int64_t n = 0; n < rows * 9; n++) {
                int64_t at = n / 9 * k + b + n % 9;
                bool dead = h[(b + n % 9) * (k + 1)] == 0;
                assert_true(sparse[at] == 0 || sparse[at] == dense[at]);
                zeros += sparse[at] == 0 && (solver == SPADE_SOLVER_MAGNITUDE || !dead);
            }
            if (solver == SPADE_SOLVER_MAGNITUDE) { assert_int_equal(zeros, (int64_t)floor((double)(rows * 9) * 0.7)); }
        }
    }
    assert_true(losses[0] < losses[1] && losses[1] < losses[2]);
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
    spade_solution solutions[MANY];
    source s = {.key = 5};
    spade_solve_options options;
    spade_solve_options_init(&options);
    options.seed = 42;
    for (int i = 0; i < MANY; i++) {
        int64_t k = 9 * (1 + 8 * i), rows = 3 + 5 * i;
        float *dense = random_weights(&s, rows * k);
        results[i] = i % 2 ? dense : malloc((size_t)(rows * k) * sizeof *dense);
        solutions[i] = (spade_solution){.sparsity = 0.6, .sparse = results[i]};
        problems[i] = (spade_problem){.rows = rows,
                                      .columns = k,
                                      .block = i % 3 ? 9 : 1,
                                      .solver = solver,
                                      .hessian = random_hessian(&s, k, 60, i == 2 ? 7 : 0),
                                      .dense = dense,
                                      .stream = (uint64_t)i,
                                      .solutions = &solutions[i],
                                      .solution_count = 1};
    }
    assert_int_equal(spade_solve(context, &options, problems, MANY), SPADE_OK);
    for (int i = 0; i < MANY; i++) {
        losses[i] = solutions[i].loss;
        free((void *)(uintptr_t)problems[i].hessian);
        if (i % 2 == 0) { free((void *)(uintptr_t)problems[i].dense); }
    }
    assert_int_equal(context->used, used);
    spade_context_destroy(context);
}

static void test_threads_and_memory_change_no_bit(void **state)
{
    (void)state;
    const spade_solver solvers[] = {SPADE_SOLVER_FAST, SPADE_SOLVER_MAGNITUDE, SPADE_SOLVER_RANDOM};
    for (int solver = 0; solver < 3; solver++) {
        float *a[MANY], *b[MANY];
        double x[MANY], y[MANY];
        for (int run = 0; run < 3; run++) {
            const int threads[] = {1, 2, 3};
            const uint64_t memory[] = {0, 0, UINT64_C(9) << 20};
            solve_many(1, 0, solvers[solver], a, x);
            solve_many(threads[run], memory[run], solvers[solver], b, y);
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
    float dense[] = {1, 0, -2, 3}, sparse[4], other[4];
    const double h[4] = {1, 0, 0, 1};
    spade_solve_options options;
    spade_solve_options_init(&options);
    options.count = SPADE_COUNT_PUBLISHED;
    spade_solution solution[2] = {{.sparsity = 0, .sparse = sparse}, {.sparsity = 0.5, .sparse = other}};
    spade_problem p = {
        .rows = 2, .columns = 2, .hessian = h, .dense = dense, .solutions = solution, .solution_count = 1};
    for (p.solution_count = 1; p.solution_count <= 2; p.solution_count++) { /* alone, and beside another */
        memset(sparse, 1, sizeof sparse);
        assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_OK);
        assert_memory_equal(dense, sparse, sizeof dense);
        assert_int_equal(solution[0].zeros, 1);
    }
    assert_int_equal(solution[1].zeros, 3);
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
        spade_solution solution[2] = {{.sparsity = 0.5, .sparse = sparse}, {.sparsity = 0.5, .sparse = sparse}};
        spade_problem p[2];
        for (int k = 0; k < 2; k++) {
            p[k] = (spade_problem){.rows = 2,
                                   .columns = 2,
                                   .hessian = k ? bad[i] : good,
                                   .dense = dense,
                                   .solutions = &solution[k],
                                   .solution_count = 1};
        }
        assert_int_equal(spade_solve(context, &options, p, 2), SPADE_ERROR_NUMERICAL);
        assert_int_equal(p[0].status, SPADE_OK);
        assert_int_equal(p[1].status, SPADE_ERROR_NUMERICAL);
        assert_non_null(strstr(spade_message(context), "problem 1"));
    }
    spade_solution solution = {.sparsity = 1.5, .sparse = sparse};
    spade_problem p = {
        .rows = 2, .columns = 2, .hessian = good, .dense = dense, .solutions = &solution, .solution_count = 1};
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_ERROR_ARGUMENT);
    solution.sparsity = NAN;
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_ERROR_ARGUMENT);
    solution.sparsity = 0.5;
    p.of = 4;
    p.keep = 5;
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_ERROR_ARGUMENT);
    p.of = 0;
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
    double *h = random_hessian(&s, k, 10, 0);
    float *dense = random_weights(&s, 4 * k);
    spade_solve_options options;
    spade_solve_options_init(&options);
    spade_solution solution = {.sparsity = 0.5, .sparse = dense};
    spade_problem p = {
        .rows = 4, .columns = k, .block = 1, .hessian = h, .dense = dense, .solutions = &solution, .solution_count = 1};
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
        cmocka_unit_test(test_sizes_at_the_seams),
        cmocka_unit_test(test_n_of_m_is_the_textbook_sweep),
        cmocka_unit_test(test_single_precision_sweep),
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
