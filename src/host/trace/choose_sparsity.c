/*
 * choose_sparsity.c - SPADE_SPARSITY_AUTO (spade/trace.h): traces at every level of sparsity, whose Hessians and factors are
 * shared; of them candidates are composed, layer by layer, and judged, the sparsest first, until one decides as the network does.
 */
#include "augment/batch.h"
#include "trace/trace.h"

const double spade_sparsity_levels[] = {0.2, 0.5, 0.8, 0.9, 0.95, 0.99};
enum {
    LEVELS = SPADE_SPARSITY_LEVELS,
    CANDIDATES = 2 * LEVELS,
    STEP = 16 /* variants that are judged at once: few, as most candidates that fail do so soon */
};

typedef struct candidate {
    int level;
    bool scaled;
    int64_t zeros;
} candidate;

/* The variants of one batch that candidates are judged on. */
typedef struct judge {
    spade_context *context;
    const spade_model *model;
    int64_t count, size; /* variants, numbers of each */
    float *inputs;       /* [count, size] */
    size_t bytes;
    const float *sample; /* [size], or NULL */
    int64_t *decisions;  /* [count + 1]: the network's, and last that of the sample */
    float *outputs;      /* [count, outputs] */
    double *logits;      /* [classes] */
} judge;

/* ---- what is judged on */

/* decisions [n] of the network, or of a trace. */
static spade_status decide(const judge *j, const spade_trace *trace, const float *inputs, int64_t n, int64_t *decisions)
{
    const int64_t outputs = spade_model_outputs(j->model), classes = spade_model_classes(j->model);
    SPADE_TRY(spade_model_forward(j->context, j->model, trace, inputs, n, j->outputs));
    for (int64_t i = 0; i < n; i++) {
        spade_model_scores(j->model, j->outputs + i * outputs, j->logits, NULL);
        decisions[i] = 0;
        for (int64_t c = 1; c < classes; c++) {
            if (j->logits[c] > j->logits[decisions[i]]) { decisions[i] = c; }
        }
    }
    return SPADE_OK;
}

static void judge_close(judge *j)
{
    spade_free_bytes(j->context, j->inputs, j->bytes);
    free(j->decisions);
    free(j->outputs);
    free(j->logits);
}

static spade_status judge_open(spade_context *context, const spade_model *model, const spade_batch *batch, judge *out)
{
    const int64_t *dims = batch->dims;
    void *inputs = NULL;
    *out = (judge){.context = context, .model = model, .count = batch->held_out, .sample = batch->sample};
    out->size = dims[1] * dims[2] * dims[3];
    out->decisions = calloc((size_t)out->count + 1, sizeof *out->decisions);
    out->outputs = calloc((size_t)(out->count * spade_model_outputs(model)), sizeof *out->outputs);
    out->logits = calloc((size_t)spade_model_classes(model), sizeof *out->logits);
    if (!out->decisions || !out->outputs || !out->logits) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: decisions");
    }
    out->bytes = (size_t)(out->count * out->size) * sizeof(float);
    SPADE_TRY(spade_alloc(context, out->bytes, "variants that are held out", &inputs));
    out->inputs = inputs;
    SPADE_TRY(spade_batch_read(context, batch, dims[0], out->count, out->inputs));
    SPADE_TRY(decide(out, NULL, out->inputs, out->count, out->decisions));
    return out->sample ? decide(out, NULL, out->sample, 1, out->decisions + out->count) : SPADE_OK;
}

/* How many variants may be decided otherwise. */
static int64_t tolerance(const judge *j)
{
    int64_t most = 0;
    while ((double)(j->count - most - 1) >= SPADE_AUTO_AGREEMENT * (double)j->count) { most++; }
    return most;
}

/* Whether the trace keeps the decision on the sample, and on how many variants it does not; no more than `enough` are counted. */
static spade_status try_trace(const judge *j, const spade_trace *trace, int64_t enough, bool *keeps_class,
                              int64_t *misses)
{
    int64_t decisions[STEP];
    *keeps_class = true;
    *misses = 0;
    if (j->sample) {
        SPADE_TRY(decide(j, trace, j->sample, 1, decisions));
        *keeps_class = decisions[0] == j->decisions[j->count];
    }
    for (int64_t first = 0; first < j->count && *misses <= enough; first += STEP) {
        const int64_t n = j->count - first < STEP ? j->count - first : STEP;
        SPADE_TRY(decide(j, trace, j->inputs + first * j->size, n, decisions));
        for (int64_t i = 0; i < n; i++) { *misses += decisions[i] != j->decisions[first + i]; }
    }
    return SPADE_OK;
}

/* ---- candidates of one batch and one of the options */

typedef struct ladder {
    const spade_model *model;
    spade_trace *const *levels; /* [LEVELS] */
    const int *stages;          /* [layers] */
    int stage_count;
    const bool *fixed; /* [layers]: the same at every level */
    int open;          /* prunable layers that are not */
    candidate candidates[CANDIDATES];
    int count;
} ladder;

/* The level at which a candidate has a layer; -1: it is dense. */
static int level_of(const ladder *l, const candidate *c, int layer)
{
    if (!c->scaled || l->fixed[layer] || l->stages[layer] < 0) { return c->level; }
    const int last = l->stage_count - 1;
    return (2 * l->stages[layer] * (c->level + 1) + last) / (2 * last) - 1; /* rounded to the nearest */
}

static int compare_candidates(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->zeros != y->zeros) { return x->zeros < y->zeros ? 1 : -1; }
    if (x->scaled != y->scaled) { return x->scaled ? 1 : -1; }
    return y->level - x->level;
}

static void list_candidates(ladder *l)
{
    for (int i = 0; i < CANDIDATES; i++) {
        candidate c = {.level = i / 2, .scaled = i % 2};
        if (c.scaled && l->stage_count < 2) { continue; }
        for (int layer = 0; layer < l->model->network.layer_count; layer++) {
            const int level = level_of(l, &c, layer);
            c.zeros += level < 0 ? l->model->network.layers[layer].zeros : l->levels[level]->layers[layer].zeros;
        }
        l->candidates[l->count++] = c;
    }
    qsort(l->candidates, (size_t)l->count, sizeof *l->candidates, compare_candidates);
}

static spade_status compose(const ladder *l, const candidate *c, spade_trace *trace)
{
    const spade_network *network = &l->model->network;
    for (int layer = 0; layer < network->layer_count; layer++) {
        const int level = level_of(l, c, layer);
        spade_trace *from = level < 0 ? NULL : l->levels[level];
        if (!from || !spade_weight_override_has(&from->base, layer)) {
            spade_weight_override_drop(&trace->base, layer);
            trace->layers[layer] =
                (spade_trace_layer){.weights = trace->layers[layer].weights, .zeros = network->layers[layer].zeros};
            continue;
        }
        SPADE_TRY(spade_weight_override_copy(&trace->base, &from->base, layer));
        trace->layers[layer] = from->layers[layer];
    }
    return SPADE_OK;
}

static int count_prunable(const spade_model *model)
{
    int count = 0;
    for (int layer = 0; layer < model->network.layer_count; layer++) { count += model->network.layers[layer].prunable; }
    return count;
}

static double find_highest(const ladder *l, const spade_trace *trace)
{
    double highest = 0;
    for (int layer = 0; layer < l->model->network.layer_count; layer++) {
        const spade_trace_layer *found = &trace->layers[layer];
        if (!l->fixed[layer] && found->solved && found->sparsity > highest) { highest = found->sparsity; }
    }
    return highest;
}

/* The first candidate that is good enough; where none is, the one that keeps most. */
static spade_status choose(ladder *l, const judge *j, spade_trace *trace)
{
    const int64_t most = tolerance(j);
    int64_t best_misses = j->count;
    int best = 0, tried = 0;
    bool best_keeps = false, enough = false;
    list_candidates(l);
    for (; tried < l->count && !enough; tried++) {
        bool keeps;
        int64_t misses;
        SPADE_TRY(compose(l, &l->candidates[tried], trace));
        SPADE_TRY(try_trace(j, trace, best_keeps && best_misses > most ? best_misses : j->count, &keeps, &misses));
        enough = keeps && misses <= most;
        if (tried && !enough && (keeps < best_keeps || (keeps == best_keeps && misses >= best_misses))) { continue; }
        best = tried;
        best_keeps = keeps;
        best_misses = misses;
    }
    const candidate *chosen = &l->candidates[best];
    if (best != tried - 1) { SPADE_TRY(compose(l, chosen, trace)); }
    trace->chosen = true;
    trace->choice = (spade_sparsity_choice){.sparsity = spade_sparsity_levels[chosen->level],
                                            .layers = l->open,
                                            .of = count_prunable(l->model),
                                            .highest = find_highest(l, trace),
                                            .scaled = chosen->scaled,
                                            .tried = tried,
                                            .agreement = 1 - (double)best_misses / (double)j->count,
                                            .keeps_class = best_keeps,
                                            .enough = enough};
    return SPADE_OK;
}

/* ---- of several batches and options */

typedef struct search {
    spade_context *context;
    const spade_model *model;
    const spade_batch *const *batches;
    int batch_count;
    const spade_trace_options *options;
    int option_count;
    spade_trace *const *traces; /* [batches, options] */
    spade_trace_options *wide; /* [wide_count]: the options, in place of an automatic one LEVELS with a sparsity each */
    spade_trace **found;       /* [batches, wide_count]; those of levels are our own */
    int wide_count;
    int *stages;
    int stage_count;
} search;

static bool is_automatic(const spade_trace_options *options)
{
    return options->sparsity == SPADE_SPARSITY_AUTO;
}

int spade_trace_count(const spade_trace_options *options)
{
    return is_automatic(options) ? LEVELS + 1 : 1;
}

static spade_status check(const search *s)
{
    spade_layer_options *layers = calloc((size_t)s->model->network.layer_count + 1, sizeof *layers);
    spade_status status = layers ? SPADE_OK : spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory");
    for (int o = 0; o < s->option_count && status == SPADE_OK; o++) {
        status = spade_trace_layer_options(s->context, s->model, &s->options[o], layers);
    }
    free(layers);
    SPADE_TRY(status);
    for (int b = 0; b < s->batch_count; b++) {
        if (s->batches[b]->held_out > 0) { continue; }
        return spade_fail(s->context, SPADE_ERROR_ARGUMENT,
                          "an automatic sparsity needs variants that are held out: call spade_batch_hold_out() first");
    }
    return SPADE_OK;
}

static void close_search(search *s)
{
    for (int b = 0; s->found && b < s->batch_count; b++) {
        for (int w = 0, o = 0; o < s->option_count; o++) {
            if (!is_automatic(&s->options[o])) {
                w++;
                continue;
            }
            for (int end = w + LEVELS; w < end; w++) { spade_trace_destroy(s->found[b * s->wide_count + w]); }
        }
    }
    free(s->wide);
    free(s->found);
    free(s->stages);
}

static spade_status open_search(search *s)
{
    for (int o = 0; o < s->option_count; o++) { s->wide_count += is_automatic(&s->options[o]) ? LEVELS : 1; }
    s->wide = calloc((size_t)s->wide_count, sizeof *s->wide);
    s->found = calloc((size_t)s->batch_count * (size_t)s->wide_count, sizeof(spade_trace *));
    s->stages = calloc((size_t)s->model->network.layer_count + 1, sizeof *s->stages);
    if (!s->wide || !s->found || !s->stages) {
        return spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of %d traces", s->wide_count);
    }
    s->stage_count = spade_model_stages(s->model, s->stages);
    for (int w = 0, o = 0; o < s->option_count; o++) {
        const bool automatic = is_automatic(&s->options[o]);
        for (int level = 0; level < (automatic ? LEVELS : 1); level++, w++) {
            s->wide[w] = s->options[o];
            if (automatic) { s->wide[w].sparsity = spade_sparsity_levels[level]; }
            for (int b = 0; b < s->batch_count; b++) {
                spade_trace **trace = &s->found[b * s->wide_count + w];
                *trace = s->traces[b * s->option_count + o];
                if (automatic) { SPADE_TRY(spade_trace_create_empty(s->context, s->model, trace)); }
            }
        }
    }
    return SPADE_OK;
}

/* found: [LEVELS], of the batch that is judged. */
static spade_status choose_one(const search *s, const judge *j, const spade_trace_options *wide,
                               spade_trace *const *found, spade_trace *trace)
{
    const double start = spade_now();
    int open;
    bool *fixed = calloc((size_t)s->model->network.layer_count + 1, sizeof *fixed);
    if (!fixed) { return spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory"); }
    spade_status status = spade_trace_fixed_layers(s->context, s->model, wide, fixed, &open);
    if (status == SPADE_OK) {
        ladder l = {.model = s->model,
                    .levels = found,
                    .stages = s->stages,
                    .stage_count = s->stage_count,
                    .fixed = fixed,
                    .open = open};
        status = choose(&l, j, trace);
        memcpy(trace->seconds, found[0]->seconds, sizeof trace->seconds);
        trace->seconds[2] += spade_now() - start;
    }
    free(fixed);
    return status;
}

static spade_status choose_for_batch(const search *s, int b)
{
    judge j;
    spade_status status;
    SPADE_GOTO(judge_open(s->context, s->model, s->batches[b], &j));
    for (int w = 0, o = 0; o < s->option_count; o++) {
        if (!is_automatic(&s->options[o])) {
            w++;
            continue;
        }
        SPADE_GOTO(
            choose_one(s, &j, &s->wide[w], &s->found[b * s->wide_count + w], s->traces[b * s->option_count + o]));
        w += LEVELS;
    }
done:
    judge_close(&j);
    return status;
}

/* Where rules fix all layers an automatic sparsity is any: there is nothing to choose. */
static spade_status settle(spade_context *context, const spade_model *model, spade_trace_options *options)
{
    int open;
    if (!is_automatic(options)) { return SPADE_OK; }
    bool *fixed = calloc((size_t)model->network.layer_count + 1, sizeof *fixed);
    if (!fixed) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    const spade_status status = spade_trace_fixed_layers(context, model, options, fixed, &open);
    free(fixed);
    if (status == SPADE_OK && !open) { options->sparsity = spade_sparsity_levels[0]; }
    return status;
}

static spade_status search_settled(search *s)
{
    bool any = false;
    spade_status status = SPADE_OK;
    for (int o = 0; o < s->option_count; o++) { any = any || is_automatic(&s->options[o]); }
    if (!any) {
        return spade_trace_search(s->context, s->batches, s->batch_count, s->options, s->option_count, s->traces);
    }
    SPADE_TRY(check(s));
    SPADE_GOTO(open_search(s));
    SPADE_GOTO(spade_trace_search(s->context, s->batches, s->batch_count, s->wide, s->wide_count, s->found));
    for (int b = 0; b < s->batch_count; b++) { SPADE_GOTO(choose_for_batch(s, b)); }
done:
    close_search(s);
    return status;
}

spade_status spade_trace_search_and_choose(spade_context *context, const spade_batch *const *batches, int batch_count,
                                           const spade_trace_options *options, int option_count,
                                           spade_trace *const *traces)
{
    const spade_model *model = traces[0]->base.model;
    spade_trace_options *settled = calloc((size_t)option_count + 1, sizeof *settled);
    spade_status status;
    if (!settled) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    memcpy(settled, options, sizeof *options * (size_t)option_count);
    for (int o = 0; o < option_count; o++) { SPADE_GOTO(settle(context, model, &settled[o])); }
    status = search_settled(&(search){.context = context,
                                      .model = model,
                                      .batches = batches,
                                      .batch_count = batch_count,
                                      .options = settled,
                                      .option_count = option_count,
                                      .traces = traces});
done:
    free(settled);
    return status;
}
