/*
 * functions.h - the elementwise functions f and their derivatives: THE list. The enum, the loops of the CPU backend, the
 * kernel of the CUDA backend and the names in messages are made from it.
 *
 * A new function is two inline functions and a row of SPADE_FUNCTIONS here, a row of import/operators/pointwise.c (which
 * ONNX operator it is) and a row of the tests' reference (tests/support/reference.c).
 *
 * Host and device compute the same expressions, every product and sum rounded once: SPADE_MUL and SPADE_ADD keep nvcc from
 * contracting a * b + c; the host is compiled with -ffp-contract=off. Corners follow PyTorch. Comparisons are written so
 * that NaN stays NaN.
 */
#ifndef SPADE_FUNCTIONS_H
#define SPADE_FUNCTIONS_H

#include <math.h>

#if defined(__CUDACC__)
#define SPADE_FN __host__ __device__ __forceinline__
#else
#define SPADE_FN inline
#endif
#if defined(__CUDA_ARCH__)
#define SPADE_MUL(a, b) __fmul_rn((a), (b))
#define SPADE_ADD(a, b) __fadd_rn((a), (b))
#else
#define SPADE_MUL(a, b) ((a) * (b))
#define SPADE_ADD(a, b) ((a) + (b))
#endif

/*
 * ROW(function, name, f, derivative, LOOP)
 *   f(x, alpha, beta) and derivative(dy, x, alpha, beta) = dy * f'(x); alpha, beta: the function's parameters
 *   LOOP: SIMD, or SCALAR for what calls the C library (expf), whose calls are not vectorised
 */
#define SPADE_FUNCTIONS(ROW)                                                                                           \
    ROW(SPADE_RELU, "relu", spade_relu, spade_relu_derivative, SIMD)                                                   \
    ROW(SPADE_CLIP, "clip", spade_clip, spade_clip_derivative, SIMD)                                                   \
    ROW(SPADE_SIGMOID, "sigmoid", spade_sigmoid, spade_sigmoid_derivative, SCALAR)                                     \
    ROW(SPADE_HARD_SIGMOID, "hard sigmoid", spade_hard_sigmoid, spade_hard_sigmoid_derivative, SIMD)                   \
    ROW(SPADE_HARD_SWISH, "hard swish", spade_hard_swish, spade_hard_swish_derivative, SIMD)                           \
    ROW(SPADE_ERF, "erf", spade_erf, spade_erf_derivative, SCALAR)                                                     \
    ROW(SPADE_TANH, "tanh", spade_tanh, spade_tanh_derivative, SCALAR)                                                 \
    ROW(SPADE_GELU, "GELU", spade_gelu, spade_gelu_derivative, SCALAR)                                                 \
    ROW(SPADE_GELU_TANH, "GELU (tanh)", spade_gelu_tanh, spade_gelu_tanh_derivative, SCALAR)

typedef enum spade_function {
#define SPADE_FUNCTION_ENUMERATOR(function, name, f, derivative, loop) function,
    SPADE_FUNCTIONS(SPADE_FUNCTION_ENUMERATOR)
#undef SPADE_FUNCTION_ENUMERATOR
        SPADE_FUNCTION_COUNT
} spade_function;

/* max(x, 0) */
static SPADE_FN float spade_relu(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return x < 0 ? 0 : x;
}
static SPADE_FN float spade_relu_derivative(float dy, float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return x > 0 ? dy : 0;
}

/* min(max(x, alpha), beta) */
static SPADE_FN float spade_clip(float x, float alpha, float beta)
{
    x = x < alpha ? alpha : x;
    return x > beta ? beta : x;
}
static SPADE_FN float spade_clip_derivative(float dy, float x, float alpha, float beta)
{
    return x >= alpha && x <= beta ? dy : 0;
}

/* 1 / (1 + e^-x) */
static SPADE_FN float spade_sigmoid(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return 1.0f / SPADE_ADD(1.0f, expf(-x));
}
static SPADE_FN float spade_sigmoid_derivative(float dy, float x, float alpha, float beta)
{
    const float s = spade_sigmoid(x, alpha, beta);
    return SPADE_MUL(dy, SPADE_MUL(s, SPADE_ADD(1.0f, -s)));
}

/* max(0, min(1, alpha x + beta)) */
static SPADE_FN float spade_hard_sigmoid(float x, float alpha, float beta)
{
    return spade_clip(SPADE_ADD(SPADE_MUL(alpha, x), beta), 0, 1);
}
static SPADE_FN float spade_hard_sigmoid_derivative(float dy, float x, float alpha, float beta)
{
    const float s = SPADE_ADD(SPADE_MUL(alpha, x), beta);
    return s > 0 && s < 1 ? SPADE_MUL(dy, alpha) : 0;
}

/* x max(0, min(1, x / 6 + 1/2)) */
static SPADE_FN float spade_hard_swish(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return SPADE_MUL(x, spade_clip(SPADE_ADD(x, 3.0f), 0, 6)) / 6.0f;
}
static SPADE_FN float spade_hard_swish_derivative(float dy, float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return x < -3 ? 0 : x <= 3 ? SPADE_MUL(dy, SPADE_ADD(x / 3.0f, 0.5f)) : dy;
}

/* The error function; f' = 2 / sqrt(pi) e^(-x^2). */
static SPADE_FN float spade_erf(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return erff(x);
}
static SPADE_FN float spade_erf_derivative(float dy, float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return SPADE_MUL(dy, SPADE_MUL(1.12837917f, expf(SPADE_MUL(-x, x))));
}

static SPADE_FN float spade_tanh(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return tanhf(x);
}
static SPADE_FN float spade_tanh_derivative(float dy, float x, float alpha, float beta)
{
    const float y = spade_tanh(x, alpha, beta);
    return SPADE_MUL(dy, SPADE_ADD(1.0f, SPADE_MUL(-y, y)));
}

/* x Phi(x), Phi the normal distribution (Hendrycks and Gimpel 2016): x (1 + erf(x / sqrt 2)) / 2; f' = Phi(x) + x phi(x). */
static SPADE_FN float spade_gelu(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return SPADE_MUL(SPADE_MUL(0.5f, x), SPADE_ADD(1.0f, erff(SPADE_MUL(x, 0.707106781f))));
}
static SPADE_FN float spade_gelu_derivative(float dy, float x, float alpha, float beta)
{
    const float below = SPADE_MUL(0.5f, SPADE_ADD(1.0f, erff(SPADE_MUL(x, 0.707106781f))));
    const float density = SPADE_MUL(0.398942280f, expf(SPADE_MUL(SPADE_MUL(-0.5f, x), x)));
    (void)alpha, (void)beta;
    return SPADE_MUL(dy, SPADE_ADD(below, SPADE_MUL(x, density)));
}

/* Its approximation (the same paper): x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3). */
static SPADE_FN float spade_gelu_tanh_of(float x)
{
    const float cube = SPADE_MUL(SPADE_MUL(x, x), x);
    return tanhf(SPADE_MUL(0.797884561f, SPADE_ADD(x, SPADE_MUL(0.044715f, cube))));
}
static SPADE_FN float spade_gelu_tanh(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return SPADE_MUL(SPADE_MUL(0.5f, x), SPADE_ADD(1.0f, spade_gelu_tanh_of(x)));
}
static SPADE_FN float spade_gelu_tanh_derivative(float dy, float x, float alpha, float beta)
{
    const float t = spade_gelu_tanh_of(x), left = SPADE_MUL(0.5f, SPADE_ADD(1.0f, t));
    const float inner = SPADE_MUL(0.797884561f, SPADE_ADD(1.0f, SPADE_MUL(0.134145f, SPADE_MUL(x, x)))); /* u' */
    const float slope = SPADE_MUL(SPADE_ADD(1.0f, SPADE_MUL(-t, t)), inner);
    (void)alpha, (void)beta;
    return SPADE_MUL(dy, SPADE_ADD(left, SPADE_MUL(SPADE_MUL(0.5f, x), slope)));
}

#endif
