/*
 * build.h - networks in place of one ONNX node, piece by piece: each function appends the nodes that compute one thing of values
 * and gives the value of the result. Shapes follow; where a thing would mix pictures it is refused by the ONNX node's name.
 */
#ifndef SPADE_IMPORT_BUILD_H
#define SPADE_IMPORT_BUILD_H

#include "import/import.h"

/* ---- the same elements */
spade_status spade_build_reshape(spade_import *import, const onnx_node *from, int value, const spade_extent *extent,
                                 int *out);
/* Leading axes of 1 up to this rank. */
spade_status spade_build_rank(spade_import *import, const onnx_node *from, int value, int rank, int *out);
/* Axis i of the result is axis order[i] of the value. */
spade_status spade_build_permute(spade_import *import, const onnx_node *from, int value, const int *order, int *out);
/* One axis away, which is 1 long. */
spade_status spade_build_drop_axis(spade_import *import, const onnx_node *from, int value, int axis, int *out);

/* ---- element by element */
spade_status spade_build_function(spade_import *import, const onnx_node *from, int value, spade_function function,
                                  float alpha, float beta, int *out);
/* ADD or MUL of two values, broadcast as NumPy does; of more axes than one of them has too. */
spade_status spade_build_binary(spade_import *import, const onnx_node *from, spade_node_kind kind, int a, int b,
                                int *out);
/* The value times, or plus, a number. */
spade_status spade_build_scale(spade_import *import, const onnx_node *from, int value, float factor, int *out);
spade_status spade_build_shift(spade_import *import, const onnx_node *from, int value, float summand, int *out);

/* ---- along axes */
/* Takes the map, also after a failure. The axis must not grow with the batch. */
spade_status spade_build_axis_map(spade_import *import, const onnx_node *from, int value, int axis, spade_axis_map *map,
                                  int *out);
/* Element j of the result's axis is element indices[j] of the value's, or `fill` where that is -1. */
spade_status spade_build_select(spade_import *import, const onnx_node *from, int value, int axis,
                                const int64_t *indices, int64_t count, float fill, int *out);
/* Elements start, start + step, ... of an axis. */
spade_status spade_build_slice(spade_import *import, const onnx_node *from, int value, int axis, int64_t start,
                               int64_t step, int64_t count, int *out);
spade_status spade_build_concat(spade_import *import, const onnx_node *from, const int *values, int count, int axis,
                                int *out);

/* Over these axes (bits), which stay as 1. */
spade_status spade_build_sum(spade_import *import, const onnx_node *from, int value, unsigned axes, int *out);
spade_status spade_build_mean(spade_import *import, const onnx_node *from, int value, unsigned axes, int *out);
spade_status spade_build_max(spade_import *import, const onnx_node *from, int value, unsigned axes, int *out);
spade_status spade_build_softmax(spade_import *import, const onnx_node *from, int value, int axis, int *out);

/* ---- products */
/* [.., m, k] x [.., k, n] of two values; leading axes are broadcast. */
spade_status spade_build_matmul(spade_import *import, const onnx_node *from, int a, int b, int *out);

/* ---- operands of an ONNX node */
/*
 * Both operands of a node as values that fit together: a constant becomes a value, beside the other's rank. Where a constant
 * has the file's fixed batch, its pictures have to be equal. joined: the extent that the result gets then, where the values had to
 * be split to fit; else of rank -1. It has the other dimensions of the value: the constant's are 1 or the same.
 */
spade_status spade_operands_get(spade_import *import, const onnx_node *node, int values[2], spade_extent *joined);
/* The same of one operand beside a value, which is split where the constant asks for it. */
spade_status spade_operand_beside(spade_import *import, const onnx_node *node, int input, int *value, int *out,
                                  spade_extent *joined);
/* A float32 constant as a value, beside one of this extent with which it is broadcast. */
spade_status spade_constant_value(spade_import *import, const onnx_node *node, const onnx_tensor *tensor,
                                  const spade_extent *beside, int *out);
/* A list of integers, from an input or, before the operator had it, from an attribute; *count -1: neither is there. */
spade_status spade_integers_get(spade_import *import, const onnx_node *node, int input, const char *attribute,
                                int limit, int64_t *out, int *count);
/* A constant, or of one that grows with the batch, what each picture has: beside a value of this extent. */
spade_status spade_grown_constant_get(spade_import *import, const onnx_node *node, int input,
                                      const spade_extent *beside, const onnx_tensor **out);
/* An axis from 0 to rank - 1; attribute: counted from behind if negative. */
spade_status spade_axis_get(spade_import *import, const onnx_node *node, int64_t given, int rank, int *out);
/* The axis must not grow with the batch. `what`: "a softmax". */
spade_status spade_check_axis(spade_import *import, const onnx_node *node, int value, int axis, const char *what);
/* What needs the batch first: convolutions, poolings, normalisations of channels. */
spade_status spade_check_batch_first(spade_import *import, const onnx_node *node, int value);

#endif
