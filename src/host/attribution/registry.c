/* registry.c - the table of methods and the public entry. */
#include <math.h>

#include "attribution/baseline.h"
#include "attribution/registry.h"
#include "engine/weight_override.h"

static const attribution_method *const methods[] = {
#define ATTRIBUTION_ROW(name) &attribution_##name,
    ATTRIBUTION_METHODS(ATTRIBUTION_ROW)
#undef ATTRIBUTION_ROW
};
enum { METHOD_COUNT = sizeof methods / sizeof *methods };

int spade_method_count(void)
{
    return METHOD_COUNT;
}

const spade_method_info *spade_method_at(int index)
{
    return index >= 0 && index < METHOD_COUNT ? &methods[index]->info : NULL;
}

const attribution_method *attribution_find(const char *name, size_t length)
{
    for (int i = 0; i < METHOD_COUNT; i++) {
        const char *known = methods[i]->info.name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) { return methods[i]; }
    }
    return NULL;
}

const spade_method_info *spade_method_find(const char *name)
{
    const attribution_method *method = attribution_find(name, strlen(name));
    return method ? &method->info : NULL;
}

const spade_method_info *spade_attribution_method(const spade_attribution *attribution)
{
    return &attribution->method->info;
}

/* ---- a job: an attribution on a network */
attribution_job attribution_job_of_scores(spade_context *context, const spade_model *model, const char *what)
{
    attribution_job job = {.context = context,
                           .model = model,
                           .method = what,
                           .score = spade_model_score(model),
                           .outputs = spade_model_outputs(model),
                           .class_count = spade_model_classes(model),
                           .pictures = 1};
    spade_model_input(model, &job.channels, &job.height, &job.width);
    job.size = job.channels * job.height * job.width;
    return job;
}

static attribution_job make_job(spade_context *context, const spade_model *model, const spade_attribution *attribution)
{
    attribution_job job = attribution_job_of_scores(context, model, attribution->method->info.name);
    if (!attribution->common.output) { job.score = SPADE_SCORE_LOGIT; }
    job.seed = (uint64_t)attribution->common.seed;
    job.preprocess = attribution->preprocess;
    return job;
}

attribution_job attribution_job_of_picture(const attribution_job *job, int picture)
{
    attribution_job one = *job;
    one.input += picture * job->size;
    one.targets += (ptrdiff_t)picture * job->n;
    one.pictures = 1;
    return one;
}

static spade_status check_options(const attribution_job *job, const spade_attribution *attribution)
{
    const attribution_method *method = attribution->method;
    if (!method->check) { return SPADE_OK; }
    spade_status status = method->check(job, attribution->options);
    return status == SPADE_OK ? status : spade_fail_in(job->context, status, "%s", job->method);
}

void attribution_pixels_shape(const attribution_job *job, const void *options, int64_t shape[3])
{
    (void)options;
    shape[0] = 1;
    shape[1] = job->height;
    shape[2] = job->width;
}

static void map_shape(const attribution_job *job, const spade_attribution *attribution, int64_t shape[3])
{
    shape[0] = job->channels;
    shape[1] = job->height;
    shape[2] = job->width;
    if (attribution->method->shape) { attribution->method->shape(job, attribution->options, shape); }
}

spade_status spade_attribution_map_shape(spade_context *context, const spade_model *model,
                                         const spade_attribution *attribution, int64_t shape[3])
{
    const attribution_job job = make_job(context, model, attribution);
    SPADE_TRY(check_options(&job, attribution));
    map_shape(&job, attribution, shape);
    return SPADE_OK;
}

double spade_attribution_passes(const spade_model *model, const spade_attribution *attribution)
{
    const attribution_job job = make_job(model->context, model, attribution);
    return attribution->method->passes ? attribution->method->passes(&job, attribution->options) : 1;
}

/* ---- targets */
static spade_status check_class(const attribution_job *job, int64_t index)
{
    if (index >= 0 && index < job->class_count) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "class %lld: the network has the classes 0 to %lld",
                      (long long)index, (long long)job->class_count - 1);
}

spade_status attribution_check_targets(const attribution_job *job)
{
    if (job->n < 1) { return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "no class to explain"); }
    for (int i = 0; i < job->pictures * job->n; i++) {
        const spade_target *target = &job->targets[i];
        SPADE_TRY(check_class(job, target->class_index));
        if (!target->contrast) { continue; }
        SPADE_TRY(check_class(job, target->against));
        if (target->against == target->class_index) {
            return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "class %lld against itself: there is no difference",
                              (long long)target->against);
        }
    }
    return SPADE_OK;
}

/* A network may make numbers of NaN: a relu's is 0. */
static spade_status check_input(const attribution_job *job)
{
    const int64_t plane = job->height * job->width;
    for (int64_t i = 0; i < job->pictures * job->size; i++) {
        const int64_t e = i % job->size;
        if (isfinite(job->input[i])) { continue; }
        return spade_fail(job->context, SPADE_ERROR_INPUT,
                          "element [%lld, %lld, %lld] of input %lld (channel, row, column) is %s",
                          (long long)(e / plane), (long long)(e % plane / job->width), (long long)(e % job->width),
                          (long long)(i / job->size), isnan(job->input[i]) ? "NaN" : "infinite");
    }
    return SPADE_OK;
}

static spade_status check_finite(const attribution_job *job, int64_t map_size, const float *maps, int *failed)
{
    char text[SPADE_TARGET_TEXT];
    for (int i = 0; i < job->pictures * job->n; i++) {
        for (int64_t e = 0; e < map_size; e++) {
            if (isfinite(maps[i * map_size + e])) { continue; }
            *failed = i;
            return spade_fail(job->context, SPADE_ERROR_NUMERICAL, "the map of %s is not finite",
                              spade_target_text(&job->targets[i], NULL, NULL, text));
        }
    }
    return SPADE_OK;
}

/* ---- maps */

int spade_attributions_share(const spade_attribution *a, const spade_attribution *b)
{
    return a->method->family && a->method->family == b->method->family &&
           spade_named_options_agree(&a->named, &b->named);
}

int spade_attribution_takes_pictures(const spade_attribution *attribution)
{
    const attribution_method *method = attribution->method;
    return method->run ? method->takes_pictures : method->family->takes_pictures;
}

int spade_attributions_equal(const spade_attribution *a, const spade_attribution *b)
{
    return a->method == b->method && spade_named_options_agree(&a->named, &b->named);
}

unsigned spade_attribution_flags(const spade_attribution *attribution)
{
    const attribution_method *method = attribution->method;
    const unsigned flags = method->flags ? method->flags(attribution->options) : method->info.flags;
    return attribution_draws_baseline(attribution) ? flags | SPADE_METHOD_RANDOM : flags;
}

double spade_attribution_completeness(const spade_attribution *attribution)
{
    const attribution_method *method = attribution->method;
    return method->completeness ? method->completeness(attribution->options) : method->info.completeness;
}

spade_status attribution_run(const attribution_job *job, const spade_attribution *attribution, float *maps,
                             spade_map_note *notes)
{
    const attribution_method *method = attribution->method;
    if (method->run) { return method->run(job, attribution->options, maps, notes); }
    const attribution_member one = {method->part, attribution->options, maps};
    return method->family->run(job, &one, 1);
}

/* The maps of several that share a walk, or of one, into `maps`, each [pictures, n, shape of a map]. */
static spade_status run_members(const attribution_job *job, const spade_attribution *const *attributions, int count,
                                float *const *maps, spade_map_note *notes)
{
    attribution_member members[SPADE_MAX_TOGETHER];
    if (count == 1) { return attribution_run(job, attributions[0], maps[0], notes); }
    for (int i = 0; i < count; i++) {
        members[i] = (attribution_member){attributions[i]->method->part, attributions[i]->options, maps[i]};
    }
    return attributions[0]->method->family->run(job, members, count);
}

/* Numbers of a picture's maps. */
static int64_t numbers_of(const attribution_job *job, const spade_attribution *attribution)
{
    int64_t shape[3];
    map_shape(job, attribution, shape);
    return shape[0] * shape[1] * shape[2] * job->n;
}

/* The maps of all pictures, those of one at a time where the methods do not take several. */
static spade_status run_pictures(const attribution_job *job, const spade_attribution *const *attributions, int count,
                                 float *const *maps, spade_map_note *notes)
{
    if (job->pictures == 1 || spade_attribution_takes_pictures(attributions[0])) {
        return run_members(job, attributions, count, maps, notes);
    }
    for (int p = 0; p < job->pictures; p++) {
        const attribution_job one = attribution_job_of_picture(job, p);
        float *own[SPADE_MAX_TOGETHER];
        for (int i = 0; i < count; i++) { own[i] = maps[i] + p * numbers_of(job, attributions[i]); }
        SPADE_TRY(run_members(&one, attributions, count, own, notes ? notes + p * job->n : NULL));
    }
    return SPADE_OK;
}

/* Of a job with inputs and targets. */
static spade_status attribute(const attribution_job *job, const spade_attribution *const *attributions, int count,
                              float *const *maps, spade_map_note *notes)
{
    SPADE_TRY(spade_weight_override_check(job->context, job->trace, job->model));
    bool complete = job->input && job->targets;
    for (int i = 0; i < count; i++) { complete = complete && maps[i]; }
    if (!complete) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "no input, no targets, or no room for the map");
    }
    SPADE_TRY(attribution_check_targets(job));
    SPADE_TRY(check_input(job));
    for (int i = 0; i < count; i++) { SPADE_TRY(check_options(job, attributions[i])); }
    for (int i = 0; notes && i < count * job->pictures * job->n; i++) { notes[i] = (spade_map_note){NAN, NAN}; }

    spade_status status = run_pictures(job, attributions, count, maps, notes);
    const char *method = job->method; /* whose map is not finite, */
    int failed = 0;                   /* and of which target */
    for (int i = 0; i < count && status == SPADE_OK; i++) {
        method = attributions[i]->method->info.name;
        status = check_finite(job, numbers_of(job, attributions[i]) / job->n, maps[i], &failed);
    }
    if (status == SPADE_ERROR_NUMERICAL) {
        const attribution_job one = attribution_job_of_picture(job, failed / job->n);
        status = attribution_explain_not_finite(&one, &job->targets[failed], status);
    }
    return status == SPADE_OK ? SPADE_OK : spade_fail_in(job->context, status, "%s", method);
}

static spade_status check_together(spade_context *context, const spade_attribution *const *attributions, int count)
{
    bool complete = count > 0;
    for (int i = 0; i < count; i++) { complete = complete && attributions[i]; }
    if (!complete) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "no method"); }
    for (int i = 1; i < count; i++) {
        if (count <= SPADE_MAX_TOGETHER && spade_attributions_share(attributions[0], attributions[i])) { continue; }
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s and %s do not share a walk, or are more than %d methods",
                          attributions[0]->method->info.name, attributions[i]->method->info.name, SPADE_MAX_TOGETHER);
    }
    return SPADE_OK;
}

spade_status spade_attribute_pictures(spade_context *context, const spade_model *model,
                                      const spade_attribution *const *attributions, int count, const float *inputs,
                                      int pictures, const spade_target *targets, int n, float *const *maps,
                                      spade_map_note *notes)
{
    SPADE_TRY(check_together(context, attributions, count));
    if (pictures < 1) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "no picture to explain"); }
    attribution_job job = make_job(context, model, attributions[0]);
    job.input = inputs;
    job.targets = targets;
    job.pictures = pictures;
    job.n = n;
    return attribute(&job, attributions, count, maps, notes);
}

spade_status spade_attribute_together(spade_context *context, const spade_model *model, const spade_trace *trace,
                                      const spade_attribution *const *attributions, int count, const float *input,
                                      const spade_target *targets, int n, float *const *maps, spade_map_note *notes)
{
    SPADE_TRY(check_together(context, attributions, count));
    attribution_job job = make_job(context, model, attributions[0]);
    job.trace = trace;
    job.input = input;
    job.targets = targets;
    job.n = n;
    return attribute(&job, attributions, count, maps, notes);
}

spade_status spade_attribute(spade_context *context, const spade_model *model, const spade_trace *trace,
                             const spade_attribution *attribution, const float *input, const spade_target *targets,
                             int n, float *maps, spade_map_note *notes)
{
    return spade_attribute_together(context, model, trace, &attribution, 1, input, targets, n, &maps, notes);
}

/* ---- conservation */

void spade_conservation_clear(spade_conservation *conservation)
{
    free(conservation->steps);
    *conservation = (spade_conservation){0};
}

spade_status spade_attribution_conservation(spade_context *context, const spade_model *model, const spade_trace *trace,
                                            const spade_attribution *attribution, const float *input,
                                            const spade_target *target, spade_conservation *out)
{
    attribution_job job = make_job(context, model, attribution);
    *out = (spade_conservation){0};
    if (!attribution->method->conserve) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: no relevance goes from node to node there", job.method);
    }
    job.trace = trace;
    job.input = input;
    job.targets = target;
    job.n = 1;
    SPADE_TRY(spade_weight_override_check(context, trace, model));
    SPADE_TRY(attribution_check_targets(&job));
    SPADE_TRY(check_input(&job));
    SPADE_TRY(check_options(&job, attribution));
    spade_status status = attribution->method->conserve(&job, attribution->options, target, out);
    if (status == SPADE_OK) { return SPADE_OK; }
    spade_conservation_clear(out);
    return spade_fail_in(context, status, "%s", job.method);
}
