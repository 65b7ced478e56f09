/* reference_functions.c - elementwise functions and their derivatives in float64, written down independently of
 * backend/functions.h. */
#include "support/reference.h"

#include <math.h>

static double relu(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return fmax(x, 0);
}
static double relu_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return x > 0;
}

static double clip(double x, double alpha, double beta)
{
    return fmin(fmax(x, alpha), beta);
}
static double clip_derivative(double x, double alpha, double beta)
{
    return x >= alpha && x <= beta;
}

static double sigmoid(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return 1 / (1 + exp(-x));
}
static double sigmoid_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return exp(-x) / ((1 + exp(-x)) * (1 + exp(-x)));
}

static double hard_sigmoid(double x, double alpha, double beta)
{
    return fmax(0, fmin(1, alpha * x + beta));
}
static double hard_sigmoid_derivative(double x, double alpha, double beta)
{
    return alpha * x + beta > 0 && alpha * x + beta < 1 ? alpha : 0;
}

static double hard_swish(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return x * fmax(0, fmin(1, x / 6 + 0.5));
}
static double hard_swish_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return x < -3 ? 0 : x <= 3 ? x / 3 + 0.5 : 1;
}

static double error_function(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return erf(x);
}
static double error_function_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return 2 / sqrt(acos(-1)) * exp(-x * x);
}

static double hyperbolic_tangent(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return (exp(2 * x) - 1) / (exp(2 * x) + 1);
}
static double hyperbolic_tangent_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return 4 / ((exp(x) + exp(-x)) * (exp(x) + exp(-x)));
}

static double gelu(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return x * erfc(-x / sqrt(2)) / 2;
}
static double gelu_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return erfc(-x / sqrt(2)) / 2 + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
}

/* x times the logistic function of 2 sqrt(2 / pi) (x + 0.044715 x^3): the same as with tanh. */
static double gelu_tanh(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return x / (1 + exp(-2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}
static double gelu_tanh_derivative(double x, double alpha, double beta)
{
    double s = 1 / (1 + exp(-2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    (void)alpha, (void)beta;
    return s + x * s * (1 - s) * 2 * sqrt(2 / acos(-1)) * (1 + 3 * 0.044715 * x * x);
}

static double affine(double x, double alpha, double beta)
{
    return alpha * x + beta;
}
static double affine_derivative(double x, double alpha, double beta)
{
    (void)x, (void)beta;
    return alpha;
}

static double negation(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return -x;
}
static double negation_derivative(double x, double alpha, double beta)
{
    (void)x, (void)alpha, (void)beta;
    return -1;
}

static double absolute(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return sqrt(x * x);
}
static double absolute_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return x == 0 ? 0 : x / sqrt(x * x);
}

static double sign(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return x == 0 ? 0 : x / fabs(x);
}
static double sign_derivative(double x, double alpha, double beta)
{
    (void)x, (void)alpha, (void)beta;
    return 0;
}

static double reciprocal(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return 1 / x;
}
static double reciprocal_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return -1 / (x * x);
}

static double square_root(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return sqrt(x);
}
static double square_root_derivative(double x, double alpha, double beta)
{
    (void)beta;
    return alpha == 1 && x == 0 ? 0 : 0.5 / sqrt(x);
}

static double exponential(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return exp(x);
}
static double exponential_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return exp(x);
}

static double logarithm(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return log(x);
}
static double logarithm_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return 1 / x;
}

static double power(double x, double alpha, double beta)
{
    (void)beta;
    return pow(x, alpha);
}
static double power_derivative(double x, double alpha, double beta)
{
    (void)beta;
    return alpha * pow(x, alpha - 1);
}

static double sine(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return sin(x);
}
static double sine_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return cos(x);
}

static double cosine(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return cos(x);
}
static double cosine_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return -sin(x);
}

static double leaky_relu(double x, double alpha, double beta)
{
    (void)beta;
    return fmax(x, 0) + alpha * fmin(x, 0);
}
static double leaky_relu_derivative(double x, double alpha, double beta)
{
    (void)beta;
    return x > 0 ? 1 : alpha;
}

static double thresholded_relu(double x, double alpha, double beta)
{
    (void)beta;
    return x > alpha ? x : 0;
}
static double thresholded_relu_derivative(double x, double alpha, double beta)
{
    (void)beta;
    return x > alpha;
}

static double elu(double x, double alpha, double beta)
{
    return beta * (fmax(x, 0) + alpha * (exp(fmin(x, 0)) - 1));
}
static double elu_derivative(double x, double alpha, double beta)
{
    return x > 0 ? beta : beta * alpha * exp(x);
}

static double celu(double x, double alpha, double beta)
{
    (void)beta;
    return fmax(x, 0) + fmin(0, alpha * (exp(x / alpha) - 1));
}
static double celu_derivative(double x, double alpha, double beta)
{
    (void)beta;
    return x > 0 ? 1 : exp(x / alpha);
}

static double softplus(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return log(1 + exp(x));
}
static double softplus_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return exp(x) / (1 + exp(x));
}

static double softsign(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return x / (1 + fabs(x));
}
static double softsign_derivative(double x, double alpha, double beta)
{
    (void)alpha, (void)beta;
    return 1 / ((1 + fabs(x)) * (1 + fabs(x)));
}

static double swish(double x, double alpha, double beta)
{
    (void)beta;
    return x / (1 + exp(-alpha * x));
}
static double swish_derivative(double x, double alpha, double beta)
{
    (void)beta;
    return (1 + exp(-alpha * x) * (1 + alpha * x)) / pow(1 + exp(-alpha * x), 2);
}

/* tanh(log(u)) is (u^2 - 1) / (u^2 + 1). */
static double mish(double x, double alpha, double beta)
{
    double u = 1 + exp(x);
    (void)alpha, (void)beta;
    return x * (u * u - 1) / (u * u + 1);
}
static double mish_derivative(double x, double alpha, double beta)
{
    double u = 1 + exp(x), below = u * u + 1;
    (void)alpha, (void)beta;
    return (u * u - 1) / below + x * 4 * u * exp(x) / (below * below);
}

const reference_function reference_functions[SPADE_FUNCTION_COUNT] = {
    [SPADE_RELU] = {relu, relu_derivative, 0, 0},
    [SPADE_CLIP] = {clip, clip_derivative, -1.5f, 2},
    [SPADE_SIGMOID] = {sigmoid, sigmoid_derivative, 0, 0},
    [SPADE_HARD_SIGMOID] = {hard_sigmoid, hard_sigmoid_derivative, 1.0f / 6, 0.5f},
    [SPADE_HARD_SWISH] = {hard_swish, hard_swish_derivative, 0, 0},
    [SPADE_ERF] = {error_function, error_function_derivative, 0, 0},
    [SPADE_TANH] = {hyperbolic_tangent, hyperbolic_tangent_derivative, 0, 0},
    [SPADE_GELU] = {gelu, gelu_derivative, 0, 0},
    [SPADE_GELU_TANH] = {gelu_tanh, gelu_tanh_derivative, 0, 0},
    [SPADE_AFFINE] = {affine, affine_derivative, 0.75f, -0.5f},
    [SPADE_NEG] = {negation, negation_derivative, 0, 0},
    [SPADE_ABS] = {absolute, absolute_derivative, 0, 0},
    [SPADE_SIGN] = {sign, sign_derivative, 0, 0, .steep = true},
    [SPADE_RECIPROCAL] = {reciprocal, reciprocal_derivative, 0, 0, .steep = true},
    [SPADE_SQRT] = {square_root, square_root_derivative, 0, 0, .steep = true},
    [SPADE_EXP] = {exponential, exponential_derivative, 0, 0, .steep = true},
    [SPADE_LOG] = {logarithm, logarithm_derivative, 0, 0, .steep = true},
    [SPADE_POW] = {power, power_derivative, 1.5f, 0, .steep = true},
    [SPADE_SIN] = {sine, sine_derivative, 0, 0},
    [SPADE_COS] = {cosine, cosine_derivative, 0, 0},
    [SPADE_LEAKY_RELU] = {leaky_relu, leaky_relu_derivative, 0.125f, 0},
    [SPADE_THRESHOLDED_RELU] = {thresholded_relu, thresholded_relu_derivative, 0.5f, 0, .steep = true},
    [SPADE_ELU] = {elu, elu_derivative, 0.75f, 1.25f},
    [SPADE_CELU] = {celu, celu_derivative, 1.5f, 0},
    [SPADE_SOFTPLUS] = {softplus, softplus_derivative, 0, 0},
    [SPADE_SOFTSIGN] = {softsign, softsign_derivative, 0, 0},
    [SPADE_SWISH] = {swish, swish_derivative, 1.25f, 0},
    [SPADE_MISH] = {mish, mish_derivative, 0, 0},
};
