/*
 * pointwise.cu - pointwise steps: functions, their derivatives, sums and products with broadcast operands.
 *
 * Division of work: threads stride over the result, 4 neighbours along its fastest axis (16 bytes) each where all
 * operands allow it; neighbouring threads take neighbouring elements. A thread loads what all steps need for its
 * elements, takes them through the steps in registers, and writes them once; so y may be one of the arrays that are
 * read where both lie the same way. The kernel is made for each number of steps: what a step does is a branch that
 * all threads take alike.
 */
#include "kernels/index.cuh"

namespace
{

/* functions.h has the functions; a number that is none of them is refused when the operation is planned. */
__device__ __forceinline__ float apply(const spade_pointwise_step_kernel &step, float x)
{
    switch (step.function) {
#define APPLY(function, name, f, derivative, loop)                                                                     \
    case function: return f(x, step.alpha, step.beta);
        SPADE_FUNCTIONS(APPLY)
#undef APPLY
    case SPADE_FUNCTION_COUNT: break;
    }
    return NAN;
}

__device__ __forceinline__ float apply_derivative(const spade_pointwise_step_kernel &step, float dy, float x)
{
    switch (step.function) {
#define APPLY_DERIVATIVE(function, name, f, derivative, loop)                                                          \
    case function: return derivative(dy, x, step.alpha, step.beta);
        SPADE_FUNCTIONS(APPLY_DERIVATIVE)
#undef APPLY_DERIVATIVE
    case SPADE_FUNCTION_COUNT: break;
    }
    return NAN;
}

/* Called: inlined at each step, two of every function would double the code of all these kernels. */
__device__ __noinline__ float apply_secant(const spade_pointwise_step_kernel &step, float v, float x)
{
    switch (step.function) {
#define APPLY_SECANT(function, name, f, derivative, loop)                                                              \
    case function: return SPADE_SECANT(f, derivative, v, x, step.alpha, step.beta);
        SPADE_FUNCTIONS(APPLY_SECANT)
#undef APPLY_SECANT
    case SPADE_FUNCTION_COUNT: break;
    }
    return NAN;
}

template <int Width>
__device__ __forceinline__ void run_step(const spade_pointwise_step_kernel &step, const float (&operand)[Width],
                                         float (&v)[Width])
{
    switch (step.kind) {
    case SPADE_POINTWISE_FUNCTION:
        for (int j = 0; j < Width; j++) { v[j] = apply(step, v[j]); }
        break;
    case SPADE_POINTWISE_ADD:
        for (int j = 0; j < Width; j++) { v[j] = SPADE_ADD(v[j], operand[j]); }
        break;
    case SPADE_POINTWISE_MULTIPLY:
        for (int j = 0; j < Width; j++) { v[j] = SPADE_MUL(v[j], operand[j]); }
        break;
    case SPADE_POINTWISE_DERIVATIVE:
        for (int j = 0; j < Width; j++) { v[j] = apply_derivative(step, v[j], operand[j]); }
        break;
    case SPADE_POINTWISE_DIVIDE:
        for (int j = 0; j < Width; j++) { v[j] = spade_divide_stabilized(v[j], operand[j], step.alpha); }
        break;
    case SPADE_POINTWISE_SECANT:
        for (int j = 0; j < Width; j++) { v[j] = apply_secant(step, v[j], operand[j]); }
        break;
    case SPADE_POINTWISE_KIND_COUNT: break;
    }
}

/* An array's values for this thread's elements: one that is broadcast along the fastest axis is read once. */
template <int Width> __device__ __forceinline__ void fetch(const float *x, int64_t step, float (&value)[Width])
{
    if (Width == 1 || step != 0) {
        spade_load(x, value);
    } else {
        for (int j = 0; j < Width; j++) { value[j] = *x; }
    }
}

/* Where element `index` of the result lies in x and in the operands of the steps. */
template <int Count>
__device__ __forceinline__ void locate(const spade_pointwise_kernel &c, int64_t index, int64_t (&at)[Count + 1])
{
    for (int k = 0; k <= Count; k++) { at[k] = 0; }
    for (int axis = c.rank - 1; axis > 0; axis--) {
        int64_t coordinate;
        index = spade_divide(index, c.dims[axis], &coordinate);
#pragma unroll
        for (int k = 0; k <= Count; k++) { at[k] += coordinate * c.strides[axis][k]; }
    }
#pragma unroll
    for (int k = 0; k <= Count; k++) { at[k] += index * c.strides[0][k]; }
}

template <int Width, int Count>
__global__ void pointwise(const __grid_constant__ spade_pointwise_kernel c, int64_t n, float *y)
{
    const int64_t *steps = c.strides[c.rank - 1];
    SPADE_EACH(i, n)
    {
        int64_t at[Count + 1];
        float v[Width], operands[Count][Width] = {};
        locate<Count>(c, i, at);
        fetch(c.x + at[0], steps[0], v);
#pragma unroll
        for (int s = 0; s < Count; s++) {
            if (c.steps[s].operand) { fetch(c.steps[s].operand + at[1 + s], steps[1 + s], operands[s]); }
        }
#pragma unroll
        for (int s = 0; s < Count; s++) { run_step(c.steps[s], operands[s], v); }
        spade_store(y + i * Width, v);
    }
}

/* Does an array (0: x, 1 + s: of step s) lie at multiples of 4 floats, or is it broadcast along the fastest axis? */
bool fits_quads(const spade_pointwise_kernel &c, int array, const float *data)
{
    const int last = c.rank - 1;
    if (!data || c.strides[last][array] == 0) { return true; }
    bool fits = c.strides[last][array] == 1 && (uintptr_t)data % 16 == 0;
    for (int axis = 0; axis < last; axis++) { fits = fits && c.strides[axis][array] % 4 == 0; }
    return fits;
}

template <int Width> int launch(spade_stream stream, const spade_pointwise_kernel &c, int64_t n, float *y)
{
    const unsigned blocks = spade_blocks(n);
    switch (c.count) {
    case 1: return SPADE_LAUNCH_INDEPENDENT((pointwise<Width, 1>), blocks, SPADE_THREADS, stream, c, n, y);
    case 2: return SPADE_LAUNCH_INDEPENDENT((pointwise<Width, 2>), blocks, SPADE_THREADS, stream, c, n, y);
    case 3: return SPADE_LAUNCH_INDEPENDENT((pointwise<Width, 3>), blocks, SPADE_THREADS, stream, c, n, y);
    case 4: return SPADE_LAUNCH_INDEPENDENT((pointwise<Width, 4>), blocks, SPADE_THREADS, stream, c, n, y);
    case 5: return SPADE_LAUNCH_INDEPENDENT((pointwise<Width, 5>), blocks, SPADE_THREADS, stream, c, n, y);
    default: break;
    }
    static_assert(SPADE_POINTWISE_STEPS == 6, "a kernel for each number of steps");
    return SPADE_LAUNCH_INDEPENDENT((pointwise<Width, 6>), blocks, SPADE_THREADS, stream, c, n, y);
}

} // namespace

int spade_launch_pointwise(spade_stream stream, const spade_pointwise_kernel *steps, float *y)
{
    spade_pointwise_kernel c = *steps;
    const int last = c.rank - 1;
    int64_t n = 1;
    bool quads = c.dims[last] % 4 == 0 && (uintptr_t)y % 16 == 0 && fits_quads(c, 0, c.x);
    for (int s = 0; s < c.count; s++) { quads = quads && fits_quads(c, 1 + s, c.steps[s].operand); }
    if (quads) {
        c.dims[last] /= 4;
        for (int k = 0; k <= c.count; k++) { c.strides[last][k] *= 4; }
    }
    for (int i = 0; i < c.rank; i++) { n *= c.dims[i]; }
    return quads ? launch<4>(stream, c, n, y) : launch<1>(stream, c, n, y);
}
