/*
 * spade/context.h - the context: device, threads, byte budget, messages.
 *
 * Every call takes the context it works in. One context is used by one thread at a time; different contexts are
 * independent. Objects made in a context (models, traces, ...) are destroyed before it.
 */
#ifndef SPADE_CONTEXT_H
#define SPADE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spade/status.h"
#include "spade/version.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spade_context spade_context;

/* Of products and sums, where there is a choice. */
typedef enum spade_precision { SPADE_FP32, SPADE_FP64 } spade_precision;

typedef enum spade_log_level { SPADE_LOG_WARNING, SPADE_LOG_INFO, SPADE_LOG_DEBUG } spade_log_level;

/* Receives one line without its newline. Called on the thread that made the spade call. */
typedef void (*spade_log_fn)(void *user, spade_log_level level, const char *line);

/*
 * Receives the progress of long work: `done` of `total` steps of the named stage. Called on the calling thread, often.
 * Within one call of the library `done` never goes back, and a call that succeeds ends with done == total.
 */
typedef void (*spade_progress_fn)(void *user, const char *stage, double done, double total);

/*
 * How exact the products of the network are, at least; sums are float32 in all three. Inputs of a product are rounded
 * to a mantissa of 10 bits (TF32) or 7 bits (bfloat16) where the device is faster for it. So are, once, the inputs of a
 * layer of which a Hessian in float32 is the Gram matrix; a Hessian that is summed otherwise, or in float64, is not
 * rounded. The CPU knows FP32 only.
 */
typedef enum spade_network_precision {
    SPADE_NETWORK_FP32,
    SPADE_NETWORK_TF32,
    SPADE_NETWORK_BF16
} spade_network_precision;

typedef struct spade_context_options {
    size_t size;                       /* set by spade_context_options_init() */
    const char *device;                /* "auto" (default), "cpu", "cuda" or "cuda:N" */
    int threads;                       /* host threads, 0: all that the process may use. Results do not depend on it. */
    spade_network_precision precision; /* of the network's products */
    uint64_t memory;                   /* byte budget for what spade allocates, 0: none. Results do not depend on it.
                                          What is kept ready for the next call counts, and is given back when something
                                          else needs the room; without a budget it is 1 GiB at most on the host. */
    spade_log_fn log;                  /* NULL: silent */
    spade_progress_fn progress;        /* NULL: none */
    void *user;                        /* handed to log and progress */
    bool profile; /* wait for the device at both ends of a stage, so that spade_usage() tells what each took there */
} spade_context_options;

/* Fill in the defaults above; call it before setting single fields. `size`, here and in the other headers: sizeof of the
 * caller's struct (spade.h says what for). */
SPADE_API void spade_context_options_init_sized(spade_context_options *options, size_t size);
static inline void spade_context_options_init(spade_context_options *options)
{
    spade_context_options_init_sized(options, sizeof *options);
}

/*
 * Make a context. options may be NULL (defaults).
 * On failure *out is still a context, good for spade_message() and spade_context_destroy() only; it is NULL only if not
 * even that could be allocated.
 */
SPADE_API spade_status spade_context_create(const spade_context_options *options, spade_context **out);
SPADE_API void spade_context_destroy(spade_context *context); /* NULL is fine */

/* The message of the last failure in this context, one line, never NULL; valid until the next spade call with it. */
SPADE_API const char *spade_message(const spade_context *context);

/*
 * ---- what the work of a context took, stage by stage: for benchmarks and for those who look where the time goes.
 * Seconds on the wall clock, of all calls since the context was made or the usage reset. Stages that run at the same
 * time share it. What belongs to no stage (decoding, copies between the stages, files) is in none of them.
 *
 * A GPU works while the host goes on: there, seconds are those that the host spent in the stage, giving work and
 * waiting for results. With the option `profile` they are the device's, but the whole takes longer: shares are to be
 * taken from a run with it, the total from one without.
 */
typedef enum spade_stage {
    SPADE_STAGE_AUGMENT, /* drawing and making the variants of a picture */
    SPADE_STAGE_FORWARD, /* the dense network, where its layers' inputs are looked at */
    SPADE_STAGE_HESSIAN, /* updates of the Hessians, and what completes them */
    SPADE_STAGE_FACTOR,  /* factors of the Hessians */
    SPADE_STAGE_SWEEP,   /* choosing and updating weights, given the factors */
    SPADE_STAGE_COUNT
} spade_stage;

typedef struct spade_stage_usage {
    double seconds;
    uint64_t memory; /* bytes: the most that counted against the budget at once while the stage ran */
} spade_stage_usage;

SPADE_API void spade_usage(const spade_context *context, spade_stage_usage usage[SPADE_STAGE_COUNT]);
SPADE_API void spade_usage_reset(spade_context *context);
SPADE_API const char *spade_stage_name(spade_stage stage); /* "augment", "forward", ... */

/* One device that this build and machine know. Strings are static or live as long as the context. */
typedef struct spade_device_info {
    char name[32];         /* what --device takes: "cpu", "cuda:0" */
    char description[128]; /* processor or GPU, its features */
    uint64_t memory;       /* bytes it has in all, 0: unknown */
    int threads;           /* usable threads, 0 on a GPU */
    char note[256];        /* why it cannot be used; empty if it can */
} spade_device_info;

/* Writes at most `capacity` devices, returns how many there are. */
SPADE_API int spade_devices(spade_device_info *devices, int capacity);

/* Of the library in use, "0.1.0"; SPADE_VERSION is that of the headers that a program was built with. */
SPADE_API const char *spade_version(void);
/* Write the libraries in use with their versions, one "name version" a line; cut to size - 1 characters (1,000 are
 * plenty). */
SPADE_API void spade_library_versions(char *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
