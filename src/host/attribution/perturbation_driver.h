/* perturbation_driver.h - what methods made of forward passes share: F at many images that are made of the input, in
 * micro-batches on the device. */
#ifndef SPADE_ATTRIBUTION_PERTURBATION_DRIVER_H
#define SPADE_ATTRIBUTION_PERTURBATION_DRIVER_H

#include "attribution/registry.h"

/* ---- perturbation_driver.c */

/* Enqueues what makes images first .. first+count-1 at `out`, device [count, C, H, W]; called in the order of the images. */
typedef spade_status (*attribution_generate_fn)(void *user, int64_t first, int64_t count, float *out);

/*
 * F of the job's classes at images 0 .. images-1: values, host [n, images]. The classes share the forward passes.
 *
 * Images are cut into micro-batches of a fixed size: a value is a function of the job and its image's place, never of the
 * budget or the threads.
 */
spade_status attribution_perturb(const attribution_job *job, int64_t images, attribution_generate_fn generate,
                                 void *user, double *values);

/* ---- masked_inputs.c: images in which cells of the picture are replaced */
typedef struct attribution_masks {
    int64_t images;
    int64_t cells;
    const int32_t *cell_of; /* host [H * W]: the cell of each pixel, 0 to cells - 1 */
    const float *baseline;  /* host [C, H, W]: what replaced pixels are */
    /* Which cells the image keeps: `keep` [cells] is 1 everywhere, and 0 is put where a cell is replaced. */
    void (*replace)(const void *user, int64_t image, uint8_t *keep);
    const void *user;
} attribution_masks;

/* F of the job's classes at the masked images: values, host [n, images]. */
spade_status attribution_perturb_masked(const attribution_job *job, const attribution_masks *masks, double *values);

#endif
