/* model.h - whole networks made by hand: attributes, constants of chosen numbers, graphs between a picture and
 * its classes. */
#ifndef SPADE_TESTS_HELPER_GRAPH_H
#define SPADE_TESTS_HELPER_GRAPH_H

#include "support/wire.h"

/* ---- attributes, appended to a node */
wire with_int(wire node, const char *name, int64_t value);
wire with_ints(wire node, const char *name, int count, const int64_t *values);
wire with_float(wire node, const char *name, float value);
wire with_text(wire node, const char *name, const char *value);

/* ---- constants */
wire tensor_of(const char *name, int rank, const int64_t *dims, const float *values);
wire tensor_int64(const char *name, int count, const int64_t *values);
/* Numbers in (-1, 1) that look random and are always the same. */
wire tensor_random(const char *name, int rank, const int64_t *dims, uint32_t seed);
float pseudo_random(uint32_t seed, uint32_t index);

/* ---- a graph from "x" [-1, C, H, W] to "y" [-1, classes], into which nodes (field 1) and initializers (field 5) are
 * put */
wire graph_of(int64_t channels, int64_t height, int64_t width, int64_t classes);
wire graph_of_batch(int64_t batch, int64_t channels, int64_t height, int64_t width, int64_t classes); /* -1: open */
void put_node(wire *network, wire node);
void put_tensor(wire *network, wire tensor);
wire model_with_opset(wire network, int64_t opset);

#endif
