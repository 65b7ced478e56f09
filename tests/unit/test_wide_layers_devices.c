/*
 * Traces of layers with fewer samples than columns, which are solved from their inputs: against a solve with the Hessian,
 * for linear layers, convolutions, groups and a 1x1 convolution that shares the inputs of its sibling; and neither memory,
 * nor company, nor a checkpoint changes a bit.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hessian/hessians.h"
#include "spade/spade.h"
#include "support/budget.h"
#include "support/device.h"
#include "support/model.h"

enum { SIDE = 16, CHANNELS = 256, ROWS = 8, CLASSES = 6, MAX_VARIANTS = 40, SIZE = 3 * SIDE * SIDE };

static void put_convolution(wire *network, const char *name, const char *input, const char *output, int64_t in,
                            int64_t out, int64_t kernel, int64_t step, int64_t groups, uint32_t seed)
{
    char weight[32], inputs[64];
    const int64_t dims[] = {out, in / groups, kernel, kernel}, stride[] = {step, step}, pad = kernel / 2,
                  pads[] = {pad, pad, pad, pad};
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(inputs, sizeof inputs, "%s %s", input, weight);
    put_tensor(network, tensor_random(weight, 4, dims, seed));
    wire node = with_ints(node_of(name, "Conv", inputs, output), "strides", 2, stride);
    put_node(network, with_int(with_ints(node, "pads", 4, pads), "group", groups));
}

static void put_linear(wire *network, const char *name, const char *input, const char *output, int64_t in,
                       uint32_t seed)
{
    char weight[32], inputs[64];
    const int64_t dims[] = {CLASSES, in};
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(inputs, sizeof inputs, "%s %s", input, weight);
    put_tensor(network, tensor_random(weight, 2, dims, seed));
    put_node(network, with_int(node_of(name, "Gemm", inputs, output), "transB", 1));
}

/* first (3x3, stride 4) -> relu -> b [256, 4, 4]; b -> wide (3x3) + narrow (1x1) + grouped (3x3, 2 groups), all stride 2 -> fc;
 * b -> linear; y is the sum. */
static const char *save_model(void)
{
    wire network = graph_of(3, SIDE, SIDE, CLASSES);
    put_convolution(&network, "first", "x", "a", 3, CHANNELS, 3, 4, 1, 1);
    put_node(&network, node_of("relu", "Relu", "a", "b"));
    put_convolution(&network, "wide", "b", "w", CHANNELS, ROWS, 3, 2, 1, 2);
    put_convolution(&network, "narrow", "b", "n", CHANNELS, ROWS, 1, 2, 1, 3);
    put_convolution(&network, "grouped", "b", "g", CHANNELS, ROWS, 3, 2, 2, 4);
    put_node(&network, node_of("add", "Add", "w n", "s"));
    put_node(&network, node_of("add2", "Add", "s g", "t"));
    put_node(&network, node_of("flatten", "Flatten", "t", "f"));
    put_linear(&network, "fc", "f", "y1", ROWS * 4, 5);
    put_node(&network, node_of("flatten2", "Flatten", "b", "h"));
    put_linear(&network, "linear", "h", "y2", CHANNELS * 16, 6);
    put_node(&network, node_of("add3", "Add", "y1 y2", "y"));
    return test_save("wide.onnx", model_of(network));
}

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_batch *batches[2];
    float *variants[2];
} fixture;

static fixture open_fixture(const char *device, int threads, uint64_t memory, const char *path, int64_t variants)
{
    fixture f = {0};
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = device;
    options.threads = threads;
    if (spade_context_create(&options, &f.context) != SPADE_OK) { fail_msg("%s", spade_message(f.context)); }
    test_set_budget(f.context, memory);
    if (spade_model_load(f.context, path, NULL, &f.model) != SPADE_OK) { fail_msg("%s", spade_message(f.context)); }
    for (int b = 0; b < 2; b++) {
        f.variants[b] = malloc((size_t)(MAX_VARIANTS * SIZE) * sizeof(float));
        for (uint32_t i = 0; i < MAX_VARIANTS * SIZE; i++) { f.variants[b][i] = pseudo_random(9 + (uint32_t)b, i); }
        assert_int_equal(spade_batch_from_array(f.context, f.variants[b], variants - b, 3, SIDE, SIDE, &f.batches[b]),
                         SPADE_OK);
    }
    return f;
}

static void close_fixture(fixture *f)
{
    for (int b = 0; b < 2; b++) {
        spade_batch_destroy(f->batches[b]);
        free(f->variants[b]);
    }
    spade_model_destroy(f->model);
    assert_int_equal(f->context->used, f->context->device->own_bytes);
    spade_context_destroy(f->context);
}

/* Only the layer that every device solves from its inputs. */
static void take_linear(spade_trace_options *options)
{
    static const char *const linear[] = {"linear"};
    options->include = linear;
    options->include_count = 1;
}

static spade_trace_options exact_sums(double sparsity)
{
    spade_trace_options options;
    spade_trace_options_init(&options);
    options.hessian = SPADE_FP64;
    options.sparsity = sparsity;
    return options;
}

/* The layer's weights as spade_solve() finds them with its Hessian on the processor. */
static float *solve_with_hessian(const fixture *f, int layer, double sparsity)
{
    spade_layer_info info;
    spade_model_layer(f->model, layer, &info);
    const int64_t k = info.columns, rows = info.rows / info.groups;
    const int64_t kernel =
        strcmp(info.name, "linear") && strcmp(info.name, "fc") && strcmp(info.name, "narrow") ? 9 : 1;
    const float *dense = spade_model_weights(f->model, layer);
    double *h = malloc((size_t)(k * k) * sizeof *h);
    float *sparse = malloc((size_t)(info.rows * k) * sizeof *sparse);
    spade_hessians *hessians;
    spade_solve_options options;
    spade_solve_options_init(&options);
    assert_int_equal(spade_hessian_accumulate(f->context, f->model, f->batches[0], &layer, 1, SPADE_FP64, &hessians),
                     SPADE_OK);
    for (int64_t g = 0; g < info.groups; g++) {
        assert_int_equal(spade_hessian_get(hessians, 0, g, h), SPADE_OK);
        spade_solution solution = {.sparsity = sparsity, .sparse = sparse + g * rows * k};
        spade_problem problem = {.rows = rows,
                                 .columns = k,
                                 .block = kernel,
                                 .hessian = h,
                                 .dense = dense + g * rows * k,
                                 .solutions = &solution,
                                 .solution_count = 1};
        assert_int_equal(spade_solve(f->context, &options, &problem, 1), SPADE_OK);
    }
    spade_hessians_destroy(hessians);
    free(h);
    return sparse;
}

static bool prefers_inputs(const fixture *f, const char *layer, int64_t variants)
{
    int64_t block = strcmp(layer, "wide") && strcmp(layer, "grouped") ? 1 : 9;
    return spade_hessian_prefers_inputs(f->model, spade_model_find_layer(f->model, layer), variants, block, SPADE_FP64);
}

/* Near ties apart: a device's forward pass rounds in its own way. */
static void compare(const float *weights, const float *expected, int64_t size, bool same_inputs)
{
    int64_t flips = 0;
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < size; i++) {
        flips += (weights[i] == 0) != (expected[i] == 0);
        worst = fmax(worst, fabs((double)weights[i] - (double)expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
    }
    assert_true(flips <= size / 2000);
    if (same_inputs) { assert_int_equal(flips, 0); }
    if (flips == 0) { assert_true(worst <= (same_inputs ? 1e-6 : 1e-3) * largest); }
}

static void test_wide_layers_are_the_solve_with_a_hessian(void **state)
{
    (void)state;
    static const char *const names[] = {"linear", "wide", "narrow", "grouped", "fc"};
    const char *path = save_model();
    const bool on_host = strcmp(test_device(), "cpu") == 0;
    fixture f = open_fixture(test_device(), 2, 0, path, 6), cpu = open_fixture("cpu", 2, 0, path, 6);
    const size_t count = test_is_emulated() ? 1 : sizeof names / sizeof *names;
    spade_trace_options options = exact_sums(0.6);
    spade_trace *trace;
    if (test_is_emulated()) { take_linear(&options); }
    assert_true(prefers_inputs(&f, "linear", 6));
    assert_true(!prefers_inputs(&f, "fc", 6) && !prefers_inputs(&f, "linear", CHANNELS * 16));
    for (int i = 0; i < 4 && on_host; i++) { assert_true(prefers_inputs(&f, names[i], 6)); }
    if (spade_trace_create(f.context, f.model, f.batches[0], &options, &trace) != SPADE_OK) {
        fail_msg("%s", spade_message(f.context));
    }
    for (size_t i = 0; i < count; i++) {
        spade_layer_info info;
        int layer = spade_model_find_layer(f.model, names[i]);
        spade_model_layer(f.model, layer, &info);
        float *expected = solve_with_hessian(&cpu, layer, 0.6);
        compare(spade_trace_weights(trace, layer), expected, info.rows * info.columns, on_host);
        free(expected);
    }
    spade_trace_destroy(trace);
    close_fixture(&cpu);
    close_fixture(&f);
}

static uint64_t hash_trace(const fixture *f, const spade_trace *trace)
{
    uint64_t hash = 0;
    for (int l = 0; l < spade_model_layer_count(f->model); l++) {
        spade_layer_info info;
        spade_model_layer(f->model, l, &info);
        hash = spade_hash(spade_trace_weights(trace, l), (size_t)(info.rows * info.columns) * sizeof(float), hash);
    }
    return hash;
}

static uint64_t hash_alone(const fixture *f, int batch, const spade_trace_options *options)
{
    spade_trace *trace;
    if (spade_trace_create(f->context, f->model, f->batches[batch], options, &trace) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    uint64_t hash = hash_trace(f, trace);
    spade_trace_destroy(trace);
    return hash;
}

/* Two fast options share a factor, magnitude wants Hessians of the same layers, the last has another form in one layer. */
enum { OPTIONS = 4 };
static void several_options(spade_trace_options options[OPTIONS])
{
    static const spade_layer_rule rule = {.layers = "wide", .set = SPADE_RULE_SOLVER, .solver = SPADE_SOLVER_MAGNITUDE};
    for (int o = 0; o < OPTIONS; o++) {
        spade_trace_options_init(&options[o]);
        options[o].sparsity = o == 1 ? 0.9 : 0.5;
    }
    options[2].solver = SPADE_SOLVER_MAGNITUDE;
    options[3].rules = &rule;
    options[3].rule_count = 1;
}

static void test_company_changes_no_bit(void **state)
{
    (void)state;
    const char *path = save_model();
    fixture f = open_fixture(test_device(), 2, 0, path, MAX_VARIANTS);
    spade_trace_options options[OPTIONS];
    spade_trace *traces[2 * OPTIONS];
    several_options(options);
    const int count = test_is_emulated() ? 2 : OPTIONS; /* the other Hessians take long there */
    for (int o = 0; o < count && test_is_emulated(); o++) { take_linear(&options[o]); }
    assert_int_equal(
        spade_trace_create_many(f.context, f.model, (const spade_batch *const *)f.batches, 2, options, count, traces),
        SPADE_OK);
    for (int i = 0; i < 2 * count; i++) {
        assert_true(hash_trace(&f, traces[i]) == hash_alone(&f, i / count, &options[i % count]));
    }
    assert_true(hash_trace(&f, traces[0]) != hash_trace(&f, traces[1]));
    assert_true(hash_trace(&f, traces[0]) != hash_trace(&f, traces[count]));
    for (int i = 0; i < 2 * count; i++) { spade_trace_destroy(traces[i]); }
    close_fixture(&f);
}

/* From the largest budget down to what is refused: the same bits, and what the refusal asks for is enough. What falls into
 * which pass is decided on the host for all devices. */
static void test_memory_and_threads_change_no_bit(void **state)
{
    (void)state;
    if (test_is_emulated()) { skip(); }
    const char *path = save_model();
    spade_trace_options options;
    spade_trace_options_init(&options);
    fixture f = open_fixture(test_device(), 1, 0, path, 20);
    const uint64_t expected = hash_alone(&f, 0, &options);
    close_fixture(&f);
    int refused = 0, solved = 0;
    for (uint64_t memory = UINT64_C(96) << 20; memory >= UINT64_C(2) << 20 && !refused; memory -= memory / 4) {
        f = open_fixture(test_device(), 2, memory, path, 20);
        spade_trace *trace;
        spade_status status = spade_trace_create(f.context, f.model, f.batches[0], &options, &trace);
        if (status == SPADE_OK) {
            assert_true(hash_trace(&f, trace) == expected);
            solved++;
        } else {
            double megabytes = 0;
            const char *hint = strstr(spade_message(f.context), "--memory ");
            assert_int_equal(status, SPADE_ERROR_MEMORY);
            refused++;
            if (hint) {
                assert_int_equal(sscanf(hint, "--memory %lfM", &megabytes), 1);
                f.context->budget = (uint64_t)megabytes << 20;
                assert_true(hash_alone(&f, 0, &options) == expected);
            }
        }
        if (status == SPADE_OK) { spade_trace_destroy(trace); }
        close_fixture(&f);
    }
    assert_true(refused && solved > 2);
}

/* The layers of a checkpoint are taken, and those that are not there are solved as before. */
static void test_checkpoints(void **state)
{
    (void)state;
    static const char *const some[] = {"linear", "narrow"};
    if (test_is_emulated()) { skip(); } /* as above */
    const char *path = save_model();
    char folder[512];
    snprintf(folder, sizeof folder, "%s/checkpoint", test_folder());
    fixture f = open_fixture(test_device(), 2, 0, path, 9);
    spade_trace_options options;
    spade_trace_options_init(&options);
    const uint64_t expected = hash_alone(&f, 0, &options);
    options.checkpoint = folder;
    options.include = some;
    options.include_count = 1;
    (void)hash_alone(&f, 0, &options);
    options.include = NULL;
    options.include_count = 0;
    for (int again = 0; again < 2; again++) {
        spade_trace *trace;
        spade_trace_layer info;
        assert_int_equal(spade_trace_create(f.context, f.model, f.batches[0], &options, &trace), SPADE_OK);
        assert_true(hash_trace(&f, trace) == expected);
        spade_trace_layer_info(trace, spade_model_find_layer(f.model, "linear"), &info);
        assert_true(info.resumed);
        spade_trace_layer_info(trace, spade_model_find_layer(f.model, "wide"), &info);
        assert_true(info.resumed == (again == 1));
        spade_trace_destroy(trace);
    }
    close_fixture(&f);
}

/* Fewer samples than columns and no damping: H is singular, and both forms say so in the same words. */
static void test_no_damping(void **state)
{
    (void)state;
    static const char *const names[] = {"linear", "fc"}; /* without a Hessian, with one */
    static const char *const words[] = {
        "layer linear, group 0: the Hessian [4096, 4096] is not positive definite with --damping 0; --damping 0.01 "
        "helps",
        "layer fc, group 0: the Hessian [32, 32] is not positive definite with --damping 0; --damping 0.01 helps"};
    fixture f = open_fixture(test_device(), 2, 0, save_model(), 6);
    for (int i = 0; i < 2; i++) {
        spade_trace_options options = exact_sums(0.6);
        spade_trace *trace;
        options.include = &names[i];
        options.include_count = 1;
        options.damping = 0;
        assert_true(prefers_inputs(&f, names[i], 6) == (i == 0));
        assert_int_equal(spade_trace_create(f.context, f.model, f.batches[0], &options, &trace), SPADE_ERROR_NUMERICAL);
        assert_string_equal(spade_message(f.context), words[i]);
    }
    close_fixture(&f);
}

/* The exact solver has no form without a Hessian: its refusal names the layer and a budget that holds one. */
static void test_exact_asks_for_its_hessian(void **state)
{
    (void)state;
    if (test_is_emulated()) { skip(); } /* what a budget holds is decided on the host for all devices */
    const uint64_t hessian = (uint64_t)(CHANNELS * 16) * (CHANNELS * 16) * sizeof(double);
    fixture f = open_fixture(test_device(), 2, hessian, save_model(), 6);
    spade_trace_options options = exact_sums(0.6);
    spade_trace *trace;
    double megabytes = 0;
    take_linear(&options);
    const uint64_t fast = hash_alone(&f, 0, &options);
    assert_true(fast != 0);
    options.solver = SPADE_SOLVER_EXACT;
    assert_int_equal(spade_trace_create(f.context, f.model, f.batches[0], &options, &trace), SPADE_ERROR_MEMORY);
    const char *hint = strstr(spade_message(f.context), "(linear); --memory ");
    assert_non_null(hint);
    assert_int_equal(sscanf(hint, "(linear); --memory %lfM", &megabytes), 1);
    assert_true(megabytes * 1048576 > (double)hessian);
    close_fixture(&f);
}

static int close_group(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wide_layers_are_the_solve_with_a_hessian),
        cmocka_unit_test(test_company_changes_no_bit),
        cmocka_unit_test(test_memory_and_threads_change_no_bit),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_no_damping),
        cmocka_unit_test(test_exact_asks_for_its_hessian),
    };
    return cmocka_run_group_tests(tests, NULL, close_group);
}
