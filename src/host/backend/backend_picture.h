/* backend_picture.h - a backend's operations on pictures: variants for the batch, resize, heat maps. */
#ifndef SPADE_BACKEND_PICTURE_H
#define SPADE_BACKEND_PICTURE_H

#include "backend/ops.h"
#include "base/base.h"
#include "spade/augment.h"

/*
 * Pillow's antialiased resize (backend/filter.h's weights in its fixed point, rounded to 8 bits after the rows
 * and after the columns: libImaging/Resample.c), and of its result a window; black where the window reaches beyond it.
 * Pictures are 8-bit RGB, rows from the top.
 */
typedef struct spade_resample_args {
    const uint8_t *picture;                /* [picture_height, picture_width, 3] */
    int64_t picture_height, picture_width; /* to SPADE_MAX_SIDE */
    int64_t full_height, full_width;       /* of the whole picture after the resize, to SPADE_MAX_SIDE */
    int64_t top, left, height, width;      /* the window */
    spade_resample kind;
    uint8_t *rgb;      /* [height, width, 3] out */
    float *normalised; /* [channels, height, width] out: (rgb / 255 - mean) / std; NULL: not wanted */
    float mean[3], std[3];
    int channels; /* of normalised: 3, or 1: red alone, of a picture without colours */
    int plane[3]; /* of normalised, where red, green and blue go */
} spade_resample_args;

/* The network's channel that a colour (0 red, 1 green, 2 blue) goes to. */
static inline int spade_preprocess_plane(const spade_preprocess *preprocess, int colour)
{
    return preprocess->channels == 1 ? 0 : preprocess->bgr ? 2 - colour : colour;
}

/* The network's first channels that are colours, or grey; the others are bands: the fourth of 4 (alpha), all of 2 or of 5 and
 * more, of which nothing says what they are. */
static inline int64_t spade_preprocess_colours(const spade_preprocess *preprocess)
{
    const int64_t channels = preprocess->channels;
    return channels == 1 ? 1 : channels == 3 || channels == 4 ? 3 : 0;
}

static inline double spade_preprocess_mean(const spade_preprocess *preprocess, int64_t channel)
{
    if (channel >= spade_preprocess_colours(preprocess)) { return preprocess->band_mean; }
    return preprocess->mean[spade_preprocess_plane(preprocess, (int)channel)];
}

static inline double spade_preprocess_std(const spade_preprocess *preprocess, int64_t channel)
{
    if (channel >= spade_preprocess_colours(preprocess)) { return preprocess->band_std; }
    return preprocess->std[spade_preprocess_plane(preprocess, (int)channel)];
}

/* Where variants go: out [count, channels, H, W] in `layout` (device), whose other channels stay as they are. */
typedef struct spade_augment_target {
    float *out;
    spade_layout layout;
    int64_t first, channels; /* the first channel that is written; all channels */
} spade_augment_target;

typedef struct spade_backend_picture {
    /* preprocess->channels (3; or 1, of a picture without colours) of each variant from a picture [h, w, 3] of floats in
     * [0, 1] (device); resampled bilinearly, as the variants are defined */
    spade_status (*augment)(struct spade_device *device, const float *picture, int64_t height, int64_t width,
                            const spade_preprocess *preprocess, const spade_variant *variants /* host */, int64_t count,
                            const spade_augment_target *to);
    spade_status (*resample)(struct spade_device *device, const spade_resample_args *args);
    /* out[i] = picture[i] / 255, n numbers */
    spade_status (*to_floats)(struct spade_device *device, int64_t n, const uint8_t *picture, float *out);
    spade_status (*heatmap)(struct spade_device *device, const spade_heatmap_args *args);
} spade_backend_picture;

#endif
