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
    ROW(SPADE_GELU_TANH, "GELU (tanh)", spade_gelu_tanh, spade_gelu_tanh_derivative, SCALAR)                           \
    ROW(SPADE_AFFINE, "affine", spade_affine, spade_affine_derivative, SIMD)                                           \
    ROW(SPADE_NEG, "negation", spade_neg, spade_neg_derivative, SIMD)                                                  \
    ROW(SPADE_ABS, "absolute value", spade_abs, spade_abs_derivative, SIMD)                                            \
    ROW(SPADE_SIGN, "sign", spade_sign, spade_sign_derivative, SIMD)                                                   \
    ROW(SPADE_RECIPROCAL, "reciprocal", spade_reciprocal, spade_reciprocal_derivative, SIMD)                           \
    ROW(SPADE_SQRT, "square root", spade_sqrt, spade_sqrt_derivative, SIMD)                                            \
    ROW(SPADE_EXP, "exponential", spade_exp, spade_exp_derivative, SCALAR)                                             \
    ROW(SPADE_LOG, "logarithm", spade_logarithm, spade_logarithm_derivative, SCALAR)                                   \
    ROW(SPADE_POW, "power", spade_pow, spade_pow_derivative, SCALAR)                                                   \
    ROW(SPADE_SIN, "sine", spade_sin, spade_sin_derivative, SCALAR)                                                    \
    ROW(SPADE_COS, "cosine", spade_cos, spade_cos_derivative, SCALAR)                                                  \
    ROW(SPADE_LEAKY_RELU, "leaky relu", spade_leaky_relu, spade_leaky_relu_derivative, SIMD)                           \
    ROW(SPADE_THRESHOLDED_RELU, "thresholded relu", spade_thresholded_relu, spade_thresholded_relu_derivative, SIMD)   \
    ROW(SPADE_ELU, "ELU", spade_elu, spade_elu_derivative, SCALAR)                                                     \
    ROW(SPADE_CELU, "CELU", spade_celu, spade_celu_derivative, SCALAR)                                                 \
    ROW(SPADE_SOFTPLUS, "softplus", spade_softplus, spade_softplus_derivative, SCALAR)                                 \
    ROW(SPADE_SOFTSIGN, "softsign", spade_softsign, spade_softsign_derivative, SIMD)                                   \
    ROW(SPADE_SWISH, "swish", spade_swish, spade_swish_derivative, SCALAR)                                             \
    ROW(SPADE_MISH, "mish", spade_mish, spade_mish_derivative, SCALAR)

typedef enum spade_function {
#define SPADE_FUNCTION_ENUMERATOR(function, name, f, derivative, loop) function,
    SPADE_FUNCTIONS(SPADE_FUNCTION_ENUMERATOR)
#undef SPADE_FUNCTION_ENUMERATOR
        SPADE_FUNCTION_COUNT
} spade_function;

/* ---- steps that are no function of one value (ops.h) */

/* v / z, where epsilon is added to |z|; 0 where that is 0. */
static SPADE_FN float spade_divide_stabilized(float v, float z, float epsilon)
{
    const float divisor = z < 0 ? SPADE_ADD(z, -epsilon) : SPADE_ADD(z, epsilon);
    return divisor == 0 ? 0 : v / divisor;
}

/* How far apart two arguments have to be for a slope between them; nearer, it is the derivative (as in Captum's DeepLift). */
#define SPADE_SECANT_APART 1e-10f
/* The slope of the line through (v, f(v)) and (x, f(x)). */
#define SPADE_SECANT(f, derivative, v, x, alpha, beta)                                                                 \
    (fabsf(SPADE_ADD((x), -(v))) < SPADE_SECANT_APART                                                                  \
         ? derivative(1, (x), (alpha), (beta))                                                                         \
         : SPADE_ADD(f((x), (alpha), (beta)), -f((v), (alpha), (beta))) / SPADE_ADD((x), -(v)))

/* ---- functions */

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

/* alpha x + beta */
static SPADE_FN float spade_affine(float x, float alpha, float beta)
{
    return SPADE_ADD(SPADE_MUL(alpha, x), beta);
}
static SPADE_FN float spade_affine_derivative(float dy, float x, float alpha, float beta)
{
    (void)x, (void)beta;
    return SPADE_MUL(dy, alpha);
}

/* -x */
static SPADE_FN float spade_neg(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return -x;
}
static SPADE_FN float spade_neg_derivative(float dy, float x, float alpha, float beta)
{
    (void)x, (void)alpha, (void)beta;
    return -dy;
}

/* |x|; the derivative at 0 is 0 */
static SPADE_FN float spade_abs(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return fabsf(x);
}
static SPADE_FN float spade_abs_derivative(float dy, float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return x > 0 ? dy : x < 0 ? -dy : SPADE_MUL(x, dy);
}

/* -1, 0 or 1; the derivative is 0 */
static SPADE_FN float spade_sign(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return x > 0 ? 1 : x < 0 ? -1 : x;
}
static SPADE_FN float spade_sign_derivative(float dy, float x, float alpha, float beta)
{
    (void)dy, (void)x, (void)alpha, (void)beta;
    return 0;
}

/* 1 / x */
static SPADE_FN float spade_reciprocal(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return 1.0f / x;
}
static SPADE_FN float spade_reciprocal_derivative(float dy, float x, float alpha, float beta)
{
    const float y = 1.0f / x;
    (void)alpha, (void)beta;
    return SPADE_MUL(-dy, SPADE_MUL(y, y));
}

/* The square root. Its derivative at 0 is infinite, or 0 where alpha is 1: that of a norm, |x| = sqrt(sum x^2). */
static SPADE_FN float spade_sqrt(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return sqrtf(x);
}
static SPADE_FN float spade_sqrt_derivative(float dy, float x, float alpha, float beta)
{
    (void)beta;
    return alpha == 1 && x == 0 ? 0 : dy / SPADE_MUL(2.0f, sqrtf(x));
}

/* e^x */
static SPADE_FN float spade_exp(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return expf(x);
}
static SPADE_FN float spade_exp_derivative(float dy, float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return SPADE_MUL(dy, expf(x));
}

/* The natural logarithm. */
static SPADE_FN float spade_logarithm(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return logf(x);
}
static SPADE_FN float spade_logarithm_derivative(float dy, float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return dy / x;
}

/* x^alpha. Squares and cubes are products; f' = alpha x^(alpha - 1), which is finite at 0 for alpha from 1 on. */
static SPADE_FN float spade_pow(float x, float alpha, float beta)
{
    (void)beta;
    if (alpha == 2) { return SPADE_MUL(x, x); }
    return alpha == 3 ? SPADE_MUL(SPADE_MUL(x, x), x) : powf(x, alpha);
}
static SPADE_FN float spade_pow_derivative(float dy, float x, float alpha, float beta)
{
    if (alpha == 0) { return 0; }
    return SPADE_MUL(dy, SPADE_MUL(alpha, alpha == 2 ? x : spade_pow(x, SPADE_ADD(alpha, -1.0f), beta)));
}

static SPADE_FN float spade_sin(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return sinf(x);
}
static SPADE_FN float spade_sin_derivative(float dy, float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return SPADE_MUL(dy, cosf(x));
}

static SPADE_FN float spade_cos(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return cosf(x);
}
static SPADE_FN float spade_cos_derivative(float dy, float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return SPADE_MUL(-dy, sinf(x));
}

/* x where it is positive, else alpha x */
static SPADE_FN float spade_leaky_relu(float x, float alpha, float beta)
{
    (void)beta;
    return x > 0 ? x : SPADE_MUL(alpha, x);
}
static SPADE_FN float spade_leaky_relu_derivative(float dy, float x, float alpha, float beta)
{
    (void)beta;
    return x > 0 ? dy : SPADE_MUL(dy, alpha);
}

/* x where it is above alpha, else 0 */
static SPADE_FN float spade_thresholded_relu(float x, float alpha, float beta)
{
    (void)beta;
    return x <= alpha ? 0 : x;
}
static SPADE_FN float spade_thresholded_relu_derivative(float dy, float x, float alpha, float beta)
{
    (void)beta;
    return x > alpha ? dy : 0;
}

/* beta x where x is positive, else beta alpha (e^x - 1): beta is 1 but for SELU (Klambauer et al. 2017) */
static SPADE_FN float spade_elu(float x, float alpha, float beta)
{
    return SPADE_MUL(beta, x > 0 ? x : SPADE_MUL(alpha, expm1f(x)));
}
static SPADE_FN float spade_elu_derivative(float dy, float x, float alpha, float beta)
{
    return SPADE_MUL(dy, x > 0 ? beta : SPADE_MUL(beta, SPADE_MUL(alpha, expf(x))));
}

/* x where it is positive, else alpha (e^(x / alpha) - 1) */
static SPADE_FN float spade_celu(float x, float alpha, float beta)
{
    (void)beta;
    return x > 0 ? x : SPADE_MUL(alpha, expm1f(x / alpha));
}
static SPADE_FN float spade_celu_derivative(float dy, float x, float alpha, float beta)
{
    (void)beta;
    return x > 0 ? dy : SPADE_MUL(dy, expf(x / alpha));
}

/* log(1 + e^x); the derivative is the sigmoid */
static SPADE_FN float spade_softplus(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return SPADE_ADD(x < 0 ? 0 : x, log1pf(expf(-fabsf(x))));
}
static SPADE_FN float spade_softplus_derivative(float dy, float x, float alpha, float beta)
{
    return SPADE_MUL(dy, spade_sigmoid(x, alpha, beta));
}

/* x / (1 + |x|) */
static SPADE_FN float spade_softsign(float x, float alpha, float beta)
{
    (void)alpha, (void)beta;
    return x / SPADE_ADD(1.0f, fabsf(x));
}
static SPADE_FN float spade_softsign_derivative(float dy, float x, float alpha, float beta)
{
    const float below = SPADE_ADD(1.0f, fabsf(x));
    (void)alpha, (void)beta;
    return dy / SPADE_MUL(below, below);
}

/* x / (1 + e^(-alpha x)) (Ramachandran et al. 2017); SiLU for alpha = 1. f' = s + alpha x s (1 - s), s the sigmoid of alpha x. */
static SPADE_FN float spade_swish(float x, float alpha, float beta)
{
    return SPADE_MUL(x, spade_sigmoid(SPADE_MUL(alpha, x), alpha, beta));
}
static SPADE_FN float spade_swish_derivative(float dy, float x, float alpha, float beta)
{
    const float ax = SPADE_MUL(alpha, x), s = spade_sigmoid(ax, alpha, beta);
    return SPADE_MUL(dy, SPADE_MUL(s, SPADE_ADD(1.0f, SPADE_MUL(ax, SPADE_ADD(1.0f, -s)))));
}

/* x tanh(log(1 + e^x)) (Misra 2019); f' = t + x s (1 - t^2), t the tanh, s the sigmoid. */
static SPADE_FN float spade_mish(float x, float alpha, float beta)
{
    return SPADE_MUL(x, tanhf(spade_softplus(x, alpha, beta)));
}
static SPADE_FN float spade_mish_derivative(float dy, float x, float alpha, float beta)
{
    const float t = tanhf(spade_softplus(x, alpha, beta)), s = spade_sigmoid(x, alpha, beta);
    const float slope = SPADE_MUL(s, SPADE_ADD(1.0f, SPADE_MUL(-t, t)));
    return SPADE_MUL(dy, SPADE_ADD(t, SPADE_MUL(x, slope)));
}

#endif
