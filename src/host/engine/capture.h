/*
 * capture.h - the same work, enqueued again and again: done directly the first time, captured the second time where the
 * backend can (CUDA graphs), and replayed from then on.
 */
#ifndef SPADE_ENGINE_REPEAT_H
#define SPADE_ENGINE_REPEAT_H

#include "backend/backend.h"

typedef struct spade_capture {
    spade_captured_graph *captured;
    uint64_t key;
    int runs;     /* with this key */
    bool refused; /* cannot be captured */
} spade_capture;  /* all zero: new */

/* Enqueues the same operations on the same memory at every call; nothing of it waits for the device. */
typedef spade_status (*spade_capture_fn)(void *user);

/*
 * Do it. key: a number of what the work is and of the memory it is done on; with another one than last time it is new
 * work. What a capture refuses (a library may) is done directly, from then on always.
 */
spade_status spade_capture_run(spade_device *device, spade_capture *capture, uint64_t key, spade_capture_fn work,
                               void *user);
void spade_capture_clear(spade_device *device, spade_capture *capture);

#endif
