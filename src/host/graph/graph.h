/*
 * graph.h - the network as a small set of node kinds; its plan for a batch; forward with taps; backward by a table of
 * rules.
 *
 * ONNX operators are lowered to the node kinds below (lower.c); nothing above knows ONNX. Every activation is a value;
 * its dims are those of one image, `batch_axis` says which of them grows with the batch. Rank-4 image values are kept
 * channels-last where every user can take that (layout.c inserts SPADE_NODE_CONVERT_LAYOUT nodes).
 */
#ifndef SPADE_GRAPH_H
#define SPADE_GRAPH_H

#include "backend/backend.h"
#include "io/onnx.h"
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

typedef struct spade_graph {
    spade_context *context; /* whose budget the weights are charged to */
    spade_value *values;
    int value_count;
    spade_node *nodes; /* topological order */
    int node_count;
    spade_layer *layers; /* graph order */
    int layer_count;
    int input, output;         /* values: [1, C, H, W] row-major and [1, classes] */
    struct spade_ready *ready; /* what stays on the device; ready.h */
} spade_graph;

struct spade_model {
    spade_context *context;
    char *path;
    onnx_model *onnx;
    spade_graph graph;
    char **class_names; /* [classes] or NULL */
};

/* ---- lower.c, shape.c, layout.c: from an ONNX file to the graph */
spade_status spade_graph_build(spade_context *context, const onnx_model *onnx, const spade_model_options *options,
                               spade_graph *out);
void spade_graph_clear(spade_graph *graph);
int64_t spade_count_zeros(const float *weights, int64_t n);
/* The shape of a value for a batch of n images. */
spade_shape spade_value_shape(const spade_value *value, int64_t n);

/* ---- weights.c: weights packed for the device, dense or with a trace over them. One per (network, trace), shared by
 * its plans. */
typedef struct spade_weights spade_weights;
typedef struct spade_weight_overlay spade_weight_overlay; /* overlay.h */
/* overlay (graph/overlay.h; NULL: none): the layers' weights that take the place of the network's own. Borrowed while
 * it lives. */
spade_status spade_weights_create(spade_context *context, const spade_graph *graph, spade_weight_overlay *overlay,
                                  spade_weights **out);
void spade_weights_destroy(spade_weights *weights); /* NULL is fine */

/* ---- plan.c: memory plan of a network for one batch size: liveness, offsets in one arena, the largest workspace */
typedef struct spade_plan spade_plan;
typedef enum spade_plan_flags {
    SPADE_PLAN_FORWARD =
        0, /* logits only: activations are dropped as soon as they are used; normalisation and relu fused */
    SPADE_PLAN_BACKWARD = 1, /* keeps what the backward rules read */
    SPADE_PLAN_TAPS = 2      /* forward for taps: the input of every layer is seen by the tap */
} spade_plan_flags;
spade_status spade_plan_create(spade_context *context, const spade_graph *graph, int64_t batch, unsigned flags,
                               spade_plan **out);
void spade_plan_destroy(spade_plan *plan); /* NULL is fine */
uint64_t spade_plan_bytes(const spade_plan *plan);
int64_t spade_plan_batch(const spade_plan *plan);
/* Where a pass takes its input from: device memory of this shape, [batch, C, H, W]. What is put there lasts until the
 * next pass. */
float *spade_plan_input(const spade_plan *plan, spade_shape *shape /* or NULL */);
/* What the last forward pass left: host [batch, classes]. */
spade_status spade_plan_read_output(const spade_plan *plan, float *output);

/* The output [batch, classes], after a forward pass. With SPADE_PLAN_BACKWARD also where the walk back takes its seed
 * from, d(output), and where it leaves its result, d(input): all device memory, row-major. */
const float *spade_plan_output(const spade_plan *plan);
float *spade_plan_seed(const spade_plan *plan);
const float *spade_plan_input_gradient(const spade_plan *plan);

/* Called before a layer's node runs: x is its input on the device, in its planned layout, for the plan's batch. */
typedef spade_status (*spade_tap_fn)(void *user, int layer, const spade_shape *shape, const float *x);

/* ---- run.c. input: host [batch, C, H, W] row-major; NULL: it is in spade_plan_input already. output (may be NULL):
 * host [batch, classes]. wanted: tap only these layers (bool per layer); nodes after the last wanted one are skipped
 * when output is NULL. */
spade_status spade_run_forward(spade_plan *plan, spade_weights *weights, const float *input, float *output,
                               spade_tap_fn tap, void *user, const bool *wanted);

/*
 * ---- backward.c: one graph walk, a table of rules per node kind. A rule turns the relevance (gradient, multiplier,
 * ...) of a node's output into that of its inputs, using the planned backward operations and the saved activations.
 * NULL: no rule, the method fails naming it.
 */
typedef struct spade_backward
    spade_backward; /* state of one walk: accessors in graph/backward.h for rules that live in interpret/ */
typedef spade_status (*spade_rule_fn)(spade_backward *walk, const spade_node *node, int node_index);
typedef struct spade_rules {
    const char *name;
    spade_rule_fn rule[SPADE_NODE_KIND_COUNT];
} spade_rules;
extern const spade_rules spade_rules_gradient;
/* After spade_run_forward with the same plan (SPADE_PLAN_BACKWARD): from spade_plan_seed to spade_plan_input_gradient.
 * Enqueued only. */
spade_status spade_walk_back(spade_plan *plan, spade_weights *weights, const spade_rules *rules);

#endif
