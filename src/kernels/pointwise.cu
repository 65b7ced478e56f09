/*
 * pointwise.cu - pointwise sequences of steps: functions, their derivatives, sums and products with repeated operands.
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

/* backend.h's spade_function and spade_pointwise_kind */
enum { RELU, CLIP, SIGMOID, HARD_SIGMOID, HARD_SWISH };
enum { FUNCTION, ADD, MULTIPLY, DERIVATIVE };

/* Products and sums that round each: never contracted, so a chain gives the numbers of its steps run singly. */
__device__ __forceinline__ float times(float a, float b)
{
    return __fmul_rn(a, b);
}
__device__ __forceinline__ float plus(float a, float b)
{
    return __fadd_rn(a, b);
}

/* Comparisons are written so that NaN stays NaN. */
__device__ __forceinline__ float clip(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

__device__ __forceinline__ float sigmoid(float x)
{
    return 1.0f / plus(1.0f, expf(-x));
}

__device__ __forceinline__ float apply(const spade_function_kernel &f, float x)
{
    switch (f.function) {
    case RELU: return x < 0 ? 0 : x;
    case CLIP: return clip(x, f.alpha, f.beta);
    case SIGMOID: return sigmoid(x);
    case HARD_SIGMOID: return clip(plus(times(f.alpha, x), f.beta), 0, 1);
    default: return times(x, clip(plus(x, 3), 0, 6)) / 6;
    }
}

__device__ __forceinline__ float apply_derivative(const spade_function_kernel &f, float x, float v)
{
    switch (f.function) {
    case RELU: return x > 0 ? v : 0;
    case CLIP: return x >= f.alpha && x <= f.beta ? v : 0;
    case SIGMOID: {
        const float s = sigmoid(x);
        return times(v, times(s, plus(1, -s)));
    }
    case HARD_SIGMOID: {
        const float s = plus(times(f.alpha, x), f.beta);
        return s > 0 && s < 1 ? times(v, f.alpha) : 0;
    }
    default: return x < -3 ? 0 : x <= 3 ? times(v, plus(x / 3, 0.5f)) : v;
    }
}

template <int Width>
__device__ __forceinline__ void run_step(const spade_pointwise_step_kernel &step, const float (&operand)[Width],
                                         float (&v)[Width])
{
    switch (step.kind) {
    case FUNCTION:
        for (int j = 0; j < Width; j++) { v[j] = apply(step.f, v[j]); }
        break;
    case ADD:
        for (int j = 0; j < Width; j++) { v[j] = plus(v[j], operand[j]); }
        break;
    case MULTIPLY:
        for (int j = 0; j < Width; j++) { v[j] = times(v[j], operand[j]); }
        break;
    default:
        for (int j = 0; j < Width; j++) { v[j] = apply_derivative(step.f, operand[j], v[j]); }
    }
}

/* A source's values for this thread's elements: one that is repeated along the fastest axis is read once. */
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
__global__ void chain(const __grid_constant__ spade_pointwise_kernel c, int64_t n, float *y)
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

/* Does a source lie at multiples of 4 floats, or is it repeated along the fastest axis? */
bool fits_quads(const spade_pointwise_kernel &c, int source, const float *data)
{
    const int last = c.rank - 1;
    if (!data || c.strides[last][source] == 0) { return true; }
    bool fits = c.strides[last][source] == 1 && (uintptr_t)data % 16 == 0;
    for (int axis = 0; axis < last; axis++) { fits = fits && c.strides[axis][source] % 4 == 0; }
    return fits;
}

template <int Width> int launch(spade_stream stream, const spade_pointwise_kernel &c, int64_t n, float *y)
{
    const unsigned blocks = spade_blocks(n);
    switch (c.count) {
    case 1: return SPADE_LAUNCH_APART((chain<Width, 1>), blocks, SPADE_THREADS, stream, c, n, y);
    case 2: return SPADE_LAUNCH_APART((chain<Width, 2>), blocks, SPADE_THREADS, stream, c, n, y);
    case 3: return SPADE_LAUNCH_APART((chain<Width, 3>), blocks, SPADE_THREADS, stream, c, n, y);
    case 4: return SPADE_LAUNCH_APART((chain<Width, 4>), blocks, SPADE_THREADS, stream, c, n, y);
    case 5: return SPADE_LAUNCH_APART((chain<Width, 5>), blocks, SPADE_THREADS, stream, c, n, y);
    default: return SPADE_LAUNCH_APART((chain<Width, 6>), blocks, SPADE_THREADS, stream, c, n, y);
    }
}

} // namespace

int spade_launch_pointwise(spade_stream stream, const spade_pointwise_kernel *chain, float *y)
{
    spade_pointwise_kernel c = *chain;
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
