/* unused.c - options of the command line that change nothing in a run are named: whoever gives one expects that it does. */
#include "config/settings.h"

static bool has_option(const spade_option_info *options, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i].name, name) == 0) { return true; }
    }
    return false;
}

/* Why what is asked of all methods is of none; NULL: one takes it. */
static const char *find_refusal(const spade_settings_use *use, const char *name)
{
    int common_count;
    const spade_option_info *common = spade_method_common_options(&common_count);
    bool own = use->method_count > 0 && has_option(common, common_count, name), wraps = false;
    for (int i = 0; i < use->method_count; i++) {
        const spade_method_info *method = spade_attribution_method(use->methods[i].attribution);
        if (spade_attribution_takes_default(use->methods[i].attribution, name)) { return NULL; }
        own = own || has_option(method->options, method->option_count, name);
        wraps = wraps || method->flags & SPADE_METHOD_WRAPPER;
    }
    if (own) { return "every method that has such an option has its own value"; }
    return wraps ? "no method has such an option; one inside of another takes only its own (of=METHOD:OPTION=VALUE)"
                 : "no method has such an option";
}

static bool promises(const spade_settings_use *use)
{
    for (int i = 0; i < use->method_count; i++) {
        const spade_attribution *attribution = use->methods[i].attribution;
        if (spade_attribution_flags(attribution) & SPADE_METHOD_CONSERVATION ||
            spade_attribution_completeness(attribution) > 0) {
            return true;
        }
    }
    return false;
}

/* Does a solver of the run's read it? Layers may have solvers of their own. */
static bool solver_reads(const spade_settings *settings, const spade_settings_use *use, const char *name)
{
    enum { FAST = 1 << SPADE_SOLVER_FAST, EXACT = 1 << SPADE_SOLVER_EXACT };
    static const struct {
        const char *name;
        unsigned solvers;
    } readers[] = {{"group", EXACT}, {"hessian", FAST | EXACT}, {"damping", FAST | EXACT},
                   {"sweep", FAST},  {"block", FAST},           {"linear_block", FAST},
                   {"count", FAST}};
    unsigned used = use->solvers ? use->solvers : 1u << settings->trace.solver;
    for (int i = 0; i < settings->rule_count; i++) {
        if (settings->rules[i].set & SPADE_RULE_SOLVER) { used |= 1u << settings->rules[i].solver; }
    }
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (strcmp(readers[i].name, name) == 0) { return readers[i].solvers & used; }
    }
    return true;
}

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name) != 0) { names++; }
    return *names != NULL;
}

static const char *find_reason_of_trace(const spade_settings *settings, const spade_settings_use *use,
                                        const spade_key *key)
{
    static const char *const of_blocks[] = {"block", "linear_block", "count", NULL};
    if (!use->trace) { return "no trace is made"; }
    if (use->batch && key->groups & SPADE_KEYS_VARIANTS) { return "the variants are given (--batch)"; }
    if (use->solvers && strcmp(key->name, "solver") == 0) { return "--traces says the solvers"; }
    if (use->own_traces && key->groups & SPADE_KEYS_TRACE) { return "every trace has a configuration of its own"; }
    if (settings->trace.of > 0 && !settings->rule_count && is_one_of(key->name, of_blocks)) {
        return "a pattern (nm) says how many stay";
    }
    if (!solver_reads(settings, use, key->name)) { return "the solver has no use for it"; }
    if (use->unread && is_one_of(key->name, use->unread)) { return "no layer that is pruned has a use for it"; }
    if (strcmp(key->name, "sweep") == 0 && settings->trace.sweep == SPADE_FP32 &&
        settings->trace.hessian == SPADE_FP64) {
        return "it is fp64 with --hessian fp64";
    }
    return NULL;
}

static const char *find_reason_of_picture(const spade_settings *settings, const spade_settings_use *use,
                                          const spade_key *key)
{
    static const char *const of_pictures[] = {"resize", "crop_share", "resample", "squash", "orient", NULL};
    static const char *const of_sizes[] = {"resize", "crop_share", "resample", "squash", NULL};
    if (!use->pictures && is_one_of(key->name, of_pictures)) { return "no input is a picture"; }
    if (strcmp(key->name, "crop_share") == 0 && settings->resize >= 0) {
        return "--resize says how large pictures become";
    }
    const bool refuses = strcmp(key->name, "resize") == 0 && settings->resize == 0; /* pictures of other sizes */
    if (use->variants_only && settings->trace.sparsity != SPADE_SPARSITY_AUTO && !refuses &&
        is_one_of(key->name, of_sizes)) {
        return "variants are cut from the whole picture";
    }
    if (use->unprepared && !(key->groups & SPADE_KEYS_SIZE)) { return "--batch is normalised already"; }
    return NULL;
}

/* Is anything drawn? Variants, by a solver, by methods that have no seed of their own. */
static bool draws(const spade_settings *settings, const spade_settings_use *use)
{
    bool random = use->draws || (use->trace && !use->batch) || use->solvers >> SPADE_SOLVER_RANDOM & 1;
    random = random || (use->trace && !use->solvers && settings->trace.solver == SPADE_SOLVER_RANDOM);
    for (int i = 0; use->trace && i < settings->rule_count; i++) {
        random =
            random || (settings->rules[i].set & SPADE_RULE_SOLVER && settings->rules[i].solver == SPADE_SOLVER_RANDOM);
    }
    for (int i = 0; i < use->method_count; i++) {
        const spade_attribution *attribution = use->methods[i].attribution;
        random = random || (spade_attribution_flags(attribution) & SPADE_METHOD_RANDOM &&
                            spade_attribution_takes_default(attribution, "seed"));
    }
    return random;
}

/* Why the key changes nothing; NULL: it does. */
static const char *find_reason(const spade_settings *settings, const spade_settings_use *use, const spade_key *key)
{
    if (key->groups & (SPADE_KEYS_VARIANTS | SPADE_KEYS_TRACE)) { return find_reason_of_trace(settings, use, key); }
    if (key->groups & SPADE_KEYS_PICTURE) { return find_reason_of_picture(settings, use, key); }
    if (key->type == SPADE_KEY_METHOD_OPTION || strcmp(key->name, "output") == 0) {
        return find_refusal(use, key->name);
    }
    if (strcmp(key->name, "seed") == 0 && !draws(settings, use)) { return "nothing is drawn at random"; }
    if (strcmp(key->name, "check") == 0 && !promises(use)) {
        return "no method promises anything that could be checked";
    }
    return NULL;
}

/* A seed of a method's own. */
static void warn_of_own_seeds(spade_context *context, const spade_settings_use *use)
{
    for (int i = 0; i < use->method_count; i++) {
        const spade_attribution *attribution = use->methods[i].attribution;
        if (spade_attribution_flags(attribution) & SPADE_METHOD_RANDOM ||
            spade_attribution_takes_default(attribution, "seed")) {
            continue;
        }
        spade_log(context, SPADE_LOG_WARNING, "--method %s: seed has no effect: nothing is drawn for it",
                  use->methods[i].label);
    }
}

/* Why the metric has no value of any map; NULL: it has some. */
static const char *find_lack(const spade_settings_use *use, const spade_metric_info *metric)
{
    bool covers = false;
    for (int i = 0; i < use->method_count; i++) {
        const unsigned flags = spade_attribution_flags(use->methods[i].attribution);
        covers = covers || (flags & metric->method_flags) == metric->method_flags;
    }
    if (metric->needs & SPADE_METRIC_NEEDS_MASK && !use->masks) {
        return use->manifest ? "the manifest has no mask (docs/store.md)" : "there is no mask (--mask)";
    }
    if (metric->needs & SPADE_METRIC_NEEDS_TRACE && !use->trace && !use->fitted) { return "no trace is made"; }
    return covers ? NULL : "it says nothing of these methods' maps";
}

void spade_settings_warn_unused(spade_context *context, const spade_settings *settings, const spade_settings_use *use)
{
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        if (!(settings->asked >> i & 1) || !key->option) { continue; }
        const char *reason = find_reason(settings, use, key);
        for (int k = 0; key->type == SPADE_KEY_METRICS && k < use->metric_count; k++) {
            const char *lack = find_lack(use, spade_metric_describe(use->metrics[k].metric));
            if (!lack) { continue; }
            spade_log(context, SPADE_LOG_WARNING, "--metric: %s has no value: %s", use->metrics[k].label, lack);
        }
        if (reason) { spade_log(context, SPADE_LOG_WARNING, "--%s has no effect: %s", key->option, reason); }
    }
    warn_of_own_seeds(context, use);
}
