/*
 * node_class.h - all that layout, fusion, plans, forward pass and gradient know of a kind of node: one class a kind, in
 * nodes/, one file a family. A new kind is a row of SPADE_NODE_KINDS (network.h) and a class.
 *
 * A class describes; the engine plans and runs. Pointwise kinds (every element of the result depends on one element of each
 * input) describe themselves as steps, so that the engine can run neighbours in one operation. The others name a backend
 * operation and what its arguments are.
 */
#ifndef SPADE_NETWORK_NODE_CLASS_H
#define SPADE_NETWORK_NODE_CLASS_H

#include "network/network.h"

/* The layout in which a node reads its inputs and writes its output. */
typedef enum spade_layout_rule {
    SPADE_LAYOUT_ROW_MAJOR,
    SPADE_LAYOUT_CHANNELS_LAST,        /* rank 4 */
    SPADE_LAYOUT_IMAGES_CHANNELS_LAST, /* channels last where the values have rank 4, else row-major */
    SPADE_LAYOUT_FOLLOWS_INPUTS,       /* channels last as soon as one input is */
    SPADE_LAYOUT_KEEPS_ORDER,          /* a permutation: where its numbers stay where they are, else row-major */
} spade_layout_rule;

/* Values of the forward pass that are to be there when relevance goes back through the node. */
typedef enum spade_keep {
    SPADE_KEEP_INPUT_0 = 1,
    SPADE_KEEP_INPUT_1 = 2,
    SPADE_KEEP_INPUTS = 0xff, /* all; bit k is input k, and bit 7 stands for every input from number 7 on */
    SPADE_KEEP_OUTPUT = 0x100,
    SPADE_KEEP_SAVED = 0x200 /* what the operation itself notes for its backward (arguments of maxima) */
} spade_keep;

/* A node's shapes for a batch. */
typedef struct spade_node_shapes {
    const spade_network *network;
    const spade_node *node;
    int64_t batch;
} spade_node_shapes;
spade_shape spade_input_shape(const spade_node_shapes *shapes, int input);
spade_shape spade_output_shape(const spade_node_shapes *shapes);
/* One number for each channel of a value of this shape: [C, 1, ...]. */
spade_shape spade_channel_shape(const spade_shape *shape);

/* What a pointwise node does with the value that runs through it. Its operand: none, or another input of the node, its
 * output (gradients), or one of its parameters, which holds a number for each channel. */
typedef enum spade_operand_source {
    SPADE_OPERAND_NONE,
    SPADE_OPERAND_INPUT,
    SPADE_OPERAND_OUTPUT,
    SPADE_OPERAND_PARAMETER
} spade_operand_source;
typedef struct spade_node_step {
    spade_pointwise_kind kind;
    spade_function function; /* FUNCTION, DERIVATIVE */
    float alpha, beta;       /* of the function */
    spade_operand_source source;
    int index; /* of the input, of the parameter */
} spade_node_step;
enum { SPADE_NODE_MAX_STEPS = 2 };

/* Where a node's values are on the device while it runs; the engine fills it in. */
typedef struct spade_node_data {
    const spade_node *node;
    const float *(*value)(const void *engine, int value); /* of a value of the network; constants too */
    const float *(*parameter)(const void *engine, const spade_node *node, int parameter);  /* NULL: there is none */
    spade_sparse_rows (*map)(const void *engine, const spade_node *node, bool transposed); /* AXIS_MAP */
    const void *engine;
} spade_node_data;
static inline const float *spade_input_data(const spade_node_data *data, int input)
{
    return data->value(data->engine, data->node->inputs[input]);
}
static inline const float *spade_output_data(const spade_node_data *data)
{
    return data->value(data->engine, data->node->outputs[0]);
}
static inline const float *spade_parameter_data(const spade_node_data *data, int parameter)
{
    return data->parameter(data->engine, data->node, parameter);
}

static inline spade_sparse_rows spade_map_data(const spade_node_data *data, bool transposed)
{
    return data->map(data->engine, data->node, transposed);
}

typedef struct spade_node_class {
    const char *name; /* "max pooling", for messages */
    spade_layout_rule layout;
    bool reads_any_layout; /* each input in the one that it has, whatever the output's is */
    /* spade_keep bits that the gradient reads: a relu's is its output, a product's are its inputs. NULL: none. */
    unsigned (*gradient_keeps)(const spade_node *node);

    /*
     * Pointwise kinds. steps: what makes the output of the value of input `running`; returns how many, at most
     * SPADE_NODE_MAX_STEPS. gradient_steps: what makes d(input) of d(output), where the shapes are the output's (the engine
     * sums over what was broadcast); 0: it is d(output).
     */
    int (*steps)(const spade_node *node, int running, spade_node_step *steps);
    int (*gradient_steps)(const spade_node *node, int input, spade_node_step *steps);

    /*
     * Other kinds: the backend's operation, and its arguments but for packed weights, bias, saved maxima, workspace and
     * result. Of kinds that write their output in parts, one operation an input in the order of the inputs, forward_part and
     * bind_part. Neither forward nor forward_part: the output is the input's memory, and so are gradients. The gradient writes the shape of `y`
     * in its description (of `a`, for backward kinds): the input's, before the engine sums over what was broadcast.
     */
    void (*forward)(const spade_node_shapes *shapes, spade_op_desc *out);
    void (*forward_part)(const spade_node_shapes *shapes, int input, spade_op_desc *out);
    void (*gradient)(const spade_node_shapes *shapes, int input, spade_op_desc *out);
    void (*bind)(const spade_node_data *data, spade_op_args *args);
    void (*bind_part)(const spade_node_data *data, int input, spade_op_args *args);
    void (*bind_gradient)(const spade_node_data *data, int input, const float *dy, spade_op_args *args);
    /* Shape that the gradient of an input is written in; NULL: the output's for pointwise kinds, else the input's. */
    void (*gradient_shape)(const spade_node_shapes *shapes, int input, spade_shape *out);
} spade_node_class;

const spade_node_class *spade_node_class_of(const spade_node *node);
static inline bool spade_node_is_pointwise(const spade_node *node)
{
    return spade_node_class_of(node)->steps != NULL;
}
/* Does the node hand on its input's memory? */
static inline bool spade_node_is_alias(const spade_node *node)
{
    const spade_node_class *class = spade_node_class_of(node);
    return !class->steps && !class->forward && !class->forward_part;
}

/* nodes/ */
#define SPADE_NODE_CLASS(kind, class) extern const spade_node_class spade_class_##class;
SPADE_NODE_KINDS(SPADE_NODE_CLASS)
#undef SPADE_NODE_CLASS

#endif
