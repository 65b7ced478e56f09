/* reduce.c - sums, means and maxima over axes. */
#include "network/node_class.h"

static void bind(const spade_node_data *data, spade_op_args *args)
{
    args->a = spade_input_data(data, 0);
}

/* ---- y = (sum of x) / divisor; dx = dy / divisor, repeated */

static void sum_forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_REDUCE_SUM,
                           .a = spade_input_shape(s, 0),
                           .y = spade_output_shape(s),
                           .divisor = s->node->reduce_sum.divisor};
}

static void sum_gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_POINTWISE,
                           .a = spade_output_shape(s),
                           .y = spade_input_shape(s, input),
                           .step_count = 1,
                           .steps = {{.kind = SPADE_POINTWISE_FUNCTION,
                                      .function = SPADE_AFFINE,
                                      .alpha = (float)(1 / s->node->reduce_sum.divisor)}}};
}

static void sum_bind_gradient(const spade_node_data *data, int input, const float *dy, spade_op_args *args)
{
    (void)data, (void)input;
    args->a = dy;
}

const spade_node_class spade_class_reduce_sum = {.name = "sum over axes",
                                                 .layout = SPADE_LAYOUT_FOLLOWS_INPUTS,
                                                 .reads_any_layout = true,
                                                 .forward = sum_forward,
                                                 .gradient = sum_gradient,
                                                 .bind = bind,
                                                 .bind_gradient = sum_bind_gradient};

/* ---- y = largest of x; dx = dy at the maximum, shared among equals (as PyTorch's amax) */

static unsigned max_keeps(const spade_node *node)
{
    (void)node;
    return SPADE_KEEP_INPUT_0 | SPADE_KEEP_OUTPUT;
}

static void max_forward(const spade_node_shapes *s, spade_op_desc *out)
{
    *out = (spade_op_desc){.kind = SPADE_OP_REDUCE_MAX, .a = spade_input_shape(s, 0), .y = spade_output_shape(s)};
}

static void max_gradient(const spade_node_shapes *s, int input, spade_op_desc *out)
{
    (void)input;
    max_forward(s, out);
    out->kind = SPADE_OP_REDUCE_MAX_BACKWARD;
}

static void max_bind_gradient(const spade_node_data *data, int input, const float *dy, spade_op_args *args)
{
    (void)input;
    bind(data, args);
    args->y = spade_output_data(data);
    args->dy = dy;
}

const spade_node_class spade_class_reduce_max = {.name = "maximum over axes",
                                                 .layout = SPADE_LAYOUT_FOLLOWS_INPUTS,
                                                 .reads_any_layout = true,
                                                 .gradient_keeps = max_keeps,
                                                 .forward = max_forward,
                                                 .gradient = max_gradient,
                                                 .bind = bind,
                                                 .bind_gradient = max_bind_gradient};
