/*
 * standin.h - what the stand-ins for the CUDA libraries share: which memory is the device's, strict checks, failures on
 * purpose.
 *
 * A stand-in computes on the processor what the library documents, at once; on a stream that is captured, at every
 * launch of the graph. A misuse that a real library would answer with a wrong result or a crash (a host pointer, memory
 * that was freed, a workspace too small) ends the test: one line on stderr, abort().
 */
#ifndef STANDIN_H
#define STANDIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* [pointer, pointer + bytes) must lie in one living block of device memory; bytes = 0 checks nothing. */
void standin_device(const void *pointer, size_t bytes, const char *call, const char *argument);
/* [pointer, pointer + bytes) must not touch device memory. */
void standin_host(const void *pointer, size_t bytes, const char *call, const char *argument);
void standin_require(bool condition, const char *call, const char *what);
/* The stream must be one that was made and not yet destroyed. */
void standin_stream(const void *stream, const char *call);

/*
 * Work on a stream, whose arguments were checked: done at once, or kept for the graph while the stream is captured. run
 * checks the memory that it touches: a graph may be launched when that was freed. data: `bytes` that are copied;
 * release (may be NULL): of what they point to. Returns CUDA's error.
 */
int standin_submit(const void *stream, void (*run)(const void *data), void (*release)(void *data), void *data,
                   size_t bytes);
bool standin_captures(const void *stream);

/*
 * Failures on purpose, from the environment, read at every call: SPADE_STANDIN_FAIL=NAME[:N] lets the N-th call (from
 * 1; default 1) of that name since the process began fail, NAME one of the calls or kinds that the stand-ins pass here
 * ("cudaMallocFromPoolAsync", "potrf", "engine", "capture", "lost"). Each stand-in returns what the library would.
 */
bool standin_fails(const char *name);
/* A call on the device by another library than the runtime: is the device lost (SPADE_STANDIN_FAIL=lost[:N] counts it)?
 */
bool standin_lost(void);
/* cudaSuccess, or why the device is lost: no error that cudaGetLastError has to tell. */
int standin_state(void);
/*
 * What a call of the runtime returns that is not the device's loss: an error stays for cudaGetLastError to tell once,
 * which the next kernel's launch asks, whatever went well since. The other libraries have a runtime of their own, whose
 * errors it does not tell. Returns its argument.
 */
int standin_note(int error);
/* cudaGetLastError, for kernels. */
int standin_last_error(void);
/* The nearest of the numbers with `dropped` bits less: what tensor cores make of float32. */
enum { STANDIN_TF32_DROPS = 13, STANDIN_BF16_DROPS = 16 };
static inline float standin_rounded(float value, int dropped)
{
    uint32_t bits, unit = (uint32_t)1 << dropped;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7f800000u) == 0x7f800000u) { return value; }
    bits += unit / 2 - 1 + (bits >> dropped & 1);
    bits &= ~(unit - 1);
    memcpy(&value, &bits, sizeof value);
    return value;
}
/* Device memory in all, SPADE_STANDIN_MEMORY bytes (default 8 GiB). */
size_t standin_memory(void);

#ifdef __cplusplus
}
#endif
#endif
