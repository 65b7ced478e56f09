/* layer_options.c - from the options and their rules to what is asked of each layer. */
#include <fnmatch.h>

#include "trace/trace.h"

static bool matches(const char *glob, const spade_layer *layer)
{
    return fnmatch(glob, layer->name, 0) == 0;
}

/* A glob that matches no layer is a mistake of the caller. */
static spade_status check_glob(spade_context *context, const spade_network *network, const char *kind, const char *glob)
{
    if (!glob) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: a glob is missing", kind); }
    for (int i = 0; i < network->layer_count; i++) {
        if (network->layers[i].prunable && matches(glob, &network->layers[i])) { return SPADE_OK; }
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: \"%s\" matches no prunable layer", kind, glob);
}

static spade_status check_sparsity(spade_context *context, double sparsity, const char *of)
{
    if (sparsity >= 0 && sparsity <= 1) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "the sparsity of %s is %g, not between 0 and 1", of, sparsity);
}

static bool is_wanted(const spade_layer *layer, const spade_trace_options *options)
{
    bool wanted = !options->include;
    for (int i = 0; options->include && i < options->include_count; i++) {
        wanted = wanted || matches(options->include[i], layer);
    }
    for (int i = 0; i < options->skip_count; i++) { wanted = wanted && !matches(options->skip[i], layer); }
    return wanted && layer->prunable;
}

static spade_status check_pattern(spade_context *context, int keep, int of, const char *layers)
{
    if (of == 0 || (of > 0 && of <= SPADE_MAX_PATTERN && keep >= 0 && keep <= of)) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: %d of every %d weights cannot stay (at most of %d)", layers,
                      keep, of, SPADE_MAX_PATTERN);
}

static spade_status check_values(spade_context *context, double sparsity, spade_solver solver, spade_group group,
                                 spade_count count, const char *of)
{
    SPADE_TRY(check_sparsity(context, sparsity, of));
    if ((unsigned)solver > SPADE_SOLVER_RANDOM || (unsigned)group > SPADE_GROUP_CHANNELS_LAST ||
        (unsigned)count > SPADE_COUNT_PUBLISHED) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: unknown solver %d, group %d or count %d", of, (int)solver,
                          (int)group, (int)count);
    }
    return SPADE_OK;
}

static spade_status check_block(spade_context *context, int64_t block)
{
    if (block >= 0 && block <= SPADE_MAX_BLOCK) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "a block of %lld columns, must be 0 to %d", (long long)block,
                      SPADE_MAX_BLOCK);
}

enum {
    ALL_RULES = SPADE_RULE_SPARSITY | SPADE_RULE_SOLVER | SPADE_RULE_GROUP | SPADE_RULE_COUNT | SPADE_RULE_BLOCK |
                SPADE_RULE_PATTERN
};

/* The caller's, whose rules may be shorter or longer than ours: only what `set` names is read of them. */
static const spade_layer_rule *rule_at(const spade_trace_options *options, int index)
{
    return (const void *)((const char *)options->rules + (size_t)index * options->rule_size);
}

static spade_status check_rule(spade_context *context, const spade_network *network, const spade_layer_rule *rule)
{
    if (rule->set & ~(unsigned)ALL_RULES) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "rule for %s: made for a newer libspade than this one: it sets what that does not know",
                          rule->layers ? rule->layers : "?");
    }
    SPADE_TRY(check_glob(context, network, "rule", rule->layers));
    if (rule->set & SPADE_RULE_BLOCK) { SPADE_TRY(check_block(context, rule->block)); }
    if (rule->set & SPADE_RULE_PATTERN) { SPADE_TRY(check_pattern(context, rule->keep, rule->of, rule->layers)); }
    return check_values(context, rule->set & SPADE_RULE_SPARSITY ? rule->sparsity : 0,
                        rule->set & SPADE_RULE_SOLVER ? rule->solver : SPADE_SOLVER_FAST,
                        rule->set & SPADE_RULE_GROUP ? rule->group : SPADE_GROUP_KERNEL,
                        rule->set & SPADE_RULE_COUNT ? rule->count : SPADE_COUNT_FLOOR, rule->layers);
}

static spade_status check_options(spade_context *context, const spade_network *network,
                                  const spade_trace_options *options)
{
    SPADE_TRY(check_values(context, options->sparsity, options->solver, options->group, options->count, "all layers"));
    SPADE_TRY(check_block(context, options->block));
    SPADE_TRY(check_block(context, options->linear_block));
    SPADE_TRY(check_pattern(context, options->keep, options->of, "all layers"));
    const size_t alignment = _Alignof(spade_layer_rule), first = offsetof(spade_layer_rule, sparsity);
    if (options->rule_count > 0 && (options->rule_size < first || options->rule_size % alignment)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "rules of %zu bytes: call spade_trace_options_init() first",
                          options->rule_size);
    }
    for (int i = 0; i < options->rule_count; i++) { SPADE_TRY(check_rule(context, network, rule_at(options, i))); }
    for (int i = 0; options->include && i < options->include_count; i++) {
        SPADE_TRY(check_glob(context, network, "layers", options->include[i]));
    }
    for (int i = 0; i < options->skip_count; i++) { SPADE_TRY(check_glob(context, network, "skip", options->skip[i])); }
    return SPADE_OK;
}

static void apply_rule(const spade_layer_rule *rule, spade_layer_options *layer)
{
    spade_layer_method *method = &layer->method;
    if (rule->set & SPADE_RULE_SPARSITY) { layer->sparsity = rule->sparsity; }
    if (rule->set & SPADE_RULE_SOLVER) { method->solver = rule->solver; }
    if (rule->set & SPADE_RULE_GROUP) { method->group = rule->group; }
    if (rule->set & SPADE_RULE_COUNT) { method->count = rule->count; }
    if (rule->set & SPADE_RULE_BLOCK) { method->block = rule->block; }
    if (rule->set & SPADE_RULE_PATTERN) {
        method->keep = rule->keep;
        method->of = rule->of;
    }
}

/* What the options say of all layers with this kernel (kh*kw), before any rule. */
static spade_layer_options common_options(const spade_trace_options *options, int64_t kernel)
{
    return (spade_layer_options){
        .sparsity = options->sparsity,
        .method = {.solver = options->solver,
                   .group = options->group,
                   .count = options->count,
                   .sweep = options->hessian == SPADE_FP64 ? SPADE_FP64 : options->sweep,
                   .keep = options->keep,
                   .of = options->of,
                   .block = kernel == 1 && options->linear_block ? options->linear_block : options->block,
                   .seed = options->seed,
                   .damping = options->damping}};
}

static spade_status resolve(spade_context *context, const spade_layer *layer, const spade_trace_options *options,
                            spade_layer_options *out)
{
    int64_t kernel = layer->convolution ? layer->weight[2] * layer->weight[3] : 1;
    *out = common_options(options, kernel);
    for (int i = 0; i < options->rule_count; i++) {
        const spade_layer_rule *rule = rule_at(options, i);
        if (matches(rule->layers, layer)) { apply_rule(rule, out); }
    }
    if (!is_wanted(layer, options)) { out->sparsity = 0; }
    if (out->method.block == 0) { out->method.block = kernel; }
    if (out->method.of && out->sparsity > 0) {
        if (out->method.solver == SPADE_SOLVER_EXACT) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT,
                              "layer %s: the exact solver does not choose %d of every %d weights", layer->name,
                              out->method.keep, out->method.of);
        }
        out->sparsity = 1 - (double)out->method.keep / (double)out->method.of;
    }
    return SPADE_OK;
}

spade_status spade_trace_layer_options(spade_context *context, const spade_model *model,
                                       const spade_trace_options *options, spade_layer_options *layers)
{
    const spade_network *network = &model->network;
    SPADE_TRY(check_options(context, network, options));
    for (int l = 0; l < network->layer_count; l++) {
        SPADE_TRY(resolve(context, &network->layers[l], options, &layers[l]));
    }
    return SPADE_OK;
}
