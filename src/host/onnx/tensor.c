/* tensor.c - TensorProto: shape and size checked first, then data in place, decoded, or outside; element access.
 */
#include "onnx/reader.h"

size_t onnx_type_size(int type)
{
    static const uint8_t sizes[] = {0, 4, 1, 1, 2, 2, 4,  8, 0,
                                    1, 2, 8, 4, 8, 8, 16, 2}; /* by TensorProto.DataType; 8: string */
    return type > 0 && (size_t)type < sizeof sizes ? sizes[type] : 0;
}

const char *onnx_type_name(int type)
{
    static const char *const names[] = {"no type", "float32", "uint8",     "int8",       "uint16",  "int16",
                                        "int32",   "int64",   "text",      "bool",       "float16", "float64",
                                        "uint32",  "uint64",  "complex64", "complex128", "bfloat16"}; /* by DataType */
    return type >= 0 && (size_t)type < sizeof names / sizeof *names ? names[type] : "another type";
}

bool onnx_type_readable(int type)
{
    switch (type) {
    case ONNX_FLOAT:
    case ONNX_UINT8:
    case ONNX_INT8:
    case ONNX_INT32:
    case ONNX_INT64:
    case ONNX_BOOL:
    case ONNX_FLOAT16:
    case ONNX_BFLOAT16:
    case ONNX_DOUBLE: return true;
    default: return false;
    }
}

/* Fields of TensorProto that hold numbers one by one. */
enum {
    FIELD_FLOAT = 4,
    FIELD_INT32 = 5,
    FIELD_STRING = 6,
    FIELD_INT64 = 7,
    FIELD_RAW = 9,
    FIELD_DOUBLE = 10,
    FIELD_UINT64 = 11
};

/* The field that a type's numbers stand in; types not read: 0. */
static uint32_t data_field(int type)
{
    switch (type) {
    case ONNX_FLOAT: return FIELD_FLOAT;
    case ONNX_DOUBLE: return FIELD_DOUBLE;
    case ONNX_INT64: return FIELD_INT64;
    case ONNX_UINT8:
    case ONNX_INT8:
    case ONNX_INT32:
    case ONNX_BOOL:
    case ONNX_FLOAT16:
    case ONNX_BFLOAT16: return FIELD_INT32;
    default: return 0;
    }
}

/* What the first walk over a TensorProto finds. */
typedef struct tensor_parts {
    int64_t type, location;
    bool has_raw, has_segment;
    onnx_field raw;
    int64_t numbers;       /* in the fields for numbers */
    uint32_t number_field; /* which of them, 0: none */
    onnx_location external;
} tensor_parts;

static void clear_parts(tensor_parts *parts)
{
    free(parts->external.file);
    free(parts->external.offset);
    free(parts->external.length);
}

static onnx_wire_type number_wire(uint32_t number)
{
    return number == FIELD_FLOAT ? ONNX_WIRE_FIXED32 : number == FIELD_DOUBLE ? ONNX_WIRE_FIXED64 : ONNX_WIRE_VARINT;
}

static spade_status count_numbers(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field,
                                  tensor_parts *parts)
{
    onnx_wire_type wire = number_wire(field->number);
    int64_t count = 1;
    if (field->type == ONNX_WIRE_BYTES) {
        size_t bytes = field->end - field->position;
        if (wire == ONNX_WIRE_VARINT) {
            count = 0;
            for (size_t i = 0; i < bytes; i++) { count += !(cursor->data[field->position + i] & 0x80); }
            if (bytes && cursor->data[field->end - 1] & 0x80) {
                return onnx_malformed(reader, field->start, "packed tensor data do not end with a number");
            }
        } else {
            size_t size = wire == ONNX_WIRE_FIXED32 ? 4 : 8;
            if (bytes % size) {
                return onnx_malformed(reader, field->start, "packed tensor data do not end with a number");
            }
            count = (int64_t)(bytes / size);
        }
    } else {
        SPADE_TRY(onnx_expect(reader, field, wire, "tensor data"));
    }
    if (count && parts->number_field && parts->number_field != field->number) {
        return onnx_malformed(reader, field->start, "a tensor has data in two fields");
    }
    if (count) { parts->number_field = field->number; }
    parts->numbers += count;
    return SPADE_OK;
}

static spade_status push_dim(onnx_reader *reader, size_t at, uint64_t value, onnx_tensor *tensor)
{
    if (tensor->rank == ONNX_MAX_RANK) {
        return onnx_malformed(reader, at, "a tensor has more than %d dimensions", ONNX_MAX_RANK);
    }
    if ((int64_t)value < 0) { return onnx_malformed(reader, at, "a tensor has dimension %lld", (long long)value); }
    tensor->dims[tensor->rank++] = (int64_t)value;
    return SPADE_OK;
}

static spade_status read_dims(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field,
                              onnx_tensor *tensor)
{
    if (field->type == ONNX_WIRE_VARINT) { return push_dim(reader, field->start, field->value, tensor); }
    onnx_cursor packed;
    uint64_t value;
    SPADE_TRY(onnx_enter(reader, cursor, field, "dims", &packed));
    while (packed.position < packed.end && onnx_wire_varint(&packed, &value)) {
        SPADE_TRY(push_dim(reader, field->start, value, tensor));
    }
    return onnx_end(reader, &packed);
}

static spade_status read_external_entry(onnx_reader *reader, onnx_cursor cursor, onnx_location *location)
{
    char *key = NULL, *value = NULL, **slot = NULL;
    onnx_field field;
    spade_status status = SPADE_OK;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number == 1) { SPADE_GOTO(onnx_read_text(reader, &field, "external data key", ONNX_MAX_NAME, &key)); }
        if (field.number == 2) {
            SPADE_GOTO(onnx_read_text(reader, &field, "external data entry", ONNX_MAX_NAME, &value));
        }
    }
    SPADE_GOTO(onnx_end(reader, &cursor));
    SPADE_GOTO(onnx_default_text(reader, &key));
    SPADE_GOTO(onnx_default_text(reader, &value));
    slot = strcmp(key, "location") == 0 ? &location->file
           : strcmp(key, "offset") == 0 ? &location->offset
           : strcmp(key, "length") == 0 ? &location->length
                                        : NULL; /* checksum and others are of no concern here */
    if (slot) {
        free(*slot);
        *slot = value;
        value = NULL;
    }
done:
    free(key);
    free(value);
    return status;
}

static spade_status read_parts(onnx_reader *reader, onnx_cursor *cursor, onnx_tensor *tensor, tensor_parts *parts)
{
    onnx_field field;
    onnx_cursor entry;
    while (onnx_wire_next(cursor, &field)) {
        switch (field.number) {
        case 1: SPADE_TRY(read_dims(reader, cursor, &field, tensor)); break;
        case 2: SPADE_TRY(onnx_read_int(reader, &field, "data_type", &parts->type)); break;
        case 3: parts->has_segment = true; break;
        case 8: SPADE_TRY(onnx_read_text(reader, &field, "the name of a tensor", ONNX_MAX_NAME, &tensor->name)); break;
        case FIELD_RAW:
            SPADE_TRY(onnx_expect(reader, &field, ONNX_WIRE_BYTES, "raw_data"));
            parts->has_raw = true;
            parts->raw = field;
            break;
        case FIELD_STRING: SPADE_TRY(onnx_expect(reader, &field, ONNX_WIRE_BYTES, "string_data")); break;
        case FIELD_FLOAT:
        case FIELD_INT32:
        case FIELD_INT64:
        case FIELD_DOUBLE:
        case FIELD_UINT64: SPADE_TRY(count_numbers(reader, cursor, &field, parts)); break;
        case 13:
            SPADE_TRY(onnx_enter(reader, cursor, &field, "external_data", &entry));
            SPADE_TRY(read_external_entry(reader, entry, &parts->external));
            break;
        case 14: SPADE_TRY(onnx_read_int(reader, &field, "data_location", &parts->location)); break;
        default: break;
        }
    }
    SPADE_TRY(onnx_end(reader, cursor));
    return onnx_default_text(reader, &tensor->name);
}

/* One number of the wire, as an element of the tensor. */
static void store_number(const onnx_tensor *tensor, size_t size, int64_t index, uint64_t value)
{
    /* little endian: the low bytes come first, and narrower types keep just those */
    memcpy((uint8_t *)(uintptr_t)tensor->bytes + (size_t)index * size, &value, size);
}

/* Second walk: the numbers, counted before, into memory of the model. */
static spade_status decode_numbers(onnx_reader *reader, onnx_cursor cursor, uint32_t number, onnx_tensor *tensor)
{
    void *memory;
    size_t size = onnx_type_size(tensor->type);
    SPADE_TRY(spade_alloc(reader->context, tensor->size, "a tensor of the model", &memory));
    tensor->bytes = memory;
    tensor->owned = true;
    int64_t index = 0;
    onnx_field field;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number != number) { continue; }
        if (field.type != ONNX_WIRE_BYTES) {
            if (index < tensor->count) { store_number(tensor, size, index++, field.value); }
            continue;
        }
        onnx_cursor packed = onnx_wire_enter(&cursor, &field);
        if (number == FIELD_FLOAT || number == FIELD_DOUBLE) {
            int64_t count = (int64_t)((field.end - field.position) / size);
            if (count > tensor->count - index) { count = tensor->count - index; }
            memcpy((uint8_t *)memory + (size_t)index * size, cursor.data + field.position, (size_t)count * size);
            index += count;
            continue;
        }
        uint64_t value;
        while (packed.position < packed.end && index < tensor->count && onnx_wire_varint(&packed, &value)) {
            store_number(tensor, size, index++, value);
        }
        SPADE_TRY(onnx_end(reader, &packed));
    }
    if (index != tensor->count) {
        return onnx_malformed(reader, tensor->field_offset, "packed tensor data are cut off");
    }
    return SPADE_OK;
}

/* Shape and type against the data there are; then where the data are. */
static spade_status place_data(onnx_reader *reader, onnx_cursor cursor, const char *what, const tensor_parts *parts,
                               onnx_tensor *tensor)
{
    size_t at = tensor->field_offset, size = onnx_type_size(tensor->type);
    if (!spade_mul_dims(tensor->dims, tensor->rank, &tensor->count) || (uint64_t)tensor->count > SIZE_MAX ||
        !spade_mul_size((size_t)tensor->count, size ? size : 1, &tensor->size)) {
        return onnx_malformed(reader, at, "%s '%s': the product of its dimensions overflows", what, tensor->name);
    }
    if (parts->has_segment) {
        return spade_fail(reader->context, SPADE_ERROR_UNSUPPORTED, "%s: %s '%s' is stored in segments",
                          reader->model->path, what, tensor->name);
    }
    if (parts->location == 1) {
        SPADE_TRY(onnx_read_external(reader, &parts->external, size ? tensor->size : SIZE_MAX, tensor));
        if (!onnx_type_readable(tensor->type)) { tensor->bytes = NULL, tensor->size = 0; }
        return SPADE_OK;
    }
    if (parts->location != 0) {
        return onnx_malformed(reader, at, "%s '%s': unknown data_location", what, tensor->name);
    }
    if (!onnx_type_readable(tensor->type)) {
        tensor->size = 0;
        return SPADE_OK;
    }
    size_t raw_size = parts->has_raw ? parts->raw.end - parts->raw.position : 0;
    bool is_raw = raw_size > 0 || parts->number_field == 0;
    if (raw_size > 0 && parts->numbers > 0) {
        return onnx_malformed(reader, at, "%s '%s' has data in two fields", what, tensor->name);
    }
    if (!is_raw && parts->number_field != data_field(tensor->type)) {
        return onnx_malformed(reader, at, "%s '%s' has data in a field for another type", what, tensor->name);
    }
    size_t there = is_raw ? raw_size : 0;
    if (!is_raw && !spade_mul_size((size_t)parts->numbers, size, &there)) { there = SIZE_MAX; }
    if (there != tensor->size) {
        return onnx_malformed(reader, at, "%s '%s' has %zu bytes of data where its shape and type need %zu", what,
                              tensor->name, there, tensor->size);
    }
    if (!is_raw) { return decode_numbers(reader, cursor, parts->number_field, tensor); }
    tensor->bytes = reader->model->file.data + (parts->has_raw ? parts->raw.position : at);
    return SPADE_OK;
}

spade_status onnx_read_tensor(onnx_reader *reader, onnx_cursor cursor, const char *what, onnx_tensor *tensor)
{
    onnx_cursor again = cursor;
    tensor_parts parts = {0};
    spade_status status = SPADE_OK;
    tensor->field_offset = cursor.position;
    SPADE_GOTO(read_parts(reader, &cursor, tensor, &parts));
    if (parts.type <= 0 || parts.type > INT32_MAX) {
        SPADE_GOTO(onnx_malformed(reader, tensor->field_offset, "%s '%s' has no data type", what, tensor->name));
    }
    tensor->type = (int)parts.type;
    SPADE_GOTO(place_data(reader, again, what, &parts, tensor));
done:
    clear_parts(&parts);
    return status;
}

void onnx_clear_tensor(spade_context *context, onnx_tensor *tensor)
{
    free(tensor->name);
    if (tensor->owned) { spade_free_bytes(context, (void *)(uintptr_t)tensor->bytes, tensor->size); }
    if (tensor->wide_owned) {
        spade_free_bytes(context, (void *)(uintptr_t)tensor->wide, (size_t)tensor->count * sizeof(double));
    }
    *tensor = (onnx_tensor){0};
}

/* ---- elements */
static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 31, fraction = half & 1023;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 0x1p-24f; /* zero and subnormal, exact in float */
        return sign ? -value : value;
    }
    uint32_t bits = sign | (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int64_t onnx_tensor_int(const onnx_tensor *tensor, int64_t index)
{
    const uint8_t *bytes = tensor->bytes;
    int32_t narrow;
    int64_t wide;
    switch (tensor->type) {
    case ONNX_UINT8: return bytes[index];
    case ONNX_INT8: return (int8_t)bytes[index];
    case ONNX_BOOL: return bytes[index] != 0;
    case ONNX_INT32: memcpy(&narrow, bytes + index * 4, 4); return narrow;
    case ONNX_INT64: memcpy(&wide, bytes + index * 8, 8); return wide;
    default: return 0;
    }
}

float onnx_tensor_float(const onnx_tensor *tensor, int64_t index)
{
    const uint8_t *bytes = tensor->bytes;
    float single, upper = 0; /* bfloat16: the upper bytes of a float */
    double wide;
    uint16_t half;
    switch (tensor->type) {
    case ONNX_FLOAT: memcpy(&single, bytes + index * 4, 4); return single;
    case ONNX_DOUBLE: memcpy(&wide, bytes + index * 8, 8); return (float)wide;
    case ONNX_FLOAT16: memcpy(&half, bytes + index * 2, 2); return half_to_float(half);
    case ONNX_BFLOAT16: memcpy((uint8_t *)&upper + 2, bytes + index * 2, 2); return upper;
    default: return (float)onnx_tensor_int(tensor, index);
    }
}
