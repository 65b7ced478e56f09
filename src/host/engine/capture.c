/* capture.c - captured graphs where the backend has them. */
#include "engine/capture.h"

void spade_capture_clear(spade_device *device, spade_capture *capture)
{
    if (capture->captured) { device->backend->graph_destroy(device, capture->captured); }
    *capture = (spade_capture){0};
}

/* NULL: it cannot be captured. */
static spade_captured_graph *capture_work(spade_device *device, spade_capture_fn work, void *user)
{
    spade_captured_graph *captured = NULL;
    if (device->backend->capture_begin(device) != SPADE_OK) { return NULL; }
    spade_status status = work(user), ended = device->backend->capture_end(device, &captured);
    if (status == SPADE_OK && ended == SPADE_OK) { return captured; }
    device->backend->graph_destroy(device, captured);
    return NULL;
}

spade_status spade_capture_run(spade_device *device, spade_capture *capture, uint64_t key, spade_capture_fn work,
                               void *user)
{
    if (device->context->profile) { return work(user); } /* its stages wait, which cannot be captured */
    if (capture->key != key) { spade_capture_clear(device, capture); }
    capture->key = key;
    if (device->backend->capture_begin && !capture->captured && !capture->refused && capture->runs > 0) {
        capture->captured = capture_work(device, work, user);
        capture->refused = !capture->captured;
        if (capture->refused) {
            spade_log(device->context, SPADE_LOG_INFO, "not recorded, enqueued anew each time: %s",
                      spade_message(device->context));
            spade_error_clear(device->context);
        }
    }
    capture->runs += !capture->runs;
    return capture->captured ? device->backend->graph_launch(device, capture->captured) : work(user);
}
