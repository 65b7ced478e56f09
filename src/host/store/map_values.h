/*
 * map_values.h - a map as the bytes of a file: float32 or float16 (.npy), or 8 bits (.png).
 *
 * The numbers of a map may be of any size (gradients of 1e-9 are common), so those that are written with fewer bits have a scale:
 * value = (number in the file - zero) * scale.
 */
#ifndef SPADE_STORE_MAP_VALUES_H
#define SPADE_STORE_MAP_VALUES_H

#include "base/base.h"

typedef enum map_values {
    MAP_FLOAT32, /* as they are: scale 1 */
    MAP_FLOAT16, /* scale: a power of two, with which the largest number is from 1 to less than 2; rounded to nearest, ties to even */
    MAP_PNG, /* scale: the largest number by 127, and zero 128, or by 255, and zero 0 where nothing is below 0 */
    MAP_VALUES
} map_values;
extern const char *const map_values_names[MAP_VALUES];   /* "float32", "float16", "png" */
extern const char *const map_values_endings[MAP_VALUES]; /* "npy", "png" */

/* The value of a name; false: there is none. */
bool map_values_find(const char *name, map_values *out);
/* A map of so many channels can be written so: a PNG has 1 or 3. */
static inline bool map_values_takes(map_values values, int64_t channels)
{
    return values != MAP_PNG || channels == 1 || channels == 3;
}
/* Bytes that a map takes, about. */
uint64_t map_values_bytes(map_values values, const int64_t shape[3]);

typedef struct map_file {
    uint8_t *bytes; /* malloc'ed */
    size_t size;
    double scale;
    int zero;
} map_file;
/* map [C, h, w], finite. negative: it may be below 0, also where this one is not. SPADE_ERROR_NUMERICAL: it is not finite. */
spade_status map_values_encode(spade_context *context, map_values values, const float *map, const int64_t shape[3],
                               bool negative, map_file *out);

#endif
