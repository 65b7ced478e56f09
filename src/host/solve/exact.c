/*
 * exact.c - SPADE's own solver (OBC): for each problem the inverse of its Hessian, for each row the order in which it
 * loses its groups, for each layer the choice of how many, for each row the best weights on what it keeps. The backend
 * does the first, second and fourth; here are memory, the choice and progress.
 *
 * A pool is what chooses together: the problems (convolution groups) of one layer. It is solved as a whole, pools one
 * after the other: the rows of one are more than enough for all threads, and its matrices are what takes memory.
 */
#include <math.h>

#include "backend/partial_select.h"
#include "solve/schedule.h"

/* Multiply-adds of a row in the works between two reports of progress: about a second. */
static const double WORK_A_REPORT = 1e11;

/* Memory on the device, and where the host sees it. */
typedef struct array {
    void *device, *host;
    size_t bytes;
} array;

typedef struct member {
    spade_problem *problem;
    int index;                    /* in the caller's list */
    int64_t group, groups;        /* b, C */
    int64_t row, entry;           /* of its first row, of its first group's loss, in the pool's lists */
    array hessian, inverse, w, q; /* [K, K], [K, K], [R, K], [R, K] float64, in the order of the groups */
} member;

typedef struct pool {
    spade_exact_call *call;
    member *members;
    int n;
    int64_t rows, entries;
    array order, losses; /* [entries] */
    int64_t *counts;     /* [rows] */
    void *workspace;     /* device */
    size_t workspace_bytes;
} pool;

typedef spade_status (*row_operation)(spade_device *device, spade_exact_args *problems, int n, void *workspace,
                                      size_t bytes);

int64_t spade_solve_exact_group(const spade_problem *problem)
{
    return problem->group == SPADE_GROUP_ELEMENT ? 1 : problem->kernel;
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

static spade_status open_array(spade_context *context, size_t bytes, const char *what, array *out)
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

static void close_array(spade_context *context, array *a)
{
    if (a->host != a->device) { spade_free_bytes(context, a->host, a->bytes); }
    if (a->device) { context->device->backend->free(context->device, a->device, a->bytes); }
    *a = (array){0};
}

static spade_status upload(spade_context *context, const array *a)
{
    if (a->host == a->device) { return SPADE_OK; }
    return context->device->backend->upload(context->device, a->device, a->host, a->bytes);
}

static spade_status download(spade_context *context, const array *a)
{
    const spade_backend *backend = context->device->backend;
    if (a->host == a->device) { return SPADE_OK; }
    SPADE_TRY(backend->download(context->device, a->host, a->device, a->bytes));
    return backend->synchronize(context->device);
}

static void close_pool(pool *l)
{
    spade_context *context = l->call->context;
    for (int i = 0; i < l->n; i++) {
        close_array(context, &l->members[i].hessian);
        close_array(context, &l->members[i].inverse);
        close_array(context, &l->members[i].w);
        close_array(context, &l->members[i].q);
    }
    close_array(context, &l->order);
    close_array(context, &l->losses);
    if (l->workspace) { context->device->backend->free(context->device, l->workspace, l->workspace_bytes); }
    free(l->counts);
    free(l->members);
}

/* Working memory for as many rows at once as the device works on, or as the budget holds beside the choice of counts.
 */
static spade_status open_workspace(pool *l)
{
    spade_context *context = l->call->context;
    const spade_backend *backend = context->device->backend;
    const spade_problem *p = l->members[0].problem;
    uint64_t choice = choice_bytes((uint64_t)l->entries), left = spade_budget_left(context);
    int64_t most = backend->solver->exact_max_rows(context->device), lanes = l->rows < most ? l->rows : most;
    if (l->rows == 1 && most > 1) { lanes = 2; } /* threads may share a row, which takes a second matrix */
    size_t one = backend->solver->exact_bytes(context->device, p->columns, l->members[0].group, 1);
    while (lanes > 1 && (uint64_t)lanes * one + choice > left) { lanes--; }
    l->workspace_bytes = one * (size_t)lanes;
    return backend->alloc(context->device, l->workspace_bytes, "working memory of the exact solver", &l->workspace);
}

static spade_status open_member(spade_context *context, member *m)
{
    const spade_problem *p = m->problem;
    size_t h = (size_t)(p->columns * p->columns) * sizeof(double), w = (size_t)(p->rows * p->columns) * sizeof(double);
    SPADE_TRY(open_array(context, h, "a Hessian", &m->hessian));
    SPADE_TRY(open_array(context, h, "the inverse of a Hessian", &m->inverse));
    SPADE_TRY(open_array(context, w, "the weights of a layer", &m->w));
    return open_array(context, w, "the sparse weights of a layer", &m->q);
}

static spade_status open_pool(pool *l)
{
    spade_context *context = l->call->context;
    for (int i = 0; i < l->n; i++) {
        member *m = &l->members[i];
        const spade_problem *p = m->problem;
        m->group = spade_solve_exact_group(p);
        m->groups = p->columns / m->group;
        m->row = l->rows;
        m->entry = l->entries;
        l->rows += p->rows;
        l->entries += p->rows * m->groups;
        SPADE_TRY(open_member(context, m));
    }
    l->counts = calloc((size_t)l->rows, sizeof *l->counts);
    if (!l->counts) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: counts of a layer's rows"); }
    SPADE_TRY(open_array(context, (size_t)l->entries * sizeof(int32_t), "the order of a layer's groups", &l->order));
    return open_array(context, (size_t)l->entries * sizeof(double), "the losses of a layer's groups", &l->losses);
}

/* ---- from the problem to its inverse */

/* Column of the problem that is column j in the order of the groups. */
static int64_t source_column(const spade_problem *p, int64_t j)
{
    int64_t channels = p->columns / p->kernel;
    return p->group == SPADE_GROUP_CHANNELS_LAST ? j % channels * p->kernel + j / channels : j;
}

/* Hessian and weights on the device, in the order of the groups, without the weights of dead inputs. */
static spade_status load_member(const spade_exact_call *call, const member *m)
{
    spade_context *context = call->context;
    const spade_problem *p = m->problem;
    int64_t k = p->columns;
    double *h = m->hessian.host, *w = m->w.host;
    const double *source = p->hessian;
    if (!source) { /* the inverse comes later: its place serves */
        SPADE_TRY(call->client->fetch(call->client->user, m->index, m->inverse.device));
        SPADE_TRY(download(context, &m->inverse));
        source = m->inverse.host;
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
    SPADE_TRY(upload(context, &m->hessian));
    return upload(context, &m->w);
}

static bool weights_are_finite(const member *m)
{
    const double *w = m->w.host;
    double sum = 0; /* NaN as soon as one number is not finite: 0 * x is 0 for every finite x */
    for (int64_t i = 0; i < m->problem->rows * m->problem->columns; i++) { sum += 0.0 * w[i]; }
    return !isnan(sum);
}

/* Dead inputs and damping of all. */
static spade_status condition_pool(pool *l)
{
    spade_context *context = l->call->context;
    spade_device *device = context->device;
    size_t bytes = (size_t)l->members[0].problem->columns; /* of what nobody reads: the weights are 0 there already */
    void *dead = NULL;
    spade_damp_args *args = calloc((unsigned)l->n, sizeof *args);
    if (!args) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d Hessians", l->n); }
    spade_status status = SPADE_OK;
    SPADE_GOTO(device->backend->alloc(device, bytes, "dead inputs", &dead));
    for (int i = 0; i < l->n; i++) {
        args[i] = (spade_damp_args){.k = l->members[i].problem->columns,
                                    .damping = l->call->options->damping,
                                    .hessian = l->members[i].hessian.device,
                                    .dead = dead};
    }
    SPADE_GOTO(device->backend->solver->damp(device, args, l->n));
    SPADE_GOTO(device->backend->synchronize(device));
    for (int i = 0; i < l->n; i++) {
        bool good = args[i].status == SPADE_OK && weights_are_finite(&l->members[i]);
        l->members[i].problem->status = good ? SPADE_OK : SPADE_ERROR_NUMERICAL;
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

static spade_status invert_pool(pool *l)
{
    spade_context *context = l->call->context;
    spade_device *device = context->device;
    size_t each = inverse_bytes(device, l->members[0].problem->columns), bytes = each * (size_t)l->n;
    char *workspace = NULL;
    double start = spade_stage_clock(context);
    spade_factor_args *args = calloc((unsigned)l->n, sizeof *args);
    if (!args) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d factors", l->n); }
    spade_status status = SPADE_OK;
    SPADE_GOTO(device->backend->alloc(device, bytes, "working memory of an inverse", (void **)&workspace));
    for (int i = 0; i < l->n; i++) {
        const member *m = &l->members[i];
        SPADE_GOTO(device->backend->copy(device, m->inverse.device, m->hessian.device, m->hessian.bytes));
        args[i] = (spade_factor_args){
            .k = m->problem->columns, .hessian = m->inverse.device, .workspace = workspace + (size_t)i * each};
    }
    SPADE_GOTO(device->backend->solver->factor(device, args, l->n));
    SPADE_GOTO(device->backend->synchronize(device));
    bool good = true;
    for (int i = 0; i < l->n; i++) {
        l->members[i].problem->status = args[i].status;
        good = good && args[i].status == SPADE_OK;
    }
    if (good) { SPADE_GOTO(device->backend->solver->inverse(device, args, l->n)); }
    spade_stage_done(context, SPADE_STAGE_FACTOR, spade_stage_clock(context) - start);
done:
    if (workspace) { device->backend->free(device, workspace, bytes); }
    free(args);
    return status;
}

static bool has_failed(const pool *l)
{
    for (int i = 0; i < l->n; i++) {
        if (l->members[i].problem->status != SPADE_OK) { return true; }
    }
    return false;
}

uint64_t spade_solve_exact_bytes(const spade_context *context, const spade_problem *p, int64_t problems)
{
    spade_device *device = context->device;
    uint64_t n = (uint64_t)problems, copies = device->backend->host_memory ? 1 : 2;
    int64_t group = spade_solve_exact_group(p);
    uint64_t entries = (uint64_t)(p->rows * (p->columns / group));
    uint64_t each = (uint64_t)(2 * p->columns * p->columns + 2 * p->rows * p->columns) * sizeof(double) +
                    entries * (sizeof(int32_t) + sizeof(double));
    uint64_t inverse = n * inverse_bytes(device, p->columns);
    uint64_t order = device->backend->solver->exact_bytes(device, p->columns, group, 1) + choice_bytes(n * entries);
    return copies * n * each + (order > inverse ? order : inverse);
}

/* ---- rows, in parts between which progress is reported */

static spade_exact_args rows_of(const pool *l, const member *m, int64_t first, int64_t count)
{
    int64_t k = m->problem->columns, entry = m->entry + first * m->groups;
    return (spade_exact_args){.rows = count,
                              .columns = k,
                              .group = m->group,
                              .inverse = m->inverse.device,
                              .hessian = m->hessian.device,
                              .w = (double *)m->w.device + first * k,
                              .order = (int32_t *)l->order.device + entry,
                              .losses = (double *)l->losses.device + entry,
                              .counts = l->counts + m->row + first,
                              .q = (double *)m->q.device + first * k};
}

static spade_status run_rows(const pool *l, row_operation operation, double (*work_of)(const spade_problem *))
{
    spade_exact_call *call = l->call;
    spade_device *device = call->context->device;
    spade_exact_args *args = calloc((unsigned)l->n, sizeof *args);
    int *owner = calloc((unsigned)l->n, sizeof *owner), i = 0;
    int64_t first = 0, lanes = device->backend->solver->exact_max_rows(device);
    double start = spade_stage_clock(call->context);
    spade_status status = SPADE_OK;
    if (!args || !owner) { SPADE_GOTO(spade_fail(call->context, SPADE_ERROR_MEMORY, "out of memory: list of rows")); }
    while (i < l->n) {
        double work = 0, most = WORK_A_REPORT * (double)lanes;
        int parts = 0;
        while (i < l->n && work < most) {
            const member *m = &l->members[i];
            double each = work_of(m->problem);
            int64_t left = m->problem->rows - first;
            int64_t fitting = ((int64_t)((most - work) / each) + lanes) / lanes * lanes;
            int64_t count = fitting < left ? fitting : left;
            args[parts] = rows_of(l, m, first, count);
            owner[parts++] = i;
            work += each * (double)count;
            first += count;
            if (first == m->problem->rows) {
                first = 0;
                i++;
            }
        }
        SPADE_GOTO(operation(device, args, parts, l->workspace, l->workspace_bytes));
        SPADE_GOTO(device->backend->synchronize(device));
        for (int p = 0; p < parts; p++) {
            if (args[p].status != SPADE_OK) { l->members[owner[p]].problem->status = args[p].status; }
        }
        call->work_done += work;
        spade_report_progress(call->context, "solve", call->work_done, call->work_total);
    }
    spade_stage_done(call->context, SPADE_STAGE_SWEEP, spade_stage_clock(call->context) - start);
done:
    free(args);
    free(owner);
    return status;
}

/* ---- how many groups each row loses */

static spade_status choose_counts(const pool *l, double sparsity)
{
    spade_context *context = l->call->context;
    void *scratch = NULL, *mask = NULL;
    size_t entries = (size_t)l->entries, bytes = (entries + SPADE_SELECT_MORE) * sizeof(double);
    spade_status status = SPADE_OK;
    SPADE_GOTO(spade_alloc(context, bytes, "the choice of counts", &scratch));
    SPADE_GOTO(spade_alloc(context, entries, "the choice of counts", &mask));
    int64_t total = (int64_t)ceil((double)l->entries * sparsity);
    spade_select_lowest(l->losses.host, 1, l->entries, 1, total, scratch, mask);
    for (int i = 0; i < l->n; i++) {
        const member *m = &l->members[i];
        for (int64_t r = 0; r < m->problem->rows; r++) {
            const uint8_t *own = (const uint8_t *)mask + m->entry + r * m->groups;
            int64_t count = 0;
            for (int64_t t = 0; t < m->groups; t++) { count += own[t]; }
            l->counts[m->row + r] = count;
        }
    }
done:
    spade_free_bytes(context, scratch, bytes);
    spade_free_bytes(context, mask, entries);
    return status;
}

/* The weights of one member, back in the order of the problem's columns. */
static void store_solution(const pool *l, const member *m, spade_solution *solution)
{
    spade_problem *p = m->problem;
    int64_t k = p->columns;
    const double *q = m->q.host, *losses = (const double *)l->losses.host + m->entry;
    solution->loss = 0;
    solution->zeros = 0;
    for (int64_t r = 0; r < p->rows; r++) {
        for (int64_t t = 0; t < l->counts[m->row + r]; t++) { solution->loss += losses[r * m->groups + t]; }
        for (int64_t j = 0; j < k; j++) {
            float value = (float)q[r * k + j];
            if (!isfinite(value)) { p->status = SPADE_ERROR_NUMERICAL; }
            solution->zeros += value == 0.0f;
            solution->sparse[r * k + source_column(p, j)] = value;
        }
    }
    if (!isfinite(solution->loss)) { p->status = SPADE_ERROR_NUMERICAL; }
    if (solution->counts) { memcpy(solution->counts, l->counts + m->row, (size_t)p->rows * sizeof *solution->counts); }
}

static spade_status solve_solution(pool *l, int s)
{
    spade_context *context = l->call->context;
    if (l->members[0].problem->solutions[s].sparsity == 0) {
        for (int i = 0; i < l->n; i++) {
            spade_problem *p = l->members[i].problem;
            spade_solve_keep(p, &p->solutions[s]);
        }
        return SPADE_OK;
    }
    SPADE_TRY(choose_counts(l, l->members[0].problem->solutions[s].sparsity));
    SPADE_TRY(run_rows(l, context->device->backend->solver->refit, refit_work));
    if (has_failed(l)) { return SPADE_OK; }
    for (int i = 0; i < l->n; i++) {
        SPADE_TRY(download(context, &l->members[i].q));
        store_solution(l, &l->members[i], &l->members[i].problem->solutions[s]);
    }
    return SPADE_OK;
}

/* ---- pools */

static void store_order(const pool *l)
{
    for (int i = 0; i < l->n; i++) {
        const member *m = &l->members[i];
        size_t entries = (size_t)(m->problem->rows * m->groups);
        const int32_t *order = (const int32_t *)l->order.host + m->entry;
        const double *losses = (const double *)l->losses.host + m->entry;
        if (m->problem->order) { memcpy(m->problem->order, order, entries * sizeof *order); }
        if (m->problem->losses) { memcpy(m->problem->losses, losses, entries * sizeof *losses); }
    }
}

static spade_status run_pool(pool *l)
{
    spade_context *context = l->call->context;
    int solutions = l->members[0].problem->solution_count;
    SPADE_TRY(open_pool(l));
    for (int i = 0; i < l->n; i++) { SPADE_TRY(load_member(l->call, &l->members[i])); }
    SPADE_TRY(condition_pool(l));
    if (has_failed(l)) { return SPADE_OK; }
    SPADE_TRY(invert_pool(l));
    if (has_failed(l)) { return SPADE_OK; }
    SPADE_TRY(open_workspace(l));
    SPADE_TRY(run_rows(l, context->device->backend->solver->eliminate, order_work));
    if (has_failed(l)) { return SPADE_OK; }
    SPADE_TRY(download(context, &l->order));
    SPADE_TRY(download(context, &l->losses));
    store_order(l);
    for (int s = 0; s < solutions && !has_failed(l); s++) { SPADE_TRY(solve_solution(l, s)); }
    return SPADE_OK;
}

static bool is_alike(const spade_problem *a, const spade_problem *b)
{
    bool same = a->columns == b->columns && a->kernel == b->kernel && a->group == b->group &&
                a->solution_count == b->solution_count;
    for (int i = 0; same && i < a->solution_count; i++) { same = a->solutions[i].sparsity == b->solutions[i].sparsity; }
    return same;
}

static bool is_wanted(const spade_problem *p)
{
    bool prunes = false;
    for (int i = 0; i < p->solution_count; i++) { prunes = prunes || p->solutions[i].sparsity != 0; }
    return p->solver == SPADE_SOLVER_EXACT && prunes;
}

/* The pool of problem `first`, whose other members come after it. */
static spade_status gather_pool(spade_exact_call *call, int first, pool *out)
{
    const spade_problem *p = &call->problems[first];
    *out = (pool){.call = call};
    int last = p->pool > 0 ? call->count : first + 1;
    for (int i = first; i < last; i++) {
        if (i == first || (is_wanted(&call->problems[i]) && call->problems[i].pool == p->pool)) { out->n++; }
    }
    out->members = calloc((size_t)out->n, sizeof *out->members);
    if (!out->members) {
        return spade_fail(call->context, SPADE_ERROR_MEMORY, "out of memory: list of %d problems", out->n);
    }
    for (int i = first, at = 0; at < out->n; i++) {
        spade_problem *other = &call->problems[i];
        if (i != first && !(is_wanted(other) && other->pool == p->pool)) { continue; }
        if (!is_alike(p, other)) {
            return spade_fail(call->context, SPADE_ERROR_ARGUMENT,
                              "problems %d and %d choose their counts together but differ in size, group or sparsities",
                              first, i);
        }
        out->members[at++] = (member){.problem = other, .index = i};
    }
    return SPADE_OK;
}

/* A problem whose pool began earlier has been solved with it. */
static bool is_first(const spade_exact_call *call, int index)
{
    const spade_problem *p = &call->problems[index];
    for (int i = 0; p->pool > 0 && i < index; i++) {
        if (is_wanted(&call->problems[i]) && call->problems[i].pool == p->pool) { return false; }
    }
    return true;
}

spade_status spade_solve_exact(spade_exact_call *call)
{
    for (int i = 0; i < call->count; i++) {
        if (!is_wanted(&call->problems[i]) || !is_first(call, i)) { continue; }
        pool l;
        double start = spade_now(), rows = 0;
        spade_status status = gather_pool(call, i, &l);
        if (status == SPADE_OK) { status = run_pool(&l); }
        double seconds = spade_now() - start;
        for (int m = 0; m < l.n && status == SPADE_OK; m++) { rows += (double)l.members[m].problem->rows; }
        for (int m = 0; m < l.n && status == SPADE_OK; m++) {
            spade_problem *p = l.members[m].problem;
            p->seconds = seconds * (double)p->rows / rows;
            if (call->client->done && p->status == SPADE_OK) {
                call->client->done(call->client->user, l.members[m].index);
            }
        }
        close_pool(&l);
        SPADE_TRY(status);
    }
    return SPADE_OK;
}
