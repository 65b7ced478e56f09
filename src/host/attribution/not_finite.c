/* not_finite.c - a map is not finite: which layer is to blame? One pass more, watched, of the input as it is. */
#include <math.h>

#include "attribution/gradient_driver.h"
#include "engine/magnitude.h"

/* A pass at the input: | magnitude of each layer's input [layers] | of one node's relevance | on the device */
typedef struct search {
    const attribution_job *job;
    attribution_pass pass;
    float *magnitudes;
    size_t bytes;
} search;

static spade_status open_search(search *s)
{
    const attribution_job *job = s->job;
    spade_device *device = job->context->device;
    const spade_plan_request request = spade_relevance_request(1, &spade_rules_gradient);
    void *memory;
    s->bytes = ((size_t)job->model->network.layer_count + 1) * sizeof *s->magnitudes;
    SPADE_TRY(attribution_pass_create(job, &request, &s->pass));
    SPADE_TRY(device->backend->alloc(device, s->bytes, "magnitudes of layers", &memory));
    s->magnitudes = memory;
    SPADE_TRY(device->backend->zero(device, s->magnitudes, s->bytes));
    return device->backend->upload(device, spade_plan_input(s->pass.plan, NULL), job->input,
                                   sizeof *job->input * (size_t)job->size);
}

/* Forward: the inputs of the layers. */
static spade_status check_forward(search *s)
{
    const spade_network *network = &s->job->model->network;
    spade_device *device = s->job->context->device;
    spade_magnitudes m = {device, s->magnitudes};
    float *largest = malloc(s->bytes);
    spade_status status;
    if (!largest) { return spade_fail(s->job->context, SPADE_ERROR_MEMORY, "out of memory: list of layers"); }
    SPADE_GOTO(
        spade_run_forward(s->pass.plan, s->pass.executor->weights, NULL, NULL, spade_magnitudes_observe, &m, NULL));
    SPADE_GOTO(device->backend->download(device, largest, s->magnitudes, s->bytes));
    status = spade_magnitudes_check(s->job->context, network, largest);
done:
    free(largest);
    return status;
}

static spade_status check_relevance(void *user, int node, const spade_shape *shape, const float *relevance)
{
    const search *s = user;
    const spade_network *network = &s->job->model->network;
    spade_context *context = s->job->context;
    spade_device *device = context->device;
    const int layer = network->nodes[node].layer;
    float *to = s->magnitudes + network->layer_count, largest;
    SPADE_TRY(device->backend->magnitude(device, spade_shape_size(shape), relevance, to));
    SPADE_TRY(device->backend->download(device, &largest, to, sizeof largest));
    if (isfinite(largest)) { return SPADE_OK; }
    /* the walk puts the node's name before it */
    return spade_fail(context, SPADE_ERROR_NUMERICAL, "%s%.200s%sthe gradient of its output holds %s",
                      layer >= 0 ? "layer " : "", layer >= 0 ? network->layers[layer].name : "", layer >= 0 ? ": " : "",
                      isnan(largest) ? "NaN" : "infinite numbers");
}

/* Back, for one target: the gradients of what the nodes computed. */
static spade_status check_backward(search *s, const spade_target *target)
{
    const attribution_job *job = s->job;
    spade_device *device = job->context->device;
    const spade_seed_args seed = {.batch = 1,
                                  .outputs = s->pass.outputs,
                                  .score = s->pass.score,
                                  .z = spade_plan_output(s->pass.plan),
                                  .targets = s->pass.targets,
                                  .seed = spade_plan_output_relevance(s->pass.plan),
                                  .values = s->pass.values};
    const spade_seed_target seed_target = attribution_seed_target(target);
    SPADE_TRY(device->backend->upload(device, s->pass.targets, &seed_target, sizeof seed_target));
    SPADE_TRY(device->backend->seed(device, &seed));
    const spade_walk_observer observer = {.user = s, .relevance = check_relevance};
    return spade_run_backward_observed(s->pass.plan, s->pass.executor->weights, &observer);
}

spade_status attribution_explain_not_finite(const attribution_job *job, const spade_target *target, spade_status status)
{
    spade_context *context = job->context;
    search s = {.job = job};
    spade_error error;
    spade_error_save(context, &error);
    spade_status found = open_search(&s);
    if (found == SPADE_OK) { found = check_forward(&s); }
    if (found == SPADE_OK) { found = check_backward(&s, target); }
    if (s.magnitudes) { context->device->backend->free(context->device, s.magnitudes, s.bytes); }
    attribution_pass_destroy(&s.pass);
    if (found == SPADE_ERROR_NUMERICAL) {
        char text[SPADE_TARGET_TEXT];
        return spade_fail_in(context, found, "%s", spade_target_text(target, NULL, NULL, text));
    }
    spade_error_restore(context, &error); /* nothing was found at the input itself, or there was no memory to look */
    return status;
}
