/*
 * operators.h - from an ONNX operator to nodes: one file a family, each with a table that ends with {0}. A new operator is a
 * row there; a new family is a file and a row of SPADE_OPERATOR_FAMILIES.
 */
#ifndef SPADE_IMPORT_OPERATORS_H
#define SPADE_IMPORT_OPERATORS_H

#include "import/import.h"

typedef struct spade_onnx_operator {
    const char *op_type; /* of the standard domain */
    spade_status (*lower)(spade_import *import, int onnx_node);
} spade_onnx_operator;

// clang-format off
#define SPADE_OPERATOR_FAMILIES(ROW) \
    ROW(arithmetic) \
    ROW(attention) \
    ROW(convolution) \
    ROW(einsum) \
    ROW(linear) \
    ROW(movement) \
    ROW(norm) \
    ROW(pointwise) \
    ROW(pool) \
    ROW(quantise) \
    ROW(reduce) \
    ROW(replace) \
    ROW(resize) \
    ROW(scatter) \
    ROW(shape) \
    ROW(softmax)
// clang-format on
#define SPADE_OPERATOR_FAMILY(name) extern const spade_onnx_operator spade_##name##_operators[];
SPADE_OPERATOR_FAMILIES(SPADE_OPERATOR_FAMILY)
#undef SPADE_OPERATOR_FAMILY

/* norm.c: a LAYER_NORM node in place of this ONNX node, also for subgraphs that compute one (patterns/). */
typedef struct spade_layer_norm {
    int64_t axis; /* the first of the axes normalised over; below 0: counted from behind the last */
    float epsilon;
    bool root_mean_square;            /* RMSNorm: no mean is subtracted */
    const onnx_tensor *scale, *shift; /* broadcast to the axes normalised over; NULL: none */
} spade_layer_norm;
spade_status spade_emit_layer_norm(spade_import *import, const onnx_node *from, int input,
                                   const spade_layer_norm *norm);

/* The axes of x that a reduction is over, as bits: of an input or attribute; none: all, or with noop_with_empty_axes nothing. */
spade_status spade_reduced_axes(spade_import *import, const onnx_node *node, int rank, unsigned *out);

#endif
