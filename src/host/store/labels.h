/* labels.h - whole numbers of pixels, segmentations for example, from .npy files of any type that NumPy has for them. */
#ifndef SPADE_STORE_LABELS_H
#define SPADE_STORE_LABELS_H

#include "base/base.h"

typedef struct spade_labels {
    int64_t height, width;
    int64_t *data; /* [height, width], owned: spade_labels_clear() */
} spade_labels;

/* Room for labels; `path` is named when there is none. */
spade_status spade_labels_create(spade_context *context, const char *path, int64_t height, int64_t width,
                                 spade_labels *out);
/* Read a .npy [H, W], little endian, C order: integers of 1 to 8 bytes, bool, or floats that are whole numbers. */
spade_status spade_labels_load(spade_context *context, const char *path, spade_labels *out);
void spade_labels_clear(spade_context *context, spade_labels *labels); /* leaves it empty */

#endif
