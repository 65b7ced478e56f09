/* Whole traces: bit-identical whatever threads and memory, exports that load again, budgets that cannot work, single
 * layers. */
#include <jansson.h>
#include <unistd.h>

#include "golden.h"

/* A small trace: 11 variants (a last micro-batch of 3), every prunable layer. */
static spade_trace *find(spade_context *context, const spade_model *model, spade_precision precision,
                         spade_status expected)
{
    spade_trace_options options;
    spade_trace *trace = NULL;
    spade_array variants;
    spade_batch *batch = golden_batch(context, 11, &variants);
    spade_trace_options_init(&options);
    options.hessian = precision;
    options.sparsity = 0.7;
    spade_status status = spade_trace_create(context, model, batch, &options, &trace);
    if (expected == SPADE_OK) { golden_ok(context, status); }
    assert_int_equal(status, expected);
    spade_batch_destroy(batch);
    spade_array_clear(&variants);
    return trace;
}

static void compare_all(const spade_model *model, const spade_trace *a, const spade_trace *b)
{
    for (int l = 0; l < spade_model_layer_count(model); l++) {
        spade_layer_info info;
        spade_trace_layer x, y;
        spade_model_layer(model, l, &info);
        spade_trace_layer_info(a, l, &x);
        spade_trace_layer_info(b, l, &y);
        assert_memory_equal(spade_trace_weights(a, l), spade_trace_weights(b, l),
                            (size_t)(info.rows * info.columns) * sizeof(float));
        assert_memory_equal(&x.loss, &y.loss, sizeof x.loss);
        assert_int_equal(x.zeros, y.zeros);
        assert_int_equal(x.solved, y.solved);
    }
}

static void compare(const spade_model *model, const spade_trace *a, const spade_trace *b)
{
    compare_all(model, a, b);
    for (int l = 0; l < spade_model_layer_count(model); l++) {
        spade_layer_info info;
        spade_trace_layer x;
        spade_model_layer(model, l, &info);
        spade_trace_layer_info(a, l, &x);
        assert_int_equal(x.solved, info.prunable);
    }
}

/* The number of megabytes in "...; --memory 12M would" */
static uint64_t advised_memory(const char *message)
{
    const char *at = strstr(message, "--memory ");
    if (!at) { print_error("no advice in: %s\n", message); }
    assert_non_null(at);
    return strtoull(at + strlen("--memory "), NULL, 10) << 20;
}

/* What a budget that is too small advises must work, though in many passes, and give the same bits. */
static void test_threads_and_memory_change_no_bit(void **state)
{
    (void)state;
    for (int n = 0; n < GOLDEN_NETWORKS; n++) {
        spade_context *free_context = golden_context(2, 0);
        spade_model *free_model = golden_model(free_context, golden_networks[n]);
        spade_trace *reference = find(free_context, free_model, SPADE_FP32, SPADE_OK);
        uint64_t memory = 0;
        const int threads[] = {1, 3, 2};
        for (int i = 0; i < 3; i++) {
            spade_context *context = golden_context(threads[i], i < 2 ? 0 : memory);
            spade_model *model = golden_model(context, golden_networks[n]);
            spade_trace *trace = find(context, model, SPADE_FP32, SPADE_OK);
            compare(free_model, reference, trace);
            spade_trace_destroy(trace);
            spade_model_destroy(model);
            spade_context_destroy(context);
            if (i == 1) { /* ask for the least memory that works */
                context = golden_context(2, golden_kept(test_device()) + (UINT64_C(3) << 20));
                model = golden_model(context, golden_networks[n]);
                assert_null(find(context, model, SPADE_FP32, SPADE_ERROR_MEMORY));
                memory = advised_memory(spade_message(context));
                spade_model_destroy(model);
                spade_context_destroy(context);
            }
        }
        spade_trace_destroy(reference);
        spade_model_destroy(free_model);
        spade_context_destroy(free_context);
    }
}

static void forward(spade_context *context, const spade_model *model, const spade_trace *trace, float *logits)
{
    spade_array inputs;
    assert_true(golden_array(context, NULL, NULL, "inputs", &inputs));
    golden_ok(context, spade_model_forward(context, model, trace, inputs.data, inputs.dims[0], logits));
    spade_array_clear(&inputs);
}

/* The written network is the trace: the same weights, the same logits. */
static void test_onnx_loads_again(void **state)
{
    (void)state;
    for (int n = 0; n < GOLDEN_NETWORKS; n++) {
        spade_context *context = golden_context(2, 0);
        spade_model *model = golden_model(context, golden_networks[n]), *written = NULL;
        spade_trace *trace = find(context, model, SPADE_FP32, SPADE_OK);
        char path[] = "/tmp/spade_test_trace_XXXXXX";
        float before[12 * 10], dense[12 * 10], after[12 * 10];
        int file = mkstemp(path);
        assert_true(file >= 0);
        close(file);
        golden_ok(context, spade_trace_write_onnx(context, trace, path));
        golden_ok(context, spade_model_load(context, path, NULL, &written));
        assert_int_equal(spade_model_layer_count(written), spade_model_layer_count(model));
        for (int l = 0; l < spade_model_layer_count(model); l++) {
            spade_layer_info info;
            spade_model_layer(model, l, &info);
            assert_int_equal(spade_model_find_layer(written, info.name), l);
            assert_memory_equal(spade_model_weights(written, l), spade_trace_weights(trace, l),
                                (size_t)(info.rows * info.columns) * sizeof(float));
        }
        forward(context, model, NULL, dense);
        forward(context, model, trace, before);
        forward(context, written, NULL, after);
        assert_memory_equal(before, after, sizeof before);
        assert_memory_not_equal(before, dense, sizeof before);
        unlink(path);
        spade_model_destroy(written);
        spade_trace_destroy(trace);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

static void test_safetensors_hold_every_layer(void **state)
{
    (void)state;
    spade_context *context = golden_context(2, 0);
    spade_model *model = golden_model(context, "resnet");
    spade_trace *trace = find(context, model, SPADE_FP32, SPADE_OK);
    char path[] = "/tmp/spade_test_trace_XXXXXX", name[512];
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    golden_ok(context, spade_trace_write_safetensors(context, trace, path));
    FILE *file = fopen(path, "rb");
    uint64_t length = 0;
    assert_non_null(file);
    assert_int_equal(fread(&length, sizeof length, 1, file), 1);
    char *header = calloc(1, length + 1);
    assert_int_equal(fread(header, 1, length, file), length);
    json_t *json = json_loads(header, 0, NULL);
    assert_non_null(json);
    for (int l = 0; l < spade_model_layer_count(model); l++) {
        spade_layer_info info;
        spade_model_layer(model, l, &info);
        snprintf(name, sizeof name, "%s.weight", info.name);
        const json_t *tensor = json_object_get(json, name);
        assert_string_equal(json_string_value(json_object_get(tensor, "dtype")), "F32");
        assert_int_equal(json_array_size(json_object_get(tensor, "shape")), info.convolution ? 4 : 2);
        int64_t begin = json_integer_value(json_array_get(json_object_get(tensor, "data_offsets"), 0));
        size_t bytes = (size_t)(info.rows * info.columns) * sizeof(float);
        float *weights = malloc(bytes);
        assert_int_equal(fseek(file, (long)(8 + length) + begin, SEEK_SET), 0);
        assert_int_equal(fread(weights, 1, bytes, file), bytes);
        assert_memory_equal(weights, spade_trace_weights(trace, l), bytes);
        free(weights);
    }
    json_decref(json);
    free(header);
    fclose(file);
    unlink(path);
    spade_trace_destroy(trace);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* One layer only: the others are the network's; the times and the baselines' losses make sense. */
static void test_single_layer_and_baselines(void **state)
{
    (void)state;
    spade_context *context = golden_context(2, 0);
    spade_model *model = golden_model(context, "mobilenet");
    const char *include[] = {"features.2.block.1.0", "classifier.0"};
    double losses[3];
    const spade_solver solvers[] = {SPADE_SOLVER_FAST, SPADE_SOLVER_MAGNITUDE, SPADE_SOLVER_RANDOM};
    for (int solver = 0; solver < 3; solver++) {
        spade_trace_options options;
        spade_trace *trace = NULL;
        spade_array variants;
        spade_batch *batch = golden_batch(context, 16, &variants);
        double seconds[3];
        spade_trace_options_init(&options);
        options.solver = solvers[solver];
        options.include = include;
        options.include_count = 2;
        golden_ok(context, spade_trace_create(context, model, batch, &options, &trace));
        losses[solver] = 0;
        for (int l = 0; l < spade_model_layer_count(model); l++) {
            spade_layer_info info;
            spade_trace_layer result;
            spade_model_layer(model, l, &info);
            spade_trace_layer_info(trace, l, &result);
            bool wanted = strcmp(info.name, include[0]) == 0 || strcmp(info.name, include[1]) == 0;
            assert_int_equal(result.solved, wanted);
            if (!wanted) { assert_ptr_equal(spade_trace_weights(trace, l), spade_model_weights(model, l)); }
            losses[solver] += result.loss;
        }
        spade_trace_seconds(trace, seconds);
        assert_true(seconds[0] > 0 && seconds[1] > 0 && seconds[2] > 0);
        spade_trace_destroy(trace);
        spade_batch_destroy(batch);
        spade_array_clear(&variants);
    }
    assert_true(losses[0] > 0 && losses[0] < losses[1] && losses[1] < losses[2]);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

enum { MANY_BATCHES = 3, MANY_OPTIONS = 6 };

/* Options that share factors, or sums, or nothing: other sparsities, solvers, blocks, counts, layers, precisions. In
 * the fourth the downsample's sums are its own, in the others its sibling's. */
static void many_options(spade_trace_options *options, spade_layer_rule *rules)
{
    static const char *const no_sibling[] = {"layer2.0.conv1", "layer3.0.conv1"};
    for (int i = 0; i < MANY_OPTIONS; i++) { spade_trace_options_init(&options[i]); }
    rules[0] = (spade_layer_rule){.layers = "layer1.*", .set = SPADE_RULE_SPARSITY, .sparsity = 0.9};
    rules[1] = (spade_layer_rule){.layers = "layer2.1.*", .set = SPADE_RULE_PATTERN, .keep = 2, .of = 4};
    rules[2] = (spade_layer_rule){.layers = "fc", .set = SPADE_RULE_SOLVER, .solver = SPADE_SOLVER_EXACT};
    rules[3] = (spade_layer_rule){.layers = "layer4.*", .set = SPADE_RULE_COUNT, .count = SPADE_COUNT_PUBLISHED};
    options[1].rules = options[2].rules = rules;
    options[1].rule_count = 1;
    options[2].rule_count = 4;
    options[2].linear_block = 8;
    options[3].skip = no_sibling;
    options[3].skip_count = 2;
    options[4].hessian = SPADE_FP64;
    options[4].sparsity = 0.8;
    options[5].solver = SPADE_SOLVER_MAGNITUDE;
}

/* Every trace of one call is the trace of a call of its own, to the last bit; with little memory too. */
static void test_many_are_the_single_ones(void **state)
{
    (void)state;
    const uint64_t memory[] = {0, golden_kept(test_device()) + (UINT64_C(26) << 20)};
    spade_trace_options options[MANY_OPTIONS];
    spade_layer_rule rules[4];
    many_options(options, rules);
    for (int m = 0; m < 2; m++) {
        spade_context *context = golden_context(2, memory[m]);
        spade_model *model = golden_model(context, "resnet");
        spade_array variants[MANY_BATCHES];
        spade_batch *batches[MANY_BATCHES];
        spade_trace *many[MANY_BATCHES * MANY_OPTIONS];
        const int64_t counts[] = {8, 11, 9};
        for (int b = 0; b < MANY_BATCHES; b++) { batches[b] = golden_batch(context, counts[b], &variants[b]); }
        golden_ok(context, spade_trace_create_many(context, model, (const spade_batch *const *)batches, MANY_BATCHES,
                                                   options, MANY_OPTIONS, many));
        for (int i = 0; i < MANY_BATCHES * MANY_OPTIONS; i++) {
            spade_context *own_context = golden_context(1, 0);
            spade_model *own_model = golden_model(own_context, "resnet");
            spade_array own_variants;
            spade_batch *batch = golden_batch(own_context, counts[i / MANY_OPTIONS], &own_variants);
            spade_trace *own = NULL;
            golden_ok(own_context, spade_trace_create(own_context, own_model, batch, &options[i % MANY_OPTIONS], &own));
            compare_all(model, many[i], own);
            spade_trace_destroy(own);
            spade_batch_destroy(batch);
            spade_array_clear(&own_variants);
            spade_model_destroy(own_model);
            spade_context_destroy(own_context);
        }
        for (int i = 0; i < MANY_BATCHES * MANY_OPTIONS; i++) { spade_trace_destroy(many[i]); }
        for (int b = 0; b < MANY_BATCHES; b++) {
            spade_batch_destroy(batches[b]);
            spade_array_clear(&variants[b]);
        }
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* A mistake in the last of several options leaves nothing behind. */
static void test_many_are_all_or_nothing(void **state)
{
    (void)state;
    spade_context *context = golden_context(2, 0);
    spade_model *model = golden_model(context, "resnet");
    spade_array variants;
    spade_batch *batch = golden_batch(context, 8, &variants);
    spade_trace_options options[2];
    spade_trace *traces[2];
    const spade_layer_rule rule = {.layers = "nowhere", .set = SPADE_RULE_BLOCK};
    spade_trace_options_init(&options[0]);
    spade_trace_options_init(&options[1]);
    options[1].rules = &rule;
    options[1].rule_count = 1;
    assert_int_equal(spade_trace_create_many(context, model, (const spade_batch *const *)&batch, 1, options, 2, traces),
                     SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(context), "nowhere"));
    assert_null(traces[0]);
    assert_null(traces[1]);
    spade_batch_destroy(batch);
    spade_array_clear(&variants);
    golden_ok(context, spade_trace_create_many(context, model, NULL, 0, options, 1, traces));
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* n:m holds in every row, and the loss is what it should be between the sparsities around it. */
static void test_n_of_m(void **state)
{
    (void)state;
    spade_context *context = golden_context(2, 0);
    spade_model *model = golden_model(context, "resnet");
    spade_array variants;
    spade_batch *batch = golden_batch(context, 16, &variants);
    spade_trace_options options[2];
    spade_trace *traces[2];
    spade_trace_options_init(&options[0]);
    spade_trace_options_init(&options[1]);
    options[0].keep = 2;
    options[0].of = 4;
    options[1].solver = SPADE_SOLVER_MAGNITUDE;
    options[1].keep = 2;
    options[1].of = 4;
    golden_ok(context,
              spade_trace_create_many(context, model, (const spade_batch *const *)&batch, 1, options, 2, traces));
    for (int l = 0; l < spade_model_layer_count(model); l++) {
        spade_layer_info info;
        spade_trace_layer result, magnitude;
        spade_model_layer(model, l, &info);
        if (!info.prunable) { continue; }
        const float *weights = spade_trace_weights(traces[0], l);
        int64_t k = info.columns;
        for (int64_t r = 0; r < info.rows; r++) {
            for (int64_t from = 0; from < k; from += 4) {
                int stay = 0;
                for (int64_t j = from; j < from + 4 && j < k; j++) { stay += weights[r * k + j] != 0; }
                assert_true(stay <= 2);
            }
        }
        spade_trace_layer_info(traces[0], l, &result);
        spade_trace_layer_info(traces[1], l, &magnitude);
        assert_true(result.sparsity == 0.5);
        assert_true(result.zeros >= info.rows * (k / 4) * 2);
        assert_true(result.loss > 0 && result.loss < magnitude.loss);
    }
    spade_trace_destroy(traces[0]);
    spade_trace_destroy(traces[1]);
    spade_batch_destroy(batch);
    spade_array_clear(&variants);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_memory_change_no_bit),
        cmocka_unit_test(test_onnx_loads_again),
        cmocka_unit_test(test_safetensors_hold_every_layer),
        cmocka_unit_test(test_single_layer_and_baselines),
        cmocka_unit_test(test_many_are_the_single_ones),
        cmocka_unit_test(test_many_are_all_or_nothing),
        cmocka_unit_test(test_n_of_m),
    };
    return cmocka_run_group_tests_name("golden traces", tests, NULL, NULL);
}
