/*
 * filter.h - Pillow's antialiased filters, shared by the 8-bit resize of pictures and the float resize of
 * the augmentation.
 */
#ifndef SPADE_FILTER_H
#define SPADE_FILTER_H

#include "base/base.h"
#include "spade/picture.h"

/*
 * One axis of a resize from `in` to `out` samples: output i = sum over k < count[i] of weight[i * taps + k] *
 * input[first[i] + k]. A triangle (bilinear), or the cubic with a = -0.5 (bicubic); its support is scaled by in/out when
 * shrinking, clipped at the borders and normalised (libImaging/Resample.c). Lives in memory that the caller gives.
 */
typedef struct spade_filter {
    int64_t in, out;
    int64_t taps;   /* most taps of any output */
    double *weight; /* [out, taps], zero beyond count */
    int32_t *first; /* [out] */
    int32_t *count; /* [out] */
} spade_filter;

/* Most weights of any output. */
int64_t spade_filter_taps(spade_resample kind, int64_t in, int64_t out);
/* Bytes of memory that spade_filter_init() needs, a multiple of 64. in, out: 1 to 2^24. */
size_t spade_filter_bytes(spade_resample kind, int64_t in, int64_t out);
void spade_filter_init(spade_resample kind, int64_t in, int64_t out, void *memory, spade_filter *filter);

/* What a window of `size` outputs from `first` on (which may reach beyond 0 .. out-1) is made of. */
typedef struct spade_filter_window {
    int64_t begin, end;          /* the outputs that there are; none: begin = end */
    int64_t first_in, behind_in; /* the inputs that these need; none: both 0 */
} spade_filter_window;
spade_filter_window spade_filter_find_window(spade_resample kind, int64_t in, int64_t out, int64_t first, int64_t size);

#endif
