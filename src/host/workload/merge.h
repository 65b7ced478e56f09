/* merge.h - what the files of the merge workload share. Private to workload/. */
#ifndef SPADE_WORKLOAD_MERGE_H
#define SPADE_WORKLOAD_MERGE_H

#include "store/store.h"
#include "workload/workload.h"

#define SPADE_INDEX_FILE "index.sqlite"

/* ---- merge_gallery.c: STORE/gallery from the index that is there. *stopped: events->stop said so. */
spade_status merge_write_gallery(spade_context *context, const spade_store *store, const spade_workload_events *events,
                                 bool *stopped);

#endif
