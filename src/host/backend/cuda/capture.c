/*
 * capture.c - CUDA graphs captured from the device's stream.
 *
 * A thread that captures must not wait for the device, nor take or free memory, on whatever stream: the capture would
 * be void, and every later call in it would fail. So waits and allocations are refused before CUDA is called, and
 * memory that is freed meanwhile is kept until the capture ends. The first failure during a capture, ours or a
 * library's, is what `capture_end` returns: by then the libraries only say that the capture is void.
 *
 * Graphs and what the driver keeps for them on the device are not counted against the budget; they are some kilobytes a
 * kernel.
 */
#include "backend/cuda/cuda.h"

struct spade_captured_graph {
    cudaGraphExec_t graph;
};

/* What a device knows about the graph that is being captured. */
struct spade_cuda_capture {
    bool active;
    spade_status status; /* the first failure */
    spade_error error;   /* its message */
    void **freed;        /* device memory to free when the capture has ended: [freed_count], room for freed_capacity */
    size_t freed_count, freed_capacity;
};

spade_status spade_cuda_capture_open(spade_cuda_device *cuda)
{
    cuda->record = calloc(1, sizeof *cuda->record);
    if (!cuda->record) {
        return spade_fail(cuda->base.context, SPADE_ERROR_MEMORY, "out of memory: device cuda:%d", cuda->index);
    }
    return SPADE_OK;
}

void spade_cuda_capture_close(spade_cuda_device *cuda)
{
    if (cuda->record) { free(cuda->record->freed); }
    free(cuda->record);
}

bool spade_cuda_capturing(const spade_cuda_device *cuda)
{
    return cuda->record && cuda->record->active;
}

spade_status spade_cuda_latch_error(const spade_cuda_device *cuda, spade_status status)
{
    struct spade_cuda_capture *record = cuda->record;
    if (status == SPADE_OK || !spade_cuda_capturing(cuda) || record->status != SPADE_OK) { return status; }
    record->status = status;
    spade_error_save(cuda->base.context, &record->error);
    return status;
}

spade_status spade_cuda_refuse_capture(const spade_cuda_device *cuda, const char *what)
{
    if (!spade_cuda_capturing(cuda)) { return SPADE_OK; }
    return spade_cuda_latch_error(cuda, spade_fail(cuda->base.context, SPADE_ERROR_ARGUMENT,
                                                   "cuda:%d: a recording cannot hold %s", cuda->index, what));
}

/* Without room in the list the memory is lost to the device, and the capture fails. */
bool spade_cuda_defer_free(spade_cuda_device *cuda, void *pointer)
{
    struct spade_cuda_capture *record = cuda->record;
    if (!spade_cuda_capturing(cuda)) { return false; }
    if (record->freed_count == record->freed_capacity) {
        size_t capacity = record->freed_capacity ? 2 * record->freed_capacity : 64;
        void **freed = realloc(record->freed, capacity * sizeof *freed);
        if (!freed) {
            spade_cuda_latch_error(
                cuda, spade_fail(cuda->base.context, SPADE_ERROR_MEMORY, "out of memory: list of freed memory"));
            return true;
        }
        record->freed = freed;
        record->freed_capacity = capacity;
    }
    record->freed[record->freed_count++] = pointer;
    return true;
}

static void free_deferred(spade_cuda_device *cuda)
{
    struct spade_cuda_capture *record = cuda->record;
    while (record->freed_count) {
        spade_cuda_ignore_error(cudaFreeAsync(record->freed[--record->freed_count], cuda->stream));
    }
}

spade_status spade_cuda_capture_begin(spade_device *device)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_TRY(spade_cuda_refuse_capture(cuda, "another one"));
    SPADE_CUDA_TRY(cuda, cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal));
    cuda->record->active = true;
    cuda->record->status = SPADE_OK;
    return SPADE_OK;
}

/* Ready to launch: uploaded, so that the first graph_launch takes no longer than the others. */
static spade_status make_ready(spade_cuda_device *cuda, cudaGraph_t graph, spade_captured_graph *captured)
{
    SPADE_CUDA_TRY(cuda, cudaGraphInstantiateWithFlags(&captured->graph, graph, 0));
    SPADE_CUDA_TRY(cuda, cudaGraphUpload(captured->graph, cuda->stream));
    return SPADE_OK;
}

spade_status spade_cuda_capture_end(spade_device *device, spade_captured_graph **out)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    spade_context *context = device->context;
    cudaGraph_t graph = NULL;
    *out = NULL;
    if (!spade_cuda_capturing(cuda)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "cuda:%d: there is no recording to end", cuda->index);
    }
    cudaError_t result = cudaStreamEndCapture(cuda->stream, &graph); /* also where the capture is void: it ends it */
    cuda->record->active = false;
    spade_status status = cuda->record->status;
    if (status != SPADE_OK) {
        spade_cuda_ignore_error(result);
        spade_error_restore(context, &cuda->record->error);
    } else {
        status = spade_cuda_status(cuda, result, "cudaStreamEndCapture");
    }
    free_deferred(cuda);
    spade_captured_graph *captured = status == SPADE_OK ? calloc(1, sizeof *captured) : NULL;
    if (status == SPADE_OK && !captured) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a recording");
    }
    if (status == SPADE_OK) { status = make_ready(cuda, graph, captured); }
    if (graph) { spade_cuda_ignore_error(cudaGraphDestroy(graph)); }
    if (status != SPADE_OK) {
        spade_cuda_graph_destroy(device, captured);
        return status;
    }
    *out = captured;
    return SPADE_OK;
}

spade_status spade_cuda_graph_launch(spade_device *device, spade_captured_graph *captured)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_TRY(spade_cuda_refuse_capture(cuda, "the replay of another one"));
    SPADE_CUDA_TRY(cuda, cudaGraphLaunch(captured->graph, cuda->stream));
    return SPADE_OK;
}

/* A graph that still runs is given up by the driver when it has run. */
void spade_cuda_graph_destroy(spade_device *device, spade_captured_graph *captured)
{
    (void)device;
    if (!captured) { return; }
    if (captured->graph) { spade_cuda_ignore_error(cudaGraphExecDestroy(captured->graph)); }
    free(captured);
}
