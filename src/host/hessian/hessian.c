/*
 * hessian.c - the Hessians of several layers in one pass of the batch through the dense network. Variants run in
 * micro-batches of a fixed size, in order; the last one, where it is smaller, has its own plan.
 */
#include <math.h>

#include "hessian/hessians.h"

enum { PIECE = 512 }; /* numbers downloaded at a time */

/* What one pass works with; made and released as a whole. */
typedef struct pass {
    spade_context *context;
    const spade_model *model;
    spade_hessians *hessians;
    spade_plan *plan, *last_plan; /* last_plan: NULL where the micro-batches divide the batch */
    spade_weights *weights;
    bool *wanted;
    int *slot;    /* layer -> accumulator, -1 */
    float *input; /* host [SPADE_MICRO_BATCH, C, H, W] */
    size_t input_bytes;
    void *workspace; /* device */
    size_t workspace_bytes;
    double scale; /* 2 / n */
} pass;

uint64_t spade_hessian_bytes(const spade_model *model, int layer, spade_precision precision)
{
    const spade_layer *l = &model->graph.layers[layer];
    uint64_t k = (uint64_t)l->columns;
    return (uint64_t)l->groups * k * k * (precision == SPADE_FP64 ? sizeof(double) : sizeof(float));
}

/* ---- accumulators */

static spade_status make_accumulator(spade_context *context, const spade_model *model, int layer,
                                     spade_precision precision, spade_accumulator *out)
{
    const spade_layer *l = &model->graph.layers[layer];
    const spade_backend *backend = context->device->backend;
    *out = (spade_accumulator){.layer = layer, .groups = l->groups, .columns = l->columns};
    out->positions = l->weight[2] * l->weight[3];
    out->channels = l->columns / out->positions;
    out->bytes = (size_t)spade_hessian_bytes(model, layer, precision);
    spade_status status = backend->alloc(context->device, out->bytes, "Hessian", &out->h);
    if (status != SPADE_OK) { return spade_fail_in(context, status, "layer %s", l->name); }
    return backend->zero(context->device, out->h, out->bytes);
}

void spade_hessians_destroy(spade_hessians *hessians)
{
    if (!hessians) { return; }
    spade_device *device = hessians->context->device;
    for (int i = 0; i < hessians->count; i++) {
        spade_accumulator *a = &hessians->accumulators[i];
        if (a->h) { device->backend->free(device, a->h, a->bytes); }
    }
    free(hessians->accumulators);
    free(hessians);
}

static spade_status make_hessians(spade_context *context, const spade_model *model, const int *layers, int count,
                                  spade_precision precision, spade_hessians **out)
{
    spade_hessians *h = *out = calloc(1, sizeof *h);
    if (!h) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: Hessians"); }
    h->context = context;
    h->precision = precision;
    h->accumulators = calloc((size_t)count + 1, sizeof *h->accumulators);
    if (!h->accumulators) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d Hessians", count);
    }
    for (int i = 0; i < count; i++) {
        SPADE_TRY(make_accumulator(context, model, layers[i], precision, &h->accumulators[h->count++]));
    }
    return SPADE_OK;
}

/* ---- the pass */

static void close_pass(pass *p)
{
    spade_device *device = p->context->device;
    spade_plan_destroy(p->plan);
    spade_plan_destroy(p->last_plan);
    spade_weights_destroy(p->weights);
    spade_free_bytes(p->context, p->input, p->input_bytes);
    if (p->workspace) { device->backend->free(device, p->workspace, p->workspace_bytes); }
    free(p->wanted);
    free(p->slot);
}

static spade_status open_lists(pass *p, const int *layers, int count)
{
    size_t all = (size_t)p->model->graph.layer_count;
    p->wanted = calloc(all + 1, sizeof *p->wanted);
    p->slot = malloc((all + 1) * sizeof *p->slot);
    if (!p->wanted || !p->slot) { return spade_fail(p->context, SPADE_ERROR_MEMORY, "out of memory: list of layers"); }
    for (size_t i = 0; i < all; i++) { p->slot[i] = -1; }
    for (int i = 0; i < count; i++) {
        if (p->wanted[layers[i]]) {
            return spade_fail(p->context, SPADE_ERROR_ARGUMENT, "layer %s is asked for twice",
                              p->model->graph.layers[layers[i]].name);
        }
        p->wanted[layers[i]] = true;
        p->slot[layers[i]] = i;
    }
    return SPADE_OK;
}

/* Everything that takes memory, so that a budget that is too small is known before any work. */
static spade_status open_pass(pass *p, const int64_t dims[4], const int *layers, int count, spade_precision precision)
{
    spade_context *context = p->context;
    const spade_graph *graph = &p->model->graph;
    int64_t full = dims[0] < SPADE_MICRO_BATCH ? dims[0] : SPADE_MICRO_BATCH, rest = dims[0] % full;
    SPADE_TRY(open_lists(p, layers, count));
    SPADE_TRY(make_hessians(context, p->model, layers, count, precision, &p->hessians));
    SPADE_TRY(spade_weights_create(context, graph, NULL, &p->weights));
    SPADE_TRY(spade_plan_create(context, graph, full, SPADE_PLAN_TAPS, &p->plan));
    if (rest) { SPADE_TRY(spade_plan_create(context, graph, rest, SPADE_PLAN_TAPS, &p->last_plan)); }
    for (int i = 0; i < count; i++) {
        size_t bytes = spade_hessian_direct_bytes(p->model, layers[i], full, precision);
        if (bytes > p->workspace_bytes) { p->workspace_bytes = bytes; }
    }
    if (p->workspace_bytes) {
        SPADE_TRY(context->device->backend->alloc(context->device, p->workspace_bytes, "patches of a Hessian",
                                                  &p->workspace));
    }
    p->input_bytes = (size_t)(full * dims[1] * dims[2] * dims[3]) * sizeof(float);
    p->scale = 2.0 / (double)dims[0];
    return spade_alloc(context, p->input_bytes, "a micro-batch of variants", (void **)&p->input);
}

static spade_status tap(void *user, int layer, const spade_shape *shape, const float *x)
{
    pass *p = user;
    if (p->slot[layer] < 0) { return SPADE_OK; }
    spade_hessians *h = p->hessians;
    double start = spade_now();
    spade_patches patches = spade_hessian_patches(&p->model->graph, layer, shape);
    spade_status status = spade_hessian_direct(p->context, &patches, x, p->scale, h->precision,
                                               h->accumulators[p->slot[layer]].h, p->workspace);
    double seconds = spade_now() - start;
    h->update_seconds += seconds;
    spade_stage_done(p->context, SPADE_STAGE_HESSIAN, seconds);
    return status;
}

static spade_status run_pass(pass *p, const spade_batch *batch, int64_t n)
{
    double start = spade_now(), augment = 0;
    for (int64_t first = 0; first < n; first += SPADE_MICRO_BATCH) {
        int64_t count = n - first < SPADE_MICRO_BATCH ? n - first : SPADE_MICRO_BATCH;
        spade_plan *plan = spade_plan_batch(p->plan) == count ? p->plan : p->last_plan;
        double before = spade_now();
        SPADE_TRY(spade_batch_read(p->context, batch, first, count, p->input));
        double seconds = spade_now() - before;
        augment += seconds;
        spade_stage_done(p->context, SPADE_STAGE_AUGMENT, seconds);
        SPADE_TRY(spade_run_forward(plan, p->weights, p->input, NULL, tap, p, p->wanted));
        spade_report_progress(p->context, "hessian", (double)(first + count), (double)n);
    }
    SPADE_TRY(p->context->device->backend->synchronize(p->context->device));
    p->hessians->forward_seconds = spade_now() - start - p->hessians->update_seconds;
    spade_stage_done(p->context, SPADE_STAGE_FORWARD, p->hessians->forward_seconds - augment);
    return SPADE_OK;
}

static spade_status check_request(spade_context *context, const spade_model *model, const int64_t dims[4],
                                  const int *layers, int count)
{
    int64_t channels, height, width;
    spade_model_input(model, &channels, &height, &width);
    if (dims[0] <= 0 || dims[1] != channels || dims[2] != height || dims[3] != width) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "variants [%lld, %lld, %lld, %lld] do not fit the network's input [n, %lld, %lld, %lld]",
                          (long long)dims[0], (long long)dims[1], (long long)dims[2], (long long)dims[3],
                          (long long)channels, (long long)height, (long long)width);
    }
    for (int i = 0; i < count; i++) {
        if (layers[i] < 0 || layers[i] >= model->graph.layer_count) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "layer %d does not exist: the network has %d", layers[i],
                              model->graph.layer_count);
        }
    }
    return SPADE_OK;
}

spade_status spade_hessian_accumulate(spade_context *context, const spade_model *model, const spade_batch *batch,
                                      const int *layers, int count, spade_precision precision, spade_hessians **out)
{
    pass p = {.context = context, .model = model};
    int64_t dims[4];
    *out = NULL;
    spade_batch_shape(batch, dims);
    SPADE_TRY(check_request(context, model, dims, layers, count));
    spade_status status = open_pass(&p, dims, layers, count, precision);
    if (status == SPADE_OK) { status = run_pass(&p, batch, dims[0]); }
    close_pass(&p);
    if (status == SPADE_OK) {
        *out = p.hessians;
    } else {
        spade_hessians_destroy(p.hessians);
    }
    return status;
}

spade_status spade_hessian_need(spade_context *context, const spade_model *model, const spade_batch *batch,
                                const int *layers, int count, spade_precision precision, uint64_t *bytes)
{
    pass p = {.context = context, .model = model};
    int64_t dims[4];
    spade_batch_shape(batch, dims);
    uint64_t budget = context->budget, peak = context->peak, used = context->used;
    context->budget = UINT64_MAX;
    context->peak = used;
    spade_status status = open_pass(&p, dims, layers, count, precision);
    *bytes = context->peak - used;
    close_pass(&p);
    spade_hessians_destroy(p.hessians);
    context->budget = budget;
    context->peak = peak;
    return status;
}

/* ---- reading */

/* Numbers first .. first+count-1 of an accumulator -> out. A failed download gives NaN, which the solver refuses. */
static void read_numbers(const spade_hessians *hessians, const spade_accumulator *a, int64_t first, int64_t count,
                         double *out)
{
    spade_device *device = hessians->context->device;
    if (hessians->precision == SPADE_FP64) {
        const double *from = (const double *)a->h + first;
        if (device->backend->download(device, out, from, (size_t)count * sizeof *out) != SPADE_OK) {
            for (int64_t i = 0; i < count; i++) { out[i] = NAN; }
        }
        return;
    }
    float piece[PIECE];
    const float *from = (const float *)a->h + first;
    bool failed = device->backend->download(device, piece, from, (size_t)count * sizeof *piece) != SPADE_OK;
    for (int64_t i = 0; i < count; i++) { out[i] = failed ? NAN : (double)piece[i]; }
}

/* (row, column, channel) -> (channel, row, column) */
static int64_t weight_column(const spade_accumulator *a, int64_t gathered)
{
    return gathered % a->channels * a->positions + gathered / a->channels;
}

void spade_hessian_get_upper(const spade_hessians *hessians, int i, int64_t group, double *out)
{
    const spade_accumulator *a = &hessians->accumulators[i];
    int64_t k = a->columns;
    double piece[PIECE];
    for (int64_t r = 0; r < k; r++) {
        int64_t row = weight_column(a, r);
        for (int64_t first = 0; first <= r; first += PIECE) {
            int64_t count = r + 1 - first < PIECE ? r + 1 - first : PIECE;
            read_numbers(hessians, a, (group * k + r) * k + first, count, piece);
            for (int64_t c = 0; c < count; c++) {
                int64_t column = weight_column(a, first + c);
                out[row < column ? row * k + column : column * k + row] = piece[c];
            }
        }
    }
}

void spade_hessian_get(const spade_hessians *hessians, int i, int64_t group, double *out)
{
    int64_t k = hessians->accumulators[i].columns;
    spade_hessian_get_upper(hessians, i, group, out);
    for (int64_t r = 0; r < k; r++) {
        for (int64_t c = 0; c < r; c++) { out[r * k + c] = out[c * k + r]; }
    }
}

void spade_hessian_diagonal(const spade_hessians *hessians, int i, int64_t group, double *out)
{
    const spade_accumulator *a = &hessians->accumulators[i];
    int64_t k = a->columns;
    for (int64_t r = 0; r < k; r++) {
        read_numbers(hessians, a, (group * k + r) * k + r, 1, &out[weight_column(a, r)]);
    }
}
