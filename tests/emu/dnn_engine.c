/* dnn_engine.c - stand-in for cuDNN: the engines of an imagined GPU; dnn_standin.h lists them. */
#include <stdlib.h>
#include <string.h>

#include "dnn_standin.h"

static bool channels_last(const dnn_tensor *t)
{
    return t->strides[1] == 1;
}

static bool row_major(const dnn_tensor *t)
{
    return t->strides[3] == 1;
}

static bool symmetric(const dnn_window *w)
{
    return w->before[0] == w->after[0] && w->before[1] == w->after[1];
}

static bool exists(int64_t number)
{
    const char *there = getenv("SPADE_STANDIN_ENGINES");
    return number >= 0 && number < DNN_ENGINES && (!there || strchr(there, '0' + (int)number));
}

cudnnStatus_t dnn_engine_supports(int64_t number, const descriptor *graph)
{
    dnn_convolution c = dnn_convolution_of(graph);
    bool last = channels_last(c.x) && channels_last(c.y) && channels_last(c.weights);
    bool rows = row_major(c.x) && row_major(c.y) && row_major(c.weights);
    bool half = c.weights->type == CUDNN_DATA_BFLOAT16, alone = graph->of.graph.count == 1, fits = false;
    if (!exists(number)) { return CUDNN_STATUS_NOT_SUPPORTED; }
    switch (number) {
    case 0: fits = last && symmetric(c.window) && (!half || c.groups == 1); break;
    case 1:
        fits = !half && c.weights->dims[2] == 3 && c.weights->dims[3] == 3 && c.window->stride[0] == 1 &&
               c.window->stride[1] == 1;
        break;
    case 2: fits = !half; break;
    case 3: fits = !half && last && c.groups == 1 && symmetric(c.window); break;
    case 4: fits = !half && alone && symmetric(c.window); break;
    case 5: fits = !half; break;
    default: fits = !half && alone && rows; break;
    }
    return fits ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

int64_t dnn_engine_workspace(int64_t number, const descriptor *graph)
{
    dnn_convolution c = dnn_convolution_of(graph);
    return number == 5 ? (int64_t)1 << 30 : number == 3 ? dnn_tensor_bytes(c.x) : 0;
}

double dnn_engine_milliseconds(int64_t number)
{
    static const double milliseconds[DNN_ENGINES] = {1, 1, 2, 4, 3, 2, 10};
    return milliseconds[number];
}

bool dnn_engine_rounds(int64_t number)
{
    return number == 0;
}

int dnn_engine_notes(int64_t number, cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT])
{
    switch (number) {
    case 0: notes[0] = CUDNN_NUMERICAL_NOTE_TENSOR_CORE; return 1;
    case 1:
        notes[0] = CUDNN_NUMERICAL_NOTE_WINOGRAD;
        notes[1] = CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4;
        return 2;
    case 2: notes[0] = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC; return 1;
    case 4: notes[0] = CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP; return 1;
    default: return 0;
    }
}

int dnn_engine_list(cudnnBackendHeurMode_t mode, const descriptor *graph, int64_t numbers[DNN_ENGINES])
{
    static const int64_t best[] = {0, 1, 2, 5, 3}, fallback[] = {2, 4};
    bool is_fallback = mode == CUDNN_HEUR_MODE_FALLBACK;
    const int64_t *order = is_fallback ? fallback : best;
    int length = is_fallback ? 2 : 5, count = 0;
    for (int i = 0; i < length; i++) {
        if (dnn_engine_supports(order[i], graph) == CUDNN_STATUS_SUCCESS) { numbers[count++] = order[i]; }
    }
    return count;
}
