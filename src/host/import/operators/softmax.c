/* softmax.c - Softmax. */
#include "import/build.h"
#include "import/operators/operators.h"

static spade_status lower_softmax(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int input;
    bool flattens = import->onnx->opset < 13; /* then all axes from `axis` on are one */
    int64_t axis;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    spade_shape x = import->network->values[input].shape;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", flattens ? 1 : -1, &axis)));
    axis += axis < 0 ? x.rank : 0;
    if (axis < 0 || axis >= x.rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its axis is out of range");
    }
    for (int i = (int)axis + 1; flattens && i < x.rank; i++) {
        if (x.dims[i] != 1) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                     "a softmax over several axes (opset %lld) is not supported",
                                     (long long)import->onnx->opset);
        }
    }
    SPADE_TRY(spade_build_softmax(import, node, input, (int)axis, &input));
    return spade_bind_output(import, node, 0, input);
}

const spade_onnx_operator spade_softmax_operators[] = {{"Softmax", lower_softmax}, {0}};
