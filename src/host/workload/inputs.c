/* inputs.c - files, folders and arrays to single inputs; names that are safe and unique. */
#include <errno.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/name_map.h"
#include "base/text.h"
#include "picture/format.h"
#include "workload/folder.h"
#include "workload/inputs.h"

enum { MAX_INPUTS = 100000000, MAX_NAME = 200 };

static bool has_suffix(const char *path, const char *suffix)
{
    size_t length = strlen(path), end = strlen(suffix);
    return length > end && strcasecmp(path + length - end, suffix) == 0;
}

bool spade_is_array_path(const char *path)
{
    return has_suffix(path, ".npy");
}

spade_status spade_check_array(spade_context *context, const char *path, const spade_array *array, int64_t channels,
                               int64_t height, int64_t width)
{
    const int64_t *dims = array->dims;
    if (array->rank == 4 && dims[0] >= 1 && dims[1] == channels && dims[2] == height && dims[3] == width) {
        return SPADE_OK;
    }
    if (array->rank == 4 && !dims[0]) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: there is no input in it", path);
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

/* ---- the list */

/* The name without its suffix; the last part of a path is cut to MAX_NAME bytes. malloc'ed. NULL: out of memory. */
static char *make_stem(const char *relative, int64_t index)
{
    const char *slash = strrchr(relative, '/'), *base = slash ? slash + 1 : relative, *dot = strrchr(base, '.');
    const int before = (int)(base - relative);
    const int length = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    char number[32] = "", *stem;
    if (index >= 0) { snprintf(number, sizeof number, "_%04lld", (long long)index); }
    const int whole = before + (length < MAX_NAME ? length : MAX_NAME);
    return asprintf(&stem, "%.*s%s", whole, relative, number) < 0 ? NULL : stem;
}

/* malloc'ed for an entry of an array, else the file itself. NULL: out of memory. */
static char *make_title(char *file, int64_t index)
{
    char *title;
    if (index < 0) { return file; }
    return asprintf(&title, "%s[%lld]", file, (long long)index) < 0 ? NULL : title;
}

spade_status spade_inputs_add(spade_context *context, spade_inputs *list, const char *file, const char *relative,
                              int64_t index, const char *error)
{
    if (list->count >= MAX_INPUTS) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "more than %d inputs", MAX_INPUTS);
    }
    if ((list->count & (list->count - 1)) == 0) { /* room for the next power of two */
        spade_input *items = realloc(list->items, sizeof *items * 2 * (size_t)(list->count + 1));
        if (!items) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", file); }
        list->items = items;
    }
    spade_input *item = &list->items[list->count];
    *item = (spade_input){.file = strdup(file),
                          .stem = make_stem(relative, index),
                          .index = index,
                          .position = list->count++,
                          .error = error ? strdup(error) : NULL};
    item->title = make_title(item->file, index);
    if (!item->file || !item->stem || !item->title || (error && !item->error)) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", file);
    }
    return SPADE_OK;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

typedef struct collected {
    spade_context *context;
    spade_inputs *list;
} collected;

static spade_status add_picture(void *user, const char *file, const char *relative)
{
    const collected *to = user;
    return spade_inputs_add(to->context, to->list, file, relative, -1, NULL);
}

/* What a folder holds besides pictures is named; one without pictures is an item with an error. */
static spade_status add_folder(spade_context *context, spade_inputs *list, const char *path, bool recursive)
{
    collected to = {context, list};
    char *skipped, *reason, *message = NULL;
    const int before = list->count;
    SPADE_TRY(spade_folder_pictures(context, path, recursive, add_picture, &to, &skipped, &reason));
    spade_status status = SPADE_OK;
    if (list->count > before && skipped) {
        spade_log(context, SPADE_LOG_WARNING, "%s: skipped: %s", path, skipped);
    } else if (list->count == before) {
        const int length = asprintf(&message, "%s: %s%s%s", path,
                                    reason ? reason : "no pictures (" SPADE_DECODED_FORMATS ") in this folder",
                                    skipped ? "; there are " : "", skipped ? skipped : "");
        status = length < 0 ? spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)
                            : spade_inputs_add(context, list, path, base_name(path), -1, message);
        if (length >= 0) { free(message); }
    }
    free(skipped);
    free(reason);
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
    if (status != SPADE_OK) {
        return spade_inputs_add(context, list, path, base_name(path), -1, spade_message(context));
    }
    for (int64_t i = 0; i < entries && status == SPADE_OK; i++) {
        status = spade_inputs_add(context, list, path, base_name(path), i, NULL);
    }
    return status;
}

/* ---- names */

/* Is it one of the files beside the folders of results? */
static bool is_reserved(const char *name, size_t length)
{
    static const char *const others[] = {"results.jsonl", "results.json", "results.csv", "report.html", "report"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strlen(others[i]) == length && memcmp(name, others[i], length) == 0) { return true; }
    }
    return false;
}

/* A folder name from a stem: no control characters, never hidden, never one of the files beside it. A stem of several
 * parts stays one of several folders. NULL: out of memory. */
static char *safe_name(const char *stem)
{
    char *clean = spade_utf8(stem);
    if (!clean) { return NULL; }
    for (char *at = clean; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == '\\') { *at = '_'; }
    }
    const bool reserved = !*clean || *clean == '.' || is_reserved(clean, strcspn(clean, "/"));
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

/* The first of equal names keeps it; the others get _2, _3, ... that nobody else has. */
static bool make_unique(spade_inputs *list)
{
    spade_input **order = malloc(sizeof *order * (size_t)(list->count + 1));
    spade_name_map names = {0}; /* its keys are the names that stay */
    if (!order) { return false; }
    for (int i = 0; i < list->count; i++) { order[i] = &list->items[i]; }
    qsort(order, (size_t)list->count, sizeof *order, by_item_name);
    bool ok = true;
    for (int i = 0; i < list->count && ok; i++) { ok = spade_name_map_put(&names, order[i]->name, i); }
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
        } while (ok && spade_name_map_get(&names, name) >= 0);
        if (ok) {
            free(order[i]->name);
            order[i]->name = name;
            ok = spade_name_map_put(&names, name, i);
        }
    }
    spade_name_map_clear(&names);
    free(order);
    return ok;
}

spade_status spade_inputs_name(spade_context *context, spade_inputs *list)
{
    bool named = true;
    for (int i = 0; i < list->count; i++) {
        list->items[i].name = safe_name(list->items[i].stem);
        named = named && list->items[i].name;
    }
    return named && make_unique(list) ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
}

spade_status spade_inputs_check_output(spade_context *context, char *const *paths, int count, bool recursive,
                                       const char *output)
{
    struct stat to, info;
    if (!recursive || stat(output, &to) != 0) { return SPADE_OK; }
    for (int i = 0; i < count; i++) {
        if (stat(paths[i], &info) != 0 || !S_ISDIR(info.st_mode) || info.st_dev != to.st_dev ||
            info.st_ino != to.st_ino) {
            continue;
        }
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "-o %s is the folder of the inputs: its results would be inputs, too; choose another",
                          output);
    }
    return SPADE_OK;
}

spade_status spade_inputs_collect(spade_context *context, char *const *paths, int count, bool recursive,
                                  int64_t channels, int64_t height, int64_t width, spade_inputs *out)
{
    spade_status status = SPADE_OK;
    bool folders = false;
    *out = (spade_inputs){0};
    for (int i = 0; i < count; i++) {
        struct stat info;
        if (stat(paths[i], &info) != 0) {
            char message[512];
            snprintf(message, sizeof message, "%s: %s", paths[i], strerror(errno));
            SPADE_GOTO(spade_inputs_add(context, out, paths[i], base_name(paths[i]), -1, message));
        } else if (S_ISDIR(info.st_mode)) {
            folders = true;
            SPADE_GOTO(add_folder(context, out, paths[i], recursive));
        } else if (spade_is_array_path(paths[i])) {
            SPADE_GOTO(add_array(context, out, paths[i], channels, height, width));
        } else {
            SPADE_GOTO(spade_inputs_add(context, out, paths[i], base_name(paths[i]), -1, NULL));
        }
    }
    SPADE_GOTO(spade_inputs_name(context, out));
    if (recursive && !folders) {
        spade_log(context, SPADE_LOG_WARNING, "--recursive has no effect: no input is a folder");
    }
done:
    if (status != SPADE_OK) { spade_inputs_clear(out); }
    return status;
}

void spade_inputs_clear(spade_inputs *inputs)
{
    for (int i = 0; i < inputs->count; i++) {
        if (inputs->items[i].title != inputs->items[i].file) { free(inputs->items[i].title); }
        free(inputs->items[i].file);
        free(inputs->items[i].stem);
        free(inputs->items[i].name);
        free(inputs->items[i].error);
        free(inputs->items[i].label);
        free(inputs->items[i].mask);
    }
    free(inputs->items);
    *inputs = (spade_inputs){0};
}
