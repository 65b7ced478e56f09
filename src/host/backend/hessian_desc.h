/* hessian_desc.h - where the patches of a layer's input lie; for all backends. */
#ifndef SPADE_HESSIAN_DESC_H
#define SPADE_HESSIAN_DESC_H

#include "backend/backend.h"

/* Strides in numbers. Linear layers: one "pixel" an image. */
typedef struct spade_positions {
    const spade_hessian_desc *desc;
    const float *x;
    int64_t images, channels, height, width;
    int64_t stride_n, stride_c, stride_h, stride_w;
    int64_t count;                           /* positions of all images */
    int64_t groups, group_channels, columns; /* K */
} spade_positions;
spade_positions spade_positions_of(const spade_hessian_desc *desc, const float *x);
/* Whether the patches are the rows of x already: linear layers; 1x1 convolutions with stride 1, channels last. */
bool spade_hessian_desc_is_rows(const spade_hessian_desc *desc);

/* The first input row and column of a position's patch (may lie outside), and its image. */
typedef struct spade_corner {
    const float *image;
    int64_t top, left;
} spade_corner;
spade_corner spade_corner_of(const spade_positions *positions, int64_t position);

#endif
