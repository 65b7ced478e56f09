/*
 * samples.h - the samples of a data set in tars, as WebDataset has them (sample_name.h), as rows of a manifest: in the order of the tars.
 *
 * All tars are read once, but for their contents: then it is known how many samples there are and, in tars that are not compressed, where
 * each begins, in 8 bytes. A compressed tar is read from its beginning to the row that is asked for. Only rows that are at work are in
 * memory.
 */
#ifndef SPADE_WORKLOAD_SAMPLES_H
#define SPADE_WORKLOAD_SAMPLES_H

#include "base/json.h"
#include "store/sha256.h"
#include "workload/inputs.h"
#include "workload/tar_stream.h"

/* A row that is at work. */
typedef struct spade_sample {
    int64_t row;
    spade_input_bytes bytes;
    char *key;
    char *file, *mask; /* TAR/MEMBER, as paths, for messages; mask: NULL: there is none */
    char *label;       /* NULL: none */
    char *error;       /* why it cannot be used */
    json_t *columns;   /* {"image": TAR/MEMBER, "__key__", "mask", "label", "txt", "json", ...}: texts */
    size_t charged;
    struct spade_sample *next;
} spade_sample;

/* What is known of a tar. */
typedef struct sample_tar {
    int64_t first; /* row */
    bool compressed;
} sample_tar;

typedef struct spade_samples {
    spade_context *context;
    spade_tar_list tars;
    sample_tar *of_tar; /* [tars.count + 1]: the last one's `first` is behind the last row */
    int64_t count;
    uint64_t *offsets;              /* [count]: of the first member, in a tar that is not compressed */
    bool masks;                     /* some have one */
    bool scanned;                   /* and not known from an earlier run */
    char sha256[SPADE_SHA256_SIZE]; /* of the tars' names and sizes, and the members' */
    /* where it is read */
    spade_tar_stream *stream; /* NULL: nowhere */
    int tar;
    int64_t at;                /* the row that begins with the member at hand */
    spade_tar_member member;   /* the first of the next sample, whose content is not read yet */
    bool there;                /* it is */
    spade_sample *held, *last; /* rows that were taken, in that order */
    int64_t unlabelled;        /* of those that were taken, how many had a .cls or .json that gave no label, */
    char *unlabelled_file;     /* and the first: it is warned of at the end */
} spade_samples;

/*
 * tars are taken over, also when this fails. path: what was asked for, in messages. store: a folder in which spade_samples_keep() may have
 * been before (NULL: none). What is in the tars and is not read is warned about, kinds and counts.
 */
spade_status spade_samples_open(spade_context *context, const char *path, spade_tar_list *tars, const char *store,
                                spade_samples *out);
/* What was found in the tars, for the next run; the folder is there. Where it cannot be written the next run reads them again. */
void spade_samples_keep(const spade_samples *samples, const char *store);
/* The row is read, and held. What is wrong with it alone is its `error`; the call fails where its tar cannot be read. */
spade_status spade_samples_take(spade_samples *samples, int64_t row, const spade_sample **out);
/* A row that is held, or NULL. */
const spade_sample *spade_samples_find(const spade_samples *samples, int64_t row);
void spade_samples_release(spade_samples *samples, int64_t row);
void spade_samples_close(spade_samples *samples);

/* ---- samples_scan.c, samples_index.c */
/* of_tar, offsets, count, masks, sha256. */
spade_status spade_samples_scan(spade_samples *samples, const char *path);
/* The same as an earlier run has found it; *known false: it did not, or the tars are other ones by now. */
spade_status spade_samples_read_index(spade_samples *samples, const char *store, bool *known);

#endif
