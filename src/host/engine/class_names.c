/*
 * class_names.c - class names from a model's metadata: under "names", "classes", "labels" or "id2label", as JSON or as
 * Python writes lists and dictionaries (str() of one is what Ultralytics and others put there).
 */
#include <ctype.h>

#include "base/json.h"
#include "base/number.h"

#include "engine/model.h"

/* ---- Python's literals as JSON */
typedef struct text {
    char *bytes; /* as much room as the JSON can take */
    size_t used;
} text;

static void put(text *out, char c)
{
    out->bytes[out->used++] = c;
}

/* A string in single or double quotes; escapes that JSON does not know (\', \x41) become their characters. Where it ends:
 * behind the closing quote, or at the end of the text. */
static const char *put_string(const char *at, text *out)
{
    const char quote = *at++;
    put(out, '"');
    while (*at && *at != quote) {
        if (*at == '"') { put(out, '\\'); }
        if (*at != '\\') {
            put(out, *at++);
            continue;
        }
        at++;
        if (*at == '\'') {
            put(out, *at++);
        } else if (*at == 'x' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])) {
            memcpy(out->bytes + out->used, "\\u00", 4);
            out->used += 4;
            put(out, at[1]);
            put(out, at[2]);
            at += 3;
        } else if (*at) {
            put(out, '\\');
            put(out, *at++);
        }
    }
    put(out, '"');
    return *at ? at + 1 : at;
}

/* A comma before the closing bracket is Python's, not JSON's. */
static void drop_comma(text *out)
{
    size_t end = out->used;
    while (end && strchr(" \t\r\n", out->bytes[end - 1])) { end--; }
    if (end && out->bytes[end - 1] == ',') { out->used = end - 1; }
}

/* "{0: 'cat', 1: 'dog'}" -> "{\"0\": \"cat\", \"1\": \"dog\"}". Other things stay, and are no JSON then. NULL: out of memory. */
static char *literal_to_json(const char *at)
{
    text out = {malloc(6 * strlen(at) + 3), 0};
    if (!out.bytes) { return NULL; }
    while (*at) {
        const size_t digits = strspn(at, "0123456789");
        if (*at == '\'' || *at == '"') {
            at = put_string(at, &out);
        } else if (digits) { /* a key */
            put(&out, '"');
            memcpy(out.bytes + out.used, at, digits);
            out.used += digits;
            put(&out, '"');
            at += digits;
        } else if (*at == '(' || *at == '[' || *at == '{') {
            put(&out, *at++ == '{' ? '{' : '[');
        } else if (*at == ')' || *at == ']' || *at == '}') {
            drop_comma(&out);
            put(&out, *at++ == '}' ? '}' : ']');
        } else {
            put(&out, *at++);
        }
    }
    put(&out, 0);
    return out.bytes;
}

/* ---- names */

/* A list or a dictionary, a new reference; NULL: the text is none. *memory: whether that is for want of memory. */
static json_t *parse_names(const char *value, bool *memory)
{
    spade_json_error error;
    json_t *names = spade_json_parse(value, strlen(value), &error);
    *memory = error.memory;
    if (*memory) { return NULL; }
    if (!json_is_array(names) && !json_is_object(names)) {
        json_decref(names);
        char *json = literal_to_json(value);
        names = json ? spade_json_parse(json, strlen(json), &error) : NULL;
        *memory = !json || error.memory;
        free(json);
    }
    if (json_is_array(names) || json_is_object(names)) { return names; }
    json_decref(names);
    return NULL;
}

static json_t *find_names(const onnx_model *onnx, bool *memory)
{
    static const char *const keys[] = {"names", "classes", "labels", "id2label", "class_names"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (int i = 0; i < onnx->metadata_count; i++) {
            const onnx_metadata *entry = &onnx->metadata[i];
            if (!entry->key || !entry->value || strcmp(entry->key, keys[k]) != 0) { continue; }
            json_t *names = parse_names(entry->value, memory);
            if (names || *memory) { return names; }
        }
    }
    return NULL;
}

/* The name of a class in a list, or in a dictionary by number. */
static const char *name_of(const json_t *names, int64_t index)
{
    char key[32];
    if (json_is_array(names)) { return json_string_value(json_array_get(names, (size_t)index)); }
    snprintf(key, sizeof key, "%lld", (long long)index);
    return json_string_value(json_object_get(names, key));
}

/* A list has a name for each class and no more, a dictionary numbers of classes: else nobody knows whose the names are (one of a
 * background before them, numbers from 1 on). */
static bool names_fit(json_t *names, int64_t classes)
{
    if (json_is_array(names)) { return json_array_size(names) == (size_t)classes; }
    const char *key;
    json_t *name;
    json_object_foreach(names, key, name)
    {
        int64_t number;
        if (!spade_parse_integer(key, &number) || number < 0 || number >= classes) { return false; }
    }
    return true;
}

spade_status spade_model_read_class_names(spade_model *model)
{
    const int64_t classes = spade_model_classes(model);
    bool memory = false;
    json_t *names = find_names(model->onnx, &memory);
    if (names && !names_fit(names, classes)) {
        spade_log(model->context, SPADE_LOG_WARNING,
                  "%.200s: the names of classes in its metadata are left out: they are not one for each of the %lld "
                  "classes; give "
                  "--labels",
                  model->path, (long long)classes);
        json_decref(names);
        return SPADE_OK;
    }
    if (names) { model->class_names = calloc((size_t)classes, sizeof *model->class_names); }
    memory = memory || (names && !model->class_names);
    for (int64_t i = 0; names && model->class_names && i < classes; i++) {
        const char *name = name_of(names, i);
        if (!name) { continue; }
        model->class_names[i] = strdup(name);
        memory = memory || !model->class_names[i];
    }
    json_decref(names);
    if (!memory) { return SPADE_OK; }
    return spade_fail(model->context, SPADE_ERROR_MEMORY, "%s: out of memory for the class names", model->path);
}

const char *spade_model_class_name(const spade_model *model, int64_t index)
{
    if (!model->class_names || index < 0 || index >= spade_model_classes(model)) { return NULL; }
    return model->class_names[index];
}
