/* export_safetensors.c - the weights of every layer, the trace's where it has its own, as "NAME.weight"; biases that are the trace's
 * as "NAME.bias". */
#include "store/safetensors.h"
#include "trace/trace.h"

static spade_status describe(spade_context *context, const spade_trace *trace, int index, safetensors_tensor *out,
                             char **name)
{
    const spade_layer *layer = &trace->base.model->network.layers[index];
    const float *weights;
    SPADE_TRY(spade_trace_read(trace, index, &weights));
    if (asprintf(name, "%s.weight", layer->name) < 0) {
        *name = NULL;
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: name of layer %s", layer->name);
    }
    *out = (safetensors_tensor){.name = *name, .data = weights, .rank = layer->convolution ? 4 : 2};
    memcpy(out->dims, layer->weight, (size_t)out->rank * sizeof *out->dims);
    return SPADE_OK;
}

static spade_status describe_bias(spade_context *context, const spade_trace *trace, int index, safetensors_tensor *out,
                                  char **name)
{
    const spade_layer *layer = &trace->base.model->network.layers[index];
    if (asprintf(name, "%s.bias", layer->name) < 0) {
        *name = NULL;
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: name of layer %s", layer->name);
    }
    *out =
        (safetensors_tensor){.name = *name, .data = trace->base.layers[index].bias, .rank = 1, .dims = {layer->rows}};
    return SPADE_OK;
}

spade_status spade_trace_write_safetensors(spade_context *context, const spade_trace *trace, const char *path)
{
    const int layers = trace->base.model->network.layer_count;
    int count = 0;
    safetensors_tensor *tensors = calloc(2 * (size_t)layers + 1, sizeof *tensors);
    char **names = calloc(2 * (size_t)layers + 1, sizeof *names);
    const safetensors_metadata metadata = {.key = "format", .value = "pt"};
    spade_status status = SPADE_OK;
    if (!tensors || !names) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d tensors", layers));
    }
    for (int i = 0; i < layers; i++) {
        SPADE_GOTO(describe(context, trace, i, &tensors[count], &names[count]));
        count++;
        if (!trace->base.layers[i].bias) { continue; }
        SPADE_GOTO(describe_bias(context, trace, i, &tensors[count], &names[count]));
        count++;
    }
    SPADE_GOTO(safetensors_write(context, tensors, count, &metadata, 1, path));
done:
    for (int i = 0; names && i < 2 * layers; i++) { free(names[i]); }
    free(names);
    free(tensors);
    return status;
}
