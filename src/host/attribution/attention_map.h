/*
 * attention_map.h - what methods of attention share: the attentions of a transformer's blocks, which of them are meant, and
 * the way from a matrix for each block [tokens, tokens] to a map of the picture.
 *
 * A block's matrix B says what token i of its output takes from token j of its input. Their product along the blocks, last one
 * first, says what the output's tokens take of the picture's; the map is the row of the token that the classifier reads (the
 * class token), or the mean of the rows if it reads the mean of the pixels' tokens. Only such rows are computed: a vector
 * through one matrix after another.
 */
#ifndef SPADE_ATTRIBUTION_ATTENTION_MAP_H
#define SPADE_ATTRIBUTION_ATTENTION_MAP_H

#include "attribution/coarse_map.h"
#include "attribution/inner_values.h"

/* Options of these methods begin with them. */
typedef struct attention_options {
    spade_layer_option block;
    int64_t head;
    int upsample;
} attention_options;

/* clang-format off */
#define ATTENTION_OPTIONS                                                                                              \
    {.name = "block",                                                                                                  \
     .help = "only this block's attention: its number from 0, or the name of a module that it lies in; else all",       \
     .type = SPADE_OPTION_LAYER},                                                                                      \
    {.name = "head",                                                                                                   \
     .help = "only this head of each block, from 0; -1: all heads together",                                           \
     .type = SPADE_OPTION_INTEGER,                                                                                     \
     .min = -1,                                                                                                        \
     .max = 65535,                                                                                                     \
     .default_value = "-1"},                                                                                           \
    ATTRIBUTION_UPSAMPLE_OPTION
/* The options are the struct's first member, or the struct itself. */
#define ATTENTION_OFFSETS                                                                                              \
    offsetof(attention_options, block), offsetof(attention_options, head), offsetof(attention_options, upsample)
/* clang-format on */

/*
 * The block's matrix B [tokens, tokens] from the probabilities and their gradients (NULL: not asked for), each [heads, tokens,
 * tokens] of the heads that are meant. May write over both.
 */
typedef spade_status (*attention_block_fn)(const attribution_job *job, const void *options, int64_t heads,
                                           int64_t tokens, float *probabilities, float *gradients, double *block);

/* A network without attention, or with one that is no mixing of all tokens (windows, pooled keys), is
 * SPADE_ERROR_UNSUPPORTED; a block or head that does not exist is SPADE_ERROR_ARGUMENT. */
spade_status attention_check(const attribution_job *job, const void *options);
void attention_shape(const attribution_job *job, const void *options, int64_t shape[3]);
spade_status attention_run(const attribution_job *job, const void *options, bool gradients, attention_block_fn block,
                           float *maps);

#endif
