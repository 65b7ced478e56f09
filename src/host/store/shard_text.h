/* shard_text.h - the text of KEY.json, which ends in a fingerprint of what stands before it. Private to store/. */
#ifndef SPADE_STORE_SHARD_TEXT_H
#define SPADE_STORE_SHARD_TEXT_H

#include "base/json.h"

/* {...,"check":"XXH3-128 of the bytes before the comma"}, malloc'ed; NULL: out of memory. The record is an object with members. */
char *shard_text(const json_t *record);
/* Is the text one of these, unchanged? It is not parsed. */
bool shard_text_is_whole(const char *text, size_t size);

#endif
