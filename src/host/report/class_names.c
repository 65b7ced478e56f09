/* class_names.c - what the classes are called. */
#include "base/base.h"
#include "report/record.h"

enum { MAX_BYTES = 16 << 20 };

void class_names_clear(class_names *names)
{
    for (int64_t i = 0; names->items && i < names->count; i++) { free(names->items[i]); }
    free(names->items);
    *names = (class_names){0};
}

/* One name a line; a carriage return before the line's end and an empty last line do not count. */
static spade_status read_lines(spade_context *context, const char *path, const spade_mapping *file, int64_t classes,
                               class_names *out)
{
    const char *at = (const char *)file->data, *end = at + file->size;
    out->items = calloc((size_t)classes + 1, sizeof *out->items);
    if (!out->items) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    int64_t lines = 0;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        size_t length = (size_t)(stop - at);
        if (length && at[length - 1] == '\r') { length--; }
        if (lines < classes) {
            out->items[lines] = strndup(at, length < 200 ? length : 200);
            if (!out->items[lines]) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
            out->count = lines + 1;
        }
        lines++;
        at = newline ? newline + 1 : end;
    }
    if (lines == classes) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: %lld names, the network has %lld classes", path,
                      (long long)lines, (long long)classes);
}

spade_status class_names_load(spade_context *context, const char *path, const spade_model *model, class_names *out)
{
    *out = (class_names){.model = model};
    if (!path) { return SPADE_OK; }
    spade_mapping file;
    SPADE_TRY(spade_map_file(context, path, MAX_BYTES, &file));
    spade_status status = read_lines(context, path, &file, spade_model_classes(model), out);
    spade_unmap(&file);
    if (status != SPADE_OK) { class_names_clear(out); }
    return status;
}

const char *class_name(const class_names *names, int64_t index, char *buffer)
{
    const char *name = names->items && index < names->count ? names->items[index] : NULL;
    if (!name) { name = spade_model_class_name(names->model, index); }
    if (name && *name) { return name; }
    snprintf(buffer, 32, "class %lld", (long long)index);
    return buffer;
}
