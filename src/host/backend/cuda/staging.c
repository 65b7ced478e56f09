/*
 * staging.c - copies between the host and the device through a ring of pinned pieces: the device copies from and to
 * pinned memory without the host, and whatever the caller's memory is, the call is done with it when it returns.
 *
 * One piece after the other is filled; each has an event behind the last copy that the device makes of it, which the
 * host waits for before it fills it again. The ring is made once with the device, and counted against no budget: it is
 * the host's, of a fixed size.
 */
#include "backend/cuda/cuda.h"

enum { PIECES = 4, PIECE_BYTES = 4 << 20, ALIGNMENT = 64 /* of what follows in a piece */ };

struct spade_cuda_staging {
    char *memory; /* [PIECES][PIECE_BYTES] */
    cudaEvent_t done[PIECES];
    bool busy[PIECES]; /* the device may still read or write it */
    int piece;         /* that is being filled */
    size_t used;       /* of it */
};

spade_status spade_cuda_staging_open(spade_cuda_device *cuda)
{
    spade_cuda_staging *s = calloc(1, sizeof *s);
    if (!s) { return spade_fail(cuda->base.context, SPADE_ERROR_MEMORY, "out of memory: device cuda:%d", cuda->index); }
    cuda->staging = s;
    for (int i = 0; i < PIECES; i++) {
        SPADE_CUDA_TRY(cuda, cudaEventCreateWithFlags(&s->done[i], cudaEventDisableTiming));
    }
    SPADE_CUDA_TRY(cuda, cudaHostAlloc((void **)&s->memory, (size_t)PIECES * PIECE_BYTES, cudaHostAllocDefault));
    return SPADE_OK;
}

void spade_cuda_staging_close(spade_cuda_device *cuda)
{
    spade_cuda_staging *s = cuda->staging;
    if (!s) { return; }
    for (int i = 0; i < PIECES; i++) {
        if (s->done[i]) { (void)cudaEventDestroy(s->done[i]); }
    }
    if (s->memory) { (void)cudaFreeHost(s->memory); }
    free(s);
}

static char *piece_of(const spade_cuda_staging *s, int piece)
{
    return s->memory + (size_t)piece * PIECE_BYTES;
}

static spade_status wait_for(spade_cuda_device *cuda, int piece)
{
    spade_cuda_staging *s = cuda->staging;
    if (!s->busy[piece]) { return SPADE_OK; }
    SPADE_CUDA_TRY(cuda, cudaEventSynchronize(s->done[piece]));
    s->busy[piece] = false;
    return SPADE_OK;
}

/* The device is to come to this point before the piece is used again. */
static spade_status mark(spade_cuda_device *cuda, int piece)
{
    spade_cuda_staging *s = cuda->staging;
    s->busy[piece] = true;
    SPADE_CUDA_TRY(cuda, cudaEventRecord(s->done[piece], cuda->stream));
    return SPADE_OK;
}

/* Small copies share a piece: none of them waits. */
spade_status spade_cuda_upload(spade_device *device, void *to, const void *from_host, size_t bytes)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    spade_cuda_staging *s = cuda->staging;
    if (!bytes) { return SPADE_OK; }
    SPADE_TRY(spade_cuda_refuse_capture(cuda, "an upload"));
    for (size_t done = 0; done < bytes;) {
        if (s->used == PIECE_BYTES) {
            s->piece = (s->piece + 1) % PIECES;
            s->used = 0;
        }
        if (s->used == 0) { SPADE_TRY(wait_for(cuda, s->piece)); }
        char *place = piece_of(s, s->piece) + s->used;
        size_t room = PIECE_BYTES - s->used, count = bytes - done < room ? bytes - done : room;
        memcpy(place, (const char *)from_host + done, count);
        SPADE_CUDA_TRY(cuda, cudaMemcpyAsync((char *)to + done, place, count, cudaMemcpyHostToDevice, cuda->stream));
        s->used += (count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        SPADE_TRY(mark(cuda, s->piece));
        done += count;
    }
    return SPADE_OK;
}

/* Bytes of chunk i of a download, which passes through piece i % PIECES. */
static size_t chunk_bytes(size_t bytes, size_t i)
{
    size_t left = bytes - i * PIECE_BYTES;
    return left < PIECE_BYTES ? left : PIECE_BYTES;
}

static spade_status fetch_chunk(spade_cuda_device *cuda, const void *from, size_t bytes, size_t i)
{
    int piece = (int)(i % PIECES);
    SPADE_CUDA_TRY(cuda, cudaMemcpyAsync(piece_of(cuda->staging, piece), (const char *)from + i * PIECE_BYTES,
                                         chunk_bytes(bytes, i), cudaMemcpyDeviceToHost, cuda->stream));
    return mark(cuda, piece);
}

/* PIECES chunks are on their way at once. Nothing waits for uploads that a piece still holds: the stream comes to them
 * first. */
static spade_status fetch_all(spade_cuda_device *cuda, void *to_host, const void *from, size_t bytes)
{
    const spade_cuda_staging *s = cuda->staging;
    const size_t chunks = (bytes + PIECE_BYTES - 1) / PIECE_BYTES;
    SPADE_TRY(spade_cuda_results_send(cuda));
    for (size_t i = 0; i < chunks && i < PIECES; i++) { SPADE_TRY(fetch_chunk(cuda, from, bytes, i)); }
    for (size_t i = 0; i < chunks; i++) {
        int piece = (int)(i % PIECES);
        SPADE_TRY(wait_for(cuda, piece));
        memcpy((char *)to_host + i * PIECE_BYTES, piece_of(s, piece), chunk_bytes(bytes, i));
        if (i + PIECES < chunks) { SPADE_TRY(fetch_chunk(cuda, from, bytes, i + PIECES)); }
    }
    return SPADE_OK;
}

/* Complete when it returns: the host reads the numbers next. */
spade_status spade_cuda_download(spade_device *device, void *to_host, const void *from, size_t bytes)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    spade_cuda_staging *s = cuda->staging;
    if (!bytes) { return spade_cuda_synchronize(device); }
    SPADE_TRY(spade_cuda_refuse_capture(cuda, "a download"));
    spade_status status = fetch_all(cuda, to_host, from, bytes);
    if (status == SPADE_OK) {
        spade_cuda_results_deliver(cuda);
    } else { /* nothing is to be on its way any more, neither to the pieces nor to whose results they are */
        spade_cuda_ignore_error(cudaStreamSynchronize(cuda->stream));
        spade_cuda_results_drop(cuda);
    }
    for (int i = 0; i < PIECES; i++) { s->busy[i] = false; } /* the stream has come past all of them */
    s->used = 0;
    return status;
}
