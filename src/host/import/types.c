/* types.c - what weights have to be; and their copy, which checks them on the way. */
#include <math.h>

#include "import/import.h"

spade_status spade_refuse_number(spade_import *import, const onnx_node *node, const onnx_tensor *tensor,
                                 int64_t element, float number)
{
    return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                             "\"%.100s\" holds %s (element %lld of %lld); its training went wrong, or its conversion",
                             tensor->name && *tensor->name ? tensor->name : "its constant",
                             isnan(number) ? "NaN, which is no number" : "an infinite number", (long long)element,
                             (long long)tensor->count);
}

spade_status spade_require_finite(spade_import *import, const onnx_node *node, const onnx_tensor *tensor)
{
    if (tensor->type != ONNX_FLOAT || !tensor->bytes) { return SPADE_OK; }
    for (int64_t i = 0; i < tensor->count; i++) {
        const float number = onnx_tensor_float(tensor, i);
        if (!isfinite(number)) { return spade_refuse_number(import, node, tensor, i, number); }
    }
    return SPADE_OK;
}

int64_t spade_first_not_finite(const float *numbers, int64_t n)
{
    const uint32_t exponent = 0x7f800000; /* all of its bits are set in an infinite number and in NaN alone */
    uint32_t found = 0;
    for (int64_t i = 0; i < n; i++) { /* no branch: weights are finite */
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        found |= (bits & exponent) == exponent;
    }
    int64_t i = found ? 0 : n;
    while (i < n && isfinite(numbers[i])) { i++; }
    return i;
}

spade_status spade_copy_floats(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, float **out)
{
    void *copy;
    *out = NULL;
    SPADE_TRY(spade_require_float(import, node, tensor));
    const size_t bytes = (size_t)tensor->count * sizeof(float);
    spade_status status = spade_alloc(import->context, bytes, "the network's weights", &copy);
    if (status != SPADE_OK) { return spade_fail_in(import->context, status, "%.200s", import->onnx->path); }
    memcpy(copy, tensor->bytes, bytes);
    const int64_t found = spade_first_not_finite(copy, tensor->count);
    if (found < tensor->count) {
        const float number = ((float *)copy)[found];
        spade_free_bytes(import->context, copy, bytes);
        return spade_refuse_number(import, node, tensor, found, number);
    }
    *out = copy;
    return SPADE_OK;
}
