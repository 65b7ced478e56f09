/* dnnl.c - what the operations on oneDNN share: statuses, shapes, operands, the workspace, running a primitive. */
#include <omp.h>

#include "backend/check.h"
#include "backend/cpu/dnnl.h"

spade_status spade_cpu_dnnl_status(const spade_cpu_dnnl_op *op, dnnl_status_t result, const char *call)
{
    char text[256];
    spade_context *context = op->base.device->context;
    if (result == dnnl_success) { return SPADE_OK; }
    spade_op_describe(&op->base.desc, text, sizeof text);
    if (result == dnnl_out_of_memory) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: oneDNN ran out of memory", text);
    }
    if (result == dnnl_unimplemented || result == dnnl_invalid_arguments) {
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "%s: oneDNN cannot compute it (%s, status %d)", text, call,
                          (int)result);
    }
    return spade_fail(context, SPADE_ERROR_INTERNAL, "%s: oneDNN's %s failed with status %d", text, call, (int)result);
}

void spade_cpu_dnnl_window(const spade_window *window, spade_cpu_window *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 2; i++) {
        out->kernel[i] = window->kernel[i];
        out->stride[i] = window->stride[i];
        out->dilation[i] = window->dilation[i] - 1;
        out->pad_before[i] = window->pad[i];
        out->pad_after[i] = window->pad[2 + i];
    }
}

spade_status spade_cpu_dnnl_shape(const spade_cpu_dnnl_op *op, const spade_shape *shape, dnnl_memory_desc_t *out)
{
    dnnl_dims_t dims = {shape->dims[0], shape->dims[1], shape->dims[2], shape->dims[3]};
    return spade_cpu_dnnl_status(op, dnnl_memory_desc_init_by_tag(out, 4, dims, dnnl_f32, dnnl_nhwc),
                                 "memory_desc_init");
}

spade_status spade_cpu_dnnl_attributes(const spade_cpu_dnnl_op *op, bool relu, dnnl_primitive_attr_t *out)
{
    dnnl_post_ops_t post_ops = NULL;
    dnnl_status_t result = dnnl_primitive_attr_create(out);
    if (result == dnnl_success) { result = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user); }
    if (result == dnnl_success) { result = dnnl_primitive_attr_set_fpmath_mode(*out, dnnl_fpmath_mode_strict); }
    if (result == dnnl_success && relu) {
        result = dnnl_post_ops_create(&post_ops);
        if (result == dnnl_success) {
            result = dnnl_post_ops_append_eltwise(post_ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
        }
        if (result == dnnl_success) { result = dnnl_primitive_attr_set_post_ops(*out, post_ops); }
    }
    if (post_ops) { dnnl_post_ops_destroy(post_ops); }
    return spade_cpu_dnnl_status(op, result, "primitive_attr");
}

spade_status spade_cpu_dnnl_memory(const spade_cpu_dnnl_op *op, const dnnl_memory_desc_t *desc, dnnl_memory_t *out)
{
    return spade_cpu_dnnl_status(
        op, dnnl_memory_create(out, desc, spade_cpu_of(op->base.device)->engine, DNNL_MEMORY_NONE), "memory_create");
}

/* Take `bytes` at the end of the workspace. */
static size_t take_workspace(spade_cpu_dnnl_op *op, size_t bytes)
{
    size_t offset = op->base.workspace_bytes;
    op->base.workspace_bytes += (bytes + SPADE_CPU_ALIGNMENT - 1) / SPADE_CPU_ALIGNMENT * SPADE_CPU_ALIGNMENT;
    return offset;
}

static spade_status plan_operand(spade_cpu_dnnl_op *op, const spade_shape *shape, spade_cpu_operand *operand)
{
    dnnl_memory_desc_t desc;
    SPADE_TRY(spade_cpu_dnnl_shape(op, shape, &desc));
    SPADE_TRY(spade_cpu_dnnl_memory(op, &desc, &operand->memory));
    operand->shape = shape;
    operand->convert =
        shape->layout != SPADE_CHANNELS_LAST && shape->dims[1] != 1 && shape->dims[2] * shape->dims[3] != 1;
    if (operand->convert) { operand->offset = take_workspace(op, (size_t)spade_shape_size(shape) * sizeof(float)); }
    return SPADE_OK;
}

/* Which implementation oneDNN has chosen, said once: the same operation is planned to see what it takes, in several places of
 * a network and for several passes. */
static void log_once(const spade_cpu_dnnl_op *op, const char *implementation)
{
    spade_cpu_device *cpu = spade_cpu_of(op->base.device);
    char text[256], line[400];
    const int length = snprintf(line, sizeof line, "%s: %s, %d threads",
                                spade_op_describe(&op->base.desc, text, sizeof text), implementation, op->threads);
    const uint64_t hash = spade_hash(line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1, 0);
    const int n = cpu->logged_count;
    for (int i = 0; i < n; i++) {
        if (cpu->logged[i] == hash) { return; }
    }
    if ((n & (n - 1)) == 0) { /* room for the next power of two */
        uint64_t *more = realloc(cpu->logged, sizeof *more * 2 * (size_t)(n + 1));
        if (!more) { return; }
        cpu->logged = more;
    }
    cpu->logged[cpu->logged_count++] = hash;
    spade_log(cpu->base.context, SPADE_LOG_DEBUG, "%s", line);
}

spade_status spade_cpu_dnnl_operands(spade_cpu_dnnl_op *op, const_dnnl_primitive_desc_t primitive_desc)
{
    bool backward = op->base.desc.kind == SPADE_OP_CONVOLUTION_BACKWARD || op->base.desc.kind == SPADE_OP_POOL_BACKWARD;
    const char *implementation = "";
    SPADE_TRY(plan_operand(op, backward ? &op->base.desc.y : &op->base.desc.a, &op->input));
    SPADE_TRY(plan_operand(op, backward ? &op->base.desc.a : &op->base.desc.y, &op->output));
    const dnnl_memory_desc_t *scratchpad = dnnl_primitive_desc_query_md(primitive_desc, dnnl_query_scratchpad_md, 0);
    SPADE_TRY(spade_cpu_dnnl_memory(op, scratchpad, &op->scratchpad));
    op->scratchpad_offset = take_workspace(op, dnnl_memory_desc_get_size(scratchpad));
    dnnl_primitive_desc_query(primitive_desc, dnnl_query_impl_info_str, 0, &implementation);
    log_once(op, implementation);
    return SPADE_OK;
}

static void *at(const spade_op_args *args, size_t offset)
{
    return (char *)args->workspace + offset;
}

spade_status spade_cpu_dnnl_execute(spade_cpu_dnnl_op *op, dnnl_primitive_t primitive, const spade_op_args *args,
                                    const dnnl_exec_arg_t *extra, int extra_count)
{
    bool backward = op->base.desc.kind == SPADE_OP_CONVOLUTION_BACKWARD || op->base.desc.kind == SPADE_OP_POOL_BACKWARD;
    const float *from = backward ? args->dy : args->a;
    float *to = op->output.convert ? at(args, op->output.offset) : args->out;
    dnnl_exec_arg_t all[8] = {{backward ? DNNL_ARG_DIFF_DST : DNNL_ARG_SRC, op->input.memory},
                              {backward ? DNNL_ARG_DIFF_SRC : DNNL_ARG_DST, op->output.memory},
                              {DNNL_ARG_SCRATCHPAD, op->scratchpad}};
    for (int i = 0; i < extra_count; i++) { all[3 + i] = extra[i]; }
    if (op->input.convert) {
        float *copy = at(args, op->input.offset);
        spade_cpu_convert(op->base.device, op->input.shape, SPADE_ROW_MAJOR, from, SPADE_CHANNELS_LAST, copy);
        from = copy;
    }
    dnnl_status_t result = dnnl_memory_set_data_handle(op->input.memory, (void *)from); /* read only */
    if (result == dnnl_success) { result = dnnl_memory_set_data_handle(op->output.memory, to); }
    if (result == dnnl_success) {
        result = dnnl_memory_set_data_handle(op->scratchpad, at(args, op->scratchpad_offset));
    }
    int before = spade_set_num_threads(op->threads);
    if (result == dnnl_success) {
        result = dnnl_primitive_execute(primitive, spade_cpu_of(op->base.device)->stream, 3 + extra_count, all);
    }
    if (result == dnnl_success) { result = dnnl_stream_wait(spade_cpu_of(op->base.device)->stream); }
    spade_set_num_threads(before);
    SPADE_TRY(spade_cpu_dnnl_status(op, result, "primitive_execute"));
    if (op->output.convert) {
        spade_cpu_convert(op->base.device, op->output.shape, SPADE_CHANNELS_LAST, to, SPADE_ROW_MAJOR, args->out);
    }
    return SPADE_OK;
}

void spade_cpu_dnnl_destroy(spade_op *base)
{
    const spade_cpu_dnnl_op *op = spade_cpu_dnnl_of(base);
    dnnl_memory_t memories[] = {op->input.memory, op->output.memory, op->weights, op->bias, op->saved, op->scratchpad};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++) {
        if (memories[i]) { dnnl_memory_destroy(memories[i]); }
    }
    if (op->primitive) { dnnl_primitive_destroy(op->primitive); }
    if (op->without_saved) { dnnl_primitive_destroy(op->without_saved); }
}
