/* attribute.c - AttributeProto, and getting values with a default. */
#include "onnx/reader.h"

/* Fields of AttributeProto. */
enum { F = 2, I = 3, S = 4, T = 5, G = 6, FLOATS = 7, INTS = 8, GRAPHS = 11, KIND = 20 };

/* How many numbers a FLOATS or INTS field holds. */
static spade_status count_items(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field, int *count)
{
    size_t items = 1, bytes = field->end - field->position;
    if (field->type == ONNX_WIRE_BYTES && field->number == FLOATS) {
        if (bytes % 4) {
            return onnx_malformed(reader, field->start, "an attribute's floats do not end with a number");
        }
        items = bytes / 4;
    } else if (field->type == ONNX_WIRE_BYTES) {
        items = 0;
        for (size_t i = 0; i < bytes; i++) { items += !(cursor->data[field->position + i] & 0x80); }
        if (bytes && cursor->data[field->end - 1] & 0x80) {
            return onnx_malformed(reader, field->start, "an attribute's integers do not end with a number");
        }
    } else {
        SPADE_TRY(
            onnx_expect(reader, field, field->number == FLOATS ? ONNX_WIRE_FIXED32 : ONNX_WIRE_VARINT, "an attribute"));
    }
    if (items > (size_t)(ONNX_MAX_ATTRIBUTE_ITEMS - reader->items)) {
        return onnx_malformed(reader, field->start, "more than %d numbers in attributes", ONNX_MAX_ATTRIBUTE_ITEMS);
    }
    reader->items += (int64_t)items;
    *count += (int)items;
    return SPADE_OK;
}

/* Text that is no name (too long, or with a zero byte) is not kept: no operator that spade knows has such an attribute.
 */
static spade_status read_string(onnx_reader *reader, const onnx_field *field, onnx_attribute *attribute)
{
    SPADE_TRY(onnx_expect(reader, field, ONNX_WIRE_BYTES, "a text attribute"));
    size_t length = field->end - field->position;
    if (length > ONNX_MAX_NAME || memchr(reader->model->file.data + field->position, 0, length)) { return SPADE_OK; }
    return onnx_read_text(reader, field, "a text attribute", ONNX_MAX_NAME, &attribute->s);
}

static spade_status read_tensor(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field,
                                onnx_attribute *attribute)
{
    onnx_cursor content;
    SPADE_TRY(onnx_enter(reader, cursor, field, "a tensor attribute", &content));
    if (attribute->tensor) { return onnx_malformed(reader, field->start, "an attribute has two tensors"); }
    attribute->tensor = calloc(1, sizeof *attribute->tensor);
    if (!attribute->tensor) {
        return spade_fail(reader->context, SPADE_ERROR_MEMORY, "%s: out of memory", reader->model->path);
    }
    return onnx_read_tensor(reader, content, "attribute", attribute->tensor);
}

/* A subgraph is not kept, but must hold together: it lies in an attribute of a node of the graph of the model. */
static spade_status check_graph(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field)
{
    enum { LEVELS_ABOVE = 4 };
    onnx_cursor content;
    SPADE_TRY(onnx_enter(reader, cursor, field, "a graph attribute", &content));
    onnx_wire_check_graph(&content, ONNX_MAX_DEPTH - LEVELS_ABOVE);
    return onnx_end(reader, &content);
}

/* Second walk: numbers counted before. */
static spade_status decode_lists(onnx_reader *reader, onnx_cursor cursor, int floats, int ints,
                                 onnx_attribute *attribute)
{
    if (floats) { attribute->floats = malloc((size_t)floats * sizeof *attribute->floats); }
    if (ints) { attribute->ints = malloc((size_t)ints * sizeof *attribute->ints); }
    if ((floats && !attribute->floats) || (ints && !attribute->ints)) {
        return spade_fail(reader->context, SPADE_ERROR_MEMORY, "%s: out of memory", reader->model->path);
    }
    onnx_field field;
    int float_at = 0, int_at = 0;
    while (onnx_wire_next(&cursor, &field)) {
        onnx_cursor packed = onnx_wire_enter(&cursor, &field);
        uint64_t value;
        if (field.number == FLOATS && field.type == ONNX_WIRE_FIXED32) {
            memcpy(&attribute->floats[float_at++], &field.value, sizeof(float));
        } else if (field.number == FLOATS && field.end > field.position) {
            memcpy(&attribute->floats[float_at], cursor.data + field.position, field.end - field.position);
            float_at += (int)((field.end - field.position) / sizeof(float));
        } else if (field.number == INTS && field.type == ONNX_WIRE_VARINT) {
            attribute->ints[int_at++] = (int64_t)field.value;
        } else if (field.number == INTS) {
            while (packed.position < packed.end && onnx_wire_varint(&packed, &value)) {
                attribute->ints[int_at++] = (int64_t)value;
            }
            SPADE_TRY(onnx_end(reader, &packed));
        }
    }
    return SPADE_OK;
}

/* What the first walk over an AttributeProto finds beside the values. */
typedef struct attribute_parts {
    int floats, ints; /* how many numbers */
    int seen;         /* the kind that the last value field has */
    int64_t kind;     /* the kind that the type field says, 0: none */
} attribute_parts;

static spade_status read_field(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field,
                               onnx_attribute *attribute, attribute_parts *parts)
{
    switch (field->number) {
    case 1: return onnx_read_text(reader, field, "the name of an attribute", ONNX_MAX_NAME, &attribute->name);
    case F:
        parts->seen = ONNX_ATTR_FLOAT;
        SPADE_TRY(onnx_expect(reader, field, ONNX_WIRE_FIXED32, "a float attribute"));
        memcpy(&attribute->f, &field->value, sizeof attribute->f);
        return SPADE_OK;
    case I: parts->seen = ONNX_ATTR_INT; return onnx_read_int(reader, field, "an integer attribute", &attribute->i);
    case S: parts->seen = ONNX_ATTR_STRING; return read_string(reader, field, attribute);
    case T: parts->seen = ONNX_ATTR_TENSOR; return read_tensor(reader, cursor, field, attribute);
    case G: parts->seen = ONNX_ATTR_GRAPH; return check_graph(reader, cursor, field);
    case GRAPHS: return check_graph(reader, cursor, field);
    case FLOATS: parts->seen = ONNX_ATTR_FLOATS; return count_items(reader, cursor, field, &parts->floats);
    case INTS: parts->seen = ONNX_ATTR_INTS; return count_items(reader, cursor, field, &parts->ints);
    case KIND: return onnx_read_int(reader, field, "the type of an attribute", &parts->kind);
    default: return SPADE_OK;
    }
}

spade_status onnx_read_attribute(onnx_reader *reader, onnx_cursor cursor, onnx_attribute *attribute)
{
    onnx_cursor again = cursor;
    onnx_field field;
    attribute_parts parts = {0};
    size_t start = cursor.position;
    while (onnx_wire_next(&cursor, &field)) { SPADE_TRY(read_field(reader, &cursor, &field, attribute, &parts)); }
    SPADE_TRY(onnx_end(reader, &cursor));
    SPADE_TRY(onnx_default_text(reader, &attribute->name));
    if (!*attribute->name) { return onnx_malformed(reader, start, "an attribute without a name"); }
    if (parts.kind < 0 || parts.kind > INT32_MAX) {
        return onnx_malformed(reader, start, "attribute '%s' has no type", attribute->name);
    }
    attribute->kind = parts.kind ? (int)parts.kind : parts.seen; /* the first format versions have no type field */
    if (attribute->kind == ONNX_ATTR_TENSOR && !attribute->tensor) {
        return onnx_malformed(reader, start, "attribute '%s' has no tensor", attribute->name);
    }
    if (attribute->kind == ONNX_ATTR_STRING && parts.seen != ONNX_ATTR_STRING) {
        SPADE_TRY(onnx_default_text(reader, &attribute->s)); /* an empty text may be left out */
    }
    attribute->count = attribute->kind == ONNX_ATTR_FLOATS ? parts.floats : 0;
    if (attribute->kind == ONNX_ATTR_INTS) { attribute->count = parts.ints; }
    if (!parts.floats && !parts.ints) { return SPADE_OK; }
    return decode_lists(reader, again, parts.floats, parts.ints, attribute);
}

void onnx_clear_attribute(spade_context *context, onnx_attribute *attribute)
{
    free(attribute->name);
    free(attribute->s);
    free(attribute->floats);
    free(attribute->ints);
    if (attribute->tensor) { onnx_clear_tensor(context, attribute->tensor); }
    free(attribute->tensor);
}

/* ---- values with a default */
const onnx_attribute *onnx_find_attribute(const onnx_node *node, const char *name)
{
    for (int i = 0; i < node->attribute_count; i++) {
        if (strcmp(node->attributes[i].name, name) == 0) { return &node->attributes[i]; }
    }
    return NULL;
}

/* The attribute, NULL where absent; an error where it has another kind. */
static spade_status find_kind(spade_context *context, const onnx_node *node, const char *name, int kind,
                              const onnx_attribute **out)
{
    static const char *const kinds[] = {[ONNX_ATTR_FLOAT] = "a number",
                                        [ONNX_ATTR_INT] = "an integer",
                                        [ONNX_ATTR_STRING] = "a text",
                                        [ONNX_ATTR_FLOATS] = "a list of numbers",
                                        [ONNX_ATTR_INTS] = "a list of integers"};
    *out = onnx_find_attribute(node, name);
    if (!*out || ((*out)->kind == kind && (kind != ONNX_ATTR_STRING || (*out)->s))) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_INPUT, "node '%s' (%s): attribute '%s' is not %s", node->name, node->op_type,
                      name, kinds[kind]);
}

spade_status onnx_get_int(spade_context *context, const onnx_node *node, const char *name, int64_t fallback,
                          int64_t *out)
{
    const onnx_attribute *attribute;
    SPADE_TRY(find_kind(context, node, name, ONNX_ATTR_INT, &attribute));
    *out = attribute ? attribute->i : fallback;
    return SPADE_OK;
}

spade_status onnx_get_float(spade_context *context, const onnx_node *node, const char *name, float fallback, float *out)
{
    const onnx_attribute *attribute;
    SPADE_TRY(find_kind(context, node, name, ONNX_ATTR_FLOAT, &attribute));
    *out = attribute ? attribute->f : fallback;
    return SPADE_OK;
}

spade_status onnx_get_string(spade_context *context, const onnx_node *node, const char *name, const char *fallback,
                             const char **out)
{
    const onnx_attribute *attribute;
    SPADE_TRY(find_kind(context, node, name, ONNX_ATTR_STRING, &attribute));
    *out = attribute ? attribute->s : fallback;
    return SPADE_OK;
}

spade_status onnx_get_ints(spade_context *context, const onnx_node *node, const char *name, const int64_t **out,
                           int *count)
{
    const onnx_attribute *attribute;
    SPADE_TRY(find_kind(context, node, name, ONNX_ATTR_INTS, &attribute));
    *out = attribute ? attribute->ints : NULL;
    *count = attribute ? attribute->count : 0;
    return SPADE_OK;
}

spade_status onnx_get_floats(spade_context *context, const onnx_node *node, const char *name, const float **out,
                             int *count)
{
    const onnx_attribute *attribute;
    SPADE_TRY(find_kind(context, node, name, ONNX_ATTR_FLOATS, &attribute));
    *out = attribute ? attribute->floats : NULL;
    *count = attribute ? attribute->count : 0;
    return SPADE_OK;
}
