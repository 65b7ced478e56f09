/*
 * spade/array.h - dense arrays and NumPy .npy files.
 */
#ifndef SPADE_ARRAY_H
#define SPADE_ARRAY_H

#include "spade/context.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SPADE_MAX_RANK = 8 };

/* A float32 array in C order. `data` belongs to the array; free it with spade_array_clear(). A scalar has rank 0. */
typedef struct spade_array {
    int rank;
    int64_t dims[SPADE_MAX_RANK];
    float *data;
} spade_array;

/*
 * Read a .npy file (format 1.0-3.0, little endian '<f4', C order; '<f8' where allow_float64, rounded to float32).
 * SPADE_ERROR_INPUT names the file and what is wrong: type, order, header, length. NaN and infinity are refused.
 */
SPADE_API spade_status spade_array_load(spade_context *context, const char *path, int allow_float64, spade_array *out);
/* Write `data` [dims] as .npy, float32, C order: beside `path` first, then renamed into place. */
SPADE_API spade_status spade_array_save(spade_context *context, const char *path, const float *data, int rank,
                                        const int64_t *dims);
SPADE_API void spade_array_clear(spade_array *array); /* leaves it empty; NULL is fine */
SPADE_API int64_t spade_array_size(const spade_array *array);

#ifdef __cplusplus
}
#endif
#endif
