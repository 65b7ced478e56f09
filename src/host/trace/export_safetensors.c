/* export_safetensors.c - the weights of every layer, the trace's where it has its own, as "NAME.weight". */
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

spade_status spade_trace_write_safetensors(spade_context *context, const spade_trace *trace, const char *path)
{
    int count = trace->base.model->network.layer_count;
    safetensors_tensor *tensors = calloc((size_t)count + 1, sizeof *tensors);
    char **names = calloc((size_t)count + 1, sizeof *names);
    const safetensors_metadata metadata = {.key = "format", .value = "pt"};
    spade_status status = SPADE_OK;
    if (!tensors || !names) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d tensors", count));
    }
    for (int i = 0; i < count; i++) { SPADE_GOTO(describe(context, trace, i, &tensors[i], &names[i])); }
    SPADE_GOTO(safetensors_write(context, tensors, count, &metadata, 1, path));
done:
    for (int i = 0; names && i < count; i++) { free(names[i]); }
    free(names);
    free(tensors);
    return status;
}
