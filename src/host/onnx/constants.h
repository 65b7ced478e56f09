/*
 * constants.h - where the constants of a graph come from: an input name is followed through Identity nodes to an
 * initializer or a Constant node, and the uses of each are counted.
 */
#ifndef SPADE_ONNX_ORIGIN_H
#define SPADE_ONNX_ORIGIN_H

#include "onnx/onnx.h"

/* An origin is a number: i for initializer i, initializer_count + n for the Constant node n. */
enum { ONNX_NO_CONSTANT = -1 };

typedef struct onnx_origins {
    const onnx_model *model;
    onnx_index *outputs; /* names of node outputs, numbers of their nodes */
    int output_count;
    int *of_node; /* [node_count] what an Identity or Constant node gives */
    int *uses;    /* [initializer_count + node_count]: inputs of nodes (other than Identity) and graph outputs */
} onnx_origins;

spade_status onnx_origins_create(spade_context *context, const onnx_model *model, onnx_origins *out);
void onnx_origins_clear(onnx_origins *origins);
/* Origin of what the name holds, or ONNX_NO_CONSTANT. */
int onnx_origin(const onnx_origins *origins, const char *name);
/* The tensor of an origin; NULL for a Constant that has none (a scalar or list attribute). */
const onnx_tensor *onnx_origin_tensor(const onnx_origins *origins, int origin);
/* Does a node output, initializer or graph input have this name? */
bool onnx_name_taken(const onnx_origins *origins, const char *name);

#endif
