/* convolution.c - y = convolution of x with a layer's weights, + bias. */
#include "network/node_class.h"

static void forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_CONVOLUTION,
                           .a = spade_input_shape(s, 0),
                           .y = spade_output_shape(s),
                           .window = s->node->convolution.window,
                           .groups = s->node->convolution.groups};
}

static void gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    (void)input;
    forward(s, out);
    out->kind = SPADE_OP_CONVOLUTION_BACKWARD;
}

static void bind(const spade_node_data *data, spade_op_args *args)
{
    args->a = spade_input_data(data, 0);
}

static void bind_gradient(const spade_node_data *data, int input, const float *dy, spade_op_args *args)
{
    (void)data, (void)input;
    args->dy = dy;
}

const spade_node_class spade_class_convolution = {.name = "convolution",
                                                  .layout = SPADE_LAYOUT_CHANNELS_LAST,
                                                  .forward = forward,
                                                  .gradient = gradient,
                                                  .bind = bind,
                                                  .bind_gradient = bind_gradient};
