/* database.h - SQLite files, with failures as everywhere else: the file's name and the reason in one line. */
#ifndef SPADE_STORE_DATABASE_H
#define SPADE_STORE_DATABASE_H

#include <sqlite3.h>

#include "base/base.h"

/* flags: SQLITE_OPEN_*. *out is NULL after a failure; closed with spade_database_close(). */
spade_status spade_database_open(spade_context *context, const char *path, int flags, sqlite3 **out);
void spade_database_close(sqlite3 *database); /* NULL is fine */
/* What went wrong with the last call. */
spade_status spade_database_fail(spade_context *context, sqlite3 *database);
/* Statements behind each other that have neither parameters nor results. */
spade_status spade_database_run(spade_context *context, sqlite3 *database, const char *sql);
/* *out is NULL after a failure; sqlite3_finalize() takes it. */
spade_status spade_database_prepare(spade_context *context, sqlite3 *database, const char *sql, sqlite3_stmt **out);
/* The next row; *row (NULL: the statement has none) is false after the last one, and the statement can be run again. */
spade_status spade_database_step(spade_context *context, sqlite3_stmt *statement, bool *row);

/* ---- parameters of a statement, from 1. They copy nothing, and so do not fail. */
/* Text is borrowed until the step; NULL is null. Numbers that are no numbers are null too. */
void spade_database_bind_text(sqlite3_stmt *statement, int parameter, const char *text);
void spade_database_bind_real(sqlite3_stmt *statement, int parameter, double value);

#endif
