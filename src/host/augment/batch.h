/* batch.h - where a trace takes its variants from, inside: reading straight into device memory. */
#ifndef SPADE_AUGMENT_BATCH_H
#define SPADE_AUGMENT_BATCH_H

#include "backend/backend.h"

/* A channel that is no colour: a grey picture, and how its values from 0 to 1 are normalised. */
typedef struct spade_augment_band {
    float *picture; /* device, owned: [height, width, 3], the three the same */
    double mean, std;
} spade_augment_band;

/* What variants are made from: values in [0, 1]. */
typedef struct spade_augment_source {
    int64_t height, width;
    size_t bytes;   /* of each picture */
    float *colours; /* device, owned: [height, width, 3]; NULL: no channel is a colour */
    spade_augment_band *bands;
    int64_t band_count;
} spade_augment_source;

struct spade_batch {
    spade_context *context;
    int64_t dims[4]; /* n, channels, height, width */

    int64_t held_out;    /* variants behind those n, for no Hessian */
    float *sample;       /* [channels, height, width], with them; or NULL */
    size_t sample_bytes; /* of the budget */

    const float *ready; /* host, borrowed: variants as they are; NULL: drawn from a picture */

    spade_augment_source source;
    uint64_t hash; /* of the source's content */
    spade_preprocess preprocess;
    spade_augment_options options;
};

/* Variants first .. first+count-1 -> device memory out [count, channels, height, width] in `layout`. */
spade_status spade_batch_read_device(spade_context *context, const spade_batch *batch, int64_t first, int64_t count,
                                     spade_layout layout, float *out);

/* ---- shared by draw.c, apply.c and batch.c */
/* Content of a picture: width, height, pixels, alpha. */
uint64_t spade_picture_hash(const spade_picture *picture);
/* A caller's options to ours, within their limits. */
spade_status spade_augment_take_options(spade_context *context, const spade_augment_options *given,
                                        spade_augment_options *out);
/* Parameters of variants first .. first+count-1 of a picture with this size and hash; options have been checked. */
void spade_augment_draw_hashed(const spade_augment_options *options, uint64_t hash, int64_t picture_height,
                               int64_t picture_width, int64_t height, int64_t width, int64_t first, int64_t count,
                               spade_variant *out);
spade_status spade_augment_check_size(spade_context *context, const spade_preprocess *preprocess);
/* Room for the bands that the channels ask for; size: of the pictures. Cleared also after a failure. */
spade_status spade_augment_source_open(spade_context *context, const spade_preprocess *preprocess, int64_t height,
                                       int64_t width, spade_augment_source *out);
/* The pictures of a source: 8-bit RGB, and the alpha channel where the network has four. */
spade_status spade_augment_source_upload(spade_context *context, const spade_preprocess *preprocess,
                                         const spade_picture *picture, spade_augment_source *source);
void spade_augment_source_clear(spade_context *context, spade_augment_source *source);
/* Variants (whose noise keys are left counted up) -> device memory out [count, channels, height, width] in `layout`. */
spade_status spade_augment_make(spade_context *context, const spade_augment_source *source,
                                const spade_preprocess *preprocess, spade_variant *variants, int64_t count,
                                spade_layout layout, float *out);

#endif
