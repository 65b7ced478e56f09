/*
 * layers.c - layers of a network as problems of the solver: one for each of a layer's groups, as those have Hessians of
 * their own. Solutions are written where the task says; sums over the groups are taken in their order.
 */
#include "solve/solver.h"

static int64_t group_rows(const spade_layer_task *task)
{
    return task->rows / task->groups;
}

static spade_problem group_problem(const spade_layer_task *task, int64_t group)
{
    const spade_layer_method *method = &task->method;
    return (spade_problem){.rows = group_rows(task),
                           .columns = task->columns,
                           .block = method->block,
                           .kernel = task->kernel,
                           .solver = method->solver,
                           .group = method->group,
                           .keep = method->keep,
                           .of = method->of,
                           .dense = task->dense + group * group_rows(task) * task->columns,
                           .stream = (uint64_t)task->layer << 32 | (uint64_t)group};
}

static spade_solve_options solve_options(const spade_layer_method *method)
{
    return (spade_solve_options){
        .count = method->count, .damping = method->damping, .seed = method->seed, .sweep = method->sweep};
}

uint64_t spade_layer_task_bytes(const spade_context *context, const spade_layer_task *task)
{
    const spade_problem problem = group_problem(task, 0);
    const spade_solve_options options = solve_options(&task->method);
    return problem.solver == SPADE_SOLVER_EXACT
               ? spade_solve_exact_bytes(context, &problem, task->groups)
               : spade_solver_problem_bytes(context, &options, &problem, task->samples);
}

double spade_layer_task_work(const spade_layer_task *task)
{
    double work = 0;
    for (int s = 0; s < task->solution_count; s++) { /* one by one: what solutions share is counted for each */
        spade_solution solution = {.sparsity = task->solutions[s].sparsity};
        spade_problem problem = group_problem(task, 0);
        problem.solutions = &solution;
        problem.solution_count = 1;
        work += spade_problem_work(&problem, task->samples);
    }
    return (double)task->groups * work;
}

/* The problems of a task, and their solutions, which lie beside each other. */
static void add_problems(spade_solver_call *call, spade_layer_task *task, int layer_id, spade_problem *problems,
                         spade_solution *solutions)
{
    const int64_t group_size = group_rows(task) * task->columns;
    task->first_problem = call->count;
    task->pending_groups = task->groups;
    task->status = SPADE_OK;
    for (int64_t g = 0; g < task->groups; g++) {
        spade_problem *problem = &problems[call->count];
        *problem = group_problem(task, g);
        problem->layer_id = layer_id;
        problem->solutions = solutions + g * task->solution_count;
        problem->solution_count = task->solution_count;
        for (int s = 0; s < task->solution_count; s++) {
            problem->solutions[s] = (spade_solution){.sparsity = task->solutions[s].sparsity,
                                                     .sparse = task->solutions[s].weights + g * group_size};
        }
        call->problems[call->count++] = (spade_solver_problem){.problem = problem,
                                                               .options = solve_options(&task->method),
                                                               .task = task,
                                                               .task_group = g,
                                                               .samples = task->samples};
    }
}

spade_status spade_solver_problem_done(spade_solver_call *call, const spade_solver_problem *problem)
{
    spade_layer_task *task = problem->task;
    if (!task) { return SPADE_OK; }
    if (problem->problem->status != SPADE_OK) {
        if (task->status == SPADE_OK || problem->task_group < task->failed_group) {
            task->status = problem->problem->status;
            task->failed_group = problem->task_group;
        }
        return SPADE_OK;
    }
    if (--task->pending_groups > 0) { return SPADE_OK; }
    const spade_solver_problem *groups = &call->problems[task->first_problem];
    task->seconds = 0;
    for (int64_t g = 0; g < task->groups; g++) { task->seconds += groups[g].problem->seconds; }
    for (int s = 0; s < task->solution_count; s++) {
        spade_layer_solution *solution = &task->solutions[s];
        solution->loss = 0;
        solution->zeros = 0;
        for (int64_t g = 0; g < task->groups; g++) {
            solution->loss += groups[g].problem->solutions[s].loss;
            solution->zeros += groups[g].problem->solutions[s].zeros;
        }
    }
    return call->solved(call->user, (int)(task - call->tasks));
}

spade_status spade_solve_layers(spade_context *context, spade_layer_task *tasks, int count,
                                spade_layer_solved_fn solved, void *user)
{
    spade_solver_call call = {
        .context = context, .device = context->device, .tasks = tasks, .solved = solved, .user = user};
    size_t problem_count = 0, solution_count = 0;
    for (int i = 0; i < count; i++) {
        const spade_solve_options options = solve_options(&tasks[i].method);
        SPADE_TRY(spade_solver_check(context, &options));
        problem_count += (size_t)tasks[i].groups;
        solution_count += (size_t)tasks[i].groups * (size_t)tasks[i].solution_count;
    }
    spade_problem *problems = calloc(problem_count + 1, sizeof *problems);
    spade_solution *solutions = calloc(solution_count + 1, sizeof *solutions), *next = solutions;
    call.problems = calloc(problem_count + 1, sizeof *call.problems);
    spade_status status = SPADE_OK;
    if (!problems || !solutions || !call.problems) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %zu problems", problem_count));
    }
    for (int i = 0; i < count; i++) {
        add_problems(&call, &tasks[i], i + 1, problems, next);
        next += tasks[i].groups * tasks[i].solution_count;
    }
    SPADE_GOTO(spade_solver_run(&call));
    for (int i = 0; i < count && status == SPADE_OK; i++) { status = tasks[i].status; }
done:
    free(call.problems);
    free(solutions);
    free(problems);
    return status;
}
