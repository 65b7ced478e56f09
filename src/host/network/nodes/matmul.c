/* matmul.c - y = a b, of two activations; leading axes are equal or repeated. d(a) = dy b^T, d(b) = a^T dy. */
#include "network/node_class.h"

static unsigned gradient_keeps(const spade_node *node)
{
    (void)node;
    return SPADE_KEEP_INPUT_0 | SPADE_KEEP_INPUT_1;
}

static void forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_MATMUL,
                           .a = spade_input_shape(s, 0),
                           .b = spade_input_shape(s, 1),
                           .y = spade_output_shape(s)};
}

/* The input's matrices, as many as the output has. */
static void gradient_shape(const spade_node_shapes *s, int input, spade_shape *out)
{
    const spade_shape own = spade_input_shape(s, input);
    *out = spade_output_shape(s);
    out->dims[out->rank - 2] = own.dims[own.rank - 2];
    out->dims[out->rank - 1] = own.dims[own.rank - 1];
}

static void gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    const spade_shape dy = spade_output_shape(s), other = spade_input_shape(s, 1 - input);
    *out = (spade_op_desc){.kind = SPADE_OP_MATMUL,
                           .a = input == 0 ? dy : other,
                           .b = input == 0 ? other : dy,
                           .transpose_a = input == 1,
                           .transpose_b = input == 0};
    gradient_shape(s, input, &out->y);
}

static void bind(const spade_node_data *data, spade_op_args *args)
{
    args->a = spade_input_data(data, 0);
    args->b = spade_input_data(data, 1);
}

static void bind_gradient(const spade_node_data *data, int input, const float *dy, spade_op_args *args)
{
    args->a = input == 0 ? dy : spade_input_data(data, 0);
    args->b = input == 0 ? spade_input_data(data, 1) : dy;
}

const spade_node_class spade_class_matmul = {.name = "matrix product",
                                             .layout = SPADE_LAYOUT_ROW_MAJOR,
                                             .gradient_keeps = gradient_keeps,
                                             .forward = forward,
                                             .gradient = gradient,
                                             .bind = bind,
                                             .bind_gradient = bind_gradient,
                                             .gradient_shape = gradient_shape};
