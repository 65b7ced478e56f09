/* devices.c - see helper_device.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/devices.h"

spade_context *open_device(const char *device, int threads, uint64_t memory)
{
    spade_context_options options;
    spade_context *context;
    spade_context_options_init(&options);
    options.device = device;
    options.threads = threads;
    options.memory = memory;
    spade_status status = spade_context_create(&options, &context);
    if (status == SPADE_OK) { return context; }
    assert_int_equal(status, SPADE_ERROR_DEVICE);
    printf("skipped: %s\n", spade_message(context));
    spade_context_destroy(context);
    return NULL;
}

void ok(spade_context *context, spade_status status)
{
    if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
}

void *make(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    assert_non_null(memory);
    return memory;
}

void *to_device(spade_context *context, const void *from, size_t bytes)
{
    const spade_backend *backend = context->device->backend;
    void *there, *noise = make(bytes);
    memset(noise, 0xA5, bytes);
    ok(context, backend->alloc(context->device, bytes, "a test", &there));
    ok(context, backend->upload(context->device, there, from ? from : noise, bytes));
    free(noise);
    return there;
}
