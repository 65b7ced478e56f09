/*
 * capture.h - streams of the stand-ins, and the work on them while they are captured.
 *
 * A capture spreads from its first stream to others through events, and all must have come back to the first one before
 * it ends. Every stream and event of a capture knows how much of each of its streams it comes after.
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <cuda_runtime_api.h>

#include "standin.h"

enum { CAPTURE_STREAMS = 16 };

/* How much of each stream of a capture something comes after. */
typedef struct capture_place {
    uint64_t capture; /* its number, from 1; 0: none */
    uint64_t after[CAPTURE_STREAMS];
} capture_place;

struct CUstream_st {
    struct CUstream_st *next;
    struct capture *capture; /* that it is part of, or NULL */
    int index;               /* of this stream in it */
    capture_place place;
};

/*
 * Is this stream captured? Then a call that must not be made there makes the capture void: the call fails, so does all
 * that is put on the capture's streams until cudaStreamEndCapture, and so does that one, without a graph.
 */
cudaError_t capture_refuse(cudaStream_t stream);
/* The same for calls that a thread must not make while it captures, on whatever stream (what CUDA calls potentially
 * unsafe: to take memory, to free it, to wait). */
cudaError_t capture_refuse_any(void);
/* An event is recorded on a stream that is captured; a stream waits for an event that was recorded on one. */
cudaError_t capture_record(cudaStream_t stream, capture_place *event);
cudaError_t capture_wait(cudaStream_t stream, const capture_place *event);

/* ---- pinned.c: copies that the device makes after the call has returned */
bool pinned_holds(const void *pointer, size_t bytes);
void pinned_copy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream);
/* Copies of a stream up to one of these numbers are done: the host has waited for them. */
uint64_t pinned_now(void);
void pinned_finish(cudaStream_t stream, uint64_t until);

#endif
