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
#include "spade/model.h"

/* Images of one micro-batch. Fixed: results depend on it in the last bits, so neither budget nor threads may change it.
 */
enum { SPADE_MICRO_BATCH = 8 };

typedef enum spade_node_kind {
    SPADE_NODE_CONVOLUTION, /* layer */
    SPADE_NODE_LINEAR,      /* layer: Gemm or MatMul with a constant weight */
    SPADE_NODE_MATMUL,      /* of two activations */
    SPADE_NODE_BATCH_NORM,  /* y = x * scale[c] + shift[c] */
    SPADE_NODE_UNARY,       /* relu, clip, sigmoid, ... */
    SPADE_NODE_SOFTMAX,
    SPADE_NODE_MAX_POOL,
    SPADE_NODE_AVERAGE_POOL, /* global: the window is the image */
    SPADE_NODE_ADD,          /* of two values; one may be a constant */
    SPADE_NODE_MUL,
    SPADE_NODE_RESHAPE, /* Flatten, Reshape: the same memory, row-major */
    SPADE_NODE_CONVERT_LAYOUT,
    SPADE_NODE_KIND_COUNT
} spade_node_kind;

const char *spade_node_kind_name(spade_node_kind kind);

typedef struct spade_value {
    char *name;
    spade_shape shape; /* of one image */
    int batch_axis;    /* dims[batch_axis] is multiplied by the batch; -1: a constant */
    int producer;      /* node, -1: the graph's input or a constant */
    float *constant;   /* owned data of a constant operand, or NULL */
} spade_value;

typedef struct spade_node {
    spade_node_kind kind;
    char *name; /* of the ONNX node it came from */
    int inputs[2], input_count;
    int output;
    int layer;           /* CONVOLUTION, LINEAR: index into layers; else -1 */
    spade_window window; /* CONVOLUTION, *_POOL */
    int64_t groups;
    bool count_padding;      /* AVERAGE_POOL */
    spade_function function; /* UNARY */
    float alpha, beta;       /* UNARY; LINEAR: alpha is Gemm's factor of the product (not in the layer's weights) */
    int axis;                /* SOFTMAX */
    float *bias;             /* CONVOLUTION, LINEAR: [rows] or NULL; owned */
    float *scale, *shift;    /* BATCH_NORM: [C]; owned */
} spade_node;

typedef struct spade_layer {
    char *name;
    int node; /* in nodes */
    bool convolution, prunable;
    int64_t weight[4]; /* [out, in/groups, kh, kw] */
    int64_t groups, rows, columns;
    float *weights;            /* [rows, columns]; owned (copied out of the file once, aligned) */
    int64_t zeros;             /* of the weights */
    int onnx_node, onnx_input; /* where the weight stands in the file */
    bool transposed;           /* the file holds it as [columns, rows] */
} spade_layer;

typedef struct spade_network {
    spade_context *context; /* whose budget the weights are charged to */
    spade_value *values;
    int value_count;
    spade_node *nodes; /* topological order */
    int node_count;
    spade_layer *layers; /* graph order */
    int layer_count;
    int input, output;         /* values: [1, C, H, W] row-major and [1, classes] */
    struct spade_cache *cache; /* what stays on the device; engine/cache.h */
} spade_network;

void spade_network_clear(spade_network *network);
int64_t spade_count_zeros(const float *weights, int64_t n);
/* The shape of a value for a batch of n images. */
spade_shape spade_value_shape(const spade_value *value, int64_t n);

/* ---- while the network is imported: its arrays grow. Index of the new entry, -1: out of memory. */
int spade_network_add_value(spade_network *network, const spade_value *value);
int spade_network_add_node(spade_network *network, const spade_node *node);
int spade_network_add_layer(spade_network *network, const spade_layer *layer);
/* Free what a node owns; channels: length of scale and shift. */
void spade_node_release(spade_network *network, spade_node *node, int64_t channels);

#endif
