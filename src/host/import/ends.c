/* ends.c - the network's input and output, and what else is bound before any node: initializers. */
#include "import/import.h"

static spade_status fail_graph(spade_import *import, spade_status status, const char *what, const char *name)
{
    return spade_fail(import->context, status, "%.200s: %s \"%.200s\"", import->onnx->path, what, name);
}

/* Height or width: what the file says, or the option where the file leaves it open. */
static spade_status resolve_side(spade_import *import, const char *side, int64_t in_file, int64_t option, int64_t *out)
{
    const char *path = import->onnx->path;
    if (in_file > 0 && option > 0 && in_file != option) {
        return spade_fail(import->context, SPADE_ERROR_ARGUMENT, "%.200s: the network's input %s is %lld, not %lld",
                          path, side, (long long)in_file, (long long)option);
    }
    if (in_file <= 0 && option <= 0) {
        return spade_fail(import->context, SPADE_ERROR_INPUT,
                          "%.200s: the file leaves the input %s open; give the input size (height and width)", path,
                          side);
    }
    *out = in_file > 0 ? in_file : option;
    return SPADE_OK;
}

static spade_status bind_input(spade_import *import, const onnx_value *input)
{
    spade_network *network = import->network;
    const char *path = import->onnx->path;
    spade_value value = {.shape = {4, {1, input->dims[1], 0, 0}, SPADE_ROW_MAJOR}, .batch_outer = 1, .producer = -1};
    if (input->type != ONNX_FLOAT) {
        return fail_graph(import, SPADE_ERROR_UNSUPPORTED, "only float32 is supported as input", input->name);
    }
    if (input->rank != 4 || input->dims[1] < 1) {
        return fail_graph(import, SPADE_ERROR_UNSUPPORTED,
                          "the input has to be [batch, channels, height, width], unlike", input->name);
    }
    const spade_model_options none = {0}, *options = import->options ? import->options : &none;
    SPADE_TRY(resolve_side(import, "height", input->dims[2], options->height, &value.shape.dims[2]));
    SPADE_TRY(resolve_side(import, "width", input->dims[3], options->width, &value.shape.dims[3]));
    int64_t size;
    if (input->dims[0] == 0 || !spade_mul_dims(value.shape.dims, 4, &size) || size > SPADE_MAX_ELEMENTS) {
        return spade_fail(import->context, SPADE_ERROR_INPUT,
                          "%.200s: the dimensions of the input \"%.200s\" are beyond the limits", path, input->name);
    }
    import->file_batch = input->dims[0] > 0 ? input->dims[0] : 0;
    value.name = strdup(input->name);
    network->input = value.name ? spade_network_add_value(network, &value) : -1;
    if (network->input < 0) {
        free(value.name);
        return spade_import_memory(import);
    }
    return spade_bind(import, input->name, (spade_operand){.value = network->input});
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
    return bind_input(import, input);
}

spade_status spade_import_take_output(spade_import *import, const onnx_value *output)
{
    int index = spade_name_map_get(&import->names, output->name);
    if (index < 0) {
        return fail_graph(import, SPADE_ERROR_INPUT, "no supported node computes the output", output->name);
    }
    spade_operand operand = import->operands[index];
    if (operand.value < 0 || operand.value == import->network->input) {
        return fail_graph(import, SPADE_ERROR_UNSUPPORTED, "the output does not depend on the network:", output->name);
    }
    const spade_shape *shape = &import->network->values[operand.value].shape;
    if (shape->rank != 2 || shape->dims[0] != 1) {
        return fail_graph(import, SPADE_ERROR_UNSUPPORTED,
                          "only classifiers with an output [batch, classes] are supported, unlike", output->name);
    }
    import->network->output = operand.value;
    return SPADE_OK;
}
