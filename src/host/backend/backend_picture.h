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

typedef struct spade_backend_picture {
    /* out [count, preprocess->channels, H, W] in `layout` from a picture [h, w, 3] of floats in [0, 1] (device), without
     * colours where there is one channel; resampled bilinearly, as the variants are defined */
    spade_status (*augment)(struct spade_device *device, const float *picture, int64_t height, int64_t width,
                            const spade_preprocess *preprocess, const spade_variant *variants /* host */, int64_t count,
                            spade_layout layout, float *out);
    spade_status (*resample)(struct spade_device *device, const spade_resample_args *args);
    /* out[i] = picture[i] / 255, n numbers */
    spade_status (*to_floats)(struct spade_device *device, int64_t n, const uint8_t *picture, float *out);
    spade_status (*heatmap)(struct spade_device *device, const spade_heatmap_args *args);
} spade_backend_picture;

#endif
