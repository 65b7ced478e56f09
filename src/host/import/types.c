/* types.c - what weights have to be; and their copy, which checks them on the way. */
#include <math.h>

#include "import/import.h"

/* Numbers that are copied at a time: the file's pages are given back behind each piece, so that a large weight is not in
 * memory twice. */
enum { PIECE = 1 << 22 };

static spade_status refuse(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, int64_t element)
{
    return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                             "\"%.100s\" holds %s (element %lld of %lld); its training went wrong, or its conversion",
                             tensor->name && *tensor->name ? tensor->name : "its constant",
                             isnan(onnx_tensor_float(tensor, element)) ? "NaN, which is no number"
                                                                       : "an infinite number",
                             (long long)element, (long long)tensor->count);
}

spade_status spade_require_finite(spade_import *import, const onnx_node *node, const onnx_tensor *tensor)
{
    if (tensor->type != ONNX_FLOAT || !tensor->bytes) { return SPADE_OK; }
    for (int64_t i = 0; i < tensor->count; i++) {
        if (!isfinite(onnx_tensor_float(tensor, i))) { return refuse(import, node, tensor, i); }
    }
    return SPADE_OK;
}

/* The first of n numbers that is not finite, or n. */
static int64_t first_not_finite(const float *numbers, int64_t n)
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
    const char *from = tensor->bytes;
    void *copy;
    *out = NULL;
    SPADE_TRY(spade_require_float(import, node, tensor));
    const size_t bytes = (size_t)tensor->count * sizeof(float);
    spade_status status = spade_alloc(import->context, bytes, "the network's weights", &copy);
    if (status != SPADE_OK) { return spade_fail_in(import->context, status, "%.200s", import->onnx->path); }
    for (int64_t first = 0; first < tensor->count; first += PIECE) {
        const int64_t n = tensor->count - first < PIECE ? tensor->count - first : PIECE;
        float *to = (float *)copy + first;
        memcpy(to, from + first * (int64_t)sizeof *to, (size_t)n * sizeof *to);
        const int64_t found = first_not_finite(to, n);
        if (found < n) {
            spade_free_bytes(import->context, copy, bytes);
            return refuse(import, node, tensor, first + found);
        }
        onnx_drop_pages(import->onnx, from + first * (int64_t)sizeof *to, (size_t)n * sizeof *to);
    }
    *out = copy;
    return SPADE_OK;
}
