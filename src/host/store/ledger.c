/* ledger.c - see ledger.h. */
#include "store/ledger.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fingerprint.h"
#include "store/database.h"

/* Version of the tables: another one is made anew. */
enum { LEDGER_VERSION = 1, LEDGER_ID = 0x5370644c /* "SpdL" */ };

enum { STATEMENT_LEASE, STATEMENT_DONE, STATEMENT_RELEASE, STATEMENT_KILLED, STATEMENT_RETRY, STATEMENT_COUNT };
static const char *const statements[STATEMENT_COUNT] = {
    "INSERT INTO shard(id, state, worker) VALUES(?1, 'leased', ?2) ON CONFLICT(id) DO UPDATE SET state = 'leased', "
    "worker = "
    "?2 WHERE state IN ('free', 'done') RETURNING id",
    "INSERT INTO shard(id, state) VALUES(?1, 'done') ON CONFLICT(id) DO UPDATE SET state = 'done', worker = NULL, row "
    "= NULL, "
    "tries = 0, signal = NULL",
    "UPDATE shard SET state = 'free', worker = NULL WHERE id = ?1 AND state = 'leased'",
    "INSERT INTO shard(id, state, tries, row, signal) VALUES(?1, 'free', 1, ?2, ?3) ON CONFLICT(id) DO UPDATE SET "
    "tries = CASE WHEN row = ?2 THEN tries + 1 ELSE 1 END, row = ?2, signal = ?3, worker = NULL, "
    "state = CASE WHEN row = ?2 AND tries + 1 >= ?4 THEN 'aside' ELSE 'free' END RETURNING tries",
    "UPDATE shard SET state = 'free', tries = 0, row = NULL, signal = NULL WHERE id = ?1 AND state = 'aside'"};

struct spade_ledger {
    spade_context *context;
    sqlite3 *database;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
};

/* ---- processes */

/* The first line of a small file of /proc; false: there is none. */
static bool read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    const bool read = file && fgets(line, size, file);
    if (file) { (void)fclose(file); }
    if (read) { line[strcspn(line, "\n")] = 0; }
    return read;
}

/* /proc/PID/stat: "PID (NAME) STATE ...", the start in field 22; a name may hold anything, also parentheses. */
static int64_t read_start(int64_t pid)
{
    enum { FIELDS_BEFORE = 19 }; /* from the state to the start */
    char path[64], line[2048], *at;
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    if (pid <= 0 || !read_line(path, line, sizeof line) || !(at = strrchr(line, ')')) || !at[1]) { return -1; }
    at += 2;
    if (*at == 'Z' || *at == 'X') { return -1; }
    for (int i = 0; i < FIELDS_BEFORE; i++) {
        at = strchr(at, ' ');
        if (!at) { return -1; }
        at++;
    }
    return isdigit((unsigned char)*at) ? strtoll(at, NULL, 10) : -1;
}

void spade_process_describe(int64_t pid, spade_process *out)
{
    *out = (spade_process){.pid = pid, .start = read_start(pid)};
    if (!read_line("/proc/sys/kernel/random/boot_id", out->boot, sizeof out->boot)) { *out->boot = 0; }
}

bool spade_process_lives(const spade_process *process)
{
    spade_process now;
    spade_process_describe(process->pid, &now);
    return now.start >= 0 && now.start == process->start && strcmp(now.boot, process->boot) == 0;
}

/* ---- where it is */

/* By the numbers that statfs(2) gives the file systems of networks, and those of programs, which may be anything. */
static bool is_remote(const char *folder)
{
    static const uint32_t kinds[] = {
        0x6969 /* NFS */,        0x517b /* SMB */,        0xff534d42 /* CIFS */,     0xfe534d42 /* SMB2 */,
        0x0bd00bd0 /* Lustre */, 0x47504653 /* GPFS */,   0x00c36400 /* Ceph */,     0x65735546 /* FUSE */,
        0x01021997 /* 9p */,     0x5346414f /* AFS */,    0x6b414653 /* kAFS */,     0x73757245 /* Coda */,
        0x7461636f /* OCFS2 */,  0x01161970 /* GFS2 */,   0x19830326 /* BeeGFS */,   0xaad7aaea /* PanFS */,
        0x20030528 /* PVFS2 */,  0x786f4256 /* vboxsf */, 0xbeefdead /* StorNext */, 0x013111a8 /* IBRIX */};
    struct statfs info;
    if (statfs(folder, &info) != 0) { return false; } /* opening says why */
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if ((uint32_t)info.f_type == kinds[i]) { return true; }
    }
    return false;
}

static spade_status fail_memory(spade_context *context, const char *path)
{
    return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
}

/* The folder of a file, malloc'ed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) { return strdup("."); }
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* STATE/spade/NAME-HASH.sqlite: the hash is of the store's whole path. */
static spade_status path_in_state(spade_context *context, const char *store, const char *part, char **out)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *real = realpath(store, NULL), *folder = NULL;
    char hash[SPADE_FINGERPRINT_SIZE];
    const bool given = state && *state == '/';
    spade_status status = SPADE_OK;
    if (!real) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_IO, "%s: %s", store, strerror(errno))); }
    if (!given && !(home && *home == '/')) {
        SPADE_GOTO(spade_fail(
            context, SPADE_ERROR_INPUT,
            "%s is on a network's disk, and there is no home folder for the ledger: give a file on a disk of "
            "this machine (--ledger)",
            store));
    }
    if (asprintf(&folder, "%s%s/spade", given ? state : home, given ? "" : "/.local/state") < 0) {
        folder = NULL;
        SPADE_GOTO(fail_memory(context, store));
    }
    SPADE_GOTO(spade_make_folders(context, folder, "cannot make the folder of the ledger", NULL));
    spade_fingerprint(&(spade_mapping){.data = (const uint8_t *)real, .size = strlen(real)}, 1, hash);
    if (asprintf(out, "%s/%s-%.16s%s.sqlite", folder, strrchr(real, '/') + 1, hash, part) < 0) {
        *out = NULL;
        SPADE_GOTO(fail_memory(context, store));
    }
done:
    free(real);
    free(folder);
    return status;
}

spade_status spade_ledger_path(spade_context *context, const char *store, const char *given, int64_t share,
                               int64_t shares, char **out)
{
    char part[64] = "";
    if (shares > 1) { snprintf(part, sizeof part, "-%lldof%lld", (long long)share, (long long)shares); }
    *out = NULL;
    if (given) {
        *out = strdup(given);
    } else if (is_remote(store)) {
        SPADE_TRY(path_in_state(context, store, part, out));
    } else if (asprintf(out, "%s/ledger%s.sqlite", store, part) < 0) {
        *out = NULL;
    }
    char *folder = *out ? folder_of(*out) : NULL;
    spade_status status = SPADE_OK;
    if (!folder) {
        status = fail_memory(context, store);
    } else if (is_remote(folder)) {
        status = spade_fail(
            context, SPADE_ERROR_INPUT,
            "%s: the ledger cannot be on a network's disk, where SQLite's locks are not safe: give a file on a disk "
            "of this machine (--ledger)",
            *out);
    }
    free(folder);
    if (status != SPADE_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- the file */

static spade_status read_integer(spade_ledger *ledger, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement;
    bool row;
    SPADE_TRY(spade_database_prepare(ledger->context, ledger->database, sql, &statement));
    const spade_status status = spade_database_step(ledger->context, statement, &row);
    *out = status == SPADE_OK && row ? sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_finalize(statement);
    return status;
}

/* An empty file is a new ledger; somebody else's database is left as it is. */
static spade_status make_tables(spade_ledger *ledger)
{
    int64_t id, version, tables;
    SPADE_TRY(read_integer(ledger, "PRAGMA application_id", &id));
    SPADE_TRY(read_integer(ledger, "PRAGMA user_version", &version));
    SPADE_TRY(read_integer(ledger, "SELECT count(*) FROM sqlite_master", &tables));
    if (id == LEDGER_ID && version == LEDGER_VERSION) { return SPADE_OK; }
    if (id == 0 && tables == 0) {
        char sql[600];
        snprintf(sql, sizeof sql,
                 "PRAGMA application_id = %d; PRAGMA user_version = %d;"
                 "CREATE TABLE run(identity TEXT NOT NULL, pid INTEGER NOT NULL, start INTEGER NOT NULL, boot TEXT NOT "
                 "NULL);"
                 "CREATE TABLE shard(id INTEGER PRIMARY KEY, state TEXT NOT NULL, worker INTEGER, row INTEGER, "
                 "tries INTEGER NOT NULL DEFAULT 0, signal INTEGER)",
                 LEDGER_ID, LEDGER_VERSION);
        return spade_database_run(ledger->context, ledger->database, sql);
    }
    return spade_fail(
        ledger->context, SPADE_ERROR_INPUT,
        "%s: no ledger of this version of spade; remove it (a store loses nothing with its ledger), or give "
        "another file (--ledger)",
        sqlite3_db_filename(ledger->database, "main"));
}

/* Is there a parent that lives? Else its leases end. *same: the ledger is of this store. */
static spade_status look_for_parent(spade_ledger *ledger, const char *identity, bool *same)
{
    sqlite3_stmt *statement;
    bool row;
    *same = false;
    SPADE_TRY(spade_database_prepare(ledger->context, ledger->database, "SELECT identity, pid, start, boot FROM run",
                                     &statement));
    spade_status status = spade_database_step(ledger->context, statement, &row);
    if (status == SPADE_OK && row) {
        const char *of = (const char *)sqlite3_column_text(statement, 0),
                   *boot = (const char *)sqlite3_column_text(statement, 3);
        spade_process parent = {.pid = sqlite3_column_int64(statement, 1), .start = sqlite3_column_int64(statement, 2)};
        snprintf(parent.boot, sizeof parent.boot, "%s", boot ? boot : "");
        *same = of && strcmp(of, identity) == 0;
        if (parent.pid != getpid() && spade_process_lives(&parent)) {
            status = spade_fail(ledger->context, SPADE_ERROR_IO,
                                "%s: another run (process %lld) has workers on this store; wait for it, or end it",
                                sqlite3_db_filename(ledger->database, "main"), (long long)parent.pid);
        }
    }
    (void)sqlite3_finalize(statement);
    return status;
}

static spade_status become_parent(spade_ledger *ledger, const char *identity)
{
    spade_process self;
    sqlite3_stmt *statement;
    bool same;
    SPADE_TRY(look_for_parent(ledger, identity, &same));
    if (!same) { SPADE_TRY(spade_database_run(ledger->context, ledger->database, "DELETE FROM shard")); }
    SPADE_TRY(
        spade_database_run(ledger->context, ledger->database,
                           "DELETE FROM run; UPDATE shard SET state = 'free', worker = NULL WHERE state = 'leased'"));
    SPADE_TRY(spade_database_prepare(ledger->context, ledger->database, "INSERT INTO run VALUES(?1, ?2, ?3, ?4)",
                                     &statement));
    spade_process_describe(getpid(), &self);
    spade_database_bind_text(statement, 1, identity);
    (void)sqlite3_bind_int64(statement, 2, self.pid);
    (void)sqlite3_bind_int64(statement, 3, self.start);
    spade_database_bind_text(statement, 4, self.boot);
    const spade_status status = spade_database_step(ledger->context, statement, NULL);
    (void)sqlite3_finalize(statement);
    return status;
}

/* In one transaction, so that of two that open it at once one is the parent. */
static spade_status prepare(spade_ledger *ledger, const char *identity)
{
    enum { WAIT_MS = 10000 }; /* for another process, between two of its statements */
    (void)sqlite3_busy_timeout(ledger->database, WAIT_MS);
    SPADE_TRY(spade_database_run(ledger->context, ledger->database,
                                 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE"));
    SPADE_TRY(make_tables(ledger));
    SPADE_TRY(become_parent(ledger, identity));
    SPADE_TRY(spade_database_run(ledger->context, ledger->database, "COMMIT"));
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        SPADE_TRY(spade_database_prepare(ledger->context, ledger->database, statements[i], &ledger->prepared[i]));
    }
    return SPADE_OK;
}

spade_status spade_ledger_open(spade_context *context, const char *path, const char *identity, spade_ledger **out)
{
    spade_ledger *ledger = calloc(1, sizeof *ledger);
    *out = NULL;
    if (!ledger) { return fail_memory(context, path); }
    ledger->context = context;
    spade_status status =
        spade_database_open(context, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &ledger->database);
    if (status == SPADE_OK) { status = prepare(ledger, identity); }
    if (status != SPADE_OK) {
        spade_ledger_close(ledger);
        return status;
    }
    *out = ledger;
    return SPADE_OK;
}

void spade_ledger_close(spade_ledger *ledger)
{
    if (!ledger) { return; }
    /* What is left open is rolled back. A parent that is gone is no parent, whether it said so or not. */
    for (int i = 0; i < STATEMENT_COUNT; i++) { (void)sqlite3_finalize(ledger->prepared[i]); }
    spade_database_close(ledger->database);
    free(ledger);
}

/* ---- shards */

/* A statement that begins with the shard; *result (NULL: it has none): its first row's, -1: there is no row. */
static spade_status run(spade_ledger *ledger, int which, int64_t shard, int64_t *result)
{
    sqlite3_stmt *statement = ledger->prepared[which];
    bool row;
    (void)sqlite3_bind_int64(statement, 1, shard);
    if (result) { *result = -1; }
    SPADE_TRY(spade_database_step(ledger->context, statement, &row));
    if (row && result) { *result = sqlite3_column_int64(statement, 0); }
    return row ? spade_database_step(ledger->context, statement, &row) : SPADE_OK; /* to its end: it is written then */
}

spade_status spade_ledger_lease(spade_ledger *ledger, int64_t shard, int64_t pid, bool *taken)
{
    int64_t id;
    (void)sqlite3_bind_int64(ledger->prepared[STATEMENT_LEASE], 2, pid);
    SPADE_TRY(run(ledger, STATEMENT_LEASE, shard, &id));
    *taken = id == shard;
    return SPADE_OK;
}

spade_status spade_ledger_done(spade_ledger *ledger, int64_t shard)
{
    return run(ledger, STATEMENT_DONE, shard, NULL);
}

spade_status spade_ledger_release(spade_ledger *ledger, int64_t shard)
{
    return run(ledger, STATEMENT_RELEASE, shard, NULL);
}

spade_status spade_ledger_killed(spade_ledger *ledger, int64_t shard, int64_t row, int signal, int *tries)
{
    sqlite3_stmt *statement = ledger->prepared[STATEMENT_KILLED];
    int64_t count;
    (void)sqlite3_bind_int64(statement, 2, row);
    (void)sqlite3_bind_int(statement, 3, signal);
    (void)sqlite3_bind_int(statement, 4, SPADE_LEDGER_TRIES);
    SPADE_TRY(run(ledger, STATEMENT_KILLED, shard, &count));
    *tries = (int)count;
    return SPADE_OK;
}

spade_status spade_ledger_retry(spade_ledger *ledger, int64_t shard)
{
    return run(ledger, STATEMENT_RETRY, shard, NULL);
}
