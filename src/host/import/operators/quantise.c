/*
 * quantise.c - QuantizeLinear and DequantizeLinear, the form in which tools store networks of small integers. They are
 * computed dequantised: weights are the numbers that the integers stand for, rounding between layers is left out. The
 * limits of the integers are kept, but for the network's output: tools leave a Relu out where the smallest integer stands for
 * zero.
 */
#include <math.h>

#include "import/build.h"
#include "import/head.h"
#include "import/operators/operators.h"

/* How many elements lie in a row along the axis that the scale belongs to; one number for all: the whole tensor. */
typedef struct scales {
    const onnx_tensor *scale, *zero; /* zero: NULL: 0 */
    int64_t count, inner;
} scales;

static spade_status read_scales(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, scales *out)
{
    int64_t axis;
    *out = (scales){.inner = 1};
    SPADE_TRY(spade_constant_get(import, node, 1, &out->scale));
    SPADE_TRY(spade_require_float(import, node, out->scale));
    SPADE_TRY(spade_require_finite(import, node, out->scale));
    for (int64_t i = 0; i < out->scale->count; i++) {
        if (onnx_tensor_float(out->scale, i) > 0) { continue; }
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "scale %lld is %g, which has to be above 0",
                                 (long long)i, (double)onnx_tensor_float(out->scale, i));
    }
    if (spade_has_input(node, 2)) { SPADE_TRY(spade_constant_get(import, node, 2, &out->zero)); }
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", 1, &axis)));
    out->count = out->scale->count;
    axis += axis < 0 ? tensor->rank : 0;
    if (out->count == 1) { return SPADE_OK; }
    if (out->scale->rank != 1 || axis < 0 || axis >= tensor->rank || tensor->dims[axis] != out->count ||
        (out->zero && out->zero->count != out->count)) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "its %lld scales are neither one nor one for each entry of an axis",
                                 (long long)out->count);
    }
    for (int i = (int)axis + 1; i < tensor->rank; i++) { out->inner *= tensor->dims[i]; }
    return SPADE_OK;
}

/* The node's output is the tensor in another type; values: malloc'ed, freed with the others that were made. */
static spade_status bind_made(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, int type,
                              const void *values, size_t size)
{
    onnx_tensor *made = &import->made[import->made_count++];
    *made = *tensor;
    made->name = tensor->name && *tensor->name ? tensor->name : node->outputs[0];
    made->type = type;
    made->bytes = values;
    made->size = size;
    made->external = 0;
    made->owned = made->wide_owned = false;
    made->wide = NULL;
    return spade_bind(import, node->outputs[0], (spade_operand){.value = -1, .tensor = made});
}

static bool is_small_integer(const onnx_tensor *tensor)
{
    return (tensor->type == ONNX_INT8 || tensor->type == ONNX_UINT8 || tensor->type == ONNX_INT32) && tensor->bytes;
}

/* y = (x - zero) * scale, of a constant. */
static spade_status dequantise_constant(spade_import *import, const onnx_node *node, const onnx_tensor *tensor)
{
    scales by;
    SPADE_TRY(read_scales(import, node, tensor, &by));
    if (!is_small_integer(tensor) || (by.zero && (!is_small_integer(by.zero) || !by.zero->count))) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "\"%.100s\" is %s; int8, uint8 and int32 are supported", tensor->name,
                                 onnx_type_name(tensor->type));
    }
    float *values = malloc((size_t)tensor->count * sizeof *values + 1);
    if (!values) { return spade_import_memory(import); }
    for (int64_t i = 0; i < tensor->count; i++) {
        const int64_t at = by.count == 1 ? 0 : i / by.inner % by.count;
        const int64_t zero = by.zero ? onnx_tensor_int(by.zero, at) : 0;
        values[i] = (float)(onnx_tensor_int(tensor, i) - zero) * onnx_tensor_float(by.scale, at);
    }
    return bind_made(import, node, tensor, ONNX_FLOAT, values, (size_t)tensor->count * sizeof *values);
}

/* Of the integers that a QuantizeLinear makes: zero's type, or the attribute's. */
static spade_status read_limits(spade_import *import, const onnx_node *node, const scales *by, int *type, double *low,
                                double *high)
{
    int64_t named;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "output_dtype", 0, &named)));
    *type = by->zero ? by->zero->type : named ? (int)named : ONNX_UINT8;
    if ((*type != ONNX_INT8 && *type != ONNX_UINT8) || (by->zero && (!by->zero->bytes || !by->zero->count))) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "makes %s; int8 and uint8 are supported",
                                 onnx_type_name(*type));
    }
    *low = *type == ONNX_INT8 ? INT8_MIN : 0;
    *high = *type == ONNX_INT8 ? INT8_MAX : UINT8_MAX;
    return SPADE_OK;
}

/* y = round(x / scale) + zero within the limits of int8 or uint8, of a constant: a weight that is quantised in the graph. */
static spade_status quantise_constant(spade_import *import, const onnx_node *node, const onnx_tensor *tensor)
{
    scales by;
    int type;
    double low, high;
    SPADE_TRY(read_scales(import, node, tensor, &by));
    SPADE_TRY(spade_require_float(import, node, tensor));
    SPADE_TRY(spade_require_finite(import, node, tensor));
    SPADE_TRY(read_limits(import, node, &by, &type, &low, &high));
    uint8_t *values = malloc((size_t)tensor->count + 1);
    if (!values) { return spade_import_memory(import); }
    for (int64_t i = 0; i < tensor->count; i++) {
        const int64_t at = by.count == 1 ? 0 : i / by.inner % by.count;
        const double zero = by.zero ? (double)onnx_tensor_int(by.zero, at) : 0;
        const float ratio = onnx_tensor_float(tensor, i) / onnx_tensor_float(by.scale, at);
        const double y = nearbyint((double)ratio) + zero;
        values[i] = (uint8_t)(int)(y < low ? low : y > high ? high : y);
    }
    return bind_made(import, node, tensor, type, values, (size_t)tensor->count);
}

/* The node's output has the numbers of the value, whatever the file has of them there. */
static spade_status pass(spade_import *import, const onnx_node *node, int value, bool quantised)
{
    return spade_bind(import, node->outputs[0], (spade_operand){.value = value, .quantised = quantised});
}

/* One scale and one zero, of a value on the picture. */
static spade_status read_scale(spade_import *import, const onnx_node *node, scales *out, double *scale, double *zero)
{
    const onnx_tensor any = {0}, *given = NULL;
    SPADE_TRY(spade_constant_get(import, node, 1, &given));
    if (given->count != 1) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "it has %lld scales; of a value that depends on the picture one for all is supported",
                                 (long long)given->count);
    }
    SPADE_TRY(read_scales(import, node, &any, out));
    if (out->zero && (!out->zero->bytes || out->zero->count != 1)) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its zero point is not one integer");
    }
    *scale = onnx_tensor_float(out->scale, 0);
    *zero = out->zero ? (double)onnx_tensor_int(out->zero, 0) : 0;
    return SPADE_OK;
}

/* The value within what its integers can stand for. */
static spade_status saturate(spade_import *import, const onnx_node *node, int value)
{
    scales by;
    int type, out;
    double scale, zero, low, high;
    SPADE_TRY(read_scale(import, node, &by, &scale, &zero));
    SPADE_TRY(read_limits(import, node, &by, &type, &low, &high));
    SPADE_TRY(spade_build_function(import, node, value, SPADE_CLIP, (float)((low - zero) * scale),
                                   (float)((high - zero) * scale), &out));
    return pass(import, node, out, true);
}

/* The integers mean to the DequantizeLinear what they meant to the QuantizeLinear. */
static spade_status check_same_scale(spade_import *import, const onnx_node *node, const onnx_node *producer)
{
    scales by, before;
    double scale, zero, scale_before, zero_before;
    SPADE_TRY(read_scale(import, producer, &before, &scale_before, &zero_before));
    SPADE_TRY(read_scale(import, node, &by, &scale, &zero));
    if (scale == scale_before && zero == zero_before) { return SPADE_OK; }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                             "scale %g and zero %g are not those of the QuantizeLinear in front of it, %g and %g",
                             scale, zero, scale_before, zero_before);
}

static spade_status check_output(spade_import *import, const onnx_node *node)
{
    if (node->output_count > 0 && node->outputs[0][0]) { return SPADE_OK; }
    return spade_import_fail(import, node, SPADE_ERROR_INPUT, "has no output");
}

static spade_status lower_quantize(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_operand operand = {.value = -1};
    SPADE_TRY(check_output(import, node));
    SPADE_TRY(spade_operand_get(import, node, 0, &operand));
    if (operand.value >= 0) {
        /* The integers of the logits end where the largest logits do: that limit says nothing, and has no gradient. */
        return spade_output_is_behind(import, onnx_node_index) ? pass(import, node, operand.value, true)
                                                               : saturate(import, node, operand.value);
    }
    const onnx_tensor *tensor = NULL;
    SPADE_TRY(spade_constant_get(import, node, 0, &tensor));
    return quantise_constant(import, node, tensor);
}

/* The first of its kind in the file: what is said of it is said once. */
static bool is_first(const spade_import *import, int index)
{
    int first = 0;
    while (strcmp(import->onnx->nodes[first].op_type, import->onnx->nodes[index].op_type) != 0) { first++; }
    return first == index;
}

static spade_status lower_dequantize(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_operand operand = {.value = -1};
    if (is_first(import, onnx_node_index)) {
        spade_log(import->context, SPADE_LOG_INFO,
                  "%.200s: a quantised network; it is computed in float32, without its rounding to integers",
                  import->onnx->path);
    }
    SPADE_TRY(check_output(import, node));
    SPADE_TRY(spade_operand_get(import, node, 0, &operand));
    if (operand.value < 0) {
        const onnx_tensor *tensor = NULL;
        SPADE_TRY(spade_constant_get(import, node, 0, &tensor));
        return dequantise_constant(import, node, tensor);
    }
    const int producer = spade_name_map_get(&import->producers, node->inputs[0]);
    if (producer < 0 || strcmp(import->onnx->nodes[producer].op_type, "QuantizeLinear") != 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "reads \"%.100s\", which no QuantizeLinear makes", node->inputs[0]);
    }
    SPADE_TRY(check_same_scale(import, node, &import->onnx->nodes[producer]));
    return pass(import, node, operand.value, false);
}

const spade_onnx_operator spade_quantise_operators[] = {
    {"QuantizeLinear", lower_quantize}, {"DequantizeLinear", lower_dequantize}, {0}};
