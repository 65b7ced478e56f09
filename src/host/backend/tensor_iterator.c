/* tensor_iterator.c - strides of shapes; axes of several operands merged into as few as possible. */
#include "backend/tensor_iterator.h"

void spade_shape_strides(const spade_shape *shape, int64_t strides[SPADE_MAX_RANK])
{
    if (shape->rank == 4 && shape->layout == SPADE_CHANNELS_LAST) {
        strides[1] = 1;
        strides[3] = shape->dims[1];
        strides[2] = strides[3] * shape->dims[3];
        strides[0] = strides[2] * shape->dims[2];
        return;
    }
    int64_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= shape->dims[i];
    }
}

/* Strides of an operand along the axes of `whole`, aligned at the last axis, 0 where it has 1. */
static void broadcast_strides(const spade_shape *whole, const spade_shape *operand, int64_t out[SPADE_MAX_RANK])
{
    int64_t own[SPADE_MAX_RANK];
    int missing = whole->rank - operand->rank;
    spade_shape_strides(operand, own);
    for (int i = 0; i < whole->rank; i++) {
        out[i] = i < missing || operand->dims[i - missing] == 1 ? 0 : own[i - missing];
    }
}

spade_tensor_iterator spade_tensor_iterator_make(const spade_shape *whole, const spade_shape *const *operands,
                                                 int count)
{
    static const int last_order[4] = {0, 2, 3, 1};
    int64_t strides[SPADE_ITERATOR_OPERANDS][SPADE_MAX_RANK] = {{0}};
    spade_tensor_iterator s = {0};
    for (int k = 0; k < count; k++) { broadcast_strides(whole, operands[k], strides[k]); }
    for (int i = 0; i < whole->rank; i++) {
        int axis = whole->rank == 4 && whole->layout == SPADE_CHANNELS_LAST ? last_order[i] : i;
        if (whole->dims[axis] == 1) { continue; }
        bool merge = s.rank > 0;
        for (int k = 0; merge && k < count; k++) {
            merge = s.strides[k][s.rank - 1] == strides[k][axis] * whole->dims[axis];
        }
        int at = merge ? s.rank - 1 : s.rank++;
        s.dims[at] = merge ? s.dims[at] * whole->dims[axis] : whole->dims[axis];
        for (int k = 0; k < count; k++) { s.strides[k][at] = strides[k][axis]; }
    }
    if (s.rank == 0) { s.rank = 1, s.dims[0] = 1; }
    return s;
}

int64_t spade_tensor_iterator_size(const spade_tensor_iterator *iterator, int rank)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) { n *= iterator->dims[i]; }
    return n;
}

int64_t spade_tensor_iterator_locate(const spade_tensor_iterator *iterator, int rank, int k, int64_t index)
{
    int64_t offset = 0;
    for (int i = rank - 1; i >= 0; i--) {
        offset += index % iterator->dims[i] * iterator->strides[k][i];
        index /= iterator->dims[i];
    }
    return offset;
}

spade_reduction spade_reduction_make(const spade_shape *a, const spade_shape *y)
{
    const spade_shape *operands[] = {a, y};
    const spade_tensor_iterator s = spade_tensor_iterator_make(a, operands, 2);
    spade_reduction r = {0};
    for (int i = 0; i < s.rank; i++) {
        spade_tensor_iterator *to = s.strides[1][i] == 0 ? &r.summed : &r.kept;
        to->dims[to->rank] = s.dims[i];
        to->strides[0][to->rank] = s.strides[0][i];
        to->strides[1][to->rank] = s.strides[1][i];
        to->rank++;
    }
    if (r.kept.rank == 0) { r.kept.rank = 1, r.kept.dims[0] = 1; }
    if (r.summed.rank == 0) { r.summed.rank = 1, r.summed.dims[0] = 1; }
    return r;
}
