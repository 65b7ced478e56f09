/* elementwise.c - operators that work element by element, of tensors broadcast as NumPy does. */
#include <math.h>

#include "import/fold/fold.h"

/* ---- broadcasting */

typedef struct broadcast {
    spade_extent shape;
    int64_t strides[3][ONNX_MAX_RANK]; /* of each operand along the axes of the result; 0: repeated */
} broadcast;

/* One more operand: its axes are the last ones of the result. Where both have an axis that grows, it has to be the same. */
static bool widen(spade_extent *shape, const spade_fold *operand)
{
    spade_extent own = fold_extent(operand), wide = *shape;
    wide.rank = own.rank > shape->rank ? own.rank : shape->rank;
    for (int i = wide.rank - 1; i >= 0; i--) {
        const int a = i - (wide.rank - shape->rank), b = i - (wide.rank - own.rank);
        const bool a_grows = a >= 0 && a == shape->batch_axis, b_grows = b >= 0 && b == own.batch_axis;
        const int64_t left = a < 0 ? 1 : shape->dims[a], right = b < 0 ? 1 : own.dims[b];
        if (a_grows && b_grows) {
            if (left != right || shape->batch_outer != own.batch_outer) { return false; }
            wide.dims[i] = left;
        } else if (a_grows || b_grows) { /* what does not grow is repeated */
            if ((a_grows ? right : left) != 1) { return false; }
            wide.dims[i] = a_grows ? left : right;
        } else {
            if (left != right && left != 1 && right != 1) { return false; }
            wide.dims[i] = left == 1 ? right : left;
        }
        if (a_grows || b_grows) {
            wide.batch_axis = i;
            wide.batch_outer = a_grows ? shape->batch_outer : own.batch_outer;
        }
    }
    if (shape->batch_axis >= 0 && own.batch_axis >= 0 && shape->rank - shape->batch_axis != own.rank - own.batch_axis) {
        return false;
    }
    *shape = wide;
    return true;
}

static spade_status make_broadcast(fold_call *call, const spade_fold *const *operands, int count, broadcast *out)
{
    *out = (broadcast){.shape = fold_extent(operands[0])};
    for (int k = 1; k < count; k++) {
        if (!widen(&out->shape, operands[k])) {
            return fold_wrong(call, "the shapes of its operands do not fit together");
        }
    }
    for (int k = 0; k < count; k++) {
        const onnx_tensor *tensor = &operands[k]->tensor;
        int64_t stride = 1;
        for (int i = out->shape.rank - 1, own = tensor->rank - 1; i >= 0; i--, own--) {
            const int64_t n = own < 0 ? 1 : tensor->dims[own];
            out->strides[k][i] = n == 1 ? 0 : stride;
            stride *= n;
        }
    }
    return SPADE_OK;
}

/* out = function of 1 to 3 operands, as `type`. */
static spade_status map(fold_call *call, const spade_fold *const *operands, int count, int type, fold_function function,
                        spade_fold **out)
{
    broadcast b;
    unsigned parts = 0;
    SPADE_TRY(make_broadcast(call, operands, count, &b));
    for (int k = 0; k < count; k++) { parts |= fold_parts(operands[k]); }
    SPADE_TRY(fold_create(call, type, &b.shape, type == ONNX_BOOL ? 0 : parts, out));
    int64_t at[ONNX_MAX_RANK] = {0}, from[3] = {0};
    for (int64_t e = 0; e < (*out)->tensor.count; e++) {
        fold_number numbers[3], result;
        for (int k = 0; k < count; k++) { numbers[k] = fold_load(operands[k], from[k]); }
        const char *reason = function(numbers, &result);
        if (reason) { return fold_fail(call, "%s", reason); }
        if (!fold_store(*out, e, &result)) { return fold_fail(call, "a result does not fit its type"); }
        for (int i = b.shape.rank - 1; i >= 0; i--) {
            const bool more = ++at[i] < b.shape.dims[i];
            for (int k = 0; k < count; k++) { from[k] += more ? b.strides[k][i] : -(at[i] - 1) * b.strides[k][i]; }
            if (more) { break; }
            at[i] = 0;
        }
    }
    return SPADE_OK;
}

static spade_status read_operands(fold_call *call, int count, const spade_fold **out)
{
    for (int k = 0; k < count; k++) { SPADE_TRY(fold_require(call, k, &out[k])); }
    return SPADE_OK;
}

/* ---- functions of one number */

static const char *negate(const fold_number *x, fold_number *out)
{
    const fold_number pair[2] = {x->integer ? fold_integer(0) : fold_real(0), *x};
    if (fold_is_plain_number(x) && !x->integer) { /* -0 too */
        *out = fold_real(-x->f[0]);
        return NULL;
    }
    return fold_subtract(pair, out);
}

static const char *absolute(const fold_number *x, fold_number *out)
{
    const fold_number zero = x->integer ? fold_integer(0) : fold_real(0);
    const unsigned order = fold_compare(x, &zero);
    *out = *x;
    if (!(order & 1)) { return NULL; }
    return order & 4 ? "the sign of a number depends on the batch" : negate(x, out);
}

static const char *real_function(const fold_number *x, fold_number *out, double (*function)(double))
{
    if (x->integer) { return "it is given integers"; }
    if (!fold_is_plain_number(x)) { return "the result does not grow evenly with the batch, which is not supported"; }
    *out = fold_real(function(x->f[0]));
    return NULL;
}

/* Whole numbers stay, those that vary are. */
static const char *round_number(const fold_number *x, fold_number *out, double (*function)(double))
{
    *out = *x;
    return fold_is_plain_number(x) && !x->integer ? real_function(x, out, function) : NULL;
}

#define REAL(name, expression)                                                                                         \
    static double name##_of(double x)                                                                                  \
    {                                                                                                                  \
        return expression;                                                                                             \
    }                                                                                                                  \
    static const char *name(const fold_number *x, fold_number *out)                                                    \
    {                                                                                                                  \
        return real_function(x, out, name##_of);                                                                       \
    }
REAL(root, sqrt(x))
REAL(exponential, exp(x))
REAL(logarithm, log(x))
REAL(sine, sin(x))
REAL(cosine, cos(x))
REAL(hyperbolic_tangent, tanh(x))
REAL(error_function, erf(x))
REAL(reciprocal, 1 / x)
REAL(logistic, 1 / (1 + exp(-x)))
REAL(rectified, x > 0 ? x : x != x ? x : 0)
REAL(softplus, x > 30 ? x : log1p(exp(x)))
#undef REAL

static const char *floor_number(const fold_number *x, fold_number *out)
{
    return round_number(x, out, floor);
}

static const char *ceil_number(const fold_number *x, fold_number *out)
{
    return round_number(x, out, ceil);
}

static const char *nearest_number(const fold_number *x, fold_number *out)
{
    return round_number(x, out, nearbyint); /* halves to even, as the operator does */
}

static const char *sign(const fold_number *x, fold_number *out)
{
    const fold_number zero = x->integer ? fold_integer(0) : fold_real(0);
    const unsigned order = fold_compare(x, &zero);
    if (order != 1 && order != 2 && order != 4) { return "the sign of a number depends on the batch"; }
    const int value = order == 1 ? -1 : order == 4 ? 1 : 0;
    *out = x->integer ? fold_integer(value) : fold_real(value);
    return NULL;
}

static const char *logical_not(const fold_number *x, fold_number *out)
{
    *out = fold_integer(x->i[0] == 0);
    return NULL;
}

static const char *is_nan(const fold_number *x, fold_number *out)
{
    *out = fold_integer(!x->integer && isnan(x->f[0]));
    return NULL;
}

/* ---- functions of two */

/* Is it so for every batch, for none? `wanted`: bits of fold_compare's. */
static const char *decide(const fold_number *x, unsigned wanted, fold_number *out)
{
    if (x[0].integer != x[1].integer) { return "its operands have different types"; }
    const unsigned order = fold_compare(&x[0], &x[1]);
    if ((order & wanted) && (order & ~wanted)) { return "the result of a comparison depends on the batch"; }
    *out = fold_integer((order & wanted) != 0);
    return NULL;
}

#define COMPARISON(name, bits)                                                                                         \
    static const char *name(const fold_number *x, fold_number *out)                                                    \
    {                                                                                                                  \
        return decide(x, bits, out);                                                                                   \
    }
COMPARISON(equal, 2u)
COMPARISON(less, 1u)
COMPARISON(less_or_equal, 3u)
COMPARISON(greater, 4u)
COMPARISON(greater_or_equal, 6u)
#undef COMPARISON

static const char *both(const fold_number *x, fold_number *out)
{
    *out = fold_integer(x[0].i[0] && x[1].i[0]);
    return NULL;
}

static const char *either(const fold_number *x, fold_number *out)
{
    *out = fold_integer(x[0].i[0] || x[1].i[0]);
    return NULL;
}

static const char *differs(const fold_number *x, fold_number *out)
{
    *out = fold_integer(!x[0].i[0] != !x[1].i[0]);
    return NULL;
}

static const char *choose(const fold_number *x, unsigned first, fold_number *out)
{
    if (x[0].integer != x[1].integer) { return "its operands have different types"; }
    const unsigned order = fold_compare(&x[0], &x[1]);
    if (order & 8) {
        *out = fold_real(NAN);
    } else if (!(order & ~(first | 2u))) {
        *out = x[0];
    } else if (!(order & first)) {
        *out = x[1];
    } else {
        return "which of two numbers is larger depends on the batch";
    }
    return NULL;
}

static const char *minimum(const fold_number *x, fold_number *out)
{
    return choose(x, 1u, out);
}

static const char *maximum(const fold_number *x, fold_number *out)
{
    return choose(x, 4u, out);
}

static const char *power_of_integers(int64_t base, int64_t exponent, int64_t *out)
{
    *out = 1;
    if (exponent < 0) { return "an integer to a negative power"; }
    for (int64_t k = 0; k < exponent; k++) {
        if (__builtin_mul_overflow(*out, base, out)) { return "a number is beyond the limits of int64"; }
        if (*out == 0 || (*out == 1 && base == 1)) { break; }
        if (k > 62) { return base == -1 ? "a power of -1 that large" : "a number is beyond the limits of int64"; }
    }
    return NULL;
}

/* The result has the type of the base; the exponent may have another one. */
static const char *power(const fold_number *x, fold_number *out)
{
    if (!fold_is_plain_number(&x[1])) { return "an exponent depends on the batch"; }
    const double exponent = x[1].integer ? (double)x[1].i[0] : x[1].f[0];
    if (exponent == 1) {
        *out = x[0];
        return NULL;
    }
    if (!fold_is_plain_number(&x[0])) {
        return "the result does not grow evenly with the batch, which is not supported";
    }
    *out = fold_integer(0);
    if (x[0].integer && x[1].integer) { return power_of_integers(x[0].i[0], x[1].i[0], &out->i[0]); }
    const double result = pow(x[0].integer ? (double)x[0].i[0] : x[0].f[0], exponent);
    if (!x[0].integer) {
        *out = fold_real(result);
        return NULL;
    }
    if (!(fabs(result) < 0x1p62)) { return "a number is beyond the limits of int64"; }
    out->i[0] = (int64_t)result;
    return NULL;
}

/* The condition's own number is plain: it is of bool. */
static const char *where(const fold_number *x, fold_number *out)
{
    *out = x[0].i[0] ? x[1] : x[2];
    return NULL;
}

/* ---- operators */

static const struct {
    const char *op_type;
    int operands;
    bool to_bool;
    fold_function function;
} functions[] = {
    {"Abs", 1, false, absolute},
    {"Add", 2, false, fold_add},
    {"And", 2, true, both},
    {"Ceil", 1, false, ceil_number},
    {"Cos", 1, false, cosine},
    {"Div", 2, false, fold_divide},
    {"Equal", 2, true, equal},
    {"Erf", 1, false, error_function},
    {"Exp", 1, false, exponential},
    {"Floor", 1, false, floor_number},
    {"Greater", 2, true, greater},
    {"GreaterOrEqual", 2, true, greater_or_equal},
    {"IsNaN", 1, true, is_nan},
    {"Less", 2, true, less},
    {"LessOrEqual", 2, true, less_or_equal},
    {"Log", 1, false, logarithm},
    {"Mul", 2, false, fold_multiply},
    {"Neg", 1, false, negate},
    {"Not", 1, true, logical_not},
    {"Or", 2, true, either},
    {"Pow", 2, false, power},
    {"Reciprocal", 1, false, reciprocal},
    {"Relu", 1, false, rectified},
    {"Round", 1, false, nearest_number},
    {"Sigmoid", 1, false, logistic},
    {"Sign", 1, false, sign},
    {"Sin", 1, false, sine},
    {"Softplus", 1, false, softplus},
    {"Sqrt", 1, false, root},
    {"Sub", 2, false, fold_subtract},
    {"Tanh", 1, false, hyperbolic_tangent},
    {"Xor", 2, true, differs},
};

static spade_status fold_function_node(fold_call *call)
{
    const spade_fold *operands[2] = {NULL};
    spade_fold *out;
    size_t f = 0;
    while (strcmp(functions[f].op_type, call->node->op_type) != 0) { f++; } /* the operators' table names these only */
    SPADE_TRY(read_operands(call, functions[f].operands, operands));
    if (!operands[0]) { return fold_wrong(call, "has no input"); }
    SPADE_TRY(map(call, operands, functions[f].operands, functions[f].to_bool ? ONNX_BOOL : operands[0]->tensor.type,
                  functions[f].function, &out));
    call->outputs[0] = out;
    return SPADE_OK;
}

static spade_status fold_mod(fold_call *call)
{
    const spade_fold *operands[2];
    spade_fold *out;
    int64_t like_c;
    SPADE_TRY(fold_attribute(call, "fmod", 0, &like_c));
    SPADE_TRY(read_operands(call, 2, operands));
    SPADE_TRY(map(call, operands, 2, operands[0]->tensor.type, like_c ? fold_remainder_c : fold_remainder, &out));
    call->outputs[0] = out;
    return SPADE_OK;
}

/* Of any number of operands. */
static spade_status fold_variadic(fold_call *call)
{
    const char *op = call->node->op_type;
    fold_function function = strcmp(op, "Min") == 0 ? minimum : strcmp(op, "Max") == 0 ? maximum : fold_add;
    const spade_fold *pair[2];
    SPADE_TRY(fold_require(call, 0, &pair[0]));
    for (int k = 1; k < call->node->input_count; k++) {
        spade_fold *out;
        SPADE_TRY(fold_require(call, k, &pair[1]));
        SPADE_TRY(map(call, pair, 2, pair[0]->tensor.type, function, &out));
        pair[0] = out;
    }
    spade_fold *copy;
    const spade_extent shape = fold_extent(pair[0]);
    SPADE_TRY(fold_rename(call, pair[0], &shape, &copy));
    call->outputs[0] = copy;
    return SPADE_OK;
}

static spade_status fold_where(fold_call *call)
{
    const spade_fold *operands[3];
    spade_fold *out;
    SPADE_TRY(read_operands(call, 3, operands));
    if (operands[0]->tensor.type != ONNX_BOOL || operands[1]->tensor.type != operands[2]->tensor.type) {
        return fold_wrong(call, "its operands have the wrong types");
    }
    SPADE_TRY(map(call, operands, 3, operands[1]->tensor.type, where, &out));
    call->outputs[0] = out;
    return SPADE_OK;
}

/* min and max: inputs, or attributes before opset 11. */
static spade_status fold_clip(fold_call *call)
{
    const spade_fold *pair[2];
    spade_fold *out;
    SPADE_TRY(fold_require(call, 0, &pair[0]));
    if (call->import->onnx->opset < 11) { return fold_fail(call, "a Clip of constants before opset 11"); }
    for (int k = 1; k < 3; k++) {
        if (!fold_has(call, k)) { continue; }
        pair[1] = &call->inputs[k];
        if (pair[1]->tensor.count != 1) { return fold_wrong(call, "its bound is no scalar"); }
        SPADE_TRY(map(call, pair, 2, pair[0]->tensor.type, k == 1 ? maximum : minimum, &out));
        pair[0] = out;
    }
    const spade_extent shape = fold_extent(pair[0]);
    SPADE_TRY(fold_rename(call, pair[0], &shape, &out));
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- types */

static spade_status convert(fold_call *call, const spade_fold *from, int64_t type)
{
    spade_fold *out;
    const spade_extent shape = fold_extent(from);
    if (type == ONNX_FLOAT16) { type = ONNX_FLOAT; }
    if (!fold_type_is_integer((int)type) && type != ONNX_FLOAT && type != ONNX_DOUBLE) {
        return fold_fail(call, "type %lld is not supported", (long long)type);
    }
    if (type == from->tensor.type) {
        SPADE_TRY(fold_rename(call, from, &shape, &out));
        call->outputs[0] = out;
        return SPADE_OK;
    }
    SPADE_TRY(fold_create(call, (int)type, &shape, type == ONNX_BOOL ? 0 : fold_parts(from), &out));
    for (int64_t e = 0; e < from->tensor.count; e++) {
        const fold_number number = fold_load(from, e);
        fold_number result;
        const char *reason = fold_convert(&number, (int)type, &result);
        if (reason) { return fold_fail(call, "%s", reason); }
        if (!fold_store(out, e, &result)) { return fold_fail(call, "a number does not fit its new type"); }
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

static spade_status fold_cast(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t type;
    SPADE_TRY(fold_require(call, 0, &from));
    SPADE_TRY(fold_attribute(call, "to", 0, &type));
    return convert(call, from, type);
}

static spade_status fold_cast_like(fold_call *call)
{
    const spade_fold *from = NULL, *like = NULL;
    SPADE_TRY(fold_require(call, 0, &from));
    SPADE_TRY(fold_require(call, 1, &like));
    return convert(call, from, like->tensor.type);
}

const fold_operator fold_elementwise_operators[] = {{"Abs", fold_function_node, 0},
                                                    {"Add", fold_function_node, 0},
                                                    {"And", fold_function_node, 0},
                                                    {"Cast", fold_cast, 0},
                                                    {"CastLike", fold_cast_like, 2},
                                                    {"Ceil", fold_function_node, 0},
                                                    {"Clip", fold_clip, 0},
                                                    {"Cos", fold_function_node, 0},
                                                    {"Div", fold_function_node, 0},
                                                    {"Equal", fold_function_node, 0},
                                                    {"Erf", fold_function_node, 0},
                                                    {"Exp", fold_function_node, 0},
                                                    {"Floor", fold_function_node, 0},
                                                    {"Greater", fold_function_node, 0},
                                                    {"GreaterOrEqual", fold_function_node, 0},
                                                    {"IsNaN", fold_function_node, 0},
                                                    {"Less", fold_function_node, 0},
                                                    {"LessOrEqual", fold_function_node, 0},
                                                    {"Log", fold_function_node, 0},
                                                    {"Max", fold_variadic, 0},
                                                    {"Min", fold_variadic, 0},
                                                    {"Mod", fold_mod, 0},
                                                    {"Mul", fold_function_node, 0},
                                                    {"Neg", fold_function_node, 0},
                                                    {"Not", fold_function_node, 0},
                                                    {"Or", fold_function_node, 0},
                                                    {"Pow", fold_function_node, 0},
                                                    {"Reciprocal", fold_function_node, 0},
                                                    {"Relu", fold_function_node, 0},
                                                    {"Round", fold_function_node, 0},
                                                    {"Sigmoid", fold_function_node, 0},
                                                    {"Sign", fold_function_node, 0},
                                                    {"Sin", fold_function_node, 0},
                                                    {"Softplus", fold_function_node, 0},
                                                    {"Sqrt", fold_function_node, 0},
                                                    {"Sub", fold_function_node, 0},
                                                    {"Sum", fold_variadic, 0},
                                                    {"Tanh", fold_function_node, 0},
                                                    {"Where", fold_where, 0},
                                                    {"Xor", fold_function_node, 0},
                                                    {0}};
