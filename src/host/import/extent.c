/*
 * extent.c - shapes of tensors of which one axis grows with the batch, and what they become under other shapes.
 *
 * A tensor is row-major: in memory it is before * N * behind, where `before` are the axes before the growing one, times the part
 * of this axis that is outside of the batch. Another shape keeps both numbers: it can cut neither between pictures.
 */
#include "import/fold/fold.h"

int64_t spade_extent_before(const spade_extent *extent)
{
    int64_t before = extent->batch_outer;
    for (int i = 0; i < extent->batch_axis; i++) { before *= extent->dims[i]; }
    return before;
}

static int64_t count_of(const spade_extent *extent)
{
    int64_t count = 1;
    for (int i = 0; i < extent->rank; i++) { count *= extent->dims[i]; } /* they were checked: no overflow */
    return count;
}

/* Can axis k of y (dims of one picture but for axis k) be the one that grows? The length that it has then, for one picture; 0: no. */
static int64_t growing_length(const spade_extent *x, const spade_extent *y, int k, int64_t *outer)
{
    const int64_t before = spade_extent_before(x), behind = before ? count_of(x) / before : 0;
    int64_t first = 1, last = 1;
    for (int i = 0; i < y->rank; i++) {
        if (i != k && __builtin_mul_overflow(i < k ? first : last, y->dims[i], i < k ? &first : &last)) { return 0; }
    }
    if (first < 1 || last < 1 || before % first || behind % last) { return 0; }
    *outer = before / first;
    return *outer * (behind / last);
}

static spade_status fail_mixing(spade_import *import, const onnx_node *node)
{
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                             "its shape would take apart what belongs to one picture of a batch%s",
                             import->file_batch ? "; export the network with a dynamic batch" : "");
}

/*
 * Where in a file that fixes the batch is the batch of a new shape? Every place that keeps pictures apart is right; those are
 * preferred that other operators can work with: not the last axis, then an axis that is the batch alone, then one that begins
 * with it.
 */
static spade_status find_fixed(spade_import *import, const onnx_node *node, const spade_extent *x, spade_extent *y)
{
    int best = -1, best_rank = -1;
    int64_t best_length = 0, best_outer = 1;
    for (int k = 0; k < y->rank; k++) {
        int64_t outer = 1;
        const int64_t length = growing_length(x, y, k, &outer);
        if (!length || y->dims[k] % import->file_batch || y->dims[k] / import->file_batch != length) { continue; }
        const int rank = (k + 1 < y->rank || y->rank == 1) * 4 + (length == 1) * 2 + (outer == 1);
        if (rank <= best_rank) { continue; }
        best = k;
        best_rank = rank;
        best_length = length;
        best_outer = outer;
    }
    if (best < 0) { return fail_mixing(import, node); }
    y->batch_axis = best;
    y->dims[best] = best_length;
    y->batch_outer = best_outer;
    return SPADE_OK;
}

/* y->dims: of the whole file's batch, or where y->batch_axis is known, this axis's of one picture. open: an axis that takes what
 * is left, -1: none. */
static spade_status place(spade_import *import, const onnx_node *node, const spade_extent *x, int open, spade_extent *y)
{
    const bool grows = x->batch_axis >= 0;
    int64_t size = count_of(x), given = 1;
    if (x->batch_axis == SPADE_UNIFORM) { y->batch_axis = -1; }
    if (!grows && y->batch_axis >= 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "its shape grows with the batch, its input does not");
    }
    if (grows && y->batch_axis < 0 && !import->file_batch) { y->batch_axis = open; }
    if (grows && y->batch_axis < 0 && !import->file_batch) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "its shape fixes the batch; export the network with a dynamic batch");
    }
    if (grows && y->batch_axis < 0 && __builtin_mul_overflow(size, import->file_batch, &size)) {
        return fail_mixing(import, node);
    }
    for (int i = 0; i < y->rank; i++) {
        if (i != open && __builtin_mul_overflow(given, y->dims[i], &given)) {
            given = -1;
            break;
        }
    }
    if (open >= 0 && given > 0 && size % given == 0) { y->dims[open] = size / given; }
    if (given < 0 || (open >= 0 ? given == 0 || size % given : given != size)) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                 "its shape does not hold the %lld elements of its input", (long long)size);
    }
    if (!grows) { return SPADE_OK; }
    if (y->batch_axis < 0) { return find_fixed(import, node, x, y); }
    const int64_t length = growing_length(x, y, y->batch_axis, &y->batch_outer);
    return length && length == y->dims[y->batch_axis] ? SPADE_OK : fail_mixing(import, node);
}

/* ---- Reshape: 0 keeps an axis (unless allowzero), -1 takes what is left */

spade_status spade_extent_reshape(spade_import *import, const onnx_node *node, const spade_extent *x,
                                  const spade_fold *target, spade_extent *out)
{
    int64_t allow_zero;
    int open = -1;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "allowzero", 0, &allow_zero)));
    if (target->tensor.type != ONNX_INT64 || (!target->tensor.bytes && target->tensor.count) ||
        target->tensor.rank > 1 || target->tensor.count > SPADE_MAX_RANK || target->batch_axis >= 0) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its shape is not a list of at most %d int64",
                                 SPADE_MAX_RANK);
    }
    *out = (spade_extent){.rank = (int)target->tensor.count, .batch_axis = -1, .batch_outer = 1};
    for (int i = 0; i < out->rank; i++) {
        const fold_number n = fold_load(target, i);
        bool grows = n.i[1] != 0;
        int64_t length = grows ? n.i[1] : n.i[0];
        if (!grows && length == 0 && !allow_zero && i < x->rank) {
            grows = i == x->batch_axis;
            length = x->dims[i];
            if (grows && import->file_batch) { /* an axis of the file's batch is as good a place as others */
                length *= import->file_batch;
                grows = false;
            }
        } else if (!grows && length == -1 && open < 0) {
            open = i;
            length = 1;
        }
        const bool uneven = n.i[2] != 0 || (n.i[1] != 0 && n.i[0] != 0) || (grows && out->batch_axis >= 0);
        if (uneven || length < 0) {
            return spade_import_fail(import, node, uneven ? SPADE_ERROR_UNSUPPORTED : SPADE_ERROR_INPUT,
                                     "its shape holds %lld%s at axis %d", (long long)length,
                                     grows ? " N (the batch)" : "", i);
        }
        out->dims[i] = length;
        if (grows) { out->batch_axis = i; }
    }
    return place(import, node, x, open, out);
}

/* ---- Flatten, Squeeze, Unsqueeze */

spade_status spade_extent_flatten(spade_import *import, const onnx_node *node, const spade_extent *x, spade_extent *out)
{
    int64_t axis;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", 1, &axis)));
    axis += axis < 0 ? x->rank : 0;
    if (axis < 0 || axis > x->rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its axis is out of range");
    }
    *out = (spade_extent){
        .rank = 2, .dims = {1, 1}, .batch_axis = x->batch_axis < 0 ? -1 : x->batch_axis >= axis, .batch_outer = 1};
    for (int i = 0; i < x->rank; i++) { out->dims[i >= axis] *= x->dims[i]; }
    return place(import, node, x, -1, out);
}

/* Axes as a set of bits. */
static spade_status read_axes(spade_import *import, const onnx_node *node, const int64_t *axes, int count, int rank,
                              unsigned *out)
{
    *out = 0;
    for (int i = 0; i < count; i++) {
        const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (axis < 0 || axis >= rank || *out & 1u << axis) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its axis %lld is out of range, or there twice",
                                     (long long)axes[i]);
        }
        *out |= 1u << axis;
    }
    return SPADE_OK;
}

spade_status spade_extent_squeeze(spade_import *import, const onnx_node *node, const spade_extent *x,
                                  const int64_t *axes, int count, spade_extent *out)
{
    unsigned gone = 0;
    SPADE_TRY(read_axes(import, node, axes, count < 0 ? 0 : count, x->rank, &gone));
    *out = (spade_extent){.batch_axis = -1, .batch_outer = 1};
    if (count < 0 && x->batch_axis >= 0 && import->file_batch != 1 && x->dims[x->batch_axis] == 1 &&
        import->file_batch == 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "without axes its result would depend on the batch");
    }
    for (int i = 0; i < x->rank; i++) {
        const int64_t length = i == x->batch_axis && import->file_batch ? x->dims[i] * import->file_batch : x->dims[i];
        const bool open = i == x->batch_axis && !import->file_batch;
        const bool single = length == 1 && !open;
        if (gone & 1u << i && !single) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "axis %d, which it takes away, is not 1 long", i);
        }
        if (gone & 1u << i || (count < 0 && single)) { continue; }
        if (i == x->batch_axis) { out->batch_axis = out->rank; }
        out->dims[out->rank++] = x->dims[i];
    }
    if (out->batch_axis < 0 && x->batch_axis >= 0 && import->file_batch != 1) { return fail_mixing(import, node); }
    return place(import, node, x, -1, out);
}

spade_status spade_extent_unsqueeze(spade_import *import, const onnx_node *node, const spade_extent *x,
                                    const int64_t *axes, int count, spade_extent *out)
{
    unsigned fresh = 0;
    const int rank = x->rank + (count < 0 ? 0 : count);
    if (count < 0) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "axes are missing"); }
    if (rank > SPADE_MAX_RANK) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its result has more than %d axes",
                                 SPADE_MAX_RANK);
    }
    SPADE_TRY(read_axes(import, node, axes, count, rank, &fresh));
    *out = (spade_extent){.rank = rank, .batch_axis = -1, .batch_outer = 1};
    for (int i = 0, from = 0; i < rank; i++) {
        if (fresh & 1u << i) {
            out->dims[i] = 1;
            continue;
        }
        if (from == x->batch_axis) { out->batch_axis = i; }
        out->dims[i] = x->dims[from++];
    }
    return place(import, node, x, -1, out);
}
