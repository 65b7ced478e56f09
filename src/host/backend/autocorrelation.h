/*
 * autocorrelation.h - the Hessian of a stride-1 convolution from correlations of its input with itself: the geometry of the lags
 * that the spectral, shift and depthwise forms of every backend accumulate.
 *
 * With d the kernel offset, q = p + d - pad the pixel that output p reads through it, and D = d' - d:
 *   H[(c, d), (c', d')] = sum over the outputs p of x_c(q) x_c'(q + D),      x = 0 outside the image.
 * Summed over all p in Z^2 this is the lag R(D)[c, c'] = sum over q of x_c(q) x_c'(q + D), the same for all pairs of
 * offsets with one difference. What the outputs do not cover is taken off again. Above the first output row the sum
 * holds just the pairs of rows among the first t = max(d_y, d'_y) - pad_top rows of the image (none where min(d_y,
 * d'_y) <= pad_top): the lag D of the image cut to these rows. Likewise the last t = k - 1 - min(d_y, d'_y) -
 * pad_bottom rows, and columns; what is cut both ways comes back. So with "parts" of the image, whole or cut to a few
 * rows and columns at its borders,
 *   H = sum over parts of (-1)^(cut axes) R_part(D).
 * The diagonal, whose exact zeros mark dead inputs, is no difference of sums: squares are summed in cells of rows and
 * columns between which no offset's window begins or ends.
 */
#ifndef SPADE_AUTOCORRELATION_H
#define SPADE_AUTOCORRELATION_H

#include "backend/backend.h"

enum { SPADE_LAG_MAX_KERNEL = 15 /* along one axis */ };

/* One axis (0: rows, 1: columns). Its parts: whole, first 1..cut[0], last 1..cut[1] rows. */
typedef struct spade_lag_axis {
    int64_t size, kernel, pad, output;
    int64_t cut[2], parts;
    int64_t first_lag[2 * SPADE_LAG_MAX_KERNEL]; /* sum of the lags of the parts before, [parts] and the total */
    int64_t cells, cell_start[2 * SPADE_LAG_MAX_KERNEL + 1];
} spade_lag_axis;

typedef struct spade_autocorrelation {
    int64_t groups, channels; /* of a group */
    spade_lag_axis axis[2];
    int64_t count; /* lags of all parts */
} spade_autocorrelation;

/* The image cut to [top, top + size[0]) x [left, left + size[1]). Lags D with |D_a| < reach[a]. */
typedef struct spade_lag_part {
    int64_t start[2], size[2], reach[2];
    int64_t first, row; /* lag (0, 0)... lag(dy, dx) = first + (dy + reach[0] - 1) * row + dx + reach[1] - 1 */
} spade_lag_part;

/* Whether the lag forms can describe this convolution: stride and dilation 1, a kernel larger than 1x1, channels last.
 */
bool spade_autocorrelation_apply(const spade_hessian_desc *desc);
spade_autocorrelation spade_autocorrelation_of(const spade_hessian_desc *desc);
static inline int64_t spade_autocorrelation_parts(const spade_autocorrelation *lags)
{
    return lags->axis[0].parts * lags->axis[1].parts;
}
/* Where part number `part` of an axis lies. */
void spade_lag_axis_part(const spade_lag_axis *axis, int64_t part, int64_t *start, int64_t *size);
/* The index-th part of the image: row part index / axis[1].parts, column part index % axis[1].parts. 0: all of it. */
spade_lag_part spade_autocorrelation_part(const spade_autocorrelation *lags, int64_t index);
/* Lags of one part. */
static inline int64_t spade_lag_part_count(const spade_lag_part *part)
{
    return (2 * part->reach[0] - 1) * part->row;
}
/* The rows (columns) that kernel offset d reads: [begin, end), clipped to the image. */
void spade_lag_window(const spade_lag_axis *axis, int64_t d, int64_t *begin, int64_t *end);
/* Cells of one image, times all channels. */
static inline int64_t spade_autocorrelation_cells(const spade_autocorrelation *lags)
{
    return lags->axis[0].cells * lags->axis[1].cells * lags->groups * lags->channels;
}

#endif
