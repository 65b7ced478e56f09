/* superpixels.h - the picture as segments: a grid, SLIC, or a file that says it. */
#ifndef SPADE_ATTRIBUTION_SUPERPIXELS_H
#define SPADE_ATTRIBUTION_SUPERPIXELS_H

#include "attribution/registry.h"

/* segment_of, everywhere below: host [H * W] out, the segment of each pixel of the input, 0 to *count - 1. */

enum {
    MAX_SUPERPIXELS = 2000
}; /* that may be asked for, and in a file; the linear models' matrices grow with its square */

/* How `wanted` rectangles, about, are laid out, as near to squares as that goes. */
void attribution_rectangles(const attribution_job *job, int64_t wanted, int64_t *rows, int64_t *columns);
/* These rectangles, row by row. */
void attribution_grid_segments(const attribution_job *job, int64_t wanted, int32_t *segment_of, int64_t *count);

/*
 * SLIC (Achanta et al. 2012): k-means over colour and place, 10 rounds, from the centres of about `wanted` rectangles;
 * a pixel is compared with the centres less than twice their spacing S away. Distance^2 = |colour|^2 + (compactness *
 * |place| / S)^2, colours the input's channels from 0, its least value, to 1, its largest. Then each segment is made
 * connected: pieces of at most a quarter of S^2 pixels join a neighbour, larger ones are segments of their own.
 */
spade_status attribution_slic_segments(const attribution_job *job, int64_t wanted, double compactness,
                                       int32_t *segment_of, int64_t *count);

/*
 * From a file: a .npy [H, W] of whole numbers, or a picture, of the input's size; pixels with the same number (the same
 * colour) are a segment. Numbers need not be 0, 1, 2...: segments are in their order.
 */
spade_status attribution_read_segments(const attribution_job *job, const char *path, int32_t *segment_of,
                                       int64_t *count);

#endif
