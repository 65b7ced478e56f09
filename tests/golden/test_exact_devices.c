/*
 * The exact solver against the oracle's row-by-row elimination: order, losses, counts, weights. float64 Hessians of our
 * own, the processor's whatever the device that solves; two sparsities from one order.
 */
#include "golden.h"

typedef struct exact_case {
    const char *kind; /* of the golden arrays */
    spade_group group;
} exact_case;

static const exact_case cases[] = {{"exact_kernel", SPADE_GROUP_KERNEL},
                                   {"exact_element", SPADE_GROUP_ELEMENT},
                                   {"exact_channels-last", SPADE_GROUP_CHANNELS_LAST}};
static const char *const golden_layers[] = {"layer1.0.conv1", "layer2.0.downsample.0", "layer3.0.conv1"};
static const double sparsities[] = {0.5, 0.9};
enum { SPARSITIES = 2 };

/* The numbers of exact_GROUP/LAYER_WHAT.npy, `type` its descr: malloc'ed; NULL where there is no such file. */
static void *read_numbers(const char *kind, const char *layer, const char *what, const char *type, size_t bytes)
{
    char path[512], header[256] = "";
    uint8_t start[10];
    snprintf(path, sizeof path, "%s/arrays/resnet/%s/%s_%s.npy", SPADE_TEST_DATA, kind, layer, what);
    FILE *file = fopen(path, "rb");
    if (!file) { return NULL; }
    assert_int_equal(fread(start, 1, sizeof start, file), sizeof start);
    size_t length = start[8] + 256u * start[9];
    assert_true(length < sizeof header);
    assert_int_equal(fread(header, 1, length, file), length);
    assert_non_null(strstr(header, type));
    void *numbers = malloc(bytes + 1);
    assert_int_equal(fread(numbers, 1, bytes + 1, file), bytes); /* exactly: the shape is as expected */
    fclose(file);
    return numbers;
}

static void check_order(const spade_problem *p, int64_t groups, const char *kind, const char *layer)
{
    size_t entries = (size_t)(p->rows * groups);
    int32_t *order = read_numbers(kind, layer, "order", "<i4", entries * sizeof *order);
    double *losses = read_numbers(kind, layer, "losses", "<f8", entries * sizeof *losses), worst = 0;
    int64_t agree = 0;
    for (size_t i = 0; i < entries; i++) {
        agree += order[i] == p->order[i];
        worst = fmax(worst, fabs(losses[i] - p->losses[i]) / losses[i]);
    }
    if (agree != (int64_t)entries || worst >= 1e-4) {
        print_message("%s/%s: %lld of %zu removals agree, losses within %.1e\n", kind, layer, (long long)agree, entries,
                      worst);
    }
    assert_int_equal(agree, entries);
    assert_true(worst < 1e-4);
    free(order);
    free(losses);
}

static void check_solution(const spade_problem *p, int s, const char *kind, const char *layer)
{
    const spade_solution *solution = &p->solutions[s];
    char what[32];
    int64_t size = p->rows * p->columns, zeros = 0;
    double worst = 0, largest = 0;
    snprintf(what, sizeof what, "counts_%.0f", 100 * sparsities[s]);
    int32_t *counts = read_numbers(kind, layer, what, "<i4", (size_t)p->rows * sizeof *counts);
    snprintf(what, sizeof what, "weights_%.0f", 100 * sparsities[s]);
    float *weights = read_numbers(kind, layer, what, "<f4", (size_t)size * sizeof *weights);
    for (int64_t r = 0; r < p->rows; r++) { assert_int_equal(solution->counts[r], counts[r]); }
    for (int64_t i = 0; i < size; i++) {
        assert_true((weights[i] == 0) == (solution->sparse[i] == 0));
        worst = fmax(worst, fabs((double)weights[i] - (double)solution->sparse[i]));
        largest = fmax(largest, fabs((double)weights[i]));
        zeros += solution->sparse[i] == 0;
    }
    if (worst >= 1e-4 * largest) { print_message("%s/%s: weights within %.1e of %.1e\n", kind, layer, worst, largest); }
    assert_true(worst < 1e-4 * largest);
    assert_int_equal(solution->zeros, zeros);
    free(counts);
    free(weights);
}

static void check_layer(spade_context *context, const double *hessian, const float *dense, const spade_layer_info *info,
                        const exact_case *c)
{
    int64_t size = info->rows * info->columns, kernel = info->convolution ? info->weight[2] * info->weight[3] : 1;
    int64_t groups = c->group == SPADE_GROUP_ELEMENT ? info->columns : info->columns / kernel;
    spade_solve_options options;
    spade_solution solutions[SPARSITIES];
    spade_solve_options_init(&options);
    spade_problem p = {.rows = info->rows,
                       .columns = info->columns,
                       .kernel = kernel,
                       .solver = SPADE_SOLVER_EXACT,
                       .group = c->group,
                       .hessian = hessian,
                       .dense = dense,
                       .solutions = solutions,
                       .solution_count = SPARSITIES,
                       .order = malloc((size_t)(info->rows * groups) * sizeof(int32_t)),
                       .losses = malloc((size_t)(info->rows * groups) * sizeof(double))};
    for (int s = 0; s < SPARSITIES; s++) {
        solutions[s] = (spade_solution){.sparsity = sparsities[s],
                                        .sparse = malloc((size_t)size * sizeof(float)),
                                        .counts = malloc((size_t)info->rows * sizeof(int64_t))};
    }
    golden_ok(context, spade_solve(context, &options, &p, 1));
    check_order(&p, groups, c->kind, info->name);
    for (int s = 0; s < SPARSITIES; s++) {
        check_solution(&p, s, c->kind, info->name);
        free(solutions[s].sparse);
        free(solutions[s].counts);
    }
    free(p.order);
    free(p.losses);
}

static void check_cases(spade_context *context, spade_context *solver, const spade_model *model,
                        const spade_batch *batch, int layer, int *checked)
{
    spade_layer_info info;
    spade_hessians *hessians = NULL;
    spade_trace *dense = NULL;
    spade_model_layer(model, layer, &info);
    golden_ok(context, spade_hessian_accumulate(context, model, batch, &layer, 1, SPADE_FP64, &hessians));
    golden_ok(context, spade_trace_create_empty(context, model, &dense));
    double *h = malloc((size_t)(info.columns * info.columns) * sizeof *h);
    assert_int_equal(spade_hessian_get(hessians, 0, 0, h), SPADE_OK);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        void *there = read_numbers(cases[c].kind, info.name, "counts_50", "<i4", (size_t)info.rows * sizeof(int32_t));
        if (!there) { continue; }
        free(there);
        check_layer(solver, h, spade_trace_weights(dense, layer), &info, &cases[c]);
        ++*checked;
    }
    free(h);
    spade_trace_destroy(dense);
    spade_hessians_destroy(hessians);
}

static void test_order_losses_counts_weights(void **state)
{
    (void)state;
    int checked = 0;
    spade_context *context = golden_context_on("cpu", 2, 0), *solver = golden_context(2, 0);
    spade_model *model = golden_model(context, "resnet");
    spade_array variants;
    spade_batch *batch = golden_batch(context, 0, &variants);
    for (int l = 0; l < spade_model_layer_count(model); l++) {
        spade_layer_info info;
        spade_model_layer(model, l, &info);
        for (size_t i = 0; i < sizeof golden_layers / sizeof *golden_layers; i++) {
            if (strcmp(info.name, golden_layers[i]) == 0) { check_cases(context, solver, model, batch, l, &checked); }
        }
    }
    assert_int_equal(checked, 5); /* element on three layers; kernel and channels-last on the 3x3 one */
    spade_batch_destroy(batch);
    spade_array_clear(&variants);
    spade_model_destroy(model);
    spade_context_destroy(solver);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order_losses_counts_weights)};
    return cmocka_run_group_tests_name("golden exact solver", tests, NULL, NULL);
}
