/* inputs.c - files, folders and arrays to single inputs; names that are safe and unique. */
#include <dirent.h>
#include <errno.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/base.h"
#include "workload/inputs.h"
#include "report/text.h"

enum { MAX_INPUTS = 1000000, MAX_NAME = 200 };

static bool has_suffix(const char *path, const char *suffix)
{
    size_t length = strlen(path), end = strlen(suffix);
    return length > end && strcasecmp(path + length - end, suffix) == 0;
}

bool spade_is_array_path(const char *path)
{
    return has_suffix(path, ".npy");
}

static bool is_picture_name(const char *name)
{
    static const char *const suffixes[] = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".pnm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (has_suffix(name, suffixes[i])) { return true; }
    }
    return false;
}

spade_status spade_check_array(spade_context *context, const char *path, const spade_array *array, int64_t channels,
                               int64_t height, int64_t width)
{
    const int64_t *dims = array->dims;
    if (array->rank == 4 && dims[0] >= 1 && dims[1] == channels && dims[2] == height && dims[3] == width) {
        return SPADE_OK;
    }
    char shape[128] = "";
    size_t length = 0;
    for (int i = 0; i < array->rank; i++) {
        length += (size_t)snprintf(shape + length, sizeof shape - length, "%s%lld", i ? "," : "", (long long)dims[i]);
        if (length >= sizeof shape) { break; }
    }
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: shape [%s]; the network takes [n,%lld,%lld,%lld]", path, shape,
                      (long long)channels, (long long)height, (long long)width);
}

void spade_inputs_guess_size(spade_context *context, char *const *paths, int count, const char *batch,
                             spade_model_options *options)
{
    spade_array array = {0};
    for (int i = 0; i < count && !batch; i++) { batch = spade_is_array_path(paths[i]) ? paths[i] : NULL; }
    if (!batch) { return; }
    if (spade_array_load(context, batch, 0, &array) == SPADE_OK && array.rank == 4) {
        options->open_height = array.dims[2];
        options->open_width = array.dims[3];
    }
    spade_error_clear(context); /* whoever reads the array says what is wrong with it */
    spade_array_clear(&array);
}

/* ---- the list. error: taken over. */
static spade_status add(spade_context *context, spade_inputs *list, const char *file, int64_t index, const char *error)
{
    if (list->count >= MAX_INPUTS) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "more than %d inputs", MAX_INPUTS);
    }
    if ((list->count & (list->count - 1)) == 0) { /* room for the next power of two */
        spade_input *items = realloc(list->items, sizeof *items * 2 * (size_t)(list->count + 1));
        if (!items) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", file); }
        list->items = items;
    }
    const char *slash = strrchr(file, '/');
    const char *base = slash ? slash + 1 : file;
    const char *dot = strrchr(base, '.');
    int length = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    char stem[MAX_NAME * 2];
    int used = snprintf(stem, sizeof stem, "%.*s", length < MAX_NAME ? length : MAX_NAME, base);
    if (index >= 0) { snprintf(stem + used, sizeof stem - (size_t)used, "_%04lld", (long long)index); }
    spade_input *item = &list->items[list->count];
    *item = (spade_input){.file = strdup(file),
                          .stem = strdup(stem),
                          .index = index,
                          .position = list->count++,
                          .error = error ? strdup(error) : NULL};
    if (!item->file || !item->stem || (error && !item->error)) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", file);
    }
    return SPADE_OK;
}

static int by_name(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name); /* by bytes: alphasort would follow the locale */
}

static int visible_picture(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && is_picture_name(entry->d_name);
}

static spade_status add_folder(spade_context *context, spade_inputs *list, const char *path)
{
    struct dirent **entries = NULL;
    char message[512];
    int count = scandir(path, &entries, visible_picture, by_name);
    if (count <= 0) {
        snprintf(message, sizeof message, "%s: %s", path, count < 0 ? strerror(errno) : "no pictures in this folder");
        free(entries);
        return add(context, list, path, -1, message);
    }
    spade_status status = SPADE_OK;
    size_t length = strlen(path);
    const char *between = path[length - 1] == '/' ? "" : "/";
    for (int i = 0; i < count; i++) {
        char *file = NULL;
        if (status == SPADE_OK && asprintf(&file, "%s%s%s", path, between, entries[i]->d_name) >= 0) {
            status = add(context, list, file, -1, NULL);
            free(file);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

static spade_status add_array(spade_context *context, spade_inputs *list, const char *path, int64_t channels,
                              int64_t height, int64_t width)
{
    spade_array array = {0};
    spade_status status = spade_array_load(context, path, 0, &array);
    if (status == SPADE_OK) { status = spade_check_array(context, path, &array, channels, height, width); }
    int64_t entries = array.rank ? array.dims[0] : 0;
    spade_array_clear(&array);
    if (status == SPADE_ERROR_MEMORY) { return status; }
    if (status != SPADE_OK) { return add(context, list, path, -1, spade_message(context)); }
    for (int64_t i = 0; i < entries && status == SPADE_OK; i++) { status = add(context, list, path, i, NULL); }
    return status;
}

/* ---- names */

/* A folder name from a stem: no control characters, never hidden, never one of the files beside it. NULL: out of
 * memory. */
static char *safe_name(const char *stem)
{
    char *clean = spade_utf8(stem);
    if (!clean) { return NULL; }
    for (char *at = clean; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == '/' || *at == '\\') { *at = '_'; }
    }
    static const char *const others[] = {"results.jsonl", "results.json", "results.csv", "report.html", "report"};
    bool reserved = !*clean || *clean == '.';
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        reserved = reserved || strcmp(clean, others[i]) == 0;
    }
    char *name = NULL;
    if (asprintf(&name, "%s%s", reserved ? "_" : "", clean) < 0) { name = NULL; }
    free(clean);
    return name;
}

static int by_item_name(const void *left, const void *right)
{
    const spade_input *a = *(spade_input *const *)left, *b = *(spade_input *const *)right;
    int order = strcmp(a->name, b->name);
    return order ? order : (a > b) - (a < b);
}

static bool taken(const spade_inputs *list, const char *name)
{
    for (int i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) { return true; }
    }
    return false;
}

/* The first of equal names keeps it; the others get _2, _3, ... that nobody else has. */
static bool make_unique(spade_inputs *list)
{
    spade_input **order = malloc(sizeof *order * (size_t)(list->count + 1));
    if (!order) { return false; }
    for (int i = 0; i < list->count; i++) { order[i] = &list->items[i]; }
    qsort(order, (size_t)list->count, sizeof *order, by_item_name);
    bool ok = true;
    for (int i = 1, first = 0, suffix = 2; i < list->count && ok; i++) {
        if (strcmp(order[i]->name, order[first]->name) != 0) {
            first = i, suffix = 2;
            continue;
        }
        char *name = NULL;
        do {
            free(name);
            name = NULL;
            ok = asprintf(&name, "%s_%d", order[first]->name, suffix++) >= 0;
        } while (ok && taken(list, name));
        if (ok) {
            free(order[i]->name);
            order[i]->name = name;
        }
    }
    free(order);
    return ok;
}

spade_status spade_inputs_collect(spade_context *context, char *const *paths, int count, int64_t channels,
                                  int64_t height, int64_t width, spade_inputs *out)
{
    spade_status status = SPADE_OK;
    *out = (spade_inputs){0};
    for (int i = 0; i < count; i++) {
        struct stat info;
        if (stat(paths[i], &info) != 0) {
            char message[512];
            snprintf(message, sizeof message, "%s: %s", paths[i], strerror(errno));
            SPADE_GOTO(add(context, out, paths[i], -1, message));
        } else if (S_ISDIR(info.st_mode)) {
            SPADE_GOTO(add_folder(context, out, paths[i]));
        } else if (spade_is_array_path(paths[i])) {
            SPADE_GOTO(add_array(context, out, paths[i], channels, height, width));
        } else {
            SPADE_GOTO(add(context, out, paths[i], -1, NULL));
        }
    }
    bool named = true;
    for (int i = 0; i < out->count; i++) {
        out->items[i].name = safe_name(out->items[i].stem);
        named = named && out->items[i].name;
    }
    if (!named || !make_unique(out)) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }
done:
    if (status != SPADE_OK) { spade_inputs_clear(out); }
    return status;
}

void spade_inputs_clear(spade_inputs *inputs)
{
    for (int i = 0; i < inputs->count; i++) {
        free(inputs->items[i].file);
        free(inputs->items[i].stem);
        free(inputs->items[i].name);
        free(inputs->items[i].error);
    }
    free(inputs->items);
    *inputs = (spade_inputs){0};
}
