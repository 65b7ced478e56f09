/* events.c - stand-in for CUDA's events: on a clock that runs by the work of the stand-ins, so that times are the same
 * in every run. */
#include <stdlib.h>

#include "capture.h"
#include "dnn_standin.h"

struct CUevent_st {
    bool recorded;
    double time;
    cudaStream_t stream;
    uint64_t copies; /* of the stream that come before it (pinned.c) */
    capture_place place;
};

static double clock_now; /* milliseconds of work done on the one device */

void standin_work(double milliseconds)
{
    clock_now += milliseconds;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    *event = calloc(1, sizeof **event);
    return *event ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    standin_require(flags <= 3, "cudaEventCreateWithFlags", "known flags");
    return cudaEventCreate(event);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    standin_require(event, "cudaEventDestroy", "an event");
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    standin_stream(stream, "cudaEventRecord");
    event->recorded = true;
    event->time = clock_now;
    event->stream = stream;
    event->copies = pinned_now();
    cudaError_t result = capture_record(stream, &event->place);
    return result == cudaSuccess ? (cudaError_t)standin_state() : result;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    standin_require(event->recorded, "cudaEventSynchronize", "a recorded event");
    if (event->place.capture) { return standin_note(cudaErrorCapturedEvent); }
    cudaError_t refused = capture_refuse_any();
    if (refused != cudaSuccess) { return refused; }
    if (standin_state() == cudaSuccess) { pinned_finish(event->stream, event->copies); }
    return standin_state();
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end)
{
    standin_require(begin->recorded && end->recorded, "cudaEventElapsedTime", "recorded events");
    *milliseconds = (float)(end->time - begin->time);
    return standin_state();
}

/* Work is done when it is enqueued, so waiting is only checked; a capture spreads by it. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    standin_stream(stream, "cudaStreamWaitEvent");
    standin_require(event && event->recorded && flags == 0, "cudaStreamWaitEvent",
                    "an event that was recorded, no flags");
    cudaError_t result = capture_wait(stream, &event->place);
    return result == cudaSuccess ? (cudaError_t)standin_state() : result;
}
