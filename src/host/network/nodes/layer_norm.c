/*
 * layer_norm.c - y = (x - mean) / sqrt(variance + epsilon) * scale + shift, over the last axes; RMSNorm without the mean.
 * The gradient reads x.
 */
#include "network/node_class.h"

static unsigned gradient_keeps(const spade_node *node)
{
    (void)node;
    return SPADE_KEEP_INPUT_0;
}

static void forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_LAYER_NORM,
                           .a = spade_input_shape(s, 0),
                           .y = spade_output_shape(s),
                           .axis = s->node->layer_norm.axis,
                           .epsilon = s->node->layer_norm.epsilon,
                           .root_mean_square = s->node->layer_norm.root_mean_square};
}

static void gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    (void)input;
    forward(s, out);
    out->kind = SPADE_OP_LAYER_NORM_BACKWARD;
}

static void bind(const spade_node_data *data, spade_op_args *args)
{
    args->a = spade_input_data(data, 0);
    args->operands[0] = spade_parameter_data(data, SPADE_SCALE);
    args->operands[1] = spade_parameter_data(data, SPADE_SHIFT);
}

static void bind_gradient(const spade_node_data *data, int input, const float *dy, spade_op_args *args)
{
    (void)input;
    bind(data, args);
    args->dy = dy;
}

const spade_node_class spade_class_layer_norm = {.name = "layer normalisation",
                                                 .layout = SPADE_LAYOUT_ROW_MAJOR,
                                                 .gradient_keeps = gradient_keeps,
                                                 .forward = forward,
                                                 .gradient = gradient,
                                                 .bind = bind,
                                                 .bind_gradient = bind_gradient};
