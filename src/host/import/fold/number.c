/* number.c - exact arithmetic of a + b N + c i: N is the batch, at least 1; i, from 0 to N - 1, a picture's number. */
#include <math.h>

#include "import/fold/fold.h"

bool fold_type_is_integer(int type)
{
    return type == ONNX_INT32 || type == ONNX_INT64 || type == ONNX_BOOL || type == ONNX_UINT8 || type == ONNX_INT8;
}

fold_number fold_integer(int64_t value)
{
    return (fold_number){.integer = true, .i = {value, 0, 0}};
}

fold_number fold_real(double value)
{
    return (fold_number){.f = {value, 0, 0}};
}

bool fold_is_plain_number(const fold_number *number)
{
    return number->integer ? !number->i[1] && !number->i[2] : number->f[1] == 0 && number->f[2] == 0;
}

/* ---- elements of tensors */

static double read_real(int type, const void *bytes, int64_t index)
{
    float single;
    double wide;
    if (type == ONNX_FLOAT) {
        memcpy(&single, (const uint8_t *)bytes + index * 4, 4);
        return (double)single;
    }
    memcpy(&wide, (const uint8_t *)bytes + index * 8, 8);
    return wide;
}

fold_number fold_load(const spade_fold *fold, int64_t index)
{
    const void *const parts[3] = {fold->tensor.bytes, fold->batch, fold->index};
    fold_number number = {.integer = fold_type_is_integer(fold->tensor.type)};
    for (int p = 0; p < 3; p++) {
        if (!parts[p]) { continue; }
        if (number.integer) {
            const onnx_tensor view = {.type = fold->tensor.type, .bytes = parts[p]};
            number.i[p] = onnx_tensor_int(&view, index);
        } else {
            number.f[p] = read_real(fold->tensor.type, parts[p], index);
        }
    }
    return number;
}

static bool fits_integer(int type, int64_t value)
{
    switch (type) {
    case ONNX_INT32: return value >= INT32_MIN && value <= INT32_MAX;
    case ONNX_UINT8: return value >= 0 && value <= UINT8_MAX;
    case ONNX_INT8: return value >= INT8_MIN && value <= INT8_MAX;
    case ONNX_BOOL: return value == 0 || value == 1;
    default: return true;
    }
}

static bool store_part(int type, void *bytes, int64_t index, int64_t integer, double real)
{
    uint8_t *to = bytes;
    const float single = (float)real;
    const int32_t narrow = (int32_t)integer;
    if (fold_type_is_integer(type) && !fits_integer(type, integer)) { return false; }
    switch (type) {
    case ONNX_FLOAT: memcpy(to + index * 4, &single, 4); return true;
    case ONNX_DOUBLE: memcpy(to + index * 8, &real, 8); return true;
    case ONNX_INT32: memcpy(to + index * 4, &narrow, 4); return true;
    case ONNX_INT64: memcpy(to + index * 8, &integer, 8); return true;
    default: to[index] = (uint8_t)integer; return true;
    }
}

bool fold_store(spade_fold *fold, int64_t index, const fold_number *number)
{
    const void *const parts[3] = {fold->tensor.bytes, fold->batch, fold->index};
    for (int p = 0; p < 3; p++) {
        if (!parts[p]) {
            if (number->integer ? number->i[p] != 0 : number->f[p] != 0) { return false; }
        } else if (!store_part(fold->tensor.type, (void *)(uintptr_t)parts[p], index, number->i[p], number->f[p])) {
            return false;
        }
    }
    return true;
}

/* ---- arithmetic */

static const char overflow[] = "a number is beyond the limits of int64";
static const char mixed[] = "its operands have different types";
static const char no_line[] = "the result does not grow evenly with the batch, which is not supported";

/* Real numbers that vary have to vary by whole numbers, which are exact. */
static const char *check_real(fold_number *number)
{
    for (int p = 1; p < 3; p++) {
        if (number->f[p] != 0 && (number->f[p] != nearbyint(number->f[p]) || fabs(number->f[p]) > 0x1p24)) {
            return no_line;
        }
    }
    if (!fold_is_plain_number(number) && number->f[0] != nearbyint(number->f[0])) { return no_line; }
    return NULL;
}

const char *fold_add(const fold_number *x, fold_number *out)
{
    *out = (fold_number){.integer = x[0].integer};
    if (x[0].integer != x[1].integer) { return mixed; }
    for (int p = 0; p < 3; p++) {
        if (__builtin_add_overflow(x[0].i[p], x[1].i[p], &out->i[p])) { return overflow; }
        out->f[p] = x[0].f[p] + x[1].f[p];
    }
    return out->integer ? NULL : check_real(out);
}

const char *fold_subtract(const fold_number *x, fold_number *out)
{
    *out = (fold_number){.integer = x[0].integer};
    if (x[0].integer != x[1].integer) { return mixed; }
    for (int p = 0; p < 3; p++) {
        if (__builtin_sub_overflow(x[0].i[p], x[1].i[p], &out->i[p])) { return overflow; }
        out->f[p] = x[0].f[p] - x[1].f[p];
    }
    return out->integer ? NULL : check_real(out);
}

const char *fold_multiply(const fold_number *x, fold_number *out)
{
    *out = (fold_number){.integer = x[0].integer};
    if (x[0].integer != x[1].integer) { return mixed; }
    const int factor = fold_is_plain_number(&x[1]) ? 1 : 0;
    if (!fold_is_plain_number(&x[factor])) { return no_line; }
    for (int p = 0; p < 3; p++) {
        if (__builtin_mul_overflow(x[1 - factor].i[p], x[factor].i[0], &out->i[p])) { return overflow; }
        if (p == 0 || x[1 - factor].f[p] != 0) { out->f[p] = x[1 - factor].f[p] * x[factor].f[0]; }
    }
    return out->integer ? NULL : check_real(out);
}

/* b / b' where neither has another part, and b' is not 0: (b N) / (b' N). */
static bool is_ratio(const fold_number *x)
{
    return x[1].integer ? !x[0].i[0] && !x[0].i[2] && !x[1].i[0] && !x[1].i[2] && x[1].i[1]
                        : x[0].f[0] == 0 && x[0].f[2] == 0 && x[1].f[0] == 0 && x[1].f[2] == 0 && x[1].f[1] != 0;
}

static const char *divide_integers(const fold_number *x, fold_number *out)
{
    const int64_t *n = x[0].i, *d = x[1].i;
    if (!fold_is_plain_number(&x[1])) {
        if (!is_ratio(x)) { return no_line; }
        if (d[1] == -1) { return no_line; }
        out->i[0] = n[1] / d[1];
        return NULL;
    }
    if (d[0] == 0) { return "a division by 0"; }
    for (int p = 0; p < 3; p++) {
        if (d[0] == -1 && n[p] == INT64_MIN) { return overflow; }
        if (!fold_is_plain_number(&x[0]) && n[p] % d[0]) { return no_line; }
        out->i[p] = n[p] / d[0]; /* towards 0, as the operator does */
    }
    return NULL;
}

const char *fold_divide(const fold_number *x, fold_number *out)
{
    *out = (fold_number){.integer = x[0].integer};
    if (x[0].integer != x[1].integer) { return mixed; }
    if (out->integer) { return divide_integers(x, out); }
    if (!fold_is_plain_number(&x[1])) {
        if (!is_ratio(x)) { return no_line; }
        out->f[0] = x[0].f[1] / x[1].f[1];
        return NULL;
    }
    for (int p = 0; p < 3; p++) {
        if (p == 0 || x[0].f[p] != 0) { out->f[p] = x[0].f[p] / x[1].f[0]; }
    }
    return check_real(out);
}

const char *fold_remainder(const fold_number *x, fold_number *out)
{
    *out = (fold_number){.integer = x[0].integer};
    if (x[0].integer != x[1].integer) { return mixed; }
    if (!fold_is_plain_number(&x[1])) { return no_line; }
    if (!out->integer) { return "Mod of real numbers without fmod = 1"; }
    const int64_t d = x[1].i[0];
    if (d == 0) { return "a division by 0"; }
    if (d == -1) { return NULL; }
    if (x[0].i[1] % d || x[0].i[2] % d) { return no_line; }
    const int64_t rest = x[0].i[0] % d;
    out->i[0] = rest && (rest < 0) != (d < 0) ? rest + d : rest;
    return NULL;
}

const char *fold_remainder_c(const fold_number *x, fold_number *out)
{
    *out = (fold_number){.integer = x[0].integer};
    if (x[0].integer != x[1].integer) { return mixed; }
    if (!fold_is_plain_number(&x[0]) || !fold_is_plain_number(&x[1])) { return no_line; }
    if (!out->integer) {
        out->f[0] = fmod(x[0].f[0], x[1].f[0]);
        return NULL;
    }
    if (x[1].i[0] == 0) { return "a division by 0"; }
    out->i[0] = x[1].i[0] == -1 ? 0 : x[0].i[0] % x[1].i[0];
    return NULL;
}

/* To a type of tensors. Real numbers lose what is behind the point. */
const char *fold_convert(const fold_number *x, int type, fold_number *out)
{
    const bool integer = fold_type_is_integer(type);
    *out = (fold_number){.integer = integer};
    if (type == ONNX_BOOL) {
        const fold_number zero = x->integer ? fold_integer(0) : fold_real(0);
        const unsigned order = fold_compare(x, &zero);
        if ((order & 2) && order != 2) { return "whether it is 0 depends on the batch"; }
        out->i[0] = order != 2;
        return NULL;
    }
    for (int p = 0; p < 3; p++) {
        if (!integer) {
            out->f[p] = x->integer ? (double)x->i[p] : x->f[p];
            if (type == ONNX_FLOAT && p == 0) { out->f[p] = (double)(float)out->f[p]; }
        } else if (x->integer) {
            out->i[p] = x->i[p];
        } else {
            if (!(fabs(x->f[p]) < 0x1p62)) { return overflow; }
            out->i[p] = (int64_t)x->f[p];
        }
    }
    return integer ? NULL : check_real(out);
}

/* ---- order */

static unsigned order_of(double difference)
{
    return difference < 0 ? 1u : difference > 0 ? 4u : difference == 0 ? 2u : 8u;
}

/*
 * The sign of a + b N + c i over N >= 1 and 0 <= i < N. It is linear in both, so that its extremes are where i is 0 or N - 1, and
 * N is 1 or without end: of a + b N and (a - c) + (b + c) N.
 */
static unsigned order_of_lines(double a, double b, double c)
{
    unsigned order = 0;
    const double start[2] = {a, a - c}, slope[2] = {b, b + c};
    for (int k = 0; k < 2; k++) {
        const double first = start[k] + slope[k];
        order |= order_of(first);
        if (slope[k] == 0) { continue; }
        order |= order_of(slope[k]); /* at last */
        if ((first < 0) != (slope[k] < 0) && first != 0 && slope[k] != 0) {
            const double root = -start[k] / slope[k]; /* between: does it meet 0? */
            if (root == nearbyint(root)) { order |= 2u; }
        }
    }
    if (c != 0 && (order & 5u) == 5u) { order |= 2u; } /* 0 may lie between the first and the last picture */
    return order;
}

unsigned fold_compare(const fold_number *a, const fold_number *b)
{
    if (fold_is_plain_number(a) && fold_is_plain_number(b)) {
        if (a->integer) { return a->i[0] < b->i[0] ? 1u : a->i[0] > b->i[0] ? 4u : 2u; }
        return isnan(a->f[0]) || isnan(b->f[0]) ? 8u : a->f[0] < b->f[0] ? 1u : a->f[0] > b->f[0] ? 4u : 2u;
    }
    double difference[3];
    for (int p = 0; p < 3; p++) { difference[p] = a->integer ? (double)a->i[p] - (double)b->i[p] : a->f[p] - b->f[p]; }
    return order_of_lines(difference[0], difference[1], difference[2]);
}
