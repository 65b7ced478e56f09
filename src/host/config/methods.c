/* methods.c - the methods that the settings ask for, with their options. */
#include "config/settings.h"

static const char *const default_method = "saliency";

static spade_status check(spade_context *context, const char *text)
{
    spade_attribution *attribution;
    SPADE_TRY(spade_attribution_create(context, text, &attribution));
    spade_attribution_destroy(attribution);
    return SPADE_OK;
}

spade_status spade_settings_set_methods(spade_context *context, spade_settings *settings, char *const *values,
                                        int count)
{
    return spade_choices_set(context, "method", check, values, count, &settings->methods);
}

static int method_count(const spade_settings *settings)
{
    return settings->methods.count ? settings->methods.count : 1;
}

static const char *method_text(const spade_settings *settings, int index)
{
    return settings->methods.count ? settings->methods.items[index] : default_method;
}

json_t *spade_settings_methods_json(const spade_settings *settings)
{
    json_t *list = json_array();
    for (int i = 0; i < method_count(settings); i++) {
        spade_json_append(&list, spade_json_text(method_text(settings, i)));
    }
    return list;
}

/* What is asked of all methods, as texts of their options. */
static spade_status set_defaults(spade_context *context, const spade_settings *settings, spade_attribution *attribution)
{
    char text[32];
    SPADE_TRY(spade_attribution_set_default(context, attribution, "output", settings->output ? "scores" : "logits"));
    snprintf(text, sizeof text, "%lld", (long long)settings->seed);
    SPADE_TRY(spade_attribution_set_default(context, attribution, "seed", text));
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        if (key->type != SPADE_KEY_METHOD_OPTION) { continue; }
        const spade_method_option *option = (const void *)((const char *)settings + key->offset);
        if (!option->given) { continue; }
        SPADE_TRY(
            spade_attribution_set_default(context, attribution, key->name, spade_format_real(option->value, text)));
    }
    return SPADE_OK;
}

/* choices [*count]: those before this one, to which it is added, unless it is one of them in other words. */
static spade_status open_choice(spade_context *context, const spade_settings *settings, const char *text,
                                spade_method_choice *choices, int *count)
{
    spade_method_choice *choice = &choices[*count];
    int number = 1;
    SPADE_TRY(spade_attribution_create(context, text, &choice->attribution));
    SPADE_TRY(set_defaults(context, settings, choice->attribution));
    const spade_method_info *method = spade_attribution_method(choice->attribution);
    for (int i = 0; i < *count; i++) {
        if (spade_attributions_equal(choices[i].attribution, choice->attribution)) {
            spade_attribution_destroy(choice->attribution);
            choice->attribution = NULL;
            return SPADE_OK;
        }
        number += spade_attribution_method(choices[i].attribution) == method;
    }
    ++*count;
    return spade_choice_describe(context, text, method->name, number, &choice->options, &choice->label);
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
        spade_status status = open_choice(context, settings, method_text(settings, i), choices, count);
        if (status != SPADE_OK) {
            spade_method_choices_destroy(choices, n);
            *count = 0;
            return status;
        }
    }
    *out = choices;
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
