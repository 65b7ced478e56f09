/* pool.c - the largest number, or the mean, of each window. */
#include "network/node_class.h"

static unsigned max_keeps(const spade_node *node)
{
    (void)node;
    return SPADE_KEEP_SAVED;
}

static void forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_POOL,
                           .a = spade_input_shape(s, 0),
                           .y = spade_output_shape(s),
                           .window = s->node->pool.window,
                           .pool_max = s->node->kind == SPADE_NODE_MAX_POOL,
                           .count_padding = s->node->pool.count_padding};
}

static void gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    (void)input;
    forward(s, out);
    out->kind = SPADE_OP_POOL_BACKWARD;
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

const spade_node_class spade_class_max_pool = {.name = "max pooling",
                                               .layout = SPADE_LAYOUT_CHANNELS_LAST,
                                               .gradient_keeps = max_keeps,
                                               .forward = forward,
                                               .gradient = gradient,
                                               .bind = bind,
                                               .bind_gradient = bind_gradient};

const spade_node_class spade_class_average_pool = {.name = "average pooling",
                                                   .layout = SPADE_LAYOUT_CHANNELS_LAST,
                                                   .forward = forward,
                                                   .gradient = gradient,
                                                   .bind = bind,
                                                   .bind_gradient = bind_gradient};
