/* create.c - shapes and tensors made of numbers; the same elements under another shape. */
#include <math.h>

#include "import/fold/fold.h"

/* ---- Shape, Size */

/* Length of an axis, as a number. */
static fold_number length_of(const fold_call *call, const spade_fold *fold, int axis)
{
    const int64_t n = fold->tensor.dims[axis], batch = call->import->file_batch;
    if (axis != fold->batch_axis) { return fold_integer(n); }
    return batch ? fold_integer(n * batch) : (fold_number){.integer = true, .i = {0, n, 0}};
}

static spade_status fold_shape(fold_call *call)
{
    const spade_fold *of = NULL;
    int64_t start, end;
    spade_fold *out;
    SPADE_TRY(fold_require(call, 0, &of));
    const int rank = of->tensor.rank;
    SPADE_TRY(fold_attribute(call, "start", 0, &start));
    SPADE_TRY(fold_attribute(call, "end", rank, &end));
    start += start < 0 ? rank : 0;
    end += end < 0 ? rank : 0;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    const spade_extent shape = {.rank = 1, .dims = {end - start}, .batch_axis = -1};
    const bool grows = of->batch_axis >= start && of->batch_axis < end && !call->import->file_batch;
    SPADE_TRY(fold_create(call, ONNX_INT64, &shape, grows ? FOLD_BATCH : 0, &out));
    for (int i = (int)start; i < end; i++) {
        const fold_number length = length_of(call, of, i);
        (void)fold_store(out, i - start, &length);
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

static spade_status fold_size(fold_call *call)
{
    const spade_fold *of = NULL;
    fold_number size = fold_integer(1);
    const spade_extent scalar = {.batch_axis = -1};
    spade_fold *out;
    SPADE_TRY(fold_require(call, 0, &of));
    for (int i = 0; i < of->tensor.rank; i++) {
        const fold_number pair[2] = {size, length_of(call, of, i)};
        const char *reason = fold_multiply(pair, &size);
        if (reason) { return fold_fail(call, "%s", reason); }
    }
    SPADE_TRY(fold_create(call, ONNX_INT64, &scalar, size.i[1] ? FOLD_BATCH : 0, &out));
    (void)fold_store(out, 0, &size);
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- ConstantOfShape, Range, OneHot, NonZero */

static spade_status read_extent(fold_call *call, const spade_fold *list, spade_extent *out)
{
    if (list->tensor.type != ONNX_INT64 || list->tensor.rank != 1 || list->tensor.count > ONNX_MAX_RANK ||
        list->batch_axis >= 0) {
        return fold_wrong(call, "its shape is no list of at most %d int64", ONNX_MAX_RANK);
    }
    *out = (spade_extent){.rank = (int)list->tensor.count, .batch_axis = -1};
    for (int i = 0; i < out->rank; i++) {
        const fold_number n = fold_load(list, i);
        out->dims[i] = n.i[1] ? n.i[1] : n.i[0];
        if (n.i[2] || (n.i[1] && (n.i[0] || n.i[1] < 0 || out->batch_axis >= 0))) {
            return fold_fail(call, "its shape does not grow evenly with the batch");
        }
        if (!n.i[1]) { continue; }
        out->batch_axis = i;
        out->batch_outer = 1;
    }
    return SPADE_OK;
}

static spade_status fold_constant_of_shape(fold_call *call)
{
    const spade_fold *list = NULL;
    spade_extent shape;
    spade_fold *out;
    const onnx_attribute *value = onnx_find_attribute(call->node, "value");
    if (value &&
        (value->kind != ONNX_ATTR_TENSOR || !value->tensor || value->tensor->count != 1 || !value->tensor->bytes)) {
        return fold_wrong(call, "its value is no tensor of one element that is supported");
    }
    SPADE_TRY(fold_require(call, 0, &list));
    SPADE_TRY(read_extent(call, list, &shape));
    const bool half = value && value->tensor->type == ONNX_FLOAT16;
    spade_fold from = {.batch_axis = -1};
    if (value) { from = fold_of_tensor(value->tensor); }
    const int type = !value || half ? ONNX_FLOAT : from.tensor.type;
    const fold_number number = !value ? fold_real(0)
                               : half ? fold_real((double)onnx_tensor_float(value->tensor, 0))
                                      : fold_load(&from, 0);
    SPADE_TRY(fold_create(call, type, &shape, 0, &out));
    for (int64_t e = 0; e < out->tensor.count; e++) { (void)fold_store(out, e, &number); }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* A scalar input. */
static spade_status read_scalar(fold_call *call, int input, fold_number *out)
{
    const spade_fold *fold = NULL;
    SPADE_TRY(fold_require(call, input, &fold));
    if (fold->tensor.count != 1 || fold->batch_axis >= 0) {
        return fold_wrong(call, "its input %d is no scalar", input);
    }
    *out = fold_load(fold, 0);
    return SPADE_OK;
}

/* 0, 1, ... to k N: an axis that grows by k for each picture, of elements j + k i. */
static spade_status make_growing_range(fold_call *call, int type, const fold_number *limit, spade_fold **out)
{
    const spade_extent shape = {.rank = 1, .dims = {limit->i[1]}, .batch_axis = 0, .batch_outer = 1};
    SPADE_TRY(fold_create(call, type, &shape, FOLD_INDEX, out));
    for (int64_t j = 0; j < limit->i[1]; j++) {
        const fold_number number = {.integer = true, .i = {j, 0, limit->i[1]}};
        (void)fold_store(*out, j, &number);
    }
    return SPADE_OK;
}

static spade_status fold_range(fold_call *call)
{
    fold_number bounds[3];
    spade_fold *out;
    for (int i = 0; i < 3; i++) { SPADE_TRY(read_scalar(call, i, &bounds[i])); }
    const int type = call->inputs[0].tensor.type;
    if (bounds[0].integer != bounds[1].integer || bounds[0].integer != bounds[2].integer) {
        return fold_wrong(call, "its inputs have different types");
    }
    if (!fold_is_plain_number(&bounds[1]) && bounds[1].integer) {
        const fold_number *limit = &bounds[1];
        const bool simple = fold_is_plain_number(&bounds[0]) && bounds[0].i[0] == 0 &&
                            fold_is_plain_number(&bounds[2]) && bounds[2].i[0] == 1 && limit->i[0] == 0 &&
                            limit->i[1] > 0 && limit->i[2] == 0;
        if (!simple) { return fold_fail(call, "its bounds depend on the batch"); }
        SPADE_TRY(make_growing_range(call, type, limit, &out));
        call->outputs[0] = out;
        return SPADE_OK;
    }
    for (int i = 0; i < 3; i++) {
        if (!fold_is_plain_number(&bounds[i])) { return fold_fail(call, "its bounds depend on the batch"); }
    }
    const double start = bounds[0].integer ? (double)bounds[0].i[0] : bounds[0].f[0];
    const double limit = bounds[1].integer ? (double)bounds[1].i[0] : bounds[1].f[0];
    const double step = bounds[2].integer ? (double)bounds[2].i[0] : bounds[2].f[0];
    const double count = ceil((limit - start) / step);
    if (step == 0 || !(fabs(start) < 0x1p52) || !(fabs(limit) < 0x1p52) || !(count < 0x1p40)) {
        return fold_wrong(call, "its bounds are %g, %g and %g", start, limit, step);
    }
    const spade_extent shape = {.rank = 1, .dims = {count > 0 ? (int64_t)count : 0}, .batch_axis = -1};
    SPADE_TRY(fold_create(call, type, &shape, 0, &out));
    for (int64_t e = 0; e < out->tensor.count; e++) {
        const fold_number number =
            bounds[0].integer ? fold_integer(bounds[0].i[0] + e * bounds[2].i[0]) : fold_real(start + (double)e * step);
        if (!fold_store(out, e, &number)) { return fold_wrong(call, "a number does not fit its type"); }
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

static spade_status fold_one_hot(fold_call *call)
{
    const spade_fold *indices = NULL, *values = NULL;
    fold_number depth;
    int64_t given, after = 1;
    int axis;
    spade_fold *out;
    SPADE_TRY(fold_require_uniform(call, 0, &indices));
    SPADE_TRY(read_scalar(call, 1, &depth));
    SPADE_TRY(fold_require_plain(call, 2, &values));
    SPADE_TRY(fold_attribute(call, "axis", -1, &given));
    if (values->tensor.count != 2 || !fold_is_plain_number(&depth) || indices->tensor.rank >= ONNX_MAX_RANK) {
        return fold_wrong(call, "its inputs do not fit together");
    }
    const int64_t n = depth.integer ? depth.i[0] : depth.f[0] >= 1 && depth.f[0] < 0x1p31 ? (int64_t)depth.f[0] : 0;
    if (n < 1) { return fold_wrong(call, "its depth is below 1"); }
    SPADE_TRY(fold_axis(call, given, indices->tensor.rank + 1, &axis));
    spade_extent shape = {.rank = indices->tensor.rank + 1, .batch_axis = -1, .batch_outer = indices->batch_outer};
    if (indices->batch_axis >= 0) { shape.batch_axis = indices->batch_axis + (indices->batch_axis >= axis); }
    for (int i = 0; i < shape.rank; i++) {
        shape.dims[i] = i == axis ? n : indices->tensor.dims[i < axis ? i : i - 1];
        if (i > axis) { after *= shape.dims[i]; }
    }
    SPADE_TRY(fold_create(call, values->tensor.type, &shape, 0, &out));
    for (int64_t e = 0; e < out->tensor.count; e++) {
        fold_number given_index = fold_load(indices, e / (after * n) * after + e % after), index_number;
        const char *reason = fold_convert(&given_index, ONNX_INT64, &index_number);
        if (reason) { return fold_fail(call, "%s", reason); }
        int64_t index = index_number.i[0];
        index += index < 0 ? n : 0;
        const fold_number number = fold_load(values, index == e / after % n);
        (void)fold_store(out, e, &number);
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

static bool is_zero(const fold_number *number)
{
    return number->integer ? number->i[0] == 0 : number->f[0] == 0;
}

static spade_status fold_non_zero(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t count = 0, at = 0;
    spade_fold *out;
    SPADE_TRY(fold_require_plain(call, 0, &from));
    for (int64_t e = 0; e < from->tensor.count; e++) {
        const fold_number number = fold_load(from, e);
        count += !is_zero(&number);
    }
    const spade_extent shape = {.rank = 2, .dims = {from->tensor.rank, count}, .batch_axis = -1};
    SPADE_TRY(fold_create(call, ONNX_INT64, &shape, 0, &out));
    for (int64_t e = 0; e < from->tensor.count; e++) {
        fold_number number = fold_load(from, e);
        if (is_zero(&number)) { continue; }
        int64_t rest = e;
        for (int i = from->tensor.rank - 1; i >= 0; i--) {
            number = fold_integer(rest % from->tensor.dims[i]);
            (void)fold_store(out, i * count + at, &number);
            rest /= from->tensor.dims[i];
        }
        at++;
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- the same elements under another shape */

static spade_status rename_as(fold_call *call, const spade_extent *extent)
{
    spade_fold *out;
    SPADE_TRY(fold_rename(call, &call->inputs[0], extent, &out));
    call->outputs[0] = out;
    return SPADE_OK;
}

static spade_status fold_reshape(fold_call *call)
{
    const spade_fold *from = NULL, *list = NULL;
    SPADE_TRY(fold_require(call, 0, &from));
    SPADE_TRY(fold_require(call, 1, &list));
    const spade_extent x = fold_extent(from);
    spade_extent y;
    SPADE_TRY(spade_extent_reshape(call->import, call->node, &x, list, &y));
    return rename_as(call, &y);
}

/* Flatten, Squeeze, Unsqueeze: as of pictures (extent.c). */
static spade_status fold_axes(fold_call *call)
{
    const spade_fold *from = NULL;
    SPADE_TRY(fold_require(call, 0, &from));
    const spade_extent x = fold_extent(from);
    spade_extent y;
    int64_t axes[ONNX_MAX_RANK];
    int count = -1;
    if (strcmp(call->node->op_type, "Flatten") == 0) {
        SPADE_TRY(spade_extent_flatten(call->import, call->node, &x, &y));
        return rename_as(call, &y);
    }
    SPADE_TRY(fold_integers(call, 1, "axes", ONNX_MAX_RANK, axes, &count));
    if (strcmp(call->node->op_type, "Squeeze") == 0) {
        SPADE_TRY(spade_extent_squeeze(call->import, call->node, &x, axes, count, &y));
    } else {
        SPADE_TRY(spade_extent_unsqueeze(call->import, call->node, &x, axes, count, &y));
    }
    return rename_as(call, &y);
}

const fold_operator fold_create_operators[] = {{"ConstantOfShape", fold_constant_of_shape, 0},
                                               {"Flatten", fold_axes, 0},
                                               {"NonZero", fold_non_zero, 0},
                                               {"OneHot", fold_one_hot, 0},
                                               {"Range", fold_range, 0},
                                               {"Reshape", fold_reshape, 0},
                                               {"Shape", fold_shape, 1},
                                               {"Size", fold_size, 1},
                                               {"Squeeze", fold_axes, 0},
                                               {"Unsqueeze", fold_axes, 0},
                                               {0}};
