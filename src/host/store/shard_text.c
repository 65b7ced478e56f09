/* shard_text.c - see shard_text.h. */
#include "store/shard_text.h"

#include "base/fingerprint.h"

static const char before[] = ",\"check\":\"", behind[] = "\"}";
enum { TAIL = sizeof before - 1 + SPADE_FINGERPRINT_SIZE - 1 + sizeof behind - 1 };

static void make_tail(const char *text, size_t size, char out[TAIL + 1])
{
    char fingerprint[SPADE_FINGERPRINT_SIZE];
    const spade_mapping piece = {.data = (const uint8_t *)text, .size = size};
    spade_fingerprint(&piece, 1, fingerprint);
    snprintf(out, TAIL + 1, "%s%s%s", before, fingerprint, behind);
}

char *shard_text(const json_t *record)
{
    char tail[TAIL + 1];
    char *text = spade_json_dump(record, JSON_COMPACT);
    const size_t size = text ? strlen(text) - 1 : 0; /* without the brace that ends it */
    char *larger = text ? realloc(text, size + sizeof tail) : NULL;
    if (!larger) {
        free(text);
        return NULL;
    }
    make_tail(larger, size, tail);
    memcpy(larger + size, tail, sizeof tail);
    return larger;
}

bool shard_text_is_whole(const char *text, size_t size)
{
    char tail[TAIL + 1];
    if (size < TAIL) { return false; }
    make_tail(text, size - TAIL, tail);
    return memcmp(text + size - TAIL, tail, TAIL) == 0;
}
