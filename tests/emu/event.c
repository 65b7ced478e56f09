/* event.c - stand-in for the CUDA runtime's events. Work is done when it is enqueued, so waiting is only checked. */
#include <stdlib.h>

#include <cuda_runtime_api.h>

#include "standin.h"

struct CUevent_st {
    int recorded;
};

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    standin_require(flags <= 3, "cudaEventCreateWithFlags", "known flags");
    *event = calloc(1, sizeof **event);
    return *event ? cudaGetLastError() : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    standin_stream(stream, "cudaEventRecord");
    standin_require(event != NULL, "cudaEventRecord", "an event");
    event->recorded = 1;
    return cudaGetLastError();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    standin_stream(stream, "cudaStreamWaitEvent");
    standin_require(event && event->recorded && flags == 0, "cudaStreamWaitEvent",
                    "an event that was recorded, no flags");
    return cudaGetLastError();
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    standin_require(event != NULL, "cudaEventDestroy", "an event");
    free(event);
    return cudaGetLastError();
}
