/*
 * spectral.h - the inner kernel of the spectral Hessian: products of spectra, folded into lags.
 *
 * Spectra of one band of row frequencies: [frequency][block of 16 channels][image][real, imaginary][16 channels]. Of a
 * row frequency fy the column frequencies come in the order 0, (1, -1), (2, -2), ..., and F/2 alone where F is even;
 * for fy = 0 and fy = F/2, whose negative frequencies are conjugates, 0, 1, 2, ....
 */
#ifndef SPADE_CPU_HESSIAN_SPECTRAL_H
#define SPADE_CPU_HESSIAN_SPECTRAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SPADE_SPECTRAL_BLOCK = 16,    /* channels side by side in the spectra */
    SPADE_SPECTRAL_ROWS = 16,     /* channels c of a tile */
    SPADE_SPECTRAL_COLUMNS = 32,  /* channels c' of a tile: two blocks */
    SPADE_SPECTRAL_TILE = 16 * 32 /* numbers of a tile */
};

/* A run of row frequencies of one tile. Numbers are float or double, as the function says. */
typedef struct spade_spectral_tile {
    const void *spectra;
    int64_t images, blocks; /* blocks of all channels */
    int64_t row_block, column_block;
    int64_t first, last; /* row frequencies of the band: fy = band_first + first ... */
    int64_t band_first;
    int64_t size[2];                 /* F: length of the transform along each axis */
    int64_t reach[2];                /* lags |Dy| < reach[0], |Dx| < reach[1] */
    const int64_t *offset;           /* [row frequencies of the band]: its first frequency in the spectra */
    const void *cosine[2], *sine[2]; /* [size]: of 2 pi j / F */
    void *rows;                      /* scratch: spade_spectral_row_numbers */
    void *lags; /* out: [(2 reach[0] - 1) (2 reach[1] - 1)][16][32], sum over the frequencies, to be divided by F F' */
} spade_spectral_tile;

/* Column frequencies of a row frequency whose conjugates are there too: see above. */
static inline bool spade_spectral_is_single(int64_t frequency, int64_t size)
{
    return 2 * frequency % size == 0;
}
/* Column frequencies that a row of the spectra holds. */
static inline int64_t spade_spectral_row_length(int64_t fy, const int64_t size[2])
{
    return spade_spectral_is_single(fy, size[0]) ? size[1] / 2 + 1 : size[1];
}
/* Numbers of `rows`: sums over one row of frequencies times cosine and sine for each lag, complex; one tile in between.
 */
static inline int64_t spade_spectral_row_numbers(int64_t reach)
{
    return 4 * reach * SPADE_SPECTRAL_TILE;
}

/* The spectrum of one image's row frequency from its transforms with real kernels. */
typedef struct spade_spectral_row {
    const void *cosine,
        *sine; /* rows transformed with cos, sin along y: [cos 0 .. F/2, sin 1 ..][all channels]; sine NULL: single */
    int64_t size; /* F along x */
    int64_t groups, channels,
        group_blocks; /* channels of a group, blocks that hold them; the last is filled up with zeros */
    int64_t images, image;
    void *spectra; /* out: from the row's first frequency on */
} spade_spectral_row;

/* For one number type on this processor. */
typedef struct spade_spectral_kernels {
    void (*tile)(const spade_spectral_tile *tile);
    void (*row)(const spade_spectral_row *row);
} spade_spectral_kernels;
spade_spectral_kernels spade_spectral_choose(bool fp64);

#endif
