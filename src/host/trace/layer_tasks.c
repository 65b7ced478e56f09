/* layer_tasks.c - the layers of passes as tasks for the solver; their solutions go to the traces and checkpoints. */
#include "engine/device_parameters.h"
#include "trace/search.h"

/* Whom a task is solved for. */
typedef struct assignment {
    const spade_trace_pass *pass;
    int index;        /* of the layer in the pass */
    int *solution_of; /* [jobs of the batch]: the job's solution, -1: the task is not for this job */
    int *owner_of;    /* [solutions]: the first job that asks for it, whose trace the solver writes to */
} assignment;

typedef struct task_list {
    spade_context *context;
    const spade_model *model;
    const spade_network *network;
    spade_layer_task *tasks;
    assignment *assignments; /* of each task */
    int count;
} task_list;

/* kept: solved from the inputs of the batch's variants. */
static spade_layer_task describe(const spade_model *model, int layer, const spade_layer_method *method,
                                 const spade_batch *variants, bool kept)
{
    const spade_layer *l = &model->network.layers[layer];
    int64_t dims[4];
    spade_batch_shape(variants, dims);
    return (spade_layer_task){.layer = layer,
                              .rows = l->rows,
                              .columns = l->columns,
                              .groups = l->groups,
                              .kernel = l->convolution ? l->weight[2] * l->weight[3] : 1,
                              .method = *method,
                              .samples = kept ? spade_hessian_samples(model, layer, dims[0]) : 0,
                              .scale = 2.0 / (double)dims[0],
                              .dense = l->weights};
}

uint64_t spade_trace_solve_bytes(const spade_context *context, const spade_model *model, const spade_trace_pass *pass,
                                 int i)
{
    uint64_t largest = 0;
    for (int j = 0; j < pass->batch->job_count; j++) {
        const spade_trace_job *job = &pass->batch->jobs[j];
        if (!spade_trace_job_takes(job, pass, i)) { continue; }
        const int layer = pass->layers[i];
        spade_layer_task task =
            describe(model, layer, &job->layers[layer].method, pass->batch->variants, pass->kept[layer]);
        uint64_t bytes = spade_layer_task_bytes(context, &task);
        if (bytes > largest) { largest = bytes; }
    }
    return largest;
}

double spade_trace_solve_work(const spade_batch *variants, const spade_trace_job *job, int layer)
{
    spade_layer_solution solution = {.sparsity = job->layers[layer].sparsity};
    spade_layer_task task =
        describe(job->trace->base.model, layer, &job->layers[layer].method, variants, job->kept[layer]);
    task.solutions = &solution;
    task.solution_count = 1;
    return spade_layer_task_work(&task);
}

/* ---- from jobs to tasks */

static void close_tasks(task_list *list)
{
    for (int i = 0; i < list->count; i++) {
        free(list->assignments[i].solution_of);
        free(list->assignments[i].owner_of);
        free(list->tasks[i].solutions);
    }
    free(list->assignments);
    free(list->tasks);
}

/* A new task for the i-th layer of a pass, for nobody yet. */
static spade_status add_task(task_list *list, const spade_trace_pass *pass, int i, const spade_layer_method *method)
{
    const size_t jobs = (size_t)pass->batch->job_count;
    spade_layer_task *task = &list->tasks[list->count];
    assignment *assigned = &list->assignments[list->count++];
    *task = describe(list->model, pass->layers[i], method, pass->batch->variants, pass->kept[pass->layers[i]]);
    task->solutions = calloc(jobs + 1, sizeof *task->solutions);
    *assigned = (assignment){.pass = pass, .index = i};
    assigned->solution_of = malloc((jobs + 1) * sizeof *assigned->solution_of);
    assigned->owner_of = malloc((jobs + 1) * sizeof *assigned->owner_of);
    if (!task->solutions || !assigned->solution_of || !assigned->owner_of) {
        return spade_fail(list->context, SPADE_ERROR_MEMORY, "out of memory: list of %zu traces", jobs);
    }
    for (size_t j = 0; j < jobs; j++) { assigned->solution_of[j] = -1; }
    return SPADE_OK;
}

static void assign(spade_layer_task *task, assignment *assigned, int job, double sparsity)
{
    int s = 0;
    while (s < task->solution_count && task->solutions[s].sparsity != sparsity) { s++; }
    if (s == task->solution_count) {
        task->solutions[task->solution_count++].sparsity = sparsity;
        assigned->owner_of[s] = job;
    }
    assigned->solution_of[job] = s;
}

/* The tasks of the i-th layer of a pass: one for each method that a job asks for. */
static spade_status add_layer(task_list *list, const spade_trace_pass *pass, int i)
{
    const int first = list->count, layer = pass->layers[i];
    for (int j = 0; j < pass->batch->job_count; j++) {
        const spade_trace_job *job = &pass->batch->jobs[j];
        const spade_layer_options *options = &job->layers[layer];
        if (!spade_trace_job_takes(job, pass, i)) { continue; }
        int t = first;
        while (t < list->count && !spade_layer_method_equal(&list->tasks[t].method, &options->method)) { t++; }
        if (t == list->count) { SPADE_TRY(add_task(list, pass, i, &options->method)); }
        assign(&list->tasks[t], &list->assignments[t], j, options->sparsity);
    }
    return SPADE_OK;
}

static spade_status open_tasks(task_list *list, const spade_trace_pass *passes, int count)
{
    size_t max_tasks = 0;
    for (int p = 0; p < count; p++) { max_tasks += (size_t)passes[p].count * (size_t)passes[p].batch->job_count; }
    list->tasks = calloc(max_tasks + 1, sizeof *list->tasks);
    list->assignments = calloc(max_tasks + 1, sizeof *list->assignments);
    if (!list->tasks || !list->assignments) {
        return spade_fail(list->context, SPADE_ERROR_MEMORY, "out of memory: list of %zu layers", max_tasks);
    }
    for (int p = 0; p < count; p++) {
        for (int i = 0; i < passes[p].count; i++) { SPADE_TRY(add_layer(list, &passes[p], i)); }
    }
    return SPADE_OK;
}

/* Hessian and weights of a task on the device, and where its solutions go. */
static spade_status bind_task(spade_layer_task *task, const assignment *assigned,
                              const spade_device_parameters *parameters)
{
    const spade_accumulator *accumulators = assigned->pass->hessians->accumulators;
    const spade_accumulator *accumulator = &accumulators[assigned->index];
    const spade_accumulator *source = &accumulators[accumulator->source];
    task->hessian = &source->desc;
    task->accumulator = source->kept ? (const void *)source->queue : source->h;
    task->position = accumulator->tap;
    task->device_dense = parameters->weights[task->layer].data;
    for (int s = 0; s < task->solution_count; s++) {
        const spade_trace_job *owner = &assigned->pass->batch->jobs[assigned->owner_of[s]];
        SPADE_TRY(spade_trace_job_target(owner, task->layer, &task->solutions[s].weights));
    }
    return SPADE_OK;
}

/* ---- results */

/* A task is solved: its solutions to every job that it is for. */
static spade_status finish_task(void *user, int index)
{
    const task_list *list = user;
    const spade_layer_task *task = &list->tasks[index];
    const assignment *assigned = &list->assignments[index];
    for (int j = 0; j < assigned->pass->batch->job_count; j++) {
        const int s = assigned->solution_of[j];
        if (s < 0) { continue; }
        spade_trace_job *job = &assigned->pass->batch->jobs[j];
        spade_trace_job *owner = &assigned->pass->batch->jobs[assigned->owner_of[s]];
        spade_trace_layer *info = &job->trace->layers[task->layer];
        info->zeros = task->solutions[s].zeros;
        info->loss = task->solutions[s].loss;
        info->seconds = task->seconds / task->solution_count;
        info->solved = true;
        if (job != owner) {
            SPADE_TRY(spade_weight_override_copy(&job->trace->base, &owner->trace->base, task->layer));
        }
        job->pending[task->layer] = false;
        spade_trace_job_save(job, task->layer);
    }
    return SPADE_OK;
}

static spade_status name_failure(const task_list *list, spade_status status)
{
    for (int i = 0; i < list->count; i++) {
        const spade_layer_task *task = &list->tasks[i];
        if (task->status == SPADE_OK) { continue; }
        const spade_batch *variants = list->assignments[i].pass->batch->variants;
        return spade_trace_explain_failure(list->context, list->network, variants, task);
    }
    return status;
}

spade_status spade_trace_solve(spade_context *context, const spade_model *model, const spade_trace_pass *passes,
                               int count)
{
    const spade_network *network = &model->network;
    task_list list = {.context = context, .model = model, .network = network};
    spade_device_parameters *parameters = NULL;
    spade_status status;
    SPADE_GOTO(open_tasks(&list, passes, count));
    SPADE_GOTO(spade_device_parameters_acquire(context, network, &parameters));
    for (int i = 0; i < list.count; i++) { SPADE_GOTO(bind_task(&list.tasks[i], &list.assignments[i], parameters)); }
    status = spade_solve_layers(context, list.tasks, list.count, finish_task, &list);
    if (status == SPADE_ERROR_NUMERICAL) { status = name_failure(&list, status); }
done:
    spade_device_parameters_release(parameters);
    close_tasks(&list);
    return status;
}
