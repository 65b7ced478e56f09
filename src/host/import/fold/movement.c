/* movement.c - operators that only move elements: what is in the result is where in the input. */
#include "import/fold/fold.h"

/* One element, with its parts, from a tensor of the same type. */
static void copy_element(spade_fold *to, int64_t at, const spade_fold *from, int64_t index)
{
    const fold_number number = fold_load(from, index);
    (void)fold_store(to, at, &number); /* same type, and every part that the source has */
}

/* An axis of a tensor read with steps: element e of axis i is at start + e * step of the source's. */
typedef struct strided {
    spade_extent shape; /* of the result */
    int64_t start, steps[ONNX_MAX_RANK];
} strided;

static void row_major(const onnx_tensor *tensor, int64_t strides[ONNX_MAX_RANK])
{
    int64_t stride = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= tensor->dims[i];
    }
}

static spade_status read_strided(fold_call *call, const spade_fold *from, const strided *s, int output)
{
    spade_fold *out;
    int64_t at[ONNX_MAX_RANK] = {0}, index = s->start;
    SPADE_TRY(fold_create(call, from->tensor.type, &s->shape, fold_parts(from), &out));
    for (int64_t e = 0; e < out->tensor.count; e++) {
        copy_element(out, e, from, index);
        for (int i = s->shape.rank - 1; i >= 0; i--) {
            index += s->steps[i];
            if (++at[i] < s->shape.dims[i]) { break; }
            index -= at[i] * s->steps[i];
            at[i] = 0;
        }
    }
    call->outputs[output] = out;
    return SPADE_OK;
}

/* ---- Transpose, Expand */

static spade_status fold_transpose(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t order[ONNX_MAX_RANK], strides[ONNX_MAX_RANK];
    int count;
    unsigned seen = 0;
    SPADE_TRY(fold_require(call, 0, &from));
    SPADE_TRY(fold_integers(call, -1, "perm", ONNX_MAX_RANK, order, &count));
    const int rank = from->tensor.rank;
    for (int i = 0; count < 0 && i < rank; i++) { order[i] = rank - 1 - i; }
    strided s = {.shape = fold_extent(from)};
    if (count >= 0 && count != rank) { return fold_wrong(call, "perm has %d axes instead of %d", count, rank); }
    row_major(&from->tensor, strides);
    for (int i = 0; i < rank; i++) {
        if (order[i] < 0 || order[i] >= rank || seen & 1u << order[i]) { return fold_wrong(call, "perm is no order"); }
        seen |= 1u << order[i];
        s.shape.dims[i] = from->tensor.dims[order[i]];
        s.steps[i] = strides[order[i]];
        if (order[i] == from->batch_axis) { s.shape.batch_axis = i; }
    }
    return read_strided(call, from, &s, 0);
}

/* Element i of a shape: a length without the batch, or outer * N * inner (as `grows`). */
static spade_status read_length(fold_call *call, const spade_fold *list, int64_t i, int64_t *length, bool *grows)
{
    const fold_number number = fold_load(list, i);
    *grows = number.i[1] != 0;
    *length = *grows ? number.i[1] : number.i[0];
    if (number.i[2] != 0 || (*grows && (number.i[0] != 0 || number.i[1] < 0))) {
        return fold_fail(call, "a dimension would be %lld + %lld N for a batch of N", (long long)number.i[0],
                         (long long)number.i[1]);
    }
    return SPADE_OK;
}

static spade_status fold_expand(fold_call *call)
{
    const spade_fold *from = NULL, *list = NULL;
    int64_t strides[ONNX_MAX_RANK];
    SPADE_TRY(fold_require(call, 0, &from));
    SPADE_TRY(fold_require(call, 1, &list));
    if (list->tensor.type != ONNX_INT64 || list->tensor.rank != 1 || list->tensor.count > ONNX_MAX_RANK ||
        list->batch_axis >= 0) {
        return fold_wrong(call, "its shape is no list of at most %d int64", ONNX_MAX_RANK);
    }
    const int given = (int)list->tensor.count, own = from->tensor.rank, rank = given > own ? given : own;
    strided s = {.shape = {.rank = rank, .batch_axis = -1, .batch_outer = 1}};
    row_major(&from->tensor, strides);
    for (int i = 0; i < rank; i++) {
        const int a = i - (rank - own), b = i - (rank - given);
        const int64_t n = a < 0 ? 1 : from->tensor.dims[a];
        const bool grew = a >= 0 && a == from->batch_axis;
        int64_t wanted = 1;
        bool grows = false;
        if (b >= 0) { SPADE_TRY(read_length(call, list, b, &wanted, &grows)); }
        const bool fits =
            grew ? (grows ? wanted == n : wanted == 1) : n == 1 || (!grows && (wanted == n || wanted == 1));
        if (!fits || wanted < 0) { return fold_wrong(call, "its shape does not fit at axis %d", i); }
        s.shape.dims[i] = n == 1 && !grew ? wanted : n;
        s.steps[i] = n == 1 ? 0 : strides[a];
        if (!grew && !grows) { continue; }
        if (s.shape.batch_axis >= 0) { return fold_fail(call, "two of its axes would grow with the batch"); }
        s.shape.batch_axis = i;
        s.shape.batch_outer = grew ? from->batch_outer : 1;
    }
    return read_strided(call, from, &s, 0);
}

/* ---- Slice, Split */

/* A bound of Slice, within 0 to n (steps ahead) or -1 to n - 1 (steps back). */
static int64_t clamp_bound(int64_t bound, int64_t n, bool back)
{
    if (bound < 0) { bound += n; }
    const int64_t low = back ? -1 : 0, high = back ? n - 1 : n;
    return bound < low ? low : bound > high ? high : bound;
}

/* What a slice keeps of an axis. The bounds may grow with the batch where they only have to be at the axis's ends. */
static spade_status slice_axis(fold_call *call, strided *s, const spade_fold *from, int axis, const fold_number *start,
                               const fold_number *end, int64_t step, int64_t stride)
{
    const int64_t n = from->tensor.dims[axis];
    int64_t low = start->i[0], high = end->i[0];
    if (step == 0) { return fold_wrong(call, "a step is 0"); }
    if (axis == from->batch_axis) {
        const bool open = fold_is_plain_number(end) ? high > INT32_MAX - 1 : end->i[0] == 0 && end->i[1] >= n;
        if (fold_is_plain_number(start) && low == 0 && open && step == 1) { return SPADE_OK; }
        return fold_fail(call, "it takes apart the axis that grows with the batch");
    }
    if (!fold_is_plain_number(start) || !fold_is_plain_number(end)) {
        return fold_fail(call, "its bounds depend on the batch");
    }
    low = clamp_bound(low, n, step < 0);
    high = high < -n && step < 0 ? -1 : clamp_bound(high, n, step < 0);
    const int64_t room = step > 0 ? high - low : low - high;
    const uint64_t stride_length = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    const int64_t count = room > 0 ? (int64_t)(((uint64_t)room - 1) / stride_length + 1) : 0;
    s->shape.dims[axis] = count;
    if (count > 0) { s->start += low * stride; }
    s->steps[axis] = count > 1 ? step * stride : 0;
    return SPADE_OK;
}

static spade_status slice_bounds(fold_call *call, int input, const char *attribute, fold_number *out, int *count)
{
    int64_t numbers[ONNX_MAX_RANK];
    if (fold_has(call, input)) {
        const spade_fold *list = &call->inputs[input];
        if (!fold_type_is_integer(list->tensor.type) || list->tensor.rank > 1 || list->tensor.count > ONNX_MAX_RANK ||
            list->batch_axis >= 0) {
            return fold_wrong(call, "its input %d is no list of at most %d integers", input, ONNX_MAX_RANK);
        }
        *count = (int)list->tensor.count;
        for (int i = 0; i < *count; i++) { out[i] = fold_load(list, i); }
        return SPADE_OK;
    }
    SPADE_TRY(fold_integers(call, -1, attribute, ONNX_MAX_RANK, numbers, count));
    if (*count < 0) { return fold_wrong(call, "%s is missing", attribute); }
    for (int i = 0; i < *count; i++) { out[i] = fold_integer(numbers[i]); }
    return SPADE_OK;
}

static spade_status fold_slice(fold_call *call)
{
    const spade_fold *from = NULL;
    fold_number starts[ONNX_MAX_RANK], ends[ONNX_MAX_RANK];
    int64_t axes[ONNX_MAX_RANK], steps[ONNX_MAX_RANK], strides[ONNX_MAX_RANK];
    int start_count, end_count, axis_count, step_count;
    unsigned seen = 0;
    SPADE_TRY(fold_require(call, 0, &from));
    SPADE_TRY(slice_bounds(call, 1, "starts", starts, &start_count));
    SPADE_TRY(slice_bounds(call, 2, "ends", ends, &end_count));
    SPADE_TRY(fold_integers(call, 3, "axes", ONNX_MAX_RANK, axes, &axis_count));
    SPADE_TRY(fold_integers(call, 4, NULL, ONNX_MAX_RANK, steps, &step_count));
    if (start_count != end_count || (axis_count >= 0 && axis_count != start_count) ||
        (step_count >= 0 && step_count != start_count)) {
        return fold_wrong(call, "its bounds are lists of different lengths");
    }
    strided s = {.shape = fold_extent(from)};
    row_major(&from->tensor, strides);
    memcpy(s.steps, strides, sizeof strides);
    for (int k = 0; k < start_count; k++) {
        int axis;
        SPADE_TRY(fold_axis(call, axis_count < 0 ? k : axes[k], from->tensor.rank, &axis));
        if (seen & 1u << axis) { return fold_wrong(call, "an axis is given twice"); }
        seen |= 1u << axis;
        SPADE_TRY(slice_axis(call, &s, from, axis, &starts[k], &ends[k], step_count < 0 ? 1 : steps[k], strides[axis]));
    }
    return read_strided(call, from, &s, 0);
}

static spade_status fold_split(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t given, lengths[FOLD_MAX_OUTPUTS], strides[ONNX_MAX_RANK], parts;
    int axis, count;
    SPADE_TRY(fold_require(call, 0, &from));
    SPADE_TRY(fold_attribute(call, "axis", 0, &given));
    SPADE_TRY(fold_attribute(call, "num_outputs", call->node->output_count, &parts));
    SPADE_TRY(fold_axis(call, given, from->tensor.rank, &axis));
    SPADE_TRY(fold_integers(call, 1, "split", FOLD_MAX_OUTPUTS, lengths, &count));
    const int64_t n = from->tensor.dims[axis];
    if (axis == from->batch_axis) { return fold_fail(call, "it takes apart the axis that grows with the batch"); }
    if (call->node->output_count > FOLD_MAX_OUTPUTS || parts != call->node->output_count) {
        return fold_wrong(call, "it has %d outputs, at most %d are supported", call->node->output_count,
                          FOLD_MAX_OUTPUTS);
    }
    const int64_t each = (n + parts - 1) / parts;
    for (int k = 0; count < 0 && k < parts; k++) {
        const int64_t rest = n - k * each;
        lengths[k] = rest < each ? (rest > 0 ? rest : 0) : each;
    }
    if (count >= 0 && count != parts) {
        return fold_wrong(call, "it has %d lengths for %lld outputs", count, (long long)parts);
    }
    row_major(&from->tensor, strides);
    strided s = {.shape = fold_extent(from)};
    memcpy(s.steps, strides, sizeof strides);
    int64_t start = 0;
    for (int k = 0; k < parts; k++) {
        if (lengths[k] < 0 || lengths[k] > n - start) {
            return fold_wrong(call, "its lengths do not fit %lld", (long long)n);
        }
        s.shape.dims[axis] = lengths[k];
        s.start = lengths[k] ? start * strides[axis] : 0;
        SPADE_TRY(read_strided(call, from, &s, k));
        start += lengths[k];
    }
    return start == n ? SPADE_OK : fold_wrong(call, "its lengths do not fit %lld", (long long)n);
}

/* ---- Concat, Tile */

static spade_status fold_concat(fold_call *call)
{
    const int count = call->node->input_count;
    const spade_fold *first = NULL;
    int64_t given, length = 0, before = 1, after = 1, offset = 0;
    int axis;
    unsigned parts = 0;
    SPADE_TRY(fold_require(call, 0, &first));
    SPADE_TRY(fold_attribute(call, "axis", 0, &given));
    SPADE_TRY(fold_axis(call, given, first->tensor.rank, &axis));
    spade_extent shape = fold_extent(first);
    for (int k = 0; k < count; k++) {
        const spade_fold *input;
        SPADE_TRY(fold_require(call, k, &input));
        bool fits = input->tensor.rank == shape.rank && input->tensor.type == first->tensor.type &&
                    input->batch_axis == shape.batch_axis &&
                    (shape.batch_axis < 0 || input->batch_outer == shape.batch_outer);
        for (int i = 0; fits && i < shape.rank; i++) { fits = i == axis || input->tensor.dims[i] == shape.dims[i]; }
        if (!fits) { return fold_wrong(call, "the shapes of its inputs do not fit together"); }
        if (axis == input->batch_axis) {
            return fold_fail(call, "it puts together along the axis that grows with the batch");
        }
        if (__builtin_add_overflow(length, input->tensor.dims[axis], &length)) {
            return fold_wrong(call, "its result is too long");
        }
        parts |= fold_parts(input);
    }
    for (int i = 0; i < axis; i++) { before *= shape.dims[i]; }
    for (int i = axis + 1; i < shape.rank; i++) { after *= shape.dims[i]; }
    shape.dims[axis] = length;
    spade_fold *out;
    SPADE_TRY(fold_create(call, first->tensor.type, &shape, parts, &out));
    for (int k = 0; k < count; k++) {
        const int64_t own = call->inputs[k].tensor.dims[axis] * after;
        for (int64_t b = 0; b < before; b++) {
            for (int64_t e = 0; e < own; e++) {
                copy_element(out, b * length * after + offset + e, &call->inputs[k], b * own + e);
            }
        }
        offset += own;
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

static spade_status fold_tile(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t repeats[ONNX_MAX_RANK], strides[ONNX_MAX_RANK];
    int count;
    spade_fold *out;
    SPADE_TRY(fold_require_uniform(call, 0, &from));
    SPADE_TRY(fold_integers(call, 1, NULL, ONNX_MAX_RANK, repeats, &count));
    if (count != from->tensor.rank) {
        return fold_wrong(call, "it has %d repeats for %d axes", count, from->tensor.rank);
    }
    spade_extent shape = fold_extent(from);
    row_major(&from->tensor, strides);
    for (int i = 0; i < count; i++) {
        if (repeats[i] < 0 || __builtin_mul_overflow(shape.dims[i], repeats[i], &shape.dims[i])) {
            return fold_wrong(call, "it repeats %lld times", (long long)repeats[i]);
        }
        if (repeats[i] != 1) { SPADE_TRY(fold_check_axis(call, from, i)); }
    }
    SPADE_TRY(fold_create(call, from->tensor.type, &shape, 0, &out));
    for (int64_t e = 0; e < out->tensor.count; e++) {
        int64_t index = 0, rest = e;
        for (int i = shape.rank - 1; i >= 0; i--) {
            index += rest % shape.dims[i] % from->tensor.dims[i] * strides[i];
            rest /= shape.dims[i];
        }
        copy_element(out, e, from, index);
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- Gather */

/* An index from the file, from 0 to n - 1; counted from behind if negative. */
static spade_status read_index(fold_call *call, const spade_fold *indices, int64_t e, int64_t n, int64_t *out)
{
    const fold_number number = fold_load(indices, e);
    if (!fold_is_plain_number(&number)) { return fold_fail(call, "an index depends on the batch"); }
    *out = number.i[0] < 0 ? number.i[0] + n : number.i[0];
    if (*out >= 0 && *out < n) { return SPADE_OK; }
    return fold_wrong(call, "index %lld is out of range, there are %lld", (long long)number.i[0], (long long)n);
}

static spade_status fold_gather(fold_call *call)
{
    const spade_fold *from = NULL, *indices = NULL;
    int64_t given, before = 1, after = 1;
    int axis;
    spade_fold *out;
    SPADE_TRY(fold_require(call, 0, &from));
    SPADE_TRY(fold_require(call, 1, &indices));
    SPADE_TRY(fold_attribute(call, "axis", 0, &given));
    SPADE_TRY(fold_axis(call, given, from->tensor.rank, &axis));
    if (!fold_type_is_integer(indices->tensor.type)) { return fold_wrong(call, "its indices are no integers"); }
    if (axis == from->batch_axis || (from->batch_axis >= 0 && indices->batch_axis >= 0)) {
        return fold_fail(call, "it takes apart the axis that grows with the batch");
    }
    const int own = from->tensor.rank, more = indices->tensor.rank;
    if (own - 1 + more > ONNX_MAX_RANK) { return fold_wrong(call, "its result has more than %d axes", ONNX_MAX_RANK); }
    spade_extent shape = {.rank = own - 1 + more, .batch_axis = -1};
    for (int i = 0; i < shape.rank; i++) {
        const bool index = i >= axis && i < axis + more;
        const int source = index ? i - axis : i < axis ? i : i - more + 1;
        shape.dims[i] = index ? indices->tensor.dims[source] : from->tensor.dims[source];
        if (source != (index ? indices->batch_axis : from->batch_axis)) { continue; }
        shape.batch_axis = i;
        shape.batch_outer = index ? indices->batch_outer : from->batch_outer;
    }
    for (int i = 0; i < axis; i++) { before *= from->tensor.dims[i]; }
    for (int i = axis + 1; i < own; i++) { after *= from->tensor.dims[i]; }
    SPADE_TRY(fold_create(call, from->tensor.type, &shape, fold_parts(from), &out));
    const int64_t n = from->tensor.dims[axis];
    for (int64_t k = 0; k < indices->tensor.count; k++) {
        int64_t index = 0;
        SPADE_TRY(read_index(call, indices, k, n, &index));
        for (int64_t b = 0; b < before; b++) {
            for (int64_t e = 0; e < after; e++) {
                copy_element(out, (b * indices->tensor.count + k) * after + e, from, (b * n + index) * after + e);
            }
        }
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* Of a row of indices, the first `length` axes of `tensor`: where it points to, in rows of what is behind these axes. */
static spade_status read_point(fold_call *call, const spade_fold *indices, int64_t row, int length,
                               const onnx_tensor *tensor, int64_t *out)
{
    *out = 0;
    for (int i = 0; i < length; i++) {
        int64_t index = 0;
        SPADE_TRY(read_index(call, indices, row * length + i, tensor->dims[i], &index));
        *out = *out * tensor->dims[i] + index;
    }
    return SPADE_OK;
}

/* How many axes each row of indices names, and the elements behind them. */
static spade_status read_rows(fold_call *call, const spade_fold *from, const spade_fold *indices, int *length,
                              int64_t *rows, int64_t *after)
{
    const onnx_tensor *tensor = &indices->tensor;
    const int64_t last = tensor->rank ? tensor->dims[tensor->rank - 1] : 0;
    if (!fold_type_is_integer(tensor->type) || last < 1 || last > from->tensor.rank) {
        return fold_wrong(call, "its indices do not fit its input of %d axes", from->tensor.rank);
    }
    *length = (int)last;
    *rows = tensor->count / last;
    *after = 1;
    for (int i = *length; i < from->tensor.rank; i++) { *after *= from->tensor.dims[i]; }
    return SPADE_OK;
}

static spade_status fold_gather_nd(fold_call *call)
{
    const spade_fold *from = NULL, *indices = NULL;
    int64_t batch_dims, rows, after;
    int length;
    spade_fold *out;
    SPADE_TRY(fold_require_plain(call, 0, &from));
    SPADE_TRY(fold_require_plain(call, 1, &indices));
    SPADE_TRY(fold_attribute(call, "batch_dims", 0, &batch_dims));
    if (batch_dims) { return fold_fail(call, "batch_dims is not supported"); }
    SPADE_TRY(read_rows(call, from, indices, &length, &rows, &after));
    spade_extent shape = {.rank = indices->tensor.rank - 1 + from->tensor.rank - length, .batch_axis = -1};
    if (shape.rank > ONNX_MAX_RANK) { return fold_wrong(call, "its result has more than %d axes", ONNX_MAX_RANK); }
    for (int i = 0; i < shape.rank; i++) {
        const int own = indices->tensor.rank - 1;
        shape.dims[i] = i < own ? indices->tensor.dims[i] : from->tensor.dims[i - own + length];
    }
    SPADE_TRY(fold_create(call, from->tensor.type, &shape, 0, &out));
    for (int64_t r = 0; r < rows; r++) {
        int64_t row;
        SPADE_TRY(read_point(call, indices, r, length, &from->tensor, &row));
        for (int64_t e = 0; e < after; e++) { copy_element(out, r * after + e, from, row * after + e); }
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- Scatter */

static spade_status copy_all(fold_call *call, const spade_fold *from, spade_fold **out)
{
    const spade_extent shape = fold_extent(from);
    SPADE_TRY(fold_create(call, from->tensor.type, &shape, fold_parts(from), out));
    for (int64_t e = 0; e < from->tensor.count; e++) { copy_element(*out, e, from, e); }
    return SPADE_OK;
}

static spade_status read_scatter(fold_call *call, const spade_fold *inputs[3], const char **reduction)
{
    static const char *const known[] = {"none", "add", "mul", "min", "max"};
    bool found = false;
    for (int i = 0; i < 3; i++) { SPADE_TRY(fold_require_plain(call, i, &inputs[i])); }
    SPADE_TRY(spade_import_attribute(
        call->import, onnx_get_string(call->import->context, call->node, "reduction", "none", reduction)));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) { found = found || strcmp(*reduction, known[i]) == 0; }
    if (!found) { return fold_fail(call, "reduction \"%.40s\" is not supported", *reduction); }
    if (inputs[2]->tensor.type != inputs[0]->tensor.type || !fold_type_is_integer(inputs[1]->tensor.type)) {
        return fold_wrong(call, "its inputs have the wrong types");
    }
    return SPADE_OK;
}

/* Element `index` of the updates, put in place of one of the result's, or joined with it. */
static spade_status put_update(fold_call *call, spade_fold *out, int64_t at, const spade_fold *updates, int64_t index,
                               const char *reduction)
{
    const fold_number pair[2] = {fold_load(out, at), fold_load(updates, index)};
    fold_number result = pair[1];
    const char *reason = NULL;
    if (strcmp(reduction, "add") == 0) {
        reason = fold_add(pair, &result);
    } else if (strcmp(reduction, "mul") == 0) {
        reason = fold_multiply(pair, &result);
    } else if (strcmp(reduction, "none") != 0) {
        const unsigned worse = strcmp(reduction, "min") == 0 ? 4u : 1u; /* both are plain */
        result = fold_compare(&pair[1], &pair[0]) == worse ? pair[0] : pair[1];
    }
    if (reason) { return fold_fail(call, "%s", reason); }
    return fold_store(out, at, &result) ? SPADE_OK : fold_fail(call, "a result does not fit its type");
}

static spade_status fold_scatter_nd(fold_call *call)
{
    const spade_fold *inputs[3];
    int64_t rows, after;
    int length;
    const char *reduction;
    spade_fold *out;
    SPADE_TRY(read_scatter(call, inputs, &reduction));
    SPADE_TRY(read_rows(call, inputs[0], inputs[1], &length, &rows, &after));
    if (inputs[2]->tensor.count != rows * after) { return fold_wrong(call, "its updates do not fit its indices"); }
    SPADE_TRY(copy_all(call, inputs[0], &out));
    for (int64_t r = 0; r < rows; r++) {
        int64_t row;
        SPADE_TRY(read_point(call, inputs[1], r, length, &inputs[0]->tensor, &row));
        for (int64_t e = 0; e < after; e++) {
            SPADE_TRY(put_update(call, out, row * after + e, inputs[2], r * after + e, reduction));
        }
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

static spade_status fold_scatter_elements(fold_call *call)
{
    const spade_fold *inputs[3];
    int64_t given, strides[ONNX_MAX_RANK];
    const char *reduction;
    int axis;
    spade_fold *out;
    SPADE_TRY(read_scatter(call, inputs, &reduction));
    SPADE_TRY(fold_attribute(call, "axis", 0, &given));
    const onnx_tensor *to = &inputs[0]->tensor, *indices = &inputs[1]->tensor;
    SPADE_TRY(fold_axis(call, given, to->rank, &axis));
    bool fits = indices->rank == to->rank && indices->count == inputs[2]->tensor.count;
    for (int i = 0; fits && i < to->rank; i++) { fits = i == axis || indices->dims[i] <= to->dims[i]; }
    if (!fits) { return fold_wrong(call, "its indices do not fit its input"); }
    row_major(to, strides);
    SPADE_TRY(copy_all(call, inputs[0], &out));
    for (int64_t e = 0; e < indices->count; e++) {
        int64_t at = 0, rest = e, index = 0;
        SPADE_TRY(read_index(call, inputs[1], e, to->dims[axis], &index));
        for (int i = to->rank - 1; i >= 0; i--) {
            at += (i == axis ? index : rest % indices->dims[i]) * strides[i];
            rest /= indices->dims[i];
        }
        SPADE_TRY(put_update(call, out, at, inputs[2], e, reduction));
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- Pad, Trilu */

static spade_status read_pads(fold_call *call, const onnx_tensor *tensor, const char *mode, int64_t *pads,
                              spade_extent *shape)
{
    int64_t axes[ONNX_MAX_RANK], given[2 * ONNX_MAX_RANK];
    int count, axis_count;
    if (!spade_is_pad_mode(mode)) { return fold_fail(call, "mode \"%.40s\" is not supported", mode); }
    SPADE_TRY(fold_integers(call, 1, "pads", 2 * ONNX_MAX_RANK, given, &count));
    SPADE_TRY(fold_integers(call, 3, NULL, ONNX_MAX_RANK, axes, &axis_count));
    if (count != 2 * (axis_count < 0 ? tensor->rank : axis_count)) { return fold_wrong(call, "it has %d pads", count); }
    memset(pads, 0, 2 * ONNX_MAX_RANK * sizeof *pads);
    for (int k = 0; k < count / 2; k++) {
        int axis;
        SPADE_TRY(fold_axis(call, axis_count < 0 ? k : axes[k], tensor->rank, &axis));
        pads[axis] = given[k];
        pads[axis + ONNX_MAX_RANK] = given[k + count / 2];
    }
    for (int i = 0; i < tensor->rank; i++) {
        const int64_t before = pads[i], after = pads[i + ONNX_MAX_RANK], n = tensor->dims[i];
        if (!spade_pads_fit(n, before, after, mode)) { return fold_wrong(call, "its pads do not fit axis %d", i); }
        shape->dims[i] = n + before + after;
    }
    return SPADE_OK;
}

static spade_status fold_pad(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t pads[2 * ONNX_MAX_RANK], strides[ONNX_MAX_RANK] = {0};
    const char *mode;
    spade_fold *out;
    SPADE_TRY(fold_require_uniform(call, 0, &from));
    SPADE_TRY(spade_import_attribute(call->import,
                                     onnx_get_string(call->import->context, call->node, "mode", "constant", &mode)));
    spade_extent shape = fold_extent(from);
    SPADE_TRY(read_pads(call, &from->tensor, mode, pads, &shape));
    for (int i = 0; i < shape.rank; i++) {
        if (pads[i] || pads[i + ONNX_MAX_RANK]) { SPADE_TRY(fold_check_axis(call, from, i)); }
    }
    const spade_fold *filling = fold_has(call, 2) ? &call->inputs[2] : NULL;
    if (filling &&
        (filling->tensor.type != from->tensor.type || filling->tensor.count != 1 || !spade_fold_is_plain(filling))) {
        return fold_wrong(call, "its constant is no scalar of its input's type");
    }
    row_major(&from->tensor, strides);
    SPADE_TRY(fold_create(call, from->tensor.type, &shape, 0, &out));
    for (int64_t e = 0; e < out->tensor.count; e++) {
        int64_t index = 0, rest = e;
        bool inside = true;
        for (int i = (shape.rank < ONNX_MAX_RANK ? shape.rank : ONNX_MAX_RANK) - 1; i >= 0 && shape.dims[i] > 0;
             i--) { /* there are elements: no axis is empty */
            const int64_t at =
                spade_padded_index(rest % shape.dims[i], from->tensor.dims[i], pads[i], pads[i + ONNX_MAX_RANK], mode);
            inside = inside && at >= 0;
            index += at * strides[i];
            rest /= shape.dims[i];
        }
        if (inside) {
            copy_element(out, e, from, index);
        } else if (filling) {
            copy_element(out, e, filling, 0);
        }
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

static spade_status fold_trilu(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t upper, diagonal[1];
    int count;
    spade_fold *out;
    SPADE_TRY(fold_require_plain(call, 0, &from));
    SPADE_TRY(fold_attribute(call, "upper", 1, &upper));
    SPADE_TRY(fold_integers(call, 1, NULL, 1, diagonal, &count));
    const spade_extent shape = fold_extent(from);
    if (shape.rank < 2) { return fold_wrong(call, "its input is no matrix"); }
    SPADE_TRY(fold_create(call, from->tensor.type, &shape, 0, &out));
    for (int64_t e = 0; e < out->tensor.count; e++) {
        const int64_t columns = shape.dims[shape.rank - 1], rows = shape.dims[shape.rank - 2];
        const int64_t beyond = e % columns - e / columns % rows, k = count == 1 ? diagonal[0] : 0;
        if (upper ? beyond >= k : beyond <= k) { copy_element(out, e, from, e); }
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

const fold_operator fold_movement_operators[] = {{"Concat", fold_concat, 0},
                                                 {"Expand", fold_expand, 0},
                                                 {"Gather", fold_gather, 0},
                                                 {"GatherND", fold_gather_nd, 0},
                                                 {"Pad", fold_pad, 0},
                                                 {"ScatterElements", fold_scatter_elements, 0},
                                                 {"ScatterND", fold_scatter_nd, 0},
                                                 {"Slice", fold_slice, 0},
                                                 {"Split", fold_split, 0},
                                                 {"Tile", fold_tile, 0},
                                                 {"Transpose", fold_transpose, 0},
                                                 {"Trilu", fold_trilu, 0},
                                                 {0}};
