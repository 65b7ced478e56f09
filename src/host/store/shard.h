/*
 * shard.h - a shard of a store: the rows first..end-1 of its manifest, in one tar.
 *
 * Of each row its maps stand first and KEY.json last, so that a row is whole when its JSON is there; the JSON has the maps' sizes and
 * fingerprints, and ends in one of its own text. So whatever cut a file off or damaged it, its whole beginning is found.
 *
 *   shard-000012.part.HOST-PID-RANDOM   in the making: the tar's bytes so far. Only its maker ever writes to it.
 *   shard-000012.tar                    all rows, and the archive's end
 *   shard-000012.done.json              says so, with the tar's SHA-256; written after the tar has its name
 *
 * Whoever takes up a shard copies the longest whole beginning that there is into a part file of its own, and goes on there. There are
 * no locks but rename: two that make the same shard write the same bytes.
 */
#ifndef SPADE_STORE_SHARD_H
#define SPADE_STORE_SHARD_H

#include "base/fingerprint.h"
#include "store/store.h"
#include "store/tar.h"

/* ---- what is there */
typedef enum spade_shard_state {
    SPADE_SHARD_OPEN, /* it is to be done */
    SPADE_SHARD_FINISHED,
    SPADE_SHARD_LOST, /* done.json is there, but its tar is not, has another size or is damaged: it is to be done again */
    SPADE_SHARD_SET_ASIDE
} spade_shard_state;
/*
 * By done.json, aside.json and the tar's size; the tar is not read. *record (NULL: not wanted): done.json or aside.json, a new
 * reference, or NULL. SPADE_ERROR_INPUT: done.json is of another configuration or shard. One that is no JSON counts as not there.
 */
spade_status spade_shard_look(spade_context *context, const spade_store *store, int64_t shard, spade_shard_state *state,
                              json_t **record);
/* Reads the tar of a finished shard: where its SHA-256 is not that of the record, or it cannot be read, *state becomes LOST. */
spade_status spade_shard_verify(spade_context *context, const spade_store *store, int64_t shard, const json_t *record,
                                spade_shard_state *state);
/* Is it still to be done, by what spade_shard_look() found? retry: also where pictures of it failed, or where it was set aside. */
bool spade_shard_is_left(spade_shard_state state, const json_t *record, bool retry);

/* ---- reading */
/* A member in the file. */
typedef struct spade_shard_member {
    char name[SPADE_TAR_NAME];
    char xxh128[SPADE_FINGERPRINT_SIZE];
    uint64_t offset, size; /* of its content */
} spade_shard_member;

typedef struct spade_shard_row {
    int64_t row;
    const json_t *record; /* KEY.json; "error": the picture failed */
    spade_shard_member json;
    const spade_shard_member *maps; /* [map_count], as record.maps has them */
    int map_count;
} spade_shard_row;

/* A beginning of the shard that is whole: every row up to `next`, in so many bytes. */
typedef struct spade_shard_beginning {
    int64_t next;     /* the first row that is not in it */
    uint64_t bytes;   /* up to there */
    bool complete;    /* it holds all rows, and the archive's end behind them and nothing more */
    char reason[160]; /* why it ends where it does; "" where it is complete */
} spade_shard_beginning;

/*
 * Reads the tar or part file of a shard, checks every byte of it but by SHA-256, and hands every whole row to `visit` (may be NULL),
 * whose failure ends it. What is damaged, cut off or not there is no failure: *out says how far the file goes.
 */
typedef spade_status (*spade_shard_visit)(void *user, const spade_shard_row *row);
spade_status spade_shard_read(spade_context *context, const spade_store *store, int64_t shard, const char *path,
                              spade_shard_visit visit, void *user, spade_shard_beginning *out);

/* ---- writing */
/* A map's file in the tar. */
typedef struct spade_shard_file {
    char name[SPADE_TAR_NAME]; /* KEY.METHOD.npy */
    void *bytes;               /* malloc'ed by whoever made it */
    size_t size;
    char xxh128[SPADE_FINGERPRINT_SIZE];
} spade_shard_file;

typedef struct spade_shard_writer {
    spade_context *context;
    const spade_store *store;
    int64_t shard, next, end; /* next: the row that is to be added */
    int file;                 /* of the part; below 0: not open */
    char *path;
    uint64_t bytes; /* of whole rows */
    spade_sha256 sha;
    json_t *failures; /* [{"row", "image", "error"}] */
    int64_t kept;     /* rows that were there before */
    bool replaces;    /* a finished shard, whose failed rows are tried again */
    double began;     /* spade_now() */
    char started[SPADE_STORE_TIME];
} spade_shard_writer;

/*
 * Takes up the shard; out->next == out->end: all its rows are there already, and it is to be finished. align: rows that are made
 * together, of which only all are taken from what is there (1: each by itself). retry: none from the first failed one on.
 */
spade_status spade_shard_begin(spade_context *context, const spade_store *store, int64_t shard, int64_t align,
                               bool retry, spade_shard_writer *out);
/*
 * The row `writer->next`: its maps, and the record, to which the row's own end is added: "maps" must name the files with their
 * "bytes" and "xxh128" (spade_shard_maps_json()). A failure leaves the rows before.
 */
spade_status spade_shard_add(spade_shard_writer *writer, const spade_shard_file *files, int count,
                             const json_t *record);
/* After the last row: the tar under its name, done.json, and no part files any more. about: members of done.json that say who made
 * it ("version", "libraries", "device"). Where another run finished the shard meanwhile, that stays. */
spade_status spade_shard_finish(spade_shard_writer *writer, const json_t *about);
/* The part file stays, on the disk, where it holds a row. Also of a writer that is not open. */
void spade_shard_close(spade_shard_writer *writer);

/* Remove part files of killed runs of this machine whose shards are done, and temporary files. */
void spade_store_sweep(spade_context *context, const spade_store *store);

#endif
