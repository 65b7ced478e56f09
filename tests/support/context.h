/* context.h - a context for a test: on this device, with so many threads (0: all). The test fails where there is none. */
#ifndef SPADE_TEST_CONTEXT_H
#define SPADE_TEST_CONTEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "spade/context.h"
#include "support/device.h"

static inline spade_context *test_context(const char *device, int threads)
{
    spade_context_options options;
    spade_context *context = NULL;
    spade_context_options_init(&options);
    options.device = device;
    options.threads = threads;
    if (spade_context_create(&options, &context) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return context;
}

#endif
