/*
 * tensor_iterator.h - the axes that an operation walks over, in the order of the memory: what broadcasting, sums over axes and
 * batched matrix products of all backends are made of.
 */
#ifndef SPADE_TENSOR_ITERATOR_H
#define SPADE_TENSOR_ITERATOR_H

#include "backend/backend.h"

enum { SPADE_ITERATOR_OPERANDS = 2 + SPADE_POINTWISE_STEPS }; /* of pointwise steps: y, x and one of each step */

/* Axes from the slowest to the fastest, the strides of each operand along them (0 where it is broadcast). */
typedef struct spade_tensor_iterator {
    int rank; /* at least 1 */
    int64_t dims[SPADE_MAX_RANK];
    int64_t strides[SPADE_ITERATOR_OPERANDS][SPADE_MAX_RANK];
} spade_tensor_iterator;

/* Elements between neighbours along each axis of a shape, in its layout. */
void spade_shape_strides(const spade_shape *shape, int64_t strides[SPADE_MAX_RANK]);

/*
 * The axes of `whole` in the order of its memory, without those of length 1; neighbours that all operands walk as one
 * are merged. Operands are aligned at the last axis, as NumPy broadcasts; operands[0] is `whole` itself.
 */
spade_tensor_iterator spade_tensor_iterator_make(const spade_shape *whole, const spade_shape *const *operands,
                                                 int count);
/* Elements of the first `rank` axes. */
int64_t spade_tensor_iterator_size(const spade_tensor_iterator *iterator, int rank);
/* Where element number `index` of the first `rank` axes lies in operand k. */
int64_t spade_tensor_iterator_locate(const spade_tensor_iterator *iterator, int rank, int k, int64_t index);

/* Which axes of a sum are summed and which are kept; operand 0 is what is summed, operand 1 the result. */
typedef struct spade_reduction {
    spade_tensor_iterator kept, summed;
} spade_reduction;

/* y = sum of a over the axes where y has 1. */
spade_reduction spade_reduction_make(const spade_shape *a, const spade_shape *y);

#endif
