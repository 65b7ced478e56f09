/* json.c - JSON values made, part by part; json_parse.c reads them. */
#include "base/json.h"

#include <math.h>

#include "base/text.h"

void spade_json_set(json_t **object, const char *key, json_t *value)
{
    if (json_object_set_new(*object, key, value) == 0) { return; }
    json_decref(*object);
    *object = NULL;
}

void spade_json_append(json_t **array, json_t *value)
{
    if (json_array_append_new(*array, value) == 0) { return; }
    json_decref(*array);
    *array = NULL;
}

json_t *spade_json_text(const char *text)
{
    char *clean = spade_utf8(text);
    json_t *value = clean ? json_string(clean) : NULL;
    free(clean);
    return value;
}

json_t *spade_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *spade_json_integers(const int64_t *values, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) { spade_json_append(&list, json_integer(values[i])); }
    return list;
}

double spade_json_real_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *spade_json_text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* ---- as text */

typedef struct text_buffer {
    char *bytes; /* ends in a zero */
    size_t size, capacity;
    bool failed;
} text_buffer;

static int append(const char *bytes, size_t size, void *user)
{
    text_buffer *text = user;
    if (text->failed) { return -1; }
    if (size >= text->capacity - text->size) {
        const size_t capacity = 2 * (text->capacity + size) + 256;
        char *larger = realloc(text->bytes, capacity);
        if (!larger) {
            text->failed = true;
            return -1;
        }
        text->bytes = larger;
        text->capacity = capacity;
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = 0;
    return 0;
}

char *spade_json_dump(const json_t *value, size_t flags)
{
    text_buffer text = {0};
    if (!value) { return NULL; }
    if (json_dump_callback(value, append, &text, flags) == 0 && !text.failed) { return text.bytes; }
    free(text.bytes);
    return NULL;
}
