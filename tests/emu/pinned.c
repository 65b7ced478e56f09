/*
 * pinned.c - stand-in for pinned host memory. The device reads and writes it when it comes to it, so the host must
 * leave it alone until it has waited: what an upload reads must still be there at the wait, and what a download writes
 * is not there before.
 */
#include <stdlib.h>
#include <string.h>

#include "capture.h"

typedef struct block {
    struct block *next;
    char *memory;
    size_t bytes;
} block;

/* A copy that the host has not waited for. */
typedef struct transfer {
    struct transfer *next;
    cudaStream_t stream;
    uint64_t number;
    char *host;
    size_t bytes;
    char *data;    /* download: what is to be written there; NULL: an upload */
    uint64_t hash; /* upload: of what it reads */
} transfer;

static block *blocks;
static transfer *transfers, **last = &transfers;
static uint64_t count;

bool pinned_holds(const void *pointer, size_t bytes)
{
    const char *p = pointer;
    for (const block *b = blocks; b; b = b->next) {
        if (p >= b->memory && p < b->memory + b->bytes) {
            standin_require(p + bytes <= b->memory + b->bytes, "a copy", "pinned memory of that size");
            return true;
        }
    }
    return false;
}

static uint64_t hash_of(const char *bytes, size_t n)
{
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) { hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3); }
    return hash;
}

static void finish(const transfer *t)
{
    if (t->data) {
        memcpy(t->host, t->data, t->bytes);
    } else if (standin_state() == cudaSuccess) { /* a lost device reads no more */
        standin_require(hash_of(t->host, t->bytes) == t->hash, "cudaMemcpyAsync",
                        "pinned memory that the host leaves alone until it was read");
    }
}

static void remove_transfer(transfer **at)
{
    transfer *t = *at;
    *at = t->next;
    if (!*at) { last = at; }
    free(t->data);
    free(t);
}

uint64_t pinned_now(void)
{
    return count;
}

void pinned_finish(cudaStream_t stream, uint64_t until)
{
    for (transfer **at = &transfers; *at;) {
        if ((*at)->stream != stream || (*at)->number > until) {
            at = &(*at)->next;
            continue;
        }
        finish(*at);
        remove_transfer(at);
    }
}

/* Uploads that the stream does before it writes over what they read. */
static void finish_overwritten(cudaStream_t stream, const char *host, size_t bytes)
{
    for (transfer **at = &transfers; *at;) {
        const transfer *t = *at;
        bool apart = t->host >= host + bytes || t->host + t->bytes <= host;
        if (t->data || apart || t->stream != stream) {
            at = &(*at)->next;
            continue;
        }
        finish(t);
        remove_transfer(at);
    }
}

void pinned_copy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    bool down = kind == cudaMemcpyDeviceToHost;
    char *host = down ? to : (char *)(uintptr_t)from;
    transfer *t = calloc(1, sizeof *t);
    standin_require(t, "cudaMemcpyAsync", "memory of the host");
    *t = (transfer){.stream = stream, .number = ++count, .host = host, .bytes = bytes};
    if (down) {
        t->data = malloc(bytes);
        standin_require(t->data, "cudaMemcpyAsync", "memory of the host");
        memcpy(t->data, from, bytes);
        finish_overwritten(stream, host, bytes);
        memset(host, 0xCB, bytes);
    } else {
        t->hash = hash_of(host, bytes);
        memcpy(to, from, bytes);
    }
    *last = t;
    last = &t->next;
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags)
{
    standin_require(bytes > 0 && flags == cudaHostAllocDefault, "cudaHostAlloc", "a size above 0, no flags");
    *pointer = NULL;
    cudaError_t refused = capture_refuse_any();
    if (refused != cudaSuccess) { return refused; }
    if (standin_fails("cudaHostAlloc")) { return standin_note(cudaErrorMemoryAllocation); }
    if (standin_lost()) { return standin_state(); }
    block *b = malloc(sizeof *b);
    char *memory = malloc(bytes);
    standin_require(b && memory, "cudaHostAlloc", "memory of the host");
    *b = (block){.next = blocks, .memory = memory, .bytes = bytes};
    blocks = b;
    *pointer = memory;
    return cudaSuccess;
}

/* Waits for the device, as the real one does. */
cudaError_t cudaFreeHost(void *pointer)
{
    if (capture_refuse_any() != cudaSuccess) { return cudaErrorStreamCaptureUnsupported; }
    for (block **b = &blocks; *b; b = &(*b)->next) {
        block *found = *b;
        if (found->memory != pointer) { continue; }
        for (transfer **at = &transfers; *at;) {
            if ((*at)->host < found->memory || (*at)->host >= found->memory + found->bytes) {
                at = &(*at)->next;
                continue;
            }
            finish(*at);
            remove_transfer(at);
        }
        *b = found->next;
        free(found->memory);
        free(found);
        return standin_state();
    }
    standin_require(false, "cudaFreeHost", "pinned memory");
    return cudaErrorInvalidValue;
}
