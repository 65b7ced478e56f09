/*
 * estimate.c - how long one input will take. A forward pass of a micro-batch is timed; the rest is counted operations
 * at that rate: rough, since passes of one picture cost more and those of many less, and what metrics do beside them is not counted.
 * But it is known before the first input is through; then pipeline.c measures.
 */
#include "base/base.h"
#include "workload/pipeline.h"

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

spade_status estimate_time(const workload_plan *plan, const float *input, time_estimate *out)
{
    spade_context *context = plan->context;
    spade_status status = SPADE_OK;
    size_t size = (size_t)(plan->preprocess->channels * plan->preprocess->height * plan->preprocess->width);
    size_t bytes = sizeof(float) * TIMED_IMAGES * size;
    float *output = NULL;
    void *memory = NULL;
    double operations = 0, hessian, solve, seconds = 0;
    SPADE_TRY(spade_alloc(context, bytes, "a timed forward pass", &memory));
    output = malloc(sizeof *output * TIMED_IMAGES * (size_t)spade_model_outputs(plan->model));
    if (!output) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }
    for (size_t i = 0; i < TIMED_IMAGES; i++) { memcpy((float *)memory + i * size, input, sizeof *input * size); }
    for (int round = 0; round < 2; round++) { /* the first one plans and warms up */
        double start = spade_now();
        SPADE_GOTO(spade_model_forward(context, plan->model, NULL, memory, TIMED_IMAGES, output));
        seconds = (spade_now() - start) / TIMED_IMAGES;
    }
    for (int i = 0; i < spade_model_layer_count(plan->model); i++) {
        spade_layer_info layer;
        spade_model_layer(plan->model, i, &layer);
        operations += layer.operations;
    }
    int64_t variants = plan->batch ? plan->batch->dims[0] : plan->augment->variants;
    double rate = operations > 0 && seconds > 0 ? operations / seconds : 1e10;
    *out = (time_estimate){.maps = 3 * seconds * plan->passes};
    for (int i = 0; i < plan->trace_count; i++) {
        count_solver(plan->model, variants, plan->traces[i].solver == SPADE_SOLVER_EXACT, &hessian, &solve);
        /* The pass over the variants and its Hessians serve all traces of an input. */
        if (i == 0) { out->traces = seconds * (double)variants + hessian / rate; }
        const int found =
            spade_trace_count(&plan->traces[i]); /* of a sparsity that is chosen; half of the candidates are tried */
        out->traces += solve / (rate / 4) * (found > 1 ? 2 : 1) + (found - 1) * SPADE_AUTO_HELD_OUT * seconds;
    }
done:
    free(output);
    spade_free_bytes(context, memory, bytes);
    return status;
}
