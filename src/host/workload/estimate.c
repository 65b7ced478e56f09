/*
 * estimate.c - how long one input will take. A forward pass of a micro-batch is timed; the rest is counted operations
 * at that rate: rough (a factor of two), but known before the first input is through.
 */
#include "base/base.h"
#include "workload/explain.h"

enum { TIMED_IMAGES = 8 };

/* Multiply-adds x 2 of the Hessians (of all variants) and of the factors and sweeps or eliminations, over the layers.
 */
static void count_solver(const spade_model *model, int64_t variants, bool exact, double *hessian, double *solve)
{
    *hessian = *solve = 0;
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info layer;
        spade_model_layer(model, i, &layer);
        if (!layer.prunable) { continue; }
        double k = (double)layer.columns, groups = (double)layer.groups;
        double positions = (double)(layer.output[1] * layer.output[2]);
        *hessian += groups * (double)variants * positions * k * k; /* half of the symmetric product */
        *solve += groups * (k * k * k / 3 + (double)layer.rows / groups * k * k);
        if (exact) { *solve += (double)layer.rows * k * k * k / 3; }
    }
}

spade_status estimate_time(explain_job *job, const float *input, time_estimate *out)
{
    const spade_settings *settings = job->request->settings;
    spade_context *context = job->context;
    spade_status status = SPADE_OK;
    size_t size = 3 * (size_t)(job->preprocess.height * job->preprocess.width);
    size_t bytes = sizeof(float) * TIMED_IMAGES * size;
    float *output = NULL;
    void *memory = NULL;
    double operations = 0, hessian, solve, seconds = 0;
    SPADE_TRY(spade_alloc(context, bytes, "a timed forward pass", &memory));
    output = malloc(sizeof *output * TIMED_IMAGES * (size_t)job->outputs);
    if (!output) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }
    for (size_t i = 0; i < TIMED_IMAGES; i++) { memcpy((float *)memory + i * size, input, sizeof *input * size); }
    for (int round = 0; round < 2; round++) { /* the first one plans and warms up */
        double start = spade_now();
        SPADE_GOTO(spade_model_forward(context, job->model, NULL, memory, TIMED_IMAGES, output));
        seconds = (spade_now() - start) / TIMED_IMAGES;
    }
    for (int i = 0; i < spade_model_layer_count(job->model); i++) {
        spade_layer_info layer;
        spade_model_layer(job->model, i, &layer);
        operations += layer.operations;
    }
    int64_t variants = job->batch.data ? job->batch.dims[0] : settings->augment.variants;
    count_solver(job->model, variants, settings->trace.solver == SPADE_SOLVER_EXACT, &hessian, &solve);
    double rate = operations > 0 && seconds > 0 ? operations / seconds : 1e10;
    out->trace = job->request->trace ? seconds * (double)variants + hessian / rate + solve / (rate / 4) : 0;

    double passes = 0;
    for (int i = 0; i < job->method_count; i++) {
        passes += spade_attribution_passes(job->model, job->methods[i].attribution);
    }
    passes *= settings->top_class ? 1 : settings->class_count;
    out->maps = 3 * seconds * passes * (job->request->dense + job->request->trace);
done:
    free(output);
    spade_free_bytes(context, memory, bytes);
    return status;
}
