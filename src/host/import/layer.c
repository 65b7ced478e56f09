/*
 * layer.c - the weight of a convolution or linear layer, moved into the network.
 *
 * The file is in memory, and a copy of all weights beside it would need twice as much. So weights that stand in the file itself
 * are copied at the end, when nothing else of it is read any more, in the order in which they stand there; behind the
 * copying the file's memory goes back.
 */
#include "import/import.h"

enum {
    BAND = 16,      /* columns, whose numbers in a row of the layer share a line of the cache */
    PIECE = 1 << 24 /* bytes that are copied before memory goes back */
};

/* A weight that is not copied yet. */
typedef struct spade_import_weight {
    onnx_tensor tensor; /* its name and its bytes, in a file */
    int layer;
} spade_import_weight;

/* A copy on its way: what is behind `position` has been copied. */
typedef struct weight_copy {
    const onnx_model *onnx;
    const char *dropped, *position; /* of the file's memory, all before is given back, or is copied */
    const char *limit;              /* from here on another weight reads the same bytes; NULL: nothing may go back */
} weight_copy;

static void advance(weight_copy *copy, const char *position)
{
    const size_t page = 1 << 16; /* of any machine, or several: the last one began before */
    copy->position = position;
    if (!copy->limit) { return; }
    const char *end = position < copy->limit ? position : copy->limit;
    if (end <= copy->dropped) { return; }
    onnx_drop(copy->onnx, copy->dropped, (size_t)(end - copy->dropped));
    if ((size_t)(end - copy->dropped) > page) { copy->dropped = end - page; }
}

static void copy_rows(weight_copy *copy, const onnx_tensor *tensor, float *weights)
{
    const size_t bytes = (size_t)tensor->count * sizeof *weights;
    const char *file = tensor->bytes;
    for (size_t at = 0; at < bytes; at += PIECE) {
        const size_t size = bytes - at < PIECE ? bytes - at : PIECE;
        memcpy((char *)weights + at, file + at, size);
        advance(copy, file + at + size);
    }
}

/* The file's [columns, rows] -> weights [rows, columns], a band of columns at a time. */
static void copy_transposed(weight_copy *copy, const onnx_tensor *tensor, const spade_layer *layer, float *weights)
{
    const size_t row_bytes = (size_t)layer->rows * sizeof *weights;
    const char *file = tensor->bytes;
    for (int64_t first = 0; first < layer->columns; first += BAND) {
        const int64_t last = first + BAND < layer->columns ? first + BAND : layer->columns;
        const char *band = file + (size_t)first * row_bytes, *end = file + (size_t)last * row_bytes;
        for (int64_t r = 0; r < layer->rows; r++) {
            for (int64_t c = first; c < last; c++) {
                memcpy(&weights[r * layer->columns + c],
                       band + (size_t)(c - first) * row_bytes + (size_t)r * sizeof *weights, sizeof *weights);
            }
        }
        if (end - copy->position >= PIECE || last == layer->columns) { advance(copy, end); }
    }
}

/* limit: see weight_copy. */
static spade_status copy_weight(spade_import *import, const onnx_tensor *tensor, int number, const char *limit)
{
    const spade_layer *layer = &import->network->layers[number];
    const size_t bytes = (size_t)tensor->count * sizeof(float);
    weight_copy copy = {.onnx = import->onnx, .dropped = tensor->bytes, .position = tensor->bytes, .limit = limit};
    void *memory;
    spade_status status = spade_alloc(import->context, bytes, "the network's weights", &memory);
    if (status != SPADE_OK) { return spade_fail_in(import->context, status, "%.200s", import->onnx->path); }
    float *weights = memory;
    if (layer->transposed) {
        copy_transposed(&copy, tensor, layer, weights);
    } else {
        copy_rows(&copy, tensor, weights);
    }
    const int64_t found = spade_first_not_finite(weights, tensor->count);
    if (found < tensor->count) {
        const float refused = weights[found];
        const int64_t element =
            layer->transposed ? found % layer->columns * layer->rows + found / layer->columns : found;
        spade_free_bytes(import->context, weights, bytes);
        return spade_refuse_number(import, &import->onnx->nodes[layer->onnx_node], tensor, element, refused);
    }
    spade_network_set_weights(import->network, number, weights);
    return SPADE_OK;
}

static bool add_weight(spade_import *import, const onnx_tensor *tensor, int layer)
{
    const int n = import->weight_count;
    if ((n & (n - 1)) == 0) { /* room for the next power of two */
        spade_import_weight *weights = realloc(import->weights, sizeof *weights * 2 * (size_t)(n + 1));
        if (!weights) { return false; }
        import->weights = weights;
    }
    import->weights[import->weight_count++] = (spade_import_weight){*tensor, layer};
    return true;
}

static int by_place(const void *a, const void *b)
{
    const spade_import_weight *x = a, *y = b;
    const uintptr_t left = (uintptr_t)x->tensor.bytes, right = (uintptr_t)y->tensor.bytes;
    if (left != right) { return left < right ? -1 : 1; }
    return x->layer < y->layer ? -1 : 1;
}

spade_status spade_import_weights(spade_import *import)
{
    if (import->weight_count) {
        qsort(import->weights, (size_t)import->weight_count, sizeof *import->weights, by_place);
    }
    for (int i = 0; i < import->weight_count; i++) {
        const spade_import_weight *weight = &import->weights[i];
        const char *limit = i + 1 < import->weight_count ? import->weights[i + 1].tensor.bytes : (char *)UINTPTR_MAX;
        SPADE_TRY(copy_weight(import, &weight->tensor, weight->layer, limit));
    }
    return SPADE_OK;
}

/* Rows and columns of a weight matrix and the weight itself, moved into the graph as a layer. */
spade_status spade_import_layer(spade_import *import, int onnx_node_index, const onnx_tensor *tensor, spade_layer layer,
                                int *out)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    SPADE_TRY(spade_require_float(import, node, tensor));
    layer.onnx_node = onnx_node_index;
    layer.onnx_input = 1;
    layer.file_shape.rank = tensor->rank;
    memcpy(layer.file_shape.dims, tensor->dims, sizeof tensor->dims);
    layer.name = spade_layer_name(import, onnx_node_index, tensor->name ? tensor->name : "", layer.rows, layer.columns);
    const bool named = layer.name && spade_name_map_put(&import->layers, layer.name, 1);
    *out = named ? spade_network_add_layer(import->network, &layer) : -1;
    if (*out < 0) {
        free(layer.name);
        return spade_import_memory(import);
    }
    if (!onnx_can_drop(import->onnx, tensor->bytes, (size_t)tensor->count * sizeof(float))) {
        return copy_weight(import, tensor, *out, NULL);
    }
    return add_weight(import, tensor, *out) ? SPADE_OK : spade_import_memory(import);
}
