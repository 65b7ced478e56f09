/* registry.c - which backends this build has, opening a device by its name, and the context that owns it. */
#include <cyaml/cyaml.h>
#include <jansson.h>
#include <omp.h>
#include <zlib.h>

#include "backend/backend.h"

enum { MAX_THREADS = 1024 };

static const spade_backend *const backends[] = {&spade_backend_cpu};
enum { BACKEND_COUNT = sizeof backends / sizeof *backends };

int spade_devices(spade_device_info *devices, int capacity)
{
    int count = 0;
    for (int i = 0; i < BACKEND_COUNT; i++) {
        int room = capacity > count ? capacity - count : 0;
        count += backends[i]->devices(room ? devices + count : NULL, room);
    }
    return count;
}

/* "NAME" or "NAME:N", N a number of at most 3 digits, -> N (0 where there is none); -1: not that. */
static int device_index(const char *text, const char *name)
{
    size_t length = strlen(name);
    if (strncmp(text, name, length) != 0) { return -1; }
    text += length;
    if (*text == '\0') { return 0; }
    size_t digits = strspn(text + 1, "0123456789");
    if (*text != ':' || digits < 1 || digits > 3 || text[1 + digits] != '\0') { return -1; }
    return atoi(text + 1);
}

spade_status spade_device_open(spade_context *context, const char *name, spade_device **out)
{
    *out = NULL;
    if (!name || strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0) {
        return spade_backend_cpu.open(context, 0, out);
    }
    if (device_index(name, "cuda") >= 0) {
        return spade_fail(context, SPADE_ERROR_DEVICE, "device %s: this build of spade has no CUDA backend; use cpu",
                          name);
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "there is no device named \"%s\"; known are auto, cpu, cuda, cuda:N", name);
}

/* ---- context */

void spade_context_options_init(spade_context_options *options)
{
    *options = (spade_context_options){.device = "auto"};
}

spade_status spade_context_create(const spade_context_options *options, spade_context **out)
{
    spade_context_options defaults;
    if (!options) {
        spade_context_options_init(&defaults);
        options = &defaults;
    }
    spade_context *context = calloc(1, sizeof *context);
    *out = context;
    if (!context) { return SPADE_ERROR_MEMORY; }
    context->budget = options->memory ? options->memory : UINT64_MAX;
    context->log = options->log;
    context->progress = options->progress;
    context->user = options->user;
    if (options->threads < 0 || options->threads > MAX_THREADS) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "threads: %d is not in 0..%d", options->threads,
                          (int)MAX_THREADS);
    }
    int available = omp_get_max_threads();
    context->threads = options->threads ? options->threads : available < MAX_THREADS ? available : MAX_THREADS;
    return spade_device_open(context, options->device, &context->device);
}

void spade_context_destroy(spade_context *context)
{
    if (!context) { return; }
    if (context->device) { context->device->backend->close(context->device); }
    spade_pool_destroy(context);
    free(context);
}

/* ---- versions */

const char *spade_version(void)
{
    return SPADE_VERSION;
}

void spade_library_versions(char *buffer, size_t size)
{
    if (size == 0) { return; }
    buffer[0] = '\0';
    for (int i = 0; i < BACKEND_COUNT; i++) {
        size_t length = strlen(buffer);
        backends[i]->libraries(buffer + length, size - length);
    }
    size_t length = strlen(buffer);
    snprintf(buffer + length, size - length, "libcyaml %s\njansson %s\nzlib %s\n", cyaml_version_str,
             jansson_version_str(), zlibVersion());
}
