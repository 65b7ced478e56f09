/* deeplift.c - each input value's part of the difference between the class at x and at a baseline: one pass over both. */
#include "attribution/conservation.h"
#include "attribution/gradient_driver.h"

enum { EXACT, CAPTUM }; /* words of `compat`, in their order */

typedef struct deeplift_options {
    int compat;
} deeplift_options;

static spade_status check(const attribution_job *job, const void *options)
{
    const spade_deeplift_options deeplift = {.captum = ((const deeplift_options *)options)->compat == CAPTUM};
    const spade_rules rules = spade_rules_deeplift(&deeplift);
    if (job->score == SPADE_SCORE_LOGIT) { return attribution_check_rules(job, &rules); }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                      "output=scores: DeepLift is defined for the class's logit, output=logits");
}

/* Two images go through the network and back. */
static double passes(const attribution_job *job, const void *options)
{
    (void)job, (void)options;
    return 2;
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    enum { PAIR = 2 };
    static const double scale[PAIR] = {1, 0}; /* x, then the baseline 0 */
    const spade_deeplift_options deeplift = {.captum = ((const deeplift_options *)options)->compat == CAPTUM};
    const spade_rules rules = spade_rules_deeplift(&deeplift);
    const attribution_samples pair = {.points = PAIR, .summed = 1, .scale = scale, .divisor = 1, .in_one_batch = true};
    const int count = job->pictures * job->n;
    const size_t bytes = sizeof(double) * PAIR * (size_t)count;
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "values of classes", &memory));
    const double *values = memory;
    spade_status status =
        attribution_backward(job, &rules, &pair, &(attribution_wanted){.maps = maps, .times_input = true}, 1, memory);
    for (int c = 0; status == SPADE_OK && notes && c < count; c++) {
        double total = 0;
        for (int64_t i = 0; i < job->size; i++) { total += maps[c * job->size + i]; }
        notes[c].difference = values[PAIR * c] - values[PAIR * c + 1];
        notes[c].delta = total - notes[c].difference;
    }
    spade_free_bytes(job->context, memory, bytes);
    return status;
}

static spade_status conserve(const attribution_job *job, const void *options, const spade_target *target,
                             spade_conservation *out)
{
    const spade_deeplift_options deeplift = {.captum = ((const deeplift_options *)options)->compat == CAPTUM};
    const spade_rules rules = spade_rules_deeplift(&deeplift);
    const attribution_relevance multipliers = {.rules = &rules, .pairs = true};
    return attribution_conserve(job, &multipliers, target, out);
}

static const spade_option_info options[] = {
    {.name = "compat",
     .help = "none: exact; captum: as Captum has max pooling, and what it has no rule for is refused",
     .type = SPADE_OPTION_WORD,
     .words = "none|captum",
     .default_value = "none"},
};
static const size_t option_offsets[] = {offsetof(deeplift_options, compat)};

const attribution_method attribution_deeplift = {
    .info = {.name = "deeplift",
             .title = "DeepLift",
             .definition =
                 "(x - x') * m, x' = 0: multipliers D f(x) / Dx where the gradient has f'(x), and means of both "
                 "factors in products; the sum is F(x) - F(x')",
             .source = "Shrikumar, Greenside, Kundaje 2017, Learning important features through propagating activation "
                       "differences",
             .cost = "about two forward and two backward passes: of input and baseline together",
             .needs = "a rule for each of the network's operators",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_COMPLETENESS | SPADE_METHOD_CONSERVATION,
             .completeness = 1e-3,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(deeplift_options),
    .option_offsets = option_offsets,
    .check = check,
    .passes = passes,
    .run = run,
    .takes_pictures = true,
    .conserve = conserve,
};
