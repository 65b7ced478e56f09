/*
 * recording.c - recordings: CUDA graphs captured from the device's stream.
 *
 * What would wait for the device, take memory or read the host's later cannot be in one. The first failure while one is
 * made, ours or a library's, is noted and is what `record_end` returns: by then the libraries only say that the capture
 * is void. Graphs and what the driver keeps for them on the device are not counted against the budget; they are some
 * kilobytes a kernel.
 */
#include "backend/cuda/cuda.h"

struct spade_recording {
    cudaGraphExec_t graph;
};

/* What a device knows about the recording that is being made. */
struct spade_cuda_record {
    bool active;
    spade_status status; /* the first failure, with its message */
    char message[sizeof((spade_context *)0)->message];
};

spade_status spade_cuda_record_open(spade_cuda_device *cuda)
{
    cuda->record = calloc(1, sizeof *cuda->record);
    if (!cuda->record) {
        return spade_fail(cuda->base.context, SPADE_ERROR_MEMORY, "out of memory: device cuda:%d", cuda->index);
    }
    SPADE_CUDA_TRY(cuda, cudaStreamCreateWithFlags(&cuda->aside, cudaStreamNonBlocking));
    SPADE_CUDA_TRY(cuda, cudaEventCreateWithFlags(&cuda->before, cudaEventDisableTiming));
    return SPADE_OK;
}

void spade_cuda_record_close(spade_cuda_device *cuda)
{
    if (cuda->before) { (void)cudaEventDestroy(cuda->before); }
    if (cuda->aside) { (void)cudaStreamDestroy(cuda->aside); }
    free(cuda->record);
}

bool spade_cuda_records(const spade_cuda_device *cuda)
{
    return cuda->record && cuda->record->active;
}

spade_status spade_cuda_noted(const spade_cuda_device *cuda, spade_status status)
{
    struct spade_cuda_record *record = cuda->record;
    if (status == SPADE_OK || !spade_cuda_records(cuda) || record->status != SPADE_OK) { return status; }
    record->status = status;
    snprintf(record->message, sizeof record->message, "%s", spade_message(cuda->base.context));
    return status;
}

spade_status spade_cuda_refuse(const spade_cuda_device *cuda, const char *what)
{
    if (!spade_cuda_records(cuda)) { return SPADE_OK; }
    return spade_cuda_noted(cuda, spade_fail(cuda->base.context, SPADE_ERROR_ARGUMENT,
                                             "cuda:%d: a recording cannot hold %s", cuda->index, what));
}

/* Memory that is freed meanwhile goes to a stream of its own, behind all that was enqueued before. */
spade_status spade_cuda_record_begin(spade_device *device)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_TRY(spade_cuda_refuse(cuda, "another one"));
    SPADE_CUDA_TRY(cuda, cudaEventRecord(cuda->before, cuda->stream));
    SPADE_CUDA_TRY(cuda, cudaStreamWaitEvent(cuda->aside, cuda->before, 0));
    SPADE_CUDA_TRY(cuda, cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal));
    cuda->record->active = true;
    cuda->record->status = SPADE_OK;
    return SPADE_OK;
}

/* Ready to launch: uploaded, so that the first replay takes no longer than the others. */
static spade_status make_ready(spade_cuda_device *cuda, cudaGraph_t graph, spade_recording *recording)
{
    SPADE_CUDA_TRY(cuda, cudaGraphInstantiateWithFlags(&recording->graph, graph, 0));
    SPADE_CUDA_TRY(cuda, cudaGraphUpload(recording->graph, cuda->stream));
    return SPADE_OK;
}

spade_status spade_cuda_record_end(spade_device *device, spade_recording **out)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    spade_context *context = device->context;
    cudaGraph_t graph = NULL;
    *out = NULL;
    if (!spade_cuda_records(cuda)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "cuda:%d: there is no recording to end", cuda->index);
    }
    cudaError_t result = cudaStreamEndCapture(cuda->stream, &graph);
    cuda->record->active = false;
    spade_status status = cuda->record->status;
    if (status != SPADE_OK) {
        spade_fail(context, status, "%s", cuda->record->message);
    } else {
        status = spade_cuda_status(cuda, result, "cudaStreamEndCapture");
    }
    if (result != cudaSuccess) { (void)cudaGetLastError(); } /* the capture's, not the device's: it goes on */
    spade_recording *recording = status == SPADE_OK ? calloc(1, sizeof *recording) : NULL;
    if (status == SPADE_OK && !recording) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a recording");
    }
    if (status == SPADE_OK) { status = make_ready(cuda, graph, recording); }
    if (graph) { (void)cudaGraphDestroy(graph); }
    if (status != SPADE_OK) {
        spade_cuda_record_destroy(device, recording);
        return status;
    }
    *out = recording;
    return SPADE_OK;
}

spade_status spade_cuda_replay(spade_device *device, spade_recording *recording)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_TRY(spade_cuda_refuse(cuda, "the replay of another one"));
    SPADE_CUDA_TRY(cuda, cudaGraphLaunch(recording->graph, cuda->stream));
    return SPADE_OK;
}

/* A graph that still runs is given up by the driver when it has run. */
void spade_cuda_record_destroy(spade_device *device, spade_recording *recording)
{
    (void)device;
    if (!recording) { return; }
    if (recording->graph) { (void)cudaGraphExecDestroy(recording->graph); }
    free(recording);
}
