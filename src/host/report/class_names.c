/* class_names.c - what the classes are called. */
#include "base/base.h"
#include "report/record.h"
#include "base/text.h"

enum { MAX_BYTES = 16 << 20, MAX_NAME = 200 };

void class_names_clear(class_names *names)
{
    for (int64_t i = 0; names->items && i < names->count; i++) { free(names->items[i]); }
    free(names->items);
    *names = (class_names){0};
}

/* The next line, without blanks at its end and the end itself (a newline, a carriage return, or both); *at: behind it. */
static size_t take_line(const char **at, const char *end)
{
    const char *begin = *at, *stop = begin;
    while (stop < end && *stop != '\n' && *stop != '\r') { stop++; }
    *at = stop < end ? stop + 1 : end;
    if (*at < end && *stop == '\r' && **at == '\n') { ++*at; }
    while (stop > begin && (stop[-1] == ' ' || stop[-1] == '\t')) { stop--; }
    return (size_t)(stop - begin);
}

/* One name a line, in UTF-8; empty lines, and lines of blanks, at the end do not count. */
static spade_status read_lines(spade_context *context, const char *path, const char *text, int64_t classes,
                               class_names *out)
{
    const char *at = text, *end = text + strlen(text);
    int64_t lines = 0, names = 0, empty = 0;
    out->items = calloc((size_t)classes + 1, sizeof *out->items);
    if (!out->items) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    while (at < end) {
        const char *line = at;
        const size_t length = take_line(&at, end);
        lines++;
        if (!length) {
            if (!empty) { empty = lines; }
            continue;
        }
        if (empty) { /* a class without a name would shift all that follow */
            return spade_fail(context, SPADE_ERROR_INPUT, "%s: line %lld is empty; give a name on each line", path,
                              (long long)empty);
        }
        if (names < classes) {
            out->items[names] = strndup(line, length < MAX_NAME ? length : MAX_NAME);
            if (!out->items[names]) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
            out->count = names + 1;
        }
        names++;
    }
    if (names == classes) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: %lld name%s, the network has %lld classes", path,
                      (long long)names, names == 1 ? "" : "s", (long long)classes);
}

/* The file as text: UTF-8, without a byte order mark. malloc'ed. */
static spade_status read_text(spade_context *context, const char *path, char **out)
{
    static const char mark[] = "\xef\xbb\xbf";
    spade_mapping file;
    *out = NULL;
    SPADE_TRY(spade_map_file(context, path, MAX_BYTES, &file));
    const char *bytes = (const char *)file.data;
    const size_t skip = file.size >= 3 && memcmp(bytes, mark, 3) == 0 ? 3 : 0;
    const bool zero = memchr(bytes, 0, file.size) != NULL;
    char *text = zero ? NULL : strndup(bytes + skip, file.size - skip), *clean = text ? spade_utf8(text) : NULL;
    const bool memory = !zero && (!text || !clean), same = clean && strcmp(text, clean) == 0;
    spade_unmap(&file);
    free(clean);
    if (same) {
        *out = text;
        return SPADE_OK;
    }
    free(text);
    if (memory) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: the text is not UTF-8; save it as UTF-8", path);
}

spade_status class_names_load(spade_context *context, const char *path, const spade_model *model, class_names *out)
{
    *out = (class_names){.model = model};
    if (!path) { return SPADE_OK; }
    char *text;
    SPADE_TRY(read_text(context, path, &text));
    spade_status status = read_lines(context, path, text, spade_model_classes(model), out);
    free(text);
    if (status != SPADE_OK) { class_names_clear(out); }
    return status;
}

const char *class_given_name(const class_names *names, int64_t index)
{
    const char *name = names->items && index < names->count ? names->items[index] : NULL;
    if (!name) { name = spade_model_class_name(names->model, index); }
    return name && *name ? name : NULL;
}

const char *class_name(const class_names *names, int64_t index, char *buffer)
{
    const char *name = class_given_name(names, index);
    if (name) { return name; }
    snprintf(buffer, 32, "class %lld", (long long)index);
    return buffer;
}
