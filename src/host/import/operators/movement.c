/* movement.c - operators that move numbers: Transpose, Concat, Split, Slice, Gather, Expand, Tile, Pad. */
#include <math.h>

#include "import/build.h"
#include "import/fold/fold.h"
#include "import/operators/operators.h"

static spade_status lower_transpose(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int64_t given[SPADE_MAX_RANK];
    int input, count, order[SPADE_MAX_RANK], out;
    unsigned seen = 0;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_integers_get(import, node, -1, "perm", SPADE_MAX_RANK, given, &count));
    const int rank = import->network->values[input].shape.rank;
    if (count >= 0 && count != rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "perm has %d axes instead of %d", count, rank);
    }
    for (int i = 0; i < rank; i++) {
        const int64_t axis = count < 0 ? rank - 1 - i : given[i];
        if (axis < 0 || axis >= rank || seen & 1u << axis) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "perm is no order of %d axes", rank);
        }
        seen |= 1u << axis;
        order[i] = (int)axis;
    }
    SPADE_TRY(spade_build_permute(import, node, input, order, &out));
    return spade_bind_output(import, node, 0, out);
}

/* ---- Concat */

static spade_status lower_concat(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const int count = node->input_count;
    int64_t given;
    int axis, out, first = -1;
    spade_status status = SPADE_OK;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", 0, &given)));
    int *values = malloc(((size_t)count + 1) * sizeof *values);
    if (!values) { return spade_import_memory(import); }
    for (int k = 0; k < count; k++) {
        spade_operand operand = {.value = -1};
        SPADE_GOTO(spade_operand_get(import, node, k, &operand));
        values[k] = operand.value;
        if (operand.value >= 0 && first < 0) { first = operand.value; }
    }
    if (first < 0) { /* foldable nodes do not come here */
        SPADE_GOTO(spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its constants are not supported"));
    }
    const spade_extent beside = spade_value_extent(import, first);
    SPADE_GOTO(spade_axis_get(import, node, given, beside.rank, &axis));
    for (int k = 0; k < count; k++) {
        const onnx_tensor *tensor = NULL;
        if (values[k] >= 0) { continue; }
        SPADE_GOTO(spade_grown_constant_get(import, node, k, &beside, &tensor));
        if (tensor->rank != beside.rank) {
            SPADE_GOTO(spade_import_fail(import, node, SPADE_ERROR_INPUT, "\"%.100s\" has %d axes instead of %d",
                                         node->inputs[k], tensor->rank, beside.rank));
        }
        SPADE_GOTO(spade_constant_value(import, node, tensor, &beside, &values[k]));
    }
    SPADE_GOTO(spade_build_concat(import, node, values, count, axis, &out));
    SPADE_GOTO(spade_bind_output(import, node, 0, out));
done:
    free(values);
    return status;
}

/* ---- Split */

static spade_status lower_split(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    enum { LIMIT = 256 };
    int64_t given, lengths[LIMIT], start = 0;
    const int parts = node->output_count;
    int input, axis, count, out;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", 0, &given)));
    SPADE_TRY(spade_axis_get(import, node, given, import->network->values[input].shape.rank, &axis));
    SPADE_TRY(spade_check_axis(import, node, input, axis, "a split"));
    SPADE_TRY(spade_integers_get(import, node, 1, "split", LIMIT, lengths, &count));
    const int64_t n = import->network->values[input].shape.dims[axis];
    if (parts < 1 || parts > LIMIT || (count >= 0 && count != parts)) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "it has %d outputs and %d lengths", parts, count);
    }
    const int64_t each = (n + parts - 1) / parts; /* without lengths, the last part is what is left */
    for (int k = 0; k < parts; k++) {
        if (count < 0) { lengths[k] = k + 1 < parts ? each : n - start; }
        if (lengths[k] < 1 || lengths[k] > n - start) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its lengths do not fit %lld", (long long)n);
        }
        SPADE_TRY(spade_build_slice(import, node, input, axis, start, 1, lengths[k], &out));
        SPADE_TRY(spade_bind_output(import, node, k, out));
        start += lengths[k];
    }
    return start == n ? SPADE_OK
                      : spade_import_fail(import, node, SPADE_ERROR_INPUT, "its lengths do not fit %lld", (long long)n);
}

/* ---- Slice */

/* Bounds may grow with the batch where they only say "to the end". */
static spade_status read_bounds(spade_import *import, const onnx_node *node, int input, const char *attribute,
                                fold_number *out, int *count)
{
    int64_t numbers[SPADE_MAX_RANK];
    spade_operand operand = {.value = -1};
    if (spade_has_input(node, input)) { SPADE_TRY(spade_operand_get(import, node, input, &operand)); }
    if (operand.value < 0 && !operand.tensor && operand.fold) {
        const spade_fold *list = operand.fold;
        if (!fold_type_is_integer(list->tensor.type) || list->tensor.rank != 1 || list->batch_axis >= 0 ||
            list->tensor.count > SPADE_MAX_RANK) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its input %d depends on the batch", input);
        }
        *count = (int)list->tensor.count;
        for (int i = 0; i < *count; i++) { out[i] = fold_load(list, i); }
        return SPADE_OK;
    }
    SPADE_TRY(spade_integers_get(import, node, input, attribute, SPADE_MAX_RANK, numbers, count));
    if (*count < 0) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its %s are missing", attribute); }
    for (int i = 0; i < *count; i++) { out[i] = fold_integer(numbers[i]); }
    return SPADE_OK;
}

/* Within 0 to n where steps go ahead, -1 to n - 1 where they go back. */
static int64_t clamp_bound(int64_t bound, int64_t n, bool back)
{
    const int64_t at = bound < 0 ? bound + n : bound, low = back ? -1 : 0, high = back ? n - 1 : n;
    return at < low ? low : at > high ? high : at;
}

static spade_status slice_axis(spade_import *import, const onnx_node *node, int *value, int axis,
                               const fold_number *start, const fold_number *end, int64_t step)
{
    const int64_t n = import->network->values[*value].shape.dims[axis];
    const bool plain_start = fold_is_plain_number(start), plain_end = fold_is_plain_number(end);
    if (step == 0) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its step is 0"); }
    if (axis == import->network->values[*value].batch_axis) {
        const int64_t all = import->file_batch ? n * import->file_batch : INT32_MAX;
        const bool to_end = plain_end ? end->i[0] >= all : end->i[0] == 0 && end->i[2] == 0 && end->i[1] >= n;
        if (plain_start && start->i[0] == 0 && to_end && step == 1) { return SPADE_OK; }
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "it slices the batch");
    }
    if (!plain_start || !plain_end) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its bounds depend on the batch");
    }
    const int64_t low = clamp_bound(start->i[0], n, step < 0), high = clamp_bound(end->i[0], n, step < 0);
    const int64_t room = step > 0 ? high - low : low - high;
    const uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    if (room <= 0) { return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its result would be empty"); }
    const int64_t count = (int64_t)(((uint64_t)room - 1) / stride + 1);
    return spade_build_slice(import, node, *value, axis, low, count > 1 ? step : 1, count, value);
}

static spade_status lower_slice(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    fold_number starts[SPADE_MAX_RANK], ends[SPADE_MAX_RANK];
    int64_t axes[SPADE_MAX_RANK], steps[SPADE_MAX_RANK];
    int value, start_count, end_count, axis_count, step_count;
    unsigned seen = 0;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(read_bounds(import, node, 1, "starts", starts, &start_count));
    SPADE_TRY(read_bounds(import, node, 2, "ends", ends, &end_count));
    SPADE_TRY(spade_integers_get(import, node, 3, "axes", SPADE_MAX_RANK, axes, &axis_count));
    SPADE_TRY(spade_integers_get(import, node, 4, NULL, SPADE_MAX_RANK, steps, &step_count));
    if (start_count != end_count || (axis_count >= 0 && axis_count != start_count) ||
        (step_count >= 0 && step_count != start_count)) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its bounds are lists of different lengths");
    }
    for (int k = 0; k < start_count; k++) {
        int axis;
        SPADE_TRY(spade_axis_get(import, node, axis_count < 0 ? k : axes[k], import->network->values[value].shape.rank,
                                 &axis));
        if (seen & 1u << axis) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "an axis is there twice"); }
        seen |= 1u << axis;
        SPADE_TRY(slice_axis(import, node, &value, axis, &starts[k], &ends[k], step_count < 0 ? 1 : steps[k]));
    }
    return spade_bind_output(import, node, 0, value);
}

/* ---- Gather with constant indices */

/* Index k as a number from 0 to n - 1. */
static spade_status read_indices(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, int64_t n,
                                 int64_t *out)
{
    for (int64_t k = 0; k < tensor->count; k++) {
        const int64_t index = onnx_tensor_int(tensor, k);
        out[k] = index < 0 ? index + n : index;
        if (out[k] < 0 || out[k] >= n) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "index %lld is out of range, there are %lld",
                                     (long long)index, (long long)n);
        }
    }
    return SPADE_OK;
}

/* Axis `axis`, now as long as there are indices, becomes the axes of the indices; axes that grow stay the ones that do. */
static spade_status unfold_axis(spade_import *import, const onnx_node *node, int value, int axis,
                                const onnx_tensor *indices, int *out)
{
    const spade_extent x = spade_value_extent(import, value);
    const int more = indices->rank - 1;
    spade_extent y = {.rank = x.rank + more, .batch_axis = x.batch_axis, .batch_outer = x.batch_outer};
    if (y.rank > SPADE_MAX_RANK) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its result has more than %d axes",
                                 SPADE_MAX_RANK);
    }
    for (int i = 0; i < y.rank; i++) {
        const bool within = i >= axis && i <= axis + more;
        y.dims[i] = within ? indices->dims[i - axis] : x.dims[i < axis ? i : i - more];
    }
    if (x.batch_axis > axis) { y.batch_axis += more; }
    return spade_build_reshape(import, node, value, &y, out);
}

/*
 * Indices that grow with the batch: those of picture i are a + c i where c is what each picture has along the axis, which is that
 * of the batch: each picture's own elements a. So do exporters write as_strided. The batch stays in front.
 */
static spade_status gather_own(spade_import *import, const onnx_node *node, int value, int axis,
                               const spade_fold *indices, int *out)
{
    const spade_extent x = spade_value_extent(import, value);
    const int64_t n = x.dims[axis];
    const onnx_tensor *tensor = &indices->tensor;
    bool own = axis == x.batch_axis && axis == 0 && x.batch_outer == 1 && indices->batch_axis == 0 &&
               indices->batch_outer == 1 && indices->index && !indices->batch && tensor->count > 0;
    for (int64_t k = 0; own && k < tensor->count; k++) {
        const fold_number number = fold_load(indices, k);
        own = number.i[2] == n && number.i[0] >= 0 && number.i[0] < n;
    }
    if (!own || x.rank >= SPADE_MAX_RANK || x.rank + tensor->rank - 1 > SPADE_MAX_RANK) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its indices depend on the batch");
    }
    spade_extent split = {.rank = x.rank + 1, .dims = {1, n}, .batch_axis = 0, .batch_outer = 1};
    spade_extent y = {.rank = x.rank + tensor->rank - 1, .batch_axis = 0, .batch_outer = 1};
    for (int i = 1; i < x.rank; i++) { split.dims[i + 1] = x.dims[i]; }
    for (int i = 0; i < y.rank; i++) { y.dims[i] = i < tensor->rank ? tensor->dims[i] : x.dims[i - tensor->rank + 1]; }
    int64_t *numbers = malloc((size_t)tensor->count * sizeof *numbers);
    if (!numbers) { return spade_import_memory(import); }
    for (int64_t k = 0; k < tensor->count; k++) { numbers[k] = onnx_tensor_int(tensor, k); }
    spade_status status = spade_build_reshape(import, node, value, &split, &value);
    if (status == SPADE_OK) { status = spade_build_select(import, node, value, 1, numbers, tensor->count, 0, &value); }
    free(numbers);
    SPADE_TRY(status);
    return spade_build_reshape(import, node, value, &y, out);
}

static spade_status gather(spade_import *import, const onnx_node *node, int value, int axis, const onnx_tensor *indices,
                           int *out)
{
    const int64_t n = import->network->values[value].shape.dims[axis];
    if (!fold_type_is_integer(indices->type) || (indices->count && !indices->bytes) || indices->count < 1) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its indices are no integers");
    }
    SPADE_TRY(spade_check_axis(import, node, value, axis, "gathering"));
    int64_t *numbers = malloc((size_t)indices->count * sizeof *numbers);
    if (!numbers) { return spade_import_memory(import); }
    spade_status status = read_indices(import, node, indices, n, numbers);
    if (status == SPADE_OK) {
        status = spade_build_select(import, node, value, axis, numbers, indices->count, 0, &value);
    }
    free(numbers);
    SPADE_TRY(status);
    if (indices->rank == 0) { return spade_build_drop_axis(import, node, value, axis, out); }
    return unfold_axis(import, node, value, axis, indices, out);
}

static spade_status lower_gather(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_operand indices = {.value = -1};
    int64_t given;
    int value, axis;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(spade_operand_get(import, node, 1, &indices));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", 0, &given)));
    SPADE_TRY(spade_axis_get(import, node, given, import->network->values[value].shape.rank, &axis));
    if (indices.value < 0 && !indices.tensor && indices.fold) {
        SPADE_TRY(gather_own(import, node, value, axis, indices.fold, &value));
    } else {
        SPADE_TRY(spade_constant_get(import, node, 1, &indices.tensor));
        SPADE_TRY(gather(import, node, value, axis, indices.tensor, &value));
    }
    return spade_bind_output(import, node, 0, value);
}

/* Of points that name the leading axes up to the last: rows of what is left. As a Gather along these axes as one. */
static spade_status lower_gather_nd(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const onnx_tensor *points = NULL;
    int64_t batch_dims;
    int value;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(spade_constant_get(import, node, 1, &points));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "batch_dims", 0, &batch_dims)));
    const spade_extent x = spade_value_extent(import, value);
    const int64_t length = points->rank ? points->dims[points->rank - 1] : 0;
    if (batch_dims || !fold_type_is_integer(points->type) || length < 1 || length > x.rank || !points->bytes) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its indices are not supported");
    }
    if (x.batch_axis < length) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "gathering over the batch is not supported");
    }
    spade_extent joined = {.rank = x.rank - (int)length + 1,
                           .dims = {1},
                           .batch_axis = x.batch_axis - (int)length + 1,
                           .batch_outer = x.batch_outer};
    for (int i = 0; i < x.rank; i++) {
        if (i < length) {
            joined.dims[0] *= x.dims[i];
        } else {
            joined.dims[i - length + 1] = x.dims[i];
        }
    }
    onnx_tensor rows = *points;
    rows.rank--;
    rows.count = points->count / length;
    rows.type = ONNX_INT64;
    int64_t *numbers = malloc(((size_t)rows.count + 1) * sizeof *numbers);
    if (!numbers) { return spade_import_memory(import); }
    spade_status status = SPADE_OK;
    for (int64_t r = 0; r < rows.count; r++) {
        numbers[r] = 0;
        for (int64_t i = 0; i < length; i++) {
            int64_t index = onnx_tensor_int(points, r * length + i);
            index += index < 0 ? x.dims[i] : 0;
            if (index < 0 || index >= x.dims[i]) {
                SPADE_GOTO(spade_import_fail(import, node, SPADE_ERROR_INPUT, "an index is out of range"));
            }
            numbers[r] = numbers[r] * x.dims[i] + index;
        }
    }
    rows.bytes = numbers;
    SPADE_GOTO(spade_build_reshape(import, node, value, &joined, &value));
    SPADE_GOTO(gather(import, node, value, 0, &rows, &value));
    SPADE_GOTO(spade_bind_output(import, node, 0, value));
done:
    free(numbers);
    return status;
}

/* ---- Expand, Tile */

/* An axis, repeated as a whole. */
static spade_status repeat_axis(spade_import *import, const onnx_node *node, int *value, int axis, int64_t times)
{
    const int64_t n = import->network->values[*value].shape.dims[axis];
    int64_t count;
    if (times == 1) { return SPADE_OK; }
    if (times < 1 || __builtin_mul_overflow(n, times, &count) || count > (INT64_C(1) << 26)) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "it repeats an axis of %lld %lld times", (long long)n,
                                 (long long)times);
    }
    int64_t *indices = malloc((size_t)count * sizeof *indices);
    if (!indices) { return spade_import_memory(import); }
    for (int64_t j = 0; j < count; j++) { indices[j] = j % n; }
    spade_status status = spade_build_select(import, node, *value, axis, indices, count, 0, value);
    free(indices);
    return status;
}

static spade_status lower_expand(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_operand shape = {.value = -1};
    int value;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(spade_operand_get(import, node, 1, &shape));
    const spade_fold plain = {.tensor = shape.tensor ? *shape.tensor : (onnx_tensor){0}, .batch_axis = -1};
    const spade_fold *list = shape.tensor ? &plain : shape.fold;
    if (!list || list->tensor.type != ONNX_INT64 || list->tensor.rank != 1 || list->tensor.count > SPADE_MAX_RANK ||
        list->batch_axis >= 0 || (list->tensor.count && !list->tensor.bytes)) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its shape is no list of at most %d int64",
                                 SPADE_MAX_RANK);
    }
    const int given = (int)list->tensor.count;
    if (given > import->network->values[value].shape.rank) {
        SPADE_TRY(spade_build_rank(import, node, value, given, &value));
    }
    const spade_extent x = spade_value_extent(import, value);
    for (int i = x.rank - given; i < x.rank; i++) {
        const fold_number n = fold_load(list, i - (x.rank - given));
        const int64_t length = i == x.batch_axis && import->file_batch ? x.dims[i] * import->file_batch : x.dims[i];
        const bool grows = i == x.batch_axis && !import->file_batch;
        if (grows ? (n.i[0] == 0 && n.i[2] == 0 && n.i[1] == length) || (fold_is_plain_number(&n) && n.i[0] == 1)
                  : fold_is_plain_number(&n) && (n.i[0] == length || n.i[0] == 1)) {
            continue; /* as it is */
        }
        if (x.batch_axis < 0 && x.dims[i] == 1 && n.i[0] == 0 && n.i[1] == 1 && n.i[2] == 0) {
            continue; /* every picture has the same: one of it is there */
        }
        if (!fold_is_plain_number(&n) || x.dims[i] != 1 || i == x.batch_axis) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "it would repeat axis %d along the batch",
                                     i);
        }
        SPADE_TRY(repeat_axis(import, node, &value, i, n.i[0]));
    }
    return spade_bind_output(import, node, 0, value);
}

/* Repeats are numbers, or the batch where every picture has the same: then there is one of it. */
static spade_status lower_tile(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    fold_number repeats[SPADE_MAX_RANK];
    int value, count;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(read_bounds(import, node, 1, "repeats", repeats, &count));
    const spade_extent x = spade_value_extent(import, value);
    if (count != x.rank) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "it has %d repeats", count); }
    for (int i = 0; i < count; i++) {
        const bool plain = fold_is_plain_number(&repeats[i]);
        const bool batch = !plain && repeats[i].i[0] == 0 && repeats[i].i[1] == 1 && repeats[i].i[2] == 0;
        if (batch && x.batch_axis < 0 && x.dims[i] == 1) { continue; }
        if (!plain) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its repeats depend on the batch");
        }
        if (repeats[i].i[0] != 1) { SPADE_TRY(spade_check_axis(import, node, value, i, "repeating")); }
        SPADE_TRY(repeat_axis(import, node, &value, i, repeats[i].i[0]));
    }
    return spade_bind_output(import, node, 0, value);
}

/* ---- Pad */

static spade_status pad_axis(spade_import *import, const onnx_node *node, int *value, int axis, int64_t before,
                             int64_t after, const char *mode, float fill)
{
    const int64_t n = import->network->values[*value].shape.dims[axis];
    if (before == 0 && after == 0) { return SPADE_OK; }
    SPADE_TRY(spade_check_axis(import, node, *value, axis, "padding"));
    const int64_t count = spade_pads_fit(n, before, after, mode) ? n + before + after : 0;
    if (count < 1) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its pads %lld and %lld do not fit an axis of %lld",
                                 (long long)before, (long long)after, (long long)n);
    }
    int64_t *indices = malloc((size_t)count * sizeof *indices);
    if (!indices) { return spade_import_memory(import); }
    for (int64_t j = 0; j < count; j++) { indices[j] = spade_padded_index(j, n, before, after, mode); }
    spade_status status = spade_build_select(import, node, *value, axis, indices, count, fill, value);
    free(indices);
    return status;
}

/* The number that is padded with: an input, or an attribute before opset 11. */
static spade_status read_fill(spade_import *import, const onnx_node *node, float *out)
{
    const onnx_tensor *tensor = NULL;
    *out = 0;
    if (import->onnx->opset < 11) {
        return spade_import_attribute(import, onnx_get_float(import->context, node, "value", 0, out));
    }
    if (!spade_has_input(node, 2)) { return SPADE_OK; }
    SPADE_TRY(spade_constant_get(import, node, 2, &tensor));
    SPADE_TRY(spade_require_float(import, node, tensor));
    if (tensor->count != 1) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its constant is no scalar"); }
    *out = onnx_tensor_float(tensor, 0);
    return SPADE_OK;
}

static spade_status lower_pad(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int64_t pads[2 * SPADE_MAX_RANK], axes[SPADE_MAX_RANK];
    const char *mode;
    int value, count, axis_count;
    float fill;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(import->context, node, "mode", "constant", &mode)));
    if (!spade_is_pad_mode(mode)) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its mode is \"%.40s\"", mode);
    }
    SPADE_TRY(
        spade_integers_get(import, node, import->onnx->opset < 11 ? -1 : 1, "pads", 2 * SPADE_MAX_RANK, pads, &count));
    SPADE_TRY(spade_integers_get(import, node, 3, NULL, SPADE_MAX_RANK, axes, &axis_count));
    SPADE_TRY(read_fill(import, node, &fill));
    const int rank = import->network->values[value].shape.rank, half = axis_count < 0 ? rank : axis_count;
    if (count != 2 * half) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "it has %d pads instead of %d", count, 2 * half);
    }
    for (int k = 0; k < half; k++) {
        int axis;
        SPADE_TRY(spade_axis_get(import, node, axis_count < 0 ? k : axes[k], rank, &axis));
        SPADE_TRY(pad_axis(import, node, &value, axis, pads[k], pads[k + half], mode, fill));
    }
    return spade_bind_output(import, node, 0, value);
}

const spade_onnx_operator spade_movement_operators[] = {{"Concat", lower_concat},
                                                        {"Expand", lower_expand},
                                                        {"Gather", lower_gather},
                                                        {"GatherND", lower_gather_nd},
                                                        {"Pad", lower_pad},
                                                        {"Slice", lower_slice},
                                                        {"Split", lower_split},
                                                        {"Tile", lower_tile},
                                                        {"Transpose", lower_transpose},
                                                        {0}};
