/*
 * import.h - from an ONNX file to the network. Nothing behind it knows ONNX, but what writes files again (trace/).
 *
 *   import.c      the parts in their order: constants, patterns, operators, layout
 *   order.c       names, and the nodes in topological order
 *   ends.c        initializers, and which of the inputs is the picture
 *   fold/         what depends on constants and shapes alone is computed
 *   input.c, head.c   what stands before and behind the network: channels last, 8-bit values; softmax, sigmoid, ArgMax
 *   known_operators.c   what is computed at all, with its limits: docs/operators.md
 *   types.c, unsupported.c   what is refused: weights that are no numbers, operators, all of them at once
 *   patterns/     subgraphs that are one node (GELU, ...)
 *   operators/    ONNX operators to nodes, one file a family
 *   build.c       the pieces that operators are made of; operands.c: what they read
 *   extent.c      shapes of which one axis grows with the batch
 *   shape.c       shapes of results, windows of convolutions and poolings
 *   layer.c, layer_names.c   weights and what they are called
 *   prune.c       what only a shape was read of goes
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

struct spade_fold;
struct spade_fold_block;
struct spade_import_weight;

/* What an ONNX name stands for: an activation, a constant tensor of the file, or what was folded of such (fold/fold.h). */
typedef struct spade_operand {
    int value;                     /* in the network's values, or -1 */
    const onnx_tensor *tensor;     /* a constant; NULL: an activation, or something folded that depends on the batch */
    const struct spade_fold *fold; /* NULL: it was not folded */
    bool quantised;                /* the file has integers of this activation there: for a DequantizeLinear alone */
} spade_operand;

/* In place of a batch axis, of what a new shape is asked for: every picture has the same, of which one is there. */
enum { SPADE_UNIFORM = -2 };
/* Shape of a tensor of which one axis, at most, grows with the batch: it is outer * N * inner long. */
typedef struct spade_extent {
    int rank;
    int64_t dims[SPADE_MAX_RANK]; /* of one picture: outer * inner */
    int batch_axis;               /* -1: none */
    int64_t batch_outer;
} spade_extent;

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
    spade_name_map layers;    /* name of a layer -> the last number that made a name unique, as in "NAME#2"; 1: none */
    spade_operand *operands;
    int operand_count;
    onnx_tensor
        *made; /* [made_count <= nodes] tensors of Constant nodes given as numbers; allocated once, never moves */
    int made_count;
    const char *output;                  /* of the file's values, the one that the network ends at; head.h */
    struct spade_import_weight *weights; /* of layers, that stand in the file and are not copied yet; see layer.c */
    int weight_count;
    struct spade_fold_block *fold_blocks; /* memory of what was folded */
    double fold_work, fold_limit;         /* elements computed so far, and at most; limit 0: not known yet */
} spade_import;

/* The node's name, or where it has none its first output's: what messages call it. */
const char *spade_onnx_label(const onnx_node *node);

/* ---- failing: 'FILE: node "N" (Op): ...' */
spade_status spade_import_fail(spade_import *import, const onnx_node *node, spade_status status, const char *format,
                               ...) __attribute__((format(printf, 4, 5)));
#define spade_import_fail(...) spade_not_ok(spade_import_fail(__VA_ARGS__)) /* base.h says why */
spade_status spade_import_memory(spade_import *import);                     /* malloc failed */
#define spade_import_memory(import) spade_not_ok((spade_import_memory)(import))
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
/* types.c: no number of the float32 constant is infinite or NaN, as of weights. */
spade_status spade_require_finite(spade_import *import, const onnx_node *node, const onnx_tensor *tensor);
spade_status spade_refuse_number(spade_import *import, const onnx_node *node, const onnx_tensor *tensor,
                                 int64_t element, float number); /* the message */
/* The first of n numbers that is not finite, or n. */
int64_t spade_first_not_finite(const float *numbers, int64_t n);
/* types.c: copy a float32 constant, whose numbers have to be finite, into memory of the network. */
spade_status spade_copy_floats(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, float **out);
/* A float32 constant with exactly n elements. */
spade_status spade_copy_vector(spade_import *import, const onnx_node *node, int input, int64_t n, spade_parameter *out);

/* ---- order.c */
/* Fill in `producers`; every name has one producer, every input one that exists. */
spade_status spade_import_check_names(spade_import *import);
/* Mark the nodes that node `output` depends on. live[] and stack[] have node_count entries. */
void spade_import_mark_live(spade_import *import, int output, bool *live, int *stack);
/* Topological order, the file's own where that is one: order[node_count]. A cycle is an error. */
spade_status spade_import_sort(spade_import *import, int *order);

/* ---- ends.c */
/* Initializers, and the one real input. */
spade_status spade_import_bind_inputs(spade_import *import);

/* ---- results */
spade_status spade_bind(spade_import *import, const char *name, spade_operand operand);
/*
 * Append the node, which reads these values, with a new value of this shape (of one image) as its output, bound to the ONNX
 * node's first output. What *node owns (parameters) is the network's afterwards, also on failure.
 */
spade_status spade_emit(spade_import *import, const onnx_node *from, spade_node *node, const int *inputs,
                        int input_count, const spade_shape *shape);

/* ---- several nodes in place of one ONNX node */
/* As spade_emit, but the value is bound to no name: *out is its number. */
spade_status spade_make(spade_import *import, const onnx_node *from, spade_node *node, const int *inputs,
                        int input_count, const spade_extent *extent, int *out);
/* An output of the ONNX node is this value; absent ones are passed over. */
spade_status spade_bind_output(spade_import *import, const onnx_node *from, int output, int value);
spade_extent spade_value_extent(const spade_import *import, int value);
/* A constant with these elements, row-major and at any address, as a value of the network; it copies them. */
spade_status spade_make_constant(spade_import *import, const onnx_node *from, const char *name,
                                 const spade_shape *shape, const void *elements, int *out);

/* ---- extent.c: other shapes of the same elements, which keep pictures apart. From an operator's attributes or inputs. */
int64_t
spade_extent_before(const spade_extent *extent); /* what is outside of the batch in memory: elements of the batch */
spade_status spade_extent_reshape(spade_import *import, const onnx_node *node, const spade_extent *x,
                                  const struct spade_fold *target, spade_extent *out);
spade_status spade_extent_flatten(spade_import *import, const onnx_node *node, const spade_extent *x,
                                  spade_extent *out);
/* count -1: no axes are given */
spade_status spade_extent_squeeze(spade_import *import, const onnx_node *node, const spade_extent *x,
                                  const int64_t *axes, int count, spade_extent *out);
spade_status spade_extent_unsqueeze(spade_import *import, const onnx_node *node, const spade_extent *x,
                                    const int64_t *axes, int count, spade_extent *out);

/* ---- layer.c: the weight matrix of a convolution or linear layer into the network; *out: its number. */
spade_status spade_import_layer(spade_import *import, int onnx_node_index, const onnx_tensor *tensor, spade_layer layer,
                                int *out);
/* When no tensor is read any more: copy what is not copied yet, and give back the file's memory on the way. */
spade_status spade_import_weights(spade_import *import);

/* ---- shape.c */
/* Refuses dimensions below 1, overflow and absurd sizes. `what` for the message. */
spade_status spade_check_shape(spade_import *import, const onnx_node *node, const spade_shape *shape);
/*
 * Convolutions and poolings are over images of two axes. An image of one axis is a column of pixels; of an image of more, the
 * axes that windows leave alone go to the batch, as long as windows are over two at most.
 */
typedef struct spade_image {
    int count;                      /* axes of the image: rank - 2 */
    int64_t kernel[SPADE_MAX_RANK]; /* along each of them */
    int axes[2];                    /* those that windows are over, in order; -1: there is none, it is 1 long */
    int64_t others[SPADE_MAX_RANK]; /* length of each other axis */
} spade_image;
/* kernel_shape, of an operator that has to have it. */
spade_status spade_image_kernel(spade_import *import, const onnx_node *node, int rank, spade_image *out);
/* The value, [batch, channels, ...], as an image [batch, channels, height, width], and such an image back as what it was. */
spade_status spade_image_enter(spade_import *import, const onnx_node *node, spade_image *image, int *value);
spade_status spade_image_leave(spade_import *import, const onnx_node *node, const spade_image *image, int *value);
/* strides, dilations, pads, auto_pad, ceil_mode -> window with explicit padding; output size. x: of the image of two axes. */
spade_status spade_window_read(spade_import *import, const onnx_node *node, const spade_image *image,
                               const spade_shape *x, spade_window *window, int64_t out[2], bool *ceil_extra);
/* ---- an axis of n that is padded, or cropped where a pad is below 0: cropped first, then padded with what is left.
 * mode: "constant", "edge", "reflect", "wrap". */
bool spade_is_pad_mode(const char *mode);
bool spade_pads_fit(int64_t n, int64_t before, int64_t after, const char *mode);
/* Which element of the axis is element e of the result; -1: none, it is the constant. The pads have to fit. */
int64_t spade_padded_index(int64_t e, int64_t n, int64_t before, int64_t after, const char *mode);
/* NumPy broadcasting of shapes of equal rank; false where they do not fit. */
bool spade_broadcast(const spade_shape *a, const spade_shape *b, spade_shape *out);

/* ---- layer_names.c */
/*
 * Where a node stands among the modules of the network that was exported: the last but one of the scopes that PyTorch's
 * exporter notes since 2.9, else by the path that its name is: "/encoder/layers/layer_0/mlp/mlp.0/MatMul" ->
 * "encoder.layers.layer_0.mlp.0". Empty where nothing says it. malloc'ed, NULL: out of memory.
 */
char *spade_node_path(const onnx_node *node);
/* Name of the layer of a node (malloc'ed): spec: by its weight; where an exporter renamed the weight by its bias, or where
 * the node stands. No two of the network's layers have the same: who keeps it puts it into `layers`. NULL: out of memory. */
char *spade_layer_name(spade_import *import, int node_index, const char *weight, int64_t rows, int64_t columns);

/* ---- prune.c: takes away the nodes that the output does not depend on, with their values and layers. */
spade_status spade_network_prune(spade_context *context, spade_network *network);

/* ---- layout.c */
spade_status spade_network_layout(spade_context *context, spade_network *network);

#endif
