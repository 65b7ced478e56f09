/* executor.c - plans with their weights, kept from call to call. */
#include "engine/executor.h"

#include "engine/device_parameters.h"
#include "engine/plan.h"

static const char executor_kind = 0;

static void destroy(spade_cache_entry *entry)
{
    spade_executor *executor = (spade_executor *)entry; /* its first member */
    spade_device *device = entry->context->device;
    spade_capture_clear(device, &executor->capture);
    spade_capture_clear(device, &executor->again);
    spade_capture_clear(device, &executor->checked);
    if (executor->scratch) { device->backend->free(device, executor->scratch, executor->scratch_bytes); }
    spade_packed_weights_destroy(executor->weights);
    spade_plan_destroy(executor->plan);
    free(executor);
}

/* What an executor is looked for by. */
typedef struct wanted {
    const spade_plan_request *request;
    bool traced, biased;
} wanted;

static bool is_wanted(const spade_cache_entry *entry, const void *user)
{
    const spade_executor *executor = (const spade_executor *)entry;
    const wanted *w = user;
    return executor->traced == w->traced && executor->biased == w->biased &&
           spade_plan_serves(executor->plan, w->request);
}

static spade_status create(spade_context *context, const spade_network *network, const spade_plan_request *request,
                           spade_weight_override *override, spade_executor **out)
{
    spade_executor *executor = *out = calloc(1, sizeof *executor);
    spade_status status;
    if (!executor) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    executor->entry = (spade_cache_entry){
        .kind = &executor_kind, .network = network, .context = context, .destroy = destroy, .users = 1};
    executor->traced = override != NULL;
    executor->biased = override && override->biased;
    SPADE_GOTO(spade_plan_create(context, network, request, &executor->plan));
    SPADE_GOTO(spade_packed_weights_create(context, network, override, &executor->weights));
    return SPADE_OK;
done:
    destroy(&executor->entry);
    *out = NULL;
    return status;
}

/* They may have been evicted, and made again, since the executor was used. */
static void note_parameters(spade_executor *executor)
{
    const uint64_t parameters = spade_packed_weights_generation(executor->weights);
    if (executor->parameters == parameters) { return; }
    executor->parameters = parameters;
    executor->generation = spade_generation(executor->entry.context);
}

spade_status spade_executor_acquire(spade_context *context, const spade_network *network,
                                    const spade_plan_request *request, spade_weight_override *override,
                                    spade_executor **out)
{
    if (override && override->context != context) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "the trace was made in another context");
    }
    const wanted w = {request, override != NULL, override && override->biased};
    spade_executor *executor = *out =
        (spade_executor *)spade_cache_acquire(context, network, &executor_kind, is_wanted, &w);
    spade_status status = executor ? spade_packed_weights_attach(executor->weights, override)
                                   : create(context, network, request, override, out);
    if (status == SPADE_OK) {
        note_parameters(*out);
        status = spade_plan_prepare((*out)->plan, (*out)->weights);
    }
    if (status != SPADE_OK && *out) {
        destroy(&(*out)->entry);
        *out = NULL;
    }
    return status;
}

spade_status spade_executor_scratch(spade_executor *executor, size_t bytes, const char *what)
{
    spade_device *device = executor->entry.context->device;
    if (bytes <= executor->scratch_bytes) { return SPADE_OK; }
    if (executor->scratch) { device->backend->free(device, executor->scratch, executor->scratch_bytes); }
    executor->scratch = NULL;
    executor->scratch_bytes = 0;
    executor->generation = spade_generation(executor->entry.context);
    SPADE_TRY(device->backend->alloc(device, bytes, what, &executor->scratch));
    executor->scratch_bytes = bytes;
    return SPADE_OK;
}

void spade_executor_release(spade_executor *executor)
{
    if (!executor) { return; }
    struct spade_device_parameters *parameters = spade_packed_weights_detach(executor->weights);
    spade_cache_release(&executor->entry, spade_plan_bytes(executor->plan) +
                                              spade_packed_weights_bytes(executor->weights) + executor->scratch_bytes);
    spade_device_parameters_release(parameters); /* last: what was used longest ago is evicted first */
}

typedef struct packing_bytes {
    const spade_plan *plan;
    uint64_t bytes;
} packing_bytes;

static spade_status add_packing(void *user, spade_op *op, const spade_packing *packing)
{
    packing_bytes *p = user;
    p->bytes += p->plan->context->device->backend->packed_bytes(op);
    p->bytes += spade_packing_bias_bytes(p->plan->network, packing, false);
    return SPADE_OK;
}

spade_status spade_executor_bytes(spade_context *context, const spade_network *network,
                                  const spade_plan_request *request, size_t scratch, uint64_t *out)
{
    const wanted w = {request, false, false};
    spade_executor *kept = (spade_executor *)spade_cache_acquire(context, network, &executor_kind, is_wanted, &w);
    if (kept) { /* it will be used again, and planning anew takes long */
        uint64_t bytes = spade_plan_bytes(kept->plan) + spade_packed_weights_bytes(kept->weights);
        *out = bytes + (scratch > kept->scratch_bytes ? scratch : kept->scratch_bytes);
        spade_cache_release(&kept->entry, bytes + kept->scratch_bytes);
        return SPADE_OK;
    }
    spade_plan *plan;
    SPADE_TRY(spade_plan_make(context, network, request, &plan));
    packing_bytes p = {plan, spade_plan_bytes(plan) + scratch};
    spade_status status = spade_plan_packings(plan, add_packing, &p);
    *out = p.bytes;
    spade_plan_destroy(plan);
    return status;
}

static spade_status forward(void *user)
{
    spade_executor *executor = user;
    return spade_run_forward(executor->plan, executor->weights, NULL, NULL, NULL, NULL, NULL);
}

spade_status spade_executor_forward(spade_executor *executor)
{
    return spade_capture_run(executor->entry.context->device, &executor->capture, executor->generation, forward,
                             executor);
}
