/*
 * attention_gradient.c - attention weighted by its gradient: of each head what speaks for the class, added up over the blocks.
 * From R = I, each block adds E R, E = mean over the heads of max(A * dF/dA, 0): so R is the product of I + E, last block first.
 */
#include "attribution/attention_map.h"

static spade_status make_block(const attribution_job *job, const void *options, int64_t heads, int64_t tokens,
                               float *probabilities, float *gradients, double *block)
{
    (void)job, (void)options;
    const int64_t size = tokens * tokens;
    for (int64_t i = 0; i < size; i++) {
        double sum = 0;
        for (int64_t h = 0; h < heads; h++) {
            const double product = (double)probabilities[h * size + i] * (double)gradients[h * size + i];
            sum += product > 0 ? product : 0;
        }
        block[i] = sum / (double)heads;
    }
    for (int64_t i = 0; i < tokens; i++) { block[i * tokens + i] += 1; }
    return SPADE_OK;
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)notes;
    return attention_run(job, options, true, make_block, maps);
}

static const spade_option_info options[] = {ATTENTION_OPTIONS};
static const size_t option_offsets[] = {ATTENTION_OFFSETS};

const attribution_method attribution_attention_gradient = {
    .info = {.name = "attention_gradient",
             .title = "Gradient-weighted attention rollout",
             .definition =
                 "product over the blocks, last first, of I + mean over the heads of max(A * dF/dA, 0), A the "
                 "attention: the rows that the classifier reads (the class token's, else the mean of the pixels')",
             .source = "Chefer, Gur, Wolf 2021, Generic attention-model explainability for interpreting bi-modal and "
                       "encoder-decoder transformers",
             .cost = "one forward and one backward pass",
             .needs = "as attention_rollout",
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(attention_options),
    .option_offsets = option_offsets,
    .check = attention_check,
    .shape = attention_shape,
    .run = run,
};
