/* softmax.c - Softmax, LogSoftmax. */
#include "import/build.h"
#include "import/operators/operators.h"

/* x - log(sum(exp(x))), of x without its largest element, so that no exponential is beyond the limits. */
static spade_status build_log_softmax(spade_import *import, const onnx_node *node, int value, int axis, int *out)
{
    int largest, sum;
    SPADE_TRY(spade_build_max(import, node, value, 1u << axis, &largest));
    SPADE_TRY(spade_build_function(import, node, largest, SPADE_NEG, 0, 0, &largest));
    SPADE_TRY(spade_build_binary(import, node, SPADE_NODE_ADD, value, largest, &value));
    SPADE_TRY(spade_build_function(import, node, value, SPADE_EXP, 0, 0, &sum));
    SPADE_TRY(spade_build_sum(import, node, sum, 1u << axis, &sum));
    SPADE_TRY(spade_build_function(import, node, sum, SPADE_LOG, 0, 0, &sum));
    SPADE_TRY(spade_build_function(import, node, sum, SPADE_NEG, 0, 0, &sum));
    return spade_build_binary(import, node, SPADE_NODE_ADD, value, sum, out);
}

/* All axes from `axis` on are one, which must not have the batch. */
static spade_status join_axes(spade_import *import, const onnx_node *node, int axis, int *value)
{
    spade_extent x = spade_value_extent(import, *value);
    for (int i = x.rank - 1; i > axis; i--) {
        SPADE_TRY(spade_check_axis(import, node, *value, i, "a softmax"));
        x.dims[axis] *= x.dims[i];
    }
    SPADE_TRY(spade_check_axis(import, node, *value, axis, "a softmax"));
    x.rank = axis + 1;
    return spade_build_reshape(import, node, *value, &x, value);
}

static spade_status lower_softmax(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const bool flattens = import->onnx->opset < 13; /* then all axes from `axis` on are one */
    int64_t given;
    int value, axis;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    const spade_extent x = spade_value_extent(import, value);
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", flattens ? 1 : -1, &given)));
    SPADE_TRY(spade_axis_get(import, node, given, x.rank, &axis));
    if (flattens && axis + 1 < x.rank) { SPADE_TRY(join_axes(import, node, axis, &value)); }
    if (strcmp(node->op_type, "LogSoftmax") == 0) {
        SPADE_TRY(build_log_softmax(import, node, value, axis, &value));
    } else {
        SPADE_TRY(spade_build_softmax(import, node, value, axis, &value));
    }
    SPADE_TRY(spade_build_reshape(import, node, value, &x, &value));
    return spade_bind_output(import, node, 0, value);
}

const spade_onnx_operator spade_softmax_operators[] = {{"LogSoftmax", lower_softmax}, {"Softmax", lower_softmax}, {0}};
