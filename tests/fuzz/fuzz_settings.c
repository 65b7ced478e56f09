/*
 * fuzz_settings.c - any bytes as a configuration file, and as a file that --preprocess names. Settings that were taken have
 * to make methods and metrics, and to be written down: results hold them.
 */
#include "config/preset.h"
#include "config/settings.h"
#include "fuzz/target.h"

static void use(spade_context *context, spade_settings *settings)
{
    spade_method_choice *methods = NULL;
    spade_metric_choice *metrics = NULL;
    spade_model_options options;
    int method_count = 0, metric_count = 0;
    if (!fuzz_worked(context, spade_settings_resolve(context, settings))) { return; }
    spade_settings_finish(settings);
    spade_settings_model_options(settings, &options);
    if (fuzz_worked(context, spade_settings_methods(context, settings, &methods, &method_count))) {
        spade_method_choices_destroy(methods, method_count);
    }
    if (fuzz_worked(context, spade_settings_metrics(context, settings, &metrics, &metric_count))) {
        spade_metric_choices_destroy(metrics, metric_count);
    }
    json_t *json = spade_settings_json(settings);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    FUZZ_EXPECT(text, "settings that cannot be written");
    json_t *again = json_loads(text, 0, NULL);
    FUZZ_EXPECT(again && json_equal(json, again), "settings that are other ones when they are read again");
    json_decref(again);
    free(text);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spade_context *context = fuzz_context();
    const char *path = fuzz_file("settings.yaml", data, size);
    spade_settings settings;
    spade_preset preset;
    spade_settings_init(&settings);
    if (fuzz_worked(context, spade_settings_read(context, &settings, path))) { use(context, &settings); }
    spade_settings_clear(&settings);
    (void)fuzz_worked(context, spade_preset_find(context, path, &preset));
    fuzz_context_end(context);
    return 0;
}
