/*
 * norm.c - BatchNormalization: y = gamma * (x - mean) / sqrt(var + eps) + beta, as scale and shift of each channel, computed in
 * double.
 */
#include <math.h>

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
        gamma->data[c] = (float)scale;
        beta->data[c] = (float)((double)beta->data[c] - (double)mean.data[c] * scale);
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

const spade_onnx_operator spade_norm_operators[] = {{"BatchNormalization", lower_batch_norm}, {0}};
