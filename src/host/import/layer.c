/* layer.c - the weight of a convolution or linear layer, moved into the network. */
#include "import/import.h"

enum { BAND = 16 /* columns, whose numbers in a row of the layer share a line of the cache */ };

/* The file's [columns, rows] -> weights [rows, columns], a band of columns at a time. */
static void copy_transposed(const spade_import *import, const onnx_tensor *tensor, spade_layer *layer)
{
    const size_t row_bytes = (size_t)layer->rows * sizeof(float);
    const char *file = tensor->bytes;
    for (int64_t first = 0; first < layer->columns; first += BAND) {
        const int64_t last = first + BAND < layer->columns ? first + BAND : layer->columns;
        const char *band = file + (size_t)first * row_bytes;
        for (int64_t r = 0; r < layer->rows; r++) {
            for (int64_t c = first; c < last; c++) {
                memcpy(&layer->weights[r * layer->columns + c],
                       band + (size_t)(c - first) * row_bytes + (size_t)r * sizeof(float), sizeof(float));
            }
        }
        onnx_drop_pages(import->onnx, band, (size_t)(last - first) * row_bytes);
    }
}

/* Rows and columns of a weight matrix and the weight itself, moved into the graph as a layer. */
spade_status spade_import_layer(spade_import *import, int onnx_node_index, const onnx_tensor *tensor, spade_layer layer,
                                int *out)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    SPADE_TRY(spade_copy_floats(import, node, tensor, &layer.weights));
    const size_t bytes = (size_t)tensor->count * sizeof(float);
    if (layer.transposed) { copy_transposed(import, tensor, &layer); }
    layer.onnx_node = onnx_node_index;
    layer.onnx_input = 1;
    layer.file_shape.rank = tensor->rank;
    memcpy(layer.file_shape.dims, tensor->dims, sizeof tensor->dims);
    layer.name = spade_layer_name(import, onnx_node_index, tensor->name ? tensor->name : "", layer.rows, layer.columns);
    const bool named = layer.name && spade_name_map_put(&import->layers, layer.name, 1);
    *out = named ? spade_network_add_layer(import->network, &layer) : -1;
    if (*out < 0) {
        spade_free_bytes(import->context, layer.weights, bytes);
        free(layer.name);
        return spade_import_memory(import);
    }
    return SPADE_OK;
}
