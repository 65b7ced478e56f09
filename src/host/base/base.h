/*
 * base.h - what every stage is built on: the context's fields, failing with a message, checked sizes, memory within the
 * budget, files, time, random numbers.
 */
#ifndef SPADE_BASE_H
#define SPADE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spade/context.h"

struct spade_device; /* backend/backend.h */

/* Something that takes memory and is not in use now, but may be needed again: see spade_lru_insert. */
typedef struct spade_lru_item {
    struct spade_lru_item *older, *newer;
    uint64_t bytes; /* exactly what evict releases */
    void (*evict)(struct spade_lru_item *item);
} spade_lru_item;

/* The part of a larger stage, from 0 to 1, that the progress of smaller stages is reported as. */
typedef struct spade_progress_span {
    const char *stage; /* NULL: there is no larger stage */
    double from, to;
    double reached; /* the largest fraction of the stage that was reported so far */
} spade_progress_span;

enum { SPADE_MESSAGE_BYTES = 1024 };

struct spade_context {
    char message[SPADE_MESSAGE_BYTES];
    int threads; /* resolved, >= 1 */
    spade_network_precision precision;
    bool profile;    /* stages wait for the device: spade_stage_clock() */
    uint64_t budget; /* bytes, UINT64_MAX: none */
    uint64_t used;   /* bytes charged against it now; changed by spade_charge() and spade_release() only */
    uint64_t peak;   /* the largest spade_bytes_in_use() so far */
    struct spade_block_cache *block_cache; /* of large blocks of host memory; memory.c */
    spade_lru_item *oldest, *newest;       /* what may be evicted */
    uint64_t evictable;                    /* their bytes, a part of `used` */
    uint64_t max_evictable;                /* beyond it the oldest are evicted at once */
    struct spade_cache_entry *cache;       /* what is kept on the device; engine/cache.h */
    uint64_t generation;                   /* the last number that spade_generation() gave */
    spade_stage_usage stages[SPADE_STAGE_COUNT];
    uint64_t stage_peak; /* the largest spade_bytes_in_use() since a stage was last done */
    spade_log_fn log;
    spade_progress_fn progress;
    spade_progress_span span;    /* what the progress that is reported now is a part of */
    void *user;                  /* handed to log and progress */
    struct spade_device *device; /* the backend's instance, owned */
};

/*
 * ---- failing: set the context's message and return the status:
 *     return spade_fail(context, SPADE_ERROR_INPUT, "%s: ...", path);
 * spade_fail_in puts "prefix: " before the message that is there: the file, node or layer that the failure was about.
 */
#define spade_fail(...) spade_not_ok(spade_set_error(__VA_ARGS__))
#define spade_fail_in(...) spade_not_ok(spade_prefix_error(__VA_ARGS__))
spade_status spade_set_error(spade_context *context, spade_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
spade_status spade_prefix_error(spade_context *context, spade_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Tells compilers and analyzers that a failure is never SPADE_OK, so that they know what has been set after a success. */
static inline spade_status spade_not_ok(spade_status status)
{
    return status == SPADE_OK ? SPADE_ERROR_INTERNAL : status;
}
/* The message, kept while cleaning up after a failure may set another one. */
typedef struct spade_error {
    char message[SPADE_MESSAGE_BYTES];
} spade_error;
void spade_error_save(const spade_context *context, spade_error *out);
void spade_error_restore(spade_context *context, const spade_error *error);
/* For a failure that was dealt with and is none of the caller's. */
void spade_error_clear(spade_context *context);

void spade_log(spade_context *context, spade_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void spade_report_progress(spade_context *context, const char *stage, double done, double total);
/* For work that is made of several stages: from now on, what any of them reports is reported as the part from..to of
 * `stage` (static text). stage NULL ends that. */
void spade_progress_begin_span(spade_context *context, const char *stage, double from, double to);

/*
 * Some of a stage is done and took so many seconds: add them to its usage, with the memory in use since the last such
 * call. On the calling thread only, never inside a parallel region. Times are those of spade_stage_clock().
 */
void spade_stage_done(spade_context *context, spade_stage stage, double seconds);

/* Hand a failure on; for functions with something to release use SPADE_GOTO and one label `done`. */
#define SPADE_TRY(expression)                                                                                          \
    do {                                                                                                               \
        spade_status spade_try_ = (expression);                                                                        \
        if (spade_try_ != SPADE_OK) { return spade_try_; }                                                             \
    } while (0)
#define SPADE_GOTO(expression)                                                                                         \
    do {                                                                                                               \
        status = (expression);                                                                                         \
        if (status != SPADE_OK) { goto done; }                                                                         \
    } while (0)

/* ---- sizes: products and sums that refuse to overflow */
bool spade_mul_size(size_t a, size_t b, size_t *out);             /* false on overflow */
bool spade_mul_dims(const int64_t *dims, int rank, int64_t *out); /* false on overflow or a negative dimension */

/*
 * ---- memory. Everything that grows with the input (tensors, Hessians, weights, pictures) is taken here and counted
 * against the budget; small bookkeeping uses malloc. 64-byte aligned, not zeroed unless _zeroed. `what` names it in the
 * error. Release with spade_free_bytes, same size. A NULL pointer is fine there.
 */
spade_status spade_alloc(spade_context *context, size_t bytes, const char *what, void **out);
spade_status spade_alloc_zeroed(spade_context *context, size_t bytes, const char *what, void **out);
void spade_free_bytes(spade_context *context, void *pointer, size_t bytes);
/* Free the large blocks that spade_free_bytes kept for the next allocation of their size. */
void spade_block_cache_destroy(spade_context *context);
/* ---- available.c. Bytes that this process may still take before the system, or a control group that it is in, has no more;
 * UINT64_MAX: nobody says. prefix: of /proc and /sys, "" but in tests. */
uint64_t spade_available_memory(const char *prefix);
/* backend/context.c: a budget for a new context without one, of three quarters of what is free now: a run that needs more ends
 * with a message, and not by the system's hand. None on a GPU, whose memory is its own and which says itself what it has no
 * room for. */
void spade_limit_to_free_memory(spade_context *context);
/* To this many bytes more than there are now, of which again a share is for what is not counted; UINT64_MAX: no limit. A smaller
 * budget stays. */
void spade_limit_memory(spade_context *context, uint64_t available);
/* Bytes that the machine has in all; UINT64_MAX: unknown. */
uint64_t spade_machine_memory(void);
/* Count memory that something else allocated. SPADE_ERROR_MEMORY when the budget does not hold it. */
spade_status spade_charge(spade_context *context, size_t bytes, const char *what);
void spade_release(spade_context *context, size_t bytes);
/* Bytes that may still be charged: what can be evicted counts as free. */
uint64_t spade_budget_left(const spade_context *context);
/* Bytes in use, without what can be evicted. */
static inline uint64_t spade_bytes_in_use(const spade_context *context)
{
    return context->used - context->evictable;
}
/* Call it after `used` or `evictable` changed. */
static inline void spade_note_peak(spade_context *context)
{
    uint64_t used = spade_bytes_in_use(context);
    if (used > context->peak) { context->peak = used; }
    if (used > context->stage_peak) { context->stage_peak = used; }
}
/*
 * Evictable memory: plans, weights, sums that the next image will need again. It stays charged, and is released, the
 * oldest first, as soon as the budget (spade_charge) or a device has no room for something else.
 * insert: the item is not in use from now on, but remains the caller's; remove: it is in use again. evict is called
 * with the item already removed.
 */
void spade_lru_insert(spade_context *context, spade_lru_item *item);
void spade_lru_remove(spade_context *context, spade_lru_item *item);
/* Evict the oldest item; false: there is none. */
bool spade_lru_evict(spade_context *context);
/* A number that this context has not given before, never 0: marks a state of memory that captures depend on. */
static inline uint64_t spade_generation(spade_context *context)
{
    return ++context->generation;
}
/* "1.5 GiB" into buffer (at least 32 bytes); returns buffer. */
char *spade_format_bytes(uint64_t bytes, char *buffer);

/* ---- files */
/*
 * A whole regular file in memory of its own: what happens to the file afterwards does not reach it, as it would reach pages
 * that the system maps (and a file that shrinks would take them away). Empty file: SPADE_ERROR_INPUT. limit: largest size
 * accepted.
 */
typedef struct spade_mapping {
    const uint8_t *data;
    size_t size;
    int descriptor; /* of the file + 1, kept to read it again; 0: none */
} spade_mapping;
spade_status spade_map_file(spade_context *context, const char *path, uint64_t limit, spade_mapping *out);
/* The same, for spade_mapping_release(): its descriptor is kept. */
spade_status spade_map_kept_file(spade_context *context, const char *path, uint64_t limit, spade_mapping *out);
/* The same of an open regular file of this size; `name` is for messages. */
spade_status spade_map_descriptor(spade_context *context, const char *name, int fd, size_t size, bool keep,
                                  spade_mapping *out);
void spade_unmap(spade_mapping *mapping);
/* The memory of whole pages within these bytes goes back: they have been read, and are not there any more. */
void spade_mapping_drop(const spade_mapping *mapping, const void *bytes, size_t size);
/* All memory goes back and may not be touched, until restore() has read the file again, to the same address. Whether it is still
 * the same content the caller compares. Without a kept descriptor both do nothing. */
void spade_mapping_release(const spade_mapping *mapping);
spade_status spade_mapping_restore(spade_context *context, const char *name, const spade_mapping *mapping);
/*
 * Write a file beside its final name and rename it into place when complete. Usage:
 *   spade_output out; open; fwrite to out.file ...; commit (or abort, which removes it).
 */
typedef struct spade_output {
    FILE *file;
    char *path;      /* final name */
    char *temporary; /* where it is written */
} spade_output;
spade_status spade_output_open(spade_context *context, const char *path, spade_output *out);
spade_status spade_output_commit(spade_context *context,
                                 spade_output *out); /* flush, fsync, rename; aborts on failure */
void spade_output_abort(spade_output *out);          /* safe after commit or a failed open */
/* Remove the temporary files that killed processes left in the folder; those that are written at this moment stay. */
void spade_sweep_temporaries(const char *folder);
/* Keep other processes of spade from writing results to the folder until *out is closed. SPADE_ERROR_IO: one does. A
 * file system without locks counts as nobody. */
spade_status spade_lock_folder(spade_context *context, const char *path, int *out);
/* One whole buffer. */
spade_status spade_write_file(spade_context *context, const char *path, const void *bytes, size_t size);
/* mkdir -p; `action` says in the message what could not be done: "cannot make the folder". made (NULL: not wanted): how many
 * folders of the path are new. None are after a failure. */
spade_status spade_make_folders(spade_context *context, const char *path, const char *action, int *made);
/* Remove the last `count` folders of the path, from the innermost out, as long as they are empty. */
void spade_remove_folders(const char *path, int count);

/* ---- where the running code lies: does the program, or the library that this is a part of, lie in the folder? What is
 * installed must not look into the folder that it was built in, which others may have made anew. */
bool spade_runs_from(const char *folder);
/* The path of a file of libexec/spade, of the installation that the program or the library is of, wherever it was put. */
bool spade_find_installed(const char *name, char *path, size_t size);

/* ---- time: seconds on the monotonic clock */
double spade_now(void);

/*
 * ---- threads: how many OpenMP threads the libraries called from this thread use from now on (oneDNN, OpenBLAS). Returns
 * the number there was, for a second call that restores it.
 * With 1, a BLAS call computes the same bits whatever the number of threads: OpenBLAS (its OpenMP build) uses threads of
 * its own wherever omp_get_max_threads() > 1 and no region of several threads is active, and a region of one thread does
 * not count as active. Threads of a region inherit the number that was set before it.
 */
int spade_set_num_threads(int threads);

/* ---- random numbers: Philox4x32-10 (Salmon 2011; Random123). One block of four words for (key, counter). */
void spade_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);
/* A double in [0, 1) with 53 bits from two words. */
double spade_uniform(uint32_t high, uint32_t low);
/* Two standard normal numbers from the block for (key, counter), by the Box-Muller transform in double. */
void spade_normal(const uint32_t key[2], const uint32_t counter[4], double out[2]);
/* FNV-1a/64 with a final avalanche: content hashes (pixels, configuration). */
uint64_t spade_hash(const void *bytes, size_t size, uint64_t seed);

#endif
