/*
 * import.h - from an ONNX file to the network. Nothing behind it knows ONNX, but what writes files again (trace/).
 *
 *   import.c      names, order, input and output: what the network's output depends on, in topological order
 *   input.c, head.c   what stands before and behind the network: channels last, 8-bit values; softmax, sigmoid, ArgMax
 *   types.c, unsupported.c   what is refused: weights that are no numbers, operators, all of them at once
 *   patterns/     subgraphs that are one node (GELU, ...)
 *   operators/    ONNX operators to nodes, one file a family
 *   shape.c       shapes of results, windows of convolutions and poolings
 *   layer.c, layer_names.c   weights and what they are called
 *   layout.c      which values are kept channels-last
 */
#ifndef SPADE_ENGINE_LOWER_H
#define SPADE_ENGINE_LOWER_H

#include "network/network.h"
#include "onnx/onnx.h"
#include "base/name_map.h"

/* Largest activation of one image that is taken seriously, in elements. */
#define SPADE_MAX_ELEMENTS (INT64_C(1) << 40)
/* Oldest version of the operators: before it, broadcasting was an attribute. */
#define SPADE_MIN_OPSET 7
/* Largest stride, dilation or padding. */
#define SPADE_MAX_WINDOW (INT64_C(1) << 20)

/* What an ONNX name stands for: an activation, or a constant tensor of the file. */
typedef struct spade_operand {
    int value;                 /* in the network's values, or -1 */
    const onnx_tensor *tensor; /* where value is -1 */
} spade_operand;

/* From an ONNX file to the network: *out is filled in, or empty after a failure. */
spade_status spade_network_import(spade_context *context, const onnx_model *onnx, const spade_model_options *options,
                                  spade_network *out);

/* supported [ONNX nodes]: is the node's operator one that is lowered, the node a part of a pattern, or one that the output
 * does not depend on? options may be NULL. */
void spade_operators_supported(spade_context *context, const onnx_model *onnx, const spade_model_options *options,
                               bool *supported);

/* ---- inside of the import */
typedef struct spade_import {
    spade_context *context;
    const onnx_model *onnx;
    const spade_model_options *options; /* may be NULL */
    spade_network *network;
    int64_t file_batch;       /* batch that the file fixes, 0: dynamic */
    spade_name_map producers; /* output name -> ONNX node */
    spade_name_map names;     /* name -> operands */
    spade_operand *operands;
    int operand_count;
    onnx_tensor
        *made; /* [made_count <= nodes] tensors of Constant nodes given as numbers; allocated once, never moves */
    int made_count;
} spade_import;

/* The node's name, or where it has none its first output's: what messages call it. */
const char *spade_onnx_label(const onnx_node *node);

/* ---- failing: 'FILE: node "N" (Op): ...' */
spade_status spade_import_fail(spade_import *import, const onnx_node *node, spade_status status, const char *format,
                               ...) __attribute__((format(printf, 4, 5)));
#define spade_import_fail(...) spade_not_ok(spade_import_fail(__VA_ARGS__)) /* base.h says why */
spade_status spade_import_memory(spade_import *import);                     /* malloc failed */
/* Put 'FILE: ' before the message of a failed onnx_get_*; SPADE_OK passes. */
spade_status spade_import_attribute(spade_import *import, spade_status status);

/* ---- inputs of a node */
bool spade_has_input(const onnx_node *node, int input);
spade_status spade_operand_get(spade_import *import, const onnx_node *node, int input, spade_operand *out);
/* The input has to be an activation / a constant. */
spade_status spade_activation_get(spade_import *import, const onnx_node *node, int input, int *out);
spade_status spade_constant_get(spade_import *import, const onnx_node *node, int input, const onnx_tensor **out);
/* A constant has to be float32. */
spade_status spade_require_float(spade_import *import, const onnx_node *node, const onnx_tensor *tensor);
/* types.c: no number of the float32 constant is infinite or NaN, as of weights; none is NaN: masks have infinite ones. */
spade_status spade_require_finite(spade_import *import, const onnx_node *node, const onnx_tensor *tensor);
spade_status spade_require_numbers(spade_import *import, const onnx_node *node, const onnx_tensor *tensor);
/* Copy a float32 constant into memory of the network. */
spade_status spade_copy_floats(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, float **out);
/* A float32 constant with exactly n elements. */
spade_status spade_copy_vector(spade_import *import, const onnx_node *node, int input, int64_t n, spade_parameter *out);

/* ---- results */
spade_status spade_bind(spade_import *import, const char *name, spade_operand operand);
/*
 * Append the node, which reads these values, with a new value of this shape (of one image) as its output, bound to the ONNX
 * node's first output. What *node owns (parameters) is the network's afterwards, also on failure.
 */
spade_status spade_emit(spade_import *import, const onnx_node *from, spade_node *node, const int *inputs,
                        int input_count, const spade_shape *shape);

/* ---- layer.c: the weight matrix of a convolution or linear layer into the network; *out: its number. */
spade_status spade_import_layer(spade_import *import, int onnx_node_index, const onnx_tensor *tensor, spade_layer layer,
                                int *out);

/* ---- shape.c */
/* Refuses dimensions below 1, overflow and absurd sizes. `what` for the message. */
spade_status spade_check_shape(spade_import *import, const onnx_node *node, const spade_shape *shape);
/* kernel_shape (unless known: kernel[0] > 0), strides, dilations, pads, auto_pad, ceil_mode -> window with explicit
 * padding; output size. */
spade_status spade_window_read(spade_import *import, const onnx_node *node, const spade_shape *x, spade_window *window,
                               int64_t out[2], bool *ceil_extra);
/* NumPy broadcasting of shapes of equal rank; false where they do not fit. */
bool spade_broadcast(const spade_shape *a, const spade_shape *b, spade_shape *out);

/* ---- layer_names.c */
/*
 * Where a node stands among the modules of the network that was exported, by the path that its name is:
 * "/encoder/layers/layer_0/mlp/mlp.0/MatMul" -> "encoder.layers.layer_0.mlp.0": the operator is dropped, segments are
 * joined with dots, and a segment that begins with its predecessor and a dot replaces it. Empty where the name is no
 * path. malloc'ed, NULL: out of memory.
 */
char *spade_node_path(const char *node_name);
/* Name of a layer (malloc'ed): spec: by its weight, or by its node's path where an exporter renamed the weight. NULL:
 * out of memory. */
char *spade_layer_name(const spade_network *network, const onnx_node *node, const char *weight, int64_t rows,
                       int64_t columns);

/* ---- layout.c */
spade_status spade_network_layout(spade_context *context, spade_network *network);

#endif
