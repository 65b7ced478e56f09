/* trace_job.c - one trace to find: what is asked of its layers, what its checkpoint has already; and which layers of a
 * batch come next. */
#include "trace/search.h"

/* For each of the layers: the one among them whose Hessian holds its own as a block, -1: none. */
static void find_sources(const spade_network *network, const spade_hessian_request *request, int *sources)
{
    for (int i = 0; i < request->count; i++) {
        int64_t tap;
        int source = spade_hessian_source(network, request, i, &tap);
        sources[i] = tap < 0 ? -1 : request->layers[source];
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

/* Which layers do better without a Hessian. */
static void choose_kept(const spade_model *model, const spade_batch *variants, spade_trace_job *job)
{
    int64_t dims[4];
    spade_batch_shape(variants, dims);
    for (int l = 0; l < model->network.layer_count; l++) {
        const spade_layer_method *method = &job->layers[l].method;
        const int64_t block = method->of ? method->of : method->block;
        job->kept[l] = job->pending[l] && method->solver == SPADE_SOLVER_FAST &&
                       spade_hessian_prefers_inputs(model, l, dims[0], block, job->options->hessian);
    }
}

/* The sources of the pending layers, as in a search for this trace alone. */
static spade_status choose_sources(spade_context *context, const spade_network *network, spade_trace_job *job)
{
    size_t all = (size_t)network->layer_count + 1;
    int *layers = calloc(all, sizeof *layers), *sources = calloc(all, sizeof *sources);
    spade_status status = SPADE_OK;
    if (!layers || !sources) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers")); }
    int count = list_marked(network, job->pending, layers);
    const spade_hessian_request request = {.layers = layers, .count = count, .kept = job->kept};
    find_sources(network, &request, sources);
    for (int i = 0; i < count; i++) { job->sources[layers[i]] = sources[i]; }
done:
    free(layers);
    free(sources);
    return status;
}

static uint64_t layer_key(const spade_trace_job *job, int layer)
{
    return spade_checkpoint_key(&job->checkpoint, job->trace->base.model, layer, &job->layers[layer],
                                job->options->hessian, job->sources[layer]);
}

void spade_trace_job_save(const spade_trace_job *job, int layer)
{
    if (!job->checkpoint.folder) { return; }
    spade_checkpoint_save(&job->checkpoint, &job->trace->base.model->network.layers[layer], layer_key(job, layer),
                          spade_trace_weights(job->trace, layer), &job->trace->layers[layer]);
}

/* Take the layers that the checkpoint has. */
static spade_status resume(spade_trace_job *job, const spade_network *network)
{
    for (int l = 0; job->checkpoint.folder && l < network->layer_count; l++) {
        float *weights;
        if (!job->pending[l]) { continue; }
        SPADE_TRY(spade_weight_override_write_host(&job->trace->base, l, &weights));
        job->pending[l] = !spade_checkpoint_load(&job->checkpoint, &network->layers[l], layer_key(job, l), weights,
                                                 &job->trace->layers[l]);
    }
    return SPADE_OK;
}

/* Take all memory of the trace itself, which the solver writes the weights to, before any work is done. */
static spade_status reserve(const spade_trace_job *job, const spade_network *network)
{
    for (int l = 0; l < network->layer_count; l++) {
        float *weights;
        if (job->pending[l]) { SPADE_TRY(spade_trace_job_target(job, l, &weights)); }
    }
    return SPADE_OK;
}

spade_status spade_trace_job_target(const spade_trace_job *job, int layer, float **out)
{
    bool on_device = job->layers[layer].method.solver == SPADE_SOLVER_FAST;
    return on_device ? spade_weight_override_write_device(&job->trace->base, layer, out)
                     : spade_weight_override_write_host(&job->trace->base, layer, out);
}

spade_status spade_trace_job_open(spade_context *context, const spade_batch *variants,
                                  const spade_trace_options *options, spade_trace *trace, spade_trace_job *out)
{
    const spade_model *model = trace->base.model;
    const spade_network *network = &model->network;
    size_t all = (size_t)network->layer_count + 1;
    *out = (spade_trace_job){.options = options, .trace = trace};
    out->layers = calloc(all, sizeof *out->layers);
    out->pending = calloc(all, sizeof *out->pending);
    out->kept = calloc(all, sizeof *out->kept);
    out->sources = calloc(all, sizeof *out->sources);
    if (!out->layers || !out->pending || !out->kept || !out->sources) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers");
    }
    SPADE_TRY(spade_trace_layer_options(context, model, options, out->layers));
    for (int l = 0; l < network->layer_count; l++) {
        trace->layers[l].sparsity = out->layers[l].sparsity;
        out->pending[l] = out->layers[l].sparsity > 0;
    }
    choose_kept(model, variants, out);
    SPADE_TRY(choose_sources(context, network, out));
    SPADE_TRY(spade_checkpoint_open(context, options->checkpoint, model, variants, &out->checkpoint));
    SPADE_TRY(resume(out, network));
    return reserve(out, network);
}

void spade_trace_job_close(spade_trace_job *job)
{
    free(job->layers);
    free(job->pending);
    free(job->kept);
    free(job->sources);
}

bool spade_trace_job_takes(const spade_trace_job *job, const spade_trace_pass *pass, int i)
{
    int layer = pass->layers[i];
    return job->pending[layer] && job->options->hessian == pass->precision && job->kept[layer] == pass->kept[layer] &&
           job->sources[layer] == pass->sources[i];
}

/* ---- what comes next */

static void mark_layer(const spade_trace_job *job, int layer, bool *marked, bool *kept)
{
    if (!marked[layer]) { kept[layer] = job->kept[layer]; }
    marked[layer] = true;
}

/* Of jobs that want a layer in different forms the first gets its own; the others wait for a pass of theirs. */
static void mark_pending(const spade_trace_job *job, const spade_network *network, bool *marked, bool *kept)
{
    for (int l = 0; l < network->layer_count; l++) {
        if (!job->pending[l]) { continue; }
        mark_layer(job, l, marked, kept);
        if (job->sources[l] >= 0) { mark_layer(job, job->sources[l], marked, kept); }
    }
}

static const spade_trace_job *first_pending_job(const spade_network *network, const spade_trace_batch *batch)
{
    for (int i = 0; i < batch->job_count; i++) {
        for (int l = 0; l < network->layer_count; l++) {
            if (batch->jobs[i].pending[l]) { return &batch->jobs[i]; }
        }
    }
    return NULL;
}

static bool is_taken(const spade_trace_pass *pass)
{
    for (int j = 0; j < pass->batch->job_count; j++) {
        for (int i = 0; i < pass->count; i++) {
            if (spade_trace_job_takes(&pass->batch->jobs[j], pass, i)) { return true; }
        }
    }
    return false;
}

/* All pending layers of the jobs with this precision; where no job takes any of them (each wants the Hessians of the same
 * layers from other sources), those of the first pending job only. */
spade_status spade_trace_pass_fill(spade_context *context, const spade_network *network, spade_trace_pass *pass)
{
    const spade_trace_job *first = first_pending_job(network, pass->batch);
    pass->count = 0;
    if (!first) { return SPADE_OK; }
    bool *marked = NULL;
    spade_status status = SPADE_OK;
    pass->precision = first->options->hessian;
    for (int round = 0; round < 2; round++) {
        free(marked);
        marked = calloc((size_t)network->layer_count + 1, sizeof *marked);
        if (!marked) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers"); }
        for (int i = 0; i < pass->batch->job_count; i++) {
            const spade_trace_job *job = &pass->batch->jobs[i];
            if (job == first || (round == 0 && job->options->hessian == pass->precision)) {
                mark_pending(job, network, marked, pass->kept);
            }
        }
        pass->count = list_marked(network, marked, pass->layers);
        const spade_hessian_request request = spade_trace_pass_request(pass);
        SPADE_GOTO(spade_hessian_order(context, network, &request, pass->layers));
        find_sources(network, &request, pass->sources);
        if (is_taken(pass)) { break; }
    }
done:
    free(marked);
    return status;
}
