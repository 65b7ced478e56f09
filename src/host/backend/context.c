/* context.c - creating and destroying a context, which owns an open device (the rest of it is base/context.c). */
#include <omp.h>

#include "backend/backend.h"
#include "base/caller_options.h"

enum { MAX_THREADS = 1024 };
static const uint64_t MAX_EVICTABLE = (uint64_t)1 << 30; /* on the host */

static const spade_context_options default_options = {.device = "auto"};

void spade_context_options_init_sized(spade_context_options *options, size_t size)
{
    spade_caller_options_init(options, size, &default_options, sizeof default_options);
}

spade_status spade_context_create(const spade_context_options *given, spade_context **out)
{
    spade_context_options own = default_options, *options = &own;
    spade_context *context = calloc(1, sizeof *context);
    *out = context;
    if (!context) { return SPADE_ERROR_MEMORY; }
    if (given) { SPADE_TRY(spade_caller_options_take(context, "spade_context_options", given, &own, sizeof own)); }
    context->budget = options->memory ? options->memory : UINT64_MAX;
    context->log = options->log;
    context->progress = options->progress;
    context->user = options->user;
    if (options->threads < 0 || options->threads > MAX_THREADS) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "threads: %d is not in 0..%d", options->threads,
                          (int)MAX_THREADS);
    }
    if ((unsigned)options->precision > SPADE_NETWORK_BF16) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "there is no precision of number %d", (int)options->precision);
    }
    context->precision = options->precision;
    context->profile = options->profile;
    int available = omp_get_max_threads();
    context->threads = options->threads ? options->threads : available < MAX_THREADS ? available : MAX_THREADS;
    spade_status status = spade_device_open(context, options->device, &context->device);
    /* half of a device of its own: what it is short of is given back, but its libraries cannot ask for that */
    uint64_t device_memory = status == SPADE_OK ? context->device->memory : 0;
    context->max_evictable = device_memory ? device_memory / 2 : MAX_EVICTABLE;
    return status;
}

void spade_context_destroy(spade_context *context)
{
    if (!context) { return; }
    if (context->device) { context->device->backend->close(context->device); }
    spade_block_cache_destroy(context);
    free(context);
}

void spade_limit_memory(spade_context *context, uint64_t available)
{
    /* A quarter is for what is not counted: pictures that are decoded in processes of their own, the libraries' buffers. */
    const uint64_t budget = context->used + available / 4 * 3;
    if (available == UINT64_MAX || !context->device->backend->host_memory || budget > context->budget) { return; }
    context->budget = budget;
}

void spade_limit_to_free_memory(spade_context *context)
{
    spade_limit_memory(context, spade_available_memory(""));
}

double spade_stage_clock(spade_context *context)
{
    if (context->profile) { /* a failure stays: the device's next call has it */
        (void)context->device->backend->synchronize(context->device);
    }
    return spade_now();
}
