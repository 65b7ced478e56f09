/* floats.h - tensors of other float types than float32. */
#ifndef SPADE_ONNX_FLOATS_H
#define SPADE_ONNX_FLOATS_H

#include "onnx/reader.h"

/* Numbers in the type that a tensor is stored in -> out; NULL: nothing is written. Returns their bytes. type: FLOAT16,
 * BFLOAT16 or DOUBLE. */
size_t onnx_store_floats(int type, const float *values, int64_t count, void *out);

#endif
