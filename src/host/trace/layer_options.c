/* layer_options.c - from the options and their rules to what is asked of each layer. */
#include <fnmatch.h>

#include "base/close_names.h"
#include "trace/trace.h"

static bool matches(const char *glob, const spade_layer *layer)
{
    return fnmatch(glob, layer->name, 0) == 0;
}

/* The glob names a layer that is there, and is never pruned; or it is none: the closest that are. */
static spade_status fail_no_layer(spade_context *context, const spade_network *network, const char *kind,
                                  const char *glob)
{
    char list[SPADE_CLOSE_NAMES_BYTES];
    spade_close_names close;
    spade_close_names_begin(&close, glob);
    for (int i = 0; i < network->layer_count; i++) {
        const spade_layer *layer = &network->layers[i];
        if (layer->prunable) {
            spade_close_names_offer(&close, layer->name);
        } else if (matches(glob, layer)) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT,
                              "%s: \"%s\" matches no prunable layer: %.120s is never pruned%s", kind, glob, layer->name,
                              i == 0 ? ", as the network's first layer" : "");
        }
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: \"%s\" matches no prunable layer%s", kind, glob,
                      spade_close_names_format(&close, list));
}

/* A glob that matches no layer is a mistake of the caller. */
static spade_status check_glob(spade_context *context, const spade_network *network, const char *kind, const char *glob)
{
    if (!glob) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: a glob is missing", kind); }
    for (int i = 0; i < network->layer_count; i++) {
        if (network->layers[i].prunable && matches(glob, &network->layers[i])) { return SPADE_OK; }
    }
    return fail_no_layer(context, network, kind, glob);
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
    if (of == 0 || (of > 0 && of <= SPADE_MAX_PATTERN && keep >= 1 && keep <= of)) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "%s: %d of every %d weights cannot stay (at least 1, of at most %d)", layers, keep, of,
                      SPADE_MAX_PATTERN);
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
    const bool automatic = options->sparsity == SPADE_SPARSITY_AUTO;
    if (automatic && options->of) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "an automatic sparsity and %d:%d: one of them", options->keep,
                          options->of);
    }
    SPADE_TRY(check_values(context, automatic ? 0 : options->sparsity, options->solver, options->group, options->count,
                           "all layers"));
    if ((unsigned)options->hessian > SPADE_FP64 || (unsigned)options->sweep > SPADE_FP64) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "unknown precision: hessian %d, sweep %d",
                          (int)options->hessian, (int)options->sweep);
    }
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
    if (rule->set & SPADE_RULE_SPARSITY) {
        layer->sparsity = rule->sparsity;
        method->keep = method->of = 0;
    }
    if (rule->set & SPADE_RULE_SOLVER) { method->solver = rule->solver; }
    if (rule->set & SPADE_RULE_GROUP) { method->group = rule->group; }
    if (rule->set & SPADE_RULE_COUNT) { method->count = rule->count; }
    if (rule->set & SPADE_RULE_BLOCK) { method->block = rule->block; }
    if (rule->set & SPADE_RULE_PATTERN) {
        method->keep = rule->keep;
        method->of = rule->of;
        if (rule->of) { layer->sparsity = 1 - (double)rule->keep / (double)rule->of; }
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

/* What the layer's solver reads of the options is the same. */
static bool is_same(const spade_layer_options *a, const spade_layer_options *b)
{
    const spade_layer_method *m = &a->method, *n = &b->method;
    if (a->sparsity != b->sparsity || m->solver != n->solver) { return false; }
    if (a->sparsity == 0) { return true; }
    if (m->solver == SPADE_SOLVER_EXACT) { return m->group == n->group; }
    if (m->of != n->of || m->keep != n->keep) { return false; }
    return m->solver != SPADE_SOLVER_FAST || m->of || (m->count == n->count && m->block == n->block);
}

bool spade_trace_same_layers(spade_context *context, const spade_model *model, const spade_trace_options *a,
                             const spade_trace_options *b)
{
    const spade_network *network = &model->network;
    for (int l = 0; l < network->layer_count; l++) {
        spade_layer_options of_a, of_b;
        if (resolve(context, &network->layers[l], a, &of_a) != SPADE_OK ||
            resolve(context, &network->layers[l], b, &of_b) != SPADE_OK || !is_same(&of_a, &of_b)) {
            return false;
        }
    }
    return true;
}

/* ---- what rounding leaves of a sparsity */

/* A layer is said to get less than what was asked for where it misses this much of its weights. Every layer misses
 * something; only those with fewer than 1 / shortfall weights in a block can miss so much. */
static const double shortfall = 0.02;

/* The weights that the layer loses at a time: those of a block of columns, over the rows that are solved together. */
static int64_t weights_in_block(const spade_layer *layer, const spade_layer_options *options)
{
    const int64_t block = options->method.block;
    return layer->rows / layer->groups * (block < layer->columns ? block : layer->columns);
}

/* The share of its weights that the layer loses. */
static double reached_sparsity(const spade_layer *layer, const spade_layer_options *options)
{
    const spade_layer_method *method = &options->method;
    if (method->of || method->solver == SPADE_SOLVER_EXACT) { return options->sparsity; } /* exact, or rounded up */
    const spade_problem problem = {
        .rows = layer->rows / layer->groups, .columns = layer->columns, .block = method->block};
    const int64_t block = spade_problem_block(&problem), whole = problem.columns / block;
    int64_t prune[2];
    spade_problem_prune_counts(&problem, options->sparsity, method->count, block, prune);
    const int64_t pruned = whole * prune[0] + (problem.columns % block ? prune[1] : 0);
    return (double)pruned / (double)(problem.rows * problem.columns);
}

static void warn_of_rounding(spade_context *context, const spade_network *network, const spade_layer_options *layers,
                             const char *title)
{
    int count = 0, worst = -1;
    double missing = 0;
    for (int l = 0; l < network->layer_count; l++) {
        if (layers[l].sparsity <= 0) { continue; }
        const double misses = layers[l].sparsity - reached_sparsity(&network->layers[l], &layers[l]);
        count += misses > shortfall;
        if (misses > shortfall && misses > missing) {
            worst = l;
            missing = misses;
        }
    }
    if (worst < 0) { return; }
    char others[64] = "";
    if (count > 1) { snprintf(others, sizeof others, " (and %d layers more miss theirs)", count - 1); }
    spade_log(
        context, SPADE_LOG_WARNING,
        "%s%s%.200s gets a sparsity of %.1f %%, not %.1f %%%s: of each block of %lld weights a whole number is pruned; "
        "the exact solver, or a larger block, comes closer",
        title ? title : "", title ? ": " : "", network->layers[worst].name, 100 * (layers[worst].sparsity - missing),
        100 * layers[worst].sparsity, others, (long long)weights_in_block(&network->layers[worst], &layers[worst]));
}

spade_status spade_trace_fixed_layers(spade_context *context, const spade_model *model,
                                      const spade_trace_options *options, bool *fixed, int *open)
{
    const int count = model->network.layer_count;
    spade_layer_options *layers = calloc(2 * (size_t)count + 1, sizeof *layers);
    spade_status status = SPADE_OK;
    *open = 0;
    if (!layers) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    SPADE_GOTO(spade_trace_layer_options(context, model, options, layers)); /* as they are, they are right */
    for (int i = 0; i < 2; i++) { /* the same sparsity at two levels is one at all */
        spade_trace_options given = *options;
        given.sparsity = spade_sparsity_levels[i];
        SPADE_GOTO(spade_trace_layer_options(context, model, &given, layers + (ptrdiff_t)i * count));
    }
    for (int l = 0; l < count; l++) {
        fixed[l] = layers[l].sparsity == layers[count + l].sparsity;
        *open += !fixed[l];
    }
done:
    free(layers);
    return status;
}

static spade_status warn_of_no_choice(spade_context *context, const spade_model *model,
                                      const spade_trace_options *options)
{
    int open;
    bool *fixed = calloc((size_t)model->network.layer_count + 1, sizeof *fixed);
    if (!fixed) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    const spade_status status = spade_trace_fixed_layers(context, model, options, fixed, &open);
    free(fixed);
    if (status == SPADE_OK && !open) {
        spade_log(context, SPADE_LOG_WARNING,
                  "the automatic sparsity has no effect: rules fix that of all layers, and nothing is chosen");
    }
    return status;
}

spade_status spade_trace_check_layers(spade_context *context, const spade_model *model,
                                      const spade_trace_options *options)
{
    spade_layer_options *layers = calloc((size_t)model->network.layer_count + 1, sizeof *layers);
    if (!layers) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    spade_status status = spade_trace_layer_options(context, model, options, layers);
    if (status == SPADE_OK) { warn_of_rounding(context, &model->network, layers, NULL); }
    free(layers);
    if (status != SPADE_OK || options->sparsity != SPADE_SPARSITY_AUTO) { return status; }
    return warn_of_no_choice(context, model, options);
}

spade_status spade_trace_warn_of_choice(spade_context *context, const spade_trace *trace,
                                        const spade_trace_options *options, const char *title)
{
    const spade_model *model = trace->base.model;
    const int count = model->network.layer_count;
    int open;
    if (!trace->chosen) { return SPADE_OK; }
    spade_layer_options *layers = calloc((size_t)count + 1, sizeof *layers);
    bool *fixed = calloc((size_t)count + 1, sizeof *fixed);
    spade_status status;
    if (!layers || !fixed) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }
    SPADE_GOTO(spade_trace_layer_options(context, model, options, layers));
    SPADE_GOTO(spade_trace_fixed_layers(context, model, options, fixed, &open));
    for (int l = 0; l < count; l++) {
        layers[l].sparsity = fixed[l] || !trace->layers[l].solved ? 0 : trace->layers[l].sparsity;
    }
    warn_of_rounding(context, &model->network, layers, title);
done:
    free(layers);
    free(fixed);
    return status;
}
