/*
 * hessian.c - the Hessians of several layers, or the inputs that they are made of, in one pass of the batch through the
 * dense network. Variants run in micro-batches of a fixed size, in order; the last one, where it is smaller, has its own
 * plan.
 */
#include "augment/batch.h"
#include "engine/device_parameters.h"
#include "hessian/hessians.h"

/* What one pass works with. */
typedef struct pass {
    spade_context *context;
    const spade_model *model;
    spade_hessians *hessians;
    spade_executor *executor, *last_executor; /* last_executor: NULL where the micro-batches divide the batch */
    spade_executor *running;                  /* the one of this micro-batch */
    bool *wanted;
    int *slot;    /* layer -> accumulator, -1 */
    double scale; /* 2 / n */
} pass;

static int64_t micro_batch(const spade_context *context, int64_t n)
{
    int64_t max_images = context->device->backend->hessian->micro_batch;
    return n < max_images ? n : max_images;
}

/* ---- queued inputs: a layer with few positions a variant is updated with the inputs of several micro-batches at once; in
 * the queue of a layer whose inputs are kept all of them have room. */

enum { MAX_QUEUED_ROWS = 1024 };

/* Rows of this layer's input that are queued before an update, in whole micro-batches; 0: every micro-batch is an
 * update. */
static int64_t queue_rows(const spade_hessian_desc *desc, int64_t columns)
{
    int64_t rows = spade_shape_size(&desc->x) / columns;
    return desc->form == SPADE_HESSIAN_RANK_K && desc->groups == 1 && 2 * rows <= MAX_QUEUED_ROWS
               ? MAX_QUEUED_ROWS / rows * rows
               : 0;
}

/* Variants that are queued before an update, or that are kept: all n. */
static int64_t queue_capacity(const spade_model *model, int layer, int64_t n, const spade_hessian_request *request)
{
    const int64_t images = model->context->device->backend->hessian->micro_batch;
    if (spade_hessian_is_kept(request, layer)) { return n; }
    const spade_hessian_desc desc = spade_hessian_describe(model, layer, images, request->precision);
    const int64_t columns = model->network.layers[layer].columns;
    return queue_rows(&desc, columns) / (spade_shape_size(&desc.x) / columns) * images;
}

static int64_t image_size(const spade_model *model, int layer)
{
    const spade_hessian_desc desc = spade_hessian_describe(model, layer, 1, SPADE_FP32);
    return spade_shape_size(&desc.x);
}

/* Bytes of the queue, and of the inputs of one micro-batch on their way to it. */
static size_t queue_bytes(const spade_model *model, int layer, int64_t n, const spade_hessian_request *request)
{
    const int64_t capacity = queue_capacity(model, layer, n, request);
    const int64_t images = model->context->device->backend->hessian->micro_batch;
    return capacity ? (size_t)((capacity + images) * image_size(model, layer)) * sizeof(float) : 0;
}

/* Update the Hessian with the queued inputs. */
static spade_status flush_queue(spade_device *device, spade_accumulator *a, double scale, void *workspace)
{
    if (!a->queued || a->kept) { return SPADE_OK; }
    spade_hessian_desc desc = a->desc;
    desc.linear = true;
    desc.x = (spade_shape){.rank = 2, .dims = {a->queued * a->image_size / a->columns, a->columns}};
    a->queued = 0;
    return device->backend->hessian->update(device, &desc, a->queue, scale, a->h, workspace);
}

/* ---- sizes */

static size_t sum_bytes(const spade_model *model, int layer, const spade_hessian_request *request)
{
    spade_device *device = model->context->device;
    const spade_backend_hessian *backend = device->backend->hessian;
    if (spade_hessian_is_kept(request, layer)) { return 0; }
    const spade_hessian_desc desc = spade_hessian_describe(model, layer, backend->micro_batch, request->precision);
    return backend->bytes(device, &desc);
}

uint64_t spade_hessian_layer_bytes(const spade_model *model, int layer, int64_t n, const spade_hessian_request *request)
{
    return sum_bytes(model, layer, request) + queue_bytes(model, layer, n, request);
}

uint64_t spade_hessian_bytes(const spade_model *model, int layer, spade_precision precision)
{
    const spade_hessian_request request = {.layers = &layer, .count = 1, .precision = precision};
    if (layer < 0 || layer >= model->network.layer_count) { return 0; }
    return spade_hessian_layer_bytes(model, layer, 0, &request);
}

/* Working memory of an update with n images, or with a full queue of rows. */
static size_t update_bytes(const spade_model *model, int layer, int64_t n, spade_precision precision)
{
    const spade_backend *backend = model->context->device->backend;
    spade_hessian_desc desc = spade_hessian_describe(model, layer, n, precision);
    size_t bytes = backend->hessian->workspace_bytes(model->context->device, &desc);
    int64_t columns = model->network.layers[layer].columns, rows = queue_rows(&desc, columns);
    if (!rows) { return bytes; }
    desc.linear = true;
    desc.x = (spade_shape){.rank = 2, .dims = {rows, columns}};
    size_t queued = backend->hessian->workspace_bytes(model->context->device, &desc);
    return queued > bytes ? queued : bytes;
}

size_t spade_hessian_workspace_bytes(const spade_model *model, int layer, int64_t n,
                                     const spade_hessian_request *request)
{
    const spade_precision precision = request->precision;
    int64_t full = micro_batch(model->context, n);
    if (spade_hessian_is_kept(request, layer)) { return 0; }
    size_t bytes = update_bytes(model, layer, full, precision);
    /* a smaller last micro-batch can take more, as it is cut into other pieces */
    size_t last = n % full ? update_bytes(model, layer, n % full, precision) : 0;
    return last > bytes ? last : bytes;
}

/* ---- accumulators */

static const char hessians_kind = 0;

static spade_status make_accumulator(spade_context *context, const spade_model *model,
                                     const spade_hessian_request *request, int64_t n, int i, spade_accumulator *out)
{
    const int layer = request->layers[i];
    const spade_layer *l = &model->network.layers[layer];
    const spade_backend *backend = context->device->backend;
    const bool kept = spade_hessian_is_kept(request, layer);
    *out = (spade_accumulator){.layer = layer, .columns = l->columns, .kept = kept};
    out->source = spade_hessian_source(&model->network, request, i, &out->tap);
    out->desc = spade_hessian_describe(model, layer, kept ? n : backend->hessian->micro_batch, request->precision);
    out->image_size = image_size(model, layer);
    if (out->source != i) { return SPADE_OK; }
    const size_t bytes = sum_bytes(model, layer, request), queued = queue_bytes(model, layer, n, request);
    spade_status status = SPADE_OK;
    if (bytes) { status = backend->alloc(context->device, bytes, "Hessian", &out->h); }
    out->bytes = status == SPADE_OK ? bytes : 0;
    out->capacity = queue_capacity(model, layer, n, request);
    if (status == SPADE_OK && queued) {
        status = backend->alloc(context->device, queued, "inputs of a layer", (void **)&out->queue);
        out->queue_bytes = status == SPADE_OK ? queued : 0;
        out->arrived = status == SPADE_OK ? out->queue + out->capacity * out->image_size : NULL;
    }
    return status == SPADE_OK ? SPADE_OK : spade_fail_in(context, status, "layer %s", l->name);
}

static uint64_t hessians_bytes(const spade_hessians *hessians)
{
    uint64_t bytes = 0;
    for (int i = 0; i < hessians->count; i++) {
        bytes += hessians->accumulators[i].bytes + hessians->accumulators[i].queue_bytes;
    }
    return bytes;
}

static void destroy_item(spade_cache_entry *item)
{
    spade_hessians *hessians = (spade_hessians *)item; /* its first member */
    spade_device *device = hessians->item.context->device;
    spade_capture_clear(device, &hessians->capture);
    for (int i = 0; i < hessians->count; i++) {
        spade_accumulator *a = &hessians->accumulators[i];
        if (a->h) { device->backend->free(device, a->h, a->bytes); }
        if (a->queue) { device->backend->free(device, a->queue, a->queue_bytes); }
    }
    free(hessians->accumulators);
    free(hessians);
}

void spade_hessians_destroy(spade_hessians *hessians)
{
    if (hessians) { destroy_item(&hessians->item); }
}

void spade_hessians_release(spade_hessians *hessians)
{
    if (hessians) { spade_cache_release(&hessians->item, hessians_bytes(hessians)); }
}

/* What is asked of a batch of so many variants. */
typedef struct wanted_hessians {
    const spade_hessian_request *request;
    int64_t variants;
} wanted_hessians;

static bool is_for(const spade_cache_entry *item, const void *user)
{
    const spade_hessians *h = (const spade_hessians *)item;
    const wanted_hessians *wanted = user;
    const spade_hessian_request *request = wanted->request;
    if (h->count != request->count || h->precision != request->precision) { return false; }
    for (int i = 0; i < h->count; i++) {
        const spade_accumulator *a = &h->accumulators[i];
        const bool kept = spade_hessian_is_kept(request, request->layers[i]);
        if (a->layer != request->layers[i] || a->kept != kept) { return false; }
        if (kept && h->variants != wanted->variants) { return false; }
    }
    return true;
}

static spade_status create_hessians(spade_context *context, const spade_model *model, const wanted_hessians *wanted,
                                    spade_hessians **out)
{
    const spade_hessian_request *request = wanted->request;
    spade_hessians *h = *out = calloc(1, sizeof *h);
    if (!h) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: Hessians"); }
    h->item = (spade_cache_entry){
        .kind = &hessians_kind, .network = &model->network, .context = context, .destroy = destroy_item, .users = 1};
    h->precision = request->precision;
    h->variants = wanted->variants;
    h->accumulators = calloc((size_t)request->count + 1, sizeof *h->accumulators);
    if (!h->accumulators) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: list of %d Hessians", request->count);
    }
    for (int i = 0; i < request->count; i++) {
        h->count++;
        SPADE_TRY(make_accumulator(context, model, request, wanted->variants, i, &h->accumulators[i]));
    }
    return SPADE_OK;
}

/* Those of an earlier image, or new ones; not zero yet. */
static spade_status open_hessians(spade_context *context, const spade_model *model, const wanted_hessians *wanted,
                                  spade_hessians **out)
{
    *out = (spade_hessians *)spade_cache_acquire(context, &model->network, &hessians_kind, is_for, wanted);
    return *out ? SPADE_OK : create_hessians(context, model, wanted, out);
}

/* All sums are zero. */
static spade_status clear_hessians(spade_device *device, spade_hessians *h)
{
    h->forward_seconds = h->update_seconds = 0;
    for (int i = 0; i < h->count; i++) {
        spade_accumulator *a = &h->accumulators[i];
        a->queued = 0;
        if (a->h) { SPADE_TRY(device->backend->zero(device, a->h, a->bytes)); }
    }
    return SPADE_OK;
}

/* ---- the pass */

static void close_pass(pass *p)
{
    spade_executor_release(p->executor);
    spade_executor_release(p->last_executor);
    free(p->wanted);
    free(p->slot);
}

static spade_status open_lists(pass *p, const int *layers, int count)
{
    size_t all = (size_t)p->model->network.layer_count;
    p->wanted = calloc(all + 1, sizeof *p->wanted);
    p->slot = malloc((all + 1) * sizeof *p->slot);
    if (!p->wanted || !p->slot) { return spade_fail(p->context, SPADE_ERROR_MEMORY, "out of memory: list of layers"); }
    for (size_t i = 0; i < all; i++) { p->slot[i] = -1; }
    for (int i = 0; i < count; i++) {
        if (p->slot[layers[i]] >= 0) {
            return spade_fail(p->context, SPADE_ERROR_ARGUMENT, "layer %s is asked for twice",
                              p->model->network.layers[layers[i]].name);
        }
        p->slot[layers[i]] = i;
    }
    return SPADE_OK;
}

/* The passes of the network over whole micro-batches of n variants, and over the rest (batch 0: there is none). */
static void plan_requests(const spade_context *context, int64_t n, spade_plan_request *full, spade_plan_request *rest)
{
    *full = spade_forward_request(micro_batch(context, n));
    full->layer_inputs = true;
    *rest = *full;
    rest->batch = n % full->batch;
}

/* Working memory of the updates of all layers that have sums of their own. */
static size_t largest_workspace(const spade_model *model, const spade_hessian_request *request, int64_t n)
{
    size_t largest = 0;
    for (int i = 0; i < request->count; i++) {
        int64_t tap;
        if (spade_hessian_source(&model->network, request, i, &tap) != i) { continue; }
        size_t bytes = spade_hessian_workspace_bytes(model, request->layers[i], n, request);
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

/* Everything that takes memory, so that a budget that is too small is known before any work. */
static spade_status open_pass(pass *p, const int64_t dims[4], const spade_hessian_request *request)
{
    const wanted_hessians wanted = {request, dims[0]};
    spade_context *context = p->context;
    const spade_network *network = &p->model->network;
    spade_plan_request full, rest;
    plan_requests(context, dims[0], &full, &rest);
    SPADE_TRY(open_lists(p, request->layers, request->count));
    SPADE_TRY(open_hessians(context, p->model, &wanted, &p->hessians));
    SPADE_TRY(spade_executor_acquire(context, network, &full, NULL, &p->executor));
    if (rest.batch) { SPADE_TRY(spade_executor_acquire(context, network, &rest, NULL, &p->last_executor)); }
    for (int i = 0; i < request->count; i++) {
        if (p->hessians->accumulators[i].source == i) { p->wanted[request->layers[i]] = true; }
    }
    p->scale = 2.0 / (double)dims[0];
    return spade_executor_scratch(p->executor, largest_workspace(p->model, request, dims[0]),
                                  "working memory of a Hessian");
}

/* An update that began at `start` has finished. */
static void count_update(const pass *p, double start)
{
    double seconds = spade_stage_clock(p->context) - start;
    p->hessians->update_seconds += seconds;
    spade_stage_done(p->context, SPADE_STAGE_HESSIAN, seconds);
}

static spade_status tap(void *user, int layer, const spade_shape *shape, const float *x)
{
    pass *p = user;
    spade_device *device = p->context->device;
    double start = spade_stage_clock(p->context);
    spade_accumulator *a = &p->hessians->accumulators[p->slot[layer]];
    spade_status status;
    if (a->capacity) {
        a->desc.x.layout = shape->layout;
        status = device->backend->copy(device, a->arrived, x, (size_t)spade_shape_size(shape) * sizeof *x);
    } else {
        spade_hessian_desc desc = a->desc;
        desc.x = *shape;
        status = device->backend->hessian->update(device, &desc, x, p->scale, a->h, p->executor->scratch);
    }
    count_update(p, start);
    return status;
}

/* The inputs of a micro-batch of n variants go from `arrived` to the queue, so that the next one can write there. */
static spade_status queue_inputs(pass *p, int64_t n)
{
    spade_device *device = p->context->device;
    double start = spade_stage_clock(p->context);
    for (int i = 0; i < p->hessians->count; i++) {
        spade_accumulator *a = &p->hessians->accumulators[i];
        if (!a->capacity) { continue; }
        if (a->queued == a->capacity) { SPADE_TRY(flush_queue(device, a, p->scale, p->executor->scratch)); }
        SPADE_TRY(device->backend->copy(device, a->queue + a->queued * a->image_size, a->arrived,
                                        (size_t)(n * a->image_size) * sizeof(float)));
        a->queued += n;
    }
    count_update(p, start);
    return SPADE_OK;
}

static spade_status run_micro_batch(void *user)
{
    pass *p = user;
    return spade_run_forward(p->running->plan, p->running->weights, NULL, NULL, tap, p, p->wanted);
}

/* Whole micro-batches repeat the same work, on the memory of the executor and of the accumulators, with the same scale. */
static spade_status repeat_micro_batch(pass *p)
{
    uint64_t work[2] = {p->executor->generation};
    memcpy(&work[1], &p->scale, sizeof p->scale);
    return spade_capture_run(p->context->device, &p->hessians->capture, spade_hash(work, sizeof work, 0),
                             run_micro_batch, p);
}

static spade_status run_pass(pass *p, const spade_batch *batch, int64_t n)
{
    spade_device *device = p->context->device;
    double start = spade_stage_clock(p->context), augment = 0;
    SPADE_TRY(clear_hessians(device, p->hessians));
    for (int64_t first = 0; first < n;) {
        p->running = n - first < spade_plan_batch(p->executor->plan) ? p->last_executor : p->executor;
        int64_t count = spade_plan_batch(p->running->plan);
        double before = spade_stage_clock(p->context);
        spade_shape shape;
        float *input = spade_plan_input(p->running->plan, &shape);
        SPADE_TRY(spade_batch_read_device(p->context, batch, first, count, shape.layout, input));
        double seconds = spade_stage_clock(p->context) - before;
        augment += seconds;
        spade_stage_done(p->context, SPADE_STAGE_AUGMENT, seconds);
        SPADE_TRY(p->running == p->executor ? repeat_micro_batch(p) : run_micro_batch(p));
        SPADE_TRY(queue_inputs(p, count));
        first += count;
        spade_report_progress(p->context, "hessian", (double)first, (double)n);
    }
    double flush_start = spade_stage_clock(p->context);
    for (int i = 0; i < p->hessians->count; i++) {
        SPADE_TRY(flush_queue(device, &p->hessians->accumulators[i], p->scale, p->executor->scratch));
    }
    count_update(p, flush_start);
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
        if (layers[i] < 0 || layers[i] >= model->network.layer_count) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "layer %d does not exist: the network has %d", layers[i],
                              model->network.layer_count);
        }
    }
    return SPADE_OK;
}

spade_status spade_hessian_collect(spade_context *context, const spade_model *model, const spade_batch *batch,
                                   const spade_hessian_request *request, spade_hessians **out)
{
    pass p = {.context = context, .model = model};
    int64_t dims[4];
    *out = NULL;
    spade_batch_shape(batch, dims);
    SPADE_TRY(check_request(context, model, dims, request->layers, request->count));
    spade_status status = open_pass(&p, dims, request);
    if (status == SPADE_OK) { status = run_pass(&p, batch, dims[0]); }
    close_pass(&p);
    if (status == SPADE_OK) {
        *out = p.hessians;
    } else {
        spade_hessians_destroy(p.hessians);
    }
    return status;
}

spade_status spade_hessian_accumulate(spade_context *context, const spade_model *model, const spade_batch *batch,
                                      const int *layers, int count, spade_precision precision, spade_hessians **out)
{
    const spade_hessian_request request = {.layers = layers, .count = count, .precision = precision};
    *out = NULL;
    if ((unsigned)precision > SPADE_FP64) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "there is no precision of number %d", (int)precision);
    }
    return spade_hessian_collect(context, model, batch, &request, out);
}

spade_status spade_hessian_pass_bytes(spade_context *context, const spade_model *model, const spade_batch *batch,
                                      const spade_hessian_request *request, uint64_t *bytes)
{
    const spade_network *network = &model->network;
    spade_plan_request full, rest;
    uint64_t full_bytes = 0, rest_bytes = 0;
    int64_t dims[4], tap;
    spade_batch_shape(batch, dims);
    plan_requests(context, dims[0], &full, &rest);
    SPADE_TRY(spade_executor_bytes(context, network, &full, largest_workspace(model, request, dims[0]), &full_bytes));
    if (rest.batch) { SPADE_TRY(spade_executor_bytes(context, network, &rest, 0, &rest_bytes)); }
    *bytes = full_bytes + rest_bytes + spade_device_parameters_bytes(context, network);
    for (int i = 0; i < request->count; i++) {
        bool is_source = spade_hessian_source(network, request, i, &tap) == i;
        if (is_source) { *bytes += spade_hessian_layer_bytes(model, request->layers[i], dims[0], request); }
    }
    return SPADE_OK;
}

/* ---- reading */

spade_status spade_hessian_read(const spade_hessians *hessians, int i, int64_t group, double *out)
{
    spade_device *device = hessians->item.context->device;
    const spade_accumulator *a = &hessians->accumulators[i], *source = &hessians->accumulators[a->source];
    return device->backend->hessian->read(device, &source->desc, source->h, group, a->tap, out);
}

/* The upper triangle of one H on the host. */
static spade_status read_upper(const spade_hessians *hessians, int i, int64_t group, double *out)
{
    spade_context *context = hessians->item.context;
    const spade_backend *backend = context->device->backend;
    int64_t k = hessians->accumulators[i].columns;
    size_t bytes = (size_t)(k * k) * sizeof(double);
    void *device = NULL;
    spade_status status;
    if (backend->host_memory) { return spade_hessian_read(hessians, i, group, out); }
    SPADE_GOTO(backend->alloc(context->device, bytes, "a Hessian", &device));
    SPADE_GOTO(spade_hessian_read(hessians, i, group, device));
    SPADE_GOTO(backend->download(context->device, out, device, bytes));
    SPADE_GOTO(backend->synchronize(context->device));
done:
    if (device) { backend->free(context->device, device, bytes); }
    return status;
}

static spade_status check_index(const spade_hessians *hessians, int i, int64_t group)
{
    spade_context *context = hessians->item.context;
    if (i < 0 || i >= hessians->count) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "Hessian %d: there are those of %d layers", i,
                          hessians->count);
    }
    const spade_accumulator *a = &hessians->accumulators[i];
    const int64_t groups = hessians->accumulators[a->source].desc.groups;
    if (group >= 0 && group < groups) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "Hessian %d: group %lld of %lld", i, (long long)group,
                      (long long)groups);
}

spade_status spade_hessian_get(const spade_hessians *hessians, int i, int64_t group, double *out)
{
    SPADE_TRY(check_index(hessians, i, group));
    const int64_t k = hessians->accumulators[i].columns;
    SPADE_TRY(read_upper(hessians, i, group, out));
    for (int64_t r = 0; r < k; r++) {
        for (int64_t c = 0; c < r; c++) { out[r * k + c] = out[c * k + r]; }
    }
    return SPADE_OK;
}

spade_status spade_hessian_diagonal(const spade_hessians *hessians, int i, int64_t group, double *out)
{
    spade_context *context = hessians->item.context;
    SPADE_TRY(check_index(hessians, i, group));
    const int64_t k = hessians->accumulators[i].columns;
    const size_t bytes = (size_t)(k * k) * sizeof(double);
    double *h = NULL;
    spade_status status;
    SPADE_GOTO(spade_alloc(context, bytes, "a Hessian", (void **)&h));
    SPADE_GOTO(read_upper(hessians, i, group, h));
    for (int64_t r = 0; r < k; r++) { out[r] = h[r * (k + 1)]; }
done:
    spade_free_bytes(context, h, bytes);
    return status;
}

const char *spade_hessian_form_name(const spade_hessians *hessians, int i)
{
    if (i < 0 || i >= hessians->count) { return NULL; }
    return spade_hessian_form_text(hessians->accumulators[hessians->accumulators[i].source].desc.form);
}
