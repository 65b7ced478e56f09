/*
 * spade/picture.h - pictures in (decode, resize, crop, normalise) and out (heatmaps, PNG).
 */
#ifndef SPADE_PICTURE_H
#define SPADE_PICTURE_H

#include <stdbool.h>

#include "spade/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- limits; both ends are allowed, beyond them is SPADE_ERROR_ARGUMENT */
enum { SPADE_MAX_SIDE = 16384 }; /* pixels, of a picture and of a network's input */
#define SPADE_MAX_MEAN 1000.0    /* of the normalisation; the least is -SPADE_MAX_MEAN */
#define SPADE_MIN_STD 1e-6
#define SPADE_MAX_STD 1000.0
#define SPADE_MIN_CROP_SHARE 0.01

/* 8-bit RGB, rows from the top, [height, width, 3]. `rgb` belongs to the picture. */
typedef struct spade_picture {
    int64_t height, width;
    uint8_t *rgb;
    bool exif_rotated; /* the file asks for a rotation that was not applied (spade warns) */
    bool inexact; /* as decoded, its numbers are not those of the file: more than 8 bits, or compressed with loss */
    uint8_t
        *alpha; /* [height, width], not premultiplied into rgb; the picture's. NULL: there is none, or nobody asked */
} spade_picture;

/*
 * Decode PNG, JPEG, WebP, BMP or PNM in a helper process, told by content (limits: 16,384 pixels a side, 64 megapixels, a
 * 256 MB file; time, memory). Grey is repeated, alpha dropped, 16 bits reduced, inks made RGB, as Pillow's convert("RGB").
 * A crash of the decoder is that file's error.
 */
SPADE_API spade_status spade_picture_load(spade_context *context, const char *path, spade_picture *out);
/* The same, turned and mirrored as the file's EXIF orientation asks. */
SPADE_API spade_status spade_picture_load_upright(spade_context *context, const char *path, spade_picture *out);
/* As spade_picture_load(), and the alpha channel in out->alpha, as it is in the file; NULL where the file has none (a BMP
 * whose alpha is 255 everywhere has none). */
SPADE_API spade_status spade_picture_load_alpha(spade_context *context, const char *path, spade_picture *out);
/* Decode several files at once, as many helpers as threads. statuses[i] and messages[i] (strdup'ed or NULL) say how
 * each went. */
SPADE_API spade_status spade_picture_load_many(spade_context *context, const char *const *paths, int n,
                                               spade_picture *out, spade_status *statuses, char **messages);
/*
 * A mask, made black (outside) and white (inside) for spade_preprocess_mask():
 *   - an alpha channel that is not the same everywhere is the mask, by the rule for greys
 *   - of black and one other colour the other one is inside, whatever it is: values of 0 and 1, a class of a palette. The
 *     border of Pascal VOC's masks, (224, 224, 192), is outside
 *   - greys: above 127 is inside
 * SPADE_ERROR_INPUT: the picture cannot be decoded, has several colours, or greys of which none is above 127.
 */
SPADE_API spade_status spade_mask_load(spade_context *context, const char *path, spade_picture *out);
SPADE_API void spade_picture_clear(spade_picture *picture);

/* Write RGB (channels = 3) or grey (channels = 1) 8-bit PNG; beside `path` first, then renamed into place. */
SPADE_API spade_status spade_png_save(spade_context *context, const char *path, const uint8_t *pixels, int64_t height,
                                      int64_t width, int channels);
/* The same into memory; *bytes is malloc'ed. */
SPADE_API spade_status spade_png_encode(spade_context *context, const uint8_t *pixels, int64_t height, int64_t width,
                                        int channels, uint8_t **bytes, size_t *size);

/* Pillow's antialiased bilinear resize (triangle filter, support scaled when shrinking; 8-bit result, Pillow's
 * rounding); without alpha. */
SPADE_API spade_status spade_picture_resize(spade_context *context, const spade_picture *in, int64_t height,
                                            int64_t width, spade_picture *out);

/* How pictures are resized: Pillow's filters of these names, which are antialiased. */
typedef enum spade_resample { SPADE_RESAMPLE_BILINEAR, SPADE_RESAMPLE_BICUBIC } spade_resample;

typedef struct spade_preprocess {
    size_t size;    /* set by spade_preprocess_init() */
    int64_t resize; /* shorter side in pixels; -1: longer side of the crop * 256/224 rounded; 0: has the input size
                       already */
    int64_t height, width;   /* centre crop = the network's input size */
    double mean[3], std[3];  /* of RGB in [0, 1]; of one channel the first */
    int64_t channels;        /* of the network: 3; 1: the picture's luma (Pillow's convert("L")); 4: RGB and the alpha
                                channel, whatever it holds. Others: of tensors alone, no channel is a colour */
    spade_resample resample; /* of the picture; its variants (augment.h) are resized bilinearly */
    bool squash;             /* height and width are resized by themselves, to squares where `resize` says so */
    bool bgr;                /* the network's channels are blue, green, red; mean and std are still those of RGB */
    double crop_share;       /* with resize -1: the crop's share of the resized side, rounded down: timm's crop_pct; 0:
                                224/256 rounded, or with squash 1 */
    double band_mean,
        band_std; /* of the channels that are no colours: the fourth of 4, all of 2 or of 5 and more; 0 and 1.
                                   band_std 0: 1 */
} spade_preprocess;

/* Defaults: resize -1, ImageNet's mean and std, the given input size; three channels, bilinear. */
SPADE_API void spade_preprocess_init_sized(spade_preprocess *preprocess, size_t size, int64_t height, int64_t width);
static inline void spade_preprocess_init(spade_preprocess *preprocess, int64_t height, int64_t width)
{
    spade_preprocess_init_sized(preprocess, sizeof *preprocess, height, width);
}
/* out: [channels, height, width]; cropped (may be NULL): the 8-bit picture that the network sees, without its alpha, for
 * heatmaps. SPADE_ERROR_INPUT: 4 channels, and the picture has no alpha. */
SPADE_API spade_status spade_preprocess_apply(spade_context *context, const spade_preprocess *preprocess,
                                              const spade_picture *picture, float *out, spade_picture *cropped);
/* A mask (grey picture, > 127 is inside) through the same resize and crop, nearest neighbour -> out [height, width] of
 * 0/1. */
SPADE_API spade_status spade_preprocess_mask(spade_context *context, const spade_preprocess *preprocess,
                                             const spade_picture *mask, uint8_t *out);
/* Undo mean and std, clamp to [0, 1], round to 8 bits: a picture of a normalised tensor [channels, height, width]. Of 5
 * channels and more the first three, of 2 the first one in grey, each from its least to its greatest value where that
 * leaves [0, 1]. */
SPADE_API spade_status spade_picture_from_tensor(spade_context *context, const spade_preprocess *preprocess,
                                                 const float *input, spade_picture *out);

/* How the channels of a map [C, H, W] become one number per pixel. */
typedef enum spade_reduce {
    SPADE_REDUCE_SUM,
    SPADE_REDUCE_ABS_MAX,
    SPADE_REDUCE_ABS_SUM,
    SPADE_REDUCE_ABOVE_LEAST /* the sum, less the least sum of all pixels */
} spade_reduce;
SPADE_API const char *spade_reduce_name(spade_reduce reduce); /* "abs-max", ... */
SPADE_API void spade_map_reduce(const float *map, int64_t channels, int64_t height, int64_t width, spade_reduce reduce,
                                float *out /* [height, width] */);
/* A reduced map [height, width], of a layer for example, at the size of the picture: bilinear, pixels are squares whose
 * outer edges coincide (PyTorch's align_corners=False). out [out_height, out_width]. */
SPADE_API void spade_map_resize(const float *map, int64_t height, int64_t width, float *out, int64_t out_height,
                                int64_t out_width);
/*
 * A reduced map drawn over its picture, for people: perceptual colour map (unsigned: dark to bright; signed:
 * diverging, zero transparent). `scale` is the map value at full colour; use the same for dense and trace. out: RGB [f
 * * height, f * width], f the smallest whole factor that makes the shorter side 256 pixels or more.
 */
SPADE_API spade_status spade_heatmap(spade_context *context, const spade_picture *picture, const float *reduced,
                                     double scale, bool is_signed, spade_picture *out);
/* The value at `percentile` (0-100) of abs(reduced): a robust scale. */
SPADE_API double spade_map_percentile(const float *reduced, int64_t n, double percentile);

#ifdef __cplusplus
}
#endif
#endif
