/*
 * attention_rollout.c - what the tokens that the classifier reads take of the picture's tokens, if every block mixes them by
 * its attention and leaves half as it is (the residual connection).
 *
 * Heads fused by their mean are the paper's; max, min and the discarded share are those of vit-explain (Gildenblat 2020): of a
 * block's fused matrix that share of its numbers, the lowest, is 0, but for the first token's attention to itself.
 */
#include <math.h>

#include "attribution/attention_map.h"

enum { MEAN, MAX, MIN }; /* words of `fuse`, in their order */

typedef struct rollout_options {
    attention_options attention;
    int fuse;
    double discard;
} rollout_options;

static void fuse_heads(int fuse, int64_t heads, int64_t size, const float *probabilities, double *fused)
{
    for (int64_t i = 0; i < size; i++) {
        double value = (double)probabilities[i];
        for (int64_t h = 1; h < heads; h++) {
            const double other = (double)probabilities[h * size + i];
            switch (fuse) {
            case MAX: value = fmax(value, other); break;
            case MIN: value = fmin(value, other); break;
            default: value += other; break;
            }
        }
        fused[i] = fuse == MEAN ? value / (double)heads : value;
    }
}

typedef struct ranked {
    double value;
    int64_t place;
} ranked;

static int compare(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->value != y->value ? (x->value > y->value) - (x->value < y->value)
                                : (x->place > y->place) - (x->place < y->place);
}

static spade_status discard_lowest(const attribution_job *job, double share, int64_t size, double *fused)
{
    const int64_t count = (int64_t)((double)size * share);
    const size_t bytes = (size_t)size * sizeof(ranked);
    void *memory;
    if (count == 0) { return SPADE_OK; }
    SPADE_TRY(spade_alloc(job->context, bytes, "ranks of attention", &memory));
    ranked *ranks = memory;
    for (int64_t i = 0; i < size; i++) { ranks[i] = (ranked){fused[i], i}; }
    qsort(ranks, (size_t)size, sizeof *ranks, compare);
    for (int64_t i = 0; i < count; i++) {
        if (ranks[i].place) { fused[ranks[i].place] = 0; }
    }
    spade_free_bytes(job->context, memory, bytes);
    return SPADE_OK;
}

/* (A + I) / 2, rows of which sum to 1 again. */
static spade_status make_block(const attribution_job *job, const void *options, int64_t heads, int64_t tokens,
                               float *probabilities, float *gradients, double *block)
{
    (void)gradients;
    const rollout_options *rollout = options;
    fuse_heads(rollout->fuse, heads, tokens * tokens, probabilities, block);
    SPADE_TRY(discard_lowest(job, rollout->discard, tokens * tokens, block));
    for (int64_t i = 0; i < tokens; i++) {
        double *row = block + i * tokens, sum = 0;
        row[i] += 1;
        for (int64_t j = 0; j < tokens; j++) { sum += row[j]; }
        for (int64_t j = 0; j < tokens; j++) { row[j] /= sum; }
    }
    return SPADE_OK;
}

/* A forward pass, for all classes. */
static double passes(const attribution_job *job, const void *options)
{
    (void)job, (void)options;
    return 1.0 / 3;
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)notes;
    return attention_run(job, options, false, make_block, maps);
}

static const spade_option_info options[] = {
    ATTENTION_OPTIONS,
    {.name = "fuse",
     .help = "how the heads of a block become one matrix",
     .type = SPADE_OPTION_WORD,
     .words = "mean|max|min",
     .default_value = "mean"},
    {.name = "discard",
     .help = "share of the lowest numbers of that matrix that are dropped",
     .type = SPADE_OPTION_REAL,
     .min = 0,
     .max = 1,
     .default_value = "0"},
};
static const size_t option_offsets[] = {ATTENTION_OFFSETS, offsetof(rollout_options, fuse),
                                        offsetof(rollout_options, discard)};

const attribution_method attribution_attention_rollout = {
    .info = {.name = "attention_rollout",
             .title = "Attention rollout",
             .definition =
                 "product over the blocks, last first, of (A + I) / 2 with rows of sum 1, A the fused attention: "
                 "the rows that the classifier reads (the class token's, else the mean of the pixels'); the same "
                 "for every class",
             .source = "Abnar, Zuidema 2020, Quantifying attention flow in transformers",
             .cost = "one forward pass",
             .needs = "a transformer whose blocks all mix the same tokens",
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(rollout_options),
    .option_offsets = option_offsets,
    .check = attention_check,
    .shape = attention_shape,
    .passes = passes,
    .run = run,
};
