/* settings_use.c - what follows from the settings: model options, preprocessing, the configuration as JSON. */
#include "base/base.h"
#include "config/settings.h"

void spade_settings_model_options(const spade_settings *settings, spade_model_options *options)
{
    *options = (spade_model_options){.height = settings->crop, .width = settings->crop};
}

spade_status spade_settings_preprocess(spade_context *context, const spade_settings *settings, const spade_model *model,
                                       spade_preprocess *out)
{
    int64_t channels, height, width;
    spade_model_input(model, &channels, &height, &width);
    if (channels != 3) {
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "the network takes %lld channels; pictures have 3",
                          (long long)channels);
    }
    if (settings->crop && (settings->crop != height || settings->crop != width)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--crop %lld: the network's input is fixed at %lldx%lld",
                          (long long)settings->crop, (long long)height, (long long)width);
    }
    spade_preprocess_init(out, height, width);
    out->resize = settings->resize;
    memcpy(out->mean, settings->mean, sizeof out->mean);
    memcpy(out->std, settings->std, sizeof out->std);
    int64_t shorter = height < width ? height : width;
    if (settings->resize > 0 && settings->resize < shorter) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--resize %lld is smaller than the crop %lldx%lld",
                          (long long)settings->resize, (long long)height, (long long)width);
    }
    return SPADE_OK;
}

static json_t *numbers(const double *values, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) { json_array_append_new(list, json_real(values[i])); }
    return list;
}

static json_t *strings(const spade_names *names)
{
    json_t *list = json_array();
    for (int i = 0; i < names->count; i++) { json_array_append_new(list, json_string(names->items[i])); }
    return list;
}

static json_t *augment_json(const spade_augment_options *augment)
{
    return json_pack("{s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:f}", "area", numbers(augment->area, 2),
                     "aspect", numbers(augment->aspect, 2), "flip", augment->flip, "brightness", augment->brightness,
                     "contrast", augment->contrast, "saturation", augment->saturation, "hue", augment->hue, "erase",
                     augment->erase, "erase_area", numbers(augment->erase_area, 2), "erase_aspect",
                     numbers(augment->erase_aspect, 2), "noise", augment->noise);
}

/* ---- methods */
static const char *const default_method = "saliency";

static int method_count(const spade_settings *settings)
{
    return settings->methods.count ? settings->methods.count : 1;
}

static const char *method_text(const spade_settings *settings, int index)
{
    return settings->methods.count ? settings->methods.items[index] : default_method;
}

/* What is asked of all methods, as texts of their options. */
static spade_status set_defaults(spade_context *context, const spade_settings *settings, spade_attribution *attribution)
{
    char text[64];
    SPADE_TRY(spade_attribution_set_default(context, attribution, "output", settings->softmax ? "softmax" : "logits"));
    snprintf(text, sizeof text, "%lld", (long long)settings->seed);
    SPADE_TRY(spade_attribution_set_default(context, attribution, "seed", text));
    if (settings->steps) {
        snprintf(text, sizeof text, "%lld", (long long)settings->steps);
        SPADE_TRY(spade_attribution_set_default(context, attribution, "steps", text));
    }
    if (settings->samples) {
        snprintf(text, sizeof text, "%lld", (long long)settings->samples);
        SPADE_TRY(spade_attribution_set_default(context, attribution, "samples", text));
    }
    if (settings->sigma >= 0) {
        snprintf(text, sizeof text, "%.17g", settings->sigma);
        SPADE_TRY(spade_attribution_set_default(context, attribution, "sigma", text));
    }
    return SPADE_OK;
}

/* choices: those before this one, then it. */
static spade_status open_choice(spade_context *context, const spade_settings *settings, spade_method_choice *choices,
                                int index)
{
    spade_method_choice *choice = &choices[index];
    const char *text = method_text(settings, index), *options = strchr(text, ':');
    int number = 1;
    SPADE_TRY(spade_attribution_create(context, text, &choice->attribution));
    SPADE_TRY(set_defaults(context, settings, choice->attribution));
    const spade_method_info *method = spade_attribution_method(choice->attribution);
    for (int i = 0; i < index; i++) { number += spade_attribution_method(choices[i].attribution) == method; }
    int length = number == 1 ? asprintf(&choice->label, "%s", method->name)
                             : asprintf(&choice->label, "%s_%d", method->name, number);
    if (length < 0) { choice->label = NULL; }
    if (options) { choice->options = strdup(options + 1); }
    if (!choice->label || (options && !choice->options)) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
    }
    return SPADE_OK;
}

spade_status spade_settings_methods(spade_context *context, const spade_settings *settings, spade_method_choice **out,
                                    int *count)
{
    const int n = method_count(settings);
    spade_method_choice *choices = calloc((size_t)n, sizeof *choices);
    *out = NULL;
    *count = 0;
    if (!choices) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < n; i++) {
        spade_status status = open_choice(context, settings, choices, i);
        if (status != SPADE_OK) {
            spade_method_choices_destroy(choices, n);
            return status;
        }
    }
    *out = choices;
    *count = n;
    return SPADE_OK;
}

void spade_method_choices_destroy(spade_method_choice *choices, int count)
{
    for (int i = 0; i < count; i++) {
        spade_attribution_destroy(choices[i].attribution);
        free(choices[i].options);
        free(choices[i].label);
    }
    free(choices);
}

/* The number that the option has where nobody gives it. */
static double default_number(const char *method, const char *option)
{
    const spade_method_info *info = spade_method_find(method);
    for (int i = 0; info && i < info->option_count; i++) {
        if (strcmp(info->options[i].name, option) == 0) { return strtod(info->options[i].default_value, NULL); }
    }
    return 0;
}

json_t *spade_settings_json(const spade_settings *settings)
{
    json_t *methods = json_array(), *classes = json_array();
    const double steps = settings->steps ? (double)settings->steps : default_number("integrated_gradients", "steps");
    const double samples = settings->samples ? (double)settings->samples : default_number("smoothgrad", "samples");
    const double sigma = settings->sigma >= 0 ? settings->sigma : default_number("smoothgrad", "sigma");
    for (int i = 0; i < method_count(settings); i++) {
        json_array_append_new(methods, json_string(method_text(settings, i)));
    }
    for (int i = 0; i < settings->class_count; i++) {
        json_array_append_new(classes, json_integer(settings->classes[i]));
    }
    if (settings->top_class) { json_array_append_new(classes, json_string("top")); }
    const spade_trace_options *trace = &settings->trace;
    json_t *all = json_pack("{s:I, s:I, s:s, s:s, s:f, s:o, s:o, s:I, s:o, s:o, s:s, s:I, s:I, s:f, s:o, s:o, s:o}",
                            "variants", (json_int_t)settings->augment.variants, "seed", (json_int_t)settings->seed,
                            "hessian", trace->hessian == SPADE_FP64 ? "fp64" : "fp32", "sweep",
                            trace->solve.sweep == SPADE_FP64 ? "fp64" : "fp32", "damping", trace->solve.damping,
                            "layers", strings(&settings->include), "skip", strings(&settings->skip), "linear_block",
                            (json_int_t)trace->linear_block, "methods", methods, "classes", classes, "output",
                            settings->softmax ? "softmax" : "logits", "steps", (json_int_t)steps, "samples",
                            (json_int_t)samples, "sigma", sigma, "mean", numbers(settings->mean, 3), "std",
                            numbers(settings->std, 3), "augment", augment_json(&settings->augment));
    if (all) { spade_settings_rules_json(settings, all); }
    static const char *const precisions[] = {"fp32", "tf32", "bf16"};
    if (all) { json_object_set_new(all, "precision", json_string(precisions[settings->precision])); }
    if (all && settings->resize >= 0) { json_object_set_new(all, "resize", json_integer(settings->resize)); }
    if (all && settings->crop) { json_object_set_new(all, "crop", json_integer(settings->crop)); }
    return all;
}
