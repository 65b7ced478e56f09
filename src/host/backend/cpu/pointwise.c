/*
 * pointwise.c - pointwise sequences of steps (PyTorch's conventions at the corners of functions and derivatives).
 *
 * The result is cut into tiles that stay in the first-level cache: a thread takes a tile through all steps, then the
 * next. An operand that does not lie as the result does is spread out to the tile first, so that every step is a loop
 * over neighbours. The last step alone writes to y: until then x and the operands are whole, whichever of them y
 * lies on.
 */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "backend/tensor_iterator.h"

enum { TILE = 2048 };

/* ---- steps on n neighbours. Element i depends on elements i alone, so `to` may be one of the arrays that are read.
 */

/* Comparisons are written so that NaN stays NaN. */
static inline float clip(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

static inline float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static void apply(const spade_pointwise_step *step, int64_t n, const float *v, float *to)
{
    const float alpha = step->alpha, beta = step->beta;
    switch (step->function) {
    case SPADE_RELU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = v[i] < 0 ? 0 : v[i]; }
        break;
    case SPADE_CLIP:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = clip(v[i], alpha, beta); }
        break;
    case SPADE_SIGMOID:
        for (int64_t i = 0; i < n; i++) { to[i] = sigmoid(v[i]); }
        break;
    case SPADE_HARD_SIGMOID:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = clip(alpha * v[i] + beta, 0, 1); }
        break;
    case SPADE_HARD_SWISH:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = v[i] * clip(v[i] + 3, 0, 6) / 6; }
        break;
    case SPADE_FUNCTION_COUNT: break;
    }
}

/* to = v * f'(x) */
static void apply_derivative(const spade_pointwise_step *step, int64_t n, const float *v, const float *x, float *to)
{
    const float alpha = step->alpha, beta = step->beta;
    switch (step->function) {
    case SPADE_RELU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = x[i] > 0 ? v[i] : 0; }
        break;
    case SPADE_CLIP:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = x[i] >= alpha && x[i] <= beta ? v[i] : 0; }
        break;
    case SPADE_SIGMOID:
        for (int64_t i = 0; i < n; i++) {
            float s = sigmoid(x[i]);
            to[i] = v[i] * (s * (1 - s));
        }
        break;
    case SPADE_HARD_SIGMOID:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float s = alpha * x[i] + beta;
            to[i] = s > 0 && s < 1 ? v[i] * alpha : 0;
        }
        break;
    case SPADE_HARD_SWISH:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = x[i] < -3 ? 0 : x[i] <= 3 ? v[i] * (x[i] / 3 + 0.5f) : v[i]; }
        break;
    case SPADE_FUNCTION_COUNT: break;
    }
}

static void run_step(const spade_pointwise_step *step, int64_t n, const float *v, const float *operand, float *to)
{
    switch (step->kind) {
    case SPADE_POINTWISE_FUNCTION: apply(step, n, v, to); break;
    case SPADE_POINTWISE_ADD:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = v[i] + operand[i]; }
        break;
    case SPADE_POINTWISE_MULTIPLY:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = v[i] * operand[i]; }
        break;
    case SPADE_POINTWISE_DERIVATIVE: apply_derivative(step, n, v, operand, to); break;
    case SPADE_POINTWISE_KIND_COUNT: break;
    }
}

/* ---- operands, x among them: where the elements of a tile lie */

/* Operand 0 of `space` is y, operand 1 what is read. */
typedef struct source {
    const float *data;
    spade_tensor_iterator space;
} source;

static source source_make(const spade_shape *y, const spade_shape *operand, const float *data)
{
    const spade_shape *both[] = {y, operand};
    return (source){data, spade_tensor_iterator_make(y, both, 2)};
}

static void spread_run(int64_t n, const float *from, int64_t step, float *to)
{
    if (step == 0) {
        for (int64_t i = 0; i < n; i++) { to[i] = *from; }
    } else {
        for (int64_t i = 0; i < n; i++) { to[i] = from[i * step]; }
    }
}

/* Elements [first, first + n) as neighbours: where they are, or spread out to `tile`. */
static const float *fetch(const source *s, int64_t first, int64_t n, float *tile)
{
    const int last = s->space.rank - 1;
    const int64_t row = s->space.dims[last], *strides = s->space.strides[1], step = strides[last];
    int64_t coordinates[SPADE_MAX_RANK] = {0}, at = 0, within = first % row, rest = first / row;
    if (last == 0 && step == 1) { return s->data + first; }
    for (int i = last - 1; i >= 0; i--) {
        coordinates[i] = rest % s->space.dims[i];
        rest /= s->space.dims[i];
        at += coordinates[i] * strides[i];
    }
    for (int64_t i = 0; i < n;) {
        int64_t run = row - within < n - i ? row - within : n - i;
        spread_run(run, s->data + at + within * step, step, tile + i);
        i += run, within = 0;
        for (int axis = last - 1; axis >= 0; axis--) { /* to the next row */
            at += strides[axis];
            if (++coordinates[axis] < s->space.dims[axis]) { break; }
            at -= coordinates[axis] * strides[axis];
            coordinates[axis] = 0;
        }
    }
    return tile;
}

/* ---- the operation */

spade_status spade_cpu_pointwise_run(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    const int64_t n = spade_shape_size(&d->y);
    const source x = source_make(&d->y, &d->a, args->a);
    source operands[SPADE_POINTWISE_STEPS];
    for (int s = 0; s < d->step_count; s++) {
        if (d->steps[s].kind == SPADE_POINTWISE_FUNCTION) { continue; }
        operands[s] = source_make(&d->y, &d->steps[s].operand, args->operands[s]);
    }
#pragma omp parallel for num_threads(spade_cpu_threads(&op->device->base)) schedule(static)
    for (int64_t first = 0; first < n; first += TILE) {
        float tile[TILE], spread[TILE];
        int64_t count = n - first < TILE ? n - first : TILE;
        const float *v = fetch(&x, first, count, tile);
        for (int s = 0; s < d->step_count; s++) {
            const spade_pointwise_step *step = &d->steps[s];
            bool alone = step->kind == SPADE_POINTWISE_FUNCTION;
            const float *operand = alone ? NULL : fetch(&operands[s], first, count, spread);
            float *to = s == d->step_count - 1 ? args->out + first : tile;
            run_step(step, count, v, operand, to);
            v = to;
        }
    }
    return SPADE_OK;
}
