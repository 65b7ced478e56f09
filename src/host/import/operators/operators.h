/*
 * operators.h - from an ONNX operator to nodes: one file a family, each with a table that ends with {0}. A new operator is a
 * row there; a new family is a file and a line in import.c's list.
 */
#ifndef SPADE_IMPORT_OPERATORS_H
#define SPADE_IMPORT_OPERATORS_H

#include "import/import.h"

typedef struct spade_onnx_operator {
    const char *op_type; /* of the standard domain */
    spade_status (*lower)(spade_import *import, int onnx_node);
} spade_onnx_operator;

extern const spade_onnx_operator spade_convolution_operators[], spade_linear_operators[], spade_norm_operators[],
    spade_pointwise_operators[], spade_pool_operators[], spade_shape_operators[], spade_softmax_operators[];

#endif
