/*
 * hessian_lags.h - the Hessian of a stride-1 convolution from correlations of its input with itself: what the spectral,
 * shift and depthwise forms accumulate, and how H is put together from it.
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
 *
 * Accumulators are float64: [groups][tiles][lags of all parts][block][block], then the cells [cells, channels]. A tile
 * is a pair of channel blocks (i, j), i <= j: of the channel pairs the upper triangle by blocks is kept.
 */
#ifndef SPADE_CPU_HESSIAN_LAGS_H
#define SPADE_CPU_HESSIAN_LAGS_H

#include "backend/cpu/cpu.h"

enum {
    SPADE_LAG_MAX_KERNEL = 15, /* along one axis */
    SPADE_LAG_BLOCK = 32       /* channels; of a depthwise convolution, which has one a group, 1 */
};

/* One axis (0: rows, 1: columns). Its parts: whole, first 1..cut[0], last 1..cut[1] rows. */
typedef struct spade_lag_axis {
    int64_t size, kernel, pad, output;
    int64_t cut[2], parts;
    int64_t first_lag[2 * SPADE_LAG_MAX_KERNEL]; /* sum of the lags of the parts before, [parts] and the total */
    int64_t cells, cell_start[2 * SPADE_LAG_MAX_KERNEL + 1];
} spade_lag_axis;

typedef struct spade_lags {
    int64_t groups, channels; /* of a group */
    int64_t block, blocks;    /* channels of a block; blocks of a group */
    spade_lag_axis axis[2];
    int64_t count; /* lags of all parts */
    int64_t tiles; /* of a group */
} spade_lags;

/* The image cut to [top, top + size[0]) x [left, left + size[1]). Lags D with |D_a| < reach[a]. */
typedef struct spade_lag_part {
    int64_t start[2], size[2], reach[2];
    int64_t first, row; /* lag (0, 0)... lag(dy, dx) = first + (dy + reach[0] - 1) * row + dx + reach[1] - 1 */
} spade_lag_part;

/* Whether the lag forms can describe this convolution: stride and dilation 1, a kernel larger than 1x1, channels last.
 */
bool spade_lags_apply(const spade_patches *patches);
spade_lags spade_lags_of(const spade_patches *patches);
static inline int64_t spade_lags_parts(const spade_lags *lags)
{
    return lags->axis[0].parts * lags->axis[1].parts;
}
spade_lag_part spade_lags_part(const spade_lags *lags, int64_t index);

/* Numbers of an accumulator: lags and cells. */
int64_t spade_lags_size(const spade_lags *lags);
/* One lag of tile (row, column), row <= column: [block, block]. */
static inline double *spade_lags_tile(const spade_lags *lags, double *accumulator, int64_t group, int64_t row,
                                      int64_t column, int64_t lag)
{
    int64_t tile = group * lags->tiles + row * lags->blocks - row * (row - 1) / 2 + column - row;
    return accumulator + (tile * lags->count + lag) * lags->block * lags->block;
}

/* Numbers of one image's squares: [cells, all channels]. */
static inline int64_t spade_lags_cells(const spade_lags *lags)
{
    return lags->axis[0].cells * lags->axis[1].cells * lags->groups * lags->channels;
}
/* The squares of one image [H, W, all channels] -> cells. */
void spade_lags_squares(const spade_lags *lags, const float *image, bool fp64, double *cells);
/* Add alpha * the cells of `images` images, in their order, to an accumulator. */
void spade_lags_add_cells(const spade_lags *lags, const double *cells, int64_t images, double alpha,
                          double *accumulator);

/*
 * H of one group -> out, upper triangle, columns in the weight's order (channel, row, column). tap >= 0: only that
 * kernel position, [channels, channels].
 */
spade_status spade_lags_read(const spade_device *device, const spade_lags *lags, const double *accumulator,
                             int64_t group, int64_t tap, double *out);

#endif
