/* request.c - one trace to find: what is asked of its layers, what its checkpoint has already, and which layers of a
 * sample come next. */
#include "trace/search.h"

void spade_find_sources(const spade_graph *graph, const int *layers, int count, int *sources)
{
    for (int i = 0; i < count; i++) {
        int64_t tap;
        int source = spade_hessian_source(graph, layers, count, i, &tap);
        sources[i] = tap < 0 ? -1 : layers[source];
    }
}

/* Layers that are marked, in graph order; returns how many. */
static int list_marked(const spade_graph *graph, const bool *marked, int *layers)
{
    int count = 0;
    for (int l = 0; l < graph->layer_count; l++) {
        if (marked[l]) { layers[count++] = l; }
    }
    return count;
}

/* Where the sums of each wanted layer come from in a trace of its own. */
static spade_status choose_sources(spade_context *context, const spade_graph *graph, spade_request *r)
{
    size_t all = (size_t)graph->layer_count + 1;
    int *layers = calloc(all, sizeof *layers), *sources = calloc(all, sizeof *sources);
    spade_status status = SPADE_OK;
    if (!layers || !sources) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers")); }
    int count = list_marked(graph, r->wanted, layers);
    spade_find_sources(graph, layers, count, sources);
    for (int i = 0; i < count; i++) { r->sources[layers[i]] = sources[i]; }
done:
    free(layers);
    free(sources);
    return status;
}

static uint64_t layer_key(const spade_request *r, int layer)
{
    return spade_checkpoint_key(&r->checkpoint, r->trace->base.model, layer, &r->choices[layer], r->options->hessian,
                                r->sources[layer]);
}

void spade_request_save(const spade_request *r, int layer)
{
    if (!r->checkpoint.folder) { return; }
    spade_checkpoint_save(&r->checkpoint, &r->trace->base.model->graph.layers[layer], layer_key(r, layer),
                          spade_trace_weights(r->trace, layer), &r->trace->layers[layer]);
}

static spade_status resume(spade_request *r, const spade_graph *graph)
{
    for (int l = 0; r->checkpoint.folder && l < graph->layer_count; l++) {
        float *weights;
        if (!r->wanted[l]) { continue; }
        SPADE_TRY(spade_overlay_write_host(&r->trace->base, l, &weights));
        r->wanted[l] =
            !spade_checkpoint_load(&r->checkpoint, &graph->layers[l], layer_key(r, l), weights, &r->trace->layers[l]);
    }
    return SPADE_OK;
}

/* All memory that the trace itself takes: where its solver leaves the weights. */
static spade_status reserve(const spade_request *r, const spade_graph *graph)
{
    for (int l = 0; l < graph->layer_count; l++) {
        float *weights;
        if (r->wanted[l]) { SPADE_TRY(spade_request_target(r, l, &weights)); }
    }
    return SPADE_OK;
}

spade_status spade_request_target(const spade_request *r, int layer, float **out)
{
    bool on_device = r->choices[layer].solver == SPADE_SOLVER_FAST;
    return on_device ? spade_overlay_write_device(&r->trace->base, layer, out)
                     : spade_overlay_write_host(&r->trace->base, layer, out);
}

spade_status spade_request_open(spade_context *context, const spade_batch *batch, const spade_trace_options *options,
                                spade_trace *trace, spade_request *out)
{
    const spade_model *model = trace->base.model;
    const spade_graph *graph = &model->graph;
    size_t all = (size_t)graph->layer_count + 1;
    *out = (spade_request){.options = options, .trace = trace};
    out->choices = calloc(all, sizeof *out->choices);
    out->wanted = calloc(all, sizeof *out->wanted);
    out->sources = calloc(all, sizeof *out->sources);
    if (!out->choices || !out->wanted || !out->sources) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers");
    }
    SPADE_TRY(spade_trace_select(context, model, options, out->choices));
    for (int l = 0; l < graph->layer_count; l++) {
        trace->layers[l].sparsity = out->choices[l].sparsity;
        out->wanted[l] = out->choices[l].sparsity > 0;
    }
    SPADE_TRY(choose_sources(context, graph, out));
    SPADE_TRY(spade_checkpoint_open(context, options->checkpoint, model, batch, &out->checkpoint));
    SPADE_TRY(resume(out, graph));
    return reserve(out, graph);
}

void spade_request_close(spade_request *request)
{
    free(request->choices);
    free(request->wanted);
    free(request->sources);
}

bool spade_request_takes(const spade_request *request, const spade_part *part, int slot)
{
    int layer = part->layers[slot];
    return request->wanted[layer] && request->options->hessian == part->precision &&
           request->sources[layer] == part->sources[slot];
}

/* ---- what comes next */

static void mark_wanted(const spade_request *r, const spade_graph *graph, bool *marked)
{
    for (int l = 0; l < graph->layer_count; l++) {
        if (!r->wanted[l]) { continue; }
        marked[l] = true;
        if (r->sources[l] >= 0) { marked[r->sources[l]] = true; }
    }
}

static const spade_request *first_pending(const spade_graph *graph, const spade_sample *sample)
{
    for (int i = 0; i < sample->count; i++) {
        for (int l = 0; l < graph->layer_count; l++) {
            if (sample->requests[i].wanted[l]) { return &sample->requests[i]; }
        }
    }
    return NULL;
}

static bool is_taken(const spade_part *part)
{
    for (int i = 0; i < part->sample->count; i++) {
        for (int slot = 0; slot < part->count; slot++) {
            if (spade_request_takes(&part->sample->requests[i], part, slot)) { return true; }
        }
    }
    return false;
}

/* What the requests want together; where nobody takes that (each wants other sums of the same layers), what the first
 * of them wants. */
spade_status spade_sample_list(spade_context *context, const spade_graph *graph, spade_part *part)
{
    const spade_request *first = first_pending(graph, part->sample);
    part->count = 0;
    if (!first) { return SPADE_OK; }
    bool *marked = NULL;
    spade_status status = SPADE_OK;
    part->precision = first->options->hessian;
    for (int round = 0; round < 2; round++) {
        free(marked);
        marked = calloc((size_t)graph->layer_count + 1, sizeof *marked);
        if (!marked) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers"); }
        for (int i = 0; i < part->sample->count; i++) {
            const spade_request *r = &part->sample->requests[i];
            if (r == first || (round == 0 && r->options->hessian == part->precision)) { mark_wanted(r, graph, marked); }
        }
        part->count = list_marked(graph, marked, part->layers);
        SPADE_GOTO(spade_hessian_order(context, graph, part->layers, part->count));
        spade_find_sources(graph, part->layers, part->count, part->sources);
        if (is_taken(part)) { break; }
    }
done:
    free(marked);
    return status;
}
