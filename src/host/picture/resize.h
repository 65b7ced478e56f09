/* resize.h - a window of a resized picture, computed by the context's device; and a caller's preprocessing. */
#ifndef SPADE_RESIZE_H
#define SPADE_RESIZE_H

#include "backend/backend.h"

/*
 * window: everything of spade_resample_args but the pointers, sizes within SPADE_MAX_SIDE; rgb: host [height, width,
 * 3]; normalised: host [3, height, width], NULL: not wanted.
 */
spade_status spade_resize_window(spade_context *context, const spade_picture *picture,
                                 const spade_resample_args *window, uint8_t *rgb, float *normalised);

/* preprocess.c: a copy of the picture without colours, Pillow's convert("L"). */
spade_status spade_picture_grey(spade_context *context, const spade_picture *picture, spade_picture *out);
/* A caller's struct to one of ours (base/caller_options.h). */
spade_status spade_preprocess_take(spade_context *context, const spade_preprocess *given, spade_preprocess *out);

#endif
