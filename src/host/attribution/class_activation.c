/*
 * class_activation.c - feature maps weighted by their mean gradients, on the device: a pass whose walk back ends at the
 * layer, then three small operations in the value's own layout.
 *
 *   the call's block on the device: | weights [C] | weighted [C, h, w] | maps [n, h, w] | workspace |
 *
 * Sums stay sums until the map is on the host, where it is divided by h * w.
 */
#include "attribution/class_activation.h"

#include "attribution/gradient_driver.h"

enum { SUM_GRADIENTS, MULTIPLY, SUM_CHANNELS, OPERATIONS };

typedef struct activation {
    const attribution_job *job;
    attribution_pass pass;
    spade_op *ops[OPERATIONS];
    int64_t channels, pixels;
    void *block;
    size_t bytes;
    float *weights, *weighted, *maps, *workspace;
} activation;

/* [1, C, h, w] with some of C, h, w replaced by 1. */
static spade_shape reduced(const spade_shape *features, bool keep_channels, bool keep_pixels)
{
    spade_shape shape = *features;
    if (!keep_channels) { shape.dims[1] = 1; }
    if (!keep_pixels) { shape.dims[2] = shape.dims[3] = 1; }
    return shape;
}

static spade_status plan_operations(activation *a, const spade_shape *features)
{
    const spade_shape weights = reduced(features, true, false), map = reduced(features, false, true);
    spade_device *device = a->job->context->device;
    const spade_op_desc described[OPERATIONS] = {
        [SUM_GRADIENTS] = {.kind = SPADE_OP_REDUCE_SUM, .a = *features, .y = weights},
        [MULTIPLY] = {.kind = SPADE_OP_POINTWISE,
                      .a = *features,
                      .y = *features,
                      .step_count = 1,
                      .steps = {{.kind = SPADE_POINTWISE_MULTIPLY, .operand = weights}}},
        [SUM_CHANNELS] = {.kind = SPADE_OP_REDUCE_SUM, .a = *features, .y = map},
    };
    a->channels = features->dims[1];
    a->pixels = features->dims[2] * features->dims[3];
    for (int i = 0; i < OPERATIONS; i++) { SPADE_TRY(device->backend->plan(device, &described[i], &a->ops[i])); }
    return SPADE_OK;
}

static spade_status make_block(activation *a)
{
    enum { ALIGNMENT = 64 }; /* floats */
    spade_device *device = a->job->context->device;
    size_t workspace = 0, numbers = 0, at[OPERATIONS];
    const int64_t sizes[OPERATIONS] = {a->channels, a->channels * a->pixels, a->job->n * a->pixels};
    for (int i = 0; i < OPERATIONS; i++) {
        const size_t needs = device->backend->workspace_bytes(a->ops[i]);
        workspace = needs > workspace ? needs : workspace;
        at[i] = numbers;
        numbers += ((size_t)sizes[i] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    a->bytes = numbers * sizeof(float) + workspace;
    SPADE_TRY(device->backend->alloc(device, a->bytes, "maps of a layer", &a->block));
    float *block = a->block;
    a->weights = block + at[0];
    a->weighted = block + at[1];
    a->maps = block + at[2];
    a->workspace = block + numbers;
    return SPADE_OK;
}

/* One class: its number among the job's. */
static spade_status run_class(activation *a, int index)
{
    const attribution_job *job = a->job;
    spade_device *device = job->context->device;
    const spade_backend *backend = device->backend;
    const float *features = spade_plan_tap(a->pass.plan, 0, NULL);
    const spade_op_args sum_gradients = {
        .a = spade_plan_tap_relevance(a->pass.plan, 0), .workspace = a->workspace, .out = a->weights};
    const spade_op_args multiply = {
        .a = features, .operands = {a->weights}, .workspace = a->workspace, .out = a->weighted};
    const spade_op_args sum_channels = {
        .a = a->weighted, .workspace = a->workspace, .out = a->maps + index * a->pixels};
    SPADE_TRY(backend->upload(device, spade_plan_input(a->pass.plan, NULL), job->input,
                              sizeof *job->input * (size_t)job->size));
    SPADE_TRY(backend->upload(device, a->pass.targets, &job->classes[index], sizeof *job->classes));
    SPADE_TRY(attribution_pass_run(&a->pass));
    SPADE_TRY(backend->run(a->ops[SUM_GRADIENTS], &sum_gradients));
    SPADE_TRY(backend->run(a->ops[MULTIPLY], &multiply));
    return backend->run(a->ops[SUM_CHANNELS], &sum_channels);
}

static spade_status finish(const activation *a, float *maps)
{
    const int64_t numbers = a->job->n * a->pixels;
    spade_device *device = a->job->context->device;
    SPADE_TRY(device->backend->download(device, maps, a->maps, sizeof *maps * (size_t)numbers));
    SPADE_TRY(device->backend->synchronize(device));
    for (int64_t i = 0; i < numbers; i++) { maps[i] = maps[i] < 0 ? 0 : maps[i] / (float)a->pixels; }
    return SPADE_OK;
}

spade_status attribution_class_activation(const attribution_job *job, int value, float *maps)
{
    spade_device *device = job->context->device;
    spade_status status = SPADE_OK;
    activation a = {.job = job};
    spade_plan_request request = spade_relevance_request(1, &spade_rules_gradient);
    spade_shape features;
    request.taps = &value;
    request.tap_count = 1;
    request.stop = value;
    SPADE_GOTO(attribution_pass_create(job, &request, &a.pass));
    (void)spade_plan_tap(a.pass.plan, 0, &features);
    SPADE_GOTO(plan_operations(&a, &features));
    SPADE_GOTO(make_block(&a));
    for (int i = 0; i < job->n; i++) { SPADE_GOTO(run_class(&a, i)); }
    SPADE_GOTO(finish(&a, maps));
done:
    if (a.block) { device->backend->free(device, a.block, a.bytes); }
    for (int i = 0; i < OPERATIONS; i++) { device->backend->destroy(a.ops[i]); }
    attribution_pass_destroy(&a.pass);
    return status;
}
