/* resize.h - a window of a resized picture, computed by the context's device; and a caller's preprocessing. */
#ifndef SPADE_RESIZE_H
#define SPADE_RESIZE_H

#include "backend/backend.h"

/*
 * window: everything of spade_resample_args but the pointers, sizes within SPADE_MAX_SIDE; rgb: host [height, width,
 * 3]; normalised: host [channels, height, width], NULL: not wanted.
 */
spade_status spade_resize_window(spade_context *context, const spade_picture *picture,
                                 const spade_resample_args *window, uint8_t *rgb, float *normalised);

/* ---- preprocess.c; what is made has no alpha */
/* A copy of the picture without colours, Pillow's convert("L"). */
spade_status spade_picture_grey(spade_context *context, const spade_picture *picture, spade_picture *out);
/* The alpha channel as a grey picture. */
spade_status spade_picture_of_alpha(spade_context *context, const spade_picture *picture, spade_picture *out);
/* Has the picture the network's channels? SPADE_ERROR_INPUT says what is missing. */
spade_status spade_picture_check_channels(spade_context *context, const spade_preprocess *preprocess,
                                          const spade_picture *picture);
/* Of a normalised channel without its mean and std: [0, 1], and further where its values are. */
typedef struct spade_range {
    double low, high;
} spade_range;
spade_range spade_band_range(const float *plane, int64_t pixels, double mean, double std);
/* A caller's struct to one of ours (base/caller_options.h). */
spade_status spade_preprocess_take(spade_context *context, const spade_preprocess *given, spade_preprocess *out);

#endif
