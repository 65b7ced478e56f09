/* dnn_operation.c - stand-in for cuDNN: do the parts of operations and graphs belong together? */
#include <string.h>

#include "dnn_standin.h"

static const char call[] = "cudnnBackendFinalize";

static bool same_dims(const dnn_tensor *a, const dnn_tensor *b)
{
    return memcmp(a->dims, b->dims, sizeof a->dims) == 0;
}

static void check_tensor(const dnn_tensor *t)
{
    for (int i = 0; i < 4; i++) { standin_require(t->dims[i] > 0 && t->strides[i] > 0, call, "sizes above 0"); }
    standin_require(t->alignment >= 4 && !(t->alignment & (t->alignment - 1)), call, "an alignment of a power of two");
    standin_require(t->type == CUDNN_DATA_FLOAT || t->type == CUDNN_DATA_BFLOAT16, call, "a known type of elements");
}

static void check_window(const dnn_window *w)
{
    standin_require(w->axes == 2 && w->sums == CUDNN_DATA_FLOAT, call, "two axes, sums in float32");
    standin_require(w->mode == CUDNN_CROSS_CORRELATION, call, "cross correlation");
    for (int i = 0; i < 2; i++) {
        standin_require(w->before[i] >= 0 && w->after[i] >= 0 && w->dilation[i] >= 1 && w->stride[i] >= 1, call,
                        "a window of possible numbers");
    }
}

/* x, y of a convolution, whichever way it goes. */
static void check_convolution(const dnn_operation *op, bool backward)
{
    const dnn_tensor *x = backward ? &op->out->of.tensor : &op->in->of.tensor;
    const dnn_tensor *y = backward ? &op->in->of.tensor : &op->out->of.tensor;
    const dnn_tensor *weights = &op->weights->of.tensor;
    const dnn_window *w = &op->rule->of.window;
    standin_require(x->dims[0] == y->dims[0] && y->dims[1] == weights->dims[0], call, "shapes that belong together");
    standin_require(x->dims[1] % weights->dims[1] == 0, call, "channels in whole groups");
    standin_require(y->dims[1] % (x->dims[1] / weights->dims[1]) == 0, call, "outputs in whole groups");
    for (int i = 0; i < 2; i++) {
        int64_t room = x->dims[2 + i] + w->before[i] + w->after[i] - (weights->dims[2 + i] - 1) * w->dilation[i] - 1;
        standin_require(room >= 0 && y->dims[2 + i] == room / w->stride[i] + 1, call, "the window's output size");
    }
    standin_require(op->alpha == 1 && op->beta == 0, call, "alpha 1, beta 0");
    standin_require(op->in->of.tensor.type == weights->type, call, "inputs of one type");
}

static void check_pointwise(const dnn_operation *op)
{
    const dnn_tensor *in = &op->in->of.tensor, *out = &op->out->of.tensor;
    bool adds = op->rule->of.pointwise.mode == CUDNN_POINTWISE_ADD;
    standin_require(op->rule->of.pointwise.precision == CUDNN_DATA_FLOAT, call, "float32");
    standin_require(adds || op->rule->of.pointwise.mode == CUDNN_POINTWISE_RELU_FWD, call, "a known function");
    standin_require(same_dims(in, out), call, "shapes that belong together");
    standin_require(adds == (op->second != NULL), call, "a second operand where the function has one");
    for (int i = 0; adds && i < 4; i++) {
        int64_t size = op->second->of.tensor.dims[i];
        standin_require(size == 1 || size == in->dims[i], call, "an operand that broadcasts");
    }
}

/* A chain: a convolution, and what is done with its result. */
static void check_graph(const descriptor *d)
{
    const dnn_operation *before = NULL;
    for (int64_t i = 0; i < d->of.graph.count; i++) {
        const descriptor *part = d->of.graph.operations[i];
        const dnn_operation *op = &part->of.operation;
        bool pointwise = part->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
        bool last = i + 1 == d->of.graph.count;
        standin_require(pointwise == (i > 0), call, "a convolution, then functions of its elements");
        standin_require(!before || op->in == before->out, call, "operations in a chain");
        standin_require(op->out->of.tensor.is_virtual == !last, call, "virtual tensors inside, none at the end");
        before = op;
    }
    for (int64_t name = 0; name < 64; name++) { (void)dnn_find_tensor(d, name); }
}

void dnn_check_parts(const descriptor *d)
{
    switch (d->type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR: check_tensor(&d->of.tensor); break;
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR: check_window(&d->of.window); break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR: check_convolution(&d->of.operation, false); break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR: check_convolution(&d->of.operation, true); break;
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: check_pointwise(&d->of.operation); break;
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR: check_graph(d); break;
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
        standin_require(d->of.pack.pointer_count == d->of.pack.name_count, call, "as many pointers as names");
        break;
    default: break;
    }
}

dnn_convolution dnn_convolution_of(const descriptor *graph)
{
    const descriptor *first = graph->of.graph.operations[0];
    const dnn_operation *op = &first->of.operation;
    bool backward = first->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR;
    dnn_convolution c = {.x = &(backward ? op->out : op->in)->of.tensor,
                         .weights = &op->weights->of.tensor,
                         .y = &(backward ? op->in : op->out)->of.tensor,
                         .window = &op->rule->of.window,
                         .backward = backward};
    c.groups = c.x->dims[1] / c.weights->dims[1];
    return c;
}

const dnn_tensor *dnn_find_tensor(const descriptor *graph, int64_t name)
{
    const descriptor *found = NULL;
    for (int64_t i = 0; i < graph->of.graph.count; i++) {
        const dnn_operation *op = &graph->of.graph.operations[i]->of.operation;
        const descriptor *tensors[] = {op->in, op->weights, op->out, op->second};
        for (int k = 0; k < 4; k++) {
            if (!tensors[k] || tensors[k]->of.tensor.name != name) { continue; }
            standin_require(!found || found == tensors[k], call, "a name of its own for every tensor");
            found = tensors[k];
        }
    }
    return found && !found->of.tensor.is_virtual ? &found->of.tensor : NULL;
}

int64_t dnn_tensor_bytes(const dnn_tensor *t)
{
    int64_t last = 0;
    for (int i = 0; i < 4; i++) { last += (t->dims[i] - 1) * t->strides[i]; }
    return (last + 1) * (t->type == CUDNN_DATA_BFLOAT16 ? 2 : 4);
}
