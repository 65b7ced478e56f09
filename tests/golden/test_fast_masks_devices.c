/*
 * The fast solver on a device against the processor's, given the same Hessians: identical masks, the same weights and
 * losses up to rounding. Every layer of the golden networks.
 */
#include "golden.h"

typedef struct golden_case {
    double sparsity;
    spade_count count;
    int keep, of;
} golden_case;

static const golden_case cases[] = {{0.5, SPADE_COUNT_FLOOR, 0, 0},
                                    {0.9, SPADE_COUNT_FLOOR, 0, 0},
                                    {0.5, SPADE_COUNT_PUBLISHED, 0, 0},
                                    {0.5, SPADE_COUNT_FLOOR, 2, 4}};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct layer_problems {
    int count; /* groups */
    spade_problem *problems;
    spade_solution *solutions;
} layer_problems;

/* All groups of a layer, by one device; solutions in memory of their own. */
static layer_problems solve_layer(spade_context *context, const spade_layer_info *info, const double *hessians,
                                  const float *dense, const golden_case *c)
{
    int64_t rows = info->rows / info->groups, k = info->columns;
    layer_problems l = {.count = (int)info->groups};
    l.problems = calloc((size_t)l.count, sizeof *l.problems);
    l.solutions = calloc((size_t)l.count, sizeof *l.solutions);
    spade_solve_options options;
    spade_solve_options_init(&options);
    options.count = c->count;
    options.sweep = SPADE_FP64;
    for (int g = 0; g < l.count; g++) {
        l.solutions[g] =
            (spade_solution){.sparsity = c->sparsity, .sparse = malloc((size_t)(rows * k) * sizeof(float))};
        l.problems[g] = (spade_problem){.rows = rows,
                                        .columns = k,
                                        .block = info->convolution ? info->weight[2] * info->weight[3] : 1,
                                        .keep = c->keep,
                                        .of = c->of,
                                        .hessian = hessians + g * k * k,
                                        .dense = dense + g * rows * k,
                                        .solutions = &l.solutions[g],
                                        .solution_count = 1};
    }
    golden_ok(context, spade_solve(context, &options, l.problems, l.count));
    return l;
}

static void free_layer(layer_problems *l)
{
    for (int g = 0; g < l->count; g++) { free(l->solutions[g].sparse); }
    free(l->problems);
    free(l->solutions);
}

static void check_layer(spade_context *cpu, spade_context *device, const spade_layer_info *info, const double *hessians,
                        const float *dense)
{
    for (int c = test_is_emulated() ? 1 : 0; c < CASES; c += test_is_emulated() ? 2 : 1) {
        layer_problems a = solve_layer(cpu, info, hessians, dense, &cases[c]);
        layer_problems b = solve_layer(device, info, hessians, dense, &cases[c]);
        for (int g = 0; g < a.count; g++) {
            const spade_solution *x = &a.solutions[g], *y = &b.solutions[g];
            for (int64_t i = 0; i < a.problems[g].rows * a.problems[g].columns; i++) {
                assert_true((x->sparse[i] == 0) == (y->sparse[i] == 0));
                assert_true(fabsf(x->sparse[i] - y->sparse[i]) <= 1e-5f * (1e-2f + fabsf(x->sparse[i])));
            }
            assert_int_equal(x->zeros, y->zeros);
            assert_true(fabs(x->loss - y->loss) <= 1e-8 * x->loss);
        }
        free_layer(&a);
        free_layer(&b);
    }
}

static void check_network(spade_context *cpu, spade_context *device, const char *network)
{
    spade_model *model = golden_model(cpu, network);
    spade_array variants;
    spade_batch *batch = golden_batch(cpu, 0, &variants);
    spade_trace *dense = NULL;
    golden_ok(cpu, spade_trace_create_empty(cpu, model, &dense));
    for (int l = 0; l < spade_model_layer_count(model); l++) {
        spade_layer_info info;
        spade_hessians *hessians = NULL;
        spade_model_layer(model, l, &info);
        golden_ok(cpu, spade_hessian_accumulate(cpu, model, batch, &l, 1, SPADE_FP64, &hessians));
        int64_t size = info.columns * info.columns;
        double *h = malloc((size_t)(info.groups * size) * sizeof *h);
        for (int64_t g = 0; g < info.groups; g++) {
            assert_int_equal(spade_hessian_get(hessians, 0, g, h + g * size), SPADE_OK);
        }
        check_layer(cpu, device, &info, h, spade_trace_weights(dense, l));
        free(h);
        spade_hessians_destroy(hessians);
    }
    spade_trace_destroy(dense);
    spade_batch_destroy(batch);
    spade_array_clear(&variants);
    spade_model_destroy(model);
}

static void test_masks_are_identical(void **state)
{
    (void)state;
    if (strcmp(test_device(), "cpu") == 0) { skip(); }
    spade_context *cpu = golden_context_on("cpu", 2, 0), *device = golden_context(2, 0);
    for (int n = 0; n < GOLDEN_NETWORKS; n++) { check_network(cpu, device, golden_networks[n]); }
    spade_context_destroy(device);
    spade_context_destroy(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_masks_are_identical)};
    return cmocka_run_group_tests_name("golden fast solver on devices", tests, NULL, NULL);
}
