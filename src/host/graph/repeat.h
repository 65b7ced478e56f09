/*
 * repeat.h - the same work, enqueued again and again: done directly the first time, recorded the second time where the
 * backend can (CUDA graphs), and replayed from then on.
 */
#ifndef SPADE_GRAPH_REPEAT_H
#define SPADE_GRAPH_REPEAT_H

#include "backend/backend.h"

typedef struct spade_repeat {
    spade_recording *recording;
    uint64_t key;
    int runs;     /* with this key */
    bool refused; /* cannot be recorded */
} spade_repeat;   /* all zero: new */

/* Enqueues the same operations on the same memory at every call; nothing of it waits for the device. */
typedef spade_status (*spade_repeat_fn)(void *user);

/*
 * Do it. key: a number of what the work is and of the memory it is done on; with another one than last time it is new
 * work. What a recording refuses (a library may) is done directly, from then on always.
 */
spade_status spade_repeat_run(spade_device *device, spade_repeat *repeat, uint64_t key, spade_repeat_fn work,
                              void *user);
void spade_repeat_clear(spade_device *device, spade_repeat *repeat);

#endif
