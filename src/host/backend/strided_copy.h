/*
 * strided_copy.h - permutations, concatenations and their parts: elements moved from one tensor to another, each of any
 * layout, as walks over the same axes with strides of their own.
 */
#ifndef SPADE_STRIDED_COPY_H
#define SPADE_STRIDED_COPY_H

#include "backend/tensor_iterator.h"

enum { SPADE_COPY_TO, SPADE_COPY_FROM }; /* operands of the axes */

typedef struct spade_strided_copy {
    spade_tensor_iterator axes; /* in the order of the memory that is written; FROM: 0 where it is repeated */
    int64_t first[2];           /* where the first element lies in either */
    /* The axis along which what is read lies side by side, where it is another one than the last, along which what is written
     * does: blocks of both are transposed. -1: rows along the last axis are copied. */
    int transposed;
} spade_strided_copy;

/* Of PERMUTE, CONCAT, CONCAT_BACKWARD. */
spade_strided_copy spade_strided_copy_make(const spade_op_desc *desc);

#endif
