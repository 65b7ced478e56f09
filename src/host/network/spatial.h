/*
 * spatial.h - where the picture's pixels are in the values of a network, and which of them its output depends on.
 *
 * Convolutions leave rows and columns on axes of their own; transformers make one axis of tokens of them, before which class
 * and register tokens stand. Both are followed from the picture through everything that works pixel by pixel or only moves
 * numbers. What mixes pixels (an attention product, windows of tokens) gives values whose pixels are not known, until they are
 * added to one where they are.
 */
#ifndef SPADE_NETWORK_SPATIAL_H
#define SPADE_NETWORK_SPATIAL_H

#include "network/network.h"

/* Places on the axis of tokens: the pixels, row by row, stand together from `first` on; the others are extra tokens. */
typedef struct spade_spatial {
    int axis;       /* of the rows, the columns being the next one; or of the tokens. -1: pixels are not known */
    bool tokens;    /* rows and columns are one axis */
    int64_t first;  /* of the pixels among the tokens */
    int64_t length; /* of the axis of tokens */
    int64_t height, width;
    int64_t
        runs; /* where pixels are not known, but would be again in a reshaped value (the input of a group normalisation):
                   * its numbers are so many pictures behind one another, with the channels within pixels, if any; else 0 */
} spade_spatial;

/* What the output reads of a value: its pixels, and of its extra tokens number i (in their order) if bit i is set; bit 63
 * stands for all from number 63 on. */
typedef struct spade_reads {
    bool pixels;
    uint64_t extra;
} spade_reads;

typedef struct spade_spatial_map {
    spade_spatial *where; /* [values] */
    spade_reads *reads;   /* [values] */
} spade_spatial_map;

/* The map is the caller's: spade_spatial_clear(), also after a failure. */
spade_status spade_spatial_find(spade_context *context, const spade_network *network, spade_spatial_map *out);
void spade_spatial_clear(spade_spatial_map *map);

/* The axis of a node's output that holds what `axis` of its input did, where the node only moves whole axes (a permutation, a
 * reshape, another layout); else -1. */
int spade_follow_axis(const spade_network *network, const spade_node *node, int axis);

#endif
