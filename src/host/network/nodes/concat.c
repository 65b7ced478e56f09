/* concat.c - values one after another along an axis: each is copied into its part, and its gradient is that part. */
#include "network/node_class.h"

/* Where the input's part begins along the axis. */
static int64_t start_of(const spade_node_shapes *s, int input)
{
    int64_t start = 0;
    for (int k = 0; k < input; k++) { start += spade_input_shape(s, k).dims[s->node->concat.axis]; }
    return start;
}

static void forward_part(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_CONCAT,
                           .a = spade_input_shape(s, input),
                           .y = spade_output_shape(s),
                           .axis = s->node->concat.axis,
                           .start = start_of(s, input)};
}

/* The part of the output; an input that is repeated there has 1 where this has more. */
static void gradient_shape(const spade_node_shapes *s, int input, spade_shape *out)
{
    const spade_shape own = spade_input_shape(s, input);
    const int axis = s->node->concat.axis;
    *out = spade_output_shape(s);
    out->dims[axis] = own.dims[axis];
    out->layout = own.layout;
}

static void gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    forward_part(s, input, out);
    out->kind = SPADE_OP_CONCAT_BACKWARD;
    gradient_shape(s, input, &out->a);
}

static void bind_part(const spade_node_data *data, int input, spade_op_args *args)
{
    args->a = spade_input_data(data, input);
}

static void bind_gradient(const spade_node_data *data, int input, const float *dy, spade_op_args *args)
{
    (void)data, (void)input;
    args->dy = dy;
}

const spade_node_class spade_class_concat = {.name = "concatenation",
                                             .layout = SPADE_LAYOUT_FOLLOWS_INPUTS,
                                             .reads_any_layout = true,
                                             .forward_part = forward_part,
                                             .gradient = gradient,
                                             .bind_part = bind_part,
                                             .bind_gradient = bind_gradient,
                                             .gradient_shape = gradient_shape};
