/* runtime.c - stand-in for the CUDA runtime: one device whose memory is the host's, one that can be lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"

enum { FAIL_NAMES = 64 };

typedef struct block {
    cudaMemPool_t pool; /* it was taken from */
    char *pointer;
    size_t bytes;
    struct block *next;
} block;

struct CUmemPoolHandle_st {
    int device;
};

/* The device. A test is one process with one thread that calls CUDA. */
static struct {
    block *blocks;
    size_t used;
    struct CUstream_st *streams;
    cudaError_t lost; /* why nothing can go on, or cudaSuccess */
    cudaError_t last; /* of the runtime's calls that failed, the latest that cudaGetLastError has not told */
    struct {
        char name[64];
        long calls;
    } counts[FAIL_NAMES];
} device;

/* ---- checks */

static void die(const char *call, const char *argument, const char *what)
{
    fprintf(stderr, "CUDA stand-in: %s: %s: %s\n", call, argument, what);
    abort();
}

static const block *block_of(const void *pointer)
{
    const char *p = pointer;
    for (const block *b = device.blocks; b; b = b->next) {
        if (p >= b->pointer && p < b->pointer + b->bytes) { return b; }
    }
    return NULL;
}

void standin_device(const void *pointer, size_t bytes, const char *call, const char *argument)
{
    if (!bytes) { return; }
    const block *b = block_of(pointer);
    if (!b) { die(call, argument, "not device memory, or freed"); }
    if ((const char *)pointer + bytes > b->pointer + b->bytes) { die(call, argument, "reaches beyond its block"); }
}

void standin_host(const void *pointer, size_t bytes, const char *call, const char *argument)
{
    if (bytes && (block_of(pointer) || block_of((const char *)pointer + bytes - 1))) {
        die(call, argument, "device memory where host memory belongs");
    }
}

void standin_require(bool condition, const char *call, const char *what)
{
    if (!condition) { die(call, "arguments", what); }
}

void standin_stream(const void *stream, const char *call)
{
    for (const struct CUstream_st *s = device.streams; s; s = s->next) {
        if (s == stream) { return; }
    }
    die(call, "stream", "unknown or destroyed");
}

bool standin_fails(const char *name)
{
    const char *wanted = getenv("SPADE_STANDIN_FAIL");
    size_t length = strlen(name);
    for (int i = 0; i < FAIL_NAMES; i++) {
        if (!device.counts[i].name[0]) { snprintf(device.counts[i].name, sizeof device.counts[i].name, "%s", name); }
        if (strcmp(device.counts[i].name, name) != 0) { continue; }
        long call = ++device.counts[i].calls;
        if (!wanted || strncmp(wanted, name, length) != 0) { return false; }
        if (wanted[length] == '\0') { return call == 1; }
        return wanted[length] == ':' && atol(wanted + length + 1) == call;
    }
    die("SPADE_STANDIN_FAIL", name, "more names of failures than there is room for");
    return false;
}

size_t standin_memory(void)
{
    const char *text = getenv("SPADE_STANDIN_MEMORY");
    return text ? (size_t)strtoull(text, NULL, 10) : (size_t)8 << 30;
}

/* Every call on the device: a lost one stays lost. */
static cudaError_t touch(void)
{
    if (standin_fails("lost")) { device.lost = cudaErrorLaunchFailure; }
    return device.lost;
}

bool standin_lost(void)
{
    return touch() != cudaSuccess;
}

/* ---- devices */

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureUnmatched: return "capture was not ended in the same stream as it began";
    case cudaErrorStreamCaptureIsolation: return "dependency created on uncaptured work in another stream";
    case cudaErrorCapturedEvent: return "operation not permitted on an event last recorded in a capturing stream";
    case cudaErrorStreamCaptureUnjoined: return "capturing stream has unjoined work";
    default: return "an error";
    }
}

int standin_state(void)
{
    return device.lost;
}

int standin_note(int error)
{
    if (error != cudaSuccess) { device.last = (cudaError_t)error; }
    return error;
}

/* What a call left stays until it is read, whatever went well since; a lost device stays lost. */
cudaError_t cudaGetLastError(void)
{
    cudaError_t result = device.lost ? device.lost : device.last;
    device.last = cudaSuccess;
    return result;
}

int standin_last_error(void)
{
    return (int)cudaGetLastError();
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 0;
    if (standin_fails("cudaGetDeviceCount")) { return standin_note(cudaErrorInsufficientDriver); }
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int index)
{
    if (index != 0) { return standin_note(cudaErrorInvalidDevice); }
    *properties = (struct cudaDeviceProp){.name = "stand-in", .major = 9, .multiProcessorCount = 2};
    properties->totalGlobalMem = standin_memory();
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int index)
{
    if (index != 0) { return standin_note(cudaErrorInvalidDevice); }
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = 2; break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrCooperativeLaunch: *value = 1; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 227 << 10; break;
    default: return standin_note(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index)
{
    return index == 0 ? touch() : (cudaError_t)standin_note(cudaErrorInvalidDevice);
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

/* ---- memory */

cudaError_t cudaMemGetInfo(size_t *left, size_t *all)
{
    *all = standin_memory();
    *left = *all - device.used;
    return device.lost;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const struct cudaMemPoolProps *properties)
{
    standin_require(properties->allocType == cudaMemAllocationTypePinned &&
                        properties->location.type == cudaMemLocationTypeDevice && properties->location.id == 0,
                    "cudaMemPoolCreate", "properties of a pool on device 0");
    *pool = calloc(1, sizeof **pool);
    return *pool ? touch() : cudaErrorMemoryAllocation;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    standin_require(pool && value && attribute == cudaMemPoolAttrReleaseThreshold, "cudaMemPoolSetAttribute",
                    "a known attribute");
    return touch();
}

/* The real one waits for blocks that were never freed, for as long as the process runs: that is a leak. */
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool)
{
    for (const block *b = device.blocks; b; b = b->next) {
        if (b->pool == pool) { die("cudaMemPoolDestroy", "pool", "memory from it was not freed"); }
    }
    free(pool);
    return touch();
}

cudaError_t cudaMallocFromPoolAsync(void **pointer, size_t bytes, cudaMemPool_t pool, cudaStream_t stream)
{
    standin_stream(stream, "cudaMallocFromPoolAsync");
    standin_require(pool && bytes > 0, "cudaMallocFromPoolAsync", "a pool, and a size above 0");
    *pointer = NULL;
    if (touch() != cudaSuccess) { return device.lost; }
    if (capture_refuse_any() != cudaSuccess) { return cudaErrorStreamCaptureUnsupported; }
    if (standin_fails("cudaMallocFromPoolAsync") || bytes > standin_memory() - device.used) {
        return standin_note(cudaErrorMemoryAllocation);
    }
    block *b = malloc(sizeof *b);
    char *memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!b || !memory) { die("cudaMallocFromPoolAsync", "host", "out of memory"); }
    memset(memory, 0xCB, bytes); /* nobody may count on zeros */
    *b = (block){.pool = pool, .pointer = memory, .bytes = bytes, .next = device.blocks};
    device.blocks = b;
    device.used += bytes;
    *pointer = memory;
    return cudaSuccess;
}

/* Memory that no graph allocated must not be freed by a thread that captures, on whatever stream. */
cudaError_t cudaFreeAsync(void *pointer, cudaStream_t stream)
{
    standin_stream(stream, "cudaFreeAsync");
    if (capture_refuse_any() != cudaSuccess) { return cudaErrorStreamCaptureUnsupported; }
    for (block **b = &device.blocks; *b; b = &(*b)->next) {
        block *found = *b;
        if (found->pointer != pointer) { continue; }
        *b = found->next;
        device.used -= found->bytes;
        free(found->pointer);
        free(found);
        return touch();
    }
    die("cudaFreeAsync", "pointer", "not a block of device memory, or freed before");
    return cudaErrorInvalidValue;
}

/* ---- copies */

typedef struct copy {
    void *to;
    const void *from;
    size_t bytes;
    enum cudaMemcpyKind kind;
} copy;

static void check_copy(const copy *c)
{
    if (c->kind == cudaMemcpyHostToDevice || c->kind == cudaMemcpyDeviceToDevice) {
        standin_device(c->to, c->bytes, "cudaMemcpyAsync", "to");
    } else {
        standin_host(c->to, c->bytes, "cudaMemcpyAsync", "to");
    }
    if (c->kind == cudaMemcpyDeviceToHost || c->kind == cudaMemcpyDeviceToDevice) {
        standin_device(c->from, c->bytes, "cudaMemcpyAsync", "from");
    } else {
        standin_host(c->from, c->bytes, "cudaMemcpyAsync", "from");
    }
}

static void run_copy(const void *data)
{
    const copy *c = data;
    check_copy(c);
    memmove(c->to, c->from, c->bytes);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    copy c = {to, from, bytes, kind};
    standin_stream(stream, "cudaMemcpyAsync");
    check_copy(&c);
    if (touch() != cudaSuccess) { return device.lost; }
    const void *host = kind == cudaMemcpyHostToDevice ? from : kind == cudaMemcpyDeviceToHost ? to : NULL;
    if (!host || !bytes) { return standin_note(standin_submit(stream, run_copy, NULL, &c, sizeof c)); }
    bool pinned = pinned_holds(host, bytes);
    if (!pinned && capture_refuse(stream) != cudaSuccess) { return cudaErrorStreamCaptureUnsupported; }
    if (!pinned || standin_captures(stream)) {
        return standin_note(standin_submit(stream, run_copy, NULL, &c, sizeof c));
    }
    pinned_copy(to, from, bytes, kind, stream);
    return cudaSuccess;
}

typedef struct filling {
    void *to;
    int value;
    size_t bytes;
} filling;

static void run_filling(const void *data)
{
    const filling *f = data;
    standin_device(f->to, f->bytes, "cudaMemsetAsync", "to");
    memset(f->to, f->value, f->bytes);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    filling f = {to, value, bytes};
    standin_stream(stream, "cudaMemsetAsync");
    standin_device(to, bytes, "cudaMemsetAsync", "to");
    if (touch() != cudaSuccess) { return device.lost; }
    return standin_note(standin_submit(stream, run_filling, NULL, &f, sizeof f));
}

/* ---- streams */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    standin_require(flags <= cudaStreamNonBlocking, "cudaStreamCreateWithFlags", "known flags");
    *stream = calloc(1, sizeof **stream);
    if (!*stream) { return cudaErrorMemoryAllocation; }
    (*stream)->next = device.streams;
    device.streams = *stream;
    return touch();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    standin_stream(stream, "cudaStreamSynchronize");
    if (capture_refuse_any() != cudaSuccess) { return cudaErrorStreamCaptureUnsupported; }
    if (touch() == cudaSuccess) { pinned_finish(stream, pinned_now()); }
    return device.lost;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    standin_stream(stream, "cudaStreamDestroy");
    for (struct CUstream_st **s = &device.streams; *s; s = &(*s)->next) {
        if (*s != stream) { continue; }
        *s = stream->next;
        free(stream);
        return touch();
    }
    return standin_note(cudaErrorInvalidResourceHandle);
}
