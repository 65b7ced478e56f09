/*
 * test_results_devices.c - what passes between the host and a device: copies whose memory is the caller's again at once, and
 * the solvers' numbers, which come with the next wait. On every device present.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/device.h"
#include "support/devices.h"

static const char *const devices[] = {"cpu", "cuda"};
enum { DEVICE_COUNT = sizeof devices / sizeof *devices };

static void *take(spade_context *context, size_t bytes)
{
    void *memory;
    ok(context, context->device->backend->alloc(context->device, bytes, "a test", &memory));
    return memory;
}

/* ---- copies */

static unsigned char byte_of(size_t i, size_t key)
{
    return (unsigned char)((i * 131 + key * 7 + (i >> 9)) & 0xff);
}

static void check_copy(spade_context *context, size_t bytes, size_t offset)
{
    const spade_backend *backend = context->device->backend;
    unsigned char *host = malloc(bytes + offset + 1);
    char *memory = take(context, bytes + offset);
    assert_non_null(host);
    for (size_t i = 0; i < bytes; i++) { host[offset + i] = byte_of(i, bytes); }
    ok(context, backend->upload(context->device, memory + offset, host + offset, bytes));
    memset(host, 0xEE, bytes + offset); /* the caller's again */
    ok(context, backend->download(context->device, host + offset, memory + offset, bytes));
    for (size_t i = 0; i < bytes; i++) {
        if (host[offset + i] != byte_of(i, bytes)) { fail_msg("byte %zu of %zu", i, bytes); }
    }
    backend->free(context->device, memory, bytes + offset);
    free(host);
}

/* Many small ones in a row, from one and the same place. */
static void check_small_copies(spade_context *context)
{
    enum { COPIES = 3000, BYTES = 10000 };
    const spade_backend *backend = context->device->backend;
    unsigned char host[BYTES], *all = malloc((size_t)COPIES * BYTES);
    char *memory = take(context, (size_t)COPIES * BYTES);
    assert_non_null(all);
    for (size_t i = 0; i < COPIES; i++) {
        for (size_t j = 0; j < BYTES; j++) { host[j] = byte_of(j, i); }
        ok(context, backend->upload(context->device, memory + i * BYTES, host, BYTES));
    }
    ok(context, backend->download(context->device, all, memory, (size_t)COPIES * BYTES));
    for (size_t i = 0; i < COPIES; i++) {
        for (size_t j = 0; j < BYTES; j += 97) { assert_true(all[i * BYTES + j] == byte_of(j, i)); }
    }
    backend->free(context->device, memory, (size_t)COPIES * BYTES);
    free(all);
}

static void test_copies(void **state)
{
    static const size_t sizes[] = {
        0, 1, 3, 4096, 65, (4 << 20) - 1, 4 << 20, (4 << 20) + 5, 16 << 20, (37 << 20) + 123};
    (void)state;
    for (int d = 0; d < DEVICE_COUNT; d++) {
        spade_context *context = open_device(devices[d], 2, 0);
        if (!context) { continue; }
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) { check_copy(context, sizes[i], i % 3); }
        check_small_copies(context);
        spade_context_destroy(context);
    }
}

/* ---- numbers of the solvers */

/* More problems than any list holds, every seventh of them bad; they are told apart when the host has waited, by
 * whichever call. */
static void check_statuses(spade_context *context, bool by_download)
{
    enum { N = 9001 };
    const spade_backend *backend = context->device->backend;
    double *host = malloc(N * sizeof *host), *hessians = take(context, N * sizeof *host), first;
    uint8_t *dead = take(context, N);
    spade_damp_args *args = calloc(N, sizeof *args);
    assert_true(host && args);
    for (int i = 0; i < N; i++) {
        host[i] = i % 7 == 3 ? NAN : 1 + i;
        args[i] = (spade_damp_args){.k = 1, .damping = 1, .hessian = hessians + i, .dead = dead + i};
    }
    ok(context, backend->upload(context->device, hessians, host, N * sizeof *host));
    ok(context, backend->solver->damp(context->device, args, N));
    for (int i = 0; i < N; i++) { assert_true(args[i].status == SPADE_OK || i % 7 == 3); }
    ok(context, by_download ? backend->download(context->device, &first, hessians, sizeof first)
                            : backend->synchronize(context->device));
    for (int i = 0; i < N; i++) { assert_int_equal(args[i].status, i % 7 == 3 ? SPADE_ERROR_NUMERICAL : SPADE_OK); }
    if (by_download) { assert_true(first == 2); }
    backend->free(context->device, hessians, N * sizeof *host);
    backend->free(context->device, dead, N);
    free(args);
    free(host);
}

/* One sweep on V = I: half of the weights go, those of least magnitude. */
static void check_sweep(spade_context *context, bool finite)
{
    enum { ROWS = 37, K = 70 };
    const spade_backend *backend = context->device->backend;
    double *v = calloc(K * K, sizeof *v);
    float host[ROWS * K];
    assert_non_null(v);
    for (int i = 0; i < K; i++) { v[i * (K + 1)] = 1; }
    for (int i = 0; i < ROWS * K; i++) { host[i] = (float)(1 + i % 101); }
    if (!finite) { host[5 * K + 17] = INFINITY; }
    size_t bytes = backend->solver->sweep_workspace_bytes(context->device, ROWS, K, 16, 0, SPADE_FP64);
    spade_sweep_args args = {.rows = ROWS, .columns = K, .block = 16, .prune = ROWS * 8, .prune_last = ROWS * 3};
    double *on_v = take(context, K * K * sizeof *v);
    float *dense = take(context, sizeof host);
    uint8_t *dead = take(context, K);
    args.v = on_v, args.dense = args.sparse = dense, args.dead = dead, args.workspace = take(context, bytes);
    ok(context, backend->upload(context->device, on_v, v, K * K * sizeof *v));
    ok(context, backend->upload(context->device, dense, host, sizeof host));
    ok(context, backend->zero(context->device, dead, K));
    ok(context, backend->solver->sweep(context->device, &args, 1));
    ok(context, backend->download(context->device, host, dense, sizeof host));
    int64_t zeros = 0;
    for (int i = 0; i < ROWS * K; i++) { zeros += host[i] == 0; }
    assert_int_equal(args.zeros, zeros);
    if (finite) { assert_int_equal(zeros, ROWS * (4 * 8 + 3)); } /* four whole blocks, one of six columns */
    assert_int_equal(args.status, finite ? SPADE_OK : SPADE_ERROR_NUMERICAL);
    assert_true(!finite || args.loss > 0);
    backend->free(context->device, args.workspace, bytes);
    backend->free(context->device, on_v, K * K * sizeof *v);
    backend->free(context->device, dense, sizeof host);
    backend->free(context->device, dead, K);
    free(v);
}

static void test_numbers(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICE_COUNT; d++) {
        spade_context *context = open_device(devices[d], 2, 0);
        if (!context) { continue; }
        check_statuses(context, false);
        check_statuses(context, true);
        check_sweep(context, true);
        check_sweep(context, false);
        assert_int_equal(context->used, context->device->own_bytes);
        spade_context_destroy(context);
    }
}

/* A call that fails: its arguments are the caller's at once, and what was asked for before still comes. */
static void test_a_failing_call(void **state)
{
    (void)state;
    if (!test_is_emulated()) { skip(); }
    spade_context *context = open_device("cuda", 2, 0);
    const spade_backend *backend = context->device->backend;
    double *numbers = take(context, 4 * sizeof *numbers);
    uint8_t *dead = take(context, 1);
    const double values[4] = {NAN, 3, 5, 0};
    spade_damp_args before = {.k = 1, .hessian = numbers, .dead = dead};
    ok(context, backend->upload(context->device, numbers, values, sizeof values));
    ok(context, backend->solver->damp(context->device, &before, 1));
    spade_quadratic_args *args = calloc(2, sizeof *args);
    assert_non_null(args);
    for (int i = 0; i < 2; i++) {
        args[i] = (spade_quadratic_args){.rows = 1, .k = 1, .h = numbers + 1, .d = numbers + 2, .scratch = numbers + 3};
    }
    assert_int_equal(setenv("SPADE_STANDIN_FAIL", "cublasDsymm:2", 1), 0);
    assert_int_equal(backend->solver->quadratic_form(context->device, args, 2), SPADE_ERROR_DEVICE);
    memset(args, 0x5A, 2 * sizeof *args);
    ok(context, backend->synchronize(context->device));
    for (size_t i = 0; i < 2 * sizeof *args; i++) { assert_int_equal(((unsigned char *)args)[i], 0x5A); }
    free(args);
    assert_int_equal(before.status, SPADE_ERROR_NUMERICAL);
    spade_quadratic_args good = {.rows = 1, .k = 1, .h = numbers + 1, .d = numbers + 2, .scratch = numbers + 3};
    ok(context, backend->solver->quadratic_form(context->device, &good, 1));
    ok(context, backend->synchronize(context->device));
    assert_true(good.result == 75);
    backend->free(context->device, numbers, 4 * sizeof *numbers);
    backend->free(context->device, dead, 1);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_a_failing_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
