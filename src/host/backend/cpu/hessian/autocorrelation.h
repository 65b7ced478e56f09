/*
 * autocorrelation.h - lags (backend/autocorrelation.h) on the CPU: how they are kept, squares of the diagonal, and H from them.
 *
 * Accumulators are float64: [groups][tiles][lags of all parts][block][block], then the cells [cells, channels]. A tile
 * is a pair of channel blocks (i, j), i <= j: of the channel pairs the upper triangle by blocks is kept.
 */
#ifndef SPADE_CPU_HESSIAN_LAGS_H
#define SPADE_CPU_HESSIAN_LAGS_H

#include "backend/cpu/cpu.h"
#include "backend/autocorrelation.h"

enum { SPADE_LAG_BLOCK = 32 /* channels */ };

/* Channels of a block: of a depthwise convolution, which has one a group, 1. */
static inline int64_t spade_autocorrelation_block(const spade_autocorrelation *lags)
{
    return lags->channels == 1 ? 1 : SPADE_LAG_BLOCK;
}
/* Blocks of a group. */
static inline int64_t spade_autocorrelation_blocks(const spade_autocorrelation *lags)
{
    return (lags->channels + spade_autocorrelation_block(lags) - 1) / spade_autocorrelation_block(lags);
}
/* Pairs of blocks of a group. */
static inline int64_t spade_autocorrelation_tiles(const spade_autocorrelation *lags)
{
    return spade_autocorrelation_blocks(lags) * (spade_autocorrelation_blocks(lags) + 1) / 2;
}

/* Numbers of an accumulator: lags and cells. */
int64_t spade_autocorrelation_size(const spade_autocorrelation *lags);
/* One lag of tile (row, column), row <= column: [block, block]. */
static inline double *spade_autocorrelation_tile(const spade_autocorrelation *lags, double *accumulator, int64_t group,
                                                 int64_t row, int64_t column, int64_t lag)
{
    int64_t block = spade_autocorrelation_block(lags);
    int64_t tile = group * spade_autocorrelation_tiles(lags) + row * spade_autocorrelation_blocks(lags) -
                   row * (row - 1) / 2 + column - row;
    return accumulator + (tile * lags->count + lag) * block * block;
}

/* The squares of one image [H, W, all channels] -> cells. */
void spade_autocorrelation_squares(const spade_autocorrelation *lags, const float *image, bool fp64, double *cells);
/* Add alpha * the cells of `images` images, in their order, to an accumulator. */
void spade_autocorrelation_add_cells(const spade_autocorrelation *lags, const double *cells, int64_t images,
                                     double alpha, double *accumulator);

/*
 * H of one group -> out, upper triangle, columns in the weight's order (channel, row, column). offset >= 0: only that
 * kernel position, [channels, channels].
 */
spade_status spade_autocorrelation_read(const spade_device *device, const spade_autocorrelation *lags,
                                        const double *accumulator, int64_t group, int64_t offset, double *out);

#endif
