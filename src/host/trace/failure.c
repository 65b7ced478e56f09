/*
 * failure.c - why a layer's Hessian could not be factored, and what helps. Only after that has happened are the variants
 * run once more, to see how large the inputs of the layers get.
 */
#include <float.h>
#include <math.h>

#include "augment/batch.h"
#include "base/number.h"
#include "engine/magnitude.h"
#include "trace/search.h"

/* Into host [layers]: the largest |x| of each layer's input over all variants. */
static spade_status measure(spade_context *context, const spade_network *network, const spade_batch *variants,
                            float *largest)
{
    const size_t bytes = sizeof *largest * (size_t)network->layer_count;
    spade_device *device = context->device;
    spade_executor *executor = NULL;
    spade_status status;
    int64_t dims[4];
    spade_batch_shape(variants, dims);
    const spade_plan_request request = spade_forward_request(dims[0] % SPADE_MICRO_BATCH ? 1 : SPADE_MICRO_BATCH);
    SPADE_GOTO(spade_executor_acquire(context, network, &request, NULL, &executor));
    SPADE_GOTO(spade_executor_scratch(executor, bytes, "magnitudes of layers"));
    SPADE_GOTO(device->backend->zero(device, executor->scratch, bytes));
    spade_magnitudes m = {device, executor->scratch};
    for (int64_t first = 0; first < dims[0]; first += request.batch) {
        spade_shape shape;
        float *input = spade_plan_input(executor->plan, &shape);
        SPADE_GOTO(spade_batch_read_device(context, variants, first, request.batch, shape.layout, input));
        SPADE_GOTO(
            spade_run_forward(executor->plan, executor->weights, NULL, NULL, spade_magnitudes_observe, &m, NULL));
    }
    SPADE_GOTO(device->backend->download(device, largest, executor->scratch, bytes));
    status = device->backend->synchronize(device);
done:
    spade_executor_release(executor);
    return status;
}

/* What helps where all numbers are finite. */
static void write_advice(const spade_layer_task *task, double largest, int64_t variants, char *out, size_t size)
{
    const bool fp32 = task->hessian->precision == SPADE_FP32;
    if (fp32 && largest * largest * (double)variants > (double)FLT_MAX) {
        spade_print(out, size,
                    ": its inputs reach %.1e, and sums of their squares do not fit float32; --hessian fp64 helps",
                    largest);
    } else if (task->method.damping <= 0) {
        spade_print(out, size, " with --damping %g; --damping 0.01 helps", task->method.damping);
    } else {
        spade_print(out, size, ", even with --damping %g; a larger one%s may help", task->method.damping,
                    fp32 ? ", or --hessian fp64," : "");
    }
}

spade_status spade_trace_explain_failure(spade_context *context, const spade_network *network,
                                         const spade_batch *variants, const spade_layer_task *task)
{
    const spade_layer *layer = &network->layers[task->layer];
    float *largest = calloc((size_t)network->layer_count, sizeof *largest);
    char advice[256];
    int64_t dims[4];
    spade_batch_shape(variants, dims);
    if (!largest) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of layers"); }
    spade_status status = measure(context, network, variants, largest);
    if (status == SPADE_OK) { status = spade_magnitudes_check(context, network, largest); }
    if (status == SPADE_ERROR_NUMERICAL) {
        status = spade_fail_in(context, status, "among the variants");
    } else { /* also where there was no memory to look: then nothing is known of the inputs */
        write_advice(task, (double)largest[task->layer], dims[0], advice, sizeof advice);
        status = spade_fail(
            context, task->status, "layer %.200s, group %lld: the Hessian [%lld, %lld] is not positive definite%s",
            layer->name, (long long)task->failed_group, (long long)task->columns, (long long)task->columns, advice);
    }
    free(largest);
    return status;
}
