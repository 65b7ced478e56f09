/*
 * convolution.c - convolution and its backward-data, on oneDNN. Direct algorithms only: Winograd's rounding is another
 * one.
 *
 * Packed weights: [the primitive's own format][zeros, one per output channel: the bias where there is none]; of phases.h
 * those of the convolution that it is computed as.
 */
#include "backend/cpu/dnnl.h"
#include "backend/cpu/phases.h"

typedef struct cpu_convolution {
    spade_cpu_dnnl_op direct; /* first: a spade_op is cast to this */
    spade_op *phases;         /* the convolution that it is computed as; NULL: directly */
    size_t z_offset;          /* of what that gives, in the workspace */
} cpu_convolution;

static cpu_convolution *convolution_of(spade_op *base)
{
    return (cpu_convolution *)base;
}

/* Weights as oneDNN counts them: [O, I, kh, kw], or [G, O/G, I/G, kh, kw]. */
static spade_status weights_desc(const spade_cpu_dnnl_op *op, bool row_major, dnnl_memory_desc_t *out)
{
    const spade_op_desc *d = &op->base.desc;
    int64_t inputs = d->a.dims[1], outputs = d->y.dims[1];
    dnnl_dims_t plain = {outputs, inputs, d->window.kernel[0], d->window.kernel[1]};
    dnnl_dims_t grouped = {d->groups, outputs / d->groups, inputs / d->groups, d->window.kernel[0],
                           d->window.kernel[1]};
    bool groups = d->groups > 1;
    dnnl_format_tag_t tag = !row_major ? dnnl_format_tag_any : groups ? dnnl_goihw : dnnl_oihw;
    dnnl_status_t result = dnnl_memory_desc_init_by_tag(out, groups ? 5 : 4, groups ? grouped : plain, dnnl_f32, tag);
    return spade_cpu_dnnl_status(op, result, "memory_desc_init");
}

static spade_status describe_forward(const spade_cpu_dnnl_op *op, dnnl_convolution_desc_t *out)
{
    spade_cpu_window w;
    dnnl_memory_desc_t x, weights, bias, y;
    dnnl_dims_t rows = {op->base.desc.y.dims[1]};
    spade_cpu_dnnl_window(&op->base.desc.window, &w);
    SPADE_TRY(spade_cpu_dnnl_shape(op, &op->base.desc.a, &x));
    SPADE_TRY(spade_cpu_dnnl_shape(op, &op->base.desc.y, &y));
    SPADE_TRY(weights_desc(op, false, &weights));
    SPADE_TRY(
        spade_cpu_dnnl_status(op, dnnl_memory_desc_init_by_tag(&bias, 1, rows, dnnl_f32, dnnl_a), "memory_desc_init"));
    dnnl_status_t result =
        dnnl_dilated_convolution_forward_desc_init(out, dnnl_forward_training, dnnl_convolution_direct, &x, &weights,
                                                   &bias, &y, w.stride, w.dilation, w.pad_before, w.pad_after);
    return spade_cpu_dnnl_status(op, result, "convolution_forward_desc_init");
}

static spade_status describe_backward(const spade_cpu_dnnl_op *op, dnnl_convolution_desc_t *out)
{
    spade_cpu_window w;
    dnnl_memory_desc_t dx, weights, dy;
    spade_cpu_dnnl_window(&op->base.desc.window, &w);
    SPADE_TRY(spade_cpu_dnnl_shape(op, &op->base.desc.a, &dx));
    SPADE_TRY(spade_cpu_dnnl_shape(op, &op->base.desc.y, &dy));
    SPADE_TRY(weights_desc(op, false, &weights));
    dnnl_status_t result = dnnl_dilated_convolution_backward_data_desc_init(
        out, dnnl_convolution_direct, &dx, &weights, &dy, w.stride, w.dilation, w.pad_before, w.pad_after);
    return spade_cpu_dnnl_status(op, result, "convolution_backward_data_desc_init");
}

static const char *implementation_of(const_dnnl_primitive_desc_t primitive_desc)
{
    const char *name = "";
    dnnl_primitive_desc_query(primitive_desc, dnnl_query_impl_info_str, 0, &name);
    return name;
}

static bool begins_with_one_of(const char *text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(text, names[i], strlen(names[i])) == 0) { return true; }
    }
    return false;
}

/* Blocked products go through the input channels in blocks, whose size, and with it the order of the sums, depends on the
 * number of threads and of images. */
static bool changes_order(const char *implementation)
{
    static const char *const names[] = {"brgconv:"};
    return begins_with_one_of(implementation, names, sizeof names / sizeof *names);
}

/* Threads share the results between them, in any way, and each sum has one order. Those of matrix products split sums as
 * well, and what others do is not known. */
static bool shares_results(const char *implementation)
{
    static const char *const names[] = {"jit:", "jit_1x1:", "jit_dw:", "brgconv_1x1:", "brdgmm_dw:"};
    return begins_with_one_of(implementation, names, sizeof names / sizeof *names);
}

/* The first of oneDNN's implementations that keeps the order of its sums. */
static spade_status first_in_order(const spade_cpu_dnnl_op *op, const_dnnl_op_desc_t desc,
                                   const_dnnl_primitive_attr_t attributes, const_dnnl_primitive_desc_t hint,
                                   dnnl_primitive_desc_t *out)
{
    dnnl_primitive_desc_iterator_t iterator;
    dnnl_engine_t engine = spade_cpu_of(op->base.device)->engine;
    dnnl_status_t result = dnnl_primitive_desc_iterator_create(&iterator, desc, attributes, engine, hint);
    *out = NULL;
    SPADE_TRY(spade_cpu_dnnl_status(op, result, "primitive_desc_iterator_create"));
    while (result == dnnl_success) {
        *out = dnnl_primitive_desc_iterator_fetch(iterator);
        if (!*out) { result = dnnl_out_of_memory; }
        if (!*out || !changes_order(implementation_of(*out))) { break; }
        dnnl_primitive_desc_destroy(*out);
        *out = NULL;
        result = dnnl_primitive_desc_iterator_next(iterator);
    }
    dnnl_primitive_desc_iterator_destroy(iterator);
    if (result == dnnl_iterator_ends) { result = dnnl_unimplemented; }
    return spade_cpu_dnnl_status(op, result, "primitive_desc_iterator_next");
}

/* The primitive's descriptor for so many threads. */
static spade_status create_desc(const spade_cpu_dnnl_op *op, int threads, dnnl_primitive_desc_t *out)
{
    dnnl_convolution_desc_t forward, backward;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t hint = NULL;
    spade_status status;
    bool is_backward = op->base.desc.kind == SPADE_OP_CONVOLUTION_BACKWARD;
    int before = spade_set_num_threads(threads);
    SPADE_GOTO(spade_cpu_dnnl_attributes(op, op->base.desc.relu && !is_backward, &attributes));
    SPADE_GOTO(describe_forward(op, &forward));
    if (!is_backward) {
        SPADE_GOTO(first_in_order(op, &forward, attributes, NULL, out));
    } else {
        SPADE_GOTO(spade_cpu_dnnl_status(
            op, dnnl_primitive_desc_create(&hint, &forward, attributes, spade_cpu_of(op->base.device)->engine, NULL),
            "primitive_desc_create"));
        SPADE_GOTO(describe_backward(op, &backward));
        SPADE_GOTO(first_in_order(op, &backward, attributes, hint, out));
    }
done:
    spade_set_num_threads(before);
    if (hint) { dnnl_primitive_desc_destroy(hint); }
    if (attributes) { dnnl_primitive_attr_destroy(attributes); }
    return status;
}

/* The descriptor to take, made for op->threads threads. Its implementation is the one for one thread, whatever the number of
 * threads: another would be another order. */
static spade_status choose(spade_cpu_dnnl_op *op, dnnl_primitive_desc_t *out)
{
    const int available = spade_cpu_threads(op->base.device);
    dnnl_primitive_desc_t for_all = NULL;
    op->threads = 1;
    SPADE_TRY(create_desc(op, 1, out));
    if (available == 1 || !shares_results(implementation_of(*out))) { return SPADE_OK; }
    SPADE_TRY(create_desc(op, available, &for_all));
    const bool same = strcmp(implementation_of(*out), implementation_of(for_all)) == 0;
    dnnl_primitive_desc_destroy(same ? *out : for_all);
    if (same) {
        *out = for_all;
        op->threads = available;
    }
    return SPADE_OK;
}

static spade_status plan_weights(spade_cpu_dnnl_op *op, const_dnnl_primitive_desc_t primitive_desc)
{
    const dnnl_memory_desc_t *packed = dnnl_primitive_desc_query_md(primitive_desc, dnnl_query_weights_md, 0);
    SPADE_TRY(spade_cpu_dnnl_memory(op, packed, &op->weights));
    size_t bytes = dnnl_memory_desc_get_size(packed);
    op->bias_offset = (bytes + SPADE_CPU_ALIGNMENT - 1) / SPADE_CPU_ALIGNMENT * SPADE_CPU_ALIGNMENT;
    op->base.packed_bytes = op->bias_offset;
    if (op->base.desc.kind == SPADE_OP_CONVOLUTION) {
        op->base.packed_bytes += (size_t)op->base.desc.y.dims[1] * sizeof(float);
        const dnnl_memory_desc_t *bias = dnnl_primitive_desc_query_md(primitive_desc, dnnl_query_weights_md, 1);
        SPADE_TRY(spade_cpu_dnnl_memory(op, bias, &op->bias));
    }
    return SPADE_OK;
}

/* The layer's backward-data as a convolution of stride 1: phases.h. */
static spade_status plan_phases(spade_op *base, const spade_op_desc *forward)
{
    cpu_convolution *op = convolution_of(base);
    SPADE_TRY(spade_op_plan(base->device, forward, &op->phases));
    op->z_offset =
        (spade_op_workspace_bytes(op->phases) + SPADE_CPU_ALIGNMENT - 1) / SPADE_CPU_ALIGNMENT * SPADE_CPU_ALIGNMENT;
    base->workspace_bytes = op->z_offset + (size_t)spade_shape_size(&forward->y) * sizeof(float);
    base->packed_bytes = spade_op_packed_bytes(op->phases);
    return SPADE_OK;
}

static spade_status plan(spade_op *base)
{
    spade_op_desc forward;
    if (spade_cpu_phases_plan(&base->desc, &forward)) { return plan_phases(base, &forward); }
    spade_cpu_dnnl_op *op = spade_cpu_dnnl_of(base);
    dnnl_primitive_desc_t primitive_desc = NULL;
    spade_status status;
    SPADE_GOTO(choose(op, &primitive_desc));
    int before = spade_set_num_threads(op->threads);
    dnnl_status_t result = dnnl_primitive_create(&op->primitive, primitive_desc);
    spade_set_num_threads(before);
    SPADE_GOTO(spade_cpu_dnnl_status(op, result, "primitive_create"));
    SPADE_GOTO(plan_weights(op, primitive_desc));
    SPADE_GOTO(spade_cpu_dnnl_operands(op, primitive_desc));
done:
    if (primitive_desc) { dnnl_primitive_desc_destroy(primitive_desc); }
    return status;
}

/* Reorder row-major weights into the primitive's format. Only moves numbers. */
static dnnl_status_t reorder_weights(const spade_cpu_dnnl_op *op, const dnnl_memory_desc_t *from, const float *weights)
{
    const dnnl_memory_desc_t *to;
    dnnl_memory_t source = NULL;
    dnnl_primitive_desc_t primitive_desc = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_engine_t engine = spade_cpu_of(op->base.device)->engine;
    int before = spade_set_num_threads(spade_cpu_threads(op->base.device));
    dnnl_status_t result = dnnl_memory_get_memory_desc(op->weights, &to);
    if (result == dnnl_success) { result = dnnl_memory_create(&source, from, engine, (void *)weights); /* read only */ }
    if (result == dnnl_success) {
        result = dnnl_reorder_primitive_desc_create(&primitive_desc, from, engine, to, engine, NULL);
    }
    if (result == dnnl_success) { result = dnnl_primitive_create(&primitive, primitive_desc); }
    if (result == dnnl_success) {
        dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, op->weights}};
        result = dnnl_primitive_execute(primitive, spade_cpu_of(op->base.device)->stream, 2, arguments);
    }
    if (result == dnnl_success) { result = dnnl_stream_wait(spade_cpu_of(op->base.device)->stream); }
    spade_set_num_threads(before);
    if (primitive) { dnnl_primitive_destroy(primitive); }
    if (primitive_desc) { dnnl_primitive_desc_destroy(primitive_desc); }
    if (source) { dnnl_memory_destroy(source); }
    return result;
}

static spade_status pack_phases(spade_op *base, const float *weights, const float *row_scale, void *packed)
{
    spade_context *context = base->device->context;
    spade_op *phases = convolution_of(base)->phases;
    const spade_window *window = &phases->desc.window;
    const int64_t columns = phases->desc.a.dims[1] * window->kernel[0] * window->kernel[1];
    const size_t bytes = (size_t)(phases->desc.y.dims[1] * columns) * sizeof(float);
    void *kernels;
    SPADE_TRY(spade_alloc(context, bytes, "weights of a convolution's phases", &kernels));
    spade_cpu_phases_weights(&base->desc, &phases->desc, weights, row_scale, kernels);
    const spade_status status = spade_op_pack(phases, kernels, NULL, packed);
    spade_free_bytes(context, kernels, bytes);
    return status;
}

static spade_status pack(spade_op *base, const float *weights, const float *row_scale, void *packed)
{
    if (convolution_of(base)->phases) { return pack_phases(base, weights, row_scale, packed); }
    const spade_cpu_dnnl_op *op = spade_cpu_dnnl_of(base);
    spade_context *context = op->base.device->context;
    const spade_window *window = &op->base.desc.window;
    int64_t rows = op->base.desc.y.dims[1];
    int64_t columns = op->base.desc.a.dims[1] / op->base.desc.groups * window->kernel[0] * window->kernel[1];
    size_t bytes = (size_t)(rows * columns) * sizeof(float);
    float *scaled = NULL;
    dnnl_memory_desc_t plain;
    spade_status status;
    SPADE_GOTO(weights_desc(op, true, &plain));
    if (row_scale) {
        SPADE_GOTO(spade_alloc(context, bytes, "scaled weights", (void **)&scaled));
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t c = 0; c < columns; c++) { scaled[r * columns + c] = weights[r * columns + c] * row_scale[r]; }
        }
        weights = scaled;
    }
    memset((char *)packed + op->bias_offset, 0, op->base.packed_bytes - op->bias_offset);
    SPADE_GOTO(spade_cpu_dnnl_status(op, dnnl_memory_set_data_handle(op->weights, packed), "memory_set_data_handle"));
    SPADE_GOTO(spade_cpu_dnnl_status(op, reorder_weights(op, &plain, weights), "reorder"));
done:
    spade_free_bytes(context, scaled, bytes);
    return status;
}

static spade_status run_phases(const cpu_convolution *op, const spade_op_args *args)
{
    const spade_op *base = &op->direct.base;
    float *z = (float *)((char *)args->workspace + op->z_offset);
    const spade_op_args forward = {.a = args->dy, .packed = args->packed, .workspace = args->workspace, .out = z};
    SPADE_TRY(spade_op_run(op->phases, &forward));
    spade_cpu_phases_place(base->device, &base->desc, &op->phases->desc, z, args->out);
    return SPADE_OK;
}

static void destroy(spade_op *base)
{
    spade_op_destroy(convolution_of(base)->phases);
    spade_cpu_dnnl_destroy(base);
}

static spade_status run(spade_op *base, const spade_op_args *args)
{
    if (convolution_of(base)->phases) { return run_phases(convolution_of(base), args); }
    spade_cpu_dnnl_op *op = spade_cpu_dnnl_of(base);
    char *packed = (char *)args->packed; /* read only */
    dnnl_exec_arg_t extra[] = {{DNNL_ARG_WEIGHTS, op->weights}, {DNNL_ARG_BIAS, op->bias}};
    dnnl_status_t result = dnnl_memory_set_data_handle(op->weights, packed);
    if (result == dnnl_success && op->bias) {
        result = dnnl_memory_set_data_handle(op->bias, args->bias ? (void *)args->bias : packed + op->bias_offset);
    }
    SPADE_TRY(spade_cpu_dnnl_status(op, result, "memory_set_data_handle"));
    return spade_cpu_dnnl_execute(op, op->primitive, args, extra, op->bias ? 2 : 1);
}

const spade_op_entry spade_cpu_convolution_op = {
    .state_bytes = sizeof(cpu_convolution), .plan = plan, .destroy = destroy, .pack = pack, .run = run};
