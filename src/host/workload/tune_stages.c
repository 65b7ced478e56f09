/* tune_stages.c - which layers get one sparsity: blocks by their names, or what the user's globs match. */
#include <fnmatch.h>

#include "workload/tune.h"

static spade_status fail_memory(spade_context *context)
{
    return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: stages");
}

void tune_stages_close(tune_stage *stages, int count)
{
    for (int i = 0; stages && i < count; i++) {
        free(stages[i].name);
        free(stages[i].layers);
    }
    free(stages);
}

/* Layers that the options prune [layers]. */
static spade_status find_pruned(spade_context *context, const spade_model *model, const spade_trace_options *options,
                                bool *pruned)
{
    const int count = model->network.layer_count;
    spade_layer_options *layers = calloc((size_t)count + 1, sizeof *layers);
    if (!layers) { return fail_memory(context); }
    const spade_status status = spade_trace_layer_options(context, model, options, layers);
    for (int l = 0; l < count; l++) { pruned[l] = layers[l].sparsity > 0; }
    free(layers);
    return status;
}

/* A stage of the layers whose number in `numbers` is this one. */
static spade_status add_stage(spade_context *context, const spade_model *model, const int *numbers, const bool *pruned,
                              int number, char *name, tune_stage *out)
{
    const int count = model->network.layer_count;
    *out = (tune_stage){.name = name, .layers = calloc((size_t)count + 1, sizeof *out->layers)};
    if (!name || !out->layers) { return fail_memory(context); }
    for (int l = 0; l < count; l++) {
        if (numbers[l] == number && pruned[l]) { out->layers[out->layer_count++] = l; }
    }
    return SPADE_OK;
}

/* numbers [layers]: which of the globs matches a layer, -1: none. *count: globs. */
static spade_status match_globs(spade_context *context, const spade_model *model, const char *given, int *numbers,
                                int *count)
{
    const spade_network *network = &model->network;
    for (int l = 0; l < network->layer_count; l++) { numbers[l] = -1; }
    *count = 0;
    for (const char *at = given; *at; *count += 1) {
        const size_t length = strcspn(at, ",");
        bool any = false;
        char *glob = strndup(at, length);
        if (!glob) { return fail_memory(context); }
        for (int l = 0; l < network->layer_count; l++) {
            if (!network->layers[l].prunable || fnmatch(glob, network->layers[l].name, 0) != 0) { continue; }
            any = true;
            if (numbers[l] < 0) {
                numbers[l] = *count;
                continue;
            }
            spade_fail(context, SPADE_ERROR_ARGUMENT, "--stages: two of them match layer %s: the second is '%s'",
                       network->layers[l].name, glob);
            free(glob);
            return SPADE_ERROR_ARGUMENT;
        }
        if (!any) { spade_fail(context, SPADE_ERROR_ARGUMENT, "--stages: '%s' matches no prunable layer", glob); }
        free(glob);
        if (!any) { return SPADE_ERROR_ARGUMENT; }
        at += at[length] ? length + 1 : length;
    }
    return SPADE_OK;
}

/* The number-th of the texts between commas. */
static char *glob_at(const char *given, int number)
{
    for (; number > 0; number--) { given += strcspn(given, ",") + 1; }
    return strndup(given, strcspn(given, ","));
}

static char *stage_name(const spade_network *network, const int *numbers, int number)
{
    int l = 0;
    while (numbers[l] != number) { l++; }
    return strndup(network->layers[l].name, spade_stage_name_length(network->layers[l].name));
}

/* By their first layers. */
static int in_order_of_network(const void *a, const void *b)
{
    const tune_stage *x = a, *y = b;
    return x->layers[0] - y->layers[0];
}

spade_status tune_stages_open(spade_context *context, const spade_model *model, const spade_trace_options *options,
                              const char *given, tune_stage **out, int *count)
{
    const size_t layers = (size_t)model->network.layer_count + 1;
    int *numbers = calloc(layers, sizeof *numbers), all = 0;
    bool *pruned = calloc(layers, sizeof *pruned);
    spade_status status = SPADE_OK;
    *out = NULL;
    *count = 0;
    if (!numbers || !pruned) { SPADE_GOTO(fail_memory(context)); }
    SPADE_GOTO(find_pruned(context, model, options, pruned));
    if (given) {
        SPADE_GOTO(match_globs(context, model, given, numbers, &all));
    } else {
        all = spade_model_stages(model, numbers);
    }
    *out = calloc((size_t)all + 1, sizeof **out);
    if (!*out) { SPADE_GOTO(fail_memory(context)); }
    for (int i = 0; i < all; i++) {
        char *name = given ? glob_at(given, i) : stage_name(&model->network, numbers, i);
        tune_stage *stage = &(*out)[*count];
        *count += 1; /* first: what a failed one leaves is closed, too */
        SPADE_GOTO(add_stage(context, model, numbers, pruned, i, name, stage));
        if (stage->layer_count) { continue; }
        free(stage->name); /* --layers or --skip leaves nothing of it */
        free(stage->layers);
        *count -= 1;
    }
    qsort(*out, (size_t)*count, sizeof **out, in_order_of_network);
    if (!*count) { status = spade_fail(context, SPADE_ERROR_ARGUMENT, "no layer is left to be pruned"); }
done:
    free(numbers);
    free(pruned);
    return status;
}
