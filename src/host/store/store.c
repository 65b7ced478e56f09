/* store.c - see store.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/store.h"

#define STORE_JSON "store.json"
#define CONFIGURATION_HASH "configuration_hash"
enum { MAX_JSON = 1 << 30 };

/* ---- names */

void spade_store_key(int64_t row, char out[SPADE_STORE_KEY])
{
    snprintf(out, SPADE_STORE_KEY, "%09lld", (long long)row);
}

char *spade_store_path(spade_context *context, const spade_store *store, int64_t shard, const char *suffix)
{
    char *path;
    if (asprintf(&path, "%s/shard-%06lld%s", store->folder, (long long)shard, suffix) >= 0) { return path; }
    spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", store->folder);
    return NULL;
}

bool spade_store_parse_name(const char *name, int64_t *shard, const char **suffix)
{
    enum { DIGITS = 6, MOST = 12 };
    static const char prefix[] = "shard-";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) { return false; }
    name += sizeof prefix - 1;
    const size_t digits = strspn(name, "0123456789");
    if (digits < DIGITS || digits > MOST || (digits > DIGITS && *name == '0')) { return false; }
    *shard = strtoll(name, NULL, 10);
    *suffix = name + digits;
    return true;
}

/* ---- small JSON files */

void spade_store_add_members(json_t **to, const json_t *from)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)from, key, value)
    {
        if (*to && !json_object_get(*to, key)) { spade_json_set(to, key, json_incref(value)); }
    }
}

spade_status spade_store_read_json(spade_context *context, const char *path, json_t **out)
{
    spade_mapping file;
    spade_json_error error;
    struct stat info;
    *out = NULL;
    if (stat(path, &info) != 0 && errno == ENOENT) { return SPADE_OK; }
    SPADE_TRY(spade_map_file(context, path, MAX_JSON, &file));
    *out = spade_json_parse((const char *)file.data, file.size, &error);
    spade_unmap(&file);
    if (json_is_object(*out)) { return SPADE_OK; }
    if (!*out && error.memory) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    const char *reason = *out ? "not an object" : error.reason;
    json_decref(*out);
    *out = NULL;
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: no JSON of a store: %s", path, reason);
}

void spade_store_sync_folder(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) { return; }
    (void)fsync(fd);
    close(fd);
}

/* The folder that the path lies in. */
static void sync_parent(const char *path)
{
    char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
    if (slash) {
        *slash = 0;
        spade_store_sync_folder(folder);
    }
    free(folder);
}

/* The text of the JSON files: a member a line. malloc'ed. */
static spade_status dump(spade_context *context, const char *path, const json_t *json, char **text)
{
    *text = spade_json_dump(json, JSON_INDENT(1));
    return *text ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
}

spade_status spade_store_write_json(spade_context *context, const char *path, const json_t *json)
{
    spade_output file;
    char *text;
    SPADE_TRY(dump(context, path, json, &text));
    spade_status status = spade_output_open(context, path, &file);
    if (status == SPADE_OK) {
        fputs(text, file.file);
        fputc('\n', file.file);
        status = spade_output_commit(context, &file);
    }
    free(text);
    if (status == SPADE_OK) { sync_parent(path); }
    return status;
}

void spade_store_time(char out[SPADE_STORE_TIME])
{
    struct tm parts;
    const time_t now = time(NULL);
    out[0] = 0;
    if (gmtime_r(&now, &parts)) { strftime(out, SPADE_STORE_TIME, "%Y-%m-%dT%H:%M:%SZ", &parts); }
}

/* ---- store.json */

/* SHA-256 of the object as compact JSON with its members by name. */
static spade_status hash(spade_context *context, const json_t *deciding, char out[SPADE_SHA256_SIZE])
{
    char *text = spade_json_dump(deciding, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    spade_sha256_of(text, strlen(text), out);
    free(text);
    return SPADE_OK;
}

static spade_status join(spade_context *context, const char *folder, char **out)
{
    if (asprintf(out, "%s/" STORE_JSON, folder) >= 0) { return SPADE_OK; }
    *out = NULL;
    return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", folder);
}

static int64_t integer_at(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* Members that no byte of a shard depends on. */
static const char *const not_deciding[] = {"model_path", "manifest_path",    "manifest_absolute_path",
                                           "pictures",   CONFIGURATION_HASH, NULL};

/* Does store.json say what its hash is of? */
static spade_status check_hash(spade_context *context, const char *folder, const json_t *json)
{
    char found[SPADE_SHA256_SIZE];
    json_t *deciding = json_copy((json_t *)(uintptr_t)json);
    if (!deciding) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", folder); }
    for (int i = 0; not_deciding[i]; i++) { (void)json_object_del(deciding, not_deciding[i]); }
    const spade_status status = hash(context, deciding, found);
    json_decref(deciding);
    if (status != SPADE_OK || strcmp(found, spade_json_text_at(json, CONFIGURATION_HASH)) == 0) { return status; }
    return spade_fail(context, SPADE_ERROR_INPUT,
                      "%s/" STORE_JSON ": its " CONFIGURATION_HASH
                      " is that of another content: it was changed or damaged "
                      "after it was written; put back what it said",
                      folder);
}

/* What store.json says is taken over, with its reference. */
static spade_status take(spade_context *context, const char *folder, json_t *json, spade_store *out)
{
    const char *configuration = spade_json_text_at(json, CONFIGURATION_HASH);
    out->description = json;
    out->entries = integer_at(json, "entries");
    out->shard_size = integer_at(json, "shard_size");
    if (integer_at(json, "format") != SPADE_STORE_FORMAT) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s/" STORE_JSON ": a store of format %lld, known is %d", folder,
                          (long long)integer_at(json, "format"), SPADE_STORE_FORMAT);
    }
    if (out->entries < 1 || out->entries > SPADE_STORE_MAX_ENTRIES || out->shard_size < 1 ||
        out->shard_size > SPADE_STORE_MAX_ENTRIES || strlen(configuration) != SPADE_SHA256_SIZE - 1) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s/" STORE_JSON ": it does not say what the store is made with",
                          folder);
    }
    SPADE_TRY(check_hash(context, folder, json));
    memcpy(out->configuration, configuration, sizeof out->configuration);
    out->shards = (out->entries + out->shard_size - 1) / out->shard_size;
    out->folder = strdup(folder);
    return out->folder ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", folder);
}

/* Under its final name only where there is none yet: another run may begin the store at this moment. *there: it did. */
static spade_status write_first(spade_context *context, const char *path, const json_t *json, bool *there)
{
    spade_output file;
    char *text;
    *there = false;
    SPADE_TRY(dump(context, path, json, &text));
    spade_status status = spade_output_open(context, path, &file);
    if (status != SPADE_OK) {
        free(text);
        return status;
    }
    fputs(text, file.file);
    fputc('\n', file.file);
    free(text);
    const bool written = fflush(file.file) == 0 && !ferror(file.file) && fsync(fileno(file.file)) == 0;
    if (written && link(file.temporary, path) == 0) {
        spade_output_abort(&file);
        sync_parent(path);
        return SPADE_OK;
    }
    *there = written && errno == EEXIST;
    if (*there) {
        spade_output_abort(&file);
        return SPADE_OK;
    }
    return spade_output_commit(context, &file); /* a file system without links; or it says why it cannot be written */
}

/* Rows are numbered by the manifest: with another one nothing of the store can be kept. */
static spade_status fail_manifest(spade_context *context, const char *folder, const json_t *old, const json_t *now)
{
    char counts[100] = "";
    const int64_t was = integer_at(old, "entries"), is = integer_at(now, "entries");
    if (was != is) { snprintf(counts, sizeof counts, ", of %lld rows, now %lld", (long long)was, (long long)is); }
    return spade_fail(
        context, SPADE_ERROR_ARGUMENT,
        "%s was begun with another manifest%s (or this one was changed since: SHA-256 %.8s..., now %.8s...); "
        "a store keeps to one, whose rows are its keys: give another folder, or remove this one",
        folder, counts, spade_json_text_at(json_object_get(old, "manifest"), "sha256"),
        spade_json_text_at(json_object_get(now, "manifest"), "sha256"));
}

/* *done: the store is open. */
static spade_status open_existing(spade_context *context, const char *folder, const char *path, const json_t *now,
                                  spade_store *out, bool *done)
{
    static const char *const first[] = {"format", "model", "version", NULL};
    char different[400];
    json_t *old;
    SPADE_TRY(spade_store_read_json(context, path, &old));
    *done = old != NULL;
    if (!old) { return SPADE_OK; }
    SPADE_TRY(take(context, folder, old, out));
    if (strcmp(out->configuration, spade_json_text_at(now, CONFIGURATION_HASH)) == 0) { return SPADE_OK; }
    const json_t *was = json_object_get(old, "manifest"), *is = json_object_get(now, "manifest");
    if (was && is && !json_equal(was, is)) { return fail_manifest(context, folder, old, now); }
    if (!spade_json_difference(old, now, first, not_deciding, different, sizeof different)) {
        snprintf(different, sizeof different, "its hash"); /* of a member that either has and the other does not */
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "%s is a store of another configuration (%s); it stays as it is: give another folder, or remove "
                      "this one",
                      folder, different);
}

/* Without store.json the folder's finished shards still say which configuration they are of. */
static spade_status check_shard(spade_context *context, const char *folder, const char *name, const char *configuration)
{
    char *path;
    json_t *done;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", folder);
    }
    spade_status status = spade_store_read_json(context, path, &done);
    if (status == SPADE_ERROR_INPUT) { /* damaged: it counts as not there */
        spade_error_clear(context);
        status = SPADE_OK;
    }
    if (done && strcmp(spade_json_text_at(done, CONFIGURATION_HASH), configuration) != 0) {
        status = spade_fail(context, SPADE_ERROR_ARGUMENT,
                            "%s: of another configuration, and the folder has no " STORE_JSON
                            " any more; nothing is changed: the command that made it brings that back, or give "
                            "another folder",
                            path);
    }
    json_decref(done);
    free(path);
    return status;
}

static spade_status check_shards(spade_context *context, const char *folder, const char *configuration)
{
    DIR *list = opendir(folder);
    spade_status status = SPADE_OK;
    for (const struct dirent *entry; status == SPADE_OK && list && (entry = readdir(list));) {
        int64_t shard;
        const char *suffix;
        if (spade_store_parse_name(entry->d_name, &shard, &suffix) && strcmp(suffix, SPADE_SHARD_DONE) == 0) {
            status = check_shard(context, folder, entry->d_name, configuration);
        }
    }
    if (list) { closedir(list); }
    return status;
}

spade_status spade_store_create(spade_context *context, const char *folder, const json_t *deciding,
                                const json_t *description, spade_store *out)
{
    char configuration[SPADE_SHA256_SIZE], *path = NULL;
    json_t *all = json_object();
    bool done = false, there = false;
    spade_status status = SPADE_OK;
    *out = (spade_store){0};
    spade_store_add_members(&all, deciding);
    spade_store_add_members(&all, description);
    SPADE_GOTO(hash(context, deciding, configuration));
    spade_json_set(&all, CONFIGURATION_HASH, json_string(configuration));
    if (!all) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }
    SPADE_GOTO(join(context, folder, &path));
    SPADE_GOTO(spade_make_folders(context, folder, "cannot make the folder", &out->folders_made));
    SPADE_GOTO(open_existing(context, folder, path, all, out, &done));
    if (done) { goto done; }
    SPADE_GOTO(check_shards(context, folder, configuration));
    SPADE_GOTO(write_first(context, path, all, &there));
    if (there) {
        SPADE_GOTO(open_existing(context, folder, path, all, out, &done));
        goto done;
    }
    status = take(context, folder, json_incref(all), out);
done:
    if (status != SPADE_OK) {
        spade_remove_folders(folder, out->folders_made);
    } /* they stay where anything is in them */
    json_decref(all);
    free(path);
    if (status != SPADE_OK) { spade_store_clear(out); }
    return status;
}

spade_status spade_store_open(spade_context *context, const char *folder, spade_store *out)
{
    char *path;
    json_t *json;
    *out = (spade_store){0};
    SPADE_TRY(join(context, folder, &path));
    spade_status status = spade_store_read_json(context, path, &json);
    free(path);
    if (status == SPADE_OK && !json) {
        status =
            spade_fail(context, SPADE_ERROR_INPUT, "%s: no store of spade annotate: it has no " STORE_JSON, folder);
    }
    if (status == SPADE_OK) { status = take(context, folder, json, out); }
    if (status != SPADE_OK) { spade_store_clear(out); }
    return status;
}

void spade_store_clear(spade_store *store)
{
    json_decref(store->description);
    free(store->folder);
    *store = (spade_store){0};
}
