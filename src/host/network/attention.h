/*
 * attention.h - softmax(q k^T) v in a network, found among its nodes: import keeps attention in its parts, whatever the
 * exporter wrote it with.
 *
 * An attention is a softmax whose input comes from a product of two values of the picture through scaling, masks, biases and
 * moved axes, and whose result is, with moved axes only, a factor of a second product that sums over the softmax's axis.
 */
#ifndef SPADE_NETWORK_ATTENTION_H
#define SPADE_NETWORK_ATTENTION_H

#include "network/network.h"

typedef struct spade_attention {
    int softmax;                  /* node */
    int scores, product;          /* nodes: q k^T; the probabilities times v */
    int value;                    /* the probabilities */
    int query_axis, key_axis;     /* of their shape; all others are heads (or windows of tokens, or the batch) */
    int64_t heads, queries, keys; /* of one picture */
} spade_attention;

/* In the order of computation: out [*count], to be freed by the caller. */
spade_status spade_attentions_find(spade_context *context, const spade_network *network, spade_attention **out,
                                   int *count);
/* A product of two values of the picture that is in none of these: its node, or -1. */
int spade_other_product(const spade_network *network, const spade_attention *attentions, int count);

#endif
