/* stores.h - small stores as annotate makes them, without a network: for tests of what reads stores. */
#ifndef SPADE_TEST_STORES_H
#define SPADE_TEST_STORES_H

#include "store/shard.h"

/* Every third row's record is a failure; the others have a map of 4 x 4 of each network, and a metric. */
enum { STORE_ENTRIES = 10, STORE_SHARD_SIZE = 4, STORE_SHARDS = 3 };
static inline int store_row_failed(int64_t row)
{
    return row % 3 == 2;
}
/* The store in the folder, its shards 0..shards-1 finished. */
void store_make(spade_context *context, const char *folder, int shards);
/* The rows of a shard up to end, in a part file that is closed. */
void store_make_part(spade_context *context, const char *folder, int shard, int64_t end);

#endif
