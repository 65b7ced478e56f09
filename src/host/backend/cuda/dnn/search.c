/*
 * search.c - the variants to put a convolution into a graph, and who computes them, in a fixed order.
 *
 * Ways, best first: channels-last with bias and relu in the graph; the convolution alone; the same with x padded in
 * memory; the same row-major. By source, then by variant, then in cuDNN's order: what the heuristics name for any variant comes
 * before what they name as a fall-back.
 *
 * A convolution of single pixels, channels-last, is a matrix product as it lies in memory. In float32 that comes first:
 * cuDNN 9's engines for it are row-major, between transpositions. In TF32 it comes behind what the heuristics name.
 */
#include "backend/check.h"
#include "backend/cuda/dnn/dnn.h"

const char *spade_dnn_precision_name(spade_network_precision precision)
{
    static const char *const names[] = {"fp32", "tf32", "bf16"};
    return names[precision];
}

static int list_variants(const spade_op_desc *desc, spade_network_precision precision, spade_dnn_variant *variants)
{
    const int64_t *pad = desc->window.pad;
    bool backward = desc->kind == SPADE_OP_CONVOLUTION_BACKWARD;
    bool row_major = desc->a.layout == SPADE_ROW_MAJOR && desc->y.layout == SPADE_ROW_MAJOR;
    int paddings = pad[0] || pad[1] || pad[2] || pad[3] ? 2 : 1; /* x as it is, padded */
    /* For padding that differs between the sides, cuDNN 9's only float32 engine of the backward pass is its general
     * one: what is padded in memory comes first. */
    bool padded_first = backward && (pad[0] != pad[2] || pad[1] != pad[3]);
    int count = 0;
    for (int i = 0; precision == SPADE_NETWORK_BF16 && i < paddings; i++) {
        bool padded = padded_first ? i == 0 : i == 1;
        variants[count++] = (spade_dnn_variant){.layout = SPADE_CHANNELS_LAST, .padded = padded, .half = true};
    }
    for (int other = 0; other < 2; other++) {
        spade_layout layout = row_major != (other == 1) ? SPADE_ROW_MAJOR : SPADE_CHANNELS_LAST;
        for (int i = 0; i < paddings; i++) {
            bool padded = padded_first ? i == 0 : i == 1;
            if (!backward) {
                variants[count++] = (spade_dnn_variant){.layout = layout, .fused = true, .padded = padded};
            }
            variants[count++] = (spade_dnn_variant){.layout = layout, .padded = padded};
        }
    }
    return count;
}

void spade_dnn_candidate_release(spade_dnn_candidate *c)
{
    if (c->plan) { (void)cudnnBackendDestroyDescriptor(c->plan); }
    if (c->config) { (void)cudnnBackendDestroyDescriptor(c->config); }
    c->plan = c->config = NULL;
}

void spade_dnn_search_begin(spade_dnn_search *s, spade_cuda_device *device, const spade_op_desc *desc)
{
    *s = (spade_dnn_search){.device = device, .desc = desc};
    s->variant_count = list_variants(desc, device->base.context->precision, s->variants);
    for (int i = 0; i < s->variant_count; i++) {
        cudnnStatus_t result = spade_dnn_graph_create(device->dnn, desc, &s->variants[i], &s->graphs[i]);
        if (result != CUDNN_STATUS_SUCCESS) { s->refusal = result; }
    }
}

void spade_dnn_search_end(spade_dnn_search *s)
{
    for (int i = 0; i < s->count; i++) { spade_dnn_candidate_release(&s->found[i]); }
    for (int i = 0; i < s->variant_count; i++) { spade_dnn_graph_destroy(&s->graphs[i]); }
}

/*
 * The most workspace that an engine may ask for. A function of the shapes alone: which engine computes a convolution
 * must not depend on --memory. The float32 engines of cuDNN 9 work row-major: channels-last, they pass copies of x, y
 * and the weights through it; 64 MiB are for what others keep there.
 */
static size_t max_workspace(const spade_op_desc *desc, const spade_dnn_variant *variant)
{
    spade_shape x = spade_dnn_input_shape(desc, variant);
    size_t weights =
        (size_t)(desc->y.dims[1] * (desc->a.dims[1] / desc->groups) * desc->window.kernel[0] * desc->window.kernel[1]);
    size_t all = (size_t)spade_shape_size(&x) + (size_t)spade_shape_size(&desc->y) + weights;
    return ((size_t)64 << 20) + all * sizeof(float);
}

/* Candidates of one variant from one source, until there are `max` in all. */
static spade_status search_variant(spade_dnn_search *s, spade_dnn_source source, int variant, int max)
{
    spade_dnn_engines engines;
    size_t workspace = max_workspace(s->desc, &s->variants[variant]);
    SPADE_TRY(spade_dnn_engines_find(s->device, &s->graphs[variant], source, &engines));
    for (int i = 0; i < engines.count && s->count < max; i++) {
        spade_dnn_candidate c = {.variant = s->variants[variant], .config = engines.configs[i]};
        c.plan = spade_dnn_plan_create(s->device, c.config, workspace, &c.scratch_bytes);
        if (!c.plan) { continue; }
        c.engine = spade_dnn_engine_number(c.config);
        engines.configs[i] = NULL; /* the candidate's now */
        s->found[s->count++] = c;
    }
    spade_dnn_engines_clear(&engines);
    return SPADE_OK;
}

static bool is_product(const spade_op_desc *desc)
{
    const spade_window *w = &desc->window;
    bool padded = w->pad[0] || w->pad[1] || w->pad[2] || w->pad[3];
    bool last = desc->a.layout == SPADE_CHANNELS_LAST && desc->y.layout == SPADE_CHANNELS_LAST;
    return last && !padded && desc->groups == 1 && w->kernel[0] == 1 && w->kernel[1] == 1 && w->stride[0] == 1 &&
           w->stride[1] == 1 && desc->a.dims[0] * desc->a.dims[2] * desc->a.dims[3] <= INT32_MAX; /* cuBLAS's int */
}

static void add_product(spade_dnn_search *s, int max)
{
    if (s->count == max || !is_product(s->desc)) { return; }
    s->found[s->count++] =
        (spade_dnn_candidate){.variant = {.layout = SPADE_CHANNELS_LAST, .product = true}, .engine = SPADE_DNN_PRODUCT};
}

spade_status spade_dnn_search_run(spade_dnn_search *s, int max)
{
    spade_context *context = s->device->base.context;
    char text[256];
    if (context->precision == SPADE_NETWORK_FP32) { add_product(s, max); }
    for (int source = 0; source < SPADE_DNN_SOURCE_COUNT; source++) {
        for (int variant = 0; variant < s->variant_count; variant++) {
            if (s->count == max) { return SPADE_OK; }
            if (!s->graphs[variant].graph) { continue; }
            SPADE_TRY(search_variant(s, (spade_dnn_source)source, variant, max));
        }
        if (source == SPADE_DNN_HEURISTIC && context->precision == SPADE_NETWORK_TF32) { add_product(s, max); }
    }
    if (s->count) { return SPADE_OK; }
    spade_op_describe(s->desc, text, sizeof text);
    if (s->refusal != CUDNN_STATUS_SUCCESS) {
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "cuda:%d: %s: cuDNN cannot compute it: %s",
                          s->device->index, text, cudnnGetErrorString(s->refusal));
    }
    return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "cuda:%d: %s: cuDNN has no engine for it in %s",
                      s->device->index, text, spade_dnn_precision_name(context->precision));
}

void spade_dnn_search_restart(spade_dnn_search *s)
{
    while (s->count) { spade_dnn_candidate_release(&s->found[--s->count]); }
}
