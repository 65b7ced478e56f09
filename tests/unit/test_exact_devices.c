/*
 * The exact solver against its definition: row after row with a full update of the inverse, on random problems of
 * random sizes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "support/budget.h"
#include "backend/cpu/solver/exact_kernels.h"
#include "support/device.h"
#include "support/random_problem.h"
#include "solve/solver.h"
#include "spade/solve.h"

enum { SOLUTIONS = 4 };
static const double sparsities[SOLUTIONS] = {0.0, 0.37, 0.9, 1.0};

static spade_context *make_context(int threads, uint64_t memory, spade_progress_fn progress, void *user)
{
    spade_context_options options;
    spade_context *context = NULL;
    spade_context_options_init(&options);
    options.device = test_device();
    options.threads = threads;
    options.progress = progress;
    options.user = user;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    test_set_budget(context, memory);
    return context;
}

/* A problem with memory for everything that comes out. */
static spade_problem make_problem(source *s, int64_t rows, int64_t columns, int64_t kernel, spade_group group,
                                  int64_t dead)
{
    int64_t groups = group == SPADE_GROUP_ELEMENT ? columns : columns / kernel;
    spade_problem p = {.rows = rows,
                       .columns = columns,
                       .kernel = kernel,
                       .solver = SPADE_SOLVER_EXACT,
                       .group = group,
                       .hessian = random_hessian(s, columns, columns / 2 + 3, dead),
                       .dense = random_weights(s, rows * columns),
                       .solutions = calloc(SOLUTIONS, sizeof(spade_solution)),
                       .solution_count = SOLUTIONS,
                       .order = calloc((size_t)(rows * groups), sizeof(int32_t)),
                       .losses = calloc((size_t)(rows * groups), sizeof(double))};
    for (int i = 0; i < SOLUTIONS; i++) {
        p.solutions[i] = (spade_solution){.sparsity = sparsities[i],
                                          .sparse = calloc((size_t)(rows * columns), sizeof(float)),
                                          .counts = calloc((size_t)rows, sizeof(int64_t))};
    }
    return p;
}

static void free_problem(spade_problem *p)
{
    for (int i = 0; i < p->solution_count; i++) {
        free(p->solutions[i].sparse);
        free(p->solutions[i].counts);
    }
    free(p->solutions);
    free(p->order);
    free(p->losses);
    free((void *)(uintptr_t)p->hessian);
    free((void *)(uintptr_t)p->dense);
}

/* ---- the definition, step by step */

typedef struct textbook {
    int64_t rows, k, group, groups;
    int64_t *column; /* column j in the order of the groups is the problem's column[j] */
    double *h, *w;   /* prepared, in the order of the groups */
    int32_t *order;  /* [rows, groups] */
    double *losses;
} textbook;

/* d = (A_gg)^-1 [b, b]; returns w_g^T d w_g */
static double group_loss(const double *a, const double *w, int64_t k, int64_t b, int64_t g, double *d)
{
    double loss = 0;
    for (int64_t i = 0; i < b; i++) {
        for (int64_t j = 0; j < b; j++) { d[i * b + j] = a[(g * b + i) * k + g * b + j]; }
    }
    invert(d, b);
    for (int64_t i = 0; i < b; i++) {
        for (int64_t j = 0; j < b; j++) { loss += w[g * b + i] * d[i * b + j] * w[g * b + j]; }
    }
    return loss;
}

/* A -= A_:g d A_g:, w -= A_:g d w_g */
static void remove_group(double *a, double *w, int64_t k, int64_t b, int64_t g, const double *d)
{
    double *left = calloc((size_t)(k * b), sizeof *left), *rows = malloc((size_t)(k * b) * sizeof *rows);
    memcpy(rows, a + g * b * k, (size_t)(k * b) * sizeof *rows);
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < b; j++) {
            for (int64_t c = 0; c < b; c++) { left[i * b + j] += a[i * k + g * b + c] * d[c * b + j]; }
        }
    }
    double *gone = malloc((size_t)b * sizeof *gone);
    memcpy(gone, w + g * b, (size_t)b * sizeof *gone);
    for (int64_t i = 0; i < k; i++) {
        for (int64_t c = 0; c < b; c++) {
            w[i] -= left[i * b + c] * gone[c];
            for (int64_t j = 0; j < k; j++) { a[i * k + j] -= left[i * b + c] * rows[c * k + j]; }
        }
    }
    free(gone);
    free(rows);
    free(left);
}

static void order_row(const textbook *t, const double *inverse, int64_t row)
{
    int64_t k = t->k, b = t->group;
    double *a = malloc((size_t)(k * k) * sizeof *a), *w = malloc((size_t)k * sizeof *w);
    double *d = malloc((size_t)(b * b) * sizeof *d);
    bool *gone = calloc((size_t)t->groups + 1, sizeof *gone);
    memcpy(a, inverse, (size_t)(k * k) * sizeof *a);
    memcpy(w, t->w + row * k, (size_t)k * sizeof *w);
    for (int64_t step = 0; step < t->groups; step++) {
        double best = INFINITY;
        int64_t pivot = -1;
        for (int64_t g = 0; g < t->groups; g++) {
            double loss = gone[g] ? INFINITY : group_loss(a, w, k, b, g, d);
            if (loss < best) {
                best = loss;
                pivot = g;
            }
        }
        group_loss(a, w, k, b, pivot, d);
        remove_group(a, w, k, b, pivot, d);
        gone[pivot] = true;
        t->order[row * t->groups + step] = (int32_t)pivot;
        t->losses[row * t->groups + step] = best / 2;
    }
    free(a);
    free(w);
    free(d);
    free(gone);
}

static textbook solve_by_the_book(const spade_problem *p, double damping)
{
    textbook t = {.rows = p->rows, .k = p->columns, .group = p->group == SPADE_GROUP_ELEMENT ? 1 : p->kernel};
    int64_t k = t.k, channels = k / p->kernel;
    t.groups = k / t.group;
    t.column = malloc((size_t)k * sizeof *t.column);
    t.h = malloc((size_t)(k * k) * sizeof *t.h);
    t.w = malloc((size_t)(t.rows * k) * sizeof *t.w);
    t.order = calloc((size_t)(t.rows * t.groups) + 1, sizeof *t.order);
    t.losses = calloc((size_t)(t.rows * t.groups) + 1, sizeof *t.losses);
    for (int64_t j = 0; j < k; j++) {
        t.column[j] = p->group == SPADE_GROUP_CHANNELS_LAST ? j % channels * p->kernel + j / channels : j;
    }
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < k; j++) { t.h[i * k + j] = p->hessian[t.column[i] * k + t.column[j]]; }
        for (int64_t r = 0; r < t.rows; r++) { t.w[r * k + i] = p->dense[r * k + t.column[i]]; }
    }
    prepare(t.h, t.w, t.rows, k, damping);
    double *inverse = malloc((size_t)(k * k) * sizeof *inverse);
    memcpy(inverse, t.h, (size_t)(k * k) * sizeof *inverse);
    invert(inverse, k);
    for (int64_t r = 0; r < t.rows; r++) { order_row(&t, inverse, r); }
    free(inverse);
    return t;
}

static void free_textbook(textbook *t)
{
    free(t->column);
    free(t->h);
    free(t->w);
    free(t->order);
    free(t->losses);
}

/* ---- comparisons */

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* counts: as many as each row has losses among the lowest of all. The losses are the solver's own: theirs were compared
 * before, and ties in them count. */
static void check_counts(const spade_problem *p, int64_t groups, const spade_solution *solution)
{
    int64_t n = p->rows * groups, total = (int64_t)ceil((double)n * solution->sparsity), sum = 0;
    double *sorted = malloc((size_t)n * sizeof *sorted + 1);
    memcpy(sorted, p->losses, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_numbers);
    for (int64_t r = 0; r < p->rows; r++) {
        int64_t below = 0, equal = 0;
        for (int64_t t = 0; total && t < groups; t++) {
            below += p->losses[r * groups + t] < sorted[total - 1];
            equal += p->losses[r * groups + t] == sorted[total - 1];
        }
        assert_in_range(solution->counts[r], below, below + equal);
        sum += solution->counts[r];
    }
    assert_int_equal(sum, total);
    free(sorted);
}

/*
 * The weights are the best on their support: with the gradient g = H (w - w'), g_S = 0 on what stays; and their loss is
 * the quadratic form.
 */
static void check_weights(const spade_problem *p, const textbook *t, const spade_solution *solution)
{
    int64_t k = t->k, zeros = 0;
    double loss = 0;
    double *removed = malloc((size_t)k * sizeof *removed);
    for (int64_t r = 0; r < p->rows; r++) {
        bool *gone = calloc((size_t)k, sizeof *gone);
        for (int64_t c = 0; c < solution->counts[r]; c++) {
            for (int64_t a = 0; a < t->group; a++) { gone[t->order[r * t->groups + c] * t->group + a] = true; }
        }
        for (int64_t j = 0; j < k; j++) {
            float value = solution->sparse[r * k + t->column[j]];
            if (gone[j]) { assert_true(value == 0); }
            zeros += value == 0;
            removed[j] = t->w[r * k + j] - (double)value;
        }
        for (int64_t i = 0; i < k; i++) {
            double gradient = 0, scale = 0;
            for (int64_t j = 0; j < k; j++) {
                gradient += t->h[i * k + j] * removed[j];
                scale += fabs(t->h[i * k + j]);
            }
            loss += gradient * removed[i] / 2;
            if (!gone[i]) { assert_true(fabs(gradient) < 1e-6 * scale); } /* the result is rounded to float32 */
        }
        free(gone);
    }
    assert_int_equal(zeros, solution->zeros);
    assert_true(fabs(loss - solution->loss) <= 1e-5 * (1e-3 + loss));
    free(removed);
}

static void check_problem(const spade_problem *p, double damping)
{
    textbook t = solve_by_the_book(p, damping);
    for (int64_t i = 0; i < t.rows * t.groups; i++) {
        assert_int_equal(p->order[i], t.order[i]);
        assert_true(fabs(p->losses[i] - t.losses[i]) <= 1e-8 * (1e-6 + t.losses[i]));
    }
    for (int i = 0; i < p->solution_count; i++) {
        const spade_solution *solution = &p->solutions[i];
        if (solution->sparsity > 0) {
            check_counts(p, t.groups, solution);
            check_weights(p, &t, solution);
            continue;
        }
        assert_memory_equal(solution->sparse, p->dense, (size_t)(t.rows * t.k) * sizeof *p->dense);
        assert_true(solution->loss == 0);
        for (int64_t r = 0; r < t.rows; r++) { assert_int_equal(solution->counts[r], 0); }
    }
    free_textbook(&t);
}

static void solve(spade_context *context, spade_problem *problems, int count)
{
    spade_solve_options options;
    spade_solve_options_init(&options);
    spade_status status = spade_solve(context, &options, problems, count);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
}

/* ---- tests */

static void test_exact_is_the_textbook_elimination(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0, NULL, NULL);
    source s = {.key = 11};
    for (int i = 0; i < (test_is_emulated() ? 20 : 60); i++) {
        const int64_t kernels[] = {1, 9, 4, 25, 3};
        int64_t kernel = kernels[between(&s, 0, 4)], channels = between(&s, 1, 150 / kernel);
        spade_group group = (spade_group)between(&s, 0, 2);
        int64_t rest = group == SPADE_GROUP_KERNEL && i % 3 == 0 ? between(&s, 0, kernel - 1) : 0;
        spade_problem p = make_problem(&s, between(&s, 1, 5), channels * kernel + rest, kernel, group,
                                       i % 2 ? between(&s, 1, 12) : 0);
        solve(context, &p, 1);
        check_problem(&p, 0.01);
        free_problem(&p);
    }
    spade_context_destroy(context);
}

/* Sizes around the panels, tiles and bands of the implementation; one row: the threads share it. */
static void test_sizes_at_the_seams(void **state)
{
    (void)state;
    spade_context *context = make_context(3, 0, NULL, NULL);
    source s = {.key = 12};
    static const int64_t sizes[][3] = {{63, 1, 2},  {64, 1, 1},  {65, 1, 2},  {192, 1, 1},   {193, 1, 4},
                                       {126, 9, 2}, {135, 9, 1}, {279, 9, 3}, {130, 130, 1}, {260, 130, 2},
                                       {49, 49, 3}, {1, 1, 1},   {9, 9, 1},   {387, 9, 2},   {400, 1, 1}};
    for (size_t i = 0; i < (test_is_emulated() ? 13 : 15); i++) {
        spade_problem p = make_problem(&s, sizes[i][2], sizes[i][0], sizes[i][1], SPADE_GROUP_KERNEL, 0);
        solve(context, &p, 1);
        check_problem(&p, 0.01);
        free_problem(&p);
    }
    spade_context_destroy(context);
}

/* One dead Hessian: everything is removed for nothing, in order. */
static void test_dead_inputs_go_first(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0, NULL, NULL);
    source s = {.key = 13};
    spade_problem p = make_problem(&s, 3, 36, 9, SPADE_GROUP_KERNEL, 1);
    solve(context, &p, 1);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(p.order[i], i % 4);
        assert_true(p.losses[i] == 0);
    }
    check_problem(&p, 0.01);
    free_problem(&p);
    spade_context_destroy(context);
}

/* Two groups of one layer: as one list of losses. */
static void test_a_pool_chooses_together(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0, NULL, NULL);
    source s = {.key = 14};
    enum { GROUPS = 3, ROWS = 4, COLUMNS = 45, EACH = 5 };
    spade_problem p[GROUPS + 1];
    double losses[GROUPS * ROWS * EACH], sorted[GROUPS * ROWS * EACH];
    for (int i = 0; i <= GROUPS; i++) {
        p[i] = make_problem(&s, ROWS, COLUMNS, 9, SPADE_GROUP_KERNEL, 0);
        p[i].layer_id = i == 1 ? 0 : 7; /* problem 1 stands alone between them */
    }
    solve(context, p, GROUPS + 1);
    for (int i = 0, at = 0; i <= GROUPS; i++) {
        if (i != 1) { memcpy(losses + ROWS * EACH * at++, p[i].losses, ROWS * EACH * sizeof *losses); }
    }
    memcpy(sorted, losses, sizeof losses);
    qsort(sorted, GROUPS * ROWS * EACH, sizeof *sorted, compare_numbers);
    for (int k = 1; k < SOLUTIONS; k++) {
        double threshold = sorted[(int)ceil(GROUPS * ROWS * EACH * sparsities[k]) - 1];
        for (int i = 0; i <= GROUPS; i++) {
            for (int r = 0; i != 1 && r < ROWS; r++) {
                int64_t count = 0;
                for (int t = 0; t < EACH; t++) { count += p[i].losses[r * EACH + t] <= threshold; }
                assert_int_equal(p[i].solutions[k].counts[r], count);
            }
        }
    }
    check_problem(&p[1], 0.01);
    p[0].solutions[1].sparsity = 0.5; /* they must ask for the same */
    spade_solve_options options;
    spade_solve_options_init(&options);
    assert_int_equal(spade_solve(context, &options, p, GROUPS + 1), SPADE_ERROR_ARGUMENT);
    for (int i = 0; i <= GROUPS; i++) { free_problem(&p[i]); }
    spade_context_destroy(context);
}

/* The least budget that holds each of these problems alone: with one row at a time in the works. */
static uint64_t least_memory(const spade_context *context, const spade_problem *problems, int count)
{
    uint64_t most = 0;
    for (int i = 0; i < count; i++) {
        uint64_t bytes = spade_solve_exact_bytes(context, &problems[i], 1);
        if (bytes > most) { most = bytes; }
    }
    return most;
}

static void test_threads_and_memory_change_no_bit(void **state)
{
    (void)state;
    enum { PROBLEMS = 5, RUNS = 4 };
    static const int64_t sizes[PROBLEMS][3] = {{5, 450, 9}, {1, 702, 9}, {3, 300, 1}, {1, 400, 1}, {7, 75, 25}};
    const int threads[RUNS] = {1, 2, 3, 3};
    spade_problem all[RUNS][PROBLEMS];
    for (int run = 0; run < RUNS; run++) {
        spade_context *context = make_context(threads[run], 0, NULL, NULL);
        uint64_t used = context->used;
        source s = {.key = 15};
        for (int i = 0; i < PROBLEMS; i++) {
            all[run][i] = make_problem(&s, sizes[i][0], sizes[i][1], sizes[i][2], (spade_group)(i % 2 * 2), 0);
        }
        if (run == RUNS - 1) { test_set_budget(context, least_memory(context, all[run], PROBLEMS)); }
        solve(context, all[run], PROBLEMS);
        assert_int_equal(context->used, used);
        spade_context_destroy(context);
    }
    for (int run = 1; run < RUNS; run++) {
        for (int i = 0; i < PROBLEMS; i++) {
            const spade_problem *a = &all[0][i], *b = &all[run][i];
            size_t groups = (size_t)(a->rows * (a->columns / a->kernel)), size = (size_t)(a->rows * a->columns);
            assert_memory_equal(a->order, b->order, groups * sizeof *a->order);
            assert_memory_equal(a->losses, b->losses, groups * sizeof *a->losses);
            for (int k = 0; k < SOLUTIONS; k++) {
                assert_memory_equal(a->solutions[k].sparse, b->solutions[k].sparse, size * sizeof(float));
            }
        }
    }
    for (int run = 0; run < RUNS; run++) {
        for (int i = 0; i < PROBLEMS; i++) { free_problem(&all[run][i]); }
    }
}

/* The inverse from the reversed Cholesky factor. */
static void test_inverse_times_the_matrix_is_one(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0, NULL, NULL);
    spade_device *device = context->device;
    const spade_backend *backend = device->backend;
    source s = {.key = 16};
    const int64_t sizes[] = {1, 2, 191, 192, 193, 400};
    for (int t = 0; t < 6; t++) {
        int64_t k = sizes[t];
        double *h = random_hessian(&s, k, k + 5, 0), *a = malloc((size_t)(k * k) * sizeof *a);
        for (int64_t d = 0; d < k; d++) { h[d * k + d] += 0.1; }
        memcpy(a, h, (size_t)(k * k) * sizeof *a);
        size_t factor = backend->solver->factor_workspace_bytes(device, k),
               inverse = backend->solver->inverse_workspace_bytes(device, k);
        size_t size = (size_t)(k * k) * sizeof *a, bytes = factor > inverse ? factor : inverse;
        void *matrix, *workspace;
        assert_int_equal(backend->alloc(device, size, "matrix", &matrix), SPADE_OK);
        assert_int_equal(backend->alloc(device, bytes, "workspace", &workspace), SPADE_OK);
        assert_int_equal(backend->upload(device, matrix, a, size), SPADE_OK);
        spade_factor_args args = {.k = k, .hessian = matrix, .workspace = workspace};
        assert_int_equal(backend->solver->factor(device, &args, 1), SPADE_OK);
        assert_int_equal(backend->solver->inverse(device, &args, 1), SPADE_OK);
        assert_int_equal(backend->download(device, a, matrix, size), SPADE_OK);
        backend->free(device, workspace, bytes);
        backend->free(device, matrix, size);
        for (int64_t i = 0; i < k; i++) {
            for (int64_t j = 0; j < k; j++) {
                double sum = 0;
                for (int64_t c = 0; c < k; c++) { sum += a[i * k + c] * h[c * k + j]; }
                assert_true(fabs(sum - (i == j)) < 1e-8);
                assert_true(a[i * k + j] == a[j * k + i]);
            }
        }
        free(a);
        free(h);
    }
    spade_context_destroy(context);
}

/* ---- every version of the inner loops that this processor can run, against plain sums */

static double *random_numbers(source *s, int64_t n)
{
    double *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) { x[i] = 2 * uniform(s) - 1; }
    return x;
}

static void check_tile(const spade_exact_kernels *kernels, source *s)
{
    enum { WIDTH = 64 };
    int64_t depth = between(s, 1, 20);
    double *a = random_numbers(s, 8 * depth), *b = random_numbers(s, 24 * depth), *from = random_numbers(s, 8 * WIDTH);
    double to[8][24], *unchanged = random_numbers(s, 8 * 24);
    int32_t columns[24];
    memcpy(to, unchanged, sizeof to);
    spade_exact_tile tile = {.depth = depth, .a = a, .b = b, .rows = (int)between(s, 1, 8), .columns = columns};
    for (int j = 0, at = 0; j < 24; j++, at++) {
        if (j >= 8 && uniform(s) < 0.3) { at++; } /* the first eight are neighbours */
        columns[j] = at;
    }
    for (int v = 0; v < 3; v++) { tile.run[v] = columns[8 * v + 7] - columns[8 * v] == 7; }
    for (int i = 0; i < 8; i++) {
        tile.from[i] = from + (i < tile.rows ? i : 0) * WIDTH;
        tile.to[i] = to[i];
    }
    kernels->update_tile(&tile);
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < 24; j++) {
            double expected = from[i * WIDTH + columns[j]];
            for (int64_t k = 0; k < depth; k++) { expected -= a[k * 8 + i] * b[(j / 8 * depth + k) * 8 + j % 8]; }
            if (i >= tile.rows) { expected = unchanged[i * 24 + j]; }
            assert_true(fabs(to[i][j] - expected) < 1e-12);
        }
    }
    free(a);
    free(b);
    free(from);
    free(unchanged);
}

static void check_products(const spade_exact_kernels *kernels, source *s)
{
    int64_t size = 8 * between(s, 1, 20), depth = between(s, 0, 12), count = between(s, 1, 25);
    int64_t first = 8 * between(s, 0, size / 8 - 1), last = first + 8 * between(s, 1, (size - first) / 8);
    double *u = random_numbers(s, depth * size + 1), *x = random_numbers(s, depth * count + 1),
           *h = random_numbers(s, count * size), *before = malloc((size_t)(count * size) * sizeof *before);
    memcpy(before, h, (size_t)(count * size) * sizeof *h);
    spade_exact_products products = {.size = size, .depth = depth, .count = count, .u = u, .x = x, .h = h};
    kernels->subtract_products(&products, first, last);
    for (int64_t c = 0; c < count; c++) {
        for (int64_t i = 0; i < size; i++) {
            double expected = before[c * size + i];
            for (int64_t k = 0; i >= first && i < last && k < depth; k++) {
                expected -= u[k * size + i] * x[k * count + c];
            }
            assert_true(fabs(h[c * size + i] - expected) < 1e-12);
        }
    }
    free(u);
    free(x);
    free(h);
    free(before);
}

static void test_every_version_of_the_inner_loops(void **state)
{
    (void)state;
    const spade_exact_kernels *versions[SPADE_EXACT_VERSIONS];
    int count = spade_cpu_exact_versions(versions);
    source s = {.key = 17};
    for (int v = 0; v < count; v++) {
        for (int i = 0; i < 200; i++) {
            check_tile(versions[v], &s);
            check_products(versions[v], &s);
        }
        /* the step on candidates against the best version's */
        const int64_t sizes[] = {1, 4, 9, 11};
        for (int i = 0; i < 4; i++) {
            int64_t b = sizes[i], stride = 24, lower = b * (b + 1) / 2;
            double *scratch = malloc((size_t)(b * (b + 1) * 8) * sizeof *scratch);
            double *h[2], *w[2], *d[2], *loss[2], *pivot = random_numbers(&s, b * b), *z = random_numbers(&s, b);
            source again = {.key = 18};
            for (int k = 0; k < 2; k++) {
                source copy = again;
                h[k] = random_numbers(&copy, b * b * stride);
                w[k] = random_numbers(&copy, b * stride);
                d[k] = random_numbers(&copy, lower * stride);
                loss[k] = calloc((size_t)stride, sizeof(double));
                for (int64_t g = 0; g < stride; g++) {
                    for (int64_t a = 0; a < b; a++) { d[k][(a * (a + 1) / 2 + a) * stride + g] += 1000; }
                }
                spade_exact_step step = {.group = b,
                                         .stride = stride,
                                         .h = h[k],
                                         .w = w[k],
                                         .d = d[k],
                                         .loss = loss[k],
                                         .pivot = pivot,
                                         .z = z};
                versions[k ? v : 0]->advance(&step, 8, 24, scratch);
            }
            for (int64_t g = 0; g < b * b * stride; g++) {
                assert_true(fabs(h[0][g] - h[1][g]) <= 1e-9 * fabs(h[0][g]));
            }
            for (int64_t g = 8; g < stride; g++) {
                assert_true(loss[0][g] > 0 && fabs(loss[0][g] - loss[1][g]) <= 1e-9 * loss[0][g]);
            }
            for (int k = 0; k < 2; k++) {
                free(h[k]);
                free(w[k]);
                free(d[k]);
                free(loss[k]);
            }
            free(scratch);
            free(pivot);
            free(z);
        }
    }
}

/* ---- failures, progress, memory */

static void expect_failure(spade_context *context, spade_problem p, spade_status expected, const char *says)
{
    spade_solve_options options;
    spade_solve_options_init(&options);
    assert_int_equal(spade_solve(context, &options, &p, 1), expected);
    assert_non_null(strstr(spade_message(context), says));
}

static void test_failures(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 0, NULL, NULL);
    uint64_t used = context->used;
    float dense[] = {1, 2, 3, 4}, sparse[4];
    const double indefinite[4] = {1, 5, 5, 1}, unknown[4] = {1, NAN, NAN, 1}, good[4] = {1, 0, 0, 1};
    spade_solution solution = {.sparsity = 0.5, .sparse = sparse};
    spade_problem p = {.rows = 2,
                       .columns = 2,
                       .kernel = 1,
                       .solver = SPADE_SOLVER_EXACT,
                       .hessian = good,
                       .dense = dense,
                       .solutions = &solution,
                       .solution_count = 1};
    spade_problem bad = p;
    bad.hessian = indefinite;
    expect_failure(context, bad, SPADE_ERROR_NUMERICAL, "not positive definite");
    bad.hessian = unknown;
    expect_failure(context, bad, SPADE_ERROR_NUMERICAL, "not positive definite");
    bad = p;
    bad.kernel = 0;
    expect_failure(context, bad, SPADE_ERROR_ARGUMENT, "kernel of 0");
    bad.kernel = 3;
    expect_failure(context, bad, SPADE_ERROR_ARGUMENT, "kernel of 3");
    bad.kernel = 1;
    bad.of = 4;
    expect_failure(context, bad, SPADE_ERROR_ARGUMENT, "exact");
    bad = p;
    bad.group = (spade_group)3;
    expect_failure(context, bad, SPADE_ERROR_ARGUMENT, "group 3");
    spade_solve_options options;
    spade_solve_options_init(&options);
    solution.sparse = dense; /* in place; order, losses and counts are not asked for */
    assert_int_equal(spade_solve(context, &options, &p, 1), SPADE_OK);
    assert_int_equal(solution.zeros, 2);
    assert_int_equal(context->used, used);
    spade_context_destroy(context);
}

static void test_a_budget_that_is_too_small_is_an_error(void **state)
{
    (void)state;
    spade_context *context = make_context(2, 3 << 20, NULL, NULL);
    uint64_t used = context->used;
    source s = {.key = 19};
    spade_problem p = make_problem(&s, 2, 450, 9, SPADE_GROUP_KERNEL, 0);
    expect_failure(context, p, SPADE_ERROR_MEMORY, "--memory");
    assert_int_equal(context->used, used);
    free_problem(&p);
    spade_context_destroy(context);
}

typedef struct heard {
    double done, before; /* shares: the last report, the one before */
    int count;
} heard;

static void hear(void *user, const char *stage, double done, double total)
{
    heard *h = user;
    assert_string_equal(stage, "solve");
    assert_true(done / total >= h->done && done <= total);
    h->before = h->done;
    h->done = done / total;
    h->count++;
}

static void test_progress_reaches_the_end(void **state)
{
    (void)state;
    heard h = {0};
    spade_context *context = make_context(2, 0, hear, &h);
    source s = {.key = 20};
    spade_problem p = make_problem(&s, 5, 90, 9, SPADE_GROUP_KERNEL, 0);
    solve(context, &p, 1);
    assert_true(h.count >= SOLUTIONS);
    assert_true(h.done == 1 && h.before > 1 - 1e-9); /* by its own work */
    free_problem(&p);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_is_the_textbook_elimination),
        cmocka_unit_test(test_sizes_at_the_seams),
        cmocka_unit_test(test_dead_inputs_go_first),
        cmocka_unit_test(test_a_pool_chooses_together),
        cmocka_unit_test(test_threads_and_memory_change_no_bit),
        cmocka_unit_test(test_inverse_times_the_matrix_is_one),
        cmocka_unit_test(test_every_version_of_the_inner_loops),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_a_budget_that_is_too_small_is_an_error),
        cmocka_unit_test(test_progress_reaches_the_end),
    };
    return cmocka_run_group_tests_name("exact", tests, NULL, NULL);
}
