/*
 * golden.h - what the golden tests of Hessians and traces share: contexts, models, the batch, arrays by name. Public
 * headers only.
 */
#ifndef SPADE_TEST_GOLDEN_H
#define SPADE_TEST_GOLDEN_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/device.h"
#include "spade/spade.h"

static const char *const golden_networks[] = {"resnet", "mobilenet", "vit"};
enum { GOLDEN_NETWORKS = 3 };

static inline spade_context *golden_context_on(const char *device, int threads, uint64_t memory)
{
    spade_context_options options;
    spade_context *context = NULL;
    spade_context_options_init(&options);
    options.device = device;
    options.threads = threads;
    options.memory = memory;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    return context;
}

/* What an open device keeps of a budget at most: it says what it takes when it gets nothing. */
static inline uint64_t golden_kept(const char *device)
{
    spade_context_options options;
    spade_context *context = NULL;
    spade_context_options_init(&options);
    options.device = device;
    options.memory = 1;
    uint64_t bytes = 0;
    if (spade_context_create(&options, &context) != SPADE_OK) {
        const char *at = strstr(spade_message(context), "--memory ");
        assert_non_null(at);
        bytes = strtoull(at + strlen("--memory "), NULL, 10) << 20;
    }
    spade_context_destroy(context);
    return bytes;
}

static inline spade_context *golden_context(int threads, uint64_t memory)
{
    return golden_context_on(test_device(), threads, memory);
}

/* Prints the message of a failure before the test stops. */
static inline void golden_ok(spade_context *context, spade_status status)
{
    if (status != SPADE_OK) { print_error("%s: %s\n", spade_status_name(status), spade_message(context)); }
    assert_int_equal(status, SPADE_OK);
}

static inline spade_model *golden_model(spade_context *context, const char *network)
{
    char path[512];
    spade_model *model = NULL;
    snprintf(path, sizeof path, "%s/models/scene_%s.onnx", SPADE_TEST_DATA, network);
    golden_ok(context, spade_model_load(context, path, NULL, &model));
    return model;
}

/* arrays/NETWORK/KIND/LAYER.npy; KIND NULL: arrays/LAYER.npy. false where there is none. */
static inline bool golden_array(spade_context *context, const char *network, const char *kind, const char *name,
                                spade_array *out)
{
    char path[512];
    if (kind) {
        snprintf(path, sizeof path, "%s/arrays/%s/%s/%s.npy", SPADE_TEST_DATA, network, kind, name);
    } else {
        snprintf(path, sizeof path, "%s/arrays/%s.npy", SPADE_TEST_DATA, name);
    }
    FILE *file = fopen(path, "rb");
    if (!file) { return false; }
    fclose(file);
    golden_ok(context, spade_array_load(context, path, 0, out));
    return true;
}

/* The first n of the 48 variants behind every golden Hessian (0: all); `array` owns the numbers. */
static inline spade_batch *golden_batch(spade_context *context, int64_t n, spade_array *array)
{
    spade_batch *batch = NULL;
    assert_true(golden_array(context, NULL, NULL, "batch", array));
    assert_int_equal(array->rank, 4);
    golden_ok(context, spade_batch_from_array(context, array->data, n ? n : array->dims[0], array->dims[1],
                                              array->dims[2], array->dims[3], &batch));
    return batch;
}

#endif
