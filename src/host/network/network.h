/*
 * network.h - the network as a small set of node kinds: nodes, the values between them, layers. Immutable once imported.
 *
 * Every activation is a value; its dims are those of one image, `batch_axis` says which of them grows with the batch.
 * Rank-4 image values are kept channels-last where every user can take that (import/layout.c inserts
 * SPADE_NODE_CONVERT_LAYOUT nodes).
 */
#ifndef SPADE_NETWORK_NETWORK_H
#define SPADE_NETWORK_NETWORK_H

#include "backend/backend.h"
#include "network/axis_map.h"
#include "spade/model.h"

/* Images of one micro-batch. Fixed: results depend on it in the last bits, so neither budget nor threads may change it.
 */
enum { SPADE_MICRO_BATCH = 8 };

/*
 * THE list of kinds of nodes. The enum, the declarations of their classes (node_class.h) and the table of them come from it.
 *   ROW(kind, class): spade_class_CLASS, in nodes/
 *
 *   CONVOLUTION      layer
 *   LINEAR           layer: Gemm or MatMul with a constant weight
 *   MATMUL           of two activations
 *   BATCH_NORM       y = x * scale[c] + shift[c]
 *   FUNCTION         y = f(x), element by element: relu, clip, sigmoid, ...
 *   SOFTMAX          along an axis
 *   LAYER_NORM       over the last axes: y = (x - mean) / sqrt(variance + epsilon) * scale + shift, or without the mean
 *   MAX_POOL, AVERAGE_POOL    global: the window is the image
 *   ADD, MUL         of two values; one may be a constant
 *   REDUCE_SUM       over the axes where the output has 1, divided by a number: mean
 *   REDUCE_MAX       over the axes where the output has 1
 *   PERMUTE          axes in another order
 *   AXIS_MAP         a sparse linear map along one axis: slices, gathers, padding, repetition, resizing, ...
 *   CONCAT           any number of values one after another along an axis; constants too
 *   RESHAPE          Flatten, Reshape: the same memory, row-major
 *   CONVERT_LAYOUT   between row-major and channels last
 */
// clang-format off
#define SPADE_NODE_KINDS(ROW)                              \
    ROW(SPADE_NODE_CONVOLUTION, convolution)               \
    ROW(SPADE_NODE_LINEAR, linear)                         \
    ROW(SPADE_NODE_MATMUL, matmul)                         \
    ROW(SPADE_NODE_BATCH_NORM, batch_norm)                 \
    ROW(SPADE_NODE_FUNCTION, function)                     \
    ROW(SPADE_NODE_SOFTMAX, softmax)                       \
    ROW(SPADE_NODE_LAYER_NORM, layer_norm)                 \
    ROW(SPADE_NODE_MAX_POOL, max_pool)                     \
    ROW(SPADE_NODE_AVERAGE_POOL, average_pool)             \
    ROW(SPADE_NODE_ADD, add)                               \
    ROW(SPADE_NODE_MUL, mul)                               \
    ROW(SPADE_NODE_REDUCE_SUM, reduce_sum)                 \
    ROW(SPADE_NODE_REDUCE_MAX, reduce_max)                 \
    ROW(SPADE_NODE_PERMUTE, permute)                       \
    ROW(SPADE_NODE_AXIS_MAP, axis_map)                     \
    ROW(SPADE_NODE_CONCAT, concat)                         \
    ROW(SPADE_NODE_RESHAPE, reshape)                       \
    ROW(SPADE_NODE_CONVERT_LAYOUT, convert_layout)
// clang-format on
typedef enum spade_node_kind {
#define SPADE_NODE_ENUMERATOR(kind, class) kind,
    SPADE_NODE_KINDS(SPADE_NODE_ENUMERATOR)
#undef SPADE_NODE_ENUMERATOR
        SPADE_NODE_KIND_COUNT
} spade_node_kind;

typedef struct spade_value {
    char *name;
    spade_shape shape;   /* of one image */
    int batch_axis;      /* dims[batch_axis] is multiplied by the batch; -1: a constant */
    int64_t batch_outer; /* import: this axis is outer * batch * inner long; what is outside of the batch */
    int producer;        /* node, -1: the network's input or a constant */
    float *constant;     /* owned data of a constant operand, or NULL */
} spade_value;

/* Constant vectors of a node, beside a layer's weights: what a product or a normalisation is scaled by, then shifted by. */
enum { SPADE_SCALE, SPADE_SHIFT, SPADE_PARAMETER_COUNT };
typedef struct spade_parameter {
    float *data; /* [count], charged to the network's context; NULL: the node has none */
    int64_t count;
} spade_parameter;

typedef struct spade_node {
    spade_node_kind kind;
    char *name;          /* of the ONNX node it came from */
    const char *pattern; /* what it is a part of, or all of: "layer normalisation"; static; NULL: of none */
    char *path;          /* the module it stands in: "layer4.1.relu"; NULL or empty where its name says none */
    int *inputs;         /* [input_count] values; owned */
    int input_count;
    int *outputs; /* [output_count] values; owned */
    int output_count;
    int layer; /* CONVOLUTION, LINEAR: index into layers; else -1 */
    /* Layers: Gemm's alpha for each row (not in the layer's weights; none: 1), bias. BATCH_NORM: scale, shift.
     * LAYER_NORM: scale, shift of each element normalised over, or none. */
    spade_parameter parameters[SPADE_PARAMETER_COUNT];
    union { /* by kind; what is owned here is released with the node */
        struct {
            spade_window window;
            int64_t groups;
        } convolution;
        struct {
            spade_window window;
            bool count_padding; /* AVERAGE_POOL */
        } pool;
        struct {
            spade_function function;
            float alpha, beta;
        } pointwise; /* FUNCTION */
        struct {
            int axis;
        } softmax;
        struct {
            int axis; /* the first of the axes that are normalised over; the batch is not among them */
            float epsilon;
            bool root_mean_square; /* RMSNorm: 0 in place of the mean */
        } layer_norm;
        struct {
            double divisor; /* of the sum, which is rounded once, after the division; not 0 */
        } reduce_sum;
        struct {
            int axes[SPADE_MAX_RANK]; /* axis k of the output is axis axes[k] of the input */
        } permute;
        struct {
            int axis; /* not the batch's */
            spade_axis_map map;
        } axis_map;
        struct {
            int axis; /* not the batch's. Along the others an input has the output's length, or 1, which is repeated */
        } concat;
    };
} spade_node;

typedef struct spade_layer {
    char *name;
    int node; /* in nodes */
    bool convolution, prunable;
    int64_t weight[4]; /* [out, in/groups, kh, kw] */
    int64_t groups, rows, columns;
    float *weights;            /* [rows, columns]; owned (copied out of the file once, aligned) */
    int64_t zeros;             /* of the weights */
    float largest;             /* of the weights' magnitudes */
    int onnx_node, onnx_input; /* where the weight stands in the file */
    spade_shape file_shape;    /* that it has there */
    bool transposed;           /* the file holds it as [columns, rows] */
} spade_layer;

typedef struct spade_network {
    spade_context *context; /* whose budget the weights are charged to */
    spade_value *values;
    int value_count;
    spade_node *nodes; /* topological order */
    int node_count;
    spade_layer *layers; /* in the order of their nodes */
    int layer_count;
    int input, output;        /* values: [1, C, H, W] row-major, and one number an output in some shape */
    bool takes_channels_last; /* the file's input is [N, H, W, C] */
    bool takes_bytes;         /* the file's input is uint8: values from 0 to 255 */
    spade_head head;          /* what the file makes of the outputs; no node computes it */
} spade_network;

const char *spade_node_kind_name(spade_node_kind kind);
void spade_network_clear(spade_network *network);
int64_t spade_count_zeros(const float *weights, int64_t n);
/* Numbers that the network gives of one image. */
int64_t spade_network_outputs(const spade_network *network);
/* The shape of a value for a batch of n images. */
spade_shape spade_value_shape(const spade_value *value, int64_t n);
bool spade_same_dims(const spade_shape *a, const spade_shape *b);
/* Dims and layout, for every batch: what all pictures have in common is no value of theirs. */
bool spade_same_shape(const spade_value *a, const spade_value *b);

/* ---- while the network is imported: its arrays grow. Index of the new entry, -1: out of memory. */
int spade_network_add_value(spade_network *network, const spade_value *value);
/* What the node owns is the network's afterwards. */
int spade_network_add_node(spade_network *network, const spade_node *node);
int spade_network_add_layer(spade_network *network, const spade_layer *layer); /* weights may be NULL, until: */
/* The weights of a layer, which the network owns afterwards; measured. */
void spade_network_set_weights(spade_network *network, int layer, float *weights);
/* The node's own copy of these value numbers; false: out of memory. */
bool spade_node_connect(spade_node *node, const int *inputs, int input_count, const int *outputs, int output_count);
/* Free what a node owns. */
void spade_node_release(spade_context *context, spade_node *node);

#endif
