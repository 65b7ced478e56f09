/*
 * test_convolution.c - which of cuDNN's engines computes a convolution, and what follows from it: precision, fusion,
 * padding in memory, refusals, the file of timed choices. On the emulated backend, whose engines dnn_standin.h lists:
 *   0 tensor cores, 1 Winograd, 2 nondeterministic, 3 channels-last and fused, 4 convolution alone, 5 a huge workspace,
 *   6 row-major alone, by its number only. 4 is faster than 3, and comes after it.
 */
#include <inttypes.h>
#include <math.h>
#include <sys/stat.h>

#include "support/budget.h"
#include "support/command.h"
#include "support/cases.h"

/* What the backend said while a context was open. */
typedef struct journal {
    char plan[512];    /* the last line about a planned convolution */
    char warning[512]; /* the last warning */
    int plans;
} journal;

static void note(void *user, spade_log_level level, const char *line)
{
    journal *j = user;
    if (level == SPADE_LOG_WARNING) { snprintf(j->warning, sizeof j->warning, "%s", line); }
    if (!strstr(line, "cuDNN's engine") && !strstr(line, "a product by")) { return; }
    snprintf(j->plan, sizeof j->plan, "%s", line);
    j->plans++;
}

static spade_context *open_context(spade_network_precision precision, uint64_t memory, journal *j)
{
    spade_context_options options;
    spade_context *context;
    *j = (journal){0};
    spade_context_options_init(&options);
    options.device = "cuda";
    options.precision = precision;
    options.log = note;
    options.user = j;
    spade_status status = spade_context_create(&options, &context);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    test_set_budget(context, memory);
    return context;
}

/* 3x3, padding 1, channels-last. */
static spade_op_desc layer(spade_op_kind kind, int64_t inputs, int64_t outputs, int64_t groups)
{
    return (spade_op_desc){.kind = kind,
                           .a = {4, {2, inputs, 9, 7}, SPADE_CHANNELS_LAST},
                           .y = {4, {2, outputs, 9, 7}, SPADE_CHANNELS_LAST},
                           .window = {{3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
                           .groups = groups,
                           .relu = kind == SPADE_OP_CONVOLUTION};
}

static int engine_of(const journal *j)
{
    const char *at = strstr(j->plan, "engine ");
    return at ? atoi(at + strlen("engine ")) : -1;
}

static bool says(const journal *j, const char *word)
{
    return strstr(j->plan, word) != NULL;
}

/* Largest error against the reference, as a share of the largest result. */
static double run_error(spade_context *context, const spade_op_desc *desc)
{
    random_stream random = {.key = 4711};
    case_data data;
    case_data_draw(&random, desc, &data);
    size_t n = (size_t)reference_size(desc);
    double *expected = malloc(n * sizeof *expected), error = 0, size = 0;
    float *got = malloc(n * sizeof *got);
    assert_true(expected && got);
    reference_args args = case_reference(&data);
    reference_run(desc, &args, expected);
    if (case_run(context->device, desc, &data, got) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(got[i]));
        error = fmax(error, fabs(got[i] - expected[i]));
        size = fmax(size, fabs(expected[i]));
    }
    free(expected);
    free(got);
    case_data_clear(&data);
    return error / size;
}

static void plan_once(spade_context *context, const spade_op_desc *desc)
{
    spade_op *op;
    if (context->device->backend->plan(context->device, desc, &op) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    context->device->backend->destroy(op);
}

/* Run in a fresh context with these engines; the journal says what was taken. */
static void check_run(spade_network_precision precision, const char *engines, const spade_op_desc *desc,
                      double tolerance, journal *j)
{
    if (engines) { setenv("SPADE_STANDIN_ENGINES", engines, 1); }
    spade_context *context = open_context(precision, 0, j);
    double error = run_error(context, desc);
    if (error > tolerance) { fail_msg("%s: error %g", j->plan, error); }
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
    unsetenv("SPADE_STANDIN_ENGINES");
}

/* ---- failures on purpose. First of all tests: the stand-ins count their calls from the start of the process. */

static void test_refusals(void **state)
{
    (void)state;
    journal j;
    spade_op_desc desc = layer(SPADE_OP_CONVOLUTION, 5, 6, 1);
    setenv("SPADE_STANDIN_FAIL", "graph:1", 1); /* the fused one */
    spade_context *context = open_context(SPADE_NETWORK_FP32, 0, &j);
    plan_once(context, &desc);
    assert_int_equal(engine_of(&j), 3);
    assert_false(says(&j, "fused"));
    spade_context_destroy(context);
    setenv("SPADE_STANDIN_FAIL", "engine:4", 1); /* plans of 5 and 3 twice: 3 in the fused graph */
    context = open_context(SPADE_NETWORK_FP32, 0, &j);
    plan_once(context, &desc);
    assert_int_equal(engine_of(&j), 3);
    assert_false(says(&j, "fused"));
    spade_context_destroy(context);
    setenv("SPADE_STANDIN_FAIL", "cudnnBackendExecute:1", 1);
    context = open_context(SPADE_NETWORK_FP32, 0, &j);
    random_stream random = {.key = 1};
    float out[2 * 6 * 9 * 7];
    case_data data;
    case_data_draw(&random, &desc, &data);
    assert_int_equal(case_run(context->device, &desc, &data, out), SPADE_ERROR_DEVICE);
    assert_non_null(strstr(spade_message(context), "convolution [2, 5, 9, 7] -> [2, 6, 9, 7]"));
    case_data_clear(&data);
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
    unsetenv("SPADE_STANDIN_FAIL");
}

/* ---- engines */

static void test_float32_stays_float32(void **state)
{
    (void)state;
    static const spade_op_kind kinds[] = {SPADE_OP_CONVOLUTION, SPADE_OP_CONVOLUTION_BACKWARD};
    journal j;
    spade_context *context = open_context(SPADE_NETWORK_FP32, 0, &j);
    for (int k = 0; k < 2; k++) {
        const case_kind *kind = &case_kinds[0];
        while (kind->kind != kinds[k]) { kind++; }
        for (int i = 0; i < 40; i++) {
            random_stream random = {.key = (uint32_t)(31337 + i)};
            spade_op_desc desc = kind->draw(&random, kinds[k]);
            plan_once(context, &desc);
            int engine = engine_of(&j);
            if (engine != 3 && engine != 4 && engine != 6) { fail_msg("%s", j.plan); }
        }
    }
    spade_context_destroy(context);
    spade_op_desc forward = layer(SPADE_OP_CONVOLUTION, 5, 6, 1), grouped = layer(SPADE_OP_CONVOLUTION, 8, 8, 4);
    check_run(SPADE_NETWORK_FP32, NULL, &forward, 1e-6, &j);
    assert_int_equal(engine_of(&j), 3);
    assert_true(says(&j, "fused"));
    check_run(SPADE_NETWORK_FP32, NULL, &grouped, 1e-6, &j);
    assert_int_equal(engine_of(&j), 4);
    assert_false(says(&j, "fused"));
}

static void test_no_engine(void **state)
{
    (void)state;
    static const spade_op_kind kinds[] = {SPADE_OP_CONVOLUTION, SPADE_OP_CONVOLUTION_BACKWARD};
    static const char *const names[] = {"convolution [2, 5, 9, 7]", "convolution backward [2, 5, 9, 7]"};
    journal j;
    setenv("SPADE_STANDIN_ENGINES", "0125", 1); /* all of them forbidden, or too large */
    spade_context *context = open_context(SPADE_NETWORK_FP32, 0, &j);
    for (int k = 0; k < 2; k++) {
        spade_op_desc desc = layer(kinds[k], 5, 6, 1);
        spade_op *op;
        assert_int_equal(context->device->backend->plan(context->device, &desc, &op), SPADE_ERROR_UNSUPPORTED);
        assert_null(op);
        assert_non_null(strstr(spade_message(context), names[k]));
        assert_non_null(strstr(spade_message(context), "no engine for it in fp32"));
    }
    spade_context_destroy(context);
    unsetenv("SPADE_STANDIN_ENGINES");
}

static void test_lower_precisions(void **state)
{
    (void)state;
    journal j;
    spade_op_desc forward = layer(SPADE_OP_CONVOLUTION, 20, 6, 1), grouped = layer(SPADE_OP_CONVOLUTION, 8, 8, 4);
    spade_op_desc backward = layer(SPADE_OP_CONVOLUTION_BACKWARD, 20, 6, 1);
    spade_op_desc odd = forward; /* padded in memory */
    odd.window.pad[2] = 0;
    odd.y.dims[2] = 8;
    const spade_op_desc *const descs[] = {&forward, &grouped, &backward, &odd};
    for (int i = 0; i < 4; i++) {
        check_run(SPADE_NETWORK_TF32, NULL, descs[i], 2e-3, &j);
        assert_int_equal(engine_of(&j), 0);
        assert_false(says(&j, "bfloat16"));
        check_run(SPADE_NETWORK_BF16, NULL, descs[i], 2e-2, &j);
        assert_int_equal(engine_of(&j), 0);
        assert_true(says(&j, "bfloat16") == (descs[i] != &grouped)); /* for which there is TF32 only */
        check_run(SPADE_NETWORK_TF32, "34", descs[i], 1e-6, &j);     /* a permission: without tensor cores, float32 */
    }
    /* It does round: the tolerances above are not those of float32. */
    spade_context *context = open_context(SPADE_NETWORK_BF16, 0, &j);
    assert_true(run_error(context, &forward) > 1e-4);
    spade_context_destroy(context);
}

static void test_cpu_is_float32(void **state)
{
    (void)state;
    spade_context_options options;
    spade_context *context;
    for (int precision = SPADE_NETWORK_FP32; precision <= SPADE_NETWORK_BF16 + 1; precision++) {
        spade_context_options_init(&options);
        options.device = "cpu";
        options.precision = (spade_network_precision)precision;
        bool fine = precision == SPADE_NETWORK_FP32;
        assert_int_equal(spade_context_create(&options, &context), fine ? SPADE_OK : SPADE_ERROR_ARGUMENT);
        assert_true(fine || strstr(spade_message(context), "precision") || strstr(spade_message(context), "fp32 only"));
        spade_context_destroy(context);
    }
}

/* ---- ways */

static void test_ways(void **state)
{
    (void)state;
    journal j;
    spade_op_desc forward = layer(SPADE_OP_CONVOLUTION, 5, 6, 1), backward = forward;
    check_run(SPADE_NETWORK_FP32, "4", &forward, 1e-6, &j); /* no fusion: bias and relu in a kernel */
    assert_false(says(&j, "fused") || says(&j, "padded") || says(&j, "row-major"));
    check_run(SPADE_NETWORK_FP32, "6", &forward, 1e-6, &j); /* through row-major copies */
    assert_true(says(&j, "row-major") && !says(&j, "padded"));
    /* padding that differs between the sides */
    forward.window.pad[0] = 0;
    forward.window.pad[3] = 2;
    forward.y.dims[2] = 8;
    forward.y.dims[3] = 8;
    backward = forward;
    backward.kind = SPADE_OP_CONVOLUTION_BACKWARD;
    backward.relu = false;
    check_run(SPADE_NETWORK_FP32, NULL, &forward, 1e-6, &j);
    assert_true(engine_of(&j) == 3 && says(&j, "padded") && says(&j, "fused"));
    check_run(SPADE_NETWORK_FP32, "4", &forward, 1e-6, &j);
    assert_true(says(&j, "padded") && !says(&j, "fused"));
    check_run(SPADE_NETWORK_FP32, "4", &backward, 1e-6, &j);
    assert_true(says(&j, "padded"));
    check_run(SPADE_NETWORK_FP32, "6", &backward, 1e-6, &j);
    assert_true(says(&j, "row-major") && says(&j, "padded"));
}

/* One pixel at a time, channels-last: a product, first in float32, behind cuDNN's best in TF32. */
static void test_products(void **state)
{
    (void)state;
    journal j;
    spade_op_desc forward = layer(SPADE_OP_CONVOLUTION, 5, 6, 1);
    forward.window = (spade_window){{1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}};
    spade_op_desc backward = forward, other[4] = {forward, forward, forward, forward};
    backward.kind = SPADE_OP_CONVOLUTION_BACKWARD;
    backward.relu = false;
    check_run(SPADE_NETWORK_FP32, NULL, &forward, 1e-6, &j);
    assert_true(says(&j, "a product by cuBLAS, channels last, workspace 0 bytes"));
    check_run(SPADE_NETWORK_FP32, NULL, &backward, 1e-6, &j);
    assert_true(says(&j, "a product by cuBLAS"));
    check_run(SPADE_NETWORK_TF32, NULL, &forward, 2e-3, &j);
    assert_int_equal(engine_of(&j), 0);
    check_run(SPADE_NETWORK_TF32, "4", &forward, 2e-3, &j); /* before the fall-back */
    assert_true(says(&j, "a product by cuBLAS"));
    check_run(SPADE_NETWORK_BF16, NULL, &forward, 2e-2, &j);
    assert_int_equal(engine_of(&j), 0);
    other[0].window.stride[0] = 2, other[0].y.dims[2] = 5;
    other[1].window.pad[3] = 1, other[1].y.dims[3] = 8;
    other[2].a.layout = SPADE_ROW_MAJOR;
    other[3].a.dims[1] = 6, other[3].groups = 2;
    for (int i = 0; i < 4; i++) {
        check_run(SPADE_NETWORK_FP32, NULL, &other[i], 1e-6, &j);
        assert_true(engine_of(&j) >= 0);
    }
}

/* The same convolution is searched for once; a relu more makes it another one. */
static void test_planned_once(void **state)
{
    (void)state;
    journal j;
    spade_op_desc desc = layer(SPADE_OP_CONVOLUTION, 5, 6, 1);
    spade_context *context = open_context(SPADE_NETWORK_FP32, 0, &j);
    for (int i = 0; i < 3; i++) { plan_once(context, &desc); }
    assert_int_equal(j.plans, 1);
    desc.relu = false;
    plan_once(context, &desc);
    assert_int_equal(j.plans, 2);
    spade_context_destroy(context);
}

/* ---- the file of timed choices */

/* The engine that a fresh context takes; the journal's warning stays. */
static int take_engine(journal *j)
{
    spade_op_desc desc = layer(SPADE_OP_CONVOLUTION, 5, 6, 1);
    spade_context *context = open_context(SPADE_NETWORK_FP32, 0, j);
    plan_once(context, &desc);
    assert_string_equal(spade_message(context), "");
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
    return engine_of(j);
}

static int tuned_engine(journal *j)
{
    setenv("SPADE_CUDA_TUNE", "1", 1);
    int engine = take_engine(j);
    unsetenv("SPADE_CUDA_TUNE");
    return engine;
}

static void test_choice_is_kept(void **state)
{
    (void)state;
    journal j;
    char *folder = folder_make(), path[256];
    snprintf(path, sizeof path, "%s/spade/convolutions", folder);
    setenv("XDG_CACHE_HOME", folder, 1);
    assert_int_equal(take_engine(&j), 3);
    assert_false(file_exists(path)); /* nobody asked for a timing */
    assert_int_equal(tuned_engine(&j), 4);
    assert_string_equal(j.warning, "");
    size_t size = 0, again = 0;
    char *text = file_read(path, &size);
    assert_non_null(text);
    assert_non_null(strstr(text, "\nstand-in\t91300\tforward 2x5x9x7 last to 6x9x7 last kernel 3x3"));
    assert_int_equal(take_engine(&j), 4);
    setenv("SPADE_STANDIN_ENGINES", "35", 1); /* nothing to choose from: the entry is of another library */
    assert_int_equal(take_engine(&j), 3);
    unsetenv("SPADE_STANDIN_ENGINES");
    setenv("SPADE_CUDA_CACHE", "off", 1);
    assert_int_equal(take_engine(&j), 3);
    assert_int_equal(tuned_engine(&j), 3);
    unsetenv("SPADE_CUDA_CACHE");
    setenv("SPADE_STANDIN_CUDNN", "91400", 1); /* another cuDNN: not its choice, and it keeps its own beside it */
    assert_int_equal(take_engine(&j), 3);
    assert_int_equal(tuned_engine(&j), 4);
    unsetenv("SPADE_STANDIN_CUDNN");
    char *both = file_read(path, &again);
    assert_true(again > size && strstr(both, "\t91400\t") && strncmp(both, text, size) == 0);
    assert_int_equal(take_engine(&j), 4);
    free(text);
    free(both);
    unsetenv("XDG_CACHE_HOME");
    folder_remove(folder);
}

/* The file with one entry, its checksum right: GPU, candidate and engine as given. */
static void write_entry(const char *path, const char *entry, const char *gpu, int candidate, int engine)
{
    char line[1024], file[1200];
    int key = (int)strcspn(strchr(strchr(entry, '\t') + 1, '\t') + 1, "\t");
    const char *at = strchr(strchr(entry, '\t') + 1, '\t') + 1;
    int length = snprintf(line, sizeof line, "%s\t91300\t%.*s\t%d\t%d", gpu, key, at, candidate, engine);
    int all = snprintf(file, sizeof file, "spade convolutions 1\n%s\t%016" PRIx64 "\n", line,
                       spade_hash(line, (size_t)length, 0));
    file_write(path, file, (size_t)all);
}

static void test_bad_files(void **state)
{
    (void)state;
    journal j;
    char *folder = folder_make(), path[256];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/spade/convolutions", folder);
    setenv("XDG_CACHE_HOME", folder, 1);
    assert_int_equal(tuned_engine(&j), 4);
    char *text = file_read(path, &size);
    assert_non_null(text);
    const char *entry = strchr(text, '\n') + 1;
    assert_non_null(strstr(entry, "\t4\t")); /* "engine 4": the numbers that the entries below change */
    int candidate = atoi(strstr(entry, "fp32\t") + strlen("fp32\t"));
    write_entry(path, entry, "stand-in", candidate, 4);
    assert_int_equal(take_engine(&j), 4);
    write_entry(path, entry, "another GPU", candidate, 4);
    assert_int_equal(take_engine(&j), 3);
    write_entry(path, entry, "stand-in", candidate, 3);
    assert_int_equal(take_engine(&j), 3);
    write_entry(path, entry, "stand-in", 1000, 4);
    assert_int_equal(take_engine(&j), 3);
    write_entry(path, entry, "stand-in", -1, 4);
    assert_int_equal(take_engine(&j), 3);
    for (size_t i = 0; i < size; i++) { /* any one byte another: the entry does not count */
        if (i % 7) { continue; }
        text[i] ^= 1;
        file_write(path, text, size);
        assert_int_equal(take_engine(&j), 3);
        text[i] ^= 1;
        file_write(path, text, i); /* or cut off there */
        assert_int_equal(take_engine(&j), 3);
    }
    file_write(path, "\0\377\t\t\t\n", 6);
    assert_int_equal(take_engine(&j), 3);
    assert_int_equal(tuned_engine(&j), 4); /* and is replaced by a good one */
    assert_int_equal(take_engine(&j), 4);
    free(text);
    unsetenv("XDG_CACHE_HOME");
    folder_remove(folder);
}

static void test_no_place_for_the_file(void **state)
{
    (void)state;
    journal j;
    char *folder = folder_make(), path[256];
    snprintf(path, sizeof path, "%s/file", folder);
    file_write(path, "x", 1);
    setenv("XDG_CACHE_HOME", path, 1);
    assert_int_equal(tuned_engine(&j), 4); /* timed, used, not kept */
    assert_non_null(strstr(j.warning, "not kept"));
    assert_int_equal(take_engine(&j), 3);
    assert_string_equal(j.warning, "");
    setenv("XDG_CACHE_HOME", folder, 1);
    snprintf(path, sizeof path, "%s/spade", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/spade/convolutions", folder);
    assert_int_equal(mkdir(path, 0700), 0); /* where the file should be: cannot be renamed over */
    assert_int_equal(tuned_engine(&j), 4);
    assert_non_null(strstr(j.warning, "not kept"));
    assert_int_equal(rmdir(path), 0);
    /* no memory to time in: the first candidate, and nothing is kept */
    spade_op_desc desc = layer(SPADE_OP_CONVOLUTION, 5, 6, 1);
    setenv("SPADE_CUDA_TUNE", "1", 1);
    spade_context *context = open_context(SPADE_NETWORK_FP32, 1000, &j);
    plan_once(context, &desc);
    assert_int_equal(engine_of(&j), 3);
    assert_non_null(strstr(j.warning, "not timed"));
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
    unsetenv("SPADE_CUDA_TUNE");
    assert_false(file_exists(path));
    unsetenv("XDG_CACHE_HOME");
    folder_remove(folder);
}

int main(void)
{
    /* No choices of the machine's user. */
    setenv("HOME", "/nonexistent", 1);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("SPADE_CUDA_TUNE");
    unsetenv("SPADE_CUDA_CACHE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_float32_stays_float32),
        cmocka_unit_test(test_no_engine),
        cmocka_unit_test(test_lower_precisions),
        cmocka_unit_test(test_cpu_is_float32),
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_planned_once),
        cmocka_unit_test(test_choice_is_kept),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_no_place_for_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
