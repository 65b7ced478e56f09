/* perturbation_driver.h - what methods made of forward passes share: F at many images that are made of the input, in
 * micro-batches on the device. */
#ifndef SPADE_ATTRIBUTION_PERTURBATION_DRIVER_H
#define SPADE_ATTRIBUTION_PERTURBATION_DRIVER_H

#include "attribution/registry.h"

/* ---- perturbation_driver.c */

/* Enqueues what makes images first .. first+count-1 at `out`, device [count, C, H, W]; called in the order of the images. */
typedef spade_status (*attribution_generate_fn)(void *user, int64_t first, int64_t count, float *out);

/*
 * F of the job's targets at images 0 .. images-1: values, host [n, images]. The targets share the forward passes.
 *
 * Images are cut into micro-batches of a fixed size: a value is a function of the job and its image's place, never of the
 * budget or the threads.
 */
spade_status attribution_perturb(const attribution_job *job, int64_t images, attribution_generate_fn generate,
                                 void *user, double *values);

/* The estimate of the time counts forward and backward passes; a forward pass is a third of one. */
static inline double attribution_forward_passes(int64_t images)
{
    return (double)images / 3;
}

/* ---- masked_inputs.c: images in which parts of the picture are replaced, or fade */

/* Masks that are grids of cells, interpolated bilinearly: a pixel fades to the baseline's as far as its mask is below 1. */
typedef struct attribution_fade {
    int64_t grid;                              /* cells = grid * grid */
    const spade_grid_position *rows, *columns; /* host [row_count], [column_count] */
    int64_t row_count, column_count;
    /* Of the image: `shift` [2] is where its first row and column lie in `rows` and `columns`. */
    void (*place)(const void *user, int64_t image, int32_t *shift);
} attribution_fade;

typedef struct attribution_masks {
    int64_t images;
    int64_t cells;
    int64_t
        partitions; /* ways to cut the picture into cells: each has images / partitions images, one after the other */
    const float *baseline;  /* host [size]: what replaced pixels are */
    const int32_t *cell_of; /* host [partitions, H * W]: each pixel's cell, 0 to cells - 1; NULL: `fade` says it */
    const attribution_fade *fade; /* NULL: `cell_of` says it */
    /* Which cells the image keeps: `keep` [cells] is 1 everywhere, and 0 is put where a cell is replaced. */
    void (*replace)(const void *user, int64_t image, uint8_t *keep);
    const void *user;
} attribution_masks;

/* F of the job's targets at the masked images: values, host [n, images]. */
spade_status attribution_perturb_masked(const attribution_job *job, const attribution_masks *masks, double *values);

#endif
