/* axis_map.c - a sparse linear map along an axis; its gradient is the transposed map. */
#include "network/node_class.h"

static void forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_AXIS_MAP,
                           .a = spade_input_shape(s, 0),
                           .y = spade_output_shape(s),
                           .axis = s->node->axis_map.axis};
}

static void gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_AXIS_MAP,
                           .a = spade_output_shape(s),
                           .y = spade_input_shape(s, input),
                           .axis = s->node->axis_map.axis};
}

static void bind(const spade_node_data *data, spade_op_args *args)
{
    args->a = spade_input_data(data, 0);
    args->rows = spade_map_data(data, false);
}

static void bind_gradient(const spade_node_data *data, int input, const float *dy, spade_op_args *args)
{
    (void)input;
    args->a = dy;
    args->rows = spade_map_data(data, true);
}

const spade_node_class spade_class_axis_map = {.name = "map along an axis",
                                               .layout = SPADE_LAYOUT_FOLLOWS_INPUTS,
                                               .forward = forward,
                                               .gradient = gradient,
                                               .bind = bind,
                                               .bind_gradient = bind_gradient};
