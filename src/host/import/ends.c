/* ends.c - what is bound before any node: initializers, and the one input that is a picture. */
#include "import/input.h"

static spade_status fail_graph(spade_import *import, spade_status status, const char *what, const char *name)
{
    return spade_fail(import->context, status, "%.200s: %s \"%.200s\"", import->onnx->path, what, name);
}

/* Initializers, and the one real input. */
spade_status spade_import_bind_inputs(spade_import *import)
{
    const onnx_model *onnx = import->onnx;
    const onnx_value *input = NULL;
    for (int i = 0; i < onnx->initializer_count; i++) {
        const onnx_tensor *tensor = &onnx->initializers[i];
        if (!tensor->name || !tensor->name[0]) { continue; }
        if (spade_name_map_get(&import->names, tensor->name) >= 0) {
            return fail_graph(import, SPADE_ERROR_INPUT, "two initializers have the name", tensor->name);
        }
        SPADE_TRY(spade_bind(import, tensor->name, (spade_operand){.value = -1, .tensor = tensor}));
    }
    for (int i = 0; i < onnx->input_count; i++) {
        if (spade_name_map_get(&import->names, onnx->inputs[i].name) >= 0) { continue; }
        if (input) {
            return fail_graph(import, SPADE_ERROR_UNSUPPORTED, "only one input is supported, there is also",
                              onnx->inputs[i].name);
        }
        input = &onnx->inputs[i];
    }
    if (!input) { return spade_fail(import->context, SPADE_ERROR_INPUT, "%s: the graph has no input", onnx->path); }
    return spade_input_bind(import, input);
}
