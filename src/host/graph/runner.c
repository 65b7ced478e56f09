/* runner.c - plans with their weights, kept from call to call. */
#include "graph/runner.h"

#include "graph/plan.h"

static const char runner_kind = 0;

static void destroy(spade_ready_item *item)
{
    spade_runner *runner = (spade_runner *)item; /* its first member */
    spade_device *device = item->context->device;
    spade_repeat_clear(device, &runner->repeat);
    if (runner->scratch) { device->backend->free(device, runner->scratch, runner->scratch_bytes); }
    spade_weights_destroy(runner->weights);
    spade_plan_destroy(runner->plan);
    free(runner);
}

static bool is_like(const spade_ready_item *item, const void *user)
{
    const spade_runner *a = (const spade_runner *)item, *b = user;
    return a->traced == b->traced && a->batch == b->batch && a->flags == b->flags;
}

static spade_status create(const spade_runner *like, spade_weight_overlay *overlay, spade_runner **out)
{
    spade_context *context = like->item.context;
    spade_runner *runner = *out = malloc(sizeof *runner);
    spade_status status;
    if (!runner) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    *runner = *like;
    SPADE_GOTO(spade_plan_create(context, like->item.graph, like->batch, like->flags, &runner->plan));
    SPADE_GOTO(spade_weights_create(context, like->item.graph, overlay, &runner->weights));
    return SPADE_OK;
done:
    destroy(&runner->item);
    *out = NULL;
    return status;
}

/* They may have been given back, and made again, since the runner was used. */
static void note_parameters(spade_runner *runner)
{
    const uint64_t parameters = spade_weights_parameters(runner->weights);
    if (runner->parameters == parameters) { return; }
    runner->parameters = parameters;
    runner->serial = spade_serial(runner->item.context);
}

spade_status spade_runner_take(spade_context *context, const spade_graph *graph, int64_t batch, unsigned flags,
                               spade_weight_overlay *overlay, spade_runner **out)
{
    if (overlay && overlay->context != context) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "the trace was made in another context");
    }
    const spade_runner like = {.item = {.kind = &runner_kind, .graph = graph, .context = context, .destroy = destroy},
                               .traced = overlay != NULL,
                               .batch = batch,
                               .flags = flags};
    spade_runner *runner = *out = (spade_runner *)spade_ready_take(context, graph, &runner_kind, is_like, &like);
    spade_status status = runner ? spade_weights_wake(runner->weights, overlay) : create(&like, overlay, out);
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

spade_status spade_runner_scratch(spade_runner *runner, size_t bytes, const char *what)
{
    spade_device *device = runner->item.context->device;
    if (bytes <= runner->scratch_bytes) { return SPADE_OK; }
    if (runner->scratch) { device->backend->free(device, runner->scratch, runner->scratch_bytes); }
    runner->scratch = NULL;
    runner->scratch_bytes = 0;
    runner->serial = spade_serial(runner->item.context);
    SPADE_TRY(device->backend->alloc(device, bytes, what, &runner->scratch));
    runner->scratch_bytes = bytes;
    return SPADE_OK;
}

void spade_runner_give(spade_runner *runner)
{
    if (!runner) { return; }
    spade_parameters *parameters = spade_weights_rest(runner->weights);
    spade_ready_give(&runner->item,
                     spade_plan_bytes(runner->plan) + spade_weights_bytes(runner->weights) + runner->scratch_bytes);
    spade_parameters_give(parameters); /* after: what is on standby longer is given back first */
}

static spade_status forward(void *user)
{
    spade_runner *runner = user;
    return spade_run_forward(runner->plan, runner->weights, NULL, NULL, NULL, NULL, NULL);
}

spade_status spade_runner_forward(spade_runner *runner)
{
    return spade_repeat_run(runner->item.context->device, &runner->repeat, runner->serial, forward, runner);
}
