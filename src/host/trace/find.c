/*
 * find.c - from a batch to sparse weights. A pass runs the batch once for as many layers as the budget holds
 * accumulators for, then solves them. How the layers fall into passes changes no result: each layer's Hessian is the
 * same sum in the same order.
 */
#include "hessian/hessians.h"
#include "solve/schedule.h"
#include "trace/trace_stage.h"

typedef struct search {
    spade_context *context;
    spade_trace *trace;
    const spade_graph *graph;
    const spade_batch *batch;
    const spade_trace_options *options;
    double *sparsities; /* [layers] */
    int *layers;        /* to be solved, in graph order */
    int count;
} search;

/* One pass's problems: problem p is group `group[p]` of accumulator `slot[p]`. */
typedef struct problem_list {
    const spade_hessians *hessians;
    spade_problem *problems;
    spade_solution *solutions; /* one a problem */
    int *slot;
    int64_t *group;
    int count;
} problem_list;

static spade_status fetch(void *user, int problem, double *hessian)
{
    const problem_list *list = user;
    return spade_hessian_read(list->hessians, list->slot[problem], list->group[problem], hessian);
}

/* ---- how many layers a pass takes */

static uint64_t solve_bytes(const search *s, int layer)
{
    const spade_layer *l = &s->graph->layers[layer];
    spade_problem problem = {.rows = l->rows / l->groups,
                             .columns = l->columns,
                             .block = spade_trace_block(l, s->options),
                             .solver = s->options->solver};
    return spade_solve_workspace(s->context, &problem);
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
}

static spade_status make_problems(const search *s, const int *layers, int count, const spade_hessians *hessians,
                                  problem_list *list)
{
    size_t total = 0;
    for (int i = 0; i < count; i++) { total += (size_t)s->graph->layers[layers[i]].groups; }
    *list = (problem_list){.hessians = hessians};
    list->problems = calloc(total + 1, sizeof *list->problems);
    list->solutions = calloc(total + 1, sizeof *list->solutions);
    list->slot = calloc(total + 1, sizeof *list->slot);
    list->group = calloc(total + 1, sizeof *list->group);
    if (!list->problems || !list->solutions || !list->slot || !list->group) {
        return spade_fail(s->context, SPADE_ERROR_MEMORY, "out of memory: list of %zu problems", total);
    }
    for (int i = 0; i < count; i++) {
        const spade_layer *l = &s->graph->layers[layers[i]];
        for (int64_t g = 0; g < l->groups; g++) {
            int at = list->count++;
            int64_t rows = l->rows / l->groups, offset = g * rows * l->columns;
            list->slot[at] = i;
            list->group[at] = g;
            list->solutions[at] = (spade_solution){.sparsity = s->sparsities[layers[i]],
                                                   .sparse = s->trace->base.overlay[layers[i]] + offset};
            list->problems[at] = (spade_problem){.rows = rows,
                                                 .columns = l->columns,
                                                 .block = spade_trace_block(l, s->options),
                                                 .kernel = l->convolution ? l->weight[2] * l->weight[3] : 1,
                                                 .solver = s->options->solver,
                                                 .dense = l->weights + offset,
                                                 .stream = (uint64_t)layers[i] << 32 | (uint64_t)g,
                                                 .solutions = &list->solutions[at],
                                                 .solution_count = 1};
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

static spade_status solve_pass(const search *s, const int *layers, int count, const spade_hessians *hessians)
{
    problem_list list;
    double start = spade_now();
    spade_status status = make_problems(s, layers, count, hessians, &list);
    if (status == SPADE_OK) {
        status = spade_solve_fetched(s->context, &s->options->solve, list.problems, list.count, fetch, &list);
        if (status == SPADE_ERROR_NUMERICAL) { status = name_failure(s, layers, &list, status); }
    }
    for (int p = 0; status == SPADE_OK && p < list.count; p++) {
        spade_trace_layer *info = &s->trace->layers[layers[list.slot[p]]];
        info->zeros = (list.group[p] ? info->zeros : 0) + list.solutions[p].zeros;
        info->loss += list.solutions[p].loss;
        info->seconds += list.problems[p].seconds;
        info->solved = true;
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

spade_status spade_trace_find(spade_context *context, spade_trace *trace, const spade_batch *batch,
                              const spade_trace_options *options)
{
    const spade_model *model = trace->base.model;
    search s = {.context = context, .trace = trace, .graph = &model->graph, .batch = batch, .options = options};
    size_t all = (size_t)s.graph->layer_count + 1;
    spade_status status = SPADE_OK;
    s.sparsities = calloc(all, sizeof *s.sparsities);
    s.layers = calloc(all, sizeof *s.layers);
    if (!s.sparsities || !s.layers) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers"));
    }
    SPADE_GOTO(spade_trace_select(context, model, options, s.sparsities));
    for (int l = 0; l < s.graph->layer_count; l++) {
        trace->layers[l].sparsity = s.sparsities[l];
        if (s.sparsities[l] == 0) { continue; }
        SPADE_GOTO(spade_trace_reserve(context, trace, l));
        s.layers[s.count++] = l;
    }
    SPADE_GOTO(run_passes(&s));
done:
    free(s.sparsities);
    free(s.layers);
    return status;
}
