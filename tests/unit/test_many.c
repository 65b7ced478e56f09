/*
 * Traces whose Hessians depend on which layers are searched together: a 1x1 convolution of few positions takes its sums
 * from its 3x3 sibling where that is searched too, which gives other last bits than sums of its own. Neither memory nor
 * company may decide that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/model.h"
#include "spade/spade.h"

enum { SIDE = 56, CHANNELS = 32, ROWS = 16, CLASSES = 4, VARIANTS = 24 };

static void put_convolution(wire *network, const char *name, const char *input, const char *output, int64_t in,
                            int64_t out, int64_t kernel, int64_t step, uint32_t seed)
{
    char weight[32], inputs[64];
    const int64_t dims[] = {out, in, kernel, kernel}, stride[] = {step, step}, pad = kernel / 2,
                  pads[] = {pad, pad, pad, pad};
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(inputs, sizeof inputs, "%s %s", input, weight);
    put_tensor(network, tensor_random(weight, 4, dims, seed));
    wire node = with_ints(node_of(name, "Conv", inputs, output), "strides", 2, stride);
    put_node(network, with_ints(node, "pads", 4, pads));
}

/*
 * first (3x3) -> relu -> before (3x3) -> pool (4x4) -> wide (3x3, stride 2) + narrow (1x1, stride 2) -> average -> fc.
 * The pass needs more memory than the solve, so that a small budget is met by fewer layers a pass.
 */
static const char *save_model(void)
{
    wire network = graph_of(3, SIDE, SIDE, CLASSES);
    const int64_t dims[] = {CLASSES, ROWS}, four[] = {4, 4};
    put_convolution(&network, "first", "x", "a", 3, CHANNELS, 3, 1, 1);
    put_node(&network, node_of("relu", "Relu", "a", "b"));
    put_convolution(&network, "before", "b", "c", CHANNELS, CHANNELS, 3, 1, 5);
    wire pool = with_ints(node_of("pool", "MaxPool", "c", "t"), "kernel_shape", 2, four);
    put_node(&network, with_ints(pool, "strides", 2, four));
    put_convolution(&network, "wide", "t", "w", CHANNELS, ROWS, 3, 2, 2);
    put_convolution(&network, "narrow", "t", "n", CHANNELS, ROWS, 1, 2, 3);
    put_node(&network, node_of("add", "Add", "w n", "s"));
    put_node(&network, node_of("average", "GlobalAveragePool", "s", "p"));
    put_node(&network, node_of("flatten", "Flatten", "p", "f"));
    put_tensor(&network, tensor_random("fc.weight", 2, dims, 4));
    put_node(&network, with_int(node_of("fc", "Gemm", "f fc.weight", "y"), "transB", 1));
    return test_save("siblings.onnx", model_of(network));
}

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_batch *batch;
    float *variants;
} fixture;

static fixture open_fixture(const char *path, uint64_t memory)
{
    fixture f = {0};
    spade_context_options options;
    size_t size = (size_t)VARIANTS * 3 * SIDE * SIDE;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.threads = 2;
    options.memory = memory;
    assert_int_equal(spade_context_create(&options, &f.context), SPADE_OK);
    assert_int_equal(spade_model_load(f.context, path, NULL, &f.model), SPADE_OK);
    f.variants = malloc(size * sizeof *f.variants);
    assert_non_null(f.variants);
    for (size_t i = 0; i < size; i++) { f.variants[i] = pseudo_random(9, (uint32_t)i); }
    assert_int_equal(spade_batch_from_array(f.context, f.variants, VARIANTS, 3, SIDE, SIDE, &f.batch), SPADE_OK);
    return f;
}

static void close_fixture(fixture *f)
{
    spade_batch_destroy(f->batch);
    free(f->variants);
    spade_model_destroy(f->model);
    assert_int_equal(f->context->used, 0);
    spade_context_destroy(f->context);
}

static double loss_of(const fixture *f, const spade_trace *trace, const char *layer)
{
    spade_trace_layer info;
    int index = spade_model_find_layer(f->model, layer);
    assert_true(index >= 0);
    spade_trace_layer_info(trace, index, &info);
    return info.loss;
}

/* The loss of `narrow`, in a trace of all layers or without its sibling, alone in its call. -1: not enough memory. */
static double single_loss(const char *path, uint64_t memory, const spade_trace_options *options)
{
    fixture f = open_fixture(path, memory);
    spade_trace *trace = NULL;
    double loss = -1;
    spade_status status = spade_trace_create(f.context, f.model, f.batch, options, &trace);
    if (status == SPADE_OK) { loss = loss_of(&f, trace, "narrow"); }
    if (status != SPADE_OK && status != SPADE_ERROR_MEMORY) { fail_msg("%s", spade_message(f.context)); }
    spade_trace_destroy(trace);
    close_fixture(&f);
    return loss;
}

static void two_options(spade_trace_options options[2])
{
    static const char *const sibling[] = {"wide"};
    spade_trace_options_init(&options[0]);
    spade_trace_options_init(&options[1]);
    options[1].skip = sibling;
    options[1].skip_count = 1;
}

static void test_company_changes_no_bit(void **state)
{
    (void)state;
    const char *path = save_model();
    spade_trace_options options[2];
    spade_trace *traces[2];
    two_options(options);
    double shared = single_loss(path, 0, &options[0]), own = single_loss(path, 0, &options[1]);
    assert_true(shared > 0);
    if (shared == own) { skip(); } /* a BLAS that sums both alike: nothing to tell apart */
    fixture f = open_fixture(path, 0);
    const spade_batch *batch = f.batch;
    assert_int_equal(spade_trace_create_many(f.context, f.model, &batch, 1, options, 2, traces), SPADE_OK);
    assert_true(loss_of(&f, traces[0], "narrow") == shared);
    assert_true(loss_of(&f, traces[1], "narrow") == own);
    assert_true(loss_of(&f, traces[1], "wide") == 0);
    assert_true(loss_of(&f, traces[0], "fc") == loss_of(&f, traces[1], "fc"));
    spade_trace_destroy(traces[0]);
    spade_trace_destroy(traces[1]);
    close_fixture(&f);
}

/* Less and less memory, down to the last byte that works: there the layers come one by one, but not these two. */
static void test_memory_changes_no_bit(void **state)
{
    (void)state;
    const char *path = save_model();
    spade_trace_options options[2];
    two_options(options);
    for (int o = 0; o < 2; o++) {
        double expected = single_loss(path, 0, &options[o]);
        uint64_t refused = 0, works = UINT64_C(64) << 20;
        while (works - refused > 4096) {
            uint64_t memory = refused + (works - refused) / 2;
            double loss = single_loss(path, memory, &options[o]);
            assert_true(loss == expected || loss < 0);
            if (loss < 0) {
                refused = memory;
            } else {
                works = memory;
            }
        }
    }
}

static void test_advice_works(void **state)
{
    (void)state;
    const char *path = save_model();
    spade_trace_options options[2];
    two_options(options);
    fixture f = open_fixture(path, UINT64_C(1) << 20);
    spade_trace *trace = NULL;
    assert_int_equal(spade_trace_create(f.context, f.model, f.batch, &options[0], &trace), SPADE_ERROR_MEMORY);
    const char *advice = strstr(spade_message(f.context), "--memory ");
    if (!advice) { fail_msg("%s", spade_message(f.context)); }
    uint64_t memory = strtoull(advice + strlen("--memory "), NULL, 10) << 20;
    close_fixture(&f);
    assert_true(single_loss(path, memory, &options[0]) == single_loss(path, 0, &options[0]));
}

static int remove_folder(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

static int count_resumed(const fixture *f, const spade_trace *trace)
{
    int resumed = 0;
    for (int l = 0; l < spade_model_layer_count(f->model); l++) {
        spade_trace_layer info;
        spade_trace_layer_info(trace, l, &info);
        resumed += info.resumed;
    }
    return resumed;
}

/* Several options of one sample that share a folder: each finds its own layers again, the last bit of them. */
static void test_options_share_a_checkpoint(void **state)
{
    (void)state;
    enum { OPTIONS = 3, LAYERS = 4 };
    char folder[] = "/tmp/spade-many-XXXXXX", line[64];
    spade_trace_options options[OPTIONS];
    spade_trace *traces[2][OPTIONS];
    fixture f = open_fixture(save_model(), 0);
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < OPTIONS; i++) {
        spade_trace_options_init(&options[i]);
        options[i].sparsity = 0.25 * (i + 1);
        options[i].checkpoint = folder;
    }
    for (int round = 0; round < 2; round++) {
        const spade_batch *batch = f.batch;
        assert_int_equal(spade_trace_create_many(f.context, f.model, &batch, 1, options, OPTIONS, traces[round]),
                         SPADE_OK);
    }
    for (int i = 0; i < OPTIONS; i++) {
        assert_int_equal(count_resumed(&f, traces[0][i]), 0);
        assert_int_equal(count_resumed(&f, traces[1][i]), LAYERS);
        for (int l = 0; l < spade_model_layer_count(f.model); l++) {
            spade_layer_info info;
            spade_model_layer(f.model, l, &info);
            assert_memory_equal(spade_trace_weights(traces[0][i], l), spade_trace_weights(traces[1][i], l),
                                (size_t)(info.rows * info.columns) * sizeof(float));
        }
    }
    for (int i = 0; i < OPTIONS; i++) {
        spade_trace_destroy(traces[0][i]);
        spade_trace_destroy(traces[1][i]);
    }
    close_fixture(&f);
    snprintf(line, sizeof line, "rm -r %s", folder);
    assert_int_equal(system(line), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_company_changes_no_bit),
        cmocka_unit_test(test_memory_changes_no_bit),
        cmocka_unit_test(test_advice_works),
        cmocka_unit_test(test_options_share_a_checkpoint),
    };
    return cmocka_run_group_tests_name("traces found together", tests, NULL, remove_folder);
}
