/* moves.h - where the network's input lies in the picture, step by step: moved, scaled and turned at random. */
#ifndef SPADE_VISUALIZE_MOVES_H
#define SPADE_VISUALIZE_MOVES_H

#include "backend/backend.h"

/* The last word of the counters of a seed's Philox streams: different things get different numbers. */
typedef enum visualize_stream { VISUALIZE_NOISE, VISUALIZE_MOVES } visualize_stream;

/* The whole picture: `at` and `back` of a warp whose sizes are set. */
void visualize_moves_none(spade_warp_args *warp);
/*
 * Of a step. The picture gets a border of 12 pixels, is cut by 8 at a random place, scaled by 0.9 to 1.1 and turned by -10 to
 * 10 degrees around its centre, and is cut by 4 at a random place; what is left becomes the input's size. These distances are
 * those of pictures whose shorter side has 128 pixels or more; in smaller ones they are smaller likewise.
 */
void visualize_moves_draw(uint64_t key, uint32_t step, spade_warp_args *warp);

#endif
