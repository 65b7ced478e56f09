/* norm.c - normalisation: y = x * scale[c] + shift[c] (BatchNormalization, its statistics folded at import). */
#include "network/node_class.h"

static int steps(const spade_node *node, int running, spade_node_step *out)
{
    (void)node, (void)running;
    out[0] =
        (spade_node_step){.kind = SPADE_POINTWISE_MULTIPLY, .source = SPADE_OPERAND_PARAMETER, .index = SPADE_SCALE};
    out[1] = (spade_node_step){.kind = SPADE_POINTWISE_ADD, .source = SPADE_OPERAND_PARAMETER, .index = SPADE_SHIFT};
    return 2;
}

static int gradient_steps(const spade_node *node, int input, spade_node_step *out)
{
    (void)node, (void)input;
    out[0] =
        (spade_node_step){.kind = SPADE_POINTWISE_MULTIPLY, .source = SPADE_OPERAND_PARAMETER, .index = SPADE_SCALE};
    return 1;
}

const spade_node_class spade_class_batch_norm = {.name = "batch normalisation",
                                                 .layout = SPADE_LAYOUT_IMAGES_CHANNELS_LAST,
                                                 .steps = steps,
                                                 .gradient_steps = gradient_steps};
