/* types.c - what weights have to be. */
#include <math.h>

#include "import/import.h"

static spade_status check(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, bool infinite)
{
    if (tensor->type != ONNX_FLOAT || !tensor->bytes) { return SPADE_OK; }
    for (int64_t i = 0; i < tensor->count; i++) {
        const float value = onnx_tensor_float(tensor, i);
        if (isfinite(value) || (infinite && !isnan(value))) { continue; }
        return spade_import_fail(
            import, node, SPADE_ERROR_INPUT,
            "\"%.100s\" holds %s (element %lld of %lld); its training went wrong, or its conversion",
            tensor->name && *tensor->name ? tensor->name : "its constant",
            isnan(value) ? "NaN, which is no number" : "an infinite number", (long long)i, (long long)tensor->count);
    }
    return SPADE_OK;
}

spade_status spade_require_finite(spade_import *import, const onnx_node *node, const onnx_tensor *tensor)
{
    return check(import, node, tensor, false);
}

spade_status spade_require_numbers(spade_import *import, const onnx_node *node, const onnx_tensor *tensor)
{
    return check(import, node, tensor, true);
}
