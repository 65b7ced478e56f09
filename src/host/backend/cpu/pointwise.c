/*
 * pointwise.c - pointwise steps: functions, their derivatives, sums and products with broadcast operands.
 *
 * The result is cut into tiles that stay in the first-level cache: a thread takes a tile through all steps, then the
 * next. An operand that does not lie as the result does is copied to a tile of its own first, so that every step is a
 * loop over neighbours. The last step alone writes to y: until then x and the operands are whole, whichever of them y
 * lies on.
 */
#include "backend/cpu/cpu.h"
#include "backend/tensor_iterator.h"

enum { TILE = 2048 };

/*
 * ---- steps on n neighbours. Element i depends on elements i alone, so `to` may be one of the arrays that are read. One
 * loop for each function (functions.h), so that each is vectorised.
 */

#define LOOP_SIMD _Pragma("omp simd")
#define LOOP_SCALAR

static void apply(const spade_pointwise_step *step, int64_t n, const float *v, float *to)
{
    const float alpha = step->alpha, beta = step->beta;
    switch (step->function) {
#define APPLY(function, name, f, derivative, loop)                                                                     \
    case function:                                                                                                     \
        LOOP_##loop for (int64_t i = 0; i < n; i++)                                                                    \
        {                                                                                                              \
            to[i] = f(v[i], alpha, beta);                                                                              \
        }                                                                                                              \
        break;
        SPADE_FUNCTIONS(APPLY)
#undef APPLY
    case SPADE_FUNCTION_COUNT: break;
    }
}

/* to = v * f'(x) */
static void apply_derivative(const spade_pointwise_step *step, int64_t n, const float *v, const float *x, float *to)
{
    const float alpha = step->alpha, beta = step->beta;
    switch (step->function) {
#define APPLY_DERIVATIVE(function, name, f, derivative, loop)                                                          \
    case function:                                                                                                     \
        LOOP_##loop for (int64_t i = 0; i < n; i++)                                                                    \
        {                                                                                                              \
            to[i] = derivative(v[i], x[i], alpha, beta);                                                               \
        }                                                                                                              \
        break;
        SPADE_FUNCTIONS(APPLY_DERIVATIVE)
#undef APPLY_DERIVATIVE
    case SPADE_FUNCTION_COUNT: break;
    }
}

/* to = the slope of f between v and x */
static void apply_secant(const spade_pointwise_step *step, int64_t n, const float *v, const float *x, float *to)
{
    const float alpha = step->alpha, beta = step->beta;
    switch (step->function) {
#define APPLY_SECANT(function, name, f, derivative, loop)                                                              \
    case function:                                                                                                     \
        LOOP_##loop for (int64_t i = 0; i < n; i++)                                                                    \
        {                                                                                                              \
            to[i] = SPADE_SECANT(f, derivative, v[i], x[i], alpha, beta);                                              \
        }                                                                                                              \
        break;
        SPADE_FUNCTIONS(APPLY_SECANT)
#undef APPLY_SECANT
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
    case SPADE_POINTWISE_DIVIDE:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { to[i] = spade_divide_stabilized(v[i], operand[i], step->alpha); }
        break;
    case SPADE_POINTWISE_SECANT: apply_secant(step, n, v, operand, to); break;
    case SPADE_POINTWISE_KIND_COUNT: break;
    }
}

/* ---- operands, x among them: where the elements of a tile lie */

/* An array that is read. Of the axes operand 0 is y, operand 1 this array. */
typedef struct input {
    const float *data;
    spade_tensor_iterator axes;
} input;

static input input_make(const spade_shape *y, const spade_shape *operand, const float *data)
{
    const spade_shape *both[] = {y, operand};
    return (input){data, spade_tensor_iterator_make(y, both, 2)};
}

static void copy_run(int64_t n, const float *from, int64_t step, float *to)
{
    if (step == 0) {
        for (int64_t i = 0; i < n; i++) { to[i] = *from; }
    } else {
        for (int64_t i = 0; i < n; i++) { to[i] = from[i * step]; }
    }
}

/* Elements [first, first + n) as neighbours: where they are, or copied to `tile`. */
static const float *fetch(const input *in, int64_t first, int64_t n, float *tile)
{
    const int last = in->axes.rank - 1;
    const int64_t row = in->axes.dims[last], *strides = in->axes.strides[1], step = strides[last];
    int64_t coordinates[SPADE_MAX_RANK] = {0}, offset = 0, column = first % row, index = first / row;
    if (last == 0 && step == 1) { return in->data + first; }
    for (int i = last - 1; i >= 0; i--) {
        coordinates[i] = index % in->axes.dims[i];
        index /= in->axes.dims[i];
        offset += coordinates[i] * strides[i];
    }
    for (int64_t i = 0; i < n;) {
        int64_t run = row - column < n - i ? row - column : n - i;
        copy_run(run, in->data + offset + column * step, step, tile + i);
        i += run, column = 0;
        for (int axis = last - 1; axis >= 0; axis--) { /* to the next row */
            offset += strides[axis];
            if (++coordinates[axis] < in->axes.dims[axis]) { break; }
            offset -= coordinates[axis] * strides[axis];
            coordinates[axis] = 0;
        }
    }
    return tile;
}

/* ---- the operation */

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    const int64_t n = spade_shape_size(&d->y);
    const input x = input_make(&d->y, &d->a, args->a);
    input operands[SPADE_POINTWISE_STEPS];
    for (int s = 0; s < d->step_count; s++) {
        if (d->steps[s].kind == SPADE_POINTWISE_FUNCTION) { continue; }
        operands[s] = input_make(&d->y, &d->steps[s].operand, args->operands[s]);
    }
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t first = 0; first < n; first += TILE) {
        float tile[TILE], operand_tile[TILE];
        int64_t count = n - first < TILE ? n - first : TILE;
        const float *v = fetch(&x, first, count, tile);
        for (int s = 0; s < d->step_count; s++) {
            const spade_pointwise_step *step = &d->steps[s];
            bool unary = step->kind == SPADE_POINTWISE_FUNCTION;
            const float *operand = unary ? NULL : fetch(&operands[s], first, count, operand_tile);
            float *to = s == d->step_count - 1 ? args->out + first : tile;
            run_step(step, count, v, operand, to);
            v = to;
        }
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_pointwise_op = {.run = run};
