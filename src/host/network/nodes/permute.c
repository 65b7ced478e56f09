/* permute.c - axes in another order; the gradient puts them back. */
#include "network/node_class.h"

static void forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_PERMUTE, .a = spade_input_shape(s, 0), .y = spade_output_shape(s)};
    for (int k = 0; k < out->y.rank; k++) { out->axes[k] = s->node->permute.axes[k]; }
}

static void gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_PERMUTE, .a = spade_output_shape(s), .y = spade_input_shape(s, input)};
    for (int k = 0; k < out->a.rank; k++) { out->axes[s->node->permute.axes[k]] = k; }
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

const spade_node_class spade_class_permute = {.name = "permutation",
                                              .layout = SPADE_LAYOUT_KEEPS_ORDER,
                                              .reads_any_layout = true,
                                              .forward = forward,
                                              .gradient = gradient,
                                              .bind = bind,
                                              .bind_gradient = bind_gradient};
