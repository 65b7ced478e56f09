/* registry.c - the table of methods and the public entry. */
#include <math.h>

#include "attribution/registry.h"

static const attribution_method methods[SPADE_METHOD_COUNT] = {
    [SPADE_SALIENCY] = {"saliency", false, attribution_saliency},
    [SPADE_INPUT_X_GRADIENT] = {"input_x_gradient", true, attribution_input_x_gradient},
    [SPADE_INTEGRATED_GRADIENTS] = {"integrated_gradients", true, attribution_integrated_gradients},
    [SPADE_SMOOTHGRAD] = {"smoothgrad", true, attribution_smoothgrad},
};

enum { MAX_STEPS = 10000 };

const char *spade_method_name(spade_method method)
{
    return (unsigned)method < SPADE_METHOD_COUNT ? methods[method].name : "unknown method";
}

bool spade_method_signed(spade_method method)
{
    return (unsigned)method < SPADE_METHOD_COUNT && methods[method].is_signed;
}

spade_status spade_method_find(spade_context *context, const char *name, spade_method *out)
{
    char known[256] = "";
    size_t length = 0;
    for (int i = 0; i < SPADE_METHOD_COUNT; i++) {
        if (strcmp(name, methods[i].name) == 0) {
            *out = (spade_method)i;
            return SPADE_OK;
        }
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", methods[i].name);
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "unknown method '%s' (there are %s)", name, known);
}

const char *spade_method_reduce_name(spade_reduce reduce)
{
    switch (reduce) {
    case SPADE_REDUCE_SUM: return "sum";
    case SPADE_REDUCE_ABS_MAX: return "abs-max";
    case SPADE_REDUCE_ABS_SUM: return "abs-sum";
    }
    return "unknown reduction";
}

void spade_attribution_options_init(spade_attribution_options *options, spade_method method)
{
    *options = (spade_attribution_options){.method = method, .steps = 50, .samples = 50, .sigma = 0.15};
}

static spade_status check(spade_context *context, const spade_model *model, const spade_attribution_options *options,
                          const int64_t *classes, int n)
{
    if ((unsigned)options->method >= SPADE_METHOD_COUNT) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "unknown method number %d", (int)options->method);
    }
    if (n < 1) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "no class to explain"); }
    int64_t outputs = spade_model_classes(model);
    for (int i = 0; i < n; i++) {
        if (classes[i] < 0 || classes[i] >= outputs) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "class %lld: the network has the classes 0 to %lld",
                              (long long)classes[i], (long long)outputs - 1);
        }
    }
    if (options->steps < 1 || options->steps > MAX_STEPS || options->samples < 1 || options->samples > MAX_STEPS) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "steps and samples must be from 1 to %d", MAX_STEPS);
    }
    if (!(options->sigma >= 0 && options->sigma <= 100)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "sigma must be from 0 to 100");
    }
    return SPADE_OK;
}

spade_status spade_attribute(spade_context *context, const spade_model *model, const spade_trace *trace,
                             const spade_attribution_options *options, const float *input, const int64_t *classes,
                             int n, float *maps, double *deltas)
{
    SPADE_TRY(check(context, model, options, classes, n));
    int64_t channels, height, width;
    spade_model_input(model, &channels, &height, &width);
    attribution_job job = {.context = context,
                           .model = model,
                           .trace = trace,
                           .options = options,
                           .method = spade_method_name(options->method),
                           .softmax = options->softmax,
                           .input = input,
                           .classes = classes,
                           .n = n,
                           .size = channels * height * width,
                           .outputs = spade_model_classes(model)};
    for (int i = 0; deltas && i < n; i++) { deltas[i] = NAN; }

    const attribution_method *method = &methods[options->method];
    spade_status status = method->run(&job, maps, deltas);
    if (status != SPADE_OK) { return spade_fail_in(context, status, "%s", method->name); }
    for (int64_t i = 0; i < n * job.size; i++) {
        if (!isfinite(maps[i])) {
            return spade_fail(context, SPADE_ERROR_NUMERICAL, "%s: the map of class %lld is not finite", method->name,
                              (long long)classes[i / job.size]);
        }
    }
    return SPADE_OK;
}
