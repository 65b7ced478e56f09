/* results.c - see results.h. */
#include "support/results.h"

#include <dirent.h>
#include <sys/stat.h>

json_t *results_load(const char *folder, const char *name)
{
    char path[600];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *value = json_load_file(path, 0, &error);
    if (!value) { fail_msg("%s: %s", path, error.text); }
    return value;
}

char *results_names(const char *folder, const char *list)
{
    json_t *all = results_load(folder, "results.json"), *item;
    size_t index, size = 1;
    char *names = calloc(1, 1);
    json_array_foreach(json_object_get(all, list), index, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        assert_non_null(name);
        size += strlen(name) + 1;
        names = realloc(names, size);
        assert_non_null(names);
        if (index) { strcat(names, " "); }
        strcat(names, name);
    }
    json_decref(all);
    return names;
}

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static void drop_seconds(json_t *value)
{
    const char *key;
    size_t index;
    json_t *item;
    json_object_del(value, "seconds");
    json_object_foreach(value, key, item)
    {
        drop_seconds(item);
    }
    json_array_foreach(value, index, item)
    {
        drop_seconds(item);
    }
}

/* Every line of the file as JSON, in a list. A file of one value over several lines: that value. */
static json_t *parse_file(const char *path)
{
    if (ends_in(path, ".json")) {
        json_t *value = json_load_file(path, 0, NULL);
        assert_non_null(value);
        drop_seconds(value);
        return value;
    }
    json_t *lines = json_array();
    char *text = file_read(path, NULL), *rest = NULL;
    assert_non_null(text);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_array_append_new(lines, json_loads(line, 0, NULL));
    }
    free(text);
    drop_seconds(lines);
    return lines;
}

static void assert_same_files(const char *a, const char *b)
{
    if (ends_in(a, ".json") || ends_in(a, ".jsonl")) {
        json_t *left = parse_file(a), *right = parse_file(b);
        if (!json_equal(left, right)) { fail_msg("%s and %s differ", a, b); }
        json_decref(left);
        json_decref(right);
        return;
    }
    size_t left_size = 0, right_size = 0;
    char *left = file_read(a, &left_size), *right = file_read(b, &right_size);
    if (!left || !right || left_size != right_size || memcmp(left, right, left_size) != 0) {
        fail_msg("%s and %s differ", a, b);
    }
    free(left);
    free(right);
}

static int names_only(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

void assert_same_folders(const char *a, const char *b)
{
    struct dirent **left, **right;
    int count = scandir(a, &left, names_only, alphasort), other = scandir(b, &right, names_only, alphasort);
    for (int i = 0; i < count && i < other; i++) {
        if (strcmp(left[i]->d_name, right[i]->d_name) != 0) {
            fail_msg("%s/%s and %s/%s", a, left[i]->d_name, b, right[i]->d_name);
        }
    }
    if (count != other) { fail_msg("%s has %d entries, %s has %d", a, count, b, other); }
    for (int i = 0; i < count; i++) {
        char paths[2][600];
        struct stat info;
        snprintf(paths[0], sizeof paths[0], "%s/%s", a, left[i]->d_name);
        snprintf(paths[1], sizeof paths[1], "%s/%s", b, right[i]->d_name);
        assert_int_equal(stat(paths[0], &info), 0);
        if (S_ISDIR(info.st_mode)) {
            assert_same_folders(paths[0], paths[1]);
        } else {
            assert_same_files(paths[0], paths[1]);
        }
        free(left[i]);
        free(right[i]);
    }
    free(left);
    free(right);
}

int files_count(const char *folder, const char *text)
{
    struct dirent **entries;
    int count = 0, n = scandir(folder, &entries, names_only, alphasort);
    for (int i = 0; i < n; i++) {
        char path[600];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
            count += files_count(path, text);
        } else {
            count += strstr(entries[i]->d_name, text) != NULL;
        }
        free(entries[i]);
    }
    if (n >= 0) { free(entries); }
    return count;
}
