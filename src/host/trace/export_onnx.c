/* export_onnx.c - the network's file with the trace's weights in place of its own. */
#include "trace/trace.h"

/* [rows, columns] -> [columns, rows] */
static void transpose(const float *from, int64_t rows, int64_t columns, float *to)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) { to[c * rows + r] = from[r * columns + c]; }
    }
}

static size_t weight_bytes(const spade_layer *layer)
{
    return (size_t)(layer->rows * layer->columns) * sizeof(float);
}

spade_status spade_trace_write_onnx(spade_context *context, const spade_trace *trace, const char *path)
{
    const spade_model *model = trace->base.model;
    const spade_network *network = &model->network;
    size_t all = (size_t)network->layer_count + 1;
    for (int i = 0; i < network->layer_count; i++) {
        if (!trace->base.layers[i].bias) { continue; }
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED,
                          "%s: layer %s of the trace has a bias of its own, which is not written as ONNX", path,
                          network->layers[i].name);
    }
    onnx_replacement *replacements = calloc(all, sizeof *replacements);
    float **transposed = calloc(all, sizeof *transposed); /* own copies where the file holds the transpose */
    spade_status status = SPADE_OK;
    int count = 0;
    if (!replacements || !transposed) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of replaced weights"));
    }
    for (int i = 0; i < network->layer_count; i++) {
        const spade_layer *layer = &network->layers[i];
        const float *weights;
        if (!spade_weight_override_has(&trace->base, i)) { continue; }
        SPADE_GOTO(spade_weight_override_host(spade_weight_override_of(trace), i, &weights));
        if (layer->transposed) {
            SPADE_GOTO(spade_alloc(context, weight_bytes(layer), "transposed weights", (void **)&transposed[i]));
            transpose(weights, layer->rows, layer->columns, transposed[i]);
            weights = transposed[i];
        }
        onnx_replacement *to = &replacements[count++];
        *to = (onnx_replacement){
            .node = layer->onnx_node, .input = layer->onnx_input, .data = weights, .rank = layer->file_shape.rank};
        memcpy(to->dims, layer->file_shape.dims, sizeof to->dims);
    }
    SPADE_GOTO(onnx_restore_files(model->onnx));
    status = onnx_write(context, model->onnx, replacements, count, path);
    onnx_release_files(model->onnx);
done:
    for (int i = 0; transposed && i < network->layer_count; i++) {
        spade_free_bytes(context, transposed[i], weight_bytes(&network->layers[i]));
    }
    free(transposed);
    free(replacements);
    return status;
}
