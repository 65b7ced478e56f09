/*
 * exact.c - SPADE's own solver (OBC): for each problem the inverse of its Hessian; for each row the order in which it
 * loses its groups; for each layer how many groups each row loses; for each row the best weights on what it keeps. The
 * backend does the first, second and fourth; here are memory, the choice of counts and progress.
 *
 * The problems (convolution groups) of one layer choose their counts together, and are solved together. Layers come one
 * after the other: the rows of one are more than enough for all threads, and the matrices are what takes memory.
 */
#include <math.h>

#include "backend/partial_select.h"
#include "solve/solver.h"

/* Multiply-adds of each row being worked on between two reports of progress: about a second. */
static const double WORK_PER_REPORT = 1e11;

/* Memory on the device, with a copy on the host where the host does not see the device's. */
typedef struct mirrored_array {
    void *device, *host;
    size_t bytes;
} mirrored_array;

typedef struct exact_problem {
    spade_solver_problem *source;
    spade_problem *problem;
    int64_t group_columns, groups;  /* b; C, the groups of a row */
    int64_t first_row, first_entry; /* where its rows, and its rows' groups, begin in the layer's lists */
    mirrored_array hessian, inverse, w,
        q; /* [K, K], [K, K], [R, K], [R, K] float64, columns in the order of the groups */
} exact_problem;

typedef struct exact_layer {
    spade_solver_call *call;
    exact_problem *problems;
    int n, solution_count;        /* solutions: of each problem */
    int64_t rows, entries;        /* of all problems; an entry is a group of a row */
    mirrored_array order, losses; /* [entries] */
    int64_t *counts;              /* [rows] */
    void *workspace;              /* device */
    size_t workspace_bytes;
} exact_layer;

typedef spade_status (*row_operation)(spade_device *device, spade_exact_args *problems, int n, void *workspace,
                                      size_t bytes);

static int64_t group_columns(const spade_problem *p)
{
    return p->group == SPADE_GROUP_ELEMENT ? 1 : p->kernel;
}

static double order_work(const spade_problem *p)
{
    double k = (double)p->columns;
    return k * k * k / 3;
}

/* At most: half of the columns go, and half of them stay. */
static double refit_work(const spade_problem *p)
{
    return order_work(p) / 8;
}

double spade_solve_exact_work(const spade_problem *problem)
{
    int solutions = 0;
    for (int i = 0; i < problem->solution_count; i++) { solutions += problem->solutions[i].sparsity != 0; }
    return (double)problem->rows * (order_work(problem) + solutions * refit_work(problem));
}

/* ---- memory */

/* Of the losses of so many groups while counts are chosen among them: a copy to work on, a mark each. */
static uint64_t choice_bytes(uint64_t entries)
{
    return (entries + SPADE_SELECT_MORE) * sizeof(double) + entries;
}

static spade_status open_array(spade_context *context, size_t bytes, const char *what, mirrored_array *out)
{
    const spade_backend *backend = context->device->backend;
    out->bytes = bytes;
    SPADE_TRY(backend->alloc(context->device, bytes, what, &out->device));
    if (backend->host_memory) {
        out->host = out->device;
        return SPADE_OK;
    }
    return spade_alloc(context, bytes, what, &out->host);
}

static void close_array(spade_context *context, mirrored_array *a)
{
    if (a->host != a->device) { spade_free_bytes(context, a->host, a->bytes); }
    if (a->device) { context->device->backend->free(context->device, a->device, a->bytes); }
    *a = (mirrored_array){0};
}

static spade_status upload(spade_context *context, const mirrored_array *a)
{
    if (a->host == a->device) { return SPADE_OK; }
    return context->device->backend->upload(context->device, a->device, a->host, a->bytes);
}

static spade_status download(spade_context *context, const mirrored_array *a)
{
    const spade_backend *backend = context->device->backend;
    if (a->host == a->device) { return SPADE_OK; }
    SPADE_TRY(backend->download(context->device, a->host, a->device, a->bytes));
    return backend->synchronize(context->device);
}

static void close_layer(exact_layer *layer)
{
    spade_context *context = layer->call->context;
    for (int i = 0; i < layer->n; i++) {
        close_array(context, &layer->problems[i].hessian);
        close_array(context, &layer->problems[i].inverse);
        close_array(context, &layer->problems[i].w);
        close_array(context, &layer->problems[i].q);
    }
    close_array(context, &layer->order);
    close_array(context, &layer->losses);
    if (layer->workspace) { context->device->backend->free(context->device, layer->workspace, layer->workspace_bytes); }
    free(layer->counts);
    free(layer->problems);
}

/* Working memory for as many rows as the device works on at once, or as the budget holds beside the choice of counts. */
static spade_status open_workspace(exact_layer *layer)
{
    spade_context *context = layer->call->context;
    const spade_backend *backend = context->device->backend;
    const spade_problem *p = layer->problems[0].problem;
    uint64_t choice = choice_bytes((uint64_t)layer->entries), available = spade_budget_left(context);
    int64_t max_rows = backend->solver->exact_max_rows(context->device),
            rows = layer->rows < max_rows ? layer->rows : max_rows;
    if (layer->rows == 1 && max_rows > 1) { rows = 2; } /* threads may share a row, which takes a second matrix */
    size_t row_bytes = backend->solver->exact_bytes(context->device, p->columns, layer->problems[0].group_columns, 1);
    while (rows > 1 && (uint64_t)rows * row_bytes + choice > available) { rows--; }
    layer->workspace_bytes = row_bytes * (size_t)rows;
    return backend->alloc(context->device, layer->workspace_bytes, "working memory of the exact solver",
                          &layer->workspace);
}

static spade_status open_problem(spade_context *context, exact_problem *problem)
{
    const spade_problem *p = problem->problem;
    size_t h = (size_t)(p->columns * p->columns) * sizeof(double), w = (size_t)(p->rows * p->columns) * sizeof(double);
    SPADE_TRY(open_array(context, h, "a Hessian", &problem->hessian));
    SPADE_TRY(open_array(context, h, "the inverse of a Hessian", &problem->inverse));
    SPADE_TRY(open_array(context, w, "the weights of a layer", &problem->w));
    return open_array(context, w, "the sparse weights of a layer", &problem->q);
}

static spade_status open_layer(exact_layer *layer)
{
    spade_context *context = layer->call->context;
    for (int i = 0; i < layer->n; i++) {
        exact_problem *problem = &layer->problems[i];
        const spade_problem *p = problem->problem;
        problem->group_columns = group_columns(p);
        problem->groups = p->columns / problem->group_columns;
        problem->first_row = layer->rows;
        problem->first_entry = layer->entries;
        layer->rows += p->rows;
        layer->entries += p->rows * problem->groups;
        SPADE_TRY(open_problem(context, problem));
    }
    layer->counts = calloc((size_t)layer->rows + 1, sizeof *layer->counts);
    if (!layer->counts) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: counts of a layer's rows"); }
    SPADE_TRY(
        open_array(context, (size_t)layer->entries * sizeof(int32_t), "the order of a layer's groups", &layer->order));
    return open_array(context, (size_t)layer->entries * sizeof(double), "the losses of a layer's groups",
                      &layer->losses);
}

/* ---- from the problem to its inverse */

/* Column of the problem that is column j in the order of the groups. */
static int64_t source_column(const spade_problem *p, int64_t j)
{
    int64_t channels = p->columns / p->kernel;
    return p->group == SPADE_GROUP_CHANNELS_LAST ? j % channels * p->kernel + j / channels : j;
}

/* Hessian and weights on the device, in the order of the groups, without the weights of dead inputs. */
static spade_status load_problem(const spade_solver_call *call, const exact_problem *problem)
{
    spade_context *context = call->context;
    const spade_problem *p = problem->problem;
    int64_t k = p->columns;
    double *h = problem->hessian.host, *w = problem->w.host;
    const double *source = p->hessian;
    if (!source) { /* read where the inverse will be */
        SPADE_TRY(spade_solver_load_hessian(call, problem->source, problem->inverse.device));
        SPADE_TRY(download(context, &problem->inverse));
        source = problem->inverse.host;
    }
    for (int64_t i = 0; i < k; i++) {
        int64_t row = source_column(p, i);
        for (int64_t j = i; j < k; j++) {
            int64_t column = source_column(p, j);
            h[i * k + j] = row < column ? source[row * k + column] : source[column * k + row];
        }
    }
    for (int64_t r = 0; r < p->rows; r++) {
        for (int64_t j = 0; j < k; j++) {
            w[r * k + j] = h[j * (k + 1)] == 0.0 ? 0.0 : p->dense[r * k + source_column(p, j)];
        }
    }
    SPADE_TRY(upload(context, &problem->hessian));
    return upload(context, &problem->w);
}

static bool weights_are_finite(const exact_problem *problem)
{
    const double *w = problem->w.host;
    double sum = 0; /* NaN as soon as one number is not finite: 0 * x is 0 for every finite x */
    for (int64_t i = 0; i < problem->problem->rows * problem->problem->columns; i++) { sum += 0.0 * w[i]; }
    return !isnan(sum);
}

/* Dead inputs and damping of all. */
static spade_status damp_layer(exact_layer *layer)
{
    spade_context *context = layer->call->context;
    spade_device *device = context->device;
    size_t bytes =
        (size_t)layer->problems[0].problem->columns; /* of what nobody reads: the weights are 0 there already */
    void *dead = NULL;
    spade_damp_args *args = calloc((unsigned)layer->n, sizeof *args);
    if (!args) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d Hessians", layer->n); }
    spade_status status = SPADE_OK;
    SPADE_GOTO(device->backend->alloc(device, bytes, "dead inputs", &dead));
    for (int i = 0; i < layer->n; i++) {
        args[i] = (spade_damp_args){.k = layer->problems[i].problem->columns,
                                    .damping = layer->problems[i].source->options.damping,
                                    .hessian = layer->problems[i].hessian.device,
                                    .dead = dead};
    }
    SPADE_GOTO(device->backend->solver->damp(device, args, layer->n));
    SPADE_GOTO(device->backend->synchronize(device));
    for (int i = 0; i < layer->n; i++) {
        bool good = args[i].status == SPADE_OK && weights_are_finite(&layer->problems[i]);
        layer->problems[i].problem->status = good ? SPADE_OK : SPADE_ERROR_NUMERICAL;
    }
done:
    if (dead) { device->backend->free(device, dead, bytes); }
    free(args);
    return status;
}

/* Working memory of factor and inverse. */
static size_t inverse_bytes(spade_device *device, int64_t k)
{
    size_t factor = device->backend->solver->factor_workspace_bytes(device, k);
    size_t inverse = device->backend->solver->inverse_workspace_bytes(device, k);
    return factor > inverse ? factor : inverse;
}

static spade_status invert_layer(exact_layer *layer)
{
    spade_context *context = layer->call->context;
    spade_device *device = context->device;
    size_t each = inverse_bytes(device, layer->problems[0].problem->columns), bytes = each * (size_t)layer->n;
    char *workspace = NULL;
    double start = spade_stage_clock(context);
    spade_factor_args *args = calloc((unsigned)layer->n, sizeof *args);
    if (!args) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d factors", layer->n); }
    spade_status status = SPADE_OK;
    SPADE_GOTO(device->backend->alloc(device, bytes, "working memory of an inverse", (void **)&workspace));
    for (int i = 0; i < layer->n; i++) {
        const exact_problem *problem = &layer->problems[i];
        SPADE_GOTO(
            device->backend->copy(device, problem->inverse.device, problem->hessian.device, problem->hessian.bytes));
        args[i] = (spade_factor_args){.k = problem->problem->columns,
                                      .hessian = problem->inverse.device,
                                      .workspace = workspace + (size_t)i * each};
    }
    SPADE_GOTO(device->backend->solver->factor(device, args, layer->n));
    SPADE_GOTO(device->backend->synchronize(device));
    bool good = true;
    for (int i = 0; i < layer->n; i++) {
        layer->problems[i].problem->status = args[i].status;
        good = good && args[i].status == SPADE_OK;
    }
    if (good) { SPADE_GOTO(device->backend->solver->inverse(device, args, layer->n)); }
    spade_stage_done(context, SPADE_STAGE_FACTOR, spade_stage_clock(context) - start);
done:
    if (workspace) { device->backend->free(device, workspace, bytes); }
    free(args);
    return status;
}

static bool has_failed(const exact_layer *layer)
{
    for (int i = 0; i < layer->n; i++) {
        if (layer->problems[i].problem->status != SPADE_OK) { return true; }
    }
    return false;
}

uint64_t spade_solve_exact_bytes(const spade_context *context, const spade_problem *p, int64_t problems)
{
    spade_device *device = context->device;
    uint64_t n = (uint64_t)problems, copies = device->backend->host_memory ? 1 : 2;
    int64_t group = group_columns(p);
    uint64_t entries = (uint64_t)(p->rows * (p->columns / group));
    uint64_t each = (uint64_t)(2 * p->columns * p->columns + 2 * p->rows * p->columns) * sizeof(double) +
                    entries * (sizeof(int32_t) + sizeof(double));
    uint64_t inverse = n * inverse_bytes(device, p->columns);
    uint64_t order = device->backend->solver->exact_bytes(device, p->columns, group, 1) + choice_bytes(n * entries);
    return copies * n * each + (order > inverse ? order : inverse);
}

/* ---- rows, some at a time, so that progress is reported between */

static spade_exact_args rows_of(const exact_layer *layer, const exact_problem *problem, int64_t first, int64_t count)
{
    int64_t k = problem->problem->columns, entry = problem->first_entry + first * problem->groups;
    return (spade_exact_args){.rows = count,
                              .columns = k,
                              .group = problem->group_columns,
                              .inverse = problem->inverse.device,
                              .hessian = problem->hessian.device,
                              .w = (double *)problem->w.device + first * k,
                              .order = (int32_t *)layer->order.device + entry,
                              .losses = (double *)layer->losses.device + entry,
                              .counts = layer->counts + problem->first_row + first,
                              .q = (double *)problem->q.device + first * k};
}

/* The next rows of the layer's problems, up to `max_work`: args[0 .. returned), each a range of one problem's rows, and
 * whose they are. *index and *first: where the layer is continued. */
static int next_ranges(const exact_layer *layer, double (*work_of)(const spade_problem *), double max_work,
                       int64_t step, int *index, int64_t *first, spade_exact_args *args, int *owners, double *work)
{
    int ranges = 0;
    *work = 0;
    while (*index < layer->n && *work < max_work) {
        const exact_problem *problem = &layer->problems[*index];
        double row_work = work_of(problem->problem);
        int64_t remaining = problem->problem->rows - *first;
        int64_t fitting = ((int64_t)((max_work - *work) / row_work) + step) / step * step;
        int64_t count = fitting < remaining ? fitting : remaining;
        args[ranges] = rows_of(layer, problem, *first, count);
        owners[ranges++] = *index;
        *work += row_work * (double)count;
        *first += count;
        if (*first == problem->problem->rows) {
            *first = 0;
            ++*index;
        }
    }
    return ranges;
}

static spade_status run_rows(const exact_layer *layer, row_operation operation,
                             double (*work_of)(const spade_problem *))
{
    spade_solver_call *call = layer->call;
    spade_device *device = call->device;
    spade_exact_args *args = calloc((unsigned)layer->n, sizeof *args);
    int *owners = calloc((unsigned)layer->n, sizeof *owners), index = 0;
    int64_t first = 0, max_rows = device->backend->solver->exact_max_rows(device);
    double start = spade_stage_clock(call->context);
    spade_status status = SPADE_OK;
    if (!args || !owners) {
        status = spade_fail(call->context, SPADE_ERROR_MEMORY, "out of memory: list of rows");
        goto done;
    }
    while (index < layer->n) {
        double work, max_work = WORK_PER_REPORT * (double)max_rows;
        int ranges = next_ranges(layer, work_of, max_work, max_rows, &index, &first, args, owners, &work);
        SPADE_GOTO(operation(device, args, ranges, layer->workspace, layer->workspace_bytes));
        SPADE_GOTO(device->backend->synchronize(device));
        for (int i = 0; i < ranges; i++) {
            if (args[i].status != SPADE_OK) { layer->problems[owners[i]].problem->status = args[i].status; }
        }
        call->work_done += work;
        spade_report_progress(call->context, "solve", call->work_done, call->work_total);
    }
    spade_stage_done(call->context, SPADE_STAGE_SWEEP, spade_stage_clock(call->context) - start);
done:
    free(args);
    free(owners);
    return status;
}

/* ---- how many groups each row loses */

static spade_status choose_counts(const exact_layer *layer, double sparsity)
{
    spade_context *context = layer->call->context;
    void *scratch = NULL, *mask = NULL;
    size_t entries = (size_t)layer->entries, bytes = (entries + SPADE_SELECT_MORE) * sizeof(double);
    spade_status status = SPADE_OK;
    SPADE_GOTO(spade_alloc(context, bytes, "the choice of counts", &scratch));
    SPADE_GOTO(spade_alloc(context, entries, "the choice of counts", &mask));
    int64_t total = (int64_t)ceil((double)layer->entries * sparsity);
    spade_select_lowest(layer->losses.host, 1, layer->entries, 1, total, scratch, mask);
    for (int i = 0; i < layer->n; i++) {
        const exact_problem *problem = &layer->problems[i];
        for (int64_t r = 0; r < problem->problem->rows; r++) {
            const uint8_t *pruned = (const uint8_t *)mask + problem->first_entry + r * problem->groups;
            int64_t count = 0;
            for (int64_t t = 0; t < problem->groups; t++) { count += pruned[t]; }
            layer->counts[problem->first_row + r] = count;
        }
    }
done:
    spade_free_bytes(context, scratch, bytes);
    spade_free_bytes(context, mask, entries);
    return status;
}

/* The weights of one problem, back in the order of the problem's columns. */
static void store_solution(const exact_layer *layer, const exact_problem *problem, spade_solution *solution)
{
    spade_problem *p = problem->problem;
    int64_t k = p->columns;
    const double *q = problem->q.host, *losses = (const double *)layer->losses.host + problem->first_entry;
    solution->loss = 0;
    solution->zeros = 0;
    for (int64_t r = 0; r < p->rows; r++) {
        for (int64_t t = 0; t < layer->counts[problem->first_row + r]; t++) {
            solution->loss += losses[r * problem->groups + t];
        }
        for (int64_t j = 0; j < k; j++) {
            float value = (float)q[r * k + j];
            if (!isfinite(value)) { p->status = SPADE_ERROR_NUMERICAL; }
            solution->zeros += value == 0.0f;
            solution->sparse[r * k + source_column(p, j)] = value;
        }
    }
    if (!isfinite(solution->loss)) { p->status = SPADE_ERROR_NUMERICAL; }
    if (solution->counts) {
        memcpy(solution->counts, layer->counts + problem->first_row, (size_t)p->rows * sizeof *solution->counts);
    }
}

static spade_status solve_solution(exact_layer *layer, int s)
{
    spade_context *context = layer->call->context;
    if (layer->problems[0].problem->solutions[s].sparsity == 0) {
        for (int i = 0; i < layer->n; i++) {
            spade_problem *p = layer->problems[i].problem;
            spade_solution_keep_dense(p, &p->solutions[s]);
        }
        return SPADE_OK;
    }
    SPADE_TRY(choose_counts(layer, layer->problems[0].problem->solutions[s].sparsity));
    SPADE_TRY(run_rows(layer, context->device->backend->solver->refit, refit_work));
    if (has_failed(layer)) { return SPADE_OK; }
    for (int i = 0; i < layer->n; i++) {
        SPADE_TRY(download(context, &layer->problems[i].q));
        store_solution(layer, &layer->problems[i], &layer->problems[i].problem->solutions[s]);
    }
    return SPADE_OK;
}

/* ---- layers */

static void store_order(const exact_layer *layer)
{
    for (int i = 0; i < layer->n; i++) {
        const exact_problem *problem = &layer->problems[i];
        size_t entries = (size_t)(problem->problem->rows * problem->groups);
        const int32_t *order = (const int32_t *)layer->order.host + problem->first_entry;
        const double *losses = (const double *)layer->losses.host + problem->first_entry;
        if (problem->problem->order) { memcpy(problem->problem->order, order, entries * sizeof *order); }
        if (problem->problem->losses) { memcpy(problem->problem->losses, losses, entries * sizeof *losses); }
    }
}

static spade_status run_layer(exact_layer *layer)
{
    spade_context *context = layer->call->context;
    SPADE_TRY(open_layer(layer));
    for (int i = 0; i < layer->n; i++) { SPADE_TRY(load_problem(layer->call, &layer->problems[i])); }
    SPADE_TRY(damp_layer(layer));
    if (has_failed(layer)) { return SPADE_OK; }
    SPADE_TRY(invert_layer(layer));
    if (has_failed(layer)) { return SPADE_OK; }
    SPADE_TRY(open_workspace(layer));
    SPADE_TRY(run_rows(layer, context->device->backend->solver->eliminate, order_work));
    if (has_failed(layer)) { return SPADE_OK; }
    SPADE_TRY(download(context, &layer->order));
    SPADE_TRY(download(context, &layer->losses));
    store_order(layer);
    for (int s = 0; s < layer->solution_count && !has_failed(layer); s++) { SPADE_TRY(solve_solution(layer, s)); }
    return SPADE_OK;
}

static bool is_wanted(const spade_problem *p)
{
    return p->solver == SPADE_SOLVER_EXACT && spade_problem_prunes(p);
}

static bool can_choose_together(const spade_problem *a, const spade_problem *b)
{
    bool same = a->columns == b->columns && a->kernel == b->kernel && a->group == b->group &&
                a->solution_count == b->solution_count;
    for (int i = 0; same && i < a->solution_count; i++) { same = a->solutions[i].sparsity == b->solutions[i].sparsity; }
    return same;
}

/* The layer whose first problem is call->problems[first]: that and the later ones with its layer_id. */
static spade_status gather_layer(spade_solver_call *call, int first, exact_layer *out)
{
    const spade_problem *p = call->problems[first].problem;
    const int end = p->layer_id > 0 ? call->count : first + 1;
    *out = (exact_layer){.call = call,
                         .problems = calloc((size_t)(end - first), sizeof *out->problems),
                         .solution_count = p->solution_count};
    if (!out->problems) {
        return spade_fail(call->context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", end - first);
    }
    for (int i = first; i < end; i++) {
        spade_solver_problem *other = &call->problems[i];
        if (!is_wanted(other->problem) || other->problem->layer_id != p->layer_id) { continue; }
        if (!can_choose_together(p, other->problem)) {
            return spade_fail(call->context, SPADE_ERROR_ARGUMENT,
                              "problems %d and %d choose their counts together but differ in size, group or sparsities",
                              first, i);
        }
        other->gathered = true;
        out->problems[out->n++] = (exact_problem){.source = other, .problem = other->problem};
    }
    return SPADE_OK;
}

static spade_status solve_layer(spade_solver_call *call, int first)
{
    exact_layer layer;
    double start = spade_now();
    spade_status status;
    SPADE_GOTO(gather_layer(call, first, &layer));
    SPADE_GOTO(run_layer(&layer));
    double seconds_per_row = (spade_now() - start) / (double)layer.rows;
    for (int i = 0; i < layer.n; i++) {
        layer.problems[i].problem->seconds = seconds_per_row * (double)layer.problems[i].problem->rows;
    }
    for (int i = 0; i < layer.n; i++) { SPADE_GOTO(spade_solver_problem_done(call, layer.problems[i].source)); }
done:
    close_layer(&layer);
    return status;
}

spade_status spade_solve_exact(spade_solver_call *call)
{
    for (int i = 0; i < call->count; i++) {
        const spade_solver_problem *problem = &call->problems[i];
        if (is_wanted(problem->problem) && !problem->gathered) { SPADE_TRY(solve_layer(call, i)); }
    }
    return SPADE_OK;
}
