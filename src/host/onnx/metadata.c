/*
 * metadata.c - what PyTorch's exporter since 2.9 writes into a node's metadata_props about where the node comes from:
 *
 *   pkg.torch.onnx.name_scopes   ['', 'layers', 'layers.0', 'layers.0.fc1', 'linear_3']: the modules from the outside to the
 *                                inside, and the operation in the innermost one
 *   pkg.torch.onnx.fx_node       %linear_3 : ... = call_function[target=...](args = (%gelu, %p_layers_0_fc1_weight), ...):
 *                                the operation, with the parameters it reads
 */
#include "onnx/reader.h"

static bool is_text(const onnx_reader *reader, const onnx_field *field, const char *text)
{
    const size_t length = strlen(text);
    return field->end - field->position == length &&
           memcmp(reader->model->file.data + field->position, text, length) == 0;
}

spade_status onnx_read_node_metadata(onnx_reader *reader, onnx_cursor cursor, onnx_node *node)
{
    onnx_field field, value = {0};
    char **kept = NULL;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number != 1 && field.number != 2) { continue; }
        SPADE_TRY(onnx_expect(reader, &field, ONNX_WIRE_BYTES, "the metadata of a node"));
        if (field.number == 2) { value = field; }
        if (field.number == 1 && is_text(reader, &field, "pkg.torch.onnx.name_scopes")) { kept = &node->scopes; }
        if (field.number == 1 && is_text(reader, &field, "pkg.torch.onnx.fx_node")) { kept = &node->call; }
    }
    SPADE_TRY(onnx_end(reader, &cursor));
    const size_t length = value.end - value.position;
    /* Notes are no reason to refuse a file: one that is too long is passed over. */
    if (!kept || !length || length > ONNX_MAX_NAME || memchr(reader->model->file.data + value.position, 0, length)) {
        return SPADE_OK;
    }
    return onnx_read_text(reader, &value, "the metadata of a node", ONNX_MAX_NAME, kept);
}
