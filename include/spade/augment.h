/*
 * spade/augment.h - the batch of random variants of one picture that a trace is solved on.
 *
 * Source: SPADE (ICML 2024), section 3; torchvision's RandomResizedCrop and ColorJitter for the definitions of the
 * operations. Random numbers: Philox4x32-10, key (seed, 64-bit hash of the decoded pixels), counter (variant, draw);
 * drawn on the host in double. Variant i is the same whatever the number of variants, batches, threads, devices or the
 * file's name.
 */
#ifndef SPADE_AUGMENT_H
#define SPADE_AUGMENT_H

#include "spade/picture.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- limits; both ends are allowed, beyond them is SPADE_ERROR_ARGUMENT. Probabilities are 0 to 1, and so are
 * brightness, contrast and saturation. */
enum { SPADE_MAX_VARIANTS = 1000000 };
#define SPADE_MIN_AREA 1e-6 /* share of a picture; the most is 1 */
#define SPADE_MIN_ASPECT 0.01
#define SPADE_MAX_ASPECT 100.0
#define SPADE_MAX_HUE 0.5
#define SPADE_MAX_NOISE 100.0

typedef struct spade_augment_options {
    size_t size;                 /* set by spade_augment_options_init() */
    int64_t variants;            /* 1024 */
    uint64_t seed;               /* 0 */
    double area[2];              /* 0.2, 1: of the picture */
    double aspect[2];            /* 3/4, 4/3, log-uniform */
    double flip;                 /* 0.5: probability */
    double brightness;           /* 0.5: factor uniform in [1-b, 1+b] */
    double contrast, saturation; /* 0: likewise */
    double hue;                  /* 0.3: shift uniform in [-h, h], in turns */
    double erase;                /* 0: probability of erasing a rectangle (torchvision's RandomErasing, value 0) */
    double erase_area[2];        /* 0.02, 0.33 */
    double erase_aspect[2];      /* 0.3, 3.3, log-uniform */
    double noise;                /* 0: standard deviation of Gaussian noise added after normalisation */
} spade_augment_options;

SPADE_API void spade_augment_options_init_sized(spade_augment_options *options, size_t size);
static inline void spade_augment_options_init(spade_augment_options *options)
{
    spade_augment_options_init_sized(options, sizeof *options);
}

/* One variant, explicitly. Applied in the order crop+resize, flip, brightness, contrast, saturation, hue, normalise,
 * erase, noise. */
typedef struct spade_variant {
    int64_t top, left, height, width; /* crop, pixels of the decoded picture */
    int flip;
    double brightness, contrast, saturation; /* factors, 1: unchanged */
    double hue;                              /* turns, 0: unchanged */
    int64_t erase[4];                        /* top, left, height, width in pixels of the result; height 0: none */
    double noise;                            /* standard deviation, 0: none */
    uint32_t noise_key[4];                   /* Philox key and counter base of the noise */
} spade_variant;

/* Draw variants first .. first+count-1 for a picture of this content -> out[count]. height, width: size of the result.
 */
SPADE_API spade_status spade_augment_draw(spade_context *context, const spade_augment_options *options,
                                          const spade_picture *picture, int64_t height, int64_t width, int64_t first,
                                          int64_t count, spade_variant *out);
/* Apply variants -> out [count, channels, height, width], sizes as `preprocess` says. A channel that is no colour (the
 * fourth of 4: alpha) is made as the channel of a grey picture is, by the same variants with other noise: no hue. */
SPADE_API spade_status spade_augment_apply(spade_context *context, const spade_preprocess *preprocess,
                                           const spade_picture *picture, const spade_variant *variants, int64_t count,
                                           float *out);

/* ---- batch: where a trace takes its variants from, produced piece by piece so that memory does not grow with n ----
 */
typedef struct spade_batch spade_batch;

/* Ready variants [n, channels, height, width], borrowed: keep them alive. All of them must be finite, which is seen when they are used:
 * SPADE_ERROR_INPUT. */
SPADE_API spade_status spade_batch_from_array(spade_context *context, const float *data, int64_t n, int64_t channels,
                                              int64_t height, int64_t width, spade_batch **out);
/* Variants of a decoded picture; the picture is borrowed. */
SPADE_API spade_status spade_batch_from_picture(spade_context *context, const spade_picture *picture,
                                                const spade_preprocess *preprocess,
                                                const spade_augment_options *options, spade_batch **out);
/* Variants of a ready input [channels, height, width]: mean and std undone, clamped to [0, 1], then as a picture (kept in
 * float). Channels that are no colours (picture.h) are not clamped: where their values leave [0, 1], 0 and 1 are their
 * least and greatest value. */
SPADE_API spade_status spade_batch_from_tensor(spade_context *context, const float *input,
                                               const spade_preprocess *preprocess, const spade_augment_options *options,
                                               spade_batch **out);
SPADE_API void spade_batch_destroy(spade_batch *batch);                      /* NULL is fine */
SPADE_API void spade_batch_shape(const spade_batch *batch, int64_t dims[4]); /* n, channels, height, width */
/*
 * Variants that no Hessian sees, on which it is judged whether a trace decides as the network does (trace.h:
 * SPADE_SPARSITY_AUTO). Of a batch that is drawn they are `count` more, behind its own; of ready variants the last ones, which are
 * taken from it: it must keep at least one. sample [channels, height, width]: the input that the variants are of, copied; NULL: it
 * is not judged.
 */
SPADE_API spade_status spade_batch_hold_out(spade_context *context, spade_batch *batch, int64_t count,
                                            const float *sample);
/* Variants first .. first+count-1 -> out [count, channels, height, width]. Those held out follow the batch's own. */
SPADE_API spade_status spade_batch_read(spade_context *context, const spade_batch *batch, int64_t first, int64_t count,
                                        float *out);

#ifdef __cplusplus
}
#endif
#endif
