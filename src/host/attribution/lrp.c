/*
 * lrp.c - layer-wise relevance propagation: what the class's logit is made of, handed back layer by layer (lrp), and its form
 * for transformers (attnlrp).
 */
#include "attribution/conservation.h"
#include "attribution/gradient_driver.h"

typedef struct lrp_method_options {
    int composite;
    double epsilon, gamma;
} lrp_method_options;

static spade_lrp_options composite_of(const lrp_method_options *own)
{
    return (spade_lrp_options){.composite = own->composite, .epsilon = (float)own->epsilon, .gamma = (float)own->gamma};
}

static spade_lrp_options attention_of(const lrp_method_options *own)
{
    return (spade_lrp_options){.composite = own->gamma > 0 ? SPADE_LRP_ATTENTION_GAMMA : SPADE_LRP_ATTENTION,
                               .epsilon = (float)own->epsilon,
                               .gamma = (float)own->gamma};
}

static spade_status check(const attribution_job *job, spade_lrp_options lrp)
{
    const spade_rules rules = spade_rules_lrp(&lrp);
    if (job->score == SPADE_SCORE_LOGIT) { return attribution_check_rules(job, &rules); }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                      "output=scores: relevance is what the class's logit is made of, output=logits");
}

static spade_status check_composite(const attribution_job *job, const void *options)
{
    return check(job, composite_of(options));
}

static spade_status check_attention(const attribution_job *job, const void *options)
{
    return check(job, attention_of(options));
}

static spade_status run(const attribution_job *job, spade_lrp_options lrp, float *maps)
{
    const spade_rules rules = spade_rules_lrp(&lrp);
    const attribution_samples input = {.points = 1, .summed = 1, .divisor = 1, .times_output = true};
    return attribution_backward(job, &rules, &input, &(attribution_wanted){.maps = maps}, 1, NULL);
}

static spade_status run_composite(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)notes;
    return run(job, composite_of(options), maps);
}

static spade_status run_attention(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)notes;
    return run(job, attention_of(options), maps);
}

static spade_status conserve(const attribution_job *job, spade_lrp_options lrp, const spade_target *target,
                             spade_conservation *out)
{
    const spade_rules rules = spade_rules_lrp(&lrp);
    const attribution_relevance relevance = {.rules = &rules};
    return attribution_conserve(job, &relevance, target, out);
}

static spade_status conserve_composite(const attribution_job *job, const void *options, const spade_target *target,
                                       spade_conservation *out)
{
    return conserve(job, composite_of(options), target, out);
}

static spade_status conserve_attention(const attribution_job *job, const void *options, const spade_target *target,
                                       spade_conservation *out)
{
    return conserve(job, attention_of(options), target, out);
}

/* clang-format off */
#define EPSILON_OPTION(with)                                                                                           \
    {.name = "epsilon",                                                                                                \
     .help = "added to the size of what relevance is divided by",                                                      \
     .type = SPADE_OPTION_REAL,                                                                                        \
     .min = 0,                                                                                                         \
     .max = 1e6,                                                                                                       \
     .default_value = "1e-6",                                                                                          \
     .read_with = (with)}
/* clang-format on */

/* The words of `composite` are in the order of spade_lrp_composite. */
static const spade_option_info options[] = {
    {.name = "composite",
     .help = "rules of first layer, convolutions, linear layers. paper: z^B, alpha=1 beta=0, the same, without biases; "
             "epsilon: that everywhere; epsilon_plus: z+, z+, epsilon; epsilon_plus_flat: flat, z+, epsilon; "
             "gamma: z^B, gamma, epsilon",
     .type = SPADE_OPTION_WORD,
     .words = "paper|epsilon|epsilon_plus|epsilon_plus_flat|gamma",
     .default_value = "epsilon_plus"},
    EPSILON_OPTION("composite=epsilon|epsilon_plus|epsilon_plus_flat|gamma"),
    {.name = "gamma",
     .help = "of the gamma rule: how much more positive parts weigh",
     .type = SPADE_OPTION_REAL,
     .min = 0,
     .max = 1000,
     .default_value = "0.25",
     .read_with = "composite=gamma"},
};
static const size_t option_offsets[] = {offsetof(lrp_method_options, composite), offsetof(lrp_method_options, epsilon),
                                        offsetof(lrp_method_options, gamma)};

static const spade_option_info attention_options[] = {
    EPSILON_OPTION(NULL),
    {.name = "gamma",
     .help = "of the gamma rule in all layers; 0: the epsilon rule",
     .type = SPADE_OPTION_REAL,
     .min = 0,
     .max = 1000,
     .default_value = "0"},
};
static const size_t attention_offsets[] = {offsetof(lrp_method_options, epsilon), offsetof(lrp_method_options, gamma)};

const attribution_method attribution_lrp = {
    .info = {.name = "lrp",
             .title = "LRP",
             .definition =
                 "relevance of the logit, handed from each layer's output to its inputs in proportion to what "
                 "they add to it, by the composite's rules",
             .source = "Bach et al. 2015, On pixel-wise explanations for non-linear classifier decisions by layer-wise "
                       "relevance propagation",
             .cost = "one forward pass, and a backward one with a forward and a backward product in each layer, twice "
                     "that for rules of positive and negative parts",
             .needs = "a rule for each of the network's operators",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_CONSERVATION,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(lrp_method_options),
    .option_offsets = option_offsets,
    .check = check_composite,
    .run = run_composite,
    .takes_pictures = true,
    .conserve = conserve_composite,
};

const attribution_method attribution_attnlrp = {
    .info = {.name = "attnlrp",
             .title = "AttnLRP",
             .definition =
                 "LRP where products share relevance by halves, softmax hands x (R - softmax(x) sum R) on, and "
                 "normalisations and activations hand on what they get",
             .source =
                 "Achtibat et al. 2024, AttnLRP: attention-aware layer-wise relevance propagation for transformers",
             .cost = "as lrp",
             .needs = "a rule for each of the network's operators",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_CONSERVATION,
             .options = attention_options,
             .option_count = sizeof attention_options / sizeof *attention_options},
    .options_bytes = sizeof(lrp_method_options),
    .option_offsets = attention_offsets,
    .check = check_attention,
    .run = run_attention,
    .takes_pictures = true,
    .conserve = conserve_attention,
};
