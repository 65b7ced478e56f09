/*
 * index.h - the index of a store, STORE/index.sqlite: an SQLite file for questions over all pictures (which class, which score, which
 * metric) and for reading a map without its shard's others. docs/store.md has its tables. Written beside its name and renamed.
 */
#ifndef SPADE_STORE_INDEX_H
#define SPADE_STORE_INDEX_H

#include "store/database.h"
#include "store/shard.h"

enum { SPADE_INDEX_STATEMENTS = 6 };
typedef struct spade_index {
    spade_context *context;
    spade_output output;
    sqlite3 *database;
    sqlite3_stmt *statements[SPADE_INDEX_STATEMENTS];
} spade_index;

/* Aborted by itself after a failure. */
spade_status spade_index_open(spade_context *context, const char *path, spade_index *out);
/* A member of what the index says of the store; objects and lists as JSON. */
spade_status spade_index_describe(spade_index *index, const char *name, const json_t *value);
/* done: of SHARD.done.json */
spade_status spade_index_add_shard(spade_index *index, int64_t shard, const char *file, const json_t *done);
spade_status spade_index_add(spade_index *index, int64_t shard, const spade_shard_row *row);
/* Rows of a shard that turned out to be damaged. */
spade_status spade_index_remove(spade_index *index, int64_t first, int64_t end);
/* What is wrong with the store. */
spade_status spade_index_add_fault(spade_index *index, const char *fault);
spade_status spade_index_commit(spade_index *index); /* aborts on failure */
void spade_index_abort(spade_index *index);          /* safe after commit or a failed open */

#endif
