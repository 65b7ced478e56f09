/* executor.c - plans with their weights, kept from call to call. */
#include "engine/executor.h"

#include "engine/plan.h"

static const char executor_kind = 0;

static void destroy(spade_cache_entry *item)
{
    spade_executor *executor = (spade_executor *)item; /* its first member */
    spade_device *device = item->context->device;
    spade_capture_clear(device, &executor->capture);
    if (executor->scratch) { device->backend->free(device, executor->scratch, executor->scratch_bytes); }
    spade_packed_weights_destroy(executor->weights);
    spade_plan_destroy(executor->plan);
    free(executor);
}

static bool is_like(const spade_cache_entry *item, const void *user)
{
    const spade_executor *a = (const spade_executor *)item, *b = user;
    return a->traced == b->traced && a->batch == b->batch && a->flags == b->flags;
}

static spade_status create(const spade_executor *like, spade_weight_override *override, spade_executor **out)
{
    spade_context *context = like->item.context;
    spade_executor *executor = *out = malloc(sizeof *executor);
    spade_status status;
    if (!executor) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    *executor = *like;
    SPADE_GOTO(spade_plan_create(context, like->item.network, like->batch, like->flags, &executor->plan));
    SPADE_GOTO(spade_packed_weights_create(context, like->item.network, override, &executor->weights));
    return SPADE_OK;
done:
    destroy(&executor->item);
    *out = NULL;
    return status;
}

/* They may have been given back, and made again, since the executor was used. */
static void note_parameters(spade_executor *executor)
{
    const uint64_t parameters = spade_packed_weights_generation(executor->weights);
    if (executor->parameters == parameters) { return; }
    executor->parameters = parameters;
    executor->generation = spade_generation(executor->item.context);
}

spade_status spade_executor_acquire(spade_context *context, const spade_network *network, int64_t batch, unsigned flags,
                                    spade_weight_override *override, spade_executor **out)
{
    if (override && override->context != context) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "the trace was made in another context");
    }
    const spade_executor like = {
        .item = {.kind = &executor_kind, .network = network, .context = context, .destroy = destroy},
        .traced = override != NULL,
        .batch = batch,
        .flags = flags};
    spade_executor *executor = *out =
        (spade_executor *)spade_cache_acquire(context, network, &executor_kind, is_like, &like);
    spade_status status =
        executor ? spade_packed_weights_attach(executor->weights, override) : create(&like, override, out);
    if (status == SPADE_OK) {
        note_parameters(*out);
        status = spade_plan_prepare((*out)->plan, (*out)->weights);
    }
    if (status != SPADE_OK && *out) {
        destroy(&(*out)->item);
        *out = NULL;
    }
    return status;
}

spade_status spade_executor_scratch(spade_executor *executor, size_t bytes, const char *what)
{
    spade_device *device = executor->item.context->device;
    if (bytes <= executor->scratch_bytes) { return SPADE_OK; }
    if (executor->scratch) { device->backend->free(device, executor->scratch, executor->scratch_bytes); }
    executor->scratch = NULL;
    executor->scratch_bytes = 0;
    executor->generation = spade_generation(executor->item.context);
    SPADE_TRY(device->backend->alloc(device, bytes, what, &executor->scratch));
    executor->scratch_bytes = bytes;
    return SPADE_OK;
}

void spade_executor_release(spade_executor *executor)
{
    if (!executor) { return; }
    spade_device_parameters *parameters = spade_packed_weights_detach(executor->weights);
    spade_cache_release(&executor->item, spade_plan_bytes(executor->plan) +
                                             spade_packed_weights_bytes(executor->weights) + executor->scratch_bytes);
    spade_device_parameters_release(parameters); /* after: what is on standby longer is given back first */
}

static spade_status forward(void *user)
{
    spade_executor *executor = user;
    return spade_run_forward(executor->plan, executor->weights, NULL, NULL, NULL, NULL, NULL);
}

spade_status spade_executor_forward(spade_executor *executor)
{
    return spade_capture_run(executor->item.context->device, &executor->capture, executor->generation, forward,
                             executor);
}
