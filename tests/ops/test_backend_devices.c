/* test_backend_devices.c - contexts, device names, refusals of impossible descriptions, memory and vectors of every backend
 * present. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "support/budget.h"
#include "support/devices.h"

static const char *const devices[] = {"cpu", "cuda"};
enum { DEVICE_COUNT = sizeof devices / sizeof *devices };

static void test_device_names(void **state)
{
    static const struct {
        const char *name;
        spade_status status;
    } names[] = {{"cpu", SPADE_OK},
                 {"auto", SPADE_OK},
                 {NULL, SPADE_OK},
                 {"gpu", SPADE_ERROR_ARGUMENT},
                 {"", SPADE_ERROR_ARGUMENT},
                 {"cuda:", SPADE_ERROR_ARGUMENT},
                 {"cuda:x", SPADE_ERROR_ARGUMENT},
                 {"cuda:1x", SPADE_ERROR_ARGUMENT},
                 {"cuda:99999999999", SPADE_ERROR_ARGUMENT},
                 {"cpu:1", SPADE_ERROR_ARGUMENT}};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        spade_context_options options;
        spade_context *context;
        spade_context_options_init(&options);
        options.device = names[i].name;
        assert_int_equal(spade_context_create(&options, &context), names[i].status);
        assert_non_null(context);
        assert_true((names[i].status == SPADE_OK) == (spade_message(context)[0] == '\0'));
        spade_context_destroy(context);
    }
    spade_context_destroy(NULL);
}

static void test_context_options(void **state)
{
    static const int bad_threads[] = {-1, 100000};
    (void)state;
    for (size_t i = 0; i < sizeof bad_threads / sizeof *bad_threads; i++) {
        spade_context_options options;
        spade_context *context;
        spade_context_options_init(&options);
        options.threads = bad_threads[i];
        assert_int_equal(spade_context_create(&options, &context), SPADE_ERROR_ARGUMENT);
        assert_non_null(strstr(spade_message(context), "threads"));
        spade_context_destroy(context);
    }
    spade_context *context;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    assert_true(context->threads >= 1);
    spade_context_destroy(context);
}

static void test_devices_and_versions(void **state)
{
    spade_device_info info[4];
    (void)state;
    int count = spade_devices(info, 4);
    assert_true(count >= 1);
    assert_int_equal(spade_devices(NULL, 0), count);
    assert_string_equal(info[0].name, "cpu");
    assert_true(info[0].threads >= 1 && info[0].memory > 0);
    assert_string_equal(info[0].note, "");
    assert_non_null(strchr(spade_version(), '.'));
    char versions[1024];
    spade_library_versions(versions, sizeof versions);
    assert_non_null(strstr(versions, "oneDNN "));
    assert_non_null(strstr(versions, "OpenBLAS "));
    assert_non_null(strstr(versions, "zlib "));
}

static void check_memory(const char *device)
{
    spade_context *context = open_device(device, 1, 0);
    if (!context) { return; }
    const spade_backend *backend = context->device->backend;
    size_t own = context->device->own_bytes;
    test_set_budget(context, 1000);
    void *first, *second;
    assert_int_equal(backend->alloc(context->device, 600, "the first piece", &first), SPADE_OK);
    assert_int_equal(backend->alloc(context->device, 600, "the second piece", &second), SPADE_ERROR_MEMORY);
    assert_non_null(strstr(spade_message(context), "the second piece"));
    backend->free(context->device, first, 600);
    assert_int_equal(backend->alloc(context->device, 600, "the second piece", &second), SPADE_OK);
    assert_int_equal(backend->zero(context->device, second, 600), SPADE_OK);
    backend->free(context->device, second, 600);
    assert_int_equal(context->used, own);
    assert_int_equal(context->peak, own + 600);
    spade_context_destroy(context);
}

static void test_memory(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICE_COUNT; i++) { check_memory(devices[i]); }
}

/* n numbers at y = offset numbers into their memory: aligned to 16 bytes or not. */
static void check_axpby(spade_context *context, int64_t n, int64_t offset)
{
    const spade_backend *backend = context->device->backend;
    size_t bytes = (size_t)(n + offset) * sizeof(float);
    float *x = malloc(bytes), *y = malloc(bytes);
    void *on_x, *on_y;
    assert_true(x && y);
    for (int64_t i = 0; i < n + offset; i++) { x[i] = (float)i, y[i] = NAN; }
    assert_int_equal(backend->alloc(context->device, bytes, "x", &on_x), SPADE_OK);
    assert_int_equal(backend->alloc(context->device, bytes, "y", &on_y), SPADE_OK);
    assert_int_equal(backend->upload(context->device, on_x, x, bytes), SPADE_OK);
    assert_int_equal(backend->upload(context->device, on_y, y, bytes), SPADE_OK);
    float *to = (float *)on_y + offset;
    assert_int_equal(backend->axpby(context->device, n, 2, on_x, 0, to), SPADE_OK); /* y was NaN: not read */
    assert_int_equal(backend->download(context->device, y, on_y, bytes), SPADE_OK);
    for (int64_t i = 0; i < n; i++) { assert_true(y[offset + i] == 2 * x[i]); }
    assert_int_equal(backend->axpby(context->device, n, -1, on_x, 0.5f, to), SPADE_OK);
    assert_int_equal(backend->download(context->device, y, on_y, bytes), SPADE_OK);
    for (int64_t i = 0; i < n; i++) { assert_true(y[offset + i] == 0); }
    backend->free(context->device, on_x, bytes);
    backend->free(context->device, on_y, bytes);
    free(x);
    free(y);
}

/* The largest magnitude of n numbers at `offset` numbers into their memory, beside one that was there. */
static void check_magnitude(spade_context *context, int64_t n, int64_t offset)
{
    const spade_backend *backend = context->device->backend;
    const float last[] = {0.5f, -3, INFINITY, -INFINITY, NAN, -NAN, FLT_MAX}, before[] = {0, 2, INFINITY};
    size_t bytes = (size_t)(n + offset) * sizeof(float);
    float *x = make(bytes), found;
    for (int64_t i = 0; i < n + offset; i++) { x[i] = i < offset ? NAN : (float)(i % 7) / -7; } /* below 1 */
    float *on_x = to_device(context, x, bytes), *largest = to_device(context, NULL, sizeof found);
    for (size_t b = 0; b < sizeof before / sizeof *before; b++) {
        for (size_t l = 0; l < sizeof last / sizeof *last; l++) {
            const float own = fabsf(last[l]) < 6 / 7.0f ? 6 / 7.0f : fabsf(last[l]);
            ok(context, backend->upload(context->device, on_x + offset + n / 2, &last[l], sizeof *last));
            ok(context, backend->upload(context->device, largest, &before[b], sizeof *before));
            ok(context, backend->magnitude(context->device, n, on_x + offset, largest));
            ok(context, backend->download(context->device, &found, largest, sizeof found));
            assert_true(isnan(own) ? isnan(found) : found == (own > before[b] ? own : before[b]));
        }
    }
    backend->free(context->device, on_x, bytes);
    backend->free(context->device, largest, sizeof found);
    free(x);
}

static void test_magnitude(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 2, 0);
        if (!context) { continue; }
        check_magnitude(context, 200000, 0);
        check_magnitude(context, 50000, 3);
        check_magnitude(context, 49, 1);
        assert_int_equal(context->used, context->device->own_bytes);
        spade_context_destroy(context);
    }
}

static void test_axpby(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 2, 0);
        if (!context) { continue; }
        check_axpby(context, 50000, 0);
        check_axpby(context, 50000, 3);
        check_axpby(context, 49999, 0);
        assert_int_equal(context->used, context->device->own_bytes);
        spade_context_destroy(context);
    }
}

#define WINDOW                                                                                                         \
    {                                                                                                                  \
        {3, 3}, {1, 1}, {1, 1},                                                                                        \
        {                                                                                                              \
            1, 1, 1, 1                                                                                                 \
        }                                                                                                              \
    }
static const spade_op_desc impossible[] = {
    {.kind = SPADE_OP_KIND_COUNT},
    {.kind = SPADE_OP_CONVOLUTION, .a = {4, {1, 3, 8, 8}, 0}, .y = {4, {1, 4, 9, 8}, 0}, .window = WINDOW, .groups = 1},
    {.kind = SPADE_OP_CONVOLUTION, .a = {4, {1, 3, 8, 8}, 0}, .y = {4, {1, 4, 8, 8}, 0}, .window = WINDOW, .groups = 2},
    {.kind = SPADE_OP_CONVOLUTION, .a = {4, {1, 3, 8, 8}, 0}, .y = {4, {1, 4, 8, 8}, 0}, .window = WINDOW, .groups = 0},
    {.kind = SPADE_OP_CONVOLUTION, .a = {3, {3, 8, 8}, 0}, .y = {3, {4, 8, 8}, 0}, .window = WINDOW, .groups = 1},
    {.kind = SPADE_OP_CONVOLUTION, .a = {4, {1, 3, 8, 8}, 0}, .y = {4, {1, 4, 8, 8}, 0}, .groups = 1},
    {.kind = SPADE_OP_POOL, .a = {4, {1, 3, 8, 8}, 0}, .y = {4, {1, 4, 8, 8}, 0}, .window = WINDOW},
    {.kind = SPADE_OP_LINEAR, .a = {2, {8, 5}, 0}, .y = {2, {7, 5}, 0}},
    {.kind = SPADE_OP_MATMUL, .a = {2, {8, 5}, 0}, .b = {2, {6, 7}, 0}, .y = {2, {8, 7}, 0}},
    {.kind = SPADE_OP_POINTWISE,
     .a = {2, {8, 5}, 0},
     .y = {2, {8, 5}, 0},
     .step_count = 1,
     .steps = {{.kind = SPADE_POINTWISE_ADD, .operand = {1, {4}, 0}}}},
    {.kind = SPADE_OP_POINTWISE, .a = {2, {8, 4}, 0}, .y = {2, {8, 5}, 0}, .step_count = 1},
    {.kind = SPADE_OP_POINTWISE, .a = {2, {8, 5}, 0}, .y = {2, {8, 5}, 0}},
    {.kind = SPADE_OP_POINTWISE, .a = {2, {8, 5}, 0}, .y = {2, {8, 5}, 0}, .step_count = SPADE_POINTWISE_STEPS + 1},
    {.kind = SPADE_OP_POINTWISE,
     .a = {2, {8, 5}, 0},
     .y = {2, {8, 5}, 0},
     .step_count = 1,
     .steps = {{.kind = SPADE_POINTWISE_KIND_COUNT}}},
    {.kind = SPADE_OP_POINTWISE,
     .a = {2, {8, 5}, 0},
     .y = {2, {8, 5}, 0},
     .step_count = 1,
     .steps = {{.kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_FUNCTION_COUNT}}},
    {.kind = SPADE_OP_REDUCE_SUM, .a = {1, {4}, 0}, .y = {2, {1, 4}, 0}},
    {.kind = SPADE_OP_SOFTMAX, .a = {2, {8, 5}, 0}, .y = {2, {8, 5}, 0}, .axis = 2},
    {.kind = SPADE_OP_LAYER_NORM, .a = {2, {8, 5}, 0}, .y = {2, {8, 5}, 0}, .axis = 2},
    {.kind = SPADE_OP_LAYER_NORM, .a = {2, {8, 5}, 0}, .y = {2, {8, 5}, 0}, .axis = 1, .epsilon = -1},
    {.kind = SPADE_OP_POINTWISE, .a = {2, {8, 0}, 0}, .y = {2, {8, 0}, 0}, .step_count = 1},
    {.kind = SPADE_OP_POINTWISE,
     .a = {2, {8, 5}, SPADE_CHANNELS_LAST},
     .y = {2, {8, 5}, SPADE_CHANNELS_LAST},
     .step_count = 1},
    {.kind = SPADE_OP_POINTWISE,
     .a = {3, {INT32_MAX, INT32_MAX, INT32_MAX}, 0},
     .y = {3, {INT32_MAX, INT32_MAX, INT32_MAX}, 0},
     .step_count = 1},
};

static void test_impossible_descriptions(void **state)
{
    const spade_op_desc pool = {
        .kind = SPADE_OP_POOL, .a = {4, {1, 3, 8, 8}, 0}, .y = {4, {1, 3, 8, 8}, 0}, .window = WINDOW};
    (void)state;
    for (int d = 0; d < DEVICE_COUNT; d++) {
        spade_context *context = open_device(devices[d], 1, 0);
        if (!context) { continue; }
        const spade_backend *backend = context->device->backend;
        spade_op *op;
        for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
            assert_int_equal(backend->plan(context->device, &impossible[i], &op), SPADE_ERROR_ARGUMENT);
            assert_null(op);
        }
        float nothing = 0;
        assert_int_equal(backend->plan(context->device, &pool, &op), SPADE_OK);
        assert_int_equal(backend->pack(op, &nothing, NULL, &nothing), SPADE_ERROR_ARGUMENT);
        backend->destroy(op);
        backend->destroy(NULL);
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_names),
        cmocka_unit_test(test_context_options),
        cmocka_unit_test(test_devices_and_versions),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_axpby),
        cmocka_unit_test(test_magnitude),
        cmocka_unit_test(test_impossible_descriptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
