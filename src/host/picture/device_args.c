/* device_args.c - one block on the device for the arguments of an operation; none where the host's memory is the device's.
 */
#include "picture/device_args.h"

static size_t rounded(size_t bytes)
{
    enum { ALIGNMENT = 256 };
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

spade_status spade_device_args_open(spade_context *context, const char *what, spade_device_arg *arrays, int n,
                                    void **block, size_t *block_bytes)
{
    spade_device *device = context->device;
    const spade_backend *backend = device->backend;
    *block = NULL;
    *block_bytes = 0;
    for (int i = 0; i < n; i++) {
        spade_device_arg *a = &arrays[i];
        a->there = NULL;
        if (backend->host_memory) { a->there = a->in ? (void *)(uintptr_t)a->in : a->out; }
        if (a->in || a->out) { *block_bytes += rounded(a->bytes); }
    }
    if (backend->host_memory) { return SPADE_OK; }
    SPADE_TRY(backend->alloc(device, *block_bytes, what, block));
    char *there = *block;
    for (int i = 0; i < n; i++) {
        spade_device_arg *a = &arrays[i];
        if (!a->in && !a->out) { continue; }
        a->there = there;
        there += rounded(a->bytes);
        if (a->in) { SPADE_TRY(backend->upload(device, a->there, a->in, a->bytes)); }
    }
    return SPADE_OK;
}

spade_status spade_device_args_read(spade_context *context, const spade_device_arg *arrays, int n)
{
    spade_device *device = context->device;
    const spade_backend *backend = device->backend;
    if (backend->host_memory) { return SPADE_OK; }
    for (int i = 0; i < n; i++) {
        const spade_device_arg *a = &arrays[i];
        if (a->out) { SPADE_TRY(backend->download(device, a->out, a->there, a->bytes)); }
    }
    return backend->synchronize(device);
}

void spade_device_args_close(spade_context *context, void *block, size_t block_bytes)
{
    if (block) { context->device->backend->free(context->device, block, block_bytes); }
}
