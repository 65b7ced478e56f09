/* capture.c - stand-in for stream capture and CUDA graphs: work is kept with its arguments and done at every launch. */
#include <stdlib.h>
#include <string.h>

#include "capture.h"

/* A piece of work: its own copy of what it was submitted with. */
typedef struct work {
    struct work *next;
    void (*run)(const void *data);
    void (*release)(void *data);
    max_align_t data[];
} work;

struct CUgraph_st {
    work *first, **last;
    int holders; /* a graph is shared with what was instantiated from it */
};
struct CUgraphExec_st {
    cudaGraph_t graph;
};

typedef struct capture {
    uint64_t number;
    cudaStream_t streams[CAPTURE_STREAMS];
    int count;
    bool invalid;
    cudaGraph_t graph;
} capture;

static uint64_t captures;  /* begun so far */
static capture *capturing; /* by the one thread; NULL: none */

static void release_graph(cudaGraph_t graph)
{
    if (--graph->holders > 0) { return; }
    for (work *w = graph->first, *next; w; w = next) {
        next = w->next;
        if (w->release) { w->release(w->data); }
        free(w);
    }
    free(graph);
}

static cudaError_t advance(cudaStream_t stream)
{
    if (standin_fails("capture")) { stream->capture->invalid = true; } /* by something that a library did inside */
    if (stream->capture->invalid) { return cudaErrorStreamCaptureInvalidated; }
    stream->place.after[stream->index]++;
    return cudaSuccess;
}

int standin_submit(const void *on, void (*run)(const void *data), void (*release)(void *data), void *data, size_t bytes)
{
    struct CUstream_st *stream = (struct CUstream_st *)(uintptr_t)on;
    cudaError_t result = standin_state();
    if (result == cudaSuccess && !stream->capture) { run(data); }
    if (result == cudaSuccess && stream->capture) { result = advance(stream); }
    if (result != cudaSuccess || !stream->capture) {
        if (release) { release(data); }
        return (int)result;
    }
    work *w = malloc(sizeof *w + bytes);
    standin_require(w, "a capture", "memory of the host");
    *w = (work){.run = run, .release = release};
    memcpy(w->data, data, bytes);
    *stream->capture->graph->last = w;
    stream->capture->graph->last = &w->next;
    return 0;
}

/* ---- what is not allowed there */

bool standin_captures(const void *stream)
{
    return ((const struct CUstream_st *)stream)->capture != NULL;
}

cudaError_t capture_refuse(cudaStream_t stream)
{
    if (!stream->capture) { return cudaSuccess; }
    stream->capture->invalid = true;
    return standin_note(cudaErrorStreamCaptureUnsupported);
}

cudaError_t capture_refuse_any(void)
{
    return capturing ? capture_refuse(capturing->streams[0]) : cudaSuccess;
}

/* ---- forks and joins */

static void join(capture *c, cudaStream_t stream)
{
    standin_require(c->count < CAPTURE_STREAMS, "cudaStreamWaitEvent", "few enough streams in a capture");
    stream->capture = c;
    stream->index = c->count;
    stream->place = (capture_place){.capture = c->number};
    c->streams[c->count++] = stream;
}

cudaError_t capture_record(cudaStream_t stream, capture_place *event)
{
    *event = (capture_place){0};
    if (!stream->capture) { return cudaSuccess; }
    *event = stream->place;
    return standin_note(stream->capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess);
}

cudaError_t capture_wait(cudaStream_t stream, const capture_place *event)
{
    if (!event->capture && !stream->capture) { return cudaSuccess; }
    if (!event->capture) { /* of work that is not in the capture */
        stream->capture->invalid = true;
        return standin_note(cudaErrorStreamCaptureIsolation);
    }
    if (!capturing || capturing->number != event->capture) { return standin_note(cudaErrorCapturedEvent); }
    if (!stream->capture) { join(capturing, stream); }
    for (int i = 0; i < capturing->count; i++) {
        if (event->after[i] > stream->place.after[i]) { stream->place.after[i] = event->after[i]; }
    }
    return standin_note(advance(stream));
}

/* ---- begin and end */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    standin_stream(stream, "cudaStreamBeginCapture");
    standin_require(mode <= cudaStreamCaptureModeRelaxed, "cudaStreamBeginCapture", "a known mode");
    if (standin_state() != cudaSuccess) { return standin_state(); }
    if (capturing || standin_fails("cudaStreamBeginCapture")) { return standin_note(cudaErrorInvalidValue); }
    capture *c = calloc(1, sizeof *c);
    cudaGraph_t graph = calloc(1, sizeof *graph);
    standin_require(c && graph, "cudaStreamBeginCapture", "memory of the host");
    graph->last = &graph->first;
    graph->holders = 1;
    *c = (capture){.number = ++captures, .graph = graph};
    join(c, stream);
    capturing = c;
    return cudaSuccess;
}

/* Everything on every stream of the capture lies before the first one's end. */
static bool is_joined(const capture *c)
{
    for (int i = 1; i < c->count; i++) {
        if (c->streams[0]->place.after[i] < c->streams[i]->place.after[i]) { return false; }
    }
    return true;
}

/* Must be called for a capture that is void too: the stream is one again that work is done on. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    standin_stream(stream, "cudaStreamEndCapture");
    *graph = NULL;
    capture *c = stream->capture;
    if (!c || c->streams[0] != stream) { return standin_note(cudaErrorStreamCaptureUnmatched); }
    cudaError_t result = standin_state();
    if (result == cudaSuccess && !is_joined(c)) { result = cudaErrorStreamCaptureUnjoined; }
    if (result == cudaSuccess && (c->invalid || standin_fails("cudaStreamEndCapture"))) {
        result = cudaErrorStreamCaptureInvalidated;
    }
    for (int i = 0; i < c->count; i++) { c->streams[i]->capture = NULL; }
    if (result == cudaSuccess) {
        *graph = c->graph;
    } else {
        release_graph(c->graph);
    }
    capturing = NULL;
    free(c);
    return (cudaError_t)standin_note((int)result);
}

/* ---- graphs */

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    standin_require(graph && flags == 0, "cudaGraphInstantiateWithFlags", "a graph, no flags");
    *exec = NULL;
    if (standin_state() != cudaSuccess) { return standin_state(); }
    if (capture_refuse_any() != cudaSuccess) { return cudaErrorStreamCaptureUnsupported; }
    if (standin_fails("cudaGraphInstantiateWithFlags")) { return standin_note(cudaErrorMemoryAllocation); }
    *exec = calloc(1, sizeof **exec);
    standin_require(*exec, "cudaGraphInstantiateWithFlags", "memory of the host");
    (*exec)->graph = graph;
    graph->holders++;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    standin_require(graph && graph->holders > 0, "cudaGraphDestroy", "a graph");
    release_graph(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    standin_require(exec, "cudaGraphExecDestroy", "an executable graph");
    if (capture_refuse_any() != cudaSuccess) { return cudaErrorStreamCaptureUnsupported; }
    release_graph(exec->graph);
    free(exec);
    return cudaSuccess;
}

/* Both enqueue something on a stream that is not captured. */
static cudaError_t begin_launch(cudaGraphExec_t exec, cudaStream_t stream, const char *call)
{
    standin_stream(stream, call);
    standin_require(exec != NULL, call, "an executable graph");
    cudaError_t refused = capture_refuse(stream);
    if (refused != cudaSuccess) { return refused; }
    return standin_fails(call) ? standin_note(cudaErrorMemoryAllocation) : standin_state();
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream)
{
    return begin_launch(exec, stream, "cudaGraphUpload");
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    cudaError_t result = begin_launch(exec, stream, "cudaGraphLaunch");
    if (result != cudaSuccess) { return result; }
    for (const work *w = exec->graph->first; w; w = w->next) { w->run(w->data); }
    return standin_lost() ? standin_state() : cudaSuccess;
}
