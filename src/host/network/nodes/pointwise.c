/* pointwise.c - functions of one value, sums and products of two. */
#include "network/node_class.h"

/* ---- y = f(x) */

/* A relu's derivative follows from its output, which is positive where its input is; the others' from their input. */
static bool reads_output(const spade_node *node)
{
    return node->pointwise.function == SPADE_RELU;
}

static unsigned function_keeps(const spade_node *node)
{
    return reads_output(node) ? SPADE_KEEP_OUTPUT : SPADE_KEEP_INPUT_0;
}

static int function_steps(const spade_node *node, int running, spade_node_step *out)
{
    (void)running;
    out[0] = (spade_node_step){.kind = SPADE_POINTWISE_FUNCTION,
                               .function = node->pointwise.function,
                               .alpha = node->pointwise.alpha,
                               .beta = node->pointwise.beta};
    return 1;
}

static int function_gradient(const spade_node *node, int input, spade_node_step *out)
{
    out[0] = (spade_node_step){.kind = SPADE_POINTWISE_DERIVATIVE,
                               .function = node->pointwise.function,
                               .alpha = node->pointwise.alpha,
                               .beta = node->pointwise.beta,
                               .source = reads_output(node) ? SPADE_OPERAND_OUTPUT : SPADE_OPERAND_INPUT,
                               .index = input};
    return 1;
}

const spade_node_class spade_class_function = {.name = "elementwise function",
                                               .layout = SPADE_LAYOUT_FOLLOWS_INPUTS,
                                               .gradient_keeps = function_keeps,
                                               .steps = function_steps,
                                               .gradient_steps = function_gradient};

/* ---- y = a + b */

static int add_steps(const spade_node *node, int running, spade_node_step *out)
{
    (void)node;
    out[0] = (spade_node_step){.kind = SPADE_POINTWISE_ADD, .source = SPADE_OPERAND_INPUT, .index = 1 - running};
    return 1;
}

static int add_gradient(const spade_node *node, int input, spade_node_step *out)
{
    (void)node, (void)input, (void)out;
    return 0;
}

const spade_node_class spade_class_add = {
    .name = "addition", .layout = SPADE_LAYOUT_FOLLOWS_INPUTS, .steps = add_steps, .gradient_steps = add_gradient};

/* ---- y = a * b */

static unsigned mul_keeps(const spade_node *node)
{
    (void)node;
    return SPADE_KEEP_INPUT_0 | SPADE_KEEP_INPUT_1;
}

/* The product with the other input: forward of the value that runs, backward of d(output). */
static int mul_steps(const spade_node *node, int running, spade_node_step *out)
{
    (void)node;
    out[0] = (spade_node_step){.kind = SPADE_POINTWISE_MULTIPLY, .source = SPADE_OPERAND_INPUT, .index = 1 - running};
    return 1;
}

const spade_node_class spade_class_mul = {.name = "multiplication",
                                          .layout = SPADE_LAYOUT_FOLLOWS_INPUTS,
                                          .gradient_keeps = mul_keeps,
                                          .steps = mul_steps,
                                          .gradient_steps = mul_steps};
