/* strided_copy.c - which axes a copy walks over. */
#include "backend/strided_copy.h"

/* An axis of what is moved. */
typedef struct copy_axis {
    int64_t length, strides[2];
} copy_axis;

/* The axes of the part that is moved, in any order. */
static int find_axes(const spade_op_desc *d, copy_axis axes[SPADE_MAX_RANK], int64_t first[2])
{
    int64_t of_a[SPADE_MAX_RANK], of_y[SPADE_MAX_RANK];
    const bool backward = d->kind == SPADE_OP_CONCAT_BACKWARD, permute = d->kind == SPADE_OP_PERMUTE;
    spade_shape_strides(&d->a, of_a);
    spade_shape_strides(&d->y, of_y);
    for (int k = 0; k < d->y.rank; k++) {
        const int in_a = permute ? d->axes[k] : k;
        const bool whole = permute || k != d->axis;
        const int64_t length = whole ? d->y.dims[k] : d->a.dims[k], stride = d->a.dims[in_a] == length ? of_a[in_a] : 0;
        axes[k] = backward ? (copy_axis){length, {stride, of_y[k]}} : (copy_axis){length, {of_y[k], stride}};
    }
    first[SPADE_COPY_TO] = first[SPADE_COPY_FROM] = 0;
    if (!permute) { first[backward ? SPADE_COPY_FROM : SPADE_COPY_TO] = d->start * of_y[d->axis]; }
    return d->y.rank;
}

/* By where it is written: from the slowest axis to the fastest. */
static void sort_axes(copy_axis *axes, int count)
{
    for (int i = 1; i < count; i++) {
        const copy_axis axis = axes[i];
        int at = i;
        for (; at > 0 && axes[at - 1].strides[SPADE_COPY_TO] < axis.strides[SPADE_COPY_TO]; at--) {
            axes[at] = axes[at - 1];
        }
        axes[at] = axis;
    }
}

/* One more axis behind the others, merged with the last one where both sides walk the two as one. */
static void append_axis(spade_tensor_iterator *to, const copy_axis *axis)
{
    if (axis->length == 1) { return; }
    bool merge = to->rank > 0;
    for (int k = 0; merge && k < 2; k++) { merge = to->strides[k][to->rank - 1] == axis->strides[k] * axis->length; }
    const int at = merge ? to->rank - 1 : to->rank++;
    to->dims[at] = merge ? to->dims[at] * axis->length : axis->length;
    for (int k = 0; k < 2; k++) { to->strides[k][at] = axis->strides[k]; }
}

static int find_transposed(const spade_tensor_iterator *axes)
{
    const int last = axes->rank - 1;
    if (axes->strides[SPADE_COPY_TO][last] != 1 || axes->strides[SPADE_COPY_FROM][last] <= 1) { return -1; }
    for (int i = 0; i < last; i++) {
        if (axes->strides[SPADE_COPY_FROM][i] == 1) { return i; }
    }
    return -1;
}

spade_strided_copy spade_strided_copy_make(const spade_op_desc *desc)
{
    spade_strided_copy copy = {0};
    copy_axis axes[SPADE_MAX_RANK];
    const int count = find_axes(desc, axes, copy.first);
    sort_axes(axes, count);
    for (int i = 0; i < count; i++) { append_axis(&copy.axes, &axes[i]); }
    if (copy.axes.rank == 0) {
        copy.axes.rank = 1;
        copy.axes.dims[0] = copy.axes.strides[SPADE_COPY_TO][0] = copy.axes.strides[SPADE_COPY_FROM][0] = 1;
    }
    copy.transposed = find_transposed(&copy.axes);
    return copy;
}
