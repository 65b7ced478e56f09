/* softmax.c - y = softmax(x) along an axis. dx = y * (dy - sum(y * dy)). */
#include "network/node_class.h"

static unsigned gradient_keeps(const spade_node *node)
{
    (void)node;
    return SPADE_KEEP_OUTPUT;
}

static void forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_SOFTMAX,
                           .a = spade_input_shape(s, 0),
                           .y = spade_output_shape(s),
                           .axis = s->node->softmax.axis};
}

static void gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    (void)input;
    forward(s, out);
    out->kind = SPADE_OP_SOFTMAX_BACKWARD;
}

static void bind(const spade_node_data *data, spade_op_args *args)
{
    args->a = spade_input_data(data, 0);
}

static void bind_gradient(const spade_node_data *data, int input, const float *dy, spade_op_args *args)
{
    (void)input;
    args->dy = dy;
    args->y = spade_output_data(data);
}

const spade_node_class spade_class_softmax = {.name = "softmax",
                                              .layout = SPADE_LAYOUT_ROW_MAJOR,
                                              .gradient_keeps = gradient_keeps,
                                              .forward = forward,
                                              .gradient = gradient,
                                              .bind = bind,
                                              .bind_gradient = bind_gradient};
