/* wire.c - the bounded cursor over protobuf's wire format. */
#include "onnx/wire.h"

enum {
    MAX_VARINT = 10, /* bytes of 64 bits in groups of seven */
    MAX_LEVELS = 64  /* what the stack of onnx_wire_check_graph() holds */
};

static bool malformed(onnx_cursor *cursor, const char *what, size_t at)
{
    cursor->error = what;
    cursor->error_at = at;
    return false;
}

bool onnx_wire_varint(onnx_cursor *cursor, uint64_t *out)
{
    uint64_t value = 0;
    size_t start = cursor->position;
    for (int i = 0; i < MAX_VARINT; i++) {
        if (cursor->position >= cursor->end) { return malformed(cursor, "a number is cut off", start); }
        uint8_t byte = cursor->data[cursor->position++];
        if (i == MAX_VARINT - 1 && byte > 1) { break; }
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return malformed(cursor, "a number is longer than 64 bits", start);
}

/* Little endian, 4 or 8 bytes. */
static bool read_fixed(onnx_cursor *cursor, size_t bytes, uint64_t *out)
{
    if (cursor->end - cursor->position < bytes) { return malformed(cursor, "a number is cut off", cursor->position); }
    *out = 0;
    memcpy(out, cursor->data + cursor->position, bytes);
    cursor->position += bytes;
    return true;
}

bool onnx_wire_next(onnx_cursor *cursor, onnx_field *field)
{
    if (cursor->error || cursor->position >= cursor->end) { return false; }
    uint64_t tag, length;
    field->start = cursor->position;
    if (!onnx_wire_varint(cursor, &tag)) { return false; }
    if (tag > UINT32_MAX || tag >> 3 == 0) { return malformed(cursor, "not a field number", field->start); }
    field->number = (uint32_t)(tag >> 3);
    field->type = (onnx_wire_type)(tag & 7);
    field->position = cursor->position;
    field->value = 0;
    switch (field->type) {
    case ONNX_WIRE_VARINT:
        if (!onnx_wire_varint(cursor, &field->value)) { return false; }
        break;
    case ONNX_WIRE_FIXED64:
        if (!read_fixed(cursor, 8, &field->value)) { return false; }
        break;
    case ONNX_WIRE_FIXED32:
        if (!read_fixed(cursor, 4, &field->value)) { return false; }
        break;
    case ONNX_WIRE_BYTES:
        if (!onnx_wire_varint(cursor, &length)) { return false; }
        if (length > cursor->end - cursor->position) {
            return malformed(cursor, "a field is longer than what holds it (cut off?)", field->start);
        }
        field->position = cursor->position;
        cursor->position += (size_t)length;
        break;
    default: return malformed(cursor, "not a wire type that ONNX uses", field->start);
    }
    field->end = cursor->position;
    return true;
}

onnx_cursor onnx_wire_enter(const onnx_cursor *cursor, const onnx_field *field)
{
    return (onnx_cursor){.data = cursor->data, .position = field->position, .end = field->end};
}

bool onnx_wire_check_graph(onnx_cursor *cursor, int limit)
{
    /* Levels go graph, node, attribute, graph, ...; the fields that lead down from each: */
    enum { GRAPH, NODE, ATTRIBUTE, KINDS };
    onnx_cursor stack[MAX_LEVELS];
    int deepest = limit < MAX_LEVELS ? limit : MAX_LEVELS;
    int level = 0;
    stack[0] = *cursor;
    while (level >= 0) {
        onnx_field field;
        if (!onnx_wire_next(&stack[level], &field)) {
            if (stack[level].error) { return malformed(cursor, stack[level].error, stack[level].error_at); }
            level--;
            continue;
        }
        int kind = level % KINDS;
        bool down = (kind == GRAPH && field.number == 1) || (kind == NODE && field.number == 5) ||
                    (kind == ATTRIBUTE && (field.number == 6 || field.number == 11));
        if (!down) { continue; }
        if (field.type != ONNX_WIRE_BYTES) { return malformed(cursor, "a field has the wrong wire type", field.start); }
        if (level + 1 >= deepest) { return malformed(cursor, "messages are nested too deeply", field.start); }
        stack[level + 1] = onnx_wire_enter(&stack[level], &field);
        level++;
    }
    return true;
}

size_t onnx_wire_put_varint(uint8_t *out, uint64_t value)
{
    size_t length = 0;
    while (value >= 0x80) {
        out[length++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[length++] = (uint8_t)value;
    return length;
}
