/*
 * test_cuda_failures_devices.c - what a CUDA device that fails is told as: no driver, no memory, a device that is lost, at
 * every call at which it can happen. On the emulated backend only, whose stand-ins fail on purpose (SPADE_STANDIN_FAIL
 * and SPADE_STANDIN_MEMORY, tests/emu/standin.h); elsewhere each test says that it was skipped.
 *
 * A stand-in counts its calls from the beginning of the process, and a lost device stays lost: every scenario is a
 * process of its own.
 */
#include <math.h>
#include <sys/mman.h>

#include "backend/backend.h"
#include "support/budget.h"
#include "support/command.h"
#include "support/targets.h"
#include "spade/attribution.h"

static bool emulated(void)
{
    const char *library = getenv("SPADE_CUDA_LIBRARY");
    bool here = library && strstr(library, "emulated");
    if (!here) { printf("skipped: SPADE_CUDA_LIBRARY does not name the emulated backend\n"); }
    return here;
}

/* What a scenario leaves for the test, in memory that both processes share. */
typedef struct outcome {
    spade_status status;
    bool finished;
    char message[1024];
    uint64_t used; /* bytes still charged when everything was given back, beside the device's own */
} outcome;

typedef spade_status (*scenario_fn)(spade_context *context);

/* Opens the device and runs the scenario in a child process whose stand-ins fail as `fail` says (NULL: they do not). */
static outcome run_apart(const char *fail, const char *memory, uint64_t budget, scenario_fn scenario)
{
    outcome *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        spade_context_options options;
        spade_context *context;
        if (fail) { setenv("SPADE_STANDIN_FAIL", fail, 1); }
        if (memory) { setenv("SPADE_STANDIN_MEMORY", memory, 1); }
        spade_context_options_init(&options);
        options.device = "cuda";
        options.threads = 1;
        shared->status = spade_context_create(&options, &context);
        if (shared->status == SPADE_OK) { test_set_budget(context, budget); }
        if (shared->status == SPADE_OK && scenario) { shared->status = scenario(context); }
        shared->used = context->used - (context->device ? context->device->own_bytes : 0);
        snprintf(shared->message, sizeof shared->message, "%s", spade_message(context));
        spade_context_destroy(context);
        shared->finished = true;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    outcome result = *shared;
    munmap(shared, sizeof *shared);
    assert_true(result.finished);
    assert_int_equal(result.used, 0);
    return result;
}

/* A failure is one line that names the device. */
static void expect_line(const outcome *result)
{
    assert_true(result->message[0] != '\0' && !strchr(result->message, '\n'));
    if (!strstr(result->message, "cuda:0")) { fail_msg("no device in \"%s\"", result->message); }
}

static void expect_words(const char *text, const char *words)
{
    if (!strstr(text, words)) { fail_msg("no \"%s\" in \"%s\"", words, text); }
}

/* ---- a little of everything: memory both ways, a packed product, a pooling, variants, a loss */

enum { SIDE = 8, ROWS = 6, COLUMNS = 5 };

typedef struct pieces {
    spade_op *linear, *pool;
    void *buffers[4];
    size_t sizes[4];
} pieces;

static spade_status run_operations(spade_context *context, pieces *p)
{
    const spade_backend *backend = context->device->backend;
    spade_device *device = context->device;
    const spade_op_desc linear = {
        .kind = SPADE_OP_LINEAR, .a = {2, {3, COLUMNS}, 0}, .y = {2, {3, ROWS}, 0}, .relu = true};
    const spade_op_desc pool = {.kind = SPADE_OP_POOL,
                                .a = {4, {1, 3, SIDE, SIDE}, 0},
                                .y = {4, {1, 3, 1, 1}, 0},
                                .window = {{SIDE, SIDE}, {1, 1}, {1, 1}, {0, 0, 0, 0}}};
    float host[3 * SIDE * SIDE], weights[ROWS * COLUMNS], scale[ROWS];
    spade_preprocess preprocess;
    spade_preprocess_init(&preprocess, SIDE, SIDE);
    spade_variant variant = {.height = SIDE, .width = SIDE, .brightness = 1.2, .contrast = 0.7, .saturation = 1.1};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) { host[i] = (float)(i % 17) / 17.0f; }
    for (int i = 0; i < ROWS * COLUMNS; i++) { weights[i] = (float)(i % 5); }
    for (int i = 0; i < ROWS; i++) { scale[i] = (float)i; }
    SPADE_TRY(backend->plan(device, &linear, &p->linear));
    SPADE_TRY(backend->plan(device, &pool, &p->pool));
    for (int i = 0; i < 4; i++) {
        p->sizes[i] = i == 3 ? backend->packed_bytes(p->linear) : sizeof host;
        SPADE_TRY(backend->alloc(device, p->sizes[i], "a test", &p->buffers[i]));
    }
    spade_op_args args = {
        .a = p->buffers[0], .packed = p->buffers[3], .workspace = p->buffers[2], .out = p->buffers[1]};
    SPADE_TRY(backend->upload(device, p->buffers[0], host, sizeof host));
    SPADE_TRY(backend->zero(device, p->buffers[2], p->sizes[2]));
    SPADE_TRY(backend->upload(device, p->buffers[1], weights, sizeof weights));
    SPADE_TRY(backend->upload(device, p->buffers[2], scale, sizeof scale));
    SPADE_TRY(backend->pack(p->linear, p->buffers[1], p->buffers[2], p->buffers[3]));
    SPADE_TRY(backend->run(p->linear, &args));
    SPADE_TRY(backend->run(p->pool, &args));
    const spade_augment_target to = {.out = p->buffers[1], .layout = SPADE_CHANNELS_LAST, .channels = 3};
    SPADE_TRY(backend->picture->augment(device, p->buffers[0], SIDE, SIDE, &preprocess, &variant, 1, &to));
    SPADE_TRY(backend->zero(device, p->buffers[2], p->sizes[2]));
    spade_quadratic_args loss = {.rows = 2, .k = 3, .h = p->buffers[2], .d = p->buffers[2], .scratch = p->buffers[1]};
    SPADE_TRY(backend->solver->quadratic_form(device, &loss, 1));
    SPADE_TRY(backend->download(device, host, p->buffers[1], sizeof host));
    return backend->synchronize(device);
}

static spade_status a_little_of_everything(spade_context *context)
{
    const spade_backend *backend = context->device->backend;
    pieces p = {0};
    spade_status status = run_operations(context, &p);
    for (int i = 0; i < 4; i++) {
        if (p.buffers[i]) { backend->free(context->device, p.buffers[i], p.sizes[i]); }
    }
    backend->destroy(p.linear);
    backend->destroy(p.pool);
    return status;
}

/* A picture's way to the network's input and under a map's colours. */
static spade_status a_picture_and_its_overlay(spade_context *context)
{
    static uint8_t rgb[20 * 30 * 3];
    static float input[3 * SIDE * SIDE], map[SIDE * SIDE];
    spade_picture picture = {.height = 20, .width = 30, .rgb = rgb}, cropped = {0}, overlay = {0};
    spade_preprocess preprocess;
    spade_preprocess_init(&preprocess, SIDE, SIDE);
    spade_status status = spade_preprocess_apply(context, &preprocess, &picture, input, &cropped);
    if (status == SPADE_OK) { status = spade_heatmap(context, &cropped, map, 1, true, &overlay); }
    spade_picture_clear(&cropped);
    spade_picture_clear(&overlay);
    return status;
}

/* Maps of two classes of a whole network, in one micro-batch: a larger one would be halved where there is no memory for it. */
static spade_status two_maps(spade_context *context)
{
    static float input[3 * 64 * 64], maps[2 * 3 * 64 * 64];
    const int64_t classes[2] = {3, 1};
    spade_attribution *method;
    spade_model *model;
    SPADE_TRY(spade_model_load(context, SPADE_TEST_DATA "/models/scene_resnet.onnx", NULL, &model));
    spade_status status = spade_attribution_create(context, "integrated_gradients:steps=2", &method);
    if (status == SPADE_OK) {
        status = spade_attribute(context, model, NULL, method, input, targets_of(classes, 2), 2, maps, NULL);
    }
    spade_attribution_destroy(method);
    spade_model_destroy(model);
    return status;
}

/* Fail the first, the second, ... call of `name` until all goes well: each time one line and the status that fits. */
static int fail_each_of(scenario_fn scenario, const char *name, spade_status expected)
{
    enum { MOST = 200 };
    for (int call = 1; call < MOST; call++) {
        char fail[64];
        snprintf(fail, sizeof fail, "%s:%d", name, call);
        outcome result = run_apart(fail, NULL, 0, scenario);
        if (result.status == SPADE_OK) { return call - 1; }
        if (result.status != expected) { fail_msg("%s: status %d, \"%s\"", fail, result.status, result.message); }
        expect_line(&result);
    }
    fail_msg("%s never stops failing", name);
    return 0;
}

static int fail_each(const char *name, spade_status expected)
{
    return fail_each_of(a_little_of_everything, name, expected);
}

/* ---- tests */

static void test_nothing_fails(void **state)
{
    (void)state;
    if (!emulated()) { return; }
    outcome result = run_apart(NULL, NULL, 0, a_little_of_everything);
    if (result.status != SPADE_OK) { fail_msg("%s", result.message); }
}

static void test_lost_device(void **state)
{
    (void)state;
    if (!emulated()) { return; }
    int calls = fail_each("lost", SPADE_ERROR_DEVICE);
    assert_true(calls > 20); /* opening, and every call after it */
    assert_true(fail_each("cublasSgemm", SPADE_ERROR_DEVICE) == 1);
    assert_true(fail_each("cublasDsymm", SPADE_ERROR_DEVICE) == 1);
}

static void test_no_memory_at_each_call(void **state)
{
    (void)state;
    if (!emulated()) { return; }
    assert_int_equal(fail_each("cudaMallocFromPoolAsync", SPADE_ERROR_MEMORY),
                     8); /* cuBLAS, 4 buffers, filters, a solver's 2 */
}

/* Pictures and maps give back what they had, wherever they fail. */
static void test_pictures_and_maps(void **state)
{
    (void)state;
    if (!emulated()) { return; }
    assert_int_equal(fail_each_of(a_picture_and_its_overlay, "cudaMallocFromPoolAsync", SPADE_ERROR_MEMORY),
                     4); /* cuBLAS, 3 buffers */
    assert_true(fail_each_of(a_picture_and_its_overlay, "lost", SPADE_ERROR_DEVICE) > 15);
    assert_true(fail_each_of(two_maps, "cudaMallocFromPoolAsync", SPADE_ERROR_MEMORY) > 10);
}

static spade_status too_large_then_fitting(spade_context *context)
{
    const spade_backend *backend = context->device->backend;
    void *small, *large, *next;
    char message[sizeof context->message];
    SPADE_TRY(backend->alloc(context->device, 1 << 20, "a small piece", &small));
    spade_status status = backend->alloc(context->device, 4 << 20, "a large piece", &large);
    snprintf(message, sizeof message, "%s", spade_message(context));
    bool goes_on = !large && backend->alloc(context->device, 2 << 20, "the next piece", &next) == SPADE_OK &&
                   backend->zero(context->device, next, 2 << 20) == SPADE_OK &&
                   backend->synchronize(context->device) == SPADE_OK;
    if (!goes_on) { return spade_fail(context, SPADE_ERROR_INTERNAL, "the device does not go on"); }
    backend->free(context->device, next, 2 << 20);
    backend->free(context->device, small, 1 << 20);
    return spade_fail(context, status, "%s", message);
}

/* The message has the number that would fit; the device goes on. */
static void test_out_of_memory(void **state)
{
    (void)state;
    if (!emulated()) { return; }
    outcome result = run_apart(NULL, "37748736", 0, too_large_then_fitting); /* 36 MiB, 32 of them cuBLAS's */
    assert_int_equal(result.status, SPADE_ERROR_MEMORY);
    expect_line(&result);
    expect_words(result.message, "a large piece needs 4");
    expect_words(result.message, "the device has 3");
    expect_words(result.message, "left");
    result = run_apart(NULL, NULL, 4 << 20, too_large_then_fitting); /* --memory, before the device is asked */
    assert_int_equal(result.status, SPADE_ERROR_MEMORY);
    expect_words(result.message, "a large piece");
}

static void test_no_driver(void **state)
{
    (void)state;
    if (!emulated()) { return; }
    outcome result = run_apart("cudaGetDeviceCount", NULL, 0, NULL);
    assert_int_equal(result.status, SPADE_ERROR_DEVICE);
    expect_line(&result);
    expect_words(result.message, "driver");
    setenv("SPADE_STANDIN_FAIL", "cudaGetDeviceCount", 1);
    command_result devices = command_run("devices");
    assert_int_equal(devices.code, 0);
    expect_words(devices.out, "cuda     NVIDIA GPU (cannot be used: no CUDA device or no driver for it)\n");
    assert_string_equal(devices.err, "");
    command_result info = command_run("info %s/examples/scene_resnet.onnx --device cuda", SPADE_SOURCE_DIR);
    assert_true(info.code != 0 && info.code > 0);
    assert_string_equal(info.out, "");
    assert_true(strchr(info.err, '\n') == info.err + strlen(info.err) - 1); /* one line */
    expect_words(info.err, "cuda:0");
    expect_words(info.err, "driver");
    unsetenv("SPADE_STANDIN_FAIL");
    command_clear(&devices);
    command_clear(&info);
}

static void test_devices(void **state)
{
    (void)state;
    if (!emulated()) { return; }
    command_result devices = command_run("devices");
    assert_int_equal(devices.code, 0);
    expect_words(devices.out, "\ncuda:0   stand-in, compute capability 9.0, 2 multiprocessors, 8");
    command_clear(&devices);
    command_result second = command_run("info %s/examples/scene_resnet.onnx --device cuda:1", SPADE_SOURCE_DIR);
    assert_true(second.code > 0);
    expect_words(second.err, "device cuda:1: there is 1 CUDA device");
    command_clear(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_fails),
        cmocka_unit_test(test_lost_device),
        cmocka_unit_test(test_no_memory_at_each_call),
        cmocka_unit_test(test_pictures_and_maps),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_no_driver),
        cmocka_unit_test(test_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
