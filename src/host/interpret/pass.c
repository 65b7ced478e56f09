/* pass.c - one micro-batch through the network and back, entirely on the device. */
#include "graph/overlay.h"
#include "interpret/methods.h"

static size_t slot_bytes(const interpret_pass *pass)
{
    return (size_t)pass->batch * (sizeof *pass->values + sizeof *pass->targets);
}

spade_status interpret_pass_create(const interpret_job *job, const spade_rules *rules, int64_t batch,
                                   interpret_pass *out)
{
    spade_context *context = job->context;
    spade_device *device = context->device;
    spade_status status = SPADE_OK;
    void *slots = NULL;
    *out = (interpret_pass){
        .context = context, .rules = rules, .softmax = job->options->softmax, .batch = batch, .outputs = job->outputs};
    SPADE_GOTO(spade_weights_create(context, &job->model->graph, spade_overlay_of(job->trace), &out->weights));
    SPADE_GOTO(spade_plan_create(context, &job->model->graph, batch, SPADE_PLAN_BACKWARD, &out->plan));
    SPADE_GOTO(device->backend->alloc(device, slot_bytes(out), "classes and values of a micro-batch", &slots));
    out->values = slots;
    out->targets = (int64_t *)(out->values + batch);
done:
    if (status != SPADE_OK) { interpret_pass_destroy(out); }
    return status;
}

void interpret_pass_destroy(interpret_pass *pass)
{
    if (!pass->context) { return; }
    spade_device *device = pass->context->device;
    if (pass->values) { device->backend->free(device, pass->values, slot_bytes(pass)); }
    spade_plan_destroy(pass->plan);
    spade_weights_destroy(pass->weights);
    *pass = (interpret_pass){0};
}

spade_status interpret_pass_run(interpret_pass *pass)
{
    spade_device *device = pass->context->device;
    const spade_seed_args seed = {.batch = pass->batch,
                                  .outputs = pass->outputs,
                                  .softmax = pass->softmax,
                                  .z = spade_plan_output(pass->plan),
                                  .targets = pass->targets,
                                  .seed = spade_plan_seed(pass->plan),
                                  .values = pass->values};
    SPADE_TRY(spade_run_forward(pass->plan, pass->weights, NULL, NULL, NULL, NULL, NULL));
    SPADE_TRY(device->backend->seed(device, &seed));
    return spade_walk_back(pass->plan, pass->weights, pass->rules);
}
