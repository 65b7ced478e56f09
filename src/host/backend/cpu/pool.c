/*
 * pool.c - maximum and average pooling and their backward, on oneDNN. `saved` is oneDNN's workspace of the forward
 * pass: which position of the window was the maximum.
 */
#include <math.h>

#include "backend/check.h"
#include "backend/cpu/dnnl.h"

/* oneDNN's padding after the image: as given, or what the last window reaches where the output was rounded up. */
static int64_t padding_after(const spade_cpu_dnnl_op *op, int axis)
{
    const spade_window *w = &op->base.desc.window;
    int64_t extent = (w->kernel[axis] - 1) * w->dilation[axis] + 1;
    int64_t reached =
        (op->base.desc.y.dims[2 + axis] - 1) * w->stride[axis] + extent - op->base.desc.a.dims[2 + axis] - w->pad[axis];
    return reached > w->pad[2 + axis] ? reached : w->pad[2 + axis];
}

static void pool_window(const spade_cpu_dnnl_op *op, spade_cpu_window *out)
{
    spade_cpu_dnnl_window(&op->base.desc.window, out);
    for (int axis = 0; axis < 2; axis++) { out->pad_after[axis] = padding_after(op, axis); }
}

static dnnl_alg_kind_t algorithm(const spade_cpu_dnnl_op *op)
{
    if (op->base.desc.pool_max) { return dnnl_pooling_max; }
    return op->base.desc.count_padding ? dnnl_pooling_avg_include_padding : dnnl_pooling_avg_exclude_padding;
}

static spade_status create_forward(spade_cpu_dnnl_op *op, dnnl_prop_kind_t kind, dnnl_primitive_attr_t attributes,
                                   dnnl_primitive_desc_t *out)
{
    spade_cpu_window w;
    dnnl_memory_desc_t x, y;
    dnnl_pooling_v2_desc_t desc;
    pool_window(op, &w);
    SPADE_TRY(spade_cpu_dnnl_shape(op, &op->base.desc.a, &x));
    SPADE_TRY(spade_cpu_dnnl_shape(op, &op->base.desc.y, &y));
    dnnl_status_t result = dnnl_pooling_v2_forward_desc_init(&desc, kind, algorithm(op), &x, &y, w.stride, w.kernel,
                                                             w.dilation, w.pad_before, w.pad_after);
    SPADE_TRY(spade_cpu_dnnl_status(op, result, "pooling_forward_desc_init"));
    return spade_cpu_dnnl_status(
        op, dnnl_primitive_desc_create(out, &desc, attributes, spade_cpu_of(op->base.device)->engine, NULL),
        "primitive_desc_create");
}

static spade_status create_backward(spade_cpu_dnnl_op *op, dnnl_primitive_attr_t attributes, dnnl_primitive_desc_t hint,
                                    dnnl_primitive_desc_t *out)
{
    spade_cpu_window w;
    dnnl_memory_desc_t dx, dy;
    dnnl_pooling_v2_desc_t desc;
    pool_window(op, &w);
    SPADE_TRY(spade_cpu_dnnl_shape(op, &op->base.desc.a, &dx));
    SPADE_TRY(spade_cpu_dnnl_shape(op, &op->base.desc.y, &dy));
    dnnl_status_t result = dnnl_pooling_v2_backward_desc_init(&desc, algorithm(op), &dx, &dy, w.stride, w.kernel,
                                                              w.dilation, w.pad_before, w.pad_after);
    SPADE_TRY(spade_cpu_dnnl_status(op, result, "pooling_backward_desc_init"));
    return spade_cpu_dnnl_status(
        op, dnnl_primitive_desc_create(out, &desc, attributes, spade_cpu_of(op->base.device)->engine, hint),
        "primitive_desc_create");
}

/* Forward: `saved` as this primitive writes it. Backward: as the forward pass wrote it. */
static spade_status plan_saved(spade_cpu_dnnl_op *op, const_dnnl_primitive_desc_t training)
{
    const dnnl_memory_desc_t *desc = dnnl_primitive_desc_query_md(training, dnnl_query_workspace_md, 0);
    op->base.saved_bytes = dnnl_memory_desc_get_size(desc);
    return spade_cpu_dnnl_memory(op, desc, &op->saved);
}

static size_t scratchpad_bytes(const_dnnl_primitive_desc_t primitive_desc)
{
    return dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(primitive_desc, dnnl_query_scratchpad_md, 0));
}

static spade_status plan(spade_op *base)
{
    spade_cpu_dnnl_op *op = spade_cpu_dnnl_of(base);
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t training = NULL, inference = NULL, backward = NULL;
    spade_status status;
    bool is_backward = op->base.desc.kind == SPADE_OP_POOL_BACKWARD;
    if (spade_op_is_global_average(&op->base.desc)) { return SPADE_OK; }
    /* oneDNN adds overlapping windows in an order that depends on the number of threads */
    op->threads = is_backward ? 1 : spade_cpu_threads(base->device);
    int before = spade_set_num_threads(op->threads);
    for (int axis = 0; axis < 2; axis++) {
        if (!op->base.desc.pool_max && op->base.desc.count_padding &&
            padding_after(op, axis) > op->base.desc.window.pad[2 + axis]) {
            char text[256];
            status = spade_fail(op->base.device->context, SPADE_ERROR_UNSUPPORTED,
                                "%s: an average that counts padding, with the output size rounded up",
                                spade_op_describe(&op->base.desc, text, sizeof text));
            goto done;
        }
    }
    SPADE_GOTO(spade_cpu_dnnl_attributes(op, false, &attributes));
    SPADE_GOTO(create_forward(op, dnnl_forward_training, attributes, &training));
    if (is_backward) { SPADE_GOTO(create_backward(op, attributes, training, &backward)); }
    if (op->base.desc.pool_max) { SPADE_GOTO(plan_saved(op, training)); }
    if (op->base.desc.pool_max && !is_backward) {
        SPADE_GOTO(create_forward(op, dnnl_forward_inference, attributes, &inference));
        SPADE_GOTO(spade_cpu_dnnl_status(op, dnnl_primitive_create(&op->without_saved, inference), "primitive_create"));
    }
    dnnl_primitive_desc_t wanted = is_backward ? backward : training;
    SPADE_GOTO(spade_cpu_dnnl_status(op, dnnl_primitive_create(&op->primitive, wanted), "primitive_create"));
    /* one scratchpad for both forward primitives */
    SPADE_GOTO(spade_cpu_dnnl_operands(
        op, inference && scratchpad_bytes(inference) > scratchpad_bytes(wanted) ? inference : wanted));
done:
    spade_set_num_threads(before);
    if (backward) { dnnl_primitive_desc_destroy(backward); }
    if (inference) { dnnl_primitive_desc_destroy(inference); }
    if (training) { dnnl_primitive_desc_destroy(training); }
    if (attributes) { dnnl_primitive_attr_destroy(attributes); }
    return status;
}

/* oneDNN's maximum passes over NaN, as if the network were sound. */
static spade_status refuse_nan(const spade_cpu_dnnl_op *op, const float *x)
{
    spade_device *device = op->base.device;
    float largest = 0;
    SPADE_TRY(spade_cpu_magnitude(device, spade_shape_size(&op->base.desc.a), x, &largest));
    return isnan(largest) ? spade_fail(device->context, SPADE_ERROR_NUMERICAL, "max pooling: its input holds NaN")
                          : SPADE_OK;
}

static spade_status run(spade_op *base, const spade_op_args *args)
{
    spade_cpu_dnnl_op *op = spade_cpu_dnnl_of(base);
    if (spade_op_is_global_average(&op->base.desc)) { return spade_cpu_global_average_run(base, args); }
    if (op->base.desc.pool_max && op->base.desc.kind == SPADE_OP_POOL) { SPADE_TRY(refuse_nan(op, args->a)); }
    if (!op->base.desc.pool_max) { return spade_cpu_dnnl_execute(op, op->primitive, args, NULL, 0); }
    if (!args->saved) {
        if (op->base.desc.kind == SPADE_OP_POOL_BACKWARD) {
            return spade_fail(op->base.device->context, SPADE_ERROR_ARGUMENT,
                              "max pooling's backward needs what the forward saved");
        }
        return spade_cpu_dnnl_execute(op, op->without_saved, args, NULL, 0);
    }
    dnnl_exec_arg_t extra = {DNNL_ARG_WORKSPACE, op->saved};
    SPADE_TRY(spade_cpu_dnnl_status(op, dnnl_memory_set_data_handle(op->saved, args->saved), "memory_set_data_handle"));
    return spade_cpu_dnnl_execute(op, op->primitive, args, &extra, 1);
}

const spade_op_entry spade_cpu_pool_op = {
    .state_bytes = sizeof(spade_cpu_dnnl_op), .plan = plan, .destroy = spade_cpu_dnnl_destroy, .run = run};

const spade_op_entry spade_cpu_pool_backward_op = {
    .state_bytes = sizeof(spade_cpu_dnnl_op), .plan = plan, .destroy = spade_cpu_dnnl_destroy, .run = run};
