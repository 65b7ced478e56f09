/* trace_job.c - one trace to find: what is asked of its layers, what its checkpoint has already, and which layers of a
 * sample come next. */
#include "trace/search.h"

void spade_find_sources(const spade_network *network, const int *layers, int count, int *sources)
{
    for (int i = 0; i < count; i++) {
        int64_t tap;
        int source = spade_hessian_source(network, layers, count, i, &tap);
        sources[i] = tap < 0 ? -1 : layers[source];
    }
}

/* Layers that are marked, in graph order; returns how many. */
static int list_marked(const spade_network *network, const bool *marked, int *layers)
{
    int count = 0;
    for (int l = 0; l < network->layer_count; l++) {
        if (marked[l]) { layers[count++] = l; }
    }
    return count;
}

/* Where the sums of each wanted layer come from in a trace of its own. */
static spade_status choose_sources(spade_context *context, const spade_network *network, spade_trace_job *r)
{
    size_t all = (size_t)network->layer_count + 1;
    int *layers = calloc(all, sizeof *layers), *sources = calloc(all, sizeof *sources);
    spade_status status = SPADE_OK;
    if (!layers || !sources) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers")); }
    int count = list_marked(network, r->wanted, layers);
    spade_find_sources(network, layers, count, sources);
    for (int i = 0; i < count; i++) { r->sources[layers[i]] = sources[i]; }
done:
    free(layers);
    free(sources);
    return status;
}

static uint64_t layer_key(const spade_trace_job *r, int layer)
{
    return spade_checkpoint_key(&r->checkpoint, r->trace->base.model, layer, &r->choices[layer], r->options->hessian,
                                r->sources[layer]);
}

void spade_trace_job_save(const spade_trace_job *r, int layer)
{
    if (!r->checkpoint.folder) { return; }
    spade_checkpoint_save(&r->checkpoint, &r->trace->base.model->network.layers[layer], layer_key(r, layer),
                          spade_trace_weights(r->trace, layer), &r->trace->layers[layer]);
}

static spade_status resume(spade_trace_job *r, const spade_network *network)
{
    for (int l = 0; r->checkpoint.folder && l < network->layer_count; l++) {
        float *weights;
        if (!r->wanted[l]) { continue; }
        SPADE_TRY(spade_weight_override_write_host(&r->trace->base, l, &weights));
        r->wanted[l] =
            !spade_checkpoint_load(&r->checkpoint, &network->layers[l], layer_key(r, l), weights, &r->trace->layers[l]);
    }
    return SPADE_OK;
}

/* All memory that the trace itself takes: where its solver leaves the weights. */
static spade_status reserve(const spade_trace_job *r, const spade_network *network)
{
    for (int l = 0; l < network->layer_count; l++) {
        float *weights;
        if (r->wanted[l]) { SPADE_TRY(spade_trace_job_target(r, l, &weights)); }
    }
    return SPADE_OK;
}

spade_status spade_trace_job_target(const spade_trace_job *r, int layer, float **out)
{
    bool on_device = r->choices[layer].solver == SPADE_SOLVER_FAST;
    return on_device ? spade_weight_override_write_device(&r->trace->base, layer, out)
                     : spade_weight_override_write_host(&r->trace->base, layer, out);
}

spade_status spade_trace_job_open(spade_context *context, const spade_batch *batch, const spade_trace_options *options,
                                  spade_trace *trace, spade_trace_job *out)
{
    const spade_model *model = trace->base.model;
    const spade_network *network = &model->network;
    size_t all = (size_t)network->layer_count + 1;
    *out = (spade_trace_job){.options = options, .trace = trace};
    out->choices = calloc(all, sizeof *out->choices);
    out->wanted = calloc(all, sizeof *out->wanted);
    out->sources = calloc(all, sizeof *out->sources);
    if (!out->choices || !out->wanted || !out->sources) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers");
    }
    SPADE_TRY(spade_trace_layer_options(context, model, options, out->choices));
    for (int l = 0; l < network->layer_count; l++) {
        trace->layers[l].sparsity = out->choices[l].sparsity;
        out->wanted[l] = out->choices[l].sparsity > 0;
    }
    SPADE_TRY(choose_sources(context, network, out));
    SPADE_TRY(spade_checkpoint_open(context, options->checkpoint, model, batch, &out->checkpoint));
    SPADE_TRY(resume(out, network));
    return reserve(out, network);
}

void spade_trace_job_close(spade_trace_job *request)
{
    free(request->choices);
    free(request->wanted);
    free(request->sources);
}

bool spade_trace_job_takes(const spade_trace_job *request, const spade_part *part, int slot)
{
    int layer = part->layers[slot];
    return request->wanted[layer] && request->options->hessian == part->precision &&
           request->sources[layer] == part->sources[slot];
}

/* ---- what comes next */

static void mark_wanted(const spade_trace_job *r, const spade_network *network, bool *marked)
{
    for (int l = 0; l < network->layer_count; l++) {
        if (!r->wanted[l]) { continue; }
        marked[l] = true;
        if (r->sources[l] >= 0) { marked[r->sources[l]] = true; }
    }
}

static const spade_trace_job *first_pending(const spade_network *network, const spade_sample *sample)
{
    for (int i = 0; i < sample->count; i++) {
        for (int l = 0; l < network->layer_count; l++) {
            if (sample->requests[i].wanted[l]) { return &sample->requests[i]; }
        }
    }
    return NULL;
}

static bool is_taken(const spade_part *part)
{
    for (int i = 0; i < part->sample->count; i++) {
        for (int slot = 0; slot < part->count; slot++) {
            if (spade_trace_job_takes(&part->sample->requests[i], part, slot)) { return true; }
        }
    }
    return false;
}

/* What the requests want together; where nobody takes that (each wants other sums of the same layers), what the first
 * of them wants. */
spade_status spade_sample_list(spade_context *context, const spade_network *network, spade_part *part)
{
    const spade_trace_job *first = first_pending(network, part->sample);
    part->count = 0;
    if (!first) { return SPADE_OK; }
    bool *marked = NULL;
    spade_status status = SPADE_OK;
    part->precision = first->options->hessian;
    for (int round = 0; round < 2; round++) {
        free(marked);
        marked = calloc((size_t)network->layer_count + 1, sizeof *marked);
        if (!marked) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers"); }
        for (int i = 0; i < part->sample->count; i++) {
            const spade_trace_job *r = &part->sample->requests[i];
            if (r == first || (round == 0 && r->options->hessian == part->precision)) {
                mark_wanted(r, network, marked);
            }
        }
        part->count = list_marked(network, marked, part->layers);
        SPADE_GOTO(spade_hessian_order(context, network, part->layers, part->count));
        spade_find_sources(network, part->layers, part->count, part->sources);
        if (is_taken(part)) { break; }
    }
done:
    free(marked);
    return status;
}
