/*
 * form.c - the description of a layer's Hessian, the form (algorithm) that sums it, and which layers share one; and for
 * which layers it is not summed at all, because the solver does better with their inputs.
 *
 * The form is the one of minimum cost in the backend's model for a whole micro-batch: a function of shapes only, so that
 * neither the budget nor the number of threads changes a result.
 */
#include "hessian/hessians.h"

static spade_hessian_desc describe(const spade_network *network, int layer, int64_t n, spade_precision precision)
{
    const spade_layer *l = &network->layers[layer];
    const spade_node *node = &network->nodes[l->node];
    spade_hessian_desc desc = {.precision = precision,
                               .x = spade_value_shape(&network->values[node->inputs[0]], n),
                               .linear = !l->convolution,
                               .groups = 1};
    if (l->convolution) {
        const spade_shape *output = &network->values[node->outputs[0]].shape;
        desc.window = node->convolution.window;
        desc.groups = l->groups;
        desc.out_height = output->dims[2];
        desc.out_width = output->dims[3];
    }
    return desc;
}

static spade_hessian_form choose_form(spade_device *device, spade_hessian_desc desc)
{
    spade_hessian_form best = SPADE_HESSIAN_UNFOLD;
    double min_cost = -1;
    for (int form = 0; form < SPADE_HESSIAN_FORM_COUNT; form++) {
        desc.form = (spade_hessian_form)form;
        double cost = device->backend->hessian->cost(device, &desc);
        if (cost >= 0 && (min_cost < 0 || cost < min_cost)) {
            min_cost = cost;
            best = desc.form;
        }
    }
    return best;
}

spade_hessian_desc spade_hessian_describe(const spade_model *model, int layer, int64_t n, spade_precision precision)
{
    spade_device *device = model->context->device;
    spade_hessian_desc desc = describe(&model->network, layer, device->backend->hessian->micro_batch, precision);
    spade_hessian_form form = choose_form(device, desc);
    desc = describe(&model->network, layer, n, precision);
    desc.form = form;
    return desc;
}

/* ---- inputs instead of a Hessian */

int64_t spade_hessian_samples(const spade_model *model, int layer, int64_t variants)
{
    const spade_hessian_desc desc = describe(&model->network, layer, variants, SPADE_FP32);
    return desc.linear ? spade_shape_size(&desc.x) / model->network.layers[layer].columns
                       : variants * desc.out_height * desc.out_width;
}

bool spade_hessian_prefers_inputs(const spade_model *model, int layer, int64_t variants, int64_t block,
                                  spade_precision precision)
{
    spade_device *device = model->context->device;
    const spade_backend *backend = device->backend;
    const spade_layer *l = &model->network.layers[layer];
    const int64_t samples = spade_hessian_samples(model, layer, variants), rows = l->rows / l->groups;
    if (samples >= l->columns) { return false; }
    const double inputs = backend->solver->fast_cost(device, rows, l->columns, block, samples);
    if (inputs < 0) { return false; } /* this backend has only the other form */
    const int64_t micro_batch = backend->hessian->micro_batch;
    const spade_hessian_desc desc = spade_hessian_describe(model, layer, micro_batch, precision);
    const double sum = backend->hessian->cost(device, &desc) * (double)variants / (double)micro_batch;
    const double hessian = backend->solver->fast_cost(device, rows, l->columns, block, 0);
    return (double)l->groups * inputs < sum + (double)l->groups * hessian;
}

const char *spade_hessian_form_text(spade_hessian_form form)
{
    static const char *const names[SPADE_HESSIAN_FORM_COUNT] = {"unfold", "rank-k",    "spectral",
                                                                "shift",  "depthwise", "taps"};
    return (unsigned)form < SPADE_HESSIAN_FORM_COUNT ? names[form] : "unknown";
}

/* ---- sharing */

static bool same_window(const spade_hessian_desc *a, const spade_hessian_desc *b)
{
    return memcmp(&a->window, &b->window, sizeof a->window) == 0;
}

/* The kernel position of `whole` that reads just the pixels that `part`, 1x1, reads; -1: none. */
static int64_t centre_tap(const spade_hessian_desc *whole, const spade_hessian_desc *part)
{
    const spade_window *w = &whole->window, *p = &part->window;
    int64_t tap[2];
    if (p->kernel[0] * p->kernel[1] != 1 || whole->groups != 1 || part->groups != 1) { return -1; }
    if (whole->out_height != part->out_height || whole->out_width != part->out_width) { return -1; }
    for (int a = 0; a < 2; a++) {
        int64_t distance = w->pad[a] - p->pad[a];
        tap[a] = distance / w->dilation[a];
        if (w->stride[a] != p->stride[a] || distance % w->dilation[a] || tap[a] < 0 || tap[a] >= w->kernel[a]) {
            return -1;
        }
    }
    return tap[0] * w->kernel[1] + tap[1];
}

/* Whether layer a's sums hold layer b's. tap: -1 where they are the same, else the kernel position whose block b's is.
 */
static bool covers(const spade_network *network, int a, int b, int64_t *tap)
{
    const spade_node *node = &network->nodes[network->layers[a].node],
                     *other = &network->nodes[network->layers[b].node];
    if (node->inputs[0] != other->inputs[0]) { return false; }
    spade_hessian_desc p = describe(network, a, 1, SPADE_FP32), q = describe(network, b, 1, SPADE_FP32);
    *tap = -1;
    if (p.linear != q.linear) { return false; }
    if (p.linear || (same_window(&p, &q) && p.groups == q.groups)) { return true; }
    if (p.window.kernel[0] * p.window.kernel[1] == 1) { return false; }
    *tap = centre_tap(&p, &q);
    return *tap >= 0;
}

/* The same of what a pass brings: sums hold no inputs, and inputs no sums. */
static bool holds(const spade_network *network, const spade_hessian_request *request, int a, int b, int64_t *tap)
{
    return spade_hessian_is_kept(request, a) == spade_hessian_is_kept(request, b) && covers(network, a, b, tap);
}

int spade_hessian_source(const spade_network *network, const spade_hessian_request *request, int i, int64_t *tap)
{
    const int *layers = request->layers;
    int64_t same_tap;
    int source = i;
    *tap = -1;
    for (int j = 0; j < request->count; j++) { /* a larger kernel that has it as one of its positions */
        int64_t at;
        if (j != i && holds(network, request, layers[j], layers[i], &at) && at >= 0) {
            source = j;
            *tap = at;
            break;
        }
    }
    for (int j = 0; j < source; j++) { /* of several with the same sums, the first */
        if (holds(network, request, layers[j], layers[source], &same_tap) && same_tap < 0) { return j; }
    }
    return source;
}

spade_status spade_hessian_order(spade_context *context, const spade_network *network,
                                 const spade_hessian_request *request, int *layers)
{
    const int count = request->count;
    int n = 0, *ordered = malloc((size_t)count * 2 * sizeof *ordered + 1); /* and behind them: the source of each */
    if (!ordered) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d layers", count); }
    int *sources = ordered + count;
    for (int i = 0; i < count; i++) {
        int64_t tap;
        sources[i] = spade_hessian_source(network, request, i, &tap);
    }
    for (int i = 0; i < count; i++) {
        if (sources[i] != i) { continue; }
        ordered[n++] = layers[i];
        for (int j = 0; j < count; j++) {
            if (j != i && sources[j] == i) { ordered[n++] = layers[j]; }
        }
    }
    memcpy(layers, ordered, (size_t)count * sizeof *layers);
    free(ordered);
    return SPADE_OK;
}
