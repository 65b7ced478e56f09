/* shape.c - nodes that move no number: the same memory under another shape. */
#include "network/node_class.h"

const spade_node_class spade_class_reshape = {.name = "reshape", .layout = SPADE_LAYOUT_ROW_MAJOR};
