/* map_decode.h - a map's file in a store (float32 or float16 .npy, 8-bit PNG) as numbers again. */
#ifndef SPADE_STORE_MAP_DECODE_H
#define SPADE_STORE_MAP_DECODE_H

#include "base/base.h"

typedef struct spade_stored_map {
    int64_t shape[3]; /* [C, h, w] */
    float *data;      /* malloc'ed */
} spade_stored_map;

/* value = (number in the file - zero) * scale. name: in messages. SPADE_ERROR_INPUT: it is no map of a store. */
spade_status spade_stored_map_decode(spade_context *context, const char *name, const uint8_t *bytes, size_t size,
                                     double scale, int zero, spade_stored_map *out);

#endif
