/*
 * floats.c - tensors of float16, bfloat16 and float64: computed in float32, into which they are converted once, and written
 * in the type that the file has. Rounding is to nearest, halves to even.
 */
#include <math.h>

#include "onnx/floats.h"

static bool is_other_float(int type)
{
    return type == ONNX_FLOAT16 || type == ONNX_BFLOAT16 || type == ONNX_DOUBLE;
}

/* ---- one way */
enum { MOST_WIDE = 1 << 16 }; /* elements that are kept in memory as they were: more are weights, not sizes */

static spade_status convert(spade_context *context, onnx_tensor *tensor)
{
    void *memory;
    const size_t bytes = (size_t)tensor->count * sizeof(float);
    SPADE_TRY(spade_alloc(context, bytes, "the network's weights in float32", &memory));
    float *values = memory;
    for (int64_t i = 0; i < tensor->count; i++) { values[i] = onnx_tensor_float(tensor, i); }
    const bool keeps = tensor->type == ONNX_DOUBLE && (!tensor->owned || tensor->count <= MOST_WIDE);
    if (keeps) {
        tensor->wide = tensor->bytes;
        tensor->wide_owned = tensor->owned;
    } else if (tensor->owned) {
        spade_free_bytes(context, (void *)(uintptr_t)tensor->bytes, tensor->size);
    }
    tensor->stored_type = tensor->type;
    tensor->type = ONNX_FLOAT;
    tensor->bytes = memory;
    tensor->size = bytes;
    tensor->owned = true;
    return SPADE_OK;
}

static spade_status convert_counted(spade_context *context, onnx_tensor *tensor, int counts[ONNX_BFLOAT16 + 1])
{
    if (!is_other_float(tensor->type) || !tensor->bytes || !tensor->count) { return SPADE_OK; }
    counts[tensor->type]++;
    return convert(context, tensor);
}

spade_status onnx_convert_floats(spade_context *context, onnx_model *model)
{
    int counts[ONNX_BFLOAT16 + 1] = {0};
    spade_status status = SPADE_OK;
    for (int i = 0; i < model->initializer_count && status == SPADE_OK; i++) {
        status = convert_counted(context, &model->initializers[i], counts);
    }
    for (int i = 0; i < model->node_count; i++) {
        for (int k = 0; k < model->nodes[i].attribute_count && status == SPADE_OK; k++) {
            onnx_tensor *tensor = model->nodes[i].attributes[k].tensor;
            if (tensor) { status = convert_counted(context, tensor, counts); }
        }
    }
    if (status != SPADE_OK) { return spade_fail_in(context, status, "%.200s", model->path); }
    for (int type = 0; type <= ONNX_BFLOAT16; type++) {
        if (!counts[type]) { continue; }
        model->converted |= 1u << type;
        spade_log(context, SPADE_LOG_INFO, "%.200s: %d tensors are %s; they are computed in float32", model->path,
                  counts[type], onnx_type_name(type));
    }
    return SPADE_OK;
}

/* ---- and the other */

/* The upper half of a float, rounded: bfloat16. */
static uint16_t to_bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) { return (uint16_t)(bits >> 16 | 64); }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* IEEE 754 binary16. */
static uint16_t to_float16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const float size = fabsf(value);
    if (isnan(value)) { return sign | 0x7e00; }
    if (size >= 65520.0f) { return sign | 0x7c00; } /* halfway between the largest number and the next */
    if (size < 0x1p-14f) {                          /* below the normal numbers steps are 2^-24 */
        return sign | (uint16_t)lrintf(size * 0x1p24f);
    }
    const uint32_t rounded = (bits & 0x7fffffff) + 0xfff + (bits >> 13 & 1);
    return sign | (uint16_t)((rounded >> 13) - (112 << 10));
}

size_t onnx_store_floats(int type, const float *values, int64_t count, void *out)
{
    uint16_t *halves = out;
    double *doubles = out;
    if (!out) { return (size_t)count * onnx_type_size(type); }
    for (int64_t i = 0; i < count; i++) {
        if (type == ONNX_DOUBLE) { doubles[i] = (double)values[i]; }
        if (type == ONNX_FLOAT16) { halves[i] = to_float16(values[i]); }
        if (type == ONNX_BFLOAT16) { halves[i] = to_bfloat16(values[i]); }
    }
    return (size_t)count * onnx_type_size(type);
}
