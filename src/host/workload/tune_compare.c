/* tune_compare.c - what the stages' choices are worth on pictures that they were not made for. */
#include <math.h>

#include "base/base.h"
#include "report/statistics.h"
#include "workload/tune.h"

/* Of fewer pictures an interval says nothing: it lies between what few of them are. */
enum { LEAST_PAIRS = 5 };

static spade_status fail_memory(const tune_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

typedef struct comparison {
    double *dense, *trace;          /* [aside]: of the traces the mean over the sets of variants */
    int64_t count, changed, failed; /* changed: of all traces, `seeds` of a picture */
} comparison;

/* The rules that the configuration will have; `globs` [layers + 1]: owned, where some of them are. */
static spade_status make_rules(const tune_job *job, spade_trace_options *options, spade_layer_rule *rules, char **globs)
{
    const spade_network *network = &job->evaluate.model->network;
    int count = options->rule_count, made = 0;
    if (count) { memcpy(rules, options->rules, (size_t)count * sizeof *rules); }
    for (int s = 0; s < job->stage_count; s++) {
        const tune_stage *stage = &job->stages[s];
        for (int i = 0; stage->choice && i < stage->layer_count; i++) {
            char *glob = globs[made++] = tune_escape(network->layers[stage->layers[i]].name);
            if (!glob) { return fail_memory(job); }
            rules[count++] = (spade_layer_rule){
                .layers = glob, .set = SPADE_RULE_SPARSITY, .sparsity = tune_sparsity(stage->choice)};
        }
    }
    options->rules = rules;
    options->rule_count = count;
    options->sparsity = 0;
    return SPADE_OK;
}

/* On the variants of one seed: values and changed [2], of the network and of the trace. */
static spade_status compare_seed(tune_job *job, int input, const spade_image_item *item, int seed,
                                 const spade_trace_options *options, double *values, bool *changed)
{
    spade_batch *batch = NULL;
    spade_trace *trace = NULL;
    spade_status status;
    SPADE_GOTO(tune_batch(job, item, seed, &batch));
    SPADE_GOTO(spade_trace_create(job->context, job->evaluate.model, batch, options, &trace));
    SPADE_GOTO(tune_measure(job, input, item, &trace, 1, values, changed));
    if (isnan(values[0]) || isnan(values[1])) {
        SPADE_GOTO(spade_fail(job->context, SPADE_ERROR_INPUT, "the metric has no value of the map of the %s",
                              isnan(values[0]) ? "network" : "trace"));
    }
done:
    spade_trace_destroy(trace);
    spade_batch_destroy(batch);
    return status;
}

static spade_status compare_picture(tune_job *job, int input, const spade_trace_options *options, comparison *out)
{
    spade_image_item item;
    double values[2] = {NAN, NAN}, sum = 0; /* there is one seed at least */
    int64_t count = 0;
    spade_status status;
    SPADE_GOTO(tune_load(job, input, &item));
    for (int seed = 0; seed < job->seeds; seed++) {
        bool changed[2];
        SPADE_GOTO(compare_seed(job, input, &item, seed, options, values, changed));
        sum += values[1];
        count += changed[1];
    }
    out->dense[out->count] = values[0];
    out->trace[out->count++] = sum / job->seeds;
    out->changed += count;
done:
    spade_image_item_clear(job->context, &item);
    return status;
}

static json_t *comparison_json(const tune_job *job, const comparison *c, double *scratch)
{
    const bool higher = explained_metric(&job->evaluate.run, 0)->better == SPADE_METRIC_HIGHER;
    const sample_statistics dense = describe_sample(c->dense, c->count), trace = describe_sample(c->trace, c->count);
    pair_statistics pairs =
        compare_pairs(c->dense, c->trace, c->count, higher, job->request->settings->seed, scratch, scratch + c->count);
    if (pairs.count < LEAST_PAIRS) { pairs.low = pairs.high = NAN; }
    json_t *object = json_object();
    spade_json_set(&object, "pictures", json_integer(c->count));
    spade_json_set(&object, "failed", json_integer(c->failed));
    spade_json_set(&object, "dense", spade_json_number(dense.mean));
    spade_json_set(&object, "dense_error", spade_json_number(dense.error));
    spade_json_set(&object, "trace", spade_json_number(trace.mean));
    spade_json_set(&object, "trace_error", spade_json_number(trace.error));
    pair_statistics_json(&pairs, &object);
    spade_json_set(&object, "changed", json_real((double)c->changed / (double)(c->count * job->seeds)));
    return object;
}

spade_status tune_compare(tune_job *job, double from, json_t **out)
{
    comparison c = {0};
    spade_trace_options options = job->levels[0];
    const int layers = job->evaluate.model->network.layer_count;
    spade_layer_rule *rules = calloc((size_t)(options.rule_count + layers) + 1, sizeof *rules);
    char **globs = calloc((size_t)layers + 1, sizeof *globs);
    spade_status status = SPADE_OK;
    double *scratch = calloc((size_t)job->aside + BOOTSTRAP_SAMPLES + 1, sizeof *scratch);
    c.dense = calloc((size_t)job->aside + 1, sizeof *c.dense);
    c.trace = calloc((size_t)job->aside + 1, sizeof *c.trace);
    if (!c.dense || !c.trace || !scratch || !rules || !globs) { SPADE_GOTO(fail_memory(job)); }
    SPADE_GOTO(make_rules(job, &options, rules, globs));
    for (int i = 0; i < job->aside && !tune_stopped(job); i++) {
        const int input = job->order[job->tuned + i];
        spade_workload_phase(job->events, "kept aside", from + (1 - from) * i / job->aside, 1);
        SPADE_GOTO(tune_fail_picture(job, input, compare_picture(job, input, &options, &c)));
        c.failed += job->failed[input];
    }
    if (c.count && !job->outcome->stopped) {
        *out = comparison_json(job, &c, scratch);
        if (!*out) { status = fail_memory(job); }
    }
done:
    for (int i = 0; globs && i < layers; i++) { free(globs[i]); }
    free(globs);
    free(rules);
    free(scratch);
    free(c.dense);
    free(c.trace);
    return status;
}
