/* inner_values.c - values and gradients inside of the network, brought to the host class by class. */
#include "attribution/inner_values.h"

#include "attribution/gradient_driver.h"

typedef struct inner_pass {
    const attribution_job *job;
    attribution_pass pass; /* with gradients */
    spade_executor *executor;
    spade_plan *plan;
    int count;
    spade_shape *shapes; /* [count] */
    float **values;      /* [2 * count]: values, then gradients, which lie in `memory` */
    void *memory;
    size_t bytes;
} inner_pass;

static spade_status open_pass(inner_pass *p, const int *places, bool gradients, int stop)
{
    const attribution_job *job = p->job;
    spade_plan_request request =
        gradients ? spade_relevance_request(1, &spade_rules_gradient) : spade_forward_request(1);
    request.taps = places;
    request.tap_count = p->count;
    request.stop = gradients ? stop : SPADE_TO_INPUT;
    if (gradients) {
        SPADE_TRY(attribution_pass_create(job, &request, &p->pass));
        p->plan = p->pass.plan;
        return SPADE_OK;
    }
    SPADE_TRY(spade_executor_acquire(job->context, &job->model->network, &request, spade_weight_override_of(job->trace),
                                     &p->executor));
    p->plan = p->executor->plan;
    return SPADE_OK;
}

static spade_status make_room(inner_pass *p, bool gradients)
{
    size_t numbers = 0;
    const int copies = gradients ? 2 : 1;
    p->shapes = calloc((size_t)p->count + 1, sizeof *p->shapes);
    p->values = calloc((size_t)p->count * 2 + 1, sizeof *p->values);
    if (!p->shapes || !p->values) { return spade_fail(p->job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < p->count; i++) {
        (void)spade_plan_tap(p->plan, i, &p->shapes[i]);
        numbers += (size_t)spade_shape_size(&p->shapes[i]) * (size_t)copies;
    }
    SPADE_TRY(spade_alloc(p->job->context, numbers * sizeof(float), "values of inner layers", &p->memory));
    p->bytes = numbers * sizeof(float);
    float *next = p->memory;
    for (int i = 0; i < p->count * copies; i++) {
        p->values[i] = next;
        next += spade_shape_size(&p->shapes[i % p->count]);
    }
    return SPADE_OK;
}

static spade_status run_class(inner_pass *p, int index, bool gradients)
{
    const attribution_job *job = p->job;
    spade_device *device = job->context->device;
    const spade_backend *backend = device->backend;
    SPADE_TRY(
        backend->upload(device, spade_plan_input(p->plan, NULL), job->input, sizeof *job->input * (size_t)job->size));
    if (gradients) {
        SPADE_TRY(backend->upload(device, p->pass.targets, &job->classes[index], sizeof *job->classes));
        SPADE_TRY(attribution_pass_run(&p->pass));
    } else {
        SPADE_TRY(spade_executor_forward(p->executor));
    }
    for (int i = 0; i < p->count; i++) {
        const size_t bytes = (size_t)spade_shape_size(&p->shapes[i]) * sizeof(float);
        SPADE_TRY(backend->download(device, p->values[i], spade_plan_tap(p->plan, i, NULL), bytes));
        if (!gradients) { continue; }
        SPADE_TRY(backend->download(device, p->values[p->count + i], spade_plan_tap_relevance(p->plan, i), bytes));
    }
    return backend->synchronize(device);
}

spade_status attribution_inner_values(const attribution_job *job, const int *places, int count, bool gradients,
                                      int stop, attribution_inner_fn each, void *user)
{
    spade_status status = SPADE_OK;
    inner_pass p = {.job = job, .count = count};
    SPADE_GOTO(open_pass(&p, places, gradients, stop));
    SPADE_GOTO(make_room(&p, gradients));
    for (int i = 0; i < (gradients ? job->n : 1); i++) {
        const attribution_inner inner = {.class_index = i,
                                         .count = count,
                                         .values = (const float *const *)p.values,
                                         .gradients = gradients ? (const float *const *)p.values + count : NULL,
                                         .shapes = p.shapes};
        SPADE_GOTO(run_class(&p, i, gradients));
        SPADE_GOTO(each(user, &inner));
    }
done:
    if (p.memory) { spade_free_bytes(job->context, p.memory, p.bytes); }
    free(p.shapes);
    free(p.values);
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
