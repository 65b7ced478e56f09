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

/* A list or a dictionary, a new reference; NULL: the text is none. error: also whether a class stands in it twice. */
static json_t *parse_names(const char *value, spade_json_error *error)
{
    json_t *names = spade_json_parse(value, strlen(value), error);
    if (error->memory) { return NULL; }
    if (!json_is_array(names) && !json_is_object(names)) {
        json_decref(names);
        char *json = literal_to_json(value);
        names = json ? spade_json_parse(json, strlen(json), error) : NULL;
        error->memory = error->memory || !json;
        free(json);
    }
    if (json_is_array(names) || json_is_object(names)) { return names; }
    json_decref(names);
    return NULL;
}

/* entry: the first one of the metadata that is names, or, where none is, that looks like a list in another notation. */
static json_t *find_names(const onnx_model *onnx, const onnx_metadata **entry, spade_json_error *error)
{
    static const char *const keys[] = {"names", "classes", "labels", "id2label", "class_names"};
    *entry = NULL;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (int i = 0; i < onnx->metadata_count; i++) {
            const onnx_metadata *at = &onnx->metadata[i];
            if (!at->key || !at->value || strcmp(at->key, keys[k]) != 0) { continue; }
            json_t *names = parse_names(at->value, error);
            if (names || (!*entry && strpbrk(at->value, ",\n"))) { *entry = at; }
            if (names || error->memory) { return names; }
        }
    }
    return NULL;
}

/*
 * The name of each class, NULL where it has none. A list has a name for each class and no more, a dictionary numbers of classes:
 * else (false) nobody knows whose the names are: one of a background before them, numbers from 1 on.
 */
static bool place_names(json_t *names, int64_t classes, const char **placed)
{
    const char *key;
    size_t index;
    json_t *name;
    if (json_is_array(names) && json_array_size(names) != (size_t)classes) { return false; }
    json_array_foreach(names, index, name)
    {
        placed[index] = json_string_value(name);
    }
    json_object_foreach(names, key, name)
    {
        int64_t number;
        if (!spade_parse_integer(key, &number) || number < 0 || number >= classes || placed[number]) { return false; }
        placed[number] = json_string_value(name);
    }
    return true;
}

/* Copies of the names; false: out of memory. */
static bool keep_names(spade_model *model, const char *key, const char *const *placed, int64_t classes)
{
    int64_t count = 0;
    model->class_names = calloc((size_t)classes, sizeof *model->class_names);
    for (int64_t i = 0; model->class_names && i < classes; i++) {
        if (!placed[i]) { continue; }
        model->class_names[i] = strdup(placed[i]);
        if (!model->class_names[i]) { return false; }
        count++;
    }
    if (model->class_names && count < classes) {
        spade_log(
            model->context, SPADE_LOG_WARNING,
            "%.200s: \"%s\" in its metadata names %lld of the %lld classes; the others are numbers; --labels names all",
            model->path, key, (long long)count, (long long)classes);
    }
    return model->class_names;
}

spade_status spade_model_read_class_names(spade_model *model)
{
    const int64_t classes = spade_model_classes(model);
    const onnx_metadata *entry;
    spade_json_error error = {0};
    json_t *names = find_names(model->onnx, &entry, &error);
    const char **placed = calloc((size_t)classes + 1, sizeof *placed);
    bool memory = error.memory || !placed;
    if (memory || !entry) {
        /* nothing to say: there are no names, or no memory to know */
    } else if (!names) {
        spade_log(
            model->context, SPADE_LOG_WARNING,
            "%.200s: \"%s\" in its metadata is left out: it is neither a list nor a dictionary of names; give --labels",
            model->path, entry->key);
    } else if (error.repeats || !place_names(names, classes, placed)) {
        spade_log(
            model->context, SPADE_LOG_WARNING,
            "%.200s: \"%s\" in its metadata is left out: its names are not one for each of the %lld classes; give "
            "--labels",
            model->path, entry->key, (long long)classes);
    } else {
        memory = !keep_names(model, entry->key, placed, classes);
    }
    free(placed);
    json_decref(names);
    if (!memory) { return SPADE_OK; }
    return spade_fail(model->context, SPADE_ERROR_MEMORY, "%s: out of memory for the class names", model->path);
}

const char *spade_model_class_name(const spade_model *model, int64_t index)
{
    if (!model->class_names || index < 0 || index >= spade_model_classes(model)) { return NULL; }
    return model->class_names[index];
}
