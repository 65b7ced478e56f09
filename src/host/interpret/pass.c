/* pass.c - one micro-batch through the network and back, entirely on the device. */
#include "interpret/methods.h"

spade_status interpret_pass_create(const interpret_job *job, const spade_rules *rules, int64_t batch,
                                   interpret_pass *out)
{
    const size_t bytes = (size_t)batch * (sizeof *out->values + sizeof *out->targets);
    *out = (interpret_pass){.rules = rules, .softmax = job->options->softmax, .outputs = job->outputs};
    SPADE_TRY(spade_runner_take(job->context, &job->model->graph, batch, SPADE_PLAN_BACKWARD,
                                spade_overlay_of(job->trace), &out->runner));
    spade_status status = spade_runner_scratch(out->runner, bytes, "classes and values of a micro-batch");
    if (status != SPADE_OK) {
        interpret_pass_destroy(out);
        return status;
    }
    out->plan = out->runner->plan;
    out->values = out->runner->scratch;
    out->targets = (int64_t *)(out->values + batch);
    return SPADE_OK;
}

void interpret_pass_destroy(interpret_pass *pass)
{
    spade_runner_give(pass->runner);
    *pass = (interpret_pass){0};
}

static spade_status run(void *user)
{
    const interpret_pass *pass = user;
    spade_weights *weights = pass->runner->weights;
    spade_device *device = pass->runner->item.context->device;
    const spade_seed_args seed = {.batch = spade_plan_batch(pass->plan),
                                  .outputs = pass->outputs,
                                  .softmax = pass->softmax,
                                  .z = spade_plan_output(pass->plan),
                                  .targets = pass->targets,
                                  .seed = spade_plan_seed(pass->plan),
                                  .values = pass->values};
    SPADE_TRY(spade_run_forward(pass->plan, weights, NULL, NULL, NULL, NULL, NULL));
    SPADE_TRY(device->backend->seed(device, &seed));
    return spade_walk_back(pass->plan, weights, pass->rules);
}

spade_status interpret_pass_run(interpret_pass *pass)
{
    const uint64_t work[] = {(uintptr_t)pass->rules, pass->softmax, pass->runner->serial};
    return spade_repeat_run(pass->runner->item.context->device, &pass->runner->repeat, spade_hash(work, sizeof work, 0),
                            run, pass);
}
