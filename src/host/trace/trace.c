/* trace.c - the trace as an object: its own weights over the network's, and what is known of each layer. */
#include <math.h>

#include "base/caller_options.h"
#include "trace/trace.h"

static spade_trace_options default_options(size_t rule_size)
{
    spade_solve_options solve;
    spade_solve_options_init(&solve);
    return (spade_trace_options){.rule_size = rule_size,
                                 .hessian = SPADE_FP32,
                                 .sweep = solve.sweep,
                                 .count = solve.count,
                                 .damping = solve.damping,
                                 .seed = solve.seed,
                                 .sparsity = 0.5};
}

void spade_trace_options_init_sized(spade_trace_options *options, size_t size, size_t rule_size)
{
    const spade_trace_options defaults = default_options(rule_size);
    spade_caller_options_init(options, size, &defaults, sizeof defaults);
}

/* The caller's options, which lie one behind the other in their own size, to ours; *out: to be freed. */
static spade_status take_options(spade_context *context, const spade_trace_options *given, int count,
                                 spade_trace_options **out)
{
    spade_trace_options *own = *out = calloc((size_t)count + 1, sizeof *own);
    if (!own) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: %d options", count); }
    for (int i = 0; i < count; i++) {
        const spade_trace_options *at = (const void *)((const char *)given + (size_t)i * given->size);
        own[i] = default_options(0);
        SPADE_TRY(spade_caller_options_take(context, "spade_trace_options", at, &own[i], sizeof *own));
        if (at->size != given->size) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT,
                              "spade_trace_options: the first of several has a size of %zu bytes, number %d of %zu",
                              given->size, i, at->size);
        }
    }
    return SPADE_OK;
}

static size_t layer_bytes(const spade_layer *layer)
{
    return (size_t)(layer->rows * layer->columns) * sizeof(float);
}

spade_status spade_trace_create_empty(spade_context *context, const spade_model *model, spade_trace **out)
{
    const spade_network *network = &model->network;
    spade_trace *trace = *out = NULL;
    size_t count = (size_t)network->layer_count;
    trace = calloc(1, sizeof *trace);
    if (!trace) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a trace"); }
    trace->layers = calloc(count + 1, sizeof *trace->layers);
    spade_status status = spade_weight_override_create(context, model, &trace->base);
    if (status == SPADE_OK && !trace->layers) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a trace of %zu layers", count);
    }
    if (status != SPADE_OK) {
        spade_trace_destroy(trace);
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        const spade_layer *layer = &network->layers[i];
        trace->layers[i].weights = layer->rows * layer->columns;
        trace->layers[i].zeros = layer->zeros;
    }
    *out = trace;
    return SPADE_OK;
}

void spade_trace_destroy(spade_trace *trace)
{
    if (!trace) { return; }
    spade_weight_override_clear(&trace->base);
    free(trace->layers);
    free(trace);
}

static bool has_layer(const spade_trace *trace, int layer)
{
    return layer >= 0 && layer < trace->base.model->network.layer_count;
}

/* values: what the layer is to have. */
static spade_status check_layer(spade_context *context, const spade_trace *trace, int layer, const float *values)
{
    if (!has_layer(trace, layer)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "layer %d does not exist: the network has %d", layer,
                          trace->base.model->network.layer_count);
    }
    return values ? SPADE_OK : spade_fail(context, SPADE_ERROR_ARGUMENT, "layer %d: no values are given", layer);
}

spade_status spade_trace_set_bias(spade_context *context, spade_trace *trace, int layer, const float *bias)
{
    SPADE_TRY(check_layer(context, trace, layer, bias));
    const spade_layer *l = &trace->base.model->network.layers[layer];
    for (int64_t r = 0; r < l->rows; r++) {
        if (isfinite(bias[r])) { continue; }
        return spade_fail(context, SPADE_ERROR_INPUT, "layer %s: the bias of row %lld is %s", l->name, (long long)r,
                          isnan(bias[r]) ? "NaN" : "infinite");
    }
    return spade_weight_override_set_bias(&trace->base, layer, bias);
}

spade_status spade_trace_set_weights(spade_context *context, spade_trace *trace, int layer, const float *weights)
{
    const spade_network *network = &trace->base.model->network;
    SPADE_TRY(check_layer(context, trace, layer, weights));
    for (int64_t i = 0; i < trace->layers[layer].weights; i++) {
        if (isfinite(weights[i])) { continue; }
        const int64_t columns = network->layers[layer].columns;
        return spade_fail(context, SPADE_ERROR_INPUT, "layer %s: weight [%lld, %lld] (row, column) is %s",
                          network->layers[layer].name, (long long)(i / columns), (long long)(i % columns),
                          isnan(weights[i]) ? "NaN" : "infinite");
    }
    float *copy;
    SPADE_TRY(spade_weight_override_write_host(&trace->base, layer, &copy));
    memcpy(copy, weights, layer_bytes(&network->layers[layer]));
    trace->layers[layer].zeros = spade_count_zeros(weights, trace->layers[layer].weights);
    return SPADE_OK;
}

spade_status spade_trace_check_options(spade_context *context, const spade_model *model,
                                       const spade_trace_options *options)
{
    spade_trace_options *own = NULL;
    spade_status status = take_options(context, options, 1, &own);
    if (status == SPADE_OK) { status = spade_trace_check_layers(context, model, own); }
    free(own);
    return status;
}

spade_status spade_trace_create_many(spade_context *context, const spade_model *model,
                                     const spade_batch *const *batches, int batch_count,
                                     const spade_trace_options *options, int option_count, spade_trace **traces)
{
    if (batch_count < 0 || option_count < 0) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%d batches, %d options", batch_count, option_count);
    }
    int count = batch_count * option_count;
    for (int i = 0; i < count; i++) { traces[i] = NULL; }
    spade_trace_options *own = NULL;
    spade_status status = take_options(context, options, option_count, &own);
    for (int i = 0; i < count && status == SPADE_OK; i++) {
        status = spade_trace_create_empty(context, model, &traces[i]);
    }
    if (status == SPADE_OK && count > 0) {
        status = spade_trace_search_and_choose(context, batches, batch_count, own, option_count, traces);
    }
    free(own);
    for (int i = 0; i < count && status != SPADE_OK; i++) {
        spade_trace_destroy(traces[i]);
        traces[i] = NULL;
    }
    return status;
}

spade_status spade_trace_create(spade_context *context, const spade_model *model, const spade_batch *batch,
                                const spade_trace_options *options, spade_trace **out)
{
    return spade_trace_create_many(context, model, &batch, 1, options, 1, out);
}

spade_status spade_trace_read(const spade_trace *trace, int layer, const float **out)
{
    if (spade_weight_override_has(&trace->base, layer)) {
        return spade_weight_override_host(spade_weight_override_of(trace), layer, out);
    }
    *out = trace->base.model->network.layers[layer].weights;
    return SPADE_OK;
}

const float *spade_trace_weights(const spade_trace *trace, int layer)
{
    const float *weights;
    if (!has_layer(trace, layer)) { return NULL; }
    return spade_trace_read(trace, layer, &weights) == SPADE_OK ? weights : NULL;
}

void spade_trace_layer_info(const spade_trace *trace, int layer, spade_trace_layer *info)
{
    *info = has_layer(trace, layer) ? trace->layers[layer] : (spade_trace_layer){0};
}

bool spade_trace_sparsity_choice(const spade_trace *trace, spade_sparsity_choice *out)
{
    *out = trace->choice;
    return trace->chosen;
}

void spade_trace_seconds(const spade_trace *trace, double seconds[3])
{
    memcpy(seconds, trace->seconds, sizeof trace->seconds);
}
