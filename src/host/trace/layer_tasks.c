/* layer_tasks.c - the problems of a pass: which layers are solved how, for whom; results to the traces and checkpoints. */
#include "solve/schedule.h"
#include "engine/device_parameters.h"
#include "trace/search.h"

/* A layer of a part with one way to solve it. */
typedef struct unit {
    const spade_part *part;
    int slot, layer;
    const spade_layer_options *choice; /* of its first request: the others differ in sparsity only */
    int *solution_of;                  /* [requests of the sample]: its solution, -1: not for this request */
    double *sparsities;                /* [solution_count] */
    float **targets;                   /* [solution_count]: where they go; spade_trace_job_target */
    int solution_count;
    int first;    /* of its problems, one a group */
    int64_t left; /* groups that are not solved yet */
} unit;

/* One call of the solver: units with the same spade_solve_options. */
typedef struct solver_call {
    spade_context *context;
    const spade_network *network;
    unit *units;
    int unit_count;
    spade_problem *problems;
    spade_solution *solutions; /* of a problem beside each other */
    unit **owners;             /* by problem */
    int count;
    spade_device_parameters *parameters; /* the dense weights on the device */
    spade_status finished;               /* what became of handing on the solutions */
} solver_call;

static bool same_solve(const spade_solve_options *a, const spade_solve_options *b)
{
    return a->count == b->count && a->damping == b->damping && a->seed == b->seed && a->sweep == b->sweep;
}

static bool same_way(const spade_layer_options *a, const spade_layer_options *b)
{
    return a->solver == b->solver && a->group == b->group && a->block == b->block && a->keep == b->keep &&
           a->of == b->of && same_solve(&a->solve, &b->solve);
}

static spade_problem layer_problem(const spade_network *network, int layer, const spade_layer_options *choice,
                                   int64_t group, spade_solution *solutions, int solution_count)
{
    const spade_layer *l = &network->layers[layer];
    int64_t rows = l->rows / l->groups;
    return (spade_problem){.rows = rows,
                           .columns = l->columns,
                           .block = choice->block,
                           .kernel = l->convolution ? l->weight[2] * l->weight[3] : 1,
                           .solver = choice->solver,
                           .group = choice->group,
                           .keep = choice->keep,
                           .of = choice->of,
                           .dense = l->weights + group * rows * l->columns,
                           .stream = (uint64_t)layer << 32 | (uint64_t)group,
                           .solutions = solutions,
                           .solution_count = solution_count};
}

uint64_t spade_layer_tasks_bytes(const spade_context *context, const spade_network *network, const spade_part *part,
                                 int slot)
{
    uint64_t most = 0;
    for (int i = 0; i < part->sample->count; i++) {
        const spade_trace_job *r = &part->sample->requests[i];
        int layer = part->layers[slot];
        if (!spade_trace_job_takes(r, part, slot)) { continue; }
        spade_problem p = layer_problem(network, layer, &r->choices[layer], 0, NULL, 0);
        uint64_t bytes = p.solver == SPADE_SOLVER_EXACT
                             ? spade_solve_exact_bytes(context, &p, network->layers[layer].groups)
                             : spade_solve_workspace(context, &r->choices[layer].solve, &p);
        if (bytes > most) { most = bytes; }
    }
    return most;
}

double spade_layer_tasks_work(const spade_network *network, const spade_trace_job *request, int layer)
{
    const spade_layer_options *choice = &request->choices[layer];
    spade_solution solution = {.sparsity = choice->sparsity};
    spade_problem p = layer_problem(network, layer, choice, 0, &solution, 1);
    return (double)network->layers[layer].groups * spade_problem_work(&p);
}

/* ---- from requests to units */

static void free_units(unit *units, int count)
{
    for (int i = 0; i < count; i++) {
        free(units[i].solution_of);
        free(units[i].sparsities);
        free(units[i].targets);
    }
    free(units);
}

static spade_status open_unit(spade_context *context, const spade_part *part, int slot,
                              const spade_layer_options *choice, unit *out)
{
    size_t requests = (size_t)part->sample->count;
    *out = (unit){.part = part, .slot = slot, .layer = part->layers[slot], .choice = choice};
    out->solution_of = malloc((requests + 1) * sizeof *out->solution_of);
    out->sparsities = malloc((requests + 1) * sizeof *out->sparsities);
    out->targets = malloc((requests + 1) * sizeof *out->targets);
    if (!out->solution_of || !out->sparsities || !out->targets) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %zu requests", requests);
    }
    for (size_t i = 0; i < requests; i++) { out->solution_of[i] = -1; }
    return SPADE_OK;
}

static void add_request(unit *u, int request, double sparsity)
{
    int at = 0;
    while (at < u->solution_count && u->sparsities[at] != sparsity) { at++; }
    if (at == u->solution_count) { u->sparsities[u->solution_count++] = sparsity; }
    u->solution_of[request] = at;
}

/* The units of one layer of a part, added to units[0 .. *count). */
static spade_status add_units(spade_context *context, const spade_part *part, int slot, unit *units, int *count)
{
    int first = *count, layer = part->layers[slot];
    for (int i = 0; i < part->sample->count; i++) {
        const spade_trace_job *r = &part->sample->requests[i];
        const spade_layer_options *choice = &r->choices[layer];
        if (!spade_trace_job_takes(r, part, slot)) { continue; }
        int at = first;
        while (at < *count && !same_way(units[at].choice, choice)) { at++; }
        if (at == *count) {
            (*count)++;
            SPADE_TRY(open_unit(context, part, slot, choice, &units[at]));
        }
        add_request(&units[at], i, choice->sparsity);
    }
    return SPADE_OK;
}

/* ---- from units to problems */

static int64_t group_offset(const spade_layer *l, int64_t group)
{
    return group * (l->rows / l->groups) * l->columns;
}

static spade_trace_job *owner_of(const unit *u, int solution)
{
    int i = 0;
    while (u->solution_of[i] != solution) { i++; }
    return &u->part->sample->requests[i];
}

static spade_status add_problems(solver_call *call, unit *u, spade_solution **next)
{
    const spade_layer *l = &call->network->layers[u->layer];
    u->first = call->count;
    u->left = l->groups;
    for (int s = 0; s < u->solution_count; s++) {
        SPADE_TRY(spade_trace_job_target(owner_of(u, s), u->layer, &u->targets[s]));
    }
    for (int64_t g = 0; g < l->groups; g++) {
        int at = call->count++;
        for (int s = 0; s < u->solution_count; s++) {
            (*next)[s] = (spade_solution){.sparsity = u->sparsities[s], .sparse = u->targets[s] + group_offset(l, g)};
        }
        call->problems[at] = layer_problem(call->network, u->layer, u->choice, g, *next, u->solution_count);
        call->problems[at].pool = (int)(u - call->units) + 1;
        call->owners[at] = u;
        *next += u->solution_count;
    }
    return SPADE_OK;
}

static void close_call(solver_call *call)
{
    free(call->problems);
    free(call->solutions);
    free(call->owners);
}

/* The problems of all units that are solved with these options. */
static spade_status open_call(solver_call *call, const spade_solve_options *solve)
{
    size_t problems = 0, solutions = 0;
    for (int i = 0; i < call->unit_count; i++) {
        const unit *u = &call->units[i];
        if (!same_solve(&u->choice->solve, solve)) { continue; }
        problems += (size_t)call->network->layers[u->layer].groups;
        solutions += (size_t)call->network->layers[u->layer].groups * (size_t)u->solution_count;
    }
    call->problems = calloc(problems + 1, sizeof *call->problems);
    call->solutions = calloc(solutions + 1, sizeof *call->solutions);
    call->owners = calloc(problems + 1, sizeof *call->owners);
    if (!call->problems || !call->solutions || !call->owners) {
        return spade_fail(call->context, SPADE_ERROR_MEMORY, "out of memory: list of %zu problems", problems);
    }
    spade_solution *next = call->solutions;
    for (int i = 0; i < call->unit_count; i++) {
        if (same_solve(&call->units[i].choice->solve, solve)) { SPADE_TRY(add_problems(call, &call->units[i], &next)); }
    }
    return SPADE_OK;
}

/* ---- the solver's questions and results */

static spade_status fetch(void *user, int problem, double *hessian)
{
    const solver_call *call = user;
    const unit *u = call->owners[problem];
    return spade_hessian_read(u->part->hessians, u->slot, problem - u->first, hessian);
}

static const float *dense_weights(void *user, int problem)
{
    const solver_call *call = user;
    const unit *u = call->owners[problem];
    return call->parameters->weights[u->layer].data +
           group_offset(&call->network->layers[u->layer], problem - u->first);
}

/* All groups of a unit are solved: sums in the order of the groups, for every request. */
static spade_status finish_unit(const solver_call *call, const unit *u)
{
    const spade_layer *l = &call->network->layers[u->layer];
    for (int i = 0; i < u->part->sample->count; i++) {
        int solution = u->solution_of[i];
        if (solution < 0) { continue; }
        spade_trace_job *r = &u->part->sample->requests[i], *owner = owner_of(u, solution);
        spade_trace_layer *info = &r->trace->layers[u->layer];
        info->zeros = 0;
        info->loss = info->seconds = 0;
        for (int64_t p = u->first; p < u->first + l->groups; p++) {
            info->zeros += call->problems[p].solutions[solution].zeros;
            info->loss += call->problems[p].solutions[solution].loss;
            info->seconds += call->problems[p].seconds / u->solution_count;
        }
        info->solved = true;
        if (r != owner) { SPADE_TRY(spade_weight_override_copy(&r->trace->base, &owner->trace->base, u->layer)); }
        r->wanted[u->layer] = false;
        spade_trace_job_save(r, u->layer);
    }
    return SPADE_OK;
}

static void done(void *user, int problem)
{
    solver_call *call = user;
    if (--call->owners[problem]->left || call->finished != SPADE_OK) { return; }
    call->finished = finish_unit(call, call->owners[problem]);
}

static spade_status name_failure(const solver_call *call, spade_status status)
{
    for (int p = 0; p < call->count; p++) {
        if (call->problems[p].status == SPADE_OK) { continue; }
        const spade_layer *l = &call->network->layers[call->owners[p]->layer];
        return spade_fail(
            call->context, call->problems[p].status,
            "layer %s, group %d: the Hessian [%lld, %lld] is not positive definite or not finite, even when damped",
            l->name, p - call->owners[p]->first, (long long)l->columns, (long long)l->columns);
    }
    return status;
}

/* Whether these options were those of an earlier unit: then they have been solved with it. */
static bool is_repeated(const solver_call *call, int index)
{
    for (int i = 0; i < index; i++) {
        if (same_solve(&call->units[i].choice->solve, &call->units[index].choice->solve)) { return true; }
    }
    return false;
}

static spade_status solve_units(solver_call *call)
{
    for (int i = 0; i < call->unit_count; i++) {
        const spade_solve_options *solve = &call->units[i].choice->solve;
        if (is_repeated(call, i)) { continue; }
        call->count = 0;
        spade_status status = open_call(call, solve);
        if (status == SPADE_OK) {
            const spade_solve_client client = {fetch, dense_weights, done, call};
            status = spade_solve_for(&client, call->context, solve, call->problems, call->count);
        }
        if (status == SPADE_OK) { status = call->finished; }
        if (status == SPADE_ERROR_NUMERICAL) { status = name_failure(call, status); }
        close_call(call);
        SPADE_TRY(status);
    }
    return SPADE_OK;
}

spade_status spade_layer_tasks_solve(spade_context *context, const spade_network *network, const spade_part *parts,
                                     int count)
{
    size_t most = 0;
    for (int i = 0; i < count; i++) { most += (size_t)parts[i].count * (size_t)parts[i].sample->count; }
    solver_call call = {.context = context, .network = network, .units = calloc(most + 1, sizeof *call.units)};
    if (!call.units) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %zu layers", most); }
    spade_status status = SPADE_OK;
    for (int i = 0; i < count && status == SPADE_OK; i++) {
        for (int slot = 0; slot < parts[i].count && status == SPADE_OK; slot++) {
            status = add_units(context, &parts[i], slot, call.units, &call.unit_count);
        }
    }
    if (status == SPADE_OK) { status = spade_device_parameters_acquire(context, network, &call.parameters); }
    if (status == SPADE_OK) { status = solve_units(&call); }
    spade_device_parameters_release(call.parameters);
    free_units(call.units, call.unit_count);
    return status;
}
