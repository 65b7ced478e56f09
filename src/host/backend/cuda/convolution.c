/*
 * convolution.c - convolution and its backward-data: chosen by search over the ways to put it into a cuDNN graph, run
 * with what the graph leaves out in own kernels (kernels/convolution.cu).
 *
 * Ways, best first: channels-last with bias and relu in the graph; the convolution alone; the same with x padded in
 * memory (few engines know padding that differs between the sides); the same row-major. The first way and engine that
 * cuDNN offers is taken, or a timed one (dnn.h). A planned convolution is kept by the device: to plan the same again
 * costs nothing.
 *
 * Packed weights: [weights in the graph's layout and type][zeros, one per output channel: the bias where there is
 * none]. Workspace: [x or dy as the graph wants it][its result, where the tensor is stored otherwise][cuDNN's own].
 */
#include <float.h>
#include <inttypes.h>

#include "backend/check.h"
#include "backend/cuda/dnn.h"

enum { MOST_WAYS = 10, TIMED_RUNS = 3 };

struct spade_cuda_convolution {
    spade_cuda_convolution *next;
    char key[256];
    spade_dnn_way way;
    cudnnBackendDescriptor_t config, plan;
    int64_t engine;
    size_t scratch_bytes;      /* cuDNN's workspace */
    bool stage_in, stage_out;  /* tensors pass through the workspace */
    size_t in_bytes, out_bytes; /* there */
    size_t in_offset, out_offset, scratch_offset, workspace_bytes;
    size_t bias_offset, packed_bytes;
};

static const char *const precision_names[] = {"fp32", "tf32", "bf16"};

static bool is_backward(const spade_op_desc *desc)
{
    return desc->kind == SPADE_OP_CONVOLUTION_BACKWARD;
}

/* ---- ways */

/* Is the tensor the same bytes in both layouts? */
static bool same_bytes(const spade_shape *shape)
{
    return shape->dims[1] == 1 || shape->dims[2] * shape->dims[3] == 1;
}

static int list_ways(const spade_op_desc *desc, spade_network_precision precision, spade_dnn_way ways[MOST_WAYS])
{
    const int64_t *pad = desc->window.pad;
    bool pads = pad[0] || pad[1] || pad[2] || pad[3];
    bool row_major = desc->a.layout == SPADE_ROW_MAJOR && desc->y.layout == SPADE_ROW_MAJOR;
    int count = 0;
    for (int padded = 0; precision == SPADE_NETWORK_BF16 && padded <= pads; padded++) {
        ways[count++] = (spade_dnn_way){.layout = SPADE_CHANNELS_LAST, .padded = padded, .half = true};
    }
    for (int other = 0; other < 2; other++) {
        spade_layout layout = row_major != other ? SPADE_ROW_MAJOR : SPADE_CHANNELS_LAST;
        for (int padded = 0; padded <= pads; padded++) {
            if (!is_backward(desc)) { ways[count++] = (spade_dnn_way){layout, true, padded, false}; }
            ways[count++] = (spade_dnn_way){layout, false, padded, false};
        }
    }
    return count;
}

static void lay_out(const spade_op_desc *desc, spade_cuda_convolution *c)
{
    bool backward = is_backward(desc);
    const spade_shape *in = backward ? &desc->y : &desc->a, *out = backward ? &desc->a : &desc->y;
    spade_shape x = spade_dnn_input_shape(desc, &c->way);
    size_t element = c->way.half ? sizeof(uint16_t) : sizeof(float), used = 0;
    size_t weights = (size_t)(desc->y.dims[1] * (desc->a.dims[1] / desc->groups) * desc->window.kernel[0] *
                              desc->window.kernel[1]);
    c->in_bytes = (size_t)spade_shape_size(backward ? &desc->y : &x) * element;
    c->out_bytes = (size_t)spade_shape_size(backward ? &x : &desc->y) * element;
    c->stage_in = c->way.half || (in->layout != c->way.layout && !same_bytes(in)) || (c->way.padded && !backward);
    c->stage_out = c->way.half || (out->layout != c->way.layout && !same_bytes(out)) || (c->way.padded && backward);
    c->in_offset = used;
    if (c->stage_in) { (void)spade_cuda_take(NULL, &used, c->in_bytes); }
    c->out_offset = used;
    if (c->stage_out) { (void)spade_cuda_take(NULL, &used, c->out_bytes); }
    c->scratch_offset = used;
    (void)spade_cuda_take(NULL, &used, c->scratch_bytes);
    c->workspace_bytes = used;
    c->bias_offset = c->packed_bytes = 0;
    (void)spade_cuda_take(NULL, &c->bias_offset, weights * element);
    c->packed_bytes = c->bias_offset + (backward ? 0 : (size_t)desc->y.dims[1] * sizeof(float));
}

/* ---- search */

typedef struct search {
    spade_cuda_device *device;
    const spade_op_desc *desc;
    int way_count;
    spade_dnn_way ways[MOST_WAYS];
    spade_dnn_graph graphs[MOST_WAYS]; /* without a graph: cuDNN refuses the way */
    cudnnStatus_t refusal;             /* of the last way refused */
    spade_cuda_convolution found[SPADE_DNN_MOST_TIMED];
    int count;
} search;

static void release(spade_cuda_convolution *c)
{
    if (c->plan) { (void)cudnnBackendDestroyDescriptor(c->plan); }
    if (c->config) { (void)cudnnBackendDestroyDescriptor(c->config); }
    c->plan = c->config = NULL;
}

static void begin_search(search *s, spade_cuda_device *device, const spade_op_desc *desc)
{
    *s = (search){.device = device, .desc = desc};
    s->way_count = list_ways(desc, device->base.context->precision, s->ways);
    for (int i = 0; i < s->way_count; i++) {
        cudnnStatus_t result = spade_dnn_graph_create(device->dnn, desc, &s->ways[i], &s->graphs[i]);
        if (result != CUDNN_STATUS_SUCCESS) { s->refusal = result; }
    }
}

static void end_search(search *s)
{
    for (int i = 0; i < s->count; i++) { release(&s->found[i]); }
    for (int i = 0; i < s->way_count; i++) { spade_dnn_graph_destroy(&s->graphs[i]); }
}

/* Candidates of one way from one source, until there are `most` in all. */
static spade_status search_way(search *s, spade_dnn_source source, int way, int most)
{
    spade_dnn_engines engines;
    SPADE_TRY(spade_dnn_engines_find(s->device, &s->graphs[way], source, &engines));
    for (int i = 0; i < engines.count && s->count < most; i++) {
        spade_cuda_convolution *c = &s->found[s->count];
        *c = (spade_cuda_convolution){.way = s->ways[way], .config = engines.configs[i]};
        c->plan = spade_dnn_plan_create(s->device, c->config, &c->scratch_bytes);
        if (!c->plan) { continue; }
        engines.configs[i] = NULL; /* the candidate's now */
        c->engine = spade_dnn_engine_number(c->config);
        lay_out(s->desc, c);
        s->count++;
    }
    spade_dnn_engines_clear(&engines);
    return SPADE_OK;
}

/* The first `most` candidates in their order. */
static spade_status search_candidates(search *s, int most)
{
    for (int source = 0; source < SPADE_DNN_SOURCE_COUNT; source++) {
        for (int way = 0; way < s->way_count; way++) {
            if (!s->graphs[way].graph) { continue; }
            SPADE_TRY(search_way(s, (spade_dnn_source)source, way, most));
            if (s->count == most) { return SPADE_OK; }
        }
    }
    if (s->count) { return SPADE_OK; }
    char text[256];
    spade_op_describe(s->desc, text, sizeof text);
    spade_context *context = s->device->base.context;
    if (s->refusal != CUDNN_STATUS_SUCCESS) {
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "cuda:%d: %s: cuDNN cannot compute it: %s",
                          s->device->index, text, cudnnGetErrorString(s->refusal));
    }
    return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "cuda:%d: %s: cuDNN has no engine for it in %s",
                      s->device->index, text, precision_names[context->precision]);
}

/* ---- timed choice */

/* Memory of one run on zeros. */
typedef struct trial {
    spade_device *device;
    void *pieces[5]; /* in, out, packed, workspace, saved for none */
    size_t bytes[5];
    int count;
} trial;

static spade_status take_piece(trial *t, size_t bytes, void **out)
{
    SPADE_TRY(spade_cuda_alloc(t->device, bytes, "timing a convolution", out));
    t->pieces[t->count] = *out;
    t->bytes[t->count++] = bytes;
    return spade_cuda_zero(t->device, *out, bytes);
}

/* Milliseconds of the fastest of a few runs, the first of them not counted. */
static spade_status time_runs(spade_op *op, const spade_op_args *args, cudaEvent_t begin, cudaEvent_t end, float *best)
{
    const spade_cuda_device *cuda = op->device;
    SPADE_TRY(spade_cuda_convolution_run(op, args));
    for (int i = 0; i < TIMED_RUNS; i++) {
        float milliseconds = 0;
        SPADE_CUDA_TRY(cuda, cudaEventRecord(begin, cuda->stream));
        SPADE_TRY(spade_cuda_convolution_run(op, args));
        SPADE_CUDA_TRY(cuda, cudaEventRecord(end, cuda->stream));
        SPADE_CUDA_TRY(cuda, cudaEventSynchronize(end));
        SPADE_CUDA_TRY(cuda, cudaEventElapsedTime(&milliseconds, begin, end));
        if (milliseconds < *best) { *best = milliseconds; }
    }
    return SPADE_OK;
}

static spade_status time_candidate(search *s, spade_cuda_convolution *c, float *best)
{
    bool backward = is_backward(s->desc);
    spade_op op = {.device = s->device, .desc = *s->desc, .convolution = c};
    trial t = {.device = &s->device->base};
    cudaEvent_t begin = NULL, end = NULL;
    void *x, *y, *packed, *workspace;
    spade_status status;
    *best = FLT_MAX;
    SPADE_GOTO(take_piece(&t, (size_t)spade_shape_size(&s->desc->a) * sizeof(float), &x));
    SPADE_GOTO(take_piece(&t, (size_t)spade_shape_size(&s->desc->y) * sizeof(float), &y));
    SPADE_GOTO(take_piece(&t, c->packed_bytes, &packed));
    SPADE_GOTO(take_piece(&t, c->workspace_bytes, &workspace));
    SPADE_GOTO(spade_cuda_status(s->device, cudaEventCreate(&begin), "cudaEventCreate"));
    SPADE_GOTO(spade_cuda_status(s->device, cudaEventCreate(&end), "cudaEventCreate"));
    spade_op_args args = {.a = x, .dy = y, .packed = packed, .workspace = workspace, .out = backward ? x : y};
    SPADE_GOTO(time_runs(&op, &args, begin, end, best));
done:
    if (begin) { (void)cudaEventDestroy(begin); }
    if (end) { (void)cudaEventDestroy(end); }
    for (int i = 0; i < t.count; i++) { spade_cuda_free(t.device, t.pieces[i], t.bytes[i]); }
    return status;
}

/* Time all candidates; *choice: the fastest. Where one cannot be timed (memory), nothing is chosen: false. */
static bool choose_fastest(search *s, const char *key, int *choice)
{
    spade_context *context = s->device->base.context;
    float best = FLT_MAX;
    for (int i = 0; i < s->count; i++) {
        float milliseconds;
        if (time_candidate(s, &s->found[i], &milliseconds) != SPADE_OK) {
            spade_log(context, SPADE_LOG_WARNING, "%s is not timed: %s", key, spade_message(context));
            context->message[0] = '\0';
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
             d->relu && !is_backward(d) ? " relu" : "", precision_names[precision]);
}

/* The candidate of the file, of a timing that was asked for, or the first. */
static spade_status choose(search *s, const char *key, int *choice)
{
    spade_dnn_choice kept;
    *choice = 0;
    if (spade_dnn_choice_read(s->device, key, &kept)) {
        SPADE_TRY(search_candidates(s, kept.candidate + 1));
        bool is_it = s->count == kept.candidate + 1 && s->found[kept.candidate].engine == kept.engine;
        *choice = is_it ? kept.candidate : 0;
        if (is_it || !spade_dnn_tunes()) { return SPADE_OK; }
        for (; s->count; s->count--) { release(&s->found[s->count - 1]); }
    }
    if (!spade_dnn_tunes()) { return search_candidates(s, 1); }
    SPADE_TRY(search_candidates(s, SPADE_DNN_MOST_TIMED));
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
    search s;
    int choice;
    spade_cuda_convolution *c = calloc(1, sizeof *c);
    if (!c) { return spade_fail(device->base.context, SPADE_ERROR_MEMORY, "out of memory: a planned convolution"); }
    begin_search(&s, device, desc);
    spade_status status = choose(&s, key, &choice);
    if (status != SPADE_OK) {
        free(c);
        end_search(&s);
        return status;
    }
    *c = s.found[choice];
    s.found[choice].plan = s.found[choice].config = NULL;
    end_search(&s);
    snprintf(c->key, sizeof c->key, "%s", key);
    spade_log(device->base.context, SPADE_LOG_DEBUG, "%s: cuDNN's engine %" PRId64 ", %s%s%s%s, workspace %s",
              spade_op_describe(desc, text, sizeof text), c->engine,
              c->way.layout == SPADE_CHANNELS_LAST ? "channels last" : "row-major",
              c->way.half ? " in bfloat16" : "", c->way.fused ? ", fused" : "", c->way.padded ? ", padded" : "",
              spade_format_bytes(c->scratch_bytes, bytes));
    *out = c;
    return SPADE_OK;
}

spade_status spade_cuda_convolution_plan(spade_op *op)
{
    spade_cuda_device *device = op->device;
    char key[sizeof op->convolution->key];
    print_key(&op->desc, device->base.context->precision, key, sizeof key);
    spade_cuda_convolution *c = device->convolutions;
    while (c && strcmp(c->key, key) != 0) { c = c->next; }
    if (!c) {
        SPADE_TRY(make(device, &op->desc, key, &c));
        c->next = device->convolutions;
        device->convolutions = c;
    }
    op->convolution = c;
    op->workspace_bytes = c->workspace_bytes;
    op->packed_bytes = c->packed_bytes;
    return SPADE_OK;
}

void spade_cuda_convolutions_destroy(spade_cuda_device *device)
{
    for (spade_cuda_convolution *c = device->convolutions, *next; c; c = next) {
        next = c->next;
        release(c);
        free(c);
    }
    device->convolutions = NULL;
}

/* ---- weights */

spade_status spade_cuda_convolution_pack(spade_op *op, const float *weights, const float *row_scale, void *packed)
{
    spade_cuda_device *cuda = op->device;
    spade_device *device = &cuda->base;
    const spade_cuda_convolution *c = op->convolution;
    const spade_op_desc *d = &op->desc;
    spade_packing_kernel kernel = {.rows = d->y.dims[1],
                                   .inputs = d->a.dims[1] / d->groups,
                                   .taps = d->window.kernel[0] * d->window.kernel[1],
                                   .last = c->way.layout == SPADE_CHANNELS_LAST,
                                   .half = c->way.half};
    size_t row_bytes = (size_t)kernel.rows * sizeof(float), bytes = row_bytes * (size_t)(kernel.inputs * kernel.taps);
    void *plain = NULL, *scale = NULL;
    spade_status status;
    if (!is_backward(d)) { SPADE_TRY(spade_cuda_zero(device, (char *)packed + c->bias_offset, row_bytes)); }
    bool in_order = !kernel.last || kernel.taps == 1 || kernel.inputs == 1;
    if (in_order && !kernel.half && !row_scale) { return spade_cuda_upload(device, packed, weights, bytes); }
    SPADE_GOTO(spade_cuda_alloc(device, bytes, "weights on their way to the device", &plain));
    SPADE_GOTO(spade_cuda_upload(device, plain, weights, bytes));
    if (row_scale) {
        SPADE_GOTO(spade_cuda_alloc(device, row_bytes, "weights on their way to the device", &scale));
        SPADE_GOTO(spade_cuda_upload(device, scale, row_scale, row_bytes));
    }
    SPADE_GOTO(spade_cuda_launched(
        cuda, spade_launch_convolution_pack(cuda->stream, kernel, plain, scale, packed), "pack weights"));
done:
    spade_cuda_free(device, plain, bytes);
    spade_cuda_free(device, scale, row_bytes);
    return status;
}

/* ---- run */

static spade_staged_kernel staged(const spade_op_desc *desc, const spade_dnn_way *way, bool is_x)
{
    const spade_shape *shape = is_x ? &desc->a : &desc->y;
    const int64_t *dims = shape->dims;
    spade_staged_kernel k = {.batch = dims[0],
                             .channels = dims[1],
                             .height = dims[2],
                             .width = dims[3],
                             .full_height = dims[2],
                             .full_width = dims[3],
                             .last = shape->layout == SPADE_CHANNELS_LAST,
                             .staged_last = way->layout == SPADE_CHANNELS_LAST,
                             .half = way->half};
    if (is_x && way->padded) {
        spade_shape full = spade_dnn_input_shape(desc, way);
        k.top = desc->window.pad[0];
        k.left = desc->window.pad[1];
        k.full_height = full.dims[2];
        k.full_width = full.dims[3];
    }
    return k;
}

/* cuDNN takes the pointers of one run in a descriptor of its own. */
static cudnnStatus_t execute(const spade_cuda_device *device, const spade_cuda_convolution *c, int64_t count,
                             const void *const *pointers, const void *scratch)
{
    static const int64_t names[] = {SPADE_DNN_IN, SPADE_DNN_WEIGHTS, SPADE_DNN_OUT, SPADE_DNN_BIAS};
    cudnnBackendDescriptor_t pack;
    cudnnStatus_t result = cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (result != CUDNN_STATUS_SUCCESS) { return result; }
    result = spade_dnn_set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers);
    if (result == CUDNN_STATUS_SUCCESS) {
        result = spade_dnn_set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, names);
    }
    if (result == CUDNN_STATUS_SUCCESS) {
        result = spade_dnn_set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &scratch);
    }
    if (result == CUDNN_STATUS_SUCCESS) { result = cudnnBackendFinalize(pack); }
    if (result == CUDNN_STATUS_SUCCESS) { result = cudnnBackendExecute(device->dnn, c->plan, pack); }
    (void)cudnnBackendDestroyDescriptor(pack);
    return result;
}

spade_status spade_cuda_convolution_run(spade_op *op, const spade_op_args *args)
{
    const spade_cuda_device *cuda = op->device;
    const spade_cuda_convolution *c = op->convolution;
    const spade_op_desc *d = &op->desc;
    bool backward = is_backward(d), relu = d->relu && !backward && !c->way.fused;
    const float *input = backward ? args->dy : args->a, *bias = backward || c->way.fused ? NULL : args->bias;
    char *workspace = args->workspace;
    const void *from = c->stage_in ? workspace + c->in_offset : (const void *)input;
    void *to = c->stage_out ? workspace + c->out_offset : (void *)args->out;
    const void *zeros = (const char *)args->packed + c->bias_offset;
    const void *pointers[] = {from, args->packed, to, args->bias ? args->bias : zeros};
    if (c->stage_in) {
        SPADE_CUDA_LAUNCH(cuda, spade_launch_stage(cuda->stream, staged(d, &c->way, !backward), input,
                                                   workspace + c->in_offset));
    }
    cudnnStatus_t result =
        execute(cuda, c, c->way.fused ? 4 : 3, pointers, c->scratch_bytes ? workspace + c->scratch_offset : NULL);
    if (result != CUDNN_STATUS_SUCCESS) {
        char text[256];
        spade_cuda_dnn_status(cuda, result, "cudnnBackendExecute");
        return spade_fail_in(cuda->base.context, result >= CUDNN_STATUS_EXECUTION_FAILED ? SPADE_ERROR_DEVICE : SPADE_ERROR_INTERNAL,
                             "%s", spade_op_describe(d, text, sizeof text));
    }
    if (c->stage_out) {
        SPADE_CUDA_LAUNCH(cuda,
                          spade_launch_unstage(cuda->stream, staged(d, &c->way, backward), to, bias, relu, args->out));
    } else if (bias || relu) {
        int64_t inner = c->way.layout == SPADE_CHANNELS_LAST ? 1 : d->y.dims[2] * d->y.dims[3];
        SPADE_CUDA_LAUNCH(cuda, spade_launch_bias_relu(cuda->stream, spade_shape_size(&d->y), d->y.dims[1], inner, bias,
                                                       relu, args->out));
    }
    return SPADE_OK;
}
