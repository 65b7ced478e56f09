/* reader.c - failing with a position, strings, numbers and growing arrays for the ONNX reader. */
#include <stdarg.h>

#include "base/number.h"
#include "onnx/reader.h"

spade_status onnx_malformed(onnx_reader *reader, size_t at, const char *format, ...)
{
    char what[512];
    va_list arguments;
    va_start(arguments, format);
    spade_print_list(what, sizeof what, format, arguments);
    va_end(arguments);
    return spade_fail(reader->context, SPADE_ERROR_INPUT, "%s: not a readable ONNX model: %s at byte %zu",
                      reader->model->path, what, at);
}

spade_status onnx_end(onnx_reader *reader, const onnx_cursor *cursor)
{
    return cursor->error ? onnx_malformed(reader, cursor->error_at, "%s", cursor->error) : SPADE_OK;
}

spade_status onnx_expect(onnx_reader *reader, const onnx_field *field, onnx_wire_type type, const char *what)
{
    return field->type == type ? SPADE_OK : onnx_malformed(reader, field->start, "%s has the wrong wire type", what);
}

spade_status onnx_enter(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field, const char *what,
                        onnx_cursor *out)
{
    SPADE_TRY(onnx_expect(reader, field, ONNX_WIRE_BYTES, what));
    *out = onnx_wire_enter(cursor, field);
    return SPADE_OK;
}

static spade_status out_of_memory(onnx_reader *reader)
{
    return spade_fail(reader->context, SPADE_ERROR_MEMORY, "%s: out of memory", reader->model->path);
}

spade_status onnx_read_text(onnx_reader *reader, const onnx_field *field, const char *what, size_t limit, char **out)
{
    SPADE_TRY(onnx_expect(reader, field, ONNX_WIRE_BYTES, what));
    const char *text = (const char *)reader->model->file.data + field->position;
    size_t length = field->end - field->position;
    if (length > limit) {
        return onnx_malformed(reader, field->start, "%s is %zu bytes long, the limit is %zu,", what, length, limit);
    }
    if (memchr(text, 0, length)) { return onnx_malformed(reader, field->start, "%s has a zero byte inside", what); }
    if (length + 1 > ONNX_MAX_TEXT - reader->text) {
        return onnx_malformed(reader, field->start, "more than %d MiB of names", ONNX_MAX_TEXT >> 20);
    }
    char *copy = strndup(text, length);
    if (!copy) { return out_of_memory(reader); }
    reader->text += length + 1;
    free(*out);
    *out = copy;
    return SPADE_OK;
}

spade_status onnx_read_int(onnx_reader *reader, const onnx_field *field, const char *what, int64_t *out)
{
    SPADE_TRY(onnx_expect(reader, field, ONNX_WIRE_VARINT, what));
    *out = (int64_t)field->value;
    return SPADE_OK;
}

spade_status onnx_default_text(onnx_reader *reader, char **text)
{
    if (!*text) { *text = strdup(""); }
    return *text ? SPADE_OK : out_of_memory(reader);
}

spade_status onnx_push(onnx_reader *reader, void *array, int *count, size_t element)
{
    void *items;
    memcpy(&items, array, sizeof items); /* a pointer of any type, read and written as bytes */
    if ((*count & (*count - 1)) == 0) {
        size_t capacity = *count ? (size_t)*count * 2 : 1;
        void *grown = realloc(items, capacity * element);
        if (!grown) { return out_of_memory(reader); }
        items = grown;
        memcpy(array, &items, sizeof items);
    }
    memset((char *)items + (size_t)*count * element, 0, element);
    (*count)++;
    return SPADE_OK;
}
