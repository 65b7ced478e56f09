/*
 * find.c - from a batch to sparse weights. A pass runs the batch once for as many layers as the budget holds
 * accumulators for, then solves them. How the layers fall into passes changes no result: each layer's Hessian is the
 * same sum in the same order. A layer that is done goes to the checkpoint at once; layers that are there already are
 * not searched again.
 */
#include "hessian/hessians.h"
#include "solve/schedule.h"
#include "trace/checkpoint.h"

typedef struct search {
    spade_context *context;
    spade_trace *trace;
    const spade_graph *graph;
    const spade_batch *batch;
    const spade_trace_options *options;
    spade_checkpoint checkpoint;
    double *sparsities; /* [layers] */
    uint64_t *keys;     /* [layers] in the checkpoint */
    int *layers;        /* to be solved, in graph order */
    int count;
} search;

/* One pass's problems: problem p is group `group[p]` of accumulator `slot[p]`, which is of layer `layers[slot[p]]`. */
typedef struct problem_list {
    const search *search;
    const int *layers;
    const spade_hessians *hessians;
    spade_problem *problems;
    spade_solution *solutions; /* one a problem */
    int *slot;
    int64_t *group;
    int64_t *first, *left; /* by slot: its first problem; groups that are not solved yet */
    int count;
} problem_list;

static spade_status fetch(void *user, int problem, double *hessian)
{
    const problem_list *list = user;
    return spade_hessian_read(list->hessians, list->slot[problem], list->group[problem], hessian);
}

/* Group `group` of a layer, with one solution. */
static spade_problem layer_problem(const search *s, int layer, int64_t group, spade_solution *solution)
{
    const spade_layer *l = &s->graph->layers[layer];
    int64_t rows = l->rows / l->groups;
    return (spade_problem){.rows = rows,
                           .columns = l->columns,
                           .block = spade_trace_block(l, s->options),
                           .kernel = l->convolution ? l->weight[2] * l->weight[3] : 1,
                           .solver = s->options->solver,
                           .group = s->options->group,
                           .dense = l->weights + group * rows * l->columns,
                           .stream = (uint64_t)layer << 32 | (uint64_t)group,
                           .pool = layer + 1,
                           .solutions = solution,
                           .solution_count = 1};
}

/* The checkpoint's key of s->layers[i]; to be asked before any is left out. */
static uint64_t layer_key(const search *s, int i)
{
    int64_t tap;
    int source = spade_hessian_source(s->graph, s->layers, s->count, i, &tap), layer = s->layers[i];
    spade_solution solution = {.sparsity = s->sparsities[layer]};
    spade_problem problem = layer_problem(s, layer, 0, &solution);
    const int64_t sums[] = {tap < 0 ? -1 : s->layers[source], tap};
    return spade_checkpoint_key(&s->checkpoint, s->options, &problem, sums);
}

/* ---- how many layers a pass takes */

static uint64_t solve_bytes(const search *s, int layer)
{
    spade_solution solution = {.sparsity = s->sparsities[layer]};
    spade_problem p = layer_problem(s, layer, 0, &solution);
    if (p.solver == SPADE_SOLVER_EXACT) {
        return spade_solve_exact_bytes(s->context, &p, s->graph->layers[layer].groups);
    }
    return spade_solve_workspace(s->context, &p);
}

/* Layers from `first` on whose accumulators and largest solve fit the budget; at least one. */
static int pass_size(const search *s, int first, int limit)
{
    uint64_t left = spade_budget_left(s->context), bytes = 0, largest = 0;
    int n = 0;
    for (; first + n < s->count && n < limit; n++) {
        int layer = s->layers[first + n];
        bytes += spade_hessian_bytes(s->trace->base.model, layer, s->options->hessian);
        if (solve_bytes(s, layer) > largest) { largest = solve_bytes(s, layer); }
        if (n && bytes + largest > left) { break; }
    }
    return n;
}

/* Not even one layer fits: say what would do for all of them, one at a time. */
static spade_status explain_budget(const search *s, int layer)
{
    const spade_model *model = s->trace->base.model;
    spade_precision precision = s->options->hessian;
    int64_t dims[4];
    uint64_t pass = 0, need = 0;
    spade_batch_shape(s->batch, dims);
    SPADE_TRY(spade_hessian_need(s->context, model, s->batch, &layer, 1, precision, &pass));
    uint64_t fixed = pass - spade_hessian_bytes(model, layer, precision) -
                     spade_hessian_workspace_bytes(model, layer, dims[0], precision);
    for (int i = 0; i < s->count; i++) {
        int l = s->layers[i];
        uint64_t update = fixed + spade_hessian_workspace_bytes(model, l, dims[0], precision),
                 solve = solve_bytes(s, l);
        uint64_t bytes = spade_hessian_bytes(model, l, precision) + (update > solve ? update : solve);
        if (bytes > need) { need = bytes; }
    }
    char budget[32];
    double megabytes = ((double)s->context->used + (double)need) / 1048576.0 + 1.0;
    return spade_fail(
        s->context, SPADE_ERROR_MEMORY,
        "the memory budget of %s does not hold the trace, not even layer by layer (%s); --memory %.0fM would",
        spade_format_bytes(s->context->budget, budget), s->graph->layers[layer].name, megabytes);
}

/* ---- solving what a pass has accumulated */

static void free_problems(problem_list *list)
{
    free(list->problems);
    free(list->solutions);
    free(list->slot);
    free(list->group);
    free(list->first);
    free(list->left);
}

static spade_status make_problems(const search *s, const int *layers, int count, const spade_hessians *hessians,
                                  problem_list *list)
{
    size_t total = 0;
    for (int i = 0; i < count; i++) { total += (size_t)s->graph->layers[layers[i]].groups; }
    *list = (problem_list){.search = s, .layers = layers, .hessians = hessians};
    list->problems = calloc(total + 1, sizeof *list->problems);
    list->solutions = calloc(total + 1, sizeof *list->solutions);
    list->slot = calloc(total + 1, sizeof *list->slot);
    list->group = calloc(total + 1, sizeof *list->group);
    list->first = calloc((size_t)count + 1, sizeof *list->first);
    list->left = calloc((size_t)count + 1, sizeof *list->left);
    if (!list->problems || !list->solutions || !list->slot || !list->group || !list->first || !list->left) {
        return spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of %zu problems", total);
    }
    for (int i = 0; i < count; i++) {
        const spade_layer *l = &s->graph->layers[layers[i]];
        list->first[i] = list->count;
        list->left[i] = l->groups;
        for (int64_t g = 0; g < l->groups; g++) {
            int at = list->count++;
            int64_t rows = l->rows / l->groups, offset = g * rows * l->columns;
            list->slot[at] = i;
            list->group[at] = g;
            list->solutions[at] = (spade_solution){.sparsity = s->sparsities[layers[i]],
                                                   .sparse = s->trace->base.overlay[layers[i]] + offset};
            list->problems[at] = layer_problem(s, layers[i], g, &list->solutions[at]);
        }
    }
    return SPADE_OK;
}

static spade_status name_failure(const search *s, const int *layers, const problem_list *list, spade_status status)
{
    for (int p = 0; p < list->count; p++) {
        if (list->problems[p].status == SPADE_OK) { continue; }
        const spade_layer *l = &s->graph->layers[layers[list->slot[p]]];
        return spade_fail(
            s->context, list->problems[p].status,
            "layer %s, group %lld: the Hessian [%lld, %lld] is not positive definite or not finite, even when damped",
            l->name, (long long)list->group[p], (long long)l->columns, (long long)l->columns);
    }
    return status;
}

/* All groups of a layer are solved: sums in the order of the groups, then to the checkpoint. */
static void finish_layer(const problem_list *list, int slot)
{
    const search *s = list->search;
    int layer = list->layers[slot];
    const spade_layer *l = &s->graph->layers[layer];
    spade_trace_layer *info = &s->trace->layers[layer];
    info->zeros = 0;
    info->loss = info->seconds = 0;
    for (int64_t p = list->first[slot]; p < list->first[slot] + l->groups; p++) {
        info->zeros += list->solutions[p].zeros;
        info->loss += list->solutions[p].loss;
        info->seconds += list->problems[p].seconds;
    }
    info->solved = true;
    spade_checkpoint_save(&s->checkpoint, l, s->keys[layer], s->trace->base.overlay[layer], info);
}

static void done(void *user, int problem)
{
    const problem_list *list = user;
    if (--list->left[list->slot[problem]] == 0) { finish_layer(list, list->slot[problem]); }
}

static spade_status solve_pass(const search *s, const int *layers, int count, const spade_hessians *hessians)
{
    problem_list list;
    double start = spade_now();
    spade_status status = make_problems(s, layers, count, hessians, &list);
    if (status == SPADE_OK) {
        status = spade_solve_fetched(s->context, &s->options->solve, list.problems, list.count, fetch, done, &list);
        if (status == SPADE_ERROR_NUMERICAL) { status = name_failure(s, layers, &list, status); }
    }
    free_problems(&list);
    s->trace->seconds[2] += spade_now() - start;
    return status;
}

static spade_status run_passes(const search *s)
{
    int limit = s->count;
    for (int first = 0, n = 0; first < s->count; first += n) {
        n = pass_size(s, first, limit);
        spade_hessians *hessians = NULL;
        spade_status status = SPADE_ERROR_MEMORY;
        /* the estimate leaves out the network's own plan: halve until everything fits, which is known before any work
         */
        for (;; limit = n /= 2) {
            status = spade_hessian_accumulate(s->context, s->trace->base.model, s->batch, s->layers + first, n,
                                              s->options->hessian, &hessians);
            if (status != SPADE_ERROR_MEMORY || n == 1) { break; }
        }
        if (status == SPADE_OK) {
            s->trace->seconds[0] += hessians->forward_seconds;
            s->trace->seconds[1] += hessians->update_seconds;
            status = solve_pass(s, s->layers + first, n, hessians);
        }
        spade_hessians_destroy(hessians);
        if (status == SPADE_ERROR_MEMORY && n == 1 && s->context->budget != UINT64_MAX) {
            return explain_budget(s, s->layers[first]);
        }
        SPADE_TRY(status);
    }
    return SPADE_OK;
}

/*
 * Take from the checkpoint what is there; s->layers keeps the rest. A layer whose sums are a part of a larger kernel's
 * needs that layer in its pass, or its last bits would be others: then both are searched.
 */
static spade_status resume(search *s)
{
    int wanted = s->count;
    bool *loaded = calloc((size_t)wanted + 1, sizeof *loaded);
    if (!loaded) { return spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of layers"); }
    for (int i = 0; i < wanted; i++) {
        int layer = s->layers[i];
        loaded[i] = spade_checkpoint_load(&s->checkpoint, &s->graph->layers[layer], s->keys[layer],
                                          s->trace->base.overlay[layer], &s->trace->layers[layer]);
    }
    for (int i = 0; i < wanted; i++) {
        int64_t tap;
        int source = spade_hessian_source(s->graph, s->layers, wanted, i, &tap);
        if (!loaded[i] && tap >= 0 && loaded[source]) {
            loaded[source] = false;
            s->trace->layers[s->layers[source]].resumed = false;
        }
    }
    s->count = 0;
    for (int i = 0; i < wanted; i++) {
        if (!loaded[i]) { s->layers[s->count++] = s->layers[i]; }
    }
    free(loaded);
    return SPADE_OK;
}

/* The layers to search, in graph order, with room for their weights. */
static spade_status list_layers(search *s)
{
    for (int l = 0; l < s->graph->layer_count; l++) {
        s->trace->layers[l].sparsity = s->sparsities[l];
        if (s->sparsities[l] == 0) { continue; }
        SPADE_TRY(spade_trace_reserve(s->context, s->trace, l));
        s->layers[s->count++] = l;
    }
    for (int i = 0; s->checkpoint.folder && i < s->count; i++) { s->keys[s->layers[i]] = layer_key(s, i); }
    return s->checkpoint.folder ? resume(s) : SPADE_OK;
}

spade_status spade_trace_find(spade_context *context, spade_trace *trace, const spade_batch *batch,
                              const spade_trace_options *options)
{
    const spade_model *model = trace->base.model;
    search s = {.context = context, .trace = trace, .graph = &model->graph, .batch = batch, .options = options};
    size_t all = (size_t)s.graph->layer_count + 1;
    spade_status status = SPADE_OK;
    s.sparsities = calloc(all, sizeof *s.sparsities);
    s.layers = calloc(all, sizeof *s.layers);
    s.keys = calloc(all, sizeof *s.keys);
    if (!s.sparsities || !s.layers || !s.keys) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers"));
    }
    SPADE_GOTO(spade_trace_select(context, model, options, s.sparsities));
    SPADE_GOTO(spade_checkpoint_open(context, options->checkpoint, model, batch, &s.checkpoint));
    SPADE_GOTO(list_layers(&s));
    SPADE_GOTO(run_passes(&s));
done:
    free(s.sparsities);
    free(s.layers);
    free(s.keys);
    return status;
}
