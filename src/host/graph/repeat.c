/* repeat.c - recordings where the backend has them. */
#include "graph/repeat.h"

void spade_repeat_clear(spade_device *device, spade_repeat *repeat)
{
    if (repeat->recording) { device->backend->record_destroy(device, repeat->recording); }
    *repeat = (spade_repeat){0};
}

/* NULL: it cannot be recorded. */
static spade_recording *record(spade_device *device, spade_repeat_fn work, void *user)
{
    spade_recording *recording = NULL;
    if (device->backend->record_begin(device) != SPADE_OK) { return NULL; }
    spade_status status = work(user), ended = device->backend->record_end(device, &recording);
    if (status == SPADE_OK && ended == SPADE_OK) { return recording; }
    device->backend->record_destroy(device, recording);
    return NULL;
}

spade_status spade_repeat_run(spade_device *device, spade_repeat *repeat, uint64_t key, spade_repeat_fn work,
                              void *user)
{
    if (device->context->profile) { return work(user); } /* its stages wait, which cannot be recorded */
    if (repeat->key != key) { spade_repeat_clear(device, repeat); }
    repeat->key = key;
    if (device->backend->record_begin && !repeat->recording && !repeat->refused && repeat->runs > 0) {
        repeat->recording = record(device, work, user);
        repeat->refused = !repeat->recording;
        if (repeat->refused) {
            spade_log(device->context, SPADE_LOG_INFO, "not recorded, enqueued anew each time: %s",
                      spade_message(device->context));
            device->context->message[0] = '\0'; /* it is no failure of the caller's */
        }
    }
    repeat->runs += !repeat->runs;
    return repeat->recording ? device->backend->replay(device, repeat->recording) : work(user);
}
