/* database.c - see database.h. */
#include "store/database.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The system's number for what failed, 0: none. Of what could not be opened SQLite keeps that of its last attempt, to open it for reading
 * only: the file, or where there is none its folder, tells more. */
static int system_error(const char *path, sqlite3 *database)
{
    const int code = sqlite3_errcode(database) & 0xff;
    if (code != SQLITE_CANTOPEN && code != SQLITE_READONLY) { return sqlite3_system_errno(database); }
    if (access(path, F_OK) == 0) { return access(path, W_OK) == 0 ? 0 : errno; }
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    const int number = folder && access(folder, W_OK) != 0 ? errno : 0;
    free(folder);
    return number;
}

/* SQLite's words, and the system's, where that is what failed. */
static spade_status fail_system(spade_context *context, const char *path, sqlite3 *database)
{
    const char *said = sqlite3_errmsg(database);
    const int number = system_error(path, database);
    return spade_fail(context, SPADE_ERROR_IO, "%s: %s%s%s", path, said, number ? ": " : "",
                      number ? strerror(number) : "");
}

spade_status spade_database_fail(spade_context *context, sqlite3 *database)
{
    const char *path = database ? sqlite3_db_filename(database, "main") : NULL;
    const int code = database ? sqlite3_errcode(database) & 0xff : SQLITE_NOMEM;
    path = path && *path ? path : "the database";
    switch (code) {
    case SQLITE_NOMEM: return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
    case SQLITE_FULL: return spade_fail(context, SPADE_ERROR_IO, "%s: cannot write: no space left", path);
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: not a SQLite file, or a damaged one: %s", path,
                          sqlite3_errmsg(database));
    default: return fail_system(context, path, database);
    }
}

spade_status spade_database_open(spade_context *context, const char *path, int flags, sqlite3 **out)
{
    spade_status status = SPADE_OK;
    const int code = sqlite3_open_v2(path, out, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK) {
        status = code == SQLITE_NOMEM || !*out ? spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)
                                               : fail_system(context, path, *out);
        spade_database_close(*out);
        *out = NULL;
    }
    return status;
}

void spade_database_close(sqlite3 *database)
{
    (void)sqlite3_close_v2(database);
}

spade_status spade_database_run(spade_context *context, sqlite3 *database, const char *sql)
{
    const int code = sqlite3_exec(database, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? SPADE_OK : spade_database_fail(context, database);
}

spade_status spade_database_prepare(spade_context *context, sqlite3 *database, const char *sql, sqlite3_stmt **out)
{
    const int code = sqlite3_prepare_v2(database, sql, -1, out, NULL);
    return code == SQLITE_OK ? SPADE_OK : spade_database_fail(context, database);
}

spade_status spade_database_step(spade_context *context, sqlite3_stmt *statement, bool *row)
{
    const int code = sqlite3_step(statement);
    const bool failed = code != SQLITE_ROW && code != SQLITE_DONE;
    spade_status status = SPADE_OK;
    if (row) { *row = code == SQLITE_ROW; }
    if (failed) { status = spade_database_fail(context, sqlite3_db_handle(statement)); }
    if (code != SQLITE_ROW) { (void)sqlite3_reset(statement); } /* it says the failure of the step once more */
    return status;
}

void spade_database_bind_text(sqlite3_stmt *statement, int parameter, const char *text)
{
    if (text) {
        (void)sqlite3_bind_text(statement, parameter, text, -1, SQLITE_STATIC);
    } else {
        (void)sqlite3_bind_null(statement, parameter);
    }
}

void spade_database_bind_real(sqlite3_stmt *statement, int parameter, double value)
{
    if (isfinite(value)) {
        (void)sqlite3_bind_double(statement, parameter, value);
    } else {
        (void)sqlite3_bind_null(statement, parameter);
    }
}
