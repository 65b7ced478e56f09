/*
 * inner_values.c - values and gradients inside of the network, brought to the host.
 *
 * They stay on the device until the passes of several targets are done, and come in one piece:
 *
 *   the call's block there, and its copy on the host: | values of all places | gradients of the first target | of the second | ..
 *
 * as many targets as MAX_BYTES hold, at least one.
 */
#include "attribution/inner_values.h"

#include "attribution/gradient_driver.h"

enum { MAX_BYTES = 1 << 26 };

typedef struct inner_pass {
    const attribution_job *job;
    attribution_pass pass; /* with gradients */
    spade_executor *executor;
    spade_plan *plan;
    int count;
    bool gradients;
    spade_shape *shapes; /* [count] */
    const float **parts; /* [2 * count]: values and gradients of one target, in the host's copy */
    int64_t size;        /* of all places */
    int targets;         /* at a time */
    size_t bytes;
    void *block, *copy;
} inner_pass;

static spade_status open_pass(inner_pass *p, const int *places, int stop)
{
    const attribution_job *job = p->job;
    spade_plan_request request =
        p->gradients ? spade_relevance_request(1, &spade_rules_gradient) : spade_forward_request(1);
    request.taps = places;
    request.tap_count = p->count;
    request.stop = p->gradients ? stop : SPADE_TO_INPUT;
    request.repeat = p->gradients && job->n > 1;
    if (p->gradients) {
        SPADE_TRY(attribution_pass_create(job, &request, &p->pass));
        p->plan = p->pass.plan;
        return SPADE_OK;
    }
    SPADE_TRY(spade_executor_acquire(job->context, &job->model->network, &request, spade_weight_override_of(job->trace),
                                     &p->executor));
    p->plan = p->executor->plan;
    return SPADE_OK;
}

static spade_status make_room(inner_pass *p)
{
    const attribution_job *job = p->job;
    spade_device *device = job->context->device;
    p->shapes = calloc((size_t)p->count + 1, sizeof *p->shapes);
    p->parts = calloc((size_t)p->count * 2 + 1, sizeof *p->parts);
    if (!p->shapes || !p->parts) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < p->count; i++) {
        (void)spade_plan_tap(p->plan, i, &p->shapes[i]);
        p->size += spade_shape_size(&p->shapes[i]);
    }
    const size_t one = (size_t)p->size * sizeof(float), fit = one < MAX_BYTES ? MAX_BYTES / one : 1;
    p->targets = !p->gradients ? 0 : fit < (size_t)job->n ? (int)fit : job->n;
    const size_t bytes = one * (size_t)(1 + p->targets);
    SPADE_TRY(spade_alloc(job->context, bytes, "values of inner layers", &p->copy));
    p->bytes = bytes;
    return device->backend->alloc(device, bytes, "values of inner layers", &p->block);
}

/* The places' values, or their gradients, to piece `piece` of the block. */
static spade_status keep(inner_pass *p, int piece, bool gradients)
{
    spade_device *device = p->job->context->device;
    float *to = (float *)p->block + piece * p->size;
    for (int i = 0; i < p->count; i++) {
        const int64_t size = spade_shape_size(&p->shapes[i]);
        const float *from = gradients ? spade_plan_tap_relevance(p->plan, i) : spade_plan_tap(p->plan, i, NULL);
        SPADE_TRY(device->backend->copy(device, to, from, (size_t)size * sizeof *to));
        to += size;
    }
    return SPADE_OK;
}

/* Targets first .. first+count-1 of the job; the first of all runs forward, for the others as well. */
static spade_status run_targets(inner_pass *p, int first, int count)
{
    const attribution_job *job = p->job;
    spade_device *device = job->context->device;
    const spade_backend *backend = device->backend;
    const size_t input_bytes = sizeof *job->input * (size_t)job->size;
    if (first == 0) { SPADE_TRY(backend->upload(device, spade_plan_input(p->plan, NULL), job->input, input_bytes)); }
    for (int i = 0; i < (p->gradients ? count : 1); i++) {
        if (p->gradients) {
            const spade_seed_target target = attribution_seed_target(&job->targets[first + i]);
            SPADE_TRY(backend->upload(device, p->pass.targets, &target, sizeof target));
            SPADE_TRY(first + i == 0 ? attribution_pass_run(&p->pass) : attribution_pass_again(&p->pass));
            SPADE_TRY(keep(p, 1 + i, true));
        } else {
            SPADE_TRY(spade_executor_forward(p->executor));
        }
        if (i == 0) { SPADE_TRY(keep(p, 0, false)); }
    }
    SPADE_TRY(backend->download(device, p->copy, p->block, sizeof(float) * (size_t)(p->size * (1 + count))));
    return backend->synchronize(device);
}

static spade_status show_target(inner_pass *p, int target, int piece, attribution_inner_fn each, void *user)
{
    const float *value = p->copy, *gradient = value + (p->gradients ? piece * p->size : 0);
    for (int i = 0; i < p->count; i++) {
        p->parts[i] = value;
        p->parts[p->count + i] = gradient;
        value += spade_shape_size(&p->shapes[i]);
        gradient += spade_shape_size(&p->shapes[i]);
    }
    const attribution_inner inner = {.target = target,
                                     .count = p->count,
                                     .values = p->parts,
                                     .gradients = p->gradients ? p->parts + p->count : NULL,
                                     .shapes = p->shapes};
    return each(user, &inner);
}

spade_status attribution_inner_values(const attribution_job *job, const int *places, int count, bool gradients,
                                      int stop, attribution_inner_fn each, void *user)
{
    spade_device *device = job->context->device;
    spade_status status = SPADE_OK;
    inner_pass p = {.job = job, .count = count, .gradients = gradients};
    const int targets = gradients ? job->n : 1;
    SPADE_GOTO(open_pass(&p, places, stop));
    SPADE_GOTO(make_room(&p));
    for (int first = 0; first < targets; first += gradients ? p.targets : 1) {
        const int now = targets - first < p.targets ? targets - first : p.targets;
        SPADE_GOTO(run_targets(&p, first, now));
        for (int i = 0; i < (gradients ? now : 1); i++) { SPADE_GOTO(show_target(&p, first + i, 1 + i, each, user)); }
    }
done:
    if (p.block) { device->backend->free(device, p.block, p.bytes); }
    if (p.copy) { spade_free_bytes(job->context, p.copy, p.bytes); }
    free(p.shapes);
    free(p.parts);
    attribution_pass_destroy(&p.pass);
    spade_executor_release(p.executor);
    return status;
}

/* ---- in another order */

static void find_strides(const spade_shape *shape, int64_t strides[SPADE_MAX_RANK])
{
    static const int channels_last[4] = {0, 2, 3, 1};
    int64_t stride = 1;
    for (int place = shape->rank - 1; place >= 0; place--) {
        const int axis = shape->layout == SPADE_CHANNELS_LAST ? channels_last[place] : place;
        strides[axis] = stride;
        stride *= shape->dims[axis];
    }
}

void attribution_arrange(const float *value, const spade_shape *shape, const attribution_range *rows,
                         const attribution_range *columns, float *to)
{
    int64_t strides[SPADE_MAX_RANK], at[SPADE_MAX_RANK] = {0}; /* of the other axes */
    find_strides(shape, strides);
    const int64_t row_stride = rows->axis < 0 ? 0 : strides[rows->axis];
    const int64_t column_stride = columns->axis < 0 ? 0 : strides[columns->axis];
    const int64_t start = rows->first * row_stride + columns->first * column_stride;
    for (int axis = 0; axis >= 0;) {
        int64_t offset = start;
        for (int i = 0; i < shape->rank; i++) { offset += at[i] * strides[i]; }
        for (int64_t y = 0; y < rows->count; y++) {
            for (int64_t x = 0; x < columns->count; x++) { *to++ = value[offset + y * row_stride + x * column_stride]; }
        }
        for (axis = shape->rank - 1; axis >= 0; axis--) { /* the next of the other axes' places */
            if (axis == rows->axis || axis == columns->axis) { continue; }
            if (++at[axis] < shape->dims[axis]) { break; }
            at[axis] = 0;
        }
    }
}
