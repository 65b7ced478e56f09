/* metrics.c - the metrics that the settings ask for, with their options. */
#include "config/settings.h"

static const char *const default_metric = "roc_auc";

static spade_status check(spade_context *context, const char *text)
{
    spade_metric *metric;
    SPADE_TRY(spade_metric_create(context, text, &metric));
    spade_metric_destroy(metric);
    return SPADE_OK;
}

spade_status spade_settings_set_metrics(spade_context *context, spade_settings *settings, char *const *values,
                                        int count)
{
    return spade_choices_set(context, "metric", check, values, count, &settings->metrics);
}

static int metric_count(const spade_settings *settings)
{
    return settings->metrics.count ? settings->metrics.count : 1;
}

static const char *metric_text(const spade_settings *settings, int index)
{
    return settings->metrics.count ? settings->metrics.items[index] : default_metric;
}

json_t *spade_settings_metrics_json(const spade_settings *settings)
{
    json_t *list = json_array();
    for (int i = 0; i < metric_count(settings); i++) {
        spade_json_append(&list, spade_json_text(metric_text(settings, i)));
    }
    return list;
}

/* choices [*count]: those before this one, to which it is added, unless it is one of them in other words. */
static spade_status open_choice(spade_context *context, const char *text, spade_metric_choice *choices, int *count)
{
    spade_metric_choice *choice = &choices[*count];
    int number = 1;
    SPADE_TRY(spade_metric_create(context, text, &choice->metric));
    const spade_metric_info *info = spade_metric_describe(choice->metric);
    for (int i = 0; i < *count; i++) {
        if (spade_metrics_equal(choices[i].metric, choice->metric)) {
            spade_metric_destroy(choice->metric);
            choice->metric = NULL;
            return SPADE_OK;
        }
        number += spade_metric_describe(choices[i].metric) == info;
    }
    ++*count;
    return spade_choice_describe(context, text, info->name, number, &choice->options, &choice->label);
}

spade_status spade_settings_metrics(spade_context *context, const spade_settings *settings, spade_metric_choice **out,
                                    int *count)
{
    const int n = metric_count(settings);
    spade_metric_choice *choices = calloc((size_t)n, sizeof *choices);
    *out = NULL;
    *count = 0;
    if (!choices) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < n; i++) {
        spade_status status = open_choice(context, metric_text(settings, i), choices, count);
        if (status != SPADE_OK) {
            spade_metric_choices_destroy(choices, n);
            *count = 0;
            return status;
        }
    }
    *out = choices;
    return SPADE_OK;
}

void spade_metric_choices_destroy(spade_metric_choice *choices, int count)
{
    for (int i = 0; i < count; i++) {
        spade_metric_destroy(choices[i].metric);
        free(choices[i].options);
        free(choices[i].label);
    }
    free(choices);
}
