/*
 * device_args.h - pictures of the host as arguments of one operation on the context's device. Where the device works in the
 * host's memory, they are used where they are.
 */
#ifndef SPADE_STAGED_H
#define SPADE_STAGED_H

#include "backend/backend.h"

typedef struct spade_device_arg {
    const void *in; /* host: uploaded; NULL: nothing is */
    void *out;      /* host: downloaded at the end; NULL: nothing is. One of both is set, or neither: a hole */
    size_t bytes;
    void *there; /* the operation's argument; NULL for a hole */
} spade_device_arg;

/* Room on the device for all, and the uploads. `block` and `block_bytes` are for spade_device_args_close. */
spade_status spade_device_args_open(spade_context *context, const char *what, spade_device_arg *arrays, int n,
                                    void **block, size_t *block_bytes);
/* Downloads, complete when it returns. */
spade_status spade_device_args_read(spade_context *context, const spade_device_arg *arrays, int n);
/* After open, whether or not that or the operation failed: nothing reads the host's arrays any more. */
void spade_device_args_close(spade_context *context, void *block, size_t block_bytes);

#endif
