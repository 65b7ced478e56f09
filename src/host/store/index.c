/* index.c - see index.h. */
#include "store/index.h"

enum { INDEX_VERSION = 2, INDEX_ID = 0x53706449 /* "SpdI" */ };

static const char tables[] =
    "CREATE TABLE store(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE shards(shard INTEGER PRIMARY KEY, file TEXT, first INTEGER, \"end\" INTEGER, pictures INTEGER, "
    "failures INTEGER, bytes INTEGER, sha256 TEXT, seconds REAL, finished TEXT, device TEXT, version TEXT);"
    "CREATE TABLE pictures(row INTEGER PRIMARY KEY, key TEXT, image TEXT, label TEXT, class INTEGER, name TEXT, score "
    "REAL, "
    "trace_class INTEGER, trace_name TEXT, trace_score REAL, shard INTEGER, offset INTEGER, bytes INTEGER, columns "
    "TEXT, xxh128 TEXT);"
    "CREATE TABLE maps(row INTEGER, method TEXT, options TEXT, network TEXT, class INTEGER, name TEXT, against "
    "INTEGER, "
    "against_name TEXT, file TEXT, shard INTEGER, offset INTEGER, bytes INTEGER, xxh128 TEXT, scale REAL, zero "
    "INTEGER);"
    "CREATE TABLE metrics(row INTEGER, metric TEXT, method TEXT, options TEXT, network TEXT, class INTEGER, against "
    "INTEGER, "
    "value REAL, file TEXT);"
    "CREATE TABLE failures(row INTEGER PRIMARY KEY, key TEXT, image TEXT, error TEXT, shard INTEGER, offset INTEGER, "
    "bytes INTEGER, columns TEXT);"
    "CREATE TABLE faults(fault TEXT);";
/* After all rows are there: one sort, in place of a search for each row. */
static const char indices[] = "CREATE INDEX maps_row ON maps(row);"
                              "CREATE INDEX metrics_row ON metrics(row);"
                              "CREATE INDEX metrics_value ON metrics(metric, value);"
                              "CREATE INDEX pictures_class ON pictures(class);";

enum { ADD_STORE, ADD_SHARD, ADD_PICTURE, ADD_MAP, ADD_METRIC, ADD_FAILURE, ADD_COUNT };
static const char *const sql[ADD_COUNT] = {
    "INSERT INTO store VALUES(?1, ?2)",
    "INSERT INTO shards VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    "INSERT INTO pictures VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    "INSERT INTO maps VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    "INSERT INTO metrics VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    "INSERT INTO failures VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"};
_Static_assert((int)ADD_COUNT == (int)SPADE_INDEX_STATEMENTS, "room for each");

/* ---- values of JSON */

static void bind_text(sqlite3_stmt *statement, int parameter, const json_t *object, const char *key)
{
    spade_database_bind_text(statement, parameter, json_string_value(json_object_get(object, key)));
}

static void bind_integer(sqlite3_stmt *statement, int parameter, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value)) {
        (void)sqlite3_bind_int64(statement, parameter, json_integer_value(value));
    } else {
        (void)sqlite3_bind_null(statement, parameter);
    }
}

static void bind_real(sqlite3_stmt *statement, int parameter, const json_t *object, const char *key)
{
    spade_database_bind_real(statement, parameter, spade_json_real_at(object, key));
}

/* Any value; *text: of an object or a list, borrowed until the step, malloc'ed. False: out of memory. */
static bool bind_json(sqlite3_stmt *statement, int parameter, const json_t *value, char **text)
{
    *text = NULL;
    if (json_is_string(value)) {
        spade_database_bind_text(statement, parameter, json_string_value(value));
    } else if (json_is_integer(value)) {
        (void)sqlite3_bind_int64(statement, parameter, json_integer_value(value));
    } else if (json_is_real(value)) {
        spade_database_bind_real(statement, parameter, json_real_value(value));
    } else if (json_is_boolean(value)) {
        (void)sqlite3_bind_int(statement, parameter, json_is_true(value));
    } else if (json_is_object(value) || json_is_array(value)) {
        *text = spade_json_dump(value, JSON_COMPACT | JSON_SORT_KEYS);
        spade_database_bind_text(statement, parameter, *text);
        return *text != NULL;
    } else {
        (void)sqlite3_bind_null(statement, parameter);
    }
    return true;
}

static spade_status fail_memory(const spade_index *index)
{
    return spade_fail(index->context, SPADE_ERROR_MEMORY, "%s: out of memory", index->output.path);
}

/* ---- the file */

spade_status spade_index_open(spade_context *context, const char *path, spade_index *out)
{
    *out = (spade_index){.context = context};
    spade_status status = SPADE_OK;
    char head[200];
    SPADE_TRY(spade_output_open(context, path, &out->output));
    SPADE_GOTO(spade_database_open(context, out->output.temporary, SQLITE_OPEN_READWRITE, &out->database));
    /* A file that is not whole never gets its name: nothing is rolled back, and it is brought to the disk once. */
    snprintf(head, sizeof head,
             "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA application_id = %d; PRAGMA user_version = "
             "%d; BEGIN",
             INDEX_ID, INDEX_VERSION);
    SPADE_GOTO(spade_database_run(context, out->database, head));
    SPADE_GOTO(spade_database_run(context, out->database, tables));
    for (int i = 0; i < ADD_COUNT; i++) {
        SPADE_GOTO(spade_database_prepare(context, out->database, sql[i], &out->statements[i]));
    }
done:
    if (status != SPADE_OK) { spade_index_abort(out); }
    return status;
}

static void close_database(spade_index *index)
{
    for (int i = 0; i < ADD_COUNT; i++) {
        (void)sqlite3_finalize(index->statements[i]);
        index->statements[i] = NULL;
    }
    spade_database_close(index->database);
    index->database = NULL;
}

void spade_index_abort(spade_index *index)
{
    close_database(index);
    spade_output_abort(&index->output);
}

spade_status spade_index_commit(spade_index *index)
{
    spade_status status = spade_database_run(index->context, index->database, indices);
    if (status == SPADE_OK) { status = spade_database_run(index->context, index->database, "COMMIT"); }
    if (status != SPADE_OK) {
        spade_index_abort(index);
        return status;
    }
    close_database(index); /* all is in the file by now, and spade_output_commit() brings it to the disk */
    return spade_output_commit(index->context, &index->output);
}

/* ---- rows */

static spade_status step(const spade_index *index, int which)
{
    return spade_database_step(index->context, index->statements[which], NULL);
}

spade_status spade_index_describe(spade_index *index, const char *name, const json_t *value)
{
    sqlite3_stmt *row = index->statements[ADD_STORE];
    char *text;
    spade_database_bind_text(row, 1, name);
    const bool bound = bind_json(row, 2, value, &text);
    const spade_status status = bound ? step(index, ADD_STORE) : fail_memory(index);
    free(text);
    return status;
}

spade_status spade_index_add_shard(spade_index *index, int64_t shard, const char *file, const json_t *done)
{
    sqlite3_stmt *row = index->statements[ADD_SHARD];
    const json_t *rows = json_object_get(done, "rows");
    (void)sqlite3_bind_int64(row, 1, shard);
    spade_database_bind_text(row, 2, file);
    (void)sqlite3_bind_int64(row, 3, json_integer_value(json_array_get(rows, 0)));
    (void)sqlite3_bind_int64(row, 4, json_integer_value(json_array_get(rows, 1)));
    bind_integer(row, 5, done, "count");
    (void)sqlite3_bind_int64(row, 6, (int64_t)json_array_size(json_object_get(done, "failures")));
    bind_integer(row, 7, done, "bytes");
    bind_text(row, 8, done, "sha256");
    bind_real(row, 9, done, "seconds");
    bind_text(row, 10, done, "finished");
    bind_text(row, 11, done, "device");
    bind_text(row, 12, done, "version");
    return step(index, ADD_SHARD);
}

static void bind_place(sqlite3_stmt *row, int parameter, int64_t shard, const spade_shard_member *member)
{
    (void)sqlite3_bind_int64(row, parameter, shard);
    (void)sqlite3_bind_int64(row, parameter + 1, (int64_t)member->offset);
    (void)sqlite3_bind_int64(row, parameter + 2, (int64_t)member->size);
}

static void bind_network(sqlite3_stmt *row, int parameter, const json_t *network)
{
    bind_integer(row, parameter, network, "class");
    bind_text(row, parameter + 1, network, "name");
    bind_real(row, parameter + 2, network, "score");
}

/* The row of a picture, or of one that failed. */
static spade_status add_picture(spade_index *index, int64_t shard, const spade_shard_row *picture)
{
    const json_t *record = picture->record, *columns = json_object_get(record, "columns");
    const bool failed = json_object_get(record, "error") != NULL;
    const int which = failed ? ADD_FAILURE : ADD_PICTURE;
    sqlite3_stmt *row = index->statements[which];
    char key[SPADE_STORE_KEY], *text;
    spade_store_key(picture->row, key);
    (void)sqlite3_bind_int64(row, 1, picture->row);
    spade_database_bind_text(row, 2, key);
    bind_text(row, 3, record, "image");
    if (failed) {
        bind_text(row, 4, record, "error");
        bind_place(row, 5, shard, &picture->json);
    } else {
        bind_text(row, 4, columns, "label");
        bind_network(row, 5, json_object_get(record, "dense"));
        bind_network(row, 8, json_object_get(record, "trace"));
        bind_place(row, 11, shard, &picture->json);
        bind_text(row, 15, record, "xxh128");
    }
    const bool bound = bind_json(row, failed ? 8 : 14, columns, &text);
    const spade_status status = bound ? step(index, which) : fail_memory(index);
    free(text);
    return status;
}

/* Of the numbers that a map's record has, those that are not of its place, its target or its file are metrics. */
static bool is_metric(const char *name, const json_t *value)
{
    static const char *const others[] = {"class", "against", "score", "bytes", "scale", "zero"};
    if (!json_is_number(value)) { return false; }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(name, others[i]) == 0) { return false; }
    }
    return true;
}

/* file: of the map, which alone tells maps of one class apart that was asked for by two names. */
static spade_status add_metrics(spade_index *index, int64_t picture, const json_t *map, const char *file)
{
    sqlite3_stmt *row = index->statements[ADD_METRIC];
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, name, value)
    {
        if (!is_metric(name, value)) { continue; }
        (void)sqlite3_bind_int64(row, 1, picture);
        spade_database_bind_text(row, 2, name);
        bind_text(row, 3, map, "method");
        bind_text(row, 4, map, "options");
        bind_text(row, 5, map, "network");
        bind_integer(row, 6, map, "class");
        bind_integer(row, 7, map, "against");
        spade_database_bind_real(row, 8, json_number_value(value));
        spade_database_bind_text(row, 9, file);
        SPADE_TRY(step(index, ADD_METRIC));
    }
    return SPADE_OK;
}

static spade_status add_map(spade_index *index, int64_t shard, int64_t picture, const json_t *map,
                            const spade_shard_member *member)
{
    sqlite3_stmt *row = index->statements[ADD_MAP];
    (void)sqlite3_bind_int64(row, 1, picture);
    bind_text(row, 2, map, "method");
    bind_text(row, 3, map, "options");
    bind_text(row, 4, map, "network");
    bind_integer(row, 5, map, "class");
    bind_text(row, 6, map, "name");
    bind_integer(row, 7, map, "against");
    bind_text(row, 8, map, "against_name");
    spade_database_bind_text(row, 9, member->name);
    bind_place(row, 10, shard, member);
    spade_database_bind_text(row, 13, member->xxh128);
    bind_real(row, 14, map, "scale");
    bind_integer(row, 15, map, "zero");
    SPADE_TRY(step(index, ADD_MAP));
    return add_metrics(index, picture, map, member->name);
}

spade_status spade_index_add(spade_index *index, int64_t shard, const spade_shard_row *row)
{
    SPADE_TRY(add_picture(index, shard, row));
    for (int i = 0; i < row->map_count; i++) {
        const json_t *map = json_array_get(json_object_get(row->record, "maps"), (size_t)i);
        SPADE_TRY(add_map(index, shard, row->row, map, &row->maps[i]));
    }
    return SPADE_OK;
}

spade_status spade_index_remove(spade_index *index, int64_t first, int64_t end)
{
    static const char *const of[] = {"pictures", "failures", "maps", "metrics"};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        char text[100];
        snprintf(text, sizeof text, "DELETE FROM %s WHERE row >= %lld AND row < %lld", of[i], (long long)first,
                 (long long)end);
        SPADE_TRY(spade_database_run(index->context, index->database, text));
    }
    return SPADE_OK;
}

spade_status spade_index_add_fault(spade_index *index, const char *fault)
{
    sqlite3_stmt *row;
    SPADE_TRY(spade_database_prepare(index->context, index->database, "INSERT INTO faults VALUES(?1)", &row));
    spade_database_bind_text(row, 1, fault);
    const spade_status status = spade_database_step(index->context, row, NULL);
    (void)sqlite3_finalize(row);
    return status;
}
