/*
 * norm.c - BatchNormalization: y = gamma * (x - mean) / sqrt(var + eps) + beta, as scale and shift of each channel, computed in
 * double. The others: the same with mean and variance of rows, channels or groups of x, which are computed as the network runs.
 */
#include <float.h>
#include <math.h>

#include "import/build.h"
#include "import/operators/operators.h"

/* In place: gamma and beta become scale and shift. */
static spade_status fold_statistics(spade_import *import, const onnx_node *node, double epsilon, spade_parameter *gamma,
                                    spade_parameter *beta)
{
    const int64_t channels = gamma->count;
    spade_parameter mean = {0}, variance = {0};
    spade_status status;
    SPADE_GOTO(spade_copy_vector(import, node, 3, channels, &mean));
    SPADE_GOTO(spade_copy_vector(import, node, 4, channels, &variance));
    for (int64_t c = 0; c < channels; c++) {
        double spread = (double)variance.data[c] + epsilon;
        if (!(spread > 0)) {
            SPADE_GOTO(spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                         "the variance of channel %lld is not positive", (long long)c));
        }
        double scale = (double)gamma->data[c] / sqrt(spread);
        const double shift = (double)beta->data[c] - (double)mean.data[c] * scale;
        if (!(fabs(scale) <= FLT_MAX) || !(fabs(shift) <= FLT_MAX)) {
            SPADE_GOTO(spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                         "the scale of channel %lld, over its standard deviation, does not fit float32",
                                         (long long)c));
        }
        gamma->data[c] = (float)scale;
        beta->data[c] = (float)shift;
    }
done:
    spade_free_bytes(import->context, mean.data, (size_t)mean.count * sizeof(float));
    spade_free_bytes(import->context, variance.data, (size_t)variance.count * sizeof(float));
    return status;
}

static spade_status lower_batch_norm(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_BATCH_NORM, .layer = -1};
    int input;
    int64_t training;
    float epsilon;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "training_mode", 0, &training)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(import->context, node, "epsilon", 1e-5f, &epsilon)));
    if (training) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "training mode is not supported; export for inference");
    }
    spade_shape x = import->network->values[input].shape;
    if (x.rank < 2) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its input has no channels"); }
    SPADE_TRY(spade_check_axis(import, node, input, 1, "a normalisation"));
    spade_parameter *gamma = &result.parameters[SPADE_SCALE], *beta = &result.parameters[SPADE_SHIFT];
    spade_status status;
    SPADE_GOTO(spade_copy_vector(import, node, 1, x.dims[1], gamma));
    SPADE_GOTO(spade_copy_vector(import, node, 2, x.dims[1], beta));
    SPADE_GOTO(fold_statistics(import, node, (double)epsilon, gamma, beta));
    return spade_emit(import, node, &result, &input, 1, &x);
done:
    spade_node_release(import->context, &result);
    return status;
}

/* ---- LayerNormalization */

/* A constant, broadcast to the axes of x from `axis` on, as a parameter of so many elements. */
static spade_status copy_broadcast(spade_import *import, const onnx_node *node, const onnx_tensor *tensor,
                                   const spade_shape *x, int axis, spade_parameter *out)
{
    const int leading = tensor->rank - (x->rank - axis); /* axes of the tensor before those; -1: it has one less */
    int64_t size = 1, strides[SPADE_MAX_RANK], stride = 1;
    SPADE_TRY(spade_require_float(import, node, tensor));
    SPADE_TRY(spade_require_finite(import, node, tensor));
    for (int i = 0; i < leading; i++) {
        if (tensor->dims[i] != 1) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                     "\"%.100s\" has more axes than are normalised over", tensor->name);
        }
    }
    for (int i = x->rank - 1; i >= axis; i--) {
        const int own = i - axis + leading;
        const int64_t n = own < 0 ? 1 : tensor->dims[own];
        if (n != 1 && n != x->dims[i]) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                     "\"%.100s\" has %lld elements along an axis of %lld", tensor->name, (long long)n,
                                     (long long)x->dims[i]);
        }
        strides[i] = n == 1 ? 0 : stride;
        stride *= n;
        size *= x->dims[i];
    }
    void *memory;
    spade_status status = spade_alloc(import->context, (size_t)size * sizeof(float), "the network's weights", &memory);
    if (status != SPADE_OK) { return spade_fail_in(import->context, status, "%.200s", import->onnx->path); }
    *out = (spade_parameter){memory, size};
    for (int64_t to = 0; to < size; to++) {
        int64_t from = 0, rest = to;
        for (int i = x->rank - 1; i >= axis; i--) {
            from += rest % x->dims[i] * strides[i];
            rest /= x->dims[i];
        }
        out->data[to] = onnx_tensor_float(tensor, from);
    }
    return SPADE_OK;
}

static spade_status build_layer_norm(spade_import *import, const onnx_node *from, int input,
                                     const spade_layer_norm *norm, int *out)
{
    const spade_value *value = &import->network->values[input];
    const spade_shape x = value->shape;
    spade_node result = {.kind = SPADE_NODE_LAYER_NORM,
                         .layer = -1,
                         .layer_norm = {.epsilon = norm->epsilon, .root_mean_square = norm->root_mean_square}};
    const int64_t axis = norm->axis < 0 ? norm->axis + x.rank : norm->axis;
    spade_status status;
    if (axis < 0 || axis >= x.rank) {
        return spade_import_fail(import, from, SPADE_ERROR_INPUT, "its axis is out of range");
    }
    if (axis <= value->batch_axis) {
        return spade_import_fail(import, from, SPADE_ERROR_UNSUPPORTED,
                                 "a normalisation over the images of a batch is not supported");
    }
    if (!(norm->epsilon >= 0)) {
        return spade_import_fail(import, from, SPADE_ERROR_INPUT, "its epsilon is %g", (double)norm->epsilon);
    }
    result.layer_norm.axis = (int)axis;
    if (norm->scale) {
        SPADE_GOTO(copy_broadcast(import, from, norm->scale, &x, (int)axis, &result.parameters[SPADE_SCALE]));
    }
    if (norm->shift) {
        SPADE_GOTO(copy_broadcast(import, from, norm->shift, &x, (int)axis, &result.parameters[SPADE_SHIFT]));
    }
    const spade_extent extent = spade_value_extent(import, input);
    return spade_make(import, from, &result, &input, 1, &extent, out);
done:
    spade_node_release(import->context, &result);
    return status;
}

spade_status spade_emit_layer_norm(spade_import *import, const onnx_node *from, int input, const spade_layer_norm *norm)
{
    int out;
    SPADE_TRY(build_layer_norm(import, from, input, norm, &out));
    return spade_bind_output(import, from, 0, out);
}

/* Its further outputs, mean and 1 / deviation, are not computed: who reads one is refused by its name. */
static spade_status lower_layer_norm(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_layer_norm norm = {0};
    int input;
    int64_t precision; /* of mean and variance; ours are float64 */
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", -1, &norm.axis)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(import->context, node, "epsilon", 1e-5f, &norm.epsilon)));
    SPADE_TRY(
        spade_import_attribute(import, onnx_get_int(import->context, node, "stash_type", ONNX_FLOAT, &precision)));
    if (precision != ONNX_FLOAT && precision != ONNX_DOUBLE) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "stash_type %lld is not supported",
                                 (long long)precision);
    }
    /* PyTorch 1.13 leaves the scale out where there is none, though it has to be there. */
    if (spade_has_input(node, 1)) { SPADE_TRY(spade_constant_get(import, node, 1, &norm.scale)); }
    if (spade_has_input(node, 2)) { SPADE_TRY(spade_constant_get(import, node, 2, &norm.shift)); }
    return spade_emit_layer_norm(import, node, input, &norm);
}

/* ---- InstanceNormalization, GroupNormalization: a layer norm of each channel or group, then scale and shift */

static spade_status read_epsilon(spade_import *import, const onnx_node *node, float *out)
{
    return spade_import_attribute(import, onnx_get_float(import->context, node, "epsilon", 1e-5f, out));
}

/* x * scale[c] + shift[c] of axis 1, by the node's inputs 1 and 2. */
static spade_status scale_channels(spade_import *import, const onnx_node *node, int *value)
{
    spade_node result = {.kind = SPADE_NODE_BATCH_NORM, .layer = -1};
    const spade_extent x = spade_value_extent(import, *value);
    spade_status status;
    SPADE_GOTO(spade_copy_vector(import, node, 1, x.dims[1], &result.parameters[SPADE_SCALE]));
    SPADE_GOTO(spade_copy_vector(import, node, 2, x.dims[1], &result.parameters[SPADE_SHIFT]));
    bool identity = true;
    for (int64_t c = 0; c < x.dims[1]; c++) {
        identity =
            identity && result.parameters[SPADE_SCALE].data[c] == 1 && result.parameters[SPADE_SHIFT].data[c] == 0;
    }
    if (!identity) { return spade_make(import, node, &result, (int[]){*value}, 1, &x, value); }
done:
    spade_node_release(import->context, &result);
    return status;
}

static spade_status read_channels(spade_import *import, const onnx_node *node, int *value)
{
    SPADE_TRY(spade_activation_get(import, node, 0, value));
    SPADE_TRY(spade_check_batch_first(import, node, *value));
    if (import->network->values[*value].shape.rank >= 3) { return SPADE_OK; }
    return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its input is no image");
}

static spade_status lower_instance_norm(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_layer_norm norm = {.axis = 2};
    int value;
    SPADE_TRY(read_channels(import, node, &value));
    SPADE_TRY(read_epsilon(import, node, &norm.epsilon));
    SPADE_TRY(build_layer_norm(import, node, value, &norm, &value));
    SPADE_TRY(scale_channels(import, node, &value));
    return spade_bind_output(import, node, 0, value);
}

/* Scale and shift are of groups in opset 18, of channels from 21 on. */
static spade_status lower_group_norm(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_layer_norm norm = {.axis = 2};
    int64_t groups, inner = 1;
    int value;
    SPADE_TRY(read_channels(import, node, &value));
    SPADE_TRY(read_epsilon(import, node, &norm.epsilon));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "num_groups", 0, &groups)));
    const spade_extent x = spade_value_extent(import, value);
    if (groups < 1 || x.dims[1] % groups) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%lld groups do not divide %lld channels",
                                 (long long)groups, (long long)x.dims[1]);
    }
    for (int i = 1; i < x.rank; i++) { inner *= x.dims[i]; }
    const spade_extent grouped = {.rank = 3,
                                  .dims = {x.dims[0], groups, inner / groups},
                                  .batch_axis = x.batch_axis,
                                  .batch_outer = x.batch_outer};
    SPADE_TRY(spade_build_reshape(import, node, value, &grouped, &value));
    SPADE_TRY(build_layer_norm(import, node, value, &norm, &value));
    if (import->onnx->opset < 21) { SPADE_TRY(scale_channels(import, node, &value)); }
    SPADE_TRY(spade_build_reshape(import, node, value, &x, &value));
    if (import->onnx->opset >= 21) { SPADE_TRY(scale_channels(import, node, &value)); }
    return spade_bind_output(import, node, 0, value);
}

/* x / sqrt(mean(x^2) + epsilon) * scale, over the axes from `axis` on. */
static spade_status lower_rms_norm(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_layer_norm norm = {.root_mean_square = true};
    int input;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_constant_get(import, node, 1, &norm.scale));
    SPADE_TRY(read_epsilon(import, node, &norm.epsilon));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", -1, &norm.axis)));
    return spade_emit_layer_norm(import, node, input, &norm);
}

const spade_onnx_operator spade_norm_operators[] = {
    {"BatchNormalization", lower_batch_norm},       {"GroupNormalization", lower_group_norm},
    {"InstanceNormalization", lower_instance_norm}, {"LayerNormalization", lower_layer_norm},
    {"RMSNormalization", lower_rms_norm},           {0}};
