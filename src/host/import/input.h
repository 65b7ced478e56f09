/*
 * input.h - the graph's input: its shape, and what stands between it and the network. A network that takes [N, H, W, C], as
 * TensorFlow writes them, begins with a Transpose to [N, C, H, W]; one that takes 8-bit values begins with a Cast.
 * Neither is computed: what goes in is float32 [N, C, H, W].
 */
#ifndef SPADE_IMPORT_INPUT_H
#define SPADE_IMPORT_INPUT_H

#include "import/import.h"

/* The value of the graph's real input, bound to its name. Names are not checked yet. */
spade_status spade_input_bind(spade_import *import, const onnx_value *input);
/* Does the node only bring the input into form? Then it is lowered to nothing by spade_input_pass(). */
bool spade_input_is_form(const spade_import *import, int node);
spade_status spade_input_pass(spade_import *import, int node);

#endif
