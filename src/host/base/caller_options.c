/* caller_options.c - option structs of callers that were built with another version. */
#include "base/caller_options.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void spade_caller_options_init(void *options, size_t size, const void *defaults, size_t own_size)
{
    if (size < sizeof size) { return; }
    memset(options, 0, size);
    memcpy(options, defaults, smaller(size, own_size));
    memcpy(options, &size, sizeof size);
}

spade_status spade_caller_options_take(spade_context *context, const char *name, const void *options, void *own,
                                       size_t own_size)
{
    const unsigned char *bytes = options;
    size_t size;
    memcpy(&size, bytes, sizeof size);
    if (size < sizeof size || size > SPADE_MAX_OPTIONS_BYTES) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: a size of %zu bytes: call %s_init() first", name, size,
                          name);
    }
    for (size_t i = own_size; i < size; i++) {
        if (!bytes[i]) { continue; }
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "%s: made for a newer libspade than this one: an option that it does not know is set", name);
    }
    memcpy(own, options, smaller(size, own_size));
    memcpy(own, &own_size, sizeof own_size);
    return SPADE_OK;
}
