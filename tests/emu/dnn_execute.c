/* dnn_execute.c - stand-in for cuDNN: a graph computed through unfolded patches and a matrix product. */
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "dnn_standin.h"

typedef struct operand {
    const dnn_tensor *t;
    char *memory;
} operand;

static int64_t offset(const dnn_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return n * t->strides[0] + c * t->strides[1] + h * t->strides[2] + w * t->strides[3];
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float load(operand o, int64_t at)
{
    if (o.t->type == CUDNN_DATA_FLOAT) { return ((const float *)o.memory)[at]; }
    return from_bits((uint32_t)((const uint16_t *)o.memory)[at] << 16);
}

static void store(operand o, int64_t at, float value)
{
    if (o.t->type == CUDNN_DATA_FLOAT) {
        ((float *)o.memory)[at] = value;
    } else {
        ((uint16_t *)o.memory)[at] = (uint16_t)(to_bits(standin_rounded(value, STANDIN_BF16_DROPS)) >> 16);
    }
}

static operand find(const descriptor *pack, const dnn_tensor *t)
{
    for (int64_t i = 0; i < pack->of.pack.name_count; i++) {
        if (pack->of.pack.names[i] == t->name) { return (operand){t, pack->of.pack.pointers[i]}; }
    }
    return (operand){t, NULL}; /* virtual */
}

static float *take(int64_t n)
{
    float *memory = calloc((size_t)n, sizeof *memory);
    standin_require(memory, "cudnnBackendExecute", "memory of the host");
    return memory;
}

/* Visit (row = channel, kernel row, kernel column; column = output position) of one image and group that lie inside:
 * patches [rows, columns] = x where `x` is read, x += patches where it is written. */
typedef struct unfolding {
    const dnn_convolution *c;
    int64_t n, group;
    float *patches;
    operand x;   /* read: forward */
    float *sums; /* written: backward, [channels of the group, H, W] */
    bool rounds;
} unfolding;

static void unfold_row(const unfolding *u, int64_t channel, int64_t r, int64_t s, float *row)
{
    const dnn_window *w = u->c->window;
    const dnn_tensor *x = u->c->x;
    int64_t p_count = u->c->y->dims[2], q_count = u->c->y->dims[3], whole = u->group * u->c->weights->dims[1] + channel;
    for (int64_t p = 0; p < p_count; p++) {
        int64_t h = p * w->stride[0] - w->before[0] + r * w->dilation[0];
        for (int64_t q = 0; q < q_count; q++) {
            int64_t v = q * w->stride[1] - w->before[1] + s * w->dilation[1];
            float *patch = row + p * q_count + q;
            bool inside = h >= 0 && h < x->dims[2] && v >= 0 && v < x->dims[3];
            if (u->sums) {
                if (inside) { u->sums[(channel * x->dims[2] + h) * x->dims[3] + v] += *patch; }
            } else {
                *patch = inside ? load(u->x, offset(x, u->n, whole, h, v)) : 0;
                if (u->rounds) { *patch = standin_rounded(*patch, STANDIN_TF32_DROPS); }
            }
        }
    }
}

static void unfold(const unfolding *u)
{
    const int64_t *kernel = u->c->weights->dims;
    int64_t columns = u->c->y->dims[2] * u->c->y->dims[3];
    float *row = u->patches;
    for (int64_t channel = 0; channel < kernel[1]; channel++) {
        for (int64_t r = 0; r < kernel[2]; r++) {
            for (int64_t s = 0; s < kernel[3]; s++, row += columns) { unfold_row(u, channel, r, s, row); }
        }
    }
}

/* [outputs, channels of a group, kh, kw] */
static float *read_weights(operand weights, bool rounds)
{
    const int64_t *dims = weights.t->dims;
    float *out = take(dims[0] * dims[1] * dims[2] * dims[3]), *to = out;
    for (int64_t k = 0; k < dims[0]; k++) {
        for (int64_t c = 0; c < dims[1]; c++) {
            for (int64_t r = 0; r < dims[2]; r++) {
                for (int64_t s = 0; s < dims[3]; s++, to++) {
                    *to = load(weights, offset(weights.t, k, c, r, s));
                    if (rounds) { *to = standin_rounded(*to, STANDIN_TF32_DROPS); }
                }
            }
        }
    }
    return out;
}

/* What a graph does with the sums of its convolution. */
static float finish(const descriptor *graph, const operand *bias, int64_t channel, float value)
{
    for (int64_t i = 1; i < graph->of.graph.count; i++) {
        if (graph->of.graph.operations[i]->of.operation.second) {
            value += load(*bias, offset(bias->t, 0, channel, 0, 0));
        } else {
            value = value > 0 ? value : 0;
        }
    }
    return value;
}

/* One image's and group's planes [channels, H, W], from `first` on. */
static void write_planes(const descriptor *graph, const operand *bias, operand out, int64_t n, int64_t first,
                         int64_t channels, const float *planes)
{
    const int64_t *dims = out.t->dims;
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t h = 0; h < dims[2]; h++) {
            for (int64_t w = 0; w < dims[3]; w++) {
                float value = finish(graph, bias, first + c, *planes++);
                store(out, offset(out.t, n, first + c, h, w), value);
            }
        }
    }
}

static void read_planes(operand in, int64_t n, int64_t first, int64_t channels, bool rounds, float *planes)
{
    const int64_t *dims = in.t->dims;
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t h = 0; h < dims[2]; h++) {
            for (int64_t w = 0; w < dims[3]; w++) {
                *planes = load(in, offset(in.t, n, first + c, h, w));
                if (rounds) { *planes = standin_rounded(*planes, STANDIN_TF32_DROPS); }
                planes++;
            }
        }
    }
}

void dnn_compute(const descriptor *graph, const descriptor *pack, bool rounds)
{
    dnn_convolution c = dnn_convolution_of(graph);
    const dnn_operation *last = &graph->of.graph.operations[graph->of.graph.count - 1]->of.operation;
    const dnn_operation *add = &graph->of.graph.operations[graph->of.graph.count > 1]->of.operation;
    operand in = find(pack, c.backward ? c.y : c.x), out = find(pack, &last->out->of.tensor), bias = {0};
    if (graph->of.graph.count > 1) { bias = find(pack, &add->second->of.tensor); }
    rounds = rounds && c.weights->type == CUDNN_DATA_FLOAT;
    int64_t rows = c.weights->dims[1] * c.weights->dims[2] * c.weights->dims[3];
    int64_t columns = c.y->dims[2] * c.y->dims[3], outputs = c.y->dims[1] / c.groups;
    int64_t x_size = c.weights->dims[1] * c.x->dims[2] * c.x->dims[3];
    float *weights = read_weights(find(pack, c.weights), rounds), *patches = take(rows * columns);
    float *y = take(outputs * columns), *dx = take(x_size);
    for (int64_t i = 0; i < c.x->dims[0] * c.groups; i++) {
        int64_t n = i / c.groups, group = i % c.groups;
        const float *own = weights + group * outputs * rows;
        unfolding u = {.c = &c, .n = n, .group = group, .patches = patches, .x = in, .rounds = rounds};
        if (c.backward) {
            read_planes(in, n, group * outputs, outputs, rounds, y);
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows, (int)columns, (int)outputs, 1, own,
                        (int)rows, y, (int)columns, 0, patches, (int)columns);
            memset(dx, 0, (size_t)x_size * sizeof *dx);
            u.sums = dx;
            unfold(&u);
            write_planes(graph, &bias, out, n, group * c.weights->dims[1], c.weights->dims[1], dx);
        } else {
            unfold(&u);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)outputs, (int)columns, (int)rows, 1, own,
                        (int)rows, patches, (int)columns, 0, y, (int)columns);
            write_planes(graph, &bias, out, n, group * outputs, outputs, y);
        }
    }
    free(weights);
    free(patches);
    free(y);
    free(dx);
}
