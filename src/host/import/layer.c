/* layer.c - the weight of a convolution or linear layer, moved into the network. */
#include "import/import.h"

/* Rows and columns of a weight matrix and the weight itself, moved into the graph as a layer. */
spade_status spade_import_layer(spade_import *import, int onnx_node_index, const onnx_tensor *tensor, spade_layer layer,
                                int *out)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    SPADE_TRY(spade_require_float(import, node, tensor));
    SPADE_TRY(spade_require_finite(import, node, tensor));
    SPADE_TRY(spade_copy_floats(import, node, tensor, &layer.weights));
    size_t bytes = (size_t)tensor->count * sizeof(float);
    if (layer.transposed) { /* [columns, rows] in the file */
        const char *file = tensor->bytes;
        for (int64_t r = 0; r < layer.rows; r++) {
            for (int64_t c = 0; c < layer.columns; c++) {
                memcpy(&layer.weights[r * layer.columns + c], file + (c * layer.rows + r) * (int64_t)sizeof(float),
                       sizeof(float));
            }
        }
    }
    layer.onnx_node = onnx_node_index;
    layer.onnx_input = 1;
    layer.file_shape.rank = tensor->rank;
    memcpy(layer.file_shape.dims, tensor->dims, sizeof tensor->dims);
    layer.name = spade_layer_name(import->network, node, tensor->name ? tensor->name : "", layer.rows, layer.columns);
    *out = layer.name ? spade_network_add_layer(import->network, &layer) : -1;
    if (*out < 0) {
        spade_free_bytes(import->context, layer.weights, bytes);
        free(layer.name);
        return spade_import_memory(import);
    }
    return SPADE_OK;
}
