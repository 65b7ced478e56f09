/*
 * convolution.c - convolution and its backward-data: a cuDNN graph or a product by cuBLAS, and what these leave out in
 * own kernels (kernels/convolution.cu).
 *
 * Planned on the first candidate of the search (dnn/search.c), or on a timed one (dnn.h). A planned convolution is kept
 * by the device: to plan the same again costs nothing.
 *
 * Packed weights: [weights in the graph's layout and type][zeros, one per output channel: the bias where there is
 * none]. Workspace: [x or dy as the graph wants it][its result, where the tensor is stored otherwise][cuDNN's own].
 */
#include <float.h>
#include <inttypes.h>

#include "backend/check.h"
#include "backend/cuda/dnn/dnn.h"

enum { TIMED_RUNS = 3 };

/* A planned operation: the device has the convolution. */
typedef struct convolution_op {
    spade_op base;
    spade_cuda_convolution *convolution;
} convolution_op;

struct spade_cuda_convolution {
    spade_cuda_convolution *next;
    char key[512];
    spade_dnn_candidate chosen;
    bool copy_in, copy_out;     /* tensors pass through the workspace */
    size_t in_bytes, out_bytes; /* there */
    size_t in_offset, out_offset, scratch_offset, workspace_bytes;
    size_t bias_offset, packed_bytes;
};

static const spade_cuda_convolution *convolution_of(const spade_op *op)
{
    return ((const convolution_op *)op)->convolution;
}

static bool is_backward(const spade_op_desc *desc)
{
    return desc->kind == SPADE_OP_CONVOLUTION_BACKWARD;
}

/* Is the tensor the same bytes in both layouts? */
static bool same_bytes(const spade_shape *shape)
{
    return shape->dims[1] == 1 || shape->dims[2] * shape->dims[3] == 1;
}

/* Where everything lies in the workspace and in the packed weights. */
static void lay_out(const spade_op_desc *desc, spade_cuda_convolution *c)
{
    bool backward = is_backward(desc);
    const spade_shape *in = backward ? &desc->y : &desc->a, *out = backward ? &desc->a : &desc->y;
    spade_shape x = spade_dnn_input_shape(desc, &c->chosen.variant);
    size_t element = c->chosen.variant.half ? sizeof(uint16_t) : sizeof(float), used = 0;
    size_t weights =
        (size_t)(desc->y.dims[1] * (desc->a.dims[1] / desc->groups) * desc->window.kernel[0] * desc->window.kernel[1]);
    c->in_bytes = (size_t)spade_shape_size(backward ? &desc->y : &x) * element;
    c->out_bytes = (size_t)spade_shape_size(backward ? &x : &desc->y) * element;
    c->copy_in = c->chosen.variant.half || (in->layout != c->chosen.variant.layout && !same_bytes(in)) ||
                 (c->chosen.variant.padded && !backward);
    c->copy_out = c->chosen.variant.half || (out->layout != c->chosen.variant.layout && !same_bytes(out)) ||
                  (c->chosen.variant.padded && backward);
    c->in_offset = used;
    if (c->copy_in) { (void)spade_cuda_take(NULL, &used, c->in_bytes); }
    c->out_offset = used;
    if (c->copy_out) { (void)spade_cuda_take(NULL, &used, c->out_bytes); }
    c->scratch_offset = used;
    (void)spade_cuda_take(NULL, &used, c->chosen.scratch_bytes);
    c->workspace_bytes = used;
    c->bias_offset = c->packed_bytes = 0;
    (void)spade_cuda_take(NULL, &c->bias_offset, weights * element);
    c->packed_bytes = c->bias_offset + (backward ? 0 : (size_t)desc->y.dims[1] * sizeof(float));
}

/* ---- timed choice */

/* Memory of one run on zeros. */
typedef struct trial {
    spade_device *device;
    void *pieces[4]; /* x, y, packed weights, workspace */
    size_t bytes[4];
    int count;
} trial;

static spade_status take_piece(trial *t, size_t bytes, void **out)
{
    SPADE_TRY(spade_cuda_alloc(t->device, bytes, "timing a convolution", out));
    t->pieces[t->count] = *out;
    t->bytes[t->count++] = bytes;
    return spade_cuda_zero(t->device, *out, bytes);
}

static spade_status run(spade_op *op, const spade_op_args *args);

/* Milliseconds of the fastest of a few runs, the first of them not counted. */
static spade_status time_runs(spade_op *op, const spade_op_args *args, cudaEvent_t begin, cudaEvent_t end, float *best)
{
    const spade_cuda_device *cuda = spade_cuda_of(op->device);
    SPADE_TRY(run(op, args));
    for (int i = 0; i < TIMED_RUNS; i++) {
        float milliseconds = 0;
        SPADE_CUDA_TRY(cuda, cudaEventRecord(begin, cuda->stream));
        SPADE_TRY(run(op, args));
        SPADE_CUDA_TRY(cuda, cudaEventRecord(end, cuda->stream));
        SPADE_CUDA_TRY(cuda, cudaEventSynchronize(end));
        SPADE_CUDA_TRY(cuda, cudaEventElapsedTime(&milliseconds, begin, end));
        if (milliseconds < *best) { *best = milliseconds; }
    }
    return SPADE_OK;
}

static spade_status time_candidate(const spade_dnn_search *s, const spade_dnn_candidate *candidate, float *best)
{
    bool backward = is_backward(s->desc);
    spade_cuda_convolution convolution = {.chosen = *candidate}, *c = &convolution;
    convolution_op op = {.base = {.device = &s->device->base, .desc = *s->desc}, .convolution = c};
    trial t = {.device = &s->device->base};
    cudaEvent_t begin = NULL, end = NULL;
    void *x, *y, *packed, *workspace;
    spade_status status;
    *best = FLT_MAX;
    lay_out(s->desc, c);
    SPADE_GOTO(take_piece(&t, (size_t)spade_shape_size(&s->desc->a) * sizeof(float), &x));
    SPADE_GOTO(take_piece(&t, (size_t)spade_shape_size(&s->desc->y) * sizeof(float), &y));
    SPADE_GOTO(take_piece(&t, c->packed_bytes, &packed));
    SPADE_GOTO(take_piece(&t, c->workspace_bytes, &workspace));
    SPADE_GOTO(spade_cuda_status(s->device, cudaEventCreate(&begin), "cudaEventCreate"));
    SPADE_GOTO(spade_cuda_status(s->device, cudaEventCreate(&end), "cudaEventCreate"));
    spade_op_args args = {.a = x, .dy = y, .packed = packed, .workspace = workspace, .out = backward ? x : y};
    SPADE_GOTO(time_runs(&op.base, &args, begin, end, best));
done:
    if (begin) { (void)cudaEventDestroy(begin); }
    if (end) { (void)cudaEventDestroy(end); }
    for (int i = 0; i < t.count; i++) { spade_cuda_free(t.device, t.pieces[i], t.bytes[i]); }
    return status;
}

/* Time all candidates; *choice: the fastest. Where one cannot be timed (memory), nothing is chosen: false. */
static bool choose_fastest(const spade_dnn_search *s, const char *key, int *choice)
{
    spade_context *context = s->device->base.context;
    float best = FLT_MAX;
    for (int i = 0; i < s->count; i++) {
        float milliseconds;
        if (time_candidate(s, &s->found[i], &milliseconds) != SPADE_OK) {
            spade_log(context, SPADE_LOG_WARNING, "%s is not timed: %s", key, spade_message(context));
            spade_error_clear(context);
            return false;
        }
        if (milliseconds < best) { best = milliseconds, *choice = i; }
    }
    return true;
}

/* ---- plan */

static void print_key(const spade_op_desc *d, spade_network_precision precision, char *out, size_t size)
{
    const spade_window *w = &d->window;
    snprintf(out, size,
             "%s %" PRId64 "x%" PRId64 "x%" PRId64 "x%" PRId64 "%s to %" PRId64 "x%" PRId64 "x%" PRId64 "%s kernel "
             "%" PRId64 "x%" PRId64 " stride %" PRId64 "x%" PRId64 " dilation %" PRId64 "x%" PRId64 " pad %" PRId64
             " %" PRId64 " %" PRId64 " %" PRId64 " groups %" PRId64 "%s %s",
             is_backward(d) ? "backward" : "forward", d->a.dims[0], d->a.dims[1], d->a.dims[2], d->a.dims[3],
             d->a.layout == SPADE_CHANNELS_LAST ? " last" : "", d->y.dims[1], d->y.dims[2], d->y.dims[3],
             d->y.layout == SPADE_CHANNELS_LAST ? " last" : "", w->kernel[0], w->kernel[1], w->stride[0], w->stride[1],
             w->dilation[0], w->dilation[1], w->pad[0], w->pad[1], w->pad[2], w->pad[3], d->groups,
             d->relu && !is_backward(d) ? " relu" : "", spade_dnn_precision_name(precision));
}

/* The candidate of the file, of a timing that was asked for, or the first. */
static spade_status choose(spade_dnn_search *s, const char *key, int *choice)
{
    spade_dnn_choice kept;
    *choice = 0;
    if (spade_dnn_choice_read(s->device, key, &kept)) {
        SPADE_TRY(spade_dnn_search_run(s, kept.candidate + 1));
        bool is_it = s->count == kept.candidate + 1 && s->found[kept.candidate].engine == kept.engine;
        *choice = is_it ? kept.candidate : 0;
        if (is_it || !spade_dnn_tunes()) { return SPADE_OK; }
        spade_dnn_search_restart(s);
    }
    if (!spade_dnn_tunes()) { return spade_dnn_search_run(s, 1); }
    SPADE_TRY(spade_dnn_search_run(s, SPADE_DNN_MAX_TIMED));
    if (choose_fastest(s, key, choice)) {
        kept = (spade_dnn_choice){*choice, s->found[*choice].engine};
        spade_dnn_choice_write(s->device, key, &kept);
    }
    return SPADE_OK;
}

static spade_status make(spade_cuda_device *device, const spade_op_desc *desc, const char *key,
                         spade_cuda_convolution **out)
{
    char text[256], bytes[32];
    spade_dnn_search s;
    int choice;
    spade_cuda_convolution *c = calloc(1, sizeof *c);
    if (!c) { return spade_fail(device->base.context, SPADE_ERROR_MEMORY, "out of memory: a planned convolution"); }
    spade_dnn_search_begin(&s, device, desc);
    spade_status status = choose(&s, key, &choice);
    if (status != SPADE_OK) {
        free(c);
        spade_dnn_search_end(&s);
        return status;
    }
    c->chosen = s.found[choice];
    s.found[choice].plan = s.found[choice].config = NULL; /* now the convolution's */
    lay_out(desc, c);
    spade_dnn_search_end(&s);
    snprintf(c->key, sizeof c->key, "%s", key);
    char name[32] = "a product by cuBLAS";
    if (!c->chosen.variant.product) { snprintf(name, sizeof name, "cuDNN's engine %" PRId64, c->chosen.engine); }
    spade_log(device->base.context, SPADE_LOG_DEBUG, "%s: %s, %s%s%s%s, workspace %s",
              spade_op_describe(desc, text, sizeof text), name,
              c->chosen.variant.layout == SPADE_CHANNELS_LAST ? "channels last" : "row-major",
              c->chosen.variant.half ? " in bfloat16" : "", c->chosen.variant.fused ? ", fused" : "",
              c->chosen.variant.padded ? ", padded" : "", spade_format_bytes(c->chosen.scratch_bytes, bytes));
    *out = c;
    return SPADE_OK;
}

static spade_status plan(spade_op *op)
{
    spade_cuda_device *device = spade_cuda_of(op->device);
    char key[sizeof((spade_cuda_convolution *)0)->key];
    print_key(&op->desc, device->base.context->precision, key, sizeof key);
    spade_cuda_convolution *c = device->convolutions;
    while (c && strcmp(c->key, key) != 0) { c = c->next; }
    if (!c) {
        SPADE_TRY(make(device, &op->desc, key, &c));
        c->next = device->convolutions;
        device->convolutions = c;
    }
    ((convolution_op *)op)->convolution = c;
    op->workspace_bytes = c->workspace_bytes;
    op->packed_bytes = c->packed_bytes;
    return SPADE_OK;
}

void spade_cuda_convolutions_destroy(spade_cuda_device *device)
{
    for (spade_cuda_convolution *c = device->convolutions, *next; c; c = next) {
        next = c->next;
        spade_dnn_candidate_release(&c->chosen);
        free(c);
    }
    device->convolutions = NULL;
}

/* ---- weights */

static spade_status pack(spade_op *op, const float *weights, const float *row_scale, void *packed)
{
    spade_cuda_device *cuda = spade_cuda_of(op->device);
    spade_device *device = &cuda->base;
    const spade_cuda_convolution *c = convolution_of(op);
    const spade_op_desc *d = &op->desc;
    spade_packing_kernel kernel = {.rows = d->y.dims[1],
                                   .inputs = d->a.dims[1] / d->groups,
                                   .taps = d->window.kernel[0] * d->window.kernel[1],
                                   .last = c->chosen.variant.layout == SPADE_CHANNELS_LAST,
                                   .half = c->chosen.variant.half};
    size_t row_bytes = (size_t)kernel.rows * sizeof(float), bytes = row_bytes * (size_t)(kernel.inputs * kernel.taps);
    if (!is_backward(d)) { SPADE_TRY(spade_cuda_zero(device, (char *)packed + c->bias_offset, row_bytes)); }
    bool in_order = !kernel.last || kernel.taps == 1 || kernel.inputs == 1;
    if (in_order && !kernel.half && !row_scale) { return spade_cuda_copy(device, packed, weights, bytes); }
    SPADE_CUDA_LAUNCH(cuda, spade_launch_convolution_pack(cuda->stream, kernel, weights, row_scale, packed));
    return SPADE_OK;
}

/* ---- run */

static spade_padded_kernel padded_kernel(const spade_op_desc *desc, const spade_dnn_variant *variant, bool is_x)
{
    const spade_shape *shape = is_x ? &desc->a : &desc->y;
    const int64_t *dims = shape->dims;
    spade_padded_kernel k = {.batch = dims[0],
                             .channels = dims[1],
                             .height = dims[2],
                             .width = dims[3],
                             .full_height = dims[2],
                             .full_width = dims[3],
                             .last = shape->layout == SPADE_CHANNELS_LAST,
                             .padded_last = variant->layout == SPADE_CHANNELS_LAST,
                             .half = variant->half};
    if (is_x && variant->padded) {
        spade_shape full = spade_dnn_input_shape(desc, variant);
        k.top = desc->window.pad[0];
        k.left = desc->window.pad[1];
        k.full_height = full.dims[2];
        k.full_width = full.dims[3];
    }
    return k;
}

/* cuDNN takes the pointers of one run in a descriptor of its own. */
static cudnnStatus_t execute_plan(const spade_cuda_device *device, const spade_cuda_convolution *c,
                                  const void *const *pointers, const void *scratch)
{
    static const int64_t names[] = {SPADE_DNN_IN, SPADE_DNN_WEIGHTS, SPADE_DNN_OUT, SPADE_DNN_BIAS};
    int64_t count = c->chosen.variant.fused ? 4 : 3;
    cudnnBackendDescriptor_t variant_pack;
    cudnnStatus_t result = cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &variant_pack);
    if (result != CUDNN_STATUS_SUCCESS) { return result; }
    result = spade_dnn_set(variant_pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers);
    if (result == CUDNN_STATUS_SUCCESS) {
        result = spade_dnn_set(variant_pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, names);
    }
    if (result == CUDNN_STATUS_SUCCESS) {
        result = spade_dnn_set(variant_pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &scratch);
    }
    if (result == CUDNN_STATUS_SUCCESS) { result = cudnnBackendFinalize(variant_pack); }
    if (result == CUDNN_STATUS_SUCCESS) { result = cudnnBackendExecute(device->dnn, c->chosen.plan, variant_pack); }
    (void)cudnnBackendDestroyDescriptor(variant_pack);
    return result;
}

static spade_status execute(const spade_op *op, const void *const *pointers, const void *scratch)
{
    const spade_cuda_device *cuda = spade_cuda_of(op->device);
    char text[256];
    cudnnStatus_t result = execute_plan(cuda, convolution_of(op), pointers, scratch);
    if (result == CUDNN_STATUS_SUCCESS) { return SPADE_OK; }
    spade_cuda_dnn_status(cuda, result, "cudnnBackendExecute");
    return spade_fail_in(cuda->base.context,
                         result >= CUDNN_STATUS_EXECUTION_FAILED ? SPADE_ERROR_DEVICE : SPADE_ERROR_INTERNAL, "%s",
                         spade_op_describe(&op->desc, text, sizeof text));
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const spade_cuda_device *cuda = spade_cuda_of(op->device);
    const spade_cuda_convolution *c = convolution_of(op);
    const spade_op_desc *d = &op->desc;
    bool backward = is_backward(d), relu = d->relu && !backward && !c->chosen.variant.fused;
    const float *input = backward ? args->dy : args->a, *bias = backward || c->chosen.variant.fused ? NULL : args->bias;
    char *workspace = args->workspace;
    const void *from = c->copy_in ? workspace + c->in_offset : (const void *)input;
    void *to = c->copy_out ? workspace + c->out_offset : (void *)args->out;
    const void *zeros = (const char *)args->packed + c->bias_offset;
    const void *pointers[] = {from, args->packed, to, args->bias ? args->bias : zeros};
    if (c->copy_in) {
        SPADE_CUDA_LAUNCH(cuda, spade_launch_copy_padded(cuda->stream, padded_kernel(d, &c->chosen.variant, !backward),
                                                         input, workspace + c->in_offset));
    }
    if (c->chosen.variant.product) {
        int64_t pixels = d->a.dims[0] * d->a.dims[2] * d->a.dims[3];
        SPADE_TRY(spade_cuda_linear_product(op, pixels, d->y.dims[1], d->a.dims[1], backward, from, args->packed, to));
    } else {
        SPADE_TRY(execute(op, pointers, c->chosen.scratch_bytes ? workspace + c->scratch_offset : NULL));
    }
    if (c->copy_out) {
        SPADE_CUDA_LAUNCH(cuda, spade_launch_copy_back(cuda->stream, padded_kernel(d, &c->chosen.variant, backward), to,
                                                       bias, relu, args->out));
    } else if (bias || relu) {
        int64_t inner = c->chosen.variant.layout == SPADE_CHANNELS_LAST ? 1 : d->y.dims[2] * d->y.dims[3];
        SPADE_TRY(spade_cuda_bias_relu(cuda, spade_shape_size(&d->y), d->y.dims[1], inner, bias, relu, args->out));
    }
    return SPADE_OK;
}

const spade_op_entry spade_cuda_convolution_op = {
    .state_bytes = sizeof(convolution_op), .plan = plan, .pack = pack, .run = run};
