/* pass.c - one micro-batch through the network and back, entirely on the device. */
#include "attribution/gradient_driver.h"

spade_status attribution_pass_create(const attribution_job *job, const spade_plan_request *request,
                                     attribution_pass *out)
{
    const size_t bytes = (size_t)request->batch * (sizeof *out->values + sizeof *out->targets);
    *out = (attribution_pass){.score = job->score, .outputs = job->outputs};
    SPADE_TRY(spade_executor_acquire(job->context, &job->model->network, request, spade_weight_override_of(job->trace),
                                     &out->executor));
    spade_status status = spade_executor_scratch(out->executor, bytes, "targets and values of a micro-batch");
    if (status != SPADE_OK) {
        attribution_pass_destroy(out);
        return status;
    }
    out->plan = out->executor->plan;
    out->values = out->executor->scratch;
    out->targets = (spade_seed_target *)(out->values + request->batch);
    return SPADE_OK;
}

void attribution_pass_destroy(attribution_pass *pass)
{
    spade_executor_release(pass->executor);
    *pass = (attribution_pass){0};
}

static spade_status walk_back(void *user)
{
    const attribution_pass *pass = user;
    spade_device *device = pass->executor->entry.context->device;
    const spade_seed_args seed = {.batch = spade_plan_batch(pass->plan),
                                  .outputs = pass->outputs,
                                  .score = pass->score,
                                  .z = spade_plan_output(pass->plan),
                                  .targets = pass->targets,
                                  .seed = spade_plan_output_relevance(pass->plan),
                                  .times_output = pass->times_output,
                                  .values = pass->values};
    SPADE_TRY(device->backend->seed(device, &seed));
    return spade_run_backward(pass->plan, pass->executor->weights);
}

static spade_status run(void *user)
{
    const attribution_pass *pass = user;
    SPADE_TRY(spade_run_forward(pass->plan, pass->executor->weights, NULL, NULL, NULL, NULL, NULL));
    return walk_back(user);
}

/* What the work depends on beside the inputs. */
static uint64_t key_of(const attribution_pass *pass)
{
    const uint64_t work[] = {(uint64_t)pass->score, pass->times_output, pass->executor->generation};
    return spade_hash(work, sizeof work, 0);
}

spade_status attribution_pass_run(attribution_pass *pass)
{
    return spade_capture_run(pass->executor->entry.context->device, &pass->executor->capture, key_of(pass), run, pass);
}

spade_status attribution_pass_again(attribution_pass *pass)
{
    return spade_capture_run(pass->executor->entry.context->device, &pass->executor->again, key_of(pass), walk_back,
                             pass);
}
