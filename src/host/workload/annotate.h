/* annotate.h - what the files of the annotate workload share. Private to workload/. */
#ifndef SPADE_WORKLOAD_ANNOTATE_H
#define SPADE_WORKLOAD_ANNOTATE_H

#include "store/map_values.h"
#include "store/shard.h"
#include "workload/explain.h"
#include "workload/manifest.h"

/* Shards of each process, and rows of a shard, where nobody says how many. */
enum { ANNOTATE_SHARDS_EACH = 4, ANNOTATE_LEAST_ROWS = 8 };

/* A shard that was taken up: its rows are handed out, and written. */
typedef struct annotate_shard {
    spade_shard_writer writer;
    int64_t given; /* the row that is handed out next */
    struct annotate_shard *next;
} annotate_shard;

typedef struct annotate_job {
    spade_context *context;
    const spade_annotate_request *request;
    const spade_workload_events *events;
    spade_explain_request explained; /* the same, as the maps' maker sees it */
    explain_job explain;
    explain_sink sink;
    map_values values;
    spade_manifest manifest;
    spade_store store;
    json_t *about;   /* what done.json says of this run */
    int64_t *shards; /* [shard_count]: of the share, those that are to be done; not where they are leased */
    int64_t shard_count, shard_at;
    workload_source source; /* its total: rows that are left, or may be */
    int align; /* rows that are made together, 0: not known yet; 1 where that does not show in their maps */
    annotate_shard *first, *last; /* the one that is written, ..., the one whose rows are handed out */
    spade_annotate_outcome *outcome;
} annotate_job;

/* A map of a row. */
typedef struct annotated_map {
    const explained_pair *pair;
    int network;
    int64_t shape[3];
    map_file file;
} annotated_map;

/* What is known of a picture when it is done: the pipeline's state. */
typedef struct annotated_input {
    explained_input explained; /* first: its steps get the address of this */
    int64_t row;
    annotated_map *maps; /* [map_count] */
    int map_count;
    spade_shard_file *files; /* [map_count]: their names; the bytes are the maps' */
} annotated_input;

/* ---- annotate_shards.c: which rows are done, and where they go */
/* Said once of a run whose store has fewer shards than shares, or whose share has fewer (`shards`) than workers. */
void annotate_warn_of_few_shards(spade_context *context, const spade_annotate_request *request,
                                 const spade_store *store, int64_t shards);
/* spade_shard_look(); with --retry the tar is read too, and where it is damaged, the shard is LOST. */
spade_status annotate_look(spade_context *context, const spade_store *store, const spade_annotate_request *request,
                           const spade_workload_events *events, int64_t shard, spade_shard_state *state,
                           json_t **record);
/* The shards of the share that are left, and what was there before. */
spade_status annotate_shards_open(annotate_job *job);
/* workload_source.next */
spade_status annotate_next_rows(void *job, spade_input *out, int most, int *count);
/* Into its shard, which is finished with its last row. */
spade_status annotate_add_row(annotate_job *job, int64_t row, const spade_shard_file *files, int count,
                              const json_t *record);
/* What is not finished stays as part files. */
void annotate_shards_close(annotate_job *job);

/* ---- annotate_row.c: a row's files; steps of the pipeline's consumer, whose `state` is an annotated_input */
/* The longest name that a map's file may get is one that a tar can hold. */
spade_status annotate_check_names(const annotate_job *job);
spade_status annotate_take_map(void *job, const explain_made_map *map); /* explain_sink.take */
spade_status annotate_dense(void *job, const workload_item *item, void *state);
spade_status annotate_process(void *job, const workload_item *item, void *state);
spade_status annotate_record(void *job, const workload_item *item, void *state);
spade_status annotate_failed(void *job, const spade_input *input, const char *message);
void annotate_clear(void *state);

/* Whoever watches knows at which row a process is that does not come back. */
static inline void annotate_tell_begun(const annotate_job *job, const workload_item *item)
{
    if (job->request->begun) { job->request->begun(job->request->shard_user, item->input->position); }
}

#endif
