/* operands.c - what an ONNX node reads: constants beside values, lists of integers, axes. */
#include "import/build.h"

#include "import/fold/fold.h"

spade_status spade_axis_get(spade_import *import, const onnx_node *node, int64_t given, int rank, int *out)
{
    if (given < -rank || given >= rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its axis %lld is out of range, there are %d",
                                 (long long)given, rank);
    }
    *out = (int)(given < 0 ? given + rank : given);
    return SPADE_OK;
}

spade_status spade_check_axis(spade_import *import, const onnx_node *node, int value, int axis, const char *what)
{
    if (import->network->values[value].batch_axis != axis) { return SPADE_OK; }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "%s over the batch is not supported", what);
}

spade_status spade_check_batch_first(spade_import *import, const onnx_node *node, int value)
{
    if (import->network->values[value].batch_axis <= 0) { return SPADE_OK; }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its input has the batch on axis %d instead of 0",
                             import->network->values[value].batch_axis);
}

spade_status spade_integers_get(spade_import *import, const onnx_node *node, int input, const char *attribute,
                                int limit, int64_t *out, int *count)
{
    const int64_t *numbers;
    *count = -1;
    if (input >= 0 && spade_has_input(node, input)) {
        const onnx_tensor *tensor = NULL;
        SPADE_TRY(spade_constant_get(import, node, input, &tensor));
        if (!fold_type_is_integer(tensor->type) || tensor->rank > 1 || tensor->count > limit ||
            (tensor->count && !tensor->bytes)) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its input %d is no list of at most %d integers",
                                     input, limit);
        }
        *count = (int)tensor->count;
        for (int i = 0; i < *count; i++) { out[i] = onnx_tensor_int(tensor, i); }
        return SPADE_OK;
    }
    if (!attribute || !onnx_find_attribute(node, attribute)) { return SPADE_OK; }
    SPADE_TRY(spade_import_attribute(import, onnx_get_ints(import->context, node, attribute, &numbers, count)));
    if (*count > limit) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%s has %d numbers, the limit is %d", attribute,
                                 *count, limit);
    }
    for (int i = 0; i < *count; i++) { out[i] = numbers[i]; }
    return SPADE_OK;
}

spade_status spade_grown_constant_get(spade_import *import, const onnx_node *node, int input,
                                      const spade_extent *beside, const onnx_tensor **out)
{
    spade_operand operand = {.value = -1};
    SPADE_TRY(spade_operand_get(import, node, input, &operand));
    const spade_fold *fold = operand.fold;
    if (operand.value >= 0 || operand.tensor || !fold) { return spade_constant_get(import, node, input, out); }
    const bool same =
        beside->batch_axis >= 0 && fold->tensor.rank - fold->batch_axis == beside->rank - beside->batch_axis;
    if (fold->batch || fold->index || !same || fold->tensor.dims[fold->batch_axis] != 1) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "input %d (\"%.100s\") depends on the batch in a way that is not supported", input,
                                 node->inputs[input]);
    }
    *out = spade_fold_single(fold);
    return SPADE_OK;
}

/* Elements of pictures 1 and later equal those of picture 0, along an axis of n in `batch` pictures of `length` each? */
static bool repeats(const onnx_tensor *tensor, int axis, int64_t batch)
{
    int64_t inner = 1;
    for (int i = axis + 1; i < tensor->rank; i++) { inner *= tensor->dims[i]; }
    const int64_t line = tensor->dims[axis] * inner, one = line / batch;
    for (int64_t e = 0; e < tensor->count; e++) {
        if (onnx_tensor_float(tensor, e) != onnx_tensor_float(tensor, e - e % line + e % line % one)) { return false; }
    }
    return true;
}

spade_status spade_constant_value(spade_import *import, const onnx_node *node, const onnx_tensor *tensor,
                                  const spade_extent *beside, int *out)
{
    const int rank = beside->rank > tensor->rank ? beside->rank : tensor->rank;
    const int more = rank - tensor->rank, axis = beside->batch_axis < 0 ? -1 : beside->batch_axis + rank - beside->rank;
    const int own = axis - more;
    spade_shape shape = {.rank = rank};
    SPADE_TRY(spade_require_float(import, node, tensor));
    for (int i = 0; i < rank; i++) { shape.dims[i] = i < more ? 1 : tensor->dims[i - more]; }
    if (axis < 0 || own < 0 || tensor->dims[own] == 1) {
        return spade_make_constant(import, node, tensor->name, &shape, tensor->bytes, out);
    }
    /* A batch of its own: the file's, of equal pictures that have one element each. */
    const int64_t batch = import->file_batch;
    if (batch < 2 || tensor->dims[own] != batch || !repeats(tensor, own, batch)) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "its constant \"%.100s\" has a batch of its own", tensor->name);
    }
    int64_t inner = 1;
    for (int i = own + 1; i < tensor->rank; i++) { inner *= tensor->dims[i]; }
    float *first = malloc((size_t)(tensor->count / batch + 1) * sizeof *first);
    if (!first) { return spade_import_memory(import); }
    for (int64_t e = 0; e < tensor->count / batch; e++) {
        first[e] = onnx_tensor_float(tensor, e / inner * inner * batch + e % inner);
    }
    shape.dims[axis] = 1;
    spade_status status = spade_make_constant(import, node, tensor->name, &shape, first, out);
    free(first);
    return status;
}

/* An axis of outer * N * inner, as up to three axes; the dims of one picture. */
static void split_axis(spade_extent *extent, int axis, int64_t outer, int64_t inner)
{
    const int more = (outer > 1) + (inner > 1);
    for (int i = extent->rank - 1; i > axis; i--) { extent->dims[i + more] = extent->dims[i]; }
    extent->rank += more;
    int at = axis;
    if (outer > 1) { extent->dims[at++] = outer; }
    extent->batch_axis = at;
    extent->batch_outer = 1;
    extent->dims[at++] = 1;
    if (inner > 1) { extent->dims[at] = inner; }
}

/*
 * A constant with a number of its own for each part that a picture has of the axis that grows, as windows have masks: the
 * value's axis is split, so that the parts stand on axes of their own. *split is false where it is no such constant.
 */
static spade_status split_operands(spade_import *import, const onnx_node *node, const spade_operand *constant,
                                   int *value, int *out, bool *split)
{
    const spade_fold *fold = constant->fold;
    const onnx_tensor *tensor = fold ? spade_fold_single(fold) : constant->tensor;
    const bool grows = fold && !spade_fold_is_plain(fold);
    spade_extent x = spade_value_extent(import, *value), parts;
    const int more = x.rank - tensor->rank, own = x.batch_axis - more;
    *split = false;
    if (x.batch_axis < 0 || own < 0 || more < 0 || tensor->dims[own] != x.dims[x.batch_axis] ||
        tensor->dims[own] == 1 ||
        (grows ? fold->batch_axis != own || fold->batch_outer != x.batch_outer || fold->batch || fold->index
               : import->file_batch != 1) ||
        x.rank + 2 > SPADE_MAX_RANK) {
        return SPADE_OK;
    }
    const int64_t outer = x.batch_outer, inner = x.dims[x.batch_axis] / outer;
    spade_shape shape;
    SPADE_TRY(spade_require_float(import, node, tensor));
    parts = (spade_extent){.rank = tensor->rank};
    memcpy(parts.dims, tensor->dims, sizeof parts.dims);
    split_axis(&parts, own, outer, inner);
    shape = (spade_shape){.rank = parts.rank};
    memcpy(shape.dims, parts.dims, sizeof shape.dims);
    SPADE_TRY(spade_make_constant(import, node, tensor->name, &shape, tensor->bytes, out));
    split_axis(&x, x.batch_axis, outer, inner);
    *split = true;
    return spade_build_reshape(import, node, *value, &x, value);
}

spade_status spade_operand_beside(spade_import *import, const onnx_node *node, int input, int *value, int *out,
                                  spade_extent *joined)
{
    spade_operand operand = {.value = -1};
    const onnx_tensor *tensor = NULL;
    bool split;
    *joined = (spade_extent){.rank = -1};
    SPADE_TRY(spade_operand_get(import, node, input, &operand));
    *out = operand.value;
    if (operand.value >= 0) { return SPADE_OK; }
    const spade_extent beside = spade_value_extent(import, *value);
    SPADE_TRY(split_operands(import, node, &operand, value, out, &split));
    if (split) {
        *joined = beside;
        return SPADE_OK;
    }
    SPADE_TRY(spade_grown_constant_get(import, node, input, &beside, &tensor));
    return spade_constant_value(import, node, tensor, &beside, out);
}

spade_status spade_operands_get(spade_import *import, const onnx_node *node, int values[2], spade_extent *joined)
{
    spade_operand first = {.value = -1};
    SPADE_TRY(spade_operand_get(import, node, 0, &first));
    values[0] = first.value;
    if (first.value >= 0) { return spade_operand_beside(import, node, 1, &values[0], &values[1], joined); }
    spade_operand second = {.value = -1};
    SPADE_TRY(spade_operand_get(import, node, 1, &second));
    values[1] = second.value;
    if (second.value < 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "it works on two constants, which is not supported");
    }
    return spade_operand_beside(import, node, 0, &values[1], &values[0], joined);
}
