/* softmax.c - softmax along one axis and its backward. A line along the axis is one thread's; sums are float64 in line
 * order. */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "backend/tensor_iterator.h"

enum { LINES = 16 }; /* of one task */

/* The lines along an axis: how long, how far apart their elements, how many there are. */
typedef struct lines {
    const spade_shape *shape;
    int axis;
    int64_t length, step, count;
    int64_t strides[SPADE_MAX_RANK];
} lines;

static lines lines_of(const spade_shape *shape, int axis)
{
    lines l = {.shape = shape, .axis = axis, .length = shape->dims[axis]};
    spade_shape_strides(shape, l.strides);
    l.step = l.strides[axis];
    l.count = spade_shape_size(shape) / l.length;
    return l;
}

static int64_t line_offset(const lines *l, int64_t index)
{
    int64_t offset = 0;
    for (int i = l->shape->rank - 1; i >= 0; i--) {
        if (i == l->axis) { continue; }
        offset += index % l->shape->dims[i] * l->strides[i];
        index /= l->shape->dims[i];
    }
    return offset;
}

/* A line of -inf alone, which is masked whole, becomes 0. */
static void softmax_line(int64_t n, int64_t step, const float *x, float *y)
{
    float largest = x[0];
    double sum = 0;
    for (int64_t i = 1; i < n; i++) { largest = x[i * step] > largest ? x[i * step] : largest; }
    largest = largest == -INFINITY ? 0 : largest;
    for (int64_t i = 0; i < n; i++) {
        float e = expf(x[i * step] - largest);
        y[i * step] = e;
        sum += e;
    }
    float scale = sum == 0 ? 0 : (float)(1 / sum);
    for (int64_t i = 0; i < n; i++) { y[i * step] *= scale; }
}

static void softmax_backward_line(int64_t n, int64_t step, const float *y, const float *dy, float *dx)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) { sum += (double)y[i * step] * dy[i * step]; }
    for (int64_t i = 0; i < n; i++) { dx[i * step] = (float)(y[i * step] * (dy[i * step] - sum)); }
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const lines l = lines_of(&op->desc.a, op->desc.axis);
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static, LINES)
    for (int64_t i = 0; i < l.count; i++) {
        int64_t offset = line_offset(&l, i);
        softmax_line(l.length, l.step, args->a + offset, args->out + offset);
    }
    return SPADE_OK;
}

static spade_status run_backward(spade_op *op, const spade_op_args *args)
{
    const lines l = lines_of(&op->desc.a, op->desc.axis);
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static, LINES)
    for (int64_t i = 0; i < l.count; i++) {
        int64_t offset = line_offset(&l, i);
        softmax_backward_line(l.length, l.step, args->y + offset, args->dy + offset, args->out + offset);
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_softmax_op = {.run = run};
const spade_op_entry spade_cpu_softmax_backward_op = {.run = run_backward};
