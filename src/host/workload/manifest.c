/* manifest.c - see manifest.h. */
#include "workload/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/close_names.h"
#include "base/text.h"
#include "picture/format.h"
#include "workload/folder.h"

enum { MAX_BYTES = 1 << 30, MAX_CELLS = 64 };

/* ---- CSV */

typedef enum column { IMAGE, LABEL, MASK, COLUMNS } column;
static const char *const column_names[COLUMNS] = {"image", "label", "mask"};

typedef struct table {
    spade_context *context;
    const char *path;
    char *at;               /* what is left of the text, which cells are cut out of in place */
    int64_t line;           /* of `at`, from 1 on */
    int64_t row;            /* line in which the last row begins */
    const char *begin;      /* of the last row */
    bool whole;             /* all columns are read, and files are not looked for: spade_manifest_open() */
    char *cells[MAX_CELLS]; /* of the last row */
    int count, width;       /* cells of the last row, and of the first */
    int places[COLUMNS];    /* -1: there is no such column */
    int64_t foreign_rows;   /* with cells of other columns that are not UTF-8 */
    int64_t foreign_row;    /* the first of them, as its line, */
    const char *foreign;    /* and the column's name */
} table;

static spade_status fail_row(const table *t, const char *what)
{
    return spade_fail(t->context, SPADE_ERROR_INPUT, "%s: line %lld: %s", t->path, (long long)t->row, what);
}

/* A cell in quotes, in which two stand for one: *at behind the quote that ends it. NULL: none does. */
static char *read_quoted(table *t)
{
    char *cell = ++t->at, *to = cell;
    for (; *t->at; t->at++) {
        if (*t->at == '\n') { t->line++; }
        if (*t->at == '"' && t->at[1] != '"') { break; }
        t->at += *t->at == '"';
        *to++ = *t->at;
    }
    if (!*t->at) { return NULL; }
    t->at++;
    *to = 0;
    return cell;
}

/* A row; count 0: there is none any more. Lines without anything are passed over. */
static spade_status read_row(table *t)
{
    t->count = 0;
    while (*t->at == '\n' || (*t->at == '\r' && t->at[1] == '\n')) {
        t->line += *t->at == '\n';
        t->at++;
    }
    t->row = t->line;
    t->begin = t->at;
    for (bool more = *t->at; more;) {
        if (t->count == MAX_CELLS) { return fail_row(t, "more than 64 columns"); }
        char *cell = *t->at == '"' ? read_quoted(t) : t->at;
        if (!cell) { return fail_row(t, "a quote is not closed"); }
        if (cell == t->at) { t->at += strcspn(t->at, ",\n"); }
        char *end = t->at; /* of the cell; a carriage return before the line's end is no part of it */
        if (end > cell && end[-1] == '\r' && *end != ',') {
            end[-1] = 0;
        } else if (*end == '\r') {
            *end = 0;
            t->at = ++end;
        }
        if (*end && *end != ',' && *end != '\n') { return fail_row(t, "text behind a quote"); }
        more = *end == ',';
        t->line += *end == '\n';
        t->at = *end ? end + 1 : end;
        *end = 0;
        t->cells[t->count++] = cell;
    }
    return SPADE_OK;
}

/* Blanks around a name are none of it. */
static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length && (text[length - 1] == ' ' || text[length - 1] == '\t')) { text[--length] = 0; }
    return text;
}

/* A column that nobody reads may be one whose name is written wrong. */
static void warn_of_columns(const table *t)
{
    char names[300] = "";
    size_t used = 0;
    int count = 0;
    for (int i = 0; i < t->count; i++) {
        if (i == t->places[IMAGE] || i == t->places[LABEL] || i == t->places[MASK]) { continue; }
        if (used < sizeof names) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s'%.40s'", count ? ", " : "", t->cells[i]);
        }
        count++;
    }
    if (!count) { return; }
    spade_log(t->context, SPADE_LOG_WARNING, "%s: column%s that %s not read: %s (image, label and mask are)", t->path,
              count == 1 ? "" : "s", count == 1 ? "is" : "are", names);
}

/* What stands in the first line instead, and whether that looks like cells which something else separates. */
static spade_status fail_head(const table *t)
{
    char names[300] = "", line[500];
    size_t used = 0;
    bool semicolons = false, tabs = false;
    for (int i = 0; i < t->count; i++) {
        semicolons = semicolons || strchr(t->cells[i], ';');
        tabs = tabs || strchr(t->cells[i], '\t');
        if (used < sizeof names) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s'%.40s'", i ? ", " : "", t->cells[i]);
        }
    }
    snprintf(line, sizeof line, "no column is called image; the first line names the columns, and has %s%s", names,
             semicolons ? "; cells are to be separated by commas, not semicolons"
             : tabs     ? "; cells are to be separated by commas, not tabs"
                        : "");
    return fail_row(t, line);
}

static spade_status read_head(table *t)
{
    SPADE_TRY(read_row(t));
    if (!t->count) { return fail_row(t, "it is empty; the first line names the columns: image,label,mask"); }
    t->width = t->count;
    for (int i = 0; i < t->count; i++) { t->cells[i] = trim(t->cells[i]); }
    for (int c = 0; c < COLUMNS; c++) {
        t->places[c] = -1;
        for (int i = 0; i < t->count; i++) {
            if (strcasecmp(t->cells[i], column_names[c]) != 0) { continue; }
            if (t->places[c] >= 0) { return fail_row(t, "a column is there twice"); }
            t->places[c] = i;
            memcpy(t->cells[i], column_names[c], strlen(column_names[c])); /* "Label" is called so from here on */
        }
    }
    if (t->places[IMAGE] < 0) { return fail_head(t); }
    if (!t->whole) { warn_of_columns(t); }
    return SPADE_OK;
}

static const char *cell_at(const table *t, column c)
{
    return t->places[c] < 0 ? "" : t->cells[t->places[c]];
}

/* path, from the manifest's folder on; malloc'ed. */
static char *resolve(const char *manifest, const char *path)
{
    const char *slash = strrchr(manifest, '/');
    char *out;
    if (*path == '/' || !slash) { return strdup(path); }
    return asprintf(&out, "%.*s/%s", (int)(slash - manifest), manifest, path) < 0 ? NULL : out;
}

static bool keep_text(const char *text, char **out)
{
    *out = *text ? strdup(text) : NULL;
    return *out || !*text;
}

/* Records are JSON, which is UTF-8. A path in another encoding would become another one there; a remark only loses letters. */
static spade_status check_cells(table *t, const char *const *names)
{
    const int64_t before = t->foreign_rows;
    for (int i = 0; i < t->count; i++) {
        if (spade_is_utf8(t->cells[i])) { continue; }
        for (int c = 0; c < COLUMNS; c++) {
            if (i != t->places[c]) { continue; }
            char text[100];
            snprintf(text, sizeof text, "%s: not UTF-8; write the file in UTF-8%s", column_names[c],
                     c == LABEL ? "" : ", and names of files too");
            return fail_row(t, text);
        }
        if (!t->foreign_rows) {
            t->foreign_row = t->row;
            t->foreign = names[i];
        }
        t->foreign_rows += t->foreign_rows == before;
    }
    return SPADE_OK;
}

static void warn_of_foreign_cells(const table *t)
{
    if (!t->whole || !t->foreign_rows) { return; }
    spade_log(t->context, SPADE_LOG_WARNING,
              "%s: line %lld: %s: not UTF-8; bytes that are not become ? in the records (%lld line%s)", t->path,
              (long long)t->foreign_row, t->foreign, (long long)t->foreign_rows, t->foreign_rows == 1 ? "" : "s");
}

static spade_status add_row(const table *t, spade_inputs *out)
{
    const char *image = cell_at(t, IMAGE), *mask = cell_at(t, MASK);
    if (!*image) { return fail_row(t, "there is no image"); }
    if (spade_is_array_path(image)) { return fail_row(t, "an image is a picture's file, not an array"); }
    char *file = resolve(t->path, image), *message = NULL;
    if (!file) { return spade_fail(t->context, SPADE_ERROR_MEMORY, "%s: out of memory", t->path); }
    if (!t->whole && access(file, F_OK) != 0 &&
        asprintf(&message, "%s: %s (%s, line %lld)", file, strerror(errno), t->path, (long long)t->row) < 0) {
        message = NULL;
    }
    /* named after its path as the manifest has it, without the steps that lead out of the folder */
    const char *relative = image;
    for (const char *up = relative; (up = strstr(up, "../"));) { relative = up += 3; }
    relative += *relative == '/' ? strlen(relative) - strlen(strrchr(relative, '/') + 1) : 0;
    spade_status status = spade_inputs_add(t->context, out, file, relative, -1, message);
    free(file);
    free(message);
    SPADE_TRY(status);
    spade_input *input = &out->items[out->count - 1];
    input->mask = *mask ? resolve(t->path, mask) : NULL;
    if (!keep_text(cell_at(t, LABEL), &input->label) || (*mask && !input->mask)) {
        return spade_fail(t->context, SPADE_ERROR_MEMORY, "%s: out of memory", t->path);
    }
    return SPADE_OK;
}

/* What a file with zero bytes is, for messages. */
static const char *describe_binary(const char *bytes, size_t size)
{
    const spade_picture_format *format = spade_picture_format_of((const uint8_t *)bytes, size);
    if (format) { return format->name; }
    return size > 4 && memcmp(bytes, "PK\3\4", 4) == 0 ? "ZIP" : "no text";
}

/* The file as a text; malloc'ed, *size without its end. */
static spade_status read_text(spade_context *context, const char *path, char **out, size_t *size)
{
    spade_mapping file;
    SPADE_TRY(spade_map_file(context, path, MAX_BYTES, &file));
    char *text = *out = malloc(file.size + 1);
    *size = file.size;
    if (text) {
        memcpy(text, file.data, file.size);
        text[file.size] = 0;
    }
    spade_unmap(&file);
    if (!text) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    if (strlen(text) == *size) { return SPADE_OK; }
    const char *what = describe_binary(text, *size);
    free(text);
    *out = NULL;
    return spade_fail(context, SPADE_ERROR_INPUT,
                      "%s: no CSV file, as it has zero bytes (%s); a data set is a CSV file or a folder, of `spade "
                      "annotate` also tars",
                      path, what);
}

/* Where the columns' names begin. */
static char *behind_mark(char *text)
{
    return strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
}

/* Where the last row begins. */
static spade_status note_row(const table *t, const char *text, int count, size_t **rows)
{
    if ((count & (count - 1)) == 0) { /* room for the next power of two */
        size_t *larger = realloc(*rows, sizeof *larger * 2 * (size_t)(count + 1));
        if (!larger) { return spade_fail(t->context, SPADE_ERROR_MEMORY, "%s: out of memory", t->path); }
        *rows = larger;
    }
    (*rows)[count] = (size_t)(t->begin - text);
    return SPADE_OK;
}

/* rows: where each begins is noted there; NULL: it is not, and only the columns known by name are wanted. */
static spade_status read_csv(spade_context *context, const char *path, spade_inputs *out, size_t **rows)
{
    table t = {.context = context, .path = path, .line = 1, .whole = rows != NULL};
    char *text, *names[MAX_CELLS];
    size_t size;
    SPADE_TRY(read_text(context, path, &text, &size));
    spade_status status = SPADE_OK;
    t.at = behind_mark(text);
    SPADE_GOTO(read_head(&t));
    memcpy(names, t.cells, sizeof names);
    for (;;) {
        SPADE_GOTO(read_row(&t));
        if (!t.count) { break; }
        if (t.count != t.width) { SPADE_GOTO(fail_row(&t, "it has not as many cells as the first line")); }
        SPADE_GOTO(check_cells(&t, (const char *const *)names));
        if (rows) { SPADE_GOTO(note_row(&t, text, out->count, rows)); }
        SPADE_GOTO(add_row(&t, out));
    }
    warn_of_foreign_cells(&t);
    if (!out->count) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "%s: no picture is named in it", path)); }
done:
    free(text);
    return status;
}

/* ---- a tree */

typedef struct found_pictures {
    spade_context *context;
    spade_inputs *list;
    const char *class_name; /* NULL: there are no classes */
    int64_t folder;
} found_pictures;

static spade_status add_picture(void *user, const char *file, const char *relative)
{
    const found_pictures *to = user;
    char *name;
    const char *class_name = to->class_name ? to->class_name : "";
    if (asprintf(&name, "%s%s%s", class_name, *class_name ? "/" : "", relative) < 0) {
        return spade_fail(to->context, SPADE_ERROR_MEMORY, "%s: out of memory", file);
    }
    spade_status status = spade_inputs_add(to->context, to->list, file, name, -1, NULL);
    free(name);
    SPADE_TRY(status);
    spade_input *input = &to->list->items[to->list->count - 1];
    input->folder = to->folder;
    input->label = to->class_name ? strdup(to->class_name) : NULL;
    return input->label || !to->class_name ? SPADE_OK
                                           : spade_fail(to->context, SPADE_ERROR_MEMORY, "%s: out of memory", file);
}

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name);
}

/* A class's folder with all folders in it; class_name NULL: a folder of pictures without classes, and only what lies in it. */
static spade_status read_class(spade_context *context, const char *folder, const char *class_name, int64_t place,
                               spade_inputs *out)
{
    found_pictures to = {context, out, class_name, place};
    char *skipped, *reason;
    SPADE_TRY(spade_folder_pictures(context, folder, class_name != NULL, add_picture, &to, &skipped, &reason));
    spade_status status = SPADE_OK;
    if (reason) { /* which pictures there are must not depend on what can be read today: they are numbered */
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s%s%s", folder, strchr(reason, ':') ? "/" : ": ", reason);
    } else if (skipped) {
        spade_log(context, SPADE_LOG_WARNING, "%s: skipped: %s", folder, skipped);
    }
    free(skipped);
    free(reason);
    return status;
}

/* flat: where no folder in it holds a picture, those that lie in it are taken, without labels. */
static spade_status read_tree(spade_context *context, const char *path, bool flat, spade_inputs *out, int64_t *folders)
{
    struct dirent **entries = NULL;
    const int count = scandir(path, &entries, is_shown, by_name);
    if (count < 0) { return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", path, strerror(errno)); }
    spade_status status = SPADE_OK;
    const struct dirent *beside = NULL; /* the first entry that is no folder, or one of results */
    int others = 0;
    for (int i = 0; i < count; i++) {
        struct stat info;
        char *folder = NULL;
        if (status == SPADE_OK && asprintf(&folder, "%s/%s", path, entries[i]->d_name) < 0) {
            folder = NULL;
            status = spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
        }
        if (folder && stat(folder, &info) == 0 && S_ISDIR(info.st_mode) && !spade_folder_holds_results(folder)) {
            status = read_class(context, folder, entries[i]->d_name, (*folders)++, out);
        } else if (folder) {
            beside = beside ? beside : entries[i];
            others++;
        }
        free(folder);
    }
    if (status == SPADE_OK && flat && !out->count) {
        *folders = 0;
        status = read_class(context, path, NULL, 0, out);
    } else if (beside) {
        spade_log(context, SPADE_LOG_WARNING, "%s: not read: %d %s beside the classes' folders (%s%s)", path, others,
                  others == 1 ? "entry" : "entries", beside->d_name, others == 1 ? "" : ", ...");
    }
    for (int i = 0; i < count; i++) { free(entries[i]); }
    free(entries);
    if (status == SPADE_OK && !out->count) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", path,
                            flat ? "neither it nor a folder in it holds a picture"
                                 : "no folder in it holds a picture; it should have one for each class");
    }
    return status;
}

static int compare_texts(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "");
}

/* By all that a row says. */
static int compare_rows(const spade_input *a, const spade_input *b)
{
    int order = strcmp(a->file, b->file);
    if (!order) { order = compare_texts(a->label, b->label); }
    return order ? order : compare_texts(a->mask, b->mask);
}

static int by_row(const void *left, const void *right)
{
    const spade_input *a = *(const spade_input *const *)left, *b = *(const spade_input *const *)right;
    const int order = compare_rows(a, b);
    return order ? order : (a > b) - (a < b);
}

/* A row that is there twice counts twice, in means and in what is fitted. */
static spade_status warn_of_repeated_rows(spade_context *context, const char *path, const spade_inputs *inputs)
{
    const spade_input **rows = calloc((size_t)inputs->count + 1, sizeof *rows), *first = NULL;
    int repeated = 0;
    if (!rows) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    for (int i = 0; i < inputs->count; i++) { rows[i] = &inputs->items[i]; }
    qsort(rows, (size_t)inputs->count, sizeof *rows, by_row);
    for (int i = 1; i < inputs->count; i++) {
        if (compare_rows(rows[i], rows[i - 1]) == 0 && !repeated++) { first = rows[i]; }
    }
    if (repeated) {
        spade_log(context, SPADE_LOG_WARNING, "%s: %d row%s there more than once, and count%s so (%s%s)", path,
                  repeated, repeated == 1 ? " is" : "s are", repeated == 1 ? "s" : "", first->file,
                  repeated == 1 ? "" : ", ...");
    }
    free(rows);
    return SPADE_OK;
}

typedef struct file_place {
    dev_t device;
    ino_t inode;
    const spade_input *input;
} file_place;

static int by_place(const void *left, const void *right)
{
    const file_place *a = left, *b = right;
    if (a->device != b->device) { return a->device < b->device ? -1 : 1; }
    if (a->inode != b->inode) { return a->inode < b->inode ? -1 : 1; }
    return (a->input > b->input) - (a->input < b->input);
}

/* A link may lead to a picture, or a folder, that is in the tree already. */
static spade_status warn_of_twins(spade_context *context, const char *path, const spade_inputs *inputs)
{
    file_place *places = calloc((size_t)inputs->count, sizeof *places);
    const file_place *first = NULL;
    int twins = 0;
    if (!places) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    for (int i = 0; i < inputs->count; i++) {
        struct stat info = {0};
        (void)stat(inputs->items[i].file, &info);
        places[i] = (file_place){info.st_dev, info.st_ino, &inputs->items[i]};
    }
    qsort(places, (size_t)inputs->count, sizeof *places, by_place);
    for (int i = 1; i < inputs->count; i++) {
        if (places[i].device != places[i - 1].device || places[i].inode != places[i - 1].inode) { continue; }
        if (!twins++) { first = &places[i]; }
    }
    if (twins) {
        spade_log(context, SPADE_LOG_WARNING, "%s: %d picture%s there more than once (%s is %s)", path, twins,
                  twins == 1 ? " is" : "s are", first->input->file, first[-1].input->file);
    }
    free(places);
    return SPADE_OK;
}

spade_status spade_manifest_read(spade_context *context, const char *path, spade_inputs *out, int64_t *folders)
{
    struct stat info;
    *out = (spade_inputs){0};
    if (stat(path, &info) != 0) { return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", path, strerror(errno)); }
    *folders = 0;
    if (S_ISREG(info.st_mode) && spade_is_tar_name(path)) {
        return spade_fail(context, SPADE_ERROR_INPUT,
                          "%s: a tar, which `spade annotate` reads; here it is a CSV file or a folder", path);
    }
    spade_status status =
        S_ISDIR(info.st_mode) ? read_tree(context, path, false, out, folders) : read_csv(context, path, out, NULL);
    if (status == SPADE_OK) {
        status = *folders ? warn_of_twins(context, path, out) : warn_of_repeated_rows(context, path, out);
    }
    if (status == SPADE_OK) { status = spade_inputs_name(context, out); }
    if (status != SPADE_OK) { spade_inputs_clear(out); }
    return status;
}

/* ---- for bulk work */

const char *const spade_manifest_kinds[] = {"csv", "tree", "tars"};

/* A column that is kept may be one whose name is written wrong: "lable", "masks". */
static void warn_of_close_columns(const table *t)
{
    static const int near[COLUMNS] = {[LABEL] = 2, [MASK] = 1}; /* letters that are others */
    for (int c = LABEL; c < COLUMNS; c++) {
        spade_close_names close;
        if (t->places[c] >= 0) { continue; }
        spade_close_names_begin(&close, column_names[c]);
        for (int i = 0; i < t->count; i++) { spade_close_names_offer(&close, t->cells[i]); }
        if (!close.count || close.items[0].distance > near[c]) { continue; }
        spade_log(t->context, SPADE_LOG_WARNING,
                  "%s: column '%.*s' is kept, but not read as the %s: no column is called %s", t->path,
                  close.items[0].length, close.items[0].text, column_names[c], column_names[c]);
    }
}

/* The names of a CSV file's columns, and its SHA-256. */
static spade_status read_columns(spade_context *context, const char *path, spade_manifest *out)
{
    table t = {.context = context, .path = path, .line = 1, .whole = true};
    size_t size;
    SPADE_TRY(read_text(context, path, &out->text, &size));
    spade_sha256_of(out->text, size, out->sha256);
    t.at = behind_mark(out->text);
    SPADE_TRY(read_head(&t));
    out->columns = malloc(sizeof *out->columns * (size_t)t.count);
    if (!out->columns) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    memcpy(out->columns, t.cells, sizeof *out->columns * (size_t)t.count);
    out->column_count = t.count;
    for (int i = 0; i < t.count; i++) {
        if (!spade_is_utf8(t.cells[i])) { /* names are keys of JSON objects */
            return fail_row(&t, "the name of a column is not UTF-8; write the file in UTF-8");
        }
        for (int k = 0; k < i; k++) {
            if (strcmp(t.cells[i], t.cells[k]) == 0) { return fail_row(&t, "a column is there twice"); }
        }
    }
    warn_of_close_columns(&t);
    return SPADE_OK;
}

/* A picture's path from the tree's folder on. */
static const char *in_tree(const spade_manifest *manifest, const spade_input *input)
{
    const char *path = input->file + manifest->path_length;
    return path + strspn(path, "/");
}

static void hash_tree(spade_manifest *manifest)
{
    spade_sha256 sha;
    spade_sha256_begin(&sha);
    for (int i = 0; i < manifest->inputs.count; i++) {
        const char *path = in_tree(manifest, &manifest->inputs.items[i]);
        spade_sha256_add(&sha, path, strlen(path));
        spade_sha256_add(&sha, "\n", 1);
    }
    spade_sha256_end(&sha, manifest->sha256);
}

/* Records are JSON, which is UTF-8. */
static void warn_of_foreign_paths(spade_context *context, const char *path, const spade_manifest *manifest)
{
    int count = 0;
    const char *first = NULL;
    for (int i = 0; i < manifest->inputs.count; i++) {
        const char *name = in_tree(manifest, &manifest->inputs.items[i]);
        if (!spade_is_utf8(name) && !count++) { first = name; }
    }
    if (!count) { return; }
    spade_log(context, SPADE_LOG_WARNING,
              "%s: %d picture%s whose path is not UTF-8 (%s%s): bytes that are not become ? in the records, and the "
              "gallery does not find them",
              path, count, count == 1 ? "" : "s", first, count == 1 ? "" : ", ...");
}

static spade_status open_files(spade_context *context, const char *path, spade_manifest *out)
{
    struct stat info;
    if (stat(path, &info) != 0) { return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", path, strerror(errno)); }
    if (S_ISDIR(info.st_mode)) {
        out->kind = SPADE_MANIFEST_TREE;
        out->path_length = strlen(path);
        SPADE_TRY(read_tree(context, path, true, &out->inputs, &out->folders));
        SPADE_TRY(warn_of_twins(context, path, &out->inputs));
        warn_of_foreign_paths(context, path, out);
        hash_tree(out);
    } else {
        SPADE_TRY(read_csv(context, path, &out->inputs, &out->rows));
        SPADE_TRY(read_columns(context, path, out));
    }
    out->count = out->inputs.count;
    for (int i = 0; i < out->inputs.count && !out->masks; i++) { out->masks = out->inputs.items[i].mask != NULL; }
    return SPADE_OK;
}

spade_status spade_manifest_open(spade_context *context, const char *path, const char *store, spade_manifest *out)
{
    spade_tar_list tars = {0};
    *out = (spade_manifest){0};
    if (spade_folder_holds_results(path)) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: the results of a command, not a data set of pictures", path);
    }
    SPADE_TRY(spade_tar_list_find(context, path, &tars));
    spade_status status =
        tars.count ? spade_samples_open(context, path, &tars, store, &out->samples) : open_files(context, path, out);
    if (status == SPADE_OK && out->samples.count) {
        out->kind = SPADE_MANIFEST_TARS;
        out->count = out->samples.count;
        out->masks = out->samples.masks;
        memcpy(out->sha256, out->samples.sha256, sizeof out->sha256);
    }
    if (status != SPADE_OK) { spade_manifest_close(out); }
    return status;
}

void spade_manifest_keep(const spade_manifest *manifest, const char *store)
{
    if (manifest->kind == SPADE_MANIFEST_TARS) { spade_samples_keep(&manifest->samples, store); }
}

spade_status spade_manifest_take(spade_manifest *manifest, int64_t row, spade_input *out)
{
    const spade_sample *sample;
    if (manifest->kind != SPADE_MANIFEST_TARS) {
        *out = manifest->inputs.items[row];
        return SPADE_OK;
    }
    SPADE_TRY(spade_samples_take(&manifest->samples, row, &sample));
    *out = (spade_input){.file = sample->file,
                         .stem = sample->key,
                         .title = sample->file,
                         .index = -1,
                         .position = (int)row,
                         .error = sample->error,
                         .label = sample->label,
                         .mask = sample->mask,
                         .bytes = &sample->bytes};
    return SPADE_OK;
}

void spade_manifest_release(spade_manifest *manifest, int64_t row)
{
    if (manifest->kind == SPADE_MANIFEST_TARS) { spade_samples_release(&manifest->samples, row); }
}

/* The cells of a row of the CSV file, cut out of a copy that *copy holds. */
static spade_status read_cells(spade_context *context, const spade_manifest *manifest, int64_t row, table *t,
                               char **copy)
{
    const char *begin = manifest->text + manifest->rows[row];
    const size_t length =
        row + 1 < manifest->inputs.count ? manifest->rows[row + 1] - manifest->rows[row] : strlen(begin);
    *t = (table){.context = context, .path = manifest->inputs.items[row].title, .line = 1, .whole = true};
    t->at = *copy = strndup(begin, length);
    if (!*copy) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", t->path); }
    return read_row(t);
}

spade_status spade_manifest_row(spade_context *context, const spade_manifest *manifest, int64_t row, json_t **out)
{
    *out = NULL;
    if (manifest->kind == SPADE_MANIFEST_TARS) {
        const spade_sample *sample = spade_samples_find(&manifest->samples, row);
        *out = sample ? json_incref(sample->columns) : NULL;
        return sample ? SPADE_OK : spade_fail(context, SPADE_ERROR_INTERNAL, "row %lld is not at hand", (long long)row);
    }
    const spade_input *input = &manifest->inputs.items[row];
    json_t *columns = json_object();
    spade_status status = SPADE_OK;
    if (manifest->kind == SPADE_MANIFEST_TREE) {
        spade_json_set(&columns, "image", spade_json_text(in_tree(manifest, input)));
        if (input->label) { spade_json_set(&columns, "label", spade_json_text(input->label)); }
    } else {
        char *copy = NULL;
        table t;
        status = read_cells(context, manifest, row, &t, &copy);
        for (int i = 0; status == SPADE_OK && i < t.count && i < manifest->column_count; i++) {
            spade_json_set(&columns, manifest->columns[i], spade_json_text(t.cells[i]));
        }
        free(copy);
    }
    if (status == SPADE_OK && !columns) { status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    if (status != SPADE_OK) { json_decref(columns); }
    if (status == SPADE_OK) { *out = columns; }
    return status;
}

void spade_manifest_close(spade_manifest *manifest)
{
    spade_inputs_clear(&manifest->inputs);
    spade_samples_close(&manifest->samples);
    free(manifest->text);
    free(manifest->columns);
    free(manifest->rows);
    *manifest = (spade_manifest){0};
}
