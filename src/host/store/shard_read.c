/* shard_read.c - a tar or part file of a shard, row by row, as far as it is whole. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/shard.h"
#include "store/shard_text.h"

typedef struct reading {
    spade_context *context;
    const spade_store *store;
    int64_t end; /* row */
    const char *path;
    int file;
    uint64_t size, at; /* of the file; where the next header is */
    uint8_t *content;  /* of the last member */
    size_t capacity;
    spade_shard_member *maps; /* of the row at hand */
    int map_count, map_capacity;
    spade_shard_beginning *out;
} reading;

static spade_status fail_memory(const reading *r)
{
    return spade_fail(r->context, SPADE_ERROR_MEMORY, "%s: out of memory", r->path);
}

/* The file ends here, as far as it is of use. */
static spade_status end_at(reading *r, const char *reason)
{
    snprintf(r->out->reason, sizeof r->out->reason, "%s", reason);
    return SPADE_OK;
}

/* *whole false: the file ends before. */
static spade_status read_at(const reading *r, void *to, size_t size, uint64_t offset, bool *whole)
{
    *whole = false;
    for (size_t done = 0; done < size;) {
        const ssize_t count = pread(r->file, (char *)to + done, size - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) { continue; }
        if (count < 0) { return spade_fail(r->context, SPADE_ERROR_IO, "%s: %s", r->path, strerror(errno)); }
        if (count == 0) { return SPADE_OK; }
        done += (size_t)count;
    }
    *whole = true;
    return SPADE_OK;
}

/* ---- members */

/* The content of the member, with a zero behind it. */
static spade_status read_content(reading *r, const spade_shard_member *member, bool *whole)
{
    const uint64_t padded = spade_tar_padded(member->size);
    *whole = false;
    if (member->offset + padded > r->size) { return SPADE_OK; }
    if (!r->content || padded + 1 > r->capacity) {
        uint8_t *larger = realloc(r->content, (size_t)padded + 1);
        if (!larger) { return fail_memory(r); }
        r->content = larger;
        r->capacity = (size_t)padded + 1;
    }
    SPADE_TRY(read_at(r, r->content, (size_t)padded, member->offset, whole));
    for (uint64_t i = member->size; i < padded && *whole; i++) { *whole = !r->content[i]; }
    r->content[member->size] = 0;
    return SPADE_OK;
}

static spade_status keep_map(reading *r, const spade_shard_member *member)
{
    if (r->map_count == r->map_capacity) {
        const int capacity = 2 * r->map_capacity + 8;
        spade_shard_member *larger = realloc(r->maps, (size_t)capacity * sizeof *larger);
        if (!larger) { return fail_memory(r); }
        r->maps = larger;
        r->map_capacity = capacity;
    }
    r->maps[r->map_count++] = *member;
    return SPADE_OK;
}

/* ---- rows */

/* Are the maps that stand before the JSON those that it names? */
static bool maps_agree(const reading *r, const json_t *record)
{
    const json_t *maps = json_object_get(record, "maps");
    if ((size_t)r->map_count != json_array_size(maps)) { return false; }
    for (int i = 0; i < r->map_count; i++) {
        const json_t *map = json_array_get(maps, (size_t)i);
        if (strcmp(spade_json_text_at(map, "file"), r->maps[i].name) != 0 ||
            strcmp(spade_json_text_at(map, "xxh128"), r->maps[i].xxh128) != 0 ||
            json_integer_value(json_object_get(map, "bytes")) != (json_int_t)r->maps[i].size) {
            return false;
        }
    }
    return true;
}

/* *record NULL: the member is not the row's JSON, or is damaged. */
static spade_status read_record(const reading *r, const spade_shard_member *member, json_t **record)
{
    spade_json_error error;
    *record = NULL;
    if (!shard_text_is_whole((const char *)r->content, (size_t)member->size)) { return SPADE_OK; }
    json_t *json = spade_json_parse((const char *)r->content, (size_t)member->size, &error);
    if (!json && error.memory) { return fail_memory(r); }
    const json_t *row = json_object_get(json, "row");
    if (json_is_integer(row) && json_integer_value(row) == r->out->next && maps_agree(r, json)) {
        *record = json;
    } else {
        json_decref(json);
    }
    return SPADE_OK;
}

static spade_status take_json(reading *r, const spade_shard_member *member, spade_shard_visit visit, void *user,
                              bool *on)
{
    json_t *record;
    SPADE_TRY(read_record(r, member, &record));
    if (!record) { return end_at(r, "a row's JSON is damaged, or does not belong there"); }
    if (strcmp(spade_json_text_at(record, "configuration"), r->store->configuration) != 0) {
        json_decref(record);
        return end_at(r, "it is of another configuration");
    }
    const spade_shard_row row = {
        .row = r->out->next, .record = record, .json = *member, .maps = r->maps, .map_count = r->map_count};
    const spade_status status = visit ? visit(user, &row) : SPADE_OK;
    json_decref(record);
    SPADE_TRY(status);
    r->out->next++;
    r->out->bytes = r->at;
    r->map_count = 0;
    *on = true;
    return SPADE_OK;
}

/* A member, and with its JSON a row. *on false: nothing behind it is of use. */
static spade_status read_member(reading *r, spade_shard_visit visit, void *user, bool *on)
{
    uint8_t block[SPADE_TAR_BLOCK];
    spade_shard_member member = {.offset = r->at + SPADE_TAR_BLOCK};
    char key[SPADE_STORE_KEY];
    bool whole;
    *on = false;
    SPADE_TRY(read_at(r, block, sizeof block, r->at, &whole));
    if (!whole) { return end_at(r, "it is cut off"); }
    if (!spade_tar_parse(block, member.name, &member.size)) { return end_at(r, "a header is damaged"); }
    spade_store_key(r->out->next, key);
    const size_t length = strlen(key);
    if (strncmp(member.name, key, length) != 0 || member.name[length] != '.') {
        return end_at(r, "a member does not belong there");
    }
    SPADE_TRY(read_content(r, &member, &whole));
    if (!whole) { return end_at(r, "it is cut off, or what fills up a block is damaged"); }
    const spade_mapping piece = {.data = r->content, .size = (size_t)member.size};
    spade_fingerprint(&piece, 1, member.xxh128);
    r->at = member.offset + spade_tar_padded(member.size);
    if (strcmp(member.name + length, ".json") == 0) { return take_json(r, &member, visit, user, on); }
    *on = true;
    return keep_map(r, &member);
}

/* Behind the last row. */
static spade_status read_end(reading *r)
{
    uint8_t zeros[SPADE_TAR_END];
    bool whole;
    if (r->size != r->at + SPADE_TAR_END) { return end_at(r, "the archive's end is not where it belongs"); }
    SPADE_TRY(read_at(r, zeros, sizeof zeros, r->at, &whole));
    for (size_t i = 0; i < sizeof zeros && whole; i++) { whole = !zeros[i]; }
    if (!whole) { return end_at(r, "the archive's end is damaged"); }
    r->out->complete = true;
    return SPADE_OK;
}

spade_status spade_shard_read(spade_context *context, const spade_store *store, int64_t shard, const char *path,
                              spade_shard_visit visit, void *user, spade_shard_beginning *out)
{
    struct stat info;
    reading r = {.context = context, .store = store, .end = spade_store_end(store, shard), .path = path, .out = out};
    spade_status status = SPADE_OK;
    *out = (spade_shard_beginning){.next = spade_store_first(store, shard)};
    r.file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (r.file < 0 && errno == ENOENT) { return end_at(&r, "there is no such file"); } /* any more */
    if (r.file < 0 || fstat(r.file, &info) != 0) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_IO, "%s: %s", path, strerror(errno)));
    }
    if (!S_ISREG(info.st_mode)) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "%s: not a regular file", path)); }
    r.size = (uint64_t)info.st_size;
    for (bool on = true; on && (out->next < r.end);) { SPADE_GOTO(read_member(&r, visit, user, &on)); }
    if (out->next == r.end) { SPADE_GOTO(read_end(&r)); }
done:
    if (r.file >= 0) { close(r.file); }
    free(r.content);
    free(r.maps);
    return status;
}
