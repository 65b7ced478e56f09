/* layout.c - from channels last to row-major, or back; the gradient goes the other way. */
#include "network/node_class.h"

static void forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_CONVERT_LAYOUT, .a = spade_input_shape(s, 0), .y = spade_output_shape(s)};
}

static void gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    *out =
        (spade_op_desc){.kind = SPADE_OP_CONVERT_LAYOUT, .a = spade_output_shape(s), .y = spade_input_shape(s, input)};
}

static void bind(const spade_node_data *data, spade_op_args *args)
{
    args->a = spade_input_data(data, 0);
}

static void bind_gradient(const spade_node_data *data, int input, const float *dy, spade_op_args *args)
{
    (void)data, (void)input;
    args->a = dy;
}

/* The conversion is made for a layout; layout.c of import/ sets it on the values. */
const spade_node_class spade_class_convert_layout = {.name = "layout conversion",
                                                     .layout = SPADE_LAYOUT_ROW_MAJOR,
                                                     .forward = forward,
                                                     .gradient = gradient,
                                                     .bind = bind,
                                                     .bind_gradient = bind_gradient};
