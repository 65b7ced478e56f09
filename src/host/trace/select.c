/* select.c - globs over layer names -> the sparsity of each layer. */
#include <fnmatch.h>

#include "trace/trace_stage.h"

static bool matches(const char *glob, const spade_layer *layer)
{
    return fnmatch(glob, layer->name, 0) == 0;
}

/* A glob that matches nothing is a mistake in the request, not an empty wish. */
static spade_status check_glob(spade_context *context, const spade_graph *graph, const char *kind, const char *glob)
{
    if (!glob) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: a glob is missing", kind); }
    for (int i = 0; i < graph->layer_count; i++) {
        if (graph->layers[i].prunable && matches(glob, &graph->layers[i])) { return SPADE_OK; }
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

spade_status spade_trace_select(spade_context *context, const spade_model *model, const spade_trace_options *options,
                                double *sparsities)
{
    const spade_graph *graph = &model->graph;
    SPADE_TRY(check_sparsity(context, options->sparsity, "all layers"));
    if (options->block < 0) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "a block of %lld columns", (long long)options->block);
    }
    for (int i = 0; i < options->rule_count; i++) {
        SPADE_TRY(check_glob(context, graph, "sparsity", options->rules[i].layers));
        SPADE_TRY(check_sparsity(context, options->rules[i].sparsity, options->rules[i].layers));
    }
    for (int i = 0; options->include && i < options->include_count; i++) {
        SPADE_TRY(check_glob(context, graph, "layers", options->include[i]));
    }
    for (int i = 0; i < options->skip_count; i++) { SPADE_TRY(check_glob(context, graph, "skip", options->skip[i])); }
    for (int l = 0; l < graph->layer_count; l++) {
        sparsities[l] = options->sparsity;
        for (int i = 0; i < options->rule_count; i++) {
            if (matches(options->rules[i].layers, &graph->layers[l])) { sparsities[l] = options->rules[i].sparsity; }
        }
        if (!is_wanted(&graph->layers[l], options)) { sparsities[l] = 0; }
    }
    return SPADE_OK;
}

int64_t spade_trace_block(const spade_layer *layer, const spade_trace_options *options)
{
    if (options->block > 0) { return options->block; }
    return layer->convolution ? layer->weight[2] * layer->weight[3] : 1;
}
