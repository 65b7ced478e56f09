/*
 * store.h - what `spade annotate` fills: a folder of shards, each a tar, and store.json, which says what they are made with.
 * docs/store.md has the formats.
 */
#ifndef SPADE_STORE_STORE_H
#define SPADE_STORE_STORE_H

#include "base/json.h"
#include "store/sha256.h"

enum { SPADE_STORE_FORMAT = 1, SPADE_STORE_MAX_ENTRIES = 1000000000 /* keys have nine digits */ };

typedef struct spade_store {
    char *folder;
    json_t *description;                   /* store.json */
    char configuration[SPADE_SHA256_SIZE]; /* of all that decides bytes: its "configuration_hash" */
    int64_t entries;                       /* rows of the manifest */
    int64_t shard_size;                    /* rows of a shard; the last may have fewer */
    int64_t shards;
    int folders_made; /* of the folder's path, by spade_store_create() */
} spade_store;

/*
 * The store of this description; the folder and store.json are made where they are not there. deciding: the members of it that decide
 * bytes, among them "entries" and "shard_size"; they make "configuration_hash", which is added. Both are objects; the others of
 * `description` are for people.
 * SPADE_ERROR_ARGUMENT: there is a store of another configuration, and where it differs, or there are its finished shards; they
 * stay as they are.
 */
spade_status spade_store_create(spade_context *context, const char *folder, const json_t *deciding,
                                const json_t *description, spade_store *out);
/* The store that is there. SPADE_ERROR_INPUT: there is none, or one of another format. */
spade_status spade_store_open(spade_context *context, const char *folder, spade_store *out);
void spade_store_clear(spade_store *store); /* also one that is not open */

/* The rows of a shard are first..end-1. */
static inline int64_t spade_store_first(const spade_store *store, int64_t shard)
{
    return shard * store->shard_size;
}
static inline int64_t spade_store_end(const spade_store *store, int64_t shard)
{
    const int64_t end = (shard + 1) * store->shard_size;
    return end < store->entries ? end : store->entries;
}

/* ---- names */
enum { SPADE_STORE_KEY = 24 };
/* A row's key, which its members' names begin with: "000000012". */
void spade_store_key(int64_t row, char out[SPADE_STORE_KEY]);
/* FOLDER/shard-000012SUFFIX, malloc'ed; NULL: out of memory, which the context's message says. */
#define SPADE_SHARD_TAR ".tar"
#define SPADE_SHARD_DONE ".done.json"
#define SPADE_SHARD_ASIDE ".aside.json"
#define SPADE_SHARD_PART ".part."
char *spade_store_path(spade_context *context, const spade_store *store, int64_t shard, const char *suffix);
/* The shard that a file of a store belongs to, and what stands behind its number; false: to none. */
bool spade_store_parse_name(const char *name, int64_t *shard, const char **suffix);

/* ---- small JSON files */
/* The members of `from` that *to has not yet go there too. Not jansson's copies, which leave out what there is no memory for; *to
 * becomes NULL then. */
void spade_store_add_members(json_t **to, const json_t *from);
/* *out NULL: there is no such file. SPADE_ERROR_INPUT: it is no JSON object. */
spade_status spade_store_read_json(spade_context *context, const char *path, json_t **out);
/* Beside, and renamed; on the disk, with its name, when this returns. json NULL: out of memory. */
spade_status spade_store_write_json(spade_context *context, const char *path, const json_t *json);
/* The names that were given in the folder are on the disk. What a file system cannot is passed over. */
void spade_store_sync_folder(const char *folder);
/* "2026-11-30T12:00:00Z" of this moment, by the system's clock: for people, nothing is decided by it. */
enum { SPADE_STORE_TIME = 32 };
void spade_store_time(char out[SPADE_STORE_TIME]);

#endif
