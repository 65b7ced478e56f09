/* shard.c - what is there of a shard, and its part file: taken up, written, finished. */
#include "store/shard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/shard_text.h"

static spade_status fail_memory(spade_context *context, const spade_store *store)
{
    return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", store->folder);
}

static spade_status fail_write(spade_context *context, const char *path)
{
    return spade_fail(context, SPADE_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
}

/* ---- what is there */

/* *json NULL: there is no such file, or half of one. */
static spade_status read_record(spade_context *context, const spade_store *store, int64_t shard, const char *suffix,
                                json_t **json)
{
    *json = NULL;
    char *path = spade_store_path(context, store, shard, suffix);
    if (!path) { return SPADE_ERROR_MEMORY; }
    spade_status status = spade_store_read_json(context, path, json);
    if (status == SPADE_ERROR_INPUT) {
        spade_log(context, SPADE_LOG_WARNING, "%s; it is passed over", spade_message(context));
        spade_error_clear(context);
        status = SPADE_OK;
    }
    free(path);
    return status;
}

static spade_status has_tar(spade_context *context, const spade_store *store, int64_t shard, const json_t *done,
                            bool *there)
{
    struct stat info;
    char *path = spade_store_path(context, store, shard, SPADE_SHARD_TAR);
    if (!path) { return SPADE_ERROR_MEMORY; }
    *there = stat(path, &info) == 0 && S_ISREG(info.st_mode) &&
             (json_int_t)info.st_size == json_integer_value(json_object_get(done, "bytes"));
    free(path);
    return SPADE_OK;
}

/* Is it this shard's? One that says other rows is damaged, as one that is no JSON. */
static bool is_of_shard(const spade_store *store, int64_t shard, const json_t *done)
{
    const json_t *rows = json_object_get(done, "rows"), *number = json_object_get(done, "shard");
    return json_is_integer(number) && json_integer_value(number) == shard &&
           json_integer_value(json_array_get(rows, 0)) == spade_store_first(store, shard) &&
           json_integer_value(json_array_get(rows, 1)) == spade_store_end(store, shard);
}

/* *done becomes NULL where it is damaged. */
static spade_status check_done(spade_context *context, const spade_store *store, int64_t shard, json_t **done)
{
    if (strcmp(spade_json_text_at(*done, "configuration_hash"), store->configuration) != 0) {
        return spade_fail(context, SPADE_ERROR_INPUT,
                          "%s/shard-%06lld" SPADE_SHARD_DONE
                          ": of another configuration than store.json; was that one replaced? Give another folder",
                          store->folder, (long long)shard);
    }
    if (is_of_shard(store, shard, *done)) { return SPADE_OK; }
    spade_log(context, SPADE_LOG_WARNING,
              "%s/shard-%06lld" SPADE_SHARD_DONE ": it names another shard, or other rows: it is passed over",
              store->folder, (long long)shard);
    json_decref(*done);
    *done = NULL;
    return SPADE_OK;
}

spade_status spade_shard_look(spade_context *context, const spade_store *store, int64_t shard, spade_shard_state *state,
                              json_t **record)
{
    json_t *json = NULL;
    bool tar = false;
    spade_status status = SPADE_OK;
    *state = SPADE_SHARD_OPEN;
    if (record) { *record = NULL; }
    SPADE_GOTO(read_record(context, store, shard, SPADE_SHARD_DONE, &json));
    if (json) { SPADE_GOTO(check_done(context, store, shard, &json)); }
    if (json) {
        SPADE_GOTO(has_tar(context, store, shard, json, &tar));
        *state = tar ? SPADE_SHARD_FINISHED : SPADE_SHARD_LOST;
    } else {
        SPADE_GOTO(read_record(context, store, shard, SPADE_SHARD_ASIDE, &json));
        if (json) { *state = SPADE_SHARD_SET_ASIDE; }
    }
    if (record) { *record = json_incref(json); }
done:
    json_decref(json);
    return status;
}

spade_status spade_shard_verify(spade_context *context, const spade_store *store, int64_t shard, const json_t *record,
                                spade_shard_state *state)
{
    char sha[SPADE_SHA256_SIZE];
    char *path = spade_store_path(context, store, shard, SPADE_SHARD_TAR);
    if (!path) { return SPADE_ERROR_MEMORY; }
    const spade_status status = spade_sha256_file(context, path, sha, NULL);
    free(path);
    if (status == SPADE_ERROR_MEMORY) { return status; }
    if (status != SPADE_OK || strcmp(sha, spade_json_text_at(record, "sha256")) != 0) { *state = SPADE_SHARD_LOST; }
    spade_error_clear(context);
    return SPADE_OK;
}

bool spade_shard_is_left(spade_shard_state state, const json_t *record, bool retry)
{
    const bool failures = json_array_size(json_object_get(record, "failures")) > 0;
    return state == SPADE_SHARD_OPEN || state == SPADE_SHARD_LOST || (retry && state == SPADE_SHARD_SET_ASIDE) ||
           (retry && state == SPADE_SHARD_FINISHED && failures);
}

/* ---- files of a shard in the folder */

typedef spade_status (*file_visit)(void *user, int64_t shard, const char *name, const char *suffix);

/* Every file of a shard, `shard` or (below 0) any. What cannot be listed has none. */
static spade_status each_file(const spade_store *store, int64_t shard, file_visit visit, void *user)
{
    DIR *folder = opendir(store->folder);
    spade_status status = SPADE_OK;
    if (!folder) { return SPADE_OK; }
    for (const struct dirent *entry; status == SPADE_OK && (entry = readdir(folder));) {
        int64_t owner;
        const char *suffix;
        if (!spade_store_parse_name(entry->d_name, &owner, &suffix)) { continue; }
        if (shard < 0 || owner == shard) { status = visit(user, owner, entry->d_name, suffix); }
    }
    closedir(folder);
    return status;
}

static bool is_part(const char *suffix)
{
    return strncmp(suffix, SPADE_SHARD_PART, sizeof SPADE_SHARD_PART - 1) == 0;
}

/* The machine's name as it stands in those of part files. */
enum { HOST_SIZE = 65 };
static void host_name(char out[HOST_SIZE])
{
    char name[256] = "";
    (void)gethostname(name, sizeof name - 1);
    snprintf(out, HOST_SIZE, "%.*s", HOST_SIZE - 1, *name ? name : "host");
    for (char *at = out; *at; at++) {
        const bool plain = (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        if (!plain && *at != '.') { *at = '_'; } /* a hyphen ends the name */
    }
}

/* ---- taking up */

static spade_status add_failure(json_t **failures, int64_t row, const json_t *record)
{
    json_t *failure = json_object();
    spade_json_set(&failure, "row", json_integer(row));
    spade_json_set(&failure, "image", json_incref(json_object_get(record, "image")));
    spade_json_set(&failure, "error", json_incref(json_object_get(record, "error")));
    spade_json_append(failures, failure);
    return *failures ? SPADE_OK : SPADE_ERROR_MEMORY;
}

/* Rows of a file that may be taken over. */
typedef struct usable_rows {
    int64_t first, end, align; /* of the shard */
    bool retry;
    bool ended; /* by a failure that is to be tried again */
    int64_t next;
    uint64_t bytes;
    json_t *failures, *pending; /* of the rows up to `next`, and of those behind them */
} usable_rows;

static spade_status use_row(void *user, const spade_shard_row *row)
{
    usable_rows *u = user;
    const bool failed = json_object_get(row->record, "error") != NULL;
    u->ended = u->ended || (failed && u->retry);
    if (u->ended) { return SPADE_OK; }
    if (failed) { SPADE_TRY(add_failure(&u->pending, row->row, row->record)); }
    if ((row->row + 1 - u->first) % u->align && row->row + 1 < u->end) { return SPADE_OK; }
    u->next = row->row + 1;
    u->bytes = row->json.offset + spade_tar_padded(row->json.size);
    if (json_array_extend(u->failures, u->pending) != 0 || json_array_clear(u->pending) != 0) {
        return SPADE_ERROR_MEMORY;
    }
    return SPADE_OK;
}

/* The longest whole beginning among the files of a shard. */
typedef struct candidate {
    spade_context *context;
    const spade_store *store;
    int64_t align;
    bool retry;
    int64_t next;
    uint64_t bytes;
    char *path; /* NULL: there is none */
    json_t *failures;
} candidate;

static spade_status try_file(void *user, int64_t shard, const char *name, const char *suffix)
{
    candidate *c = user;
    spade_shard_beginning beginning;
    usable_rows u = {.first = spade_store_first(c->store, shard),
                     .end = spade_store_end(c->store, shard),
                     .align = c->align,
                     .retry = c->retry};
    char *path = NULL;
    if (!is_part(suffix) && strcmp(suffix, SPADE_SHARD_TAR) != 0) { return SPADE_OK; }
    u.failures = json_array();
    u.pending = json_array();
    spade_status status = SPADE_ERROR_MEMORY;
    if (!u.failures || !u.pending || asprintf(&path, "%s/%s", c->store->folder, name) < 0) {
        path = NULL;
    } else {
        status = spade_shard_read(c->context, c->store, shard, path, use_row, &u, &beginning);
    }
    if (status == SPADE_ERROR_MEMORY) {
        fail_memory(c->context, c->store);
    } else if (status != SPADE_OK) { /* it can be made again */
        spade_log(c->context, SPADE_LOG_WARNING, "%s; it is passed over", spade_message(c->context));
        spade_error_clear(c->context);
        status = SPADE_OK;
    } else if (u.bytes > c->bytes) {
        free(c->path);
        json_decref(c->failures);
        c->next = u.next;
        c->bytes = u.bytes;
        c->path = path;
        c->failures = json_incref(u.failures);
        path = NULL;
    }
    json_decref(u.failures);
    json_decref(u.pending);
    free(path);
    return status;
}

/* Locked as long as it is open, so that others on this machine can tell it from one whose maker is dead. -1: see errno. */
static int create_part(char *path)
{
    enum { ATTEMPTS = 20 };
    char *digits = path + strlen(path) - 8;
    for (int i = 0; i < ATTEMPTS; i++) {
        struct stat info;
        uint32_t number;
        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) { return -1; }
        snprintf(digits, 9, "%08x", number);
        const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) { return -1; }
        if (fd < 0) { continue; }
        /* between open and flock it looks abandoned, and another process may have removed it */
        if ((flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) && fstat(fd, &info) == 0 && info.st_nlink) {
            return fd;
        }
        close(fd);
    }
    errno = EEXIST;
    return -1;
}

static spade_status open_part(spade_shard_writer *writer)
{
    char host[HOST_SIZE], suffix[HOST_SIZE + 48];
    host_name(host);
    snprintf(suffix, sizeof suffix, SPADE_SHARD_PART "%s-%ld-00000000", host, (long)getpid());
    writer->path = spade_store_path(writer->context, writer->store, writer->shard, suffix);
    if (!writer->path) { return SPADE_ERROR_MEMORY; }
    writer->file = create_part(writer->path);
    return writer->file < 0 ? fail_write(writer->context, writer->path) : SPADE_OK;
}

static bool write_all(int file, const void *bytes, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        const ssize_t written = pwrite(file, (const char *)bytes + done, size - done, (off_t)(offset + done));
        if (written < 0 && errno == EINTR) { continue; }
        if (written == 0) { errno = ENOSPC; }
        if (written <= 0) { return false; }
        done += (size_t)written;
    }
    return true;
}

/* Behind the whole rows of the part file. Where it fails, they are all that stays. */
static spade_status append(spade_shard_writer *writer, const void *bytes, size_t size)
{
    if (write_all(writer->file, bytes, size, writer->bytes)) {
        writer->bytes += size;
        spade_sha256_add(&writer->sha, bytes, size);
        return SPADE_OK;
    }
    const spade_status status = fail_write(writer->context, writer->path);
    (void)ftruncate(writer->file, (off_t)writer->bytes);
    return status;
}

static spade_status copy_beginning(spade_shard_writer *writer, const candidate *from)
{
    enum { PIECE = 1 << 18 };
    spade_context *context = writer->context;
    char *piece = malloc(PIECE);
    const int file = open(from->path, O_RDONLY | O_CLOEXEC);
    spade_status status = SPADE_OK;
    if (!piece) { SPADE_GOTO(fail_memory(context, writer->store)); }
    if (file < 0) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_IO, "%s: %s", from->path, strerror(errno))); }
    while (writer->bytes < from->bytes) {
        const uint64_t left = from->bytes - writer->bytes;
        const ssize_t count = pread(file, piece, left < PIECE ? (size_t)left : PIECE, (off_t)writer->bytes);
        if (count < 0 && errno == EINTR) { continue; }
        if (count <= 0) {
            SPADE_GOTO(spade_fail(context, SPADE_ERROR_IO, "%s: %s", from->path,
                                  count ? strerror(errno) : "became shorter while it was read"));
        }
        SPADE_GOTO(append(writer, piece, (size_t)count));
    }
done:
    if (file >= 0) { close(file); }
    free(piece);
    return status;
}

/* What the file that goes furthest holds; the next one's where that was removed by one who has done with it. */
static spade_status take_over(spade_shard_writer *writer, candidate *c)
{
    enum { ATTEMPTS = 20 };
    for (int i = 0;; i++) {
        SPADE_TRY(each_file(writer->store, writer->shard, try_file, c));
        if (!c->path) { return SPADE_OK; }
        const spade_status status = copy_beginning(writer, c);
        if (status == SPADE_OK || i == ATTEMPTS || access(c->path, F_OK) == 0) { return status; }
        spade_error_clear(writer->context);
        if (ftruncate(writer->file, 0) != 0) { return fail_write(writer->context, writer->path); }
        writer->bytes = 0;
        spade_sha256_begin(&writer->sha);
        free(c->path);
        json_decref(c->failures);
        *c = (candidate){.context = c->context,
                         .store = c->store,
                         .align = c->align,
                         .retry = c->retry,
                         .next = spade_store_first(c->store, writer->shard)};
    }
}

/* ---- part files that nobody needs any more */

typedef struct removal {
    const spade_store *store;
    const char *own; /* stays; NULL: none */
    bool dead_only;  /* those of makers on this machine that are dead */
} removal;

/* Of a maker on this machine that does not hold it any more. Where locks do not work, none is. */
static bool is_dead(const char *path, const char *suffix)
{
    char host[HOST_SIZE];
    host_name(host);
    const char *name = suffix + sizeof SPADE_SHARD_PART - 1;
    if (strncmp(name, host, strlen(host)) != 0 || name[strlen(host)] != '-') { return false; }
    const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const bool dead = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (fd >= 0) { close(fd); }
    return dead;
}

static spade_status remove_part(void *user, int64_t shard, const char *name, const char *suffix)
{
    const removal *r = user;
    char *path;
    (void)shard;
    if (!is_part(suffix) || asprintf(&path, "%s/%s", r->store->folder, name) < 0) { return SPADE_OK; }
    const bool own = r->own && strcmp(path, r->own) == 0;
    if (!own && (!r->dead_only || is_dead(path, suffix))) { (void)unlink(path); }
    free(path);
    return SPADE_OK;
}

static void remove_parts(const spade_shard_writer *writer, bool dead_only)
{
    removal r = {.store = writer->store, .own = dead_only ? writer->path : NULL, .dead_only = dead_only};
    (void)each_file(writer->store, writer->shard, remove_part, &r);
}

typedef struct sweep {
    spade_context *context;
    const spade_store *store;
} sweep;

static spade_status sweep_part(void *user, int64_t shard, const char *name, const char *suffix)
{
    const sweep *s = user;
    removal r = {.store = s->store, .dead_only = true}; /* --retry makes shards anew that are done */
    spade_shard_state state;
    if (!is_part(suffix) || shard >= s->store->shards) { return SPADE_OK; }
    if (spade_shard_look(s->context, s->store, shard, &state, NULL) == SPADE_OK && state == SPADE_SHARD_FINISHED) {
        (void)remove_part(&r, shard, name, suffix);
    }
    spade_error_clear(s->context);
    return SPADE_OK;
}

void spade_store_sweep(spade_context *context, const spade_store *store)
{
    sweep s = {context, store};
    spade_sweep_temporaries(store->folder);
    (void)each_file(store, -1, sweep_part, &s);
}

/* ---- the writer */

spade_status spade_shard_begin(spade_context *context, const spade_store *store, int64_t shard, int64_t align,
                               bool retry, spade_shard_writer *out)
{
    candidate c = {
        .context = context, .store = store, .align = align, .retry = retry, .next = spade_store_first(store, shard)};
    spade_shard_state state = SPADE_SHARD_OPEN;
    spade_status status = SPADE_OK;
    *out = (spade_shard_writer){.context = context,
                                .store = store,
                                .shard = shard,
                                .end = spade_store_end(store, shard),
                                .file = -1,
                                .began = spade_now()};
    spade_sha256_begin(&out->sha);
    spade_store_time(out->started);
    if (retry) { SPADE_GOTO(spade_shard_look(context, store, shard, &state, NULL)); }
    out->replaces = state == SPADE_SHARD_FINISHED;
    SPADE_GOTO(open_part(out));
    SPADE_GOTO(take_over(out, &c));
    out->next = c.next;
    out->kept = out->next - spade_store_first(store, shard);
    out->failures = c.failures ? json_incref(c.failures) : json_array();
    if (!out->failures) { SPADE_GOTO(fail_memory(context, store)); }
    if (out->kept && fdatasync(out->file) != 0) { SPADE_GOTO(fail_write(context, out->path)); }
    remove_parts(out, true);
done:
    if (status != SPADE_OK && out->path && out->file >= 0) {
        (void)unlink(out->path);
    } /* what it is a copy of is there */
    if (status != SPADE_OK) {
        out->bytes = 0;
        spade_shard_close(out);
    }
    json_decref(c.failures);
    free(c.path);
    return status;
}

static uint8_t *put_member(uint8_t *to, const char *name, const void *bytes, size_t size)
{
    const size_t padded = (size_t)spade_tar_padded(size);
    if (!to || !spade_tar_header(name, size, to)) { return NULL; }
    memcpy(to + SPADE_TAR_BLOCK, bytes, size);
    memset(to + SPADE_TAR_BLOCK + size, 0, padded - size);
    return to + SPADE_TAR_BLOCK + padded;
}

/* The members of a row, one behind the other. malloc'ed. */
static spade_status pack_row(const spade_shard_writer *writer, const spade_shard_file *files, int count,
                             const char *text, uint8_t **out, size_t *size)
{
    char key[SPADE_STORE_KEY], name[SPADE_STORE_KEY + 8];
    spade_store_key(writer->next, key);
    snprintf(name, sizeof name, "%s.json", key);
    *size = SPADE_TAR_BLOCK + (size_t)spade_tar_padded(strlen(text));
    for (int i = 0; i < count; i++) { *size += SPADE_TAR_BLOCK + (size_t)spade_tar_padded(files[i].size); }
    *out = malloc(*size);
    if (!*out) { return fail_memory(writer->context, writer->store); }
    uint8_t *at = *out;
    for (int i = 0; i < count; i++) { at = put_member(at, files[i].name, files[i].bytes, files[i].size); }
    at = put_member(at, name, text, strlen(text));
    if (at) { return SPADE_OK; }
    free(*out);
    *out = NULL;
    return spade_fail(writer->context, SPADE_ERROR_INTERNAL, "%s: a map that a tar cannot hold", writer->path);
}

spade_status spade_shard_add(spade_shard_writer *writer, const spade_shard_file *files, int count, const json_t *record)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    json_t *whole = json_object();
    spade_store_add_members(&whole, record);
    spade_json_set(&whole, "row", json_integer(writer->next));
    spade_json_set(&whole, "configuration", json_string(writer->store->configuration));
    char *text = whole ? shard_text(whole) : NULL;
    spade_status status = SPADE_OK;
    if (!text) { SPADE_GOTO(fail_memory(writer->context, writer->store)); }
    SPADE_GOTO(pack_row(writer, files, count, text, &bytes, &size));
    SPADE_GOTO(append(writer, bytes, size));
    if (json_object_get(record, "error") && add_failure(&writer->failures, writer->next, record) != SPADE_OK) {
        SPADE_GOTO(fail_memory(writer->context, writer->store));
    }
    writer->next++;
done:
    json_decref(whole);
    free(text);
    free(bytes);
    return status;
}

/* What done.json says; a new reference, NULL: out of memory. */
static json_t *describe_done(const spade_shard_writer *writer, const char *sha, const json_t *about)
{
    char host[HOST_SIZE], worker[HOST_SIZE + 32], now[SPADE_STORE_TIME];
    const int64_t first = spade_store_first(writer->store, writer->shard);
    const int64_t rows[] = {first, writer->end}, failed = (int64_t)json_array_size(writer->failures);
    json_t *done = json_object();
    host_name(host);
    snprintf(worker, sizeof worker, "%s-%ld", host, (long)getpid());
    spade_store_time(now);
    spade_json_set(&done, "format", json_integer(SPADE_STORE_FORMAT));
    spade_json_set(&done, "shard", json_integer(writer->shard));
    spade_json_set(&done, "rows", spade_json_integers(rows, 2));
    spade_json_set(&done, "count", json_integer(writer->end - first - failed));
    spade_json_set(&done, "failures", json_incref(writer->failures));
    spade_json_set(&done, "bytes", json_integer((json_int_t)writer->bytes));
    spade_json_set(&done, "sha256", json_string(sha));
    spade_json_set(&done, "configuration_hash", json_string(writer->store->configuration));
    spade_json_set(&done, "worker", json_string(worker));
    spade_json_set(&done, "kept", json_integer(writer->kept));
    spade_json_set(&done, "seconds", json_real(spade_now() - writer->began));
    spade_json_set(&done, "started", json_string(writer->started));
    spade_json_set(&done, "finished", json_string(now));
    spade_store_add_members(&done, about);
    return done;
}

/* The part becomes the tar. */
static spade_status name_tar(spade_shard_writer *writer)
{
    char *tar = spade_store_path(writer->context, writer->store, writer->shard, SPADE_SHARD_TAR);
    spade_status status = SPADE_OK;
    if (!tar) { return SPADE_ERROR_MEMORY; }
    if (fsync(writer->file) != 0 || rename(writer->path, tar) != 0) { status = fail_write(writer->context, tar); }
    free(tar);
    SPADE_TRY(status);
    spade_store_sync_folder(writer->store->folder);
    close(writer->file);
    writer->file = -1;
    return SPADE_OK;
}

static spade_status write_done(const spade_shard_writer *writer, const char *sha, const json_t *about)
{
    char *path = spade_store_path(writer->context, writer->store, writer->shard, SPADE_SHARD_DONE);
    json_t *done = path ? describe_done(writer, sha, about) : NULL;
    spade_status status = path ? SPADE_OK : SPADE_ERROR_MEMORY;
    if (path && !done) { status = fail_memory(writer->context, writer->store); }
    if (status == SPADE_OK) { status = spade_store_write_json(writer->context, path, done); }
    json_decref(done);
    free(path);
    return status;
}

static void remove_file(const spade_shard_writer *writer, const char *suffix)
{
    char *path = spade_store_path(writer->context, writer->store, writer->shard, suffix);
    if (path) { (void)unlink(path); }
    free(path);
}

/* Another run has finished the shard: that one removes all part files. */
static spade_status is_done_by_other(const spade_shard_writer *writer, bool *done)
{
    spade_shard_state state;
    *done = false;
    SPADE_TRY(spade_shard_look(writer->context, writer->store, writer->shard, &state, NULL));
    *done = state == SPADE_SHARD_FINISHED && !writer->replaces;
    return SPADE_OK;
}

static void leave_to_other(spade_shard_writer *writer)
{
    (void)unlink(writer->path);
    writer->bytes = 0;
    spade_shard_close(writer);
}

spade_status spade_shard_finish(spade_shard_writer *writer, const json_t *about)
{
    static const uint8_t zeros[SPADE_TAR_END];
    char sha[SPADE_SHA256_SIZE];
    bool done;
    if (writer->next != writer->end) {
        return spade_fail(writer->context, SPADE_ERROR_INTERNAL, "%s: rows are missing", writer->path);
    }
    SPADE_TRY(is_done_by_other(writer, &done));
    if (done) {
        leave_to_other(writer);
        return SPADE_OK;
    }
    const uint64_t whole = writer->bytes;
    spade_status status = append(writer, zeros, sizeof zeros);
    if (status == SPADE_OK) {
        spade_sha256_end(&writer->sha, sha);
        if (writer->replaces) { remove_file(writer, SPADE_SHARD_DONE); } /* it speaks of the tar that was there */
        status = name_tar(writer);
    }
    if (status != SPADE_OK) {
        writer->bytes = whole;
        /* in the moment after the look */
        if (access(writer->path, F_OK) == 0 || is_done_by_other(writer, &done) != SPADE_OK || !done) { return status; }
        spade_error_clear(writer->context);
        leave_to_other(writer);
        return SPADE_OK;
    }
    SPADE_TRY(write_done(writer, sha, about));
    remove_file(writer, SPADE_SHARD_ASIDE);
    remove_parts(writer, false);
    spade_shard_close(writer);
    return SPADE_OK;
}

void spade_shard_close(spade_shard_writer *writer)
{
    if (writer->file >= 0 && writer->path) {
        if (writer->bytes) { (void)fsync(writer->file); }
        if (!writer->bytes) { (void)unlink(writer->path); }
        close(writer->file);
    }
    free(writer->path);
    json_decref(writer->failures);
    *writer = (spade_shard_writer){.file = -1};
}
