/*
 * The fast solver's dual form, which has the inputs instead of their Hessian, against the form with the Hessian: random
 * problems of random sizes, dead inputs, every seam of the panels; and traces that are solved in it.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "spade/solve.h"
#include "support/context.h"
#include "support/random_problem.h"

/* A layer's weights and inputs, and how it is solved. */
typedef struct dual_problem {
    int64_t rows, columns, samples, block;
    int keep, of;
    double sparsity, damping;
    float *x;     /* [columns, samples]; H = 2 / samples x x^T */
    float *dense; /* [rows, columns] */
    int64_t dead; /* columns whose inputs are zero */
} dual_problem;

/* Inputs after a ReLU that have a common part, so that the Hessian's condition is bad; dead: every so-many-th, 0: none. */
static void fill(source *s, dual_problem *p, int64_t dead)
{
    p->x = calloc((size_t)(p->columns * p->samples), sizeof *p->x);
    p->dense = random_weights(s, p->rows * p->columns);
    p->dead = 0;
    for (int64_t i = 0; i < p->columns; i++) {
        double strength = 0.2 + uniform(s), common = uniform(s);
        if (dead && i % dead == 0) {
            p->dead++;
            continue;
        }
        for (int64_t n = 0; n < p->samples; n++) {
            p->x[i * p->samples + n] = (float)(fmax(uniform(s) + common - 0.5, 0) * strength);
        }
    }
}

static void clear(dual_problem *p)
{
    free(p->x);
    free(p->dense);
}

static double *hessian_of(const dual_problem *p)
{
    double *h = malloc((size_t)(p->columns * p->columns) * sizeof *h);
    for (int64_t i = 0; i < p->columns; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t n = 0; n < p->samples; n++) {
                sum += (double)p->x[i * p->samples + n] * (double)p->x[j * p->samples + n];
            }
            h[i * p->columns + j] = h[j * p->columns + i] = 2.0 / (double)p->samples * sum;
        }
    }
    return h;
}

typedef struct dual_result {
    float *sparse;
    double loss;
    int64_t zeros;
    spade_status status;
} dual_result;

static dual_result solve_with_hessian(spade_context *context, const dual_problem *p)
{
    double *h = hessian_of(p);
    dual_result result = {.sparse = malloc((size_t)(p->rows * p->columns) * sizeof(float))};
    spade_solution solution = {.sparsity = p->of ? 0.5 : p->sparsity, .sparse = result.sparse};
    spade_problem problem = {.rows = p->rows,
                             .columns = p->columns,
                             .block = p->block,
                             .keep = p->keep,
                             .of = p->of,
                             .hessian = h,
                             .dense = p->dense,
                             .solutions = &solution,
                             .solution_count = 1};
    spade_solve_options options;
    spade_solve_options_init(&options);
    options.damping = p->damping;
    result.status = spade_solve(context, &options, &problem, 1);
    result.loss = solution.loss;
    result.zeros = solution.zeros;
    free(h);
    return result;
}

static void *device_memory(spade_device *device, size_t bytes)
{
    void *memory;
    assert_int_equal(device->backend->alloc(device, bytes, "test", &memory), SPADE_OK);
    return memory;
}

/* The arrays of a dual solve on the device. */
enum { X, DENSE, SPARSE, DEAD, FACTOR, WORKSPACE, ARRAYS };

static dual_result solve_with_inputs(spade_context *context, const dual_problem *p)
{
    spade_device *device = context->device;
    const spade_backend *backend = device->backend;
    const int64_t k = p->columns, n = p->samples, block = p->of ? p->of : p->block;
    const size_t weights = (size_t)(p->rows * k) * sizeof(float);
    size_t factor = backend->solver->dual_workspace_bytes(device, k, n, block);
    size_t sweep = backend->solver->sweep_workspace_bytes(device, p->rows, k, block, n, SPADE_FP64);
    const size_t bytes[ARRAYS] = {(size_t)(k * n) * sizeof(float),
                                  weights,
                                  weights,
                                  (size_t)k,
                                  backend->solver->dual_factor_bytes(device, k, n, block),
                                  factor > sweep ? factor : sweep};
    void *arrays[ARRAYS];
    for (int i = 0; i < ARRAYS; i++) { arrays[i] = device_memory(device, bytes[i]); }
    assert_int_equal(backend->upload(device, arrays[X], p->x, bytes[X]), SPADE_OK);
    assert_int_equal(backend->upload(device, arrays[DENSE], p->dense, bytes[DENSE]), SPADE_OK);
    spade_dual_args dual = {.columns = k,
                            .samples = n,
                            .block = block,
                            .x = arrays[X],
                            .scale = 2.0 / (double)n,
                            .damping = p->damping,
                            .dead = arrays[DEAD],
                            .factor = arrays[FACTOR],
                            .workspace = arrays[WORKSPACE]};
    assert_int_equal(backend->solver->dual_factor(device, &dual, 1), SPADE_OK);
    assert_int_equal(backend->synchronize(device), SPADE_OK);
    dual_result result = {.sparse = calloc(1, weights), .status = dual.status};
    if (dual.status == SPADE_OK) {
        int64_t width = block <= 0 || block > k ? k : block, last = k % width ? k % width : width;
        spade_sweep_args args = {.rows = p->rows,
                                 .columns = k,
                                 .block = block,
                                 .prune = (int64_t)floor((double)(p->rows * width) * p->sparsity),
                                 .prune_last = (int64_t)floor((double)(p->rows * last) * p->sparsity),
                                 .n_of_m = p->of != 0,
                                 .keep = p->keep,
                                 .precision = SPADE_FP64,
                                 .dual = &dual,
                                 .dense = arrays[DENSE],
                                 .dead = arrays[DEAD],
                                 .sparse = arrays[SPARSE],
                                 .workspace = arrays[WORKSPACE]};
        assert_int_equal(backend->solver->sweep(device, &args, 1), SPADE_OK);
        assert_int_equal(backend->synchronize(device), SPADE_OK);
        assert_int_equal(backend->download(device, result.sparse, arrays[SPARSE], weights), SPADE_OK);
        result.loss = args.loss;
        result.zeros = args.zeros;
        result.status = args.status;
    }
    for (int i = 0; i < ARRAYS; i++) { backend->free(device, arrays[i], bytes[i]); }
    return result;
}

/* Blocks may be too large for a device's form, which then says so by its cost. */
static bool has_form(const spade_context *context, const dual_problem *p)
{
    spade_device *device = context->device;
    const int64_t block = p->of ? p->of : p->block;
    const bool has = device->backend->solver->fast_cost(device, p->rows, p->columns, block, p->samples) >= 0;
    assert_true(has || (block == 0 ? p->columns : block) > 64);
    assert_true(has || !device->backend->host_memory);
    return has;
}

/* Masks are equal but for near ties, which `flips` counts; without one the weights are equal to 1e-6. */
static void check(spade_context *context, const dual_problem *p, int64_t *flips)
{
    if (!has_form(context, p)) { return; }
    dual_result a = solve_with_hessian(context, p), b = solve_with_inputs(context, p);
    int64_t size = p->rows * p->columns, own = 0;
    double largest = 0, worst = 0;
    assert_int_equal(a.status, SPADE_OK);
    assert_int_equal(b.status, SPADE_OK);
    for (int64_t i = 0; i < size; i++) {
        own += (a.sparse[i] == 0) != (b.sparse[i] == 0);
        largest = fmax(largest, fabs((double)a.sparse[i]));
        worst = fmax(worst, fabs((double)a.sparse[i] - (double)b.sparse[i]));
    }
    if (own) {
        print_message("%lld rows, %lld columns, %lld samples, block %lld: %lld masks differ\n", (long long)p->rows,
                      (long long)p->columns, (long long)p->samples, (long long)p->block, (long long)own);
    } else {
        assert_true(worst <= 1e-6 * largest);
        assert_int_equal(a.zeros, b.zeros);
    }
    assert_true(fabs(a.loss - b.loss) <= 1e-6 * a.loss + 1e-12 + (double)own * 1e-3 * a.loss);
    *flips += own;
    free(a.sparse);
    free(b.sparse);
}

static void test_random_problems(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 2);
    source s = {.key = 21};
    static const int64_t blocks[] = {1, 4, 9, 25, 64, 0};
    static const double dampings[] = {0.01, 1e-4, 1.0};
    int64_t flips = 0;
    for (int i = 0; i < (test_is_emulated() ? 16 : 60); i++) {
        dual_problem p = {.rows = between(&s, 1, 60), .columns = between(&s, 2, 420)};
        p.samples = between(&s, 1, i % 4 ? p.columns / 3 + 1 : p.columns + 20);
        p.block = blocks[i % 6];
        p.sparsity = 0.3 + 0.65 * uniform(&s);
        p.damping = dampings[i % 3];
        if (i % 5 == 4) { p.of = 4, p.keep = 2; }
        fill(&s, &p, i % 2 ? between(&s, 2, 9) : 0);
        check(context, &p, &flips);
        clear(&p);
    }
    assert_true(flips <= 4);
    spade_context_destroy(context);
}

/* One column more or less than a panel, than two, than a strip; samples at the seams of packs; one sample only. */
static void test_seams(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 2);
    source s = {.key = 22};
    static const int64_t sizes[][4] = {{7, 127, 24, 1},  {7, 128, 25, 1},   {7, 129, 23, 1},   {24, 255, 48, 1},
                                       {25, 256, 1, 1},  {49, 257, 100, 1}, {3, 385, 193, 9},  {3, 64, 10, 1},
                                       {5, 65, 64, 1},   {300, 140, 20, 1}, {4, 300, 30, 200}, {4, 300, 30, 65},
                                       {2, 513, 384, 4}, {1, 1, 1, 1},      {6, 8, 3, 8}};
    int64_t flips = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        dual_problem p = {.rows = sizes[i][0],
                          .columns = sizes[i][1],
                          .samples = sizes[i][2],
                          .block = sizes[i][3],
                          .sparsity = 0.6,
                          .damping = 0.01};
        fill(&s, &p, i % 3 == 1 ? 3 : 0);
        check(context, &p, &flips);
        clear(&p);
    }
    assert_true(flips <= 2);
    spade_context_destroy(context);
}

/* Nearly all inputs are dead, or all: their weights are zero, and the loss is that of the others. */
static void test_dead_inputs(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 2);
    source s = {.key = 23};
    int64_t flips = 0;
    for (int t = 0; t < 2; t++) {
        dual_problem p = {.rows = 9, .columns = 200, .samples = 17, .block = 1, .sparsity = 0.5, .damping = 0.01};
        fill(&s, &p, t ? 1 : 2);
        assert_int_equal(p.dead, t ? 200 : 100);
        check(context, &p, &flips);
        dual_result result = solve_with_inputs(context, &p);
        for (int64_t i = 0; t && i < p.rows * p.columns; i++) { assert_true(result.sparse[i] == 0.0f); }
        free(result.sparse);
        clear(&p);
    }
    assert_int_equal(flips, 0);
    spade_context_destroy(context);
}

/* What both forms refuse: no damping (fewer samples than columns: H is singular), numbers that are none. */
static void test_failures(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 2);
    source s = {.key = 24};
    for (int t = 0; t < 2; t++) {
        dual_problem p = {
            .rows = 5, .columns = 150, .samples = 20, .block = 1, .sparsity = 0.5, .damping = t ? 0.01 : 0};
        fill(&s, &p, 0);
        if (t) { p.x[3000 - 7] = NAN; }
        dual_result a = solve_with_hessian(context, &p), b = solve_with_inputs(context, &p);
        assert_int_equal(a.status, SPADE_ERROR_NUMERICAL);
        assert_int_equal(b.status, SPADE_ERROR_NUMERICAL);
        free(a.sparse);
        free(b.sparse);
        clear(&p);
    }
    spade_context_destroy(context);
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    source s = {.key = 25};
    dual_problem p = {.rows = 100, .columns = 700, .samples = 90, .block = 1, .sparsity = 0.7, .damping = 0.01};
    fill(&s, &p, 7);
    dual_result results[2];
    for (int t = 0; t < 2; t++) {
        spade_context *context = test_context(test_device(), t ? 3 : 1);
        results[t] = solve_with_inputs(context, &p);
        spade_context_destroy(context);
    }
    assert_memory_equal(results[0].sparse, results[1].sparse, (size_t)(p.rows * p.columns) * sizeof(float));
    assert_true(results[0].loss == results[1].loss);
    free(results[0].sparse);
    free(results[1].sparse);
    clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_problems),       cmocka_unit_test(test_seams),
        cmocka_unit_test(test_dead_inputs),           cmocka_unit_test(test_failures),
        cmocka_unit_test(test_threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
