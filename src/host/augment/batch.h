/* batch.h - where a trace takes its variants from, inside: reading straight into device memory. */
#ifndef SPADE_AUGMENT_BATCH_H
#define SPADE_AUGMENT_BATCH_H

#include "backend/backend.h"

struct spade_batch {
    spade_context *context;
    int64_t dims[4]; /* n, channels, height, width */

    const float *ready; /* host, borrowed: variants as they are; NULL: drawn from a picture */

    float *picture; /* device, owned: [picture_height, picture_width, 3] in [0, 1] */
    size_t picture_bytes;
    int64_t picture_height, picture_width;
    uint64_t hash; /* of the picture's content */
    spade_preprocess preprocess;
    spade_augment_options options;
};

/* Variants first .. first+count-1 -> device memory out [count, channels, height, width] in `layout`. */
spade_status spade_batch_read_device(spade_context *context, const spade_batch *batch, int64_t first, int64_t count,
                                     spade_layout layout, float *out);

/* ---- shared by draw.c, apply.c and batch.c */
/* Content of a picture: width, height, pixels. */
uint64_t spade_picture_hash(const spade_picture *picture);
/* A caller's options to ours, within their limits. */
spade_status spade_augment_take_options(spade_context *context, const spade_augment_options *given,
                                        spade_augment_options *out);
/* Parameters of variants first .. first+count-1 of a picture with this size and hash; options have been checked. */
void spade_augment_draw_hashed(const spade_augment_options *options, uint64_t hash, int64_t picture_height,
                               int64_t picture_width, int64_t height, int64_t width, int64_t first, int64_t count,
                               spade_variant *out);
/* 8-bit RGB -> device memory, floats in [0, 1]. */
spade_status spade_augment_upload(spade_context *context, const spade_picture *picture, float **out, size_t *bytes);
spade_status spade_augment_check_size(spade_context *context, const spade_preprocess *preprocess);

#endif
