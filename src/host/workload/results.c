/* results.c - see results.h. */
#include "workload/folder.h"
#include "workload/results.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/name_map.h"
#include "store/npy.h"
#include "workload/trace_input.h"

static spade_status fail_memory(const spade_results *results)
{
    return spade_fail(results->context, SPADE_ERROR_MEMORY, "%s: out of memory", results->folder);
}

static const char *record_name(const json_t *record)
{
    const char *name = json_string_value(json_object_get(record, "name"));
    return name ? name : "";
}

/* ---- the files of a record */

/* NAME/FILE: what the file is called in its folder; NULL: the text names no file of this input. */
static const char *file_in_folder(const char *text, const char *name)
{
    const size_t length = strlen(name);
    if (!length || strncmp(text, name, length) != 0 || text[length] != '/') { return NULL; }
    const char *file = text + length + 1;
    return *file && *file != '.' && !strchr(file, '/') ? file : NULL;
}

/* text: NAME/FILE; path: where that is. False: no further files. */
typedef bool (*file_visit)(const spade_results *results, const char *text, const char *path, void *user);

/* Call visit for every file that the record names, in it or in what it holds. False: visit said so. */
static bool visit_files(const spade_results *results, const json_t *value, const char *name, file_visit visit,
                        void *user)
{
    size_t index;
    json_t *item;
    const char *key;
    if (json_is_array(value)) {
        json_array_foreach(value, index, item)
        {
            if (!visit_files(results, item, name, visit, user)) { return false; }
        }
    } else if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            const bool input = strcmp(key, "file") == 0; /* whose path may begin so, too */
            if (!input && !visit_files(results, item, name, visit, user)) { return false; }
        }
    } else if (json_is_string(value) && file_in_folder(json_string_value(value), name)) {
        char *path;
        if (asprintf(&path, "%s/%s", results->folder, json_string_value(value)) < 0) { return false; }
        bool go_on = visit(results, json_string_value(value), path, user);
        free(path);
        return go_on;
    }
    return true;
}

/* What a crash of the machine may have cut off is not there: an array of another length than its shape asks, an empty picture. */
static bool is_there(const spade_results *results, const char *text, const char *path, void *user)
{
    struct stat info;
    (void)text;
    (void)user;
    if (spade_ends_in(path, ".npy")) { return spade_array_file_is_whole(results->context, path); }
    return stat(path, &info) == 0 && info.st_size > 0;
}

/* user: the texts of files that stay, as the keys of an object; NULL: none. */
static bool remove_file(const spade_results *results, const char *text, const char *path, void *user)
{
    (void)results;
    if (!user || !json_object_get(user, text)) { (void)unlink(path); }
    return true;
}

/* False: out of memory. */
static bool add_text(const spade_results *results, const char *text, const char *path, void *user)
{
    (void)results;
    (void)path;
    return json_object_set_new(user, text, json_true()) == 0;
}

bool spade_results_has_files(const spade_results *results, const json_t *record)
{
    return visit_files(results, record, record_name(record), is_there, NULL);
}

/* A name, or several with slashes between them, none of which leads out of the folder or is hidden. */
static bool is_inside(const char *name)
{
    for (const char *at = name; at; at = strchr(at, '/')) {
        at += *at == '/' && at != name;
        if (!*at || *at == '.' || *at == '/') { return false; }
    }
    return true;
}

/* The value of a line that was read from the file, which is freed; NULL: it is none. */
static spade_status parse_line(const spade_results *results, char *line, json_t **out)
{
    spade_json_error error;
    *out = spade_json_parse(line, strlen(line), &error);
    free(line);
    return error.memory ? fail_memory(results) : SPADE_OK;
}

/* The same, which is a record, or NULL: what is not one is worth nothing. */
static spade_status parse_record(const spade_results *results, char *line, json_t **out)
{
    SPADE_TRY(parse_line(results, line, out));
    const char *name = json_string_value(json_object_get(*out, "name"));
    if (name && json_is_string(json_object_get(*out, "file")) && is_inside(name)) { return SPADE_OK; }
    json_decref(*out);
    *out = NULL;
    return SPADE_OK;
}

/* ---- what was there before */

/* Remove the folder of an input, and those that it lies in: each stays where something else is in it. */
static void remove_folders(const spade_results *results, const char *name)
{
    char *inside = strdup(name), *path;
    for (char *end = inside; end; end = strrchr(inside, '/')) {
        if (end != inside) { *end = 0; }
        if (asprintf(&path, "%s/%s", results->folder, inside) < 0) { break; }
        (void)rmdir(path);
        free(path);
    }
    free(inside);
}

/* Remove the files that the records name, and the journal. */
static spade_status remove_all(spade_results *results)
{
    int64_t offset = 0;
    char *line;
    while (offset < results->journal.size) {
        SPADE_TRY(spade_journal_read(results->context, &results->journal, offset, &line, &offset));
        json_t *record;
        SPADE_TRY(parse_record(results, line, &record));
        if (!record) { continue; }
        visit_files(results, record, record_name(record), remove_file, NULL);
        remove_folders(results, record_name(record));
        json_decref(record);
    }
    /* The journal last: as long as it is there, a run that is killed here can be repeated. */
    static const char *const files[] = {"sparse_fc.safetensors", "results.json", "results.csv", "results.jsonl"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", results->folder, files[i]) < 0) { return fail_memory(results); }
        bool removed = unlink(path) == 0 || errno == ENOENT;
        spade_status status =
            removed ? SPADE_OK
                    : spade_fail(results->context, SPADE_ERROR_IO, "%s: cannot be removed: %s", path, strerror(errno));
        free(path);
        SPADE_TRY(status);
    }
    spade_journal_close(&results->journal);
    return SPADE_OK;
}

/* The journal's first line against this run's. *different: in what; "" where they agree. */
static spade_status compare_headers(const spade_results *results, const json_t *header, int64_t *next, char *different,
                                    size_t size)
{
    char *line;
    *different = 0;
    SPADE_TRY(spade_journal_read(results->context, &results->journal, 0, &line, next));
    json_t *old;
    SPADE_TRY(parse_line(results, line, &old));
    if (!json_is_object(json_object_get(old, "configuration"))) {
        json_decref(old);
        return spade_fail(results->context, SPADE_ERROR_INPUT,
                          "%s: its first line is no configuration; remove the file, or give another folder",
                          results->path);
    }
    static const char *const first[] = {"command", "columns", NULL}, *const paths[] = {"model", "batch", NULL};
    spade_json_difference(old, header, first, paths, different, size);
    json_decref(old);
    return SPADE_OK;
}

static spade_status compare_input(const spade_results *results, const json_t *record, const spade_input *input,
                                  bool *same)
{
    const json_t *index = json_object_get(record, "index");
    json_t *file = spade_json_text(input->file);
    if (!file) { return fail_memory(results); }
    *same =
        json_equal(file, json_object_get(record, "file")) && (index ? json_integer_value(index) : -1) == input->index;
    json_decref(file);
    return SPADE_OK;
}

static spade_status add_other(spade_results *results, int64_t offset)
{
    const int n = results->other_count;
    if ((n & (n - 1)) == 0) { /* room for the next power of two */
        int64_t *others = realloc(results->others, sizeof *others * 2 * (size_t)(n + 1));
        if (!others) { return fail_memory(results); }
        results->others = others;
    }
    results->others[results->other_count++] = offset;
    return SPADE_OK;
}

/* Which records of before are wanted. */
typedef struct record_filter {
    spade_results_keep keep;
    void *user;
} record_filter;

static void note_line(spade_results *results, int position, int64_t offset, bool failed)
{
    results->in_order = results->in_order && position > results->last_position;
    results->last_position = position;
    results->offsets[position] = offset;
    results->failed[position] = failed;
}

/* One line of the journal: the record of an input of this run, of another one, or nothing that is of use. */
static spade_status index_record(spade_results *results, const spade_name_map *names, const record_filter *filter,
                                 const json_t *record, int64_t offset)
{
    if (!record || json_object_get(record, "error")) {
        results->in_order = false;
        return SPADE_OK;
    }
    int position = spade_name_map_get(names, record_name(record));
    if (position < 0) {
        results->in_order = false;
        return add_other(results, offset);
    }
    const spade_input *input = &results->inputs->items[position];
    bool same, holds;
    SPADE_TRY(compare_input(results, record, input, &same));
    if (!same) {
        return spade_fail(
            results->context, SPADE_ERROR_ARGUMENT,
            "%s/%s holds the results of %s, and %s would get this name; give another folder, or --restart "
            "to remove all results there",
            results->folder, input->name, json_string_value(json_object_get(record, "file")), input->file);
    }
    SPADE_TRY(filter->keep(filter->user, position, record, &holds));
    if (holds) {
        note_line(results, position, offset, false);
    } else {
        results->in_order = false;
        results->forgotten[position] = offset;
    }
    return SPADE_OK;
}

static spade_status index_records(spade_results *results, const record_filter *filter, int64_t offset)
{
    spade_context *context = results->context;
    spade_name_map names = {0};
    spade_status status = SPADE_OK;
    for (int i = 0; i < results->inputs->count; i++) {
        if (!spade_name_map_put(&names, results->inputs->items[i].name, i)) { SPADE_GOTO(fail_memory(results)); }
    }
    while (offset < results->journal.size) {
        char *line;
        int64_t start = offset;
        SPADE_GOTO(spade_journal_read(context, &results->journal, start, &line, &offset));
        json_t *record;
        SPADE_GOTO(parse_record(results, line, &record));
        status = index_record(results, &names, filter, record, start);
        json_decref(record);
        if (status != SPADE_OK) { goto done; }
    }
done:
    spade_name_map_clear(&names);
    return status;
}

static spade_status keep_all(void *user, int position, const json_t *record, bool *holds)
{
    (void)user;
    (void)position;
    (void)record;
    *holds = true;
    return SPADE_OK;
}

static bool has_records(const spade_results *results)
{
    for (int i = 0; i < results->inputs->count; i++) {
        if (results->offsets[i] >= 0) { return true; }
    }
    return results->other_count > 0;
}

/* A run's journal is written before all else and removed after it: without one, what is there is somebody's, and stays. */
static spade_status check_foreign(const spade_results *results)
{
    static const char *const files[] = {"results.json", "results.csv", "report.html"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", results->folder, files[i]) < 0) { return fail_memory(results); }
        const bool there = access(path, F_OK) == 0;
        const spade_status status =
            there ? spade_fail(results->context, SPADE_ERROR_ARGUMENT,
                               "%s is there, without the results.jsonl of the run that made it, and would be replaced; "
                               "give another folder, or move it",
                               path)
                  : SPADE_OK;
        free(path);
        SPADE_TRY(status);
    }
    return SPADE_OK;
}

static spade_status open_journal(spade_results *results, const json_t *header, bool restart,
                                 const record_filter *filter)
{
    char different[400];
    bool found;
    int64_t next;
    SPADE_TRY(spade_journal_open(results->context, results->path, &results->journal, &found));
    if (!found) { return check_foreign(results); }
    if (restart) { return remove_all(results); }
    if (results->journal.size == 0) { return remove_all(results); } /* not even the first line */
    SPADE_TRY(compare_headers(results, header, &next, different, sizeof different));
    const record_filter any = {keep_all, NULL};
    SPADE_TRY(index_records(results, *different ? &any : filter, next));
    if (!*different) { return SPADE_OK; }
    if (has_records(results)) {
        return spade_fail(results->context, SPADE_ERROR_ARGUMENT,
                          "%s holds results of another configuration (%s); give another folder, or --restart to remove "
                          "them",
                          results->folder, different);
    }
    return remove_all(results);
}

spade_status spade_results_open(spade_context *context, const char *folder, const json_t *header,
                                const spade_inputs *inputs, bool restart, spade_results_keep keep, void *user,
                                spade_results *out)
{
    const record_filter filter = {keep, user};
    spade_status status = SPADE_OK;
    *out = (spade_results){.context = context, .folder = folder, .inputs = inputs, .lock = -1};
    out->journal.file = -1;
    out->in_order = true;
    out->last_position = -1;
    SPADE_TRY(spade_folder_check_kind(context, folder, false));
    SPADE_TRY(spade_make_folders(context, folder, "cannot make the folder", &out->folders_made));
    out->header = spade_json_dump(header, JSON_COMPACT);
    out->offsets = malloc(sizeof *out->offsets * (size_t)(inputs->count + 1));
    out->forgotten = malloc(sizeof *out->forgotten * (size_t)(inputs->count + 1));
    out->failed = calloc((size_t)inputs->count + 1, sizeof *out->failed);
    if (asprintf(&out->path, "%s/results.jsonl", folder) < 0) { out->path = NULL; }
    if (!out->header || !out->offsets || !out->forgotten || !out->failed || !out->path) {
        SPADE_GOTO(fail_memory(out));
    }
    for (int i = 0; i < inputs->count; i++) { out->offsets[i] = out->forgotten[i] = -1; }
    SPADE_GOTO(spade_lock_folder(context, folder, &out->lock));
    spade_sweep_temporaries(folder);
    SPADE_GOTO(open_journal(out, header, restart, &filter));
done:
    if (status != SPADE_OK) { spade_results_close(out); }
    return status;
}

/* ---- records */

spade_status spade_results_get(const spade_results *results, int position, char **line, json_t **record)
{
    int64_t next;
    *line = NULL;
    *record = NULL;
    if (results->offsets[position] < 0) { return SPADE_OK; }
    SPADE_TRY(spade_journal_read(results->context, &results->journal, results->offsets[position], line, &next));
    spade_json_error error;
    *record = spade_json_parse(*line, strlen(*line), &error);
    if (*record) { return SPADE_OK; }
    free(*line);
    *line = NULL;
    if (error.memory) { return fail_memory(results); }
    return spade_fail(results->context, SPADE_ERROR_IO, "%s: changed while it was read", results->path);
}

/* The input has a new record: what the one that was forgotten names, and this one does not, goes. */
static spade_status remove_forgotten(spade_results *results, int position, const json_t *record)
{
    int64_t next;
    char *line;
    json_t *old;
    if (results->forgotten[position] < 0) { return SPADE_OK; }
    SPADE_TRY(spade_journal_read(results->context, &results->journal, results->forgotten[position], &line, &next));
    SPADE_TRY(parse_record(results, line, &old));
    json_t *files = json_object();
    const bool done = files && visit_files(results, record, record_name(record), add_text, files);
    if (done && old) {
        visit_files(results, old, record_name(old), remove_file, files);
        remove_folders(results, record_name(old)); /* of an input that cannot be used any more */
    }
    results->forgotten[position] = -1;
    json_decref(files);
    json_decref(old);
    return done ? SPADE_OK : fail_memory(results);
}

spade_status spade_results_add(spade_results *results, int position, const json_t *record)
{
    if (results->journal.file < 0) {
        SPADE_TRY(spade_journal_create(results->context, results->path, results->header, &results->journal));
        results->journal_made = true;
    }
    char *line = spade_json_dump(record, JSON_COMPACT);
    if (!line) { return fail_memory(results); }
    int64_t offset;
    spade_status status = spade_journal_append(results->context, &results->journal, line, &offset);
    free(line);
    SPADE_TRY(status);
    note_line(results, position, offset, json_object_get(record, "error") != NULL);
    return remove_forgotten(results, position, record);
}

/* ---- the end */

static spade_status copy_line(const spade_results *results, int64_t offset, FILE *file)
{
    char *line;
    int64_t next;
    SPADE_TRY(spade_journal_read(results->context, &results->journal, offset, &line, &next));
    fputs(line, file);
    fputc('\n', file);
    free(line);
    return SPADE_OK;
}

static spade_status copy_lines(const spade_results *results, FILE *file)
{
    SPADE_TRY(copy_line(results, 0, file));
    for (int i = 0; i < results->other_count; i++) { SPADE_TRY(copy_line(results, results->others[i], file)); }
    for (int i = 0; i < results->inputs->count; i++) {
        if (results->offsets[i] >= 0) { SPADE_TRY(copy_line(results, results->offsets[i], file)); }
    }
    return SPADE_OK;
}

spade_status spade_results_remaining(const spade_results *results, spade_inputs *out)
{
    const spade_inputs *inputs = results->inputs;
    *out = (spade_inputs){.items = malloc(sizeof *out->items * (size_t)(inputs->count + 1))};
    if (!out->items) { return fail_memory(results); }
    for (int i = 0; i < inputs->count; i++) {
        if (results->offsets[i] < 0) { out->items[out->count++] = inputs->items[i]; }
    }
    return SPADE_OK;
}

spade_status spade_results_each(const spade_results *results, bool failed, spade_results_visit visit, void *user)
{
    spade_status status = SPADE_OK;
    for (int i = 0; i < results->inputs->count && status == SPADE_OK; i++) {
        char *line;
        json_t *record;
        if (results->failed[i] != failed) { continue; }
        SPADE_TRY(spade_results_get(results, i, &line, &record));
        if (record) { status = visit(user, line, record); }
        json_decref(record);
        free(line);
    }
    return status;
}

spade_status spade_results_add_failure(spade_results *results, const spade_input *input, const char *message)
{
    json_t *json = json_object();
    spade_json_set(&json, "file", spade_json_text(input->file));
    if (input->index >= 0) { spade_json_set(&json, "index", json_integer(input->index)); }
    spade_json_set(&json, "name", spade_json_text(input->name));
    spade_json_set(&json, "error", spade_json_text(message));
    if (!json) { return spade_fail(results->context, SPADE_ERROR_MEMORY, "%s: out of memory", input->title); }
    const spade_status status = spade_results_add(results, input->position, json);
    json_decref(json);
    return status;
}

spade_status spade_results_finish(spade_results *results)
{
    spade_output file;
    if (results->in_order || results->journal.file < 0) { return SPADE_OK; }
    SPADE_TRY(spade_output_open(results->context, results->path, &file));
    spade_status status = copy_lines(results, file.file);
    if (status != SPADE_OK) {
        spade_output_abort(&file);
        return status;
    }
    return spade_output_commit(results->context, &file);
}

/* Is there an input that could be used? */
static bool has_results(const spade_results *results)
{
    for (int i = 0; i < results->inputs->count; i++) {
        if (results->offsets[i] >= 0 && !results->failed[i]) { return true; }
    }
    return false;
}

void spade_results_close(spade_results *results)
{
    spade_journal_close(&results->journal);
    if (results->journal_made && !has_results(results)) { (void)unlink(results->path); }
    if (results->lock >= 0) { close(results->lock); }
    spade_remove_folders(results->folder, results->folders_made); /* where nothing is in them */
    free(results->header);
    free(results->path);
    free(results->offsets);
    free(results->forgotten);
    free(results->failed);
    free(results->others);
    *results = (spade_results){.lock = -1};
    results->journal.file = -1;
}
