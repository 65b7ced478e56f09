/* settings.c - keys to settings, and what follows from them. */
#include <math.h>

#include "base/number.h"
#include "config/preset.h"
#include "config/settings.h"
#include "config/yaml.h"

static void *member(spade_settings *settings, const spade_key *key)
{
    return (char *)settings + key->offset;
}

static const void *const_member(const spade_settings *settings, const spade_key *key)
{
    return (const char *)settings + key->offset;
}

void spade_settings_init(spade_settings *settings)
{
    spade_context messages = {0}; /* defaults are in order: a test reads every row */
    spade_preprocess preprocess;
    spade_preprocess_init(&preprocess, 1, 1);
    *settings = (spade_settings){0};
    memcpy(settings->mean, preprocess.mean, sizeof preprocess.mean);
    memcpy(settings->std, preprocess.std, sizeof preprocess.std);
    settings->mean[3] = preprocess.band_mean;
    settings->std[3] = preprocess.band_std;
    spade_augment_options_init(&settings->augment);
    spade_trace_options_init(&settings->trace);
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        char text[64], *values[] = {text};
        if (key->type == SPADE_KEY_INTEGER && key->unset) {
            *(int64_t *)member(settings, key) = (int64_t)key->min - 1;
        } else if (key->default_value && key->type != SPADE_KEY_CLASSES) {
            snprintf(text, sizeof text, "%s", key->default_value);
            (void)spade_settings_set(&messages, settings, key, NULL, values, 1);
        }
    }
    settings->given = 0;
}

void spade_settings_clear(spade_settings *settings)
{
    spade_settings_clear_rules(settings);
    spade_names_clear(&settings->include);
    spade_names_clear(&settings->skip);
    spade_names_clear(&settings->methods);
    spade_names_clear(&settings->metrics);
    spade_names_clear(&settings->classes);
    free(settings->checkpoint);
    free(settings->output_name);
    free(settings->preprocess);
    free(settings->file);
    settings->checkpoint = settings->output_name = settings->preprocess = settings->file = NULL;
}

/* ---- one key */
static spade_status set_globs(spade_context *context, spade_names *names, char *const *values, int count)
{
    spade_names_clear(names);
    for (int i = 0; i < count; i++) {
        if (!values[i][0]) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "an empty pattern matches no layer"); }
        if (!spade_names_add(names, values[i])) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    }
    return SPADE_OK;
}

static spade_status set_text(spade_context *context, char **to, char *const *values, int count)
{
    SPADE_TRY(spade_need_values(context, count, 1));
    char *copy = *values[0] ? strdup(values[0]) : NULL;
    if (*values[0] && !copy) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    free(*to);
    *to = copy;
    return SPADE_OK;
}

/* As far as it can be said without the network; names and numbers are looked up when it is there. */
static spade_status check_class(spade_context *context, const char *text)
{
    int64_t number;
    const bool is_number = spade_parse_integer(text, &number);
    if (!*text || *text == '-' || (is_number && number > INT32_MAX)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "'%s' is no class: give numbers (from 0), names, top, second, or A-B: one against another",
                          text);
    }
    return SPADE_OK;
}

static spade_status set_classes(spade_context *context, spade_settings *settings, char *const *values, int count)
{
    spade_names_clear(&settings->classes);
    if (count < 1 || count > SPADE_MAX_CLASSES) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "from 1 to %d classes are wanted, not %d", SPADE_MAX_CLASSES,
                          count);
    }
    for (int i = 0; i < count; i++) {
        SPADE_TRY(check_class(context, values[i]));
        if (spade_names_contain(&settings->classes, values[i])) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "class %s is given twice", values[i]);
        }
        if (!spade_names_add(&settings->classes, values[i])) {
            return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
        }
    }
    return SPADE_OK;
}

/* Within the bounds of the methods that have such an option, whether or not one of them is asked for. */
static spade_status set_method_option(spade_context *context, spade_method_option *to, const spade_key *key,
                                      char *const *values, int count)
{
    double min, max;
    int64_t whole = 0;
    SPADE_TRY(spade_need_values(context, count, 1));
    spade_key_bounds(key, &min, &max);
    if (spade_key_method_option(key)->type == SPADE_OPTION_INTEGER) {
        SPADE_TRY(spade_parse_integer_within(context, values[0], min, max, &whole));
        to->value = (double)whole;
    } else {
        SPADE_TRY(spade_parse_real_within(context, values[0], min, max, &to->value));
    }
    to->given = true;
    return SPADE_OK;
}

static spade_status set_key(spade_context *context, spade_settings *settings, const spade_key *key, const char *pattern,
                            char *const *values, int count)
{
    if (key->rule) { return spade_settings_set_rule(context, settings, key, pattern, values, count); }
    switch (key->type) {
    case SPADE_KEY_TEXT: return set_text(context, member(settings, key), values, count);
    case SPADE_KEY_GLOBS: return set_globs(context, member(settings, key), values, count);
    case SPADE_KEY_METHODS: return spade_settings_set_methods(context, settings, values, count);
    case SPADE_KEY_METRICS: return spade_settings_set_metrics(context, settings, values, count);
    case SPADE_KEY_CLASSES: return set_classes(context, settings, values, count);
    case SPADE_KEY_METHOD_OPTION: return set_method_option(context, member(settings, key), key, values, count);
    case SPADE_KEY_RULES: break; /* its entries are those of other keys */
    case SPADE_KEY_INTEGER:
    case SPADE_KEY_REAL:
    case SPADE_KEY_WORD:
    case SPADE_KEY_FLAG:
    case SPADE_KEY_PATTERN: break;
    }
    return spade_key_parse(context, key, values, count, member(settings, key));
}

spade_status spade_settings_set(spade_context *context, spade_settings *settings, const spade_key *key,
                                const char *pattern, char *const *values, int count)
{
    SPADE_TRY(set_key(context, settings, key, pattern, values, count));
    if (key->has_band) { *(int *)((char *)settings + key->count_offset) = count; }
    settings->given |= UINT64_C(1) << (key - spade_key_at(0));
    return SPADE_OK;
}

static bool is_given(const spade_settings *settings, const char *name)
{
    return settings->given >> (spade_key_find(name, strlen(name)) - spade_key_at(0)) & 1;
}

/* Numbers of a mean or std that nobody wrote. */
static void fill_in(double numbers[4], int *count, const double from[4])
{
    memcpy(numbers, from, sizeof *numbers * 4);
    *count = 0;
}

/* A preset's mean and std are for its own range of values. */
static spade_status check_scale(spade_context *context, const spade_settings *settings, const spade_preset *preset)
{
    bool neutral = true; /* 0 and 1, which are those of 255, too */
    for (int c = 0; c < 3; c++) { neutral = neutral && preset->mean[c] == 0 && preset->std[c] == 1; }
    const bool own = is_given(settings, "mean") && is_given(settings, "std");
    if (neutral || own || !is_given(settings, "scale") || settings->scale == preset->scale) { return SPADE_OK; }
    return spade_fail(
        context, SPADE_ERROR_ARGUMENT,
        "--scale %d with --preprocess %s, whose mean and std are for values up to %d: give --mean and --std, too",
        settings->scale ? 255 : 1, settings->preprocess, preset->scale ? 255 : 1);
}

spade_status spade_settings_resolve(spade_context *context, spade_settings *settings)
{
    static const double none[4] = {0, 0, 0, 0}, one[4] = {1, 1, 1, 1};
    spade_preset preset;
    const bool scaled = is_given(settings, "scale") && settings->scale == 1;
    if (settings->preprocess) {
        SPADE_TRY(spade_preset_find(context, settings->preprocess, &preset));
        SPADE_TRY(check_scale(context, settings, &preset));
        if (!is_given(settings, "resize") && !is_given(settings, "crop_share")) {
            settings->resize = preset.resize;
            settings->crop_share = preset.crop_share;
        }
        if (!is_given(settings, "resample")) { settings->resample = preset.resample; }
        if (!is_given(settings, "resample") && preset.filter_unsaid) {
            spade_log(
                context, SPADE_LOG_WARNING,
                "%s does not say which filter resizes pictures (\"resample\"): bilinear is taken; --resample says it",
                settings->preprocess);
        }
        if (!is_given(settings, "squash")) { settings->squash = preset.squash; }
        if (!is_given(settings, "open_size")) { settings->open_size = preset.open_size; }
        if (!is_given(settings, "scale")) { settings->scale = preset.scale; }
        if (!is_given(settings, "bgr")) { settings->bgr = preset.bgr; }
        if (!is_given(settings, "mean")) { fill_in(settings->mean, &settings->mean_count, preset.mean); }
        if (!is_given(settings, "std")) { fill_in(settings->std, &settings->std_count, preset.std); }
    }
    if (scaled && !is_given(settings, "mean")) { fill_in(settings->mean, &settings->mean_count, none); }
    if (scaled && !is_given(settings, "std")) { fill_in(settings->std, &settings->std_count, one); }
    free(settings->preprocess);
    settings->preprocess = NULL;
    settings->given = 0;
    return SPADE_OK;
}

/* What n:m comes to. */
static double pattern_sparsity(const spade_settings *settings)
{
    return 1 - (double)settings->trace.keep / (double)settings->trace.of;
}

spade_status spade_settings_take_command_line(spade_context *context, spade_settings *settings)
{
    const bool pattern = settings->trace.of > 0;
    settings->asked = settings->commanded = settings->given;
    if (pattern && is_given(settings, "sparsity") && is_given(settings, "nm")) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "--sparsity and --nm: a pattern stands in place of a sparsity; give one");
    }
    if (pattern && is_given(settings, "sparsity")) { settings->trace.keep = settings->trace.of = 0; }
    const spade_status status = spade_settings_resolve(context, settings);
    return status == SPADE_OK ? status : spade_fail_in(context, status, "--preprocess");
}

spade_status spade_settings_read(spade_context *context, spade_settings *settings, const char *path)
{
    spade_config config;
    SPADE_TRY(spade_config_load(context, path, &config));
    spade_status status = SPADE_OK;
    bool plain_sparsity = false;
    /* A mapping has no order: its plain values come first, and its rules are exceptions from them. */
    for (int patterns = 0; patterns < 2; patterns++) {
        for (int i = 0; i < config.count && status == SPADE_OK; i++) {
            const spade_config_entry *entry = &config.entries[i];
            if ((entry->pattern != NULL) != (patterns == 1)) { continue; }
            status = spade_settings_set(context, settings, entry->key, entry->pattern, entry->values, entry->count);
            if (status != SPADE_OK) { spade_fail_in(context, status, "%s: %s", path, entry->key->name); }
            plain_sparsity = plain_sparsity || (!patterns && entry->key->rule == SPADE_RULE_SPARSITY);
        }
    }
    spade_config_clear(&config);
    free(settings->file);
    settings->file = strdup(path);
    if (!settings->file && status == SPADE_OK) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
    }
    /* Configurations in results have three numbers of every network's: these, too, fit one of another number of channels. */
    if (settings->mean_count == 3) { settings->mean_count = 0; }
    if (settings->std_count == 3) { settings->std_count = 0; }
    settings->asked = settings->given;
    if (status == SPADE_OK && plain_sparsity && settings->trace.of > 0 &&
        settings->trace.sparsity != pattern_sparsity(settings)) { /* as a record of n:m has it */
        status = spade_fail(context, SPADE_ERROR_ARGUMENT,
                            "%s: sparsity and nm: a pattern stands in place of a sparsity; give one", path);
    }
    return status == SPADE_OK ? spade_settings_resolve(context, settings) : status;
}

/* Rules stand in configurations alone; globs of layers too where the command line has none. */
static bool is_of_file(const spade_settings *settings, const char *message)
{
    static const char *const keys[] = {"layers", "skip"};
    if (!settings->file) { return false; }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const size_t length = strlen(keys[i]);
        const spade_key *key = spade_key_find(keys[i], length);
        if (strncmp(message, keys[i], length) != 0 || message[length] != ':') { continue; }
        return key && !(settings->commanded >> (key - spade_key_at(0)) & 1);
    }
    return strncmp(message, "rule", strlen("rule")) == 0;
}

spade_status spade_settings_check_trace(spade_context *context, const spade_settings *settings,
                                        const spade_model *model, const spade_trace_options *options)
{
    const spade_status status = spade_trace_check_options(context, model, options);
    if (status != SPADE_ERROR_ARGUMENT || !is_of_file(settings, spade_message(context))) { return status; }
    return spade_fail_in(context, status, "%s", settings->file);
}

void spade_settings_finish(spade_settings *settings)
{
    settings->augment.seed = settings->seed;
    settings->trace.seed = settings->seed;
    settings->trace.rules = settings->rules;
    settings->trace.rule_count = settings->rule_count;
    settings->trace.include = settings->include.count ? (const char *const *)settings->include.items : NULL;
    settings->trace.include_count = settings->include.count;
    settings->trace.skip = (const char *const *)settings->skip.items;
    settings->trace.skip_count = settings->skip.count;
    settings->trace.checkpoint = settings->checkpoint;
}

const spade_names *spade_settings_classes(const spade_settings *settings)
{
    static const char *const items[] = {"top"};
    static const spade_names top_alone = {(char **)items, 1};
    return settings->classes.count ? &settings->classes : &top_alone;
}

/* ---- as JSON */
/* Numbers as numbers. */
static json_t *classes_json(const spade_settings *settings)
{
    json_t *list = json_array();
    const spade_names *classes = spade_settings_classes(settings);
    for (int i = 0; i < classes->count; i++) {
        const char *text = classes->items[i];
        int64_t number;
        spade_json_append(&list, spade_parse_integer(text, &number) ? json_integer(number) : spade_json_text(text));
    }
    return list;
}

/* Where it is not given: the default that all methods have, if they do. */
static json_t *method_option_json(const spade_key *key, const spade_method_option *option)
{
    const spade_option_info *info = spade_key_method_option(key);
    if (!option->given && key->unset) { return json_null(); }
    double value = option->given ? option->value : spade_read_real(info->default_value);
    return info->type == SPADE_OPTION_INTEGER ? json_integer((json_int_t)value) : json_real(value);
}

/* A number that is of all channels, as it was written. */
static json_t *one_number_json(double number)
{
    json_t *list = json_array();
    spade_json_append(&list, json_real(number));
    return list;
}

json_t *spade_setting_json(const spade_settings *settings, const spade_key *key)
{
    const void *value = const_member(settings, key);
    switch (key->type) {
    case SPADE_KEY_INTEGER:
        if (key->unset && *(const int64_t *)value < (int64_t)key->min) { return json_null(); }
        break;
    case SPADE_KEY_TEXT: return *(char *const *)value ? spade_json_text(*(char *const *)value) : json_null();
    case SPADE_KEY_GLOBS: return spade_names_json(value);
    case SPADE_KEY_METHODS: return spade_settings_methods_json(settings);
    case SPADE_KEY_METRICS: return spade_settings_metrics_json(settings);
    case SPADE_KEY_CLASSES: return classes_json(settings);
    case SPADE_KEY_METHOD_OPTION: return method_option_json(key, value);
    case SPADE_KEY_RULES: return spade_settings_rules_json(settings);
    case SPADE_KEY_REAL:
        if (key->has_band && *(const int *)((const char *)settings + key->count_offset) == 1) {
            return one_number_json(*(const double *)value);
        }
        break;
    case SPADE_KEY_WORD:
    case SPADE_KEY_FLAG:
    case SPADE_KEY_PATTERN: break;
    }
    return spade_key_json(key, value);
}

json_t *spade_settings_json(const spade_settings *settings)
{
    json_t *all = json_object();
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        const char *dot = strchr(key->name, '.');
        json_t *value = key->unrecorded ? json_null() : spade_setting_json(settings, key);
        if (key->rule == SPADE_RULE_SPARSITY && settings->trace.of > 0) { /* what n:m comes to */
            json_decref(value);
            value = json_real(pattern_sparsity(settings));
        }
        if (json_is_null(value)) { continue; }
        if (!dot) {
            spade_json_set(&all, key->name, value);
            continue;
        }
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(dot - key->name), key->name);
        json_t *mapping = json_incref(json_object_get(all, name));
        if (!mapping) { mapping = json_object(); }
        spade_json_set(&mapping, dot + 1, value);
        spade_json_set(&all, name, mapping);
    }
    return all;
}

/* ---- for models and pictures */
void spade_settings_model_options(const spade_settings *settings, spade_model_options *options)
{
    spade_model_options_init(options);
    options->height = options->width = settings->crop;
    options->open_height = options->open_width = settings->open_size;
    options->follow_links = settings->follow_links;
    options->output = settings->output_name;
}

/* As many numbers as somebody wrote, for so many channels. Of channels that are no colours one number for all can be said. */
static spade_status check_numbers(spade_context *context, const char *option, int count, int64_t channels)
{
    if (count <= 1 || (count == 3 && channels == 3) || channels == 4) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: %d numbers, and the network takes %lld channel%s: give %s",
                      option, count, (long long)channels, channels == 1 ? "" : "s",
                      channels == 1   ? "one"
                      : channels == 3 ? "3, or one for all"
                                      : "one for all");
}

/* Mean and std of values from 0 to 1. */
static void set_normalisation(spade_context *context, const spade_settings *settings, const spade_model *model,
                              spade_preprocess *out)
{
    const double most = settings->scale ? 255 : 1;
    const bool as_it_is = settings->mean[3] == 0 && settings->std[3] == 1;
    double mean = 0, std = 0, lowest = 0, highest = 0;
    bool unchanged = as_it_is; /* from the defaults, which the init function gave */
    bool none = as_it_is;
    out->band_mean = settings->mean[3] / most;
    out->band_std = settings->std[3] / most;
    for (int c = 0; c < 3; c++) {
        unchanged = unchanged && settings->mean[c] == out->mean[c] && settings->std[c] == out->std[c];
        none = none && settings->mean[c] == 0 && settings->std[c] == 1;
    }
    if (spade_model_takes_bytes(model) && !settings->scale && (unchanged || none)) {
        spade_log(context, SPADE_LOG_INFO, "the network takes 8-bit values: pictures go in as they are, from 0 to 255");
        for (int c = 0; c < 3; c++) { out->mean[c] = 0, out->std[c] = 1.0 / 255; }
        out->band_std = 1.0 / 255;
        return;
    }
    for (int c = 0; c < 3; c++) {
        mean = settings->mean[c] > mean ? settings->mean[c] : mean;
        std = settings->std[c] > std ? settings->std[c] : std;
        out->mean[c] = settings->mean[c] / most;
        out->std[c] = settings->std[c] / most;
        lowest = fmin(lowest, -out->mean[c] / out->std[c]);
        highest = fmax(highest, (1 - out->mean[c]) / out->std[c]);
    }
    if (spade_model_takes_bytes(model) && (lowest < 0 || highest <= 1 || highest > 255)) {
        spade_log(
            context, SPADE_LOG_WARNING,
            "the network takes 8-bit values, and this normalisation makes numbers from %g to %g of a picture; without "
            "it pictures go in as they are, from 0 to 255",
            lowest, highest);
    }
    if (!settings->scale && (mean > 1 || std > 2)) {
        spade_log(
            context, SPADE_LOG_WARNING,
            "mean up to %g, std up to %g, but a picture's values are from 0 to 1; --scale 255 makes them 0 to 255",
            mean, std);
    }
}

spade_status spade_settings_preprocess(spade_context *context, const spade_settings *settings, const spade_model *model,
                                       spade_preprocess *out)
{
    int64_t channels, height, width;
    spade_model_input(model, &channels, &height, &width);
    if (settings->crop && (settings->crop != height || settings->crop != width)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--crop %lld: the network's input is fixed at %lld x %lld",
                          (long long)settings->crop, (long long)width, (long long)height);
    }
    spade_preprocess_init(out, height, width);
    out->channels = channels;
    out->resize = settings->resize;
    out->crop_share = settings->crop_share;
    if (settings->crop_share > 0 && settings->crop_share < SPADE_MIN_CROP_SHARE) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--crop-share %g: must be %g to 1, or 0", settings->crop_share,
                          SPADE_MIN_CROP_SHARE);
    }
    out->resample = (spade_resample)settings->resample;
    out->squash = settings->squash;
    out->bgr = settings->bgr;
    SPADE_TRY(check_numbers(context, "--mean", settings->mean_count, channels));
    SPADE_TRY(check_numbers(context, "--std", settings->std_count, channels));
    set_normalisation(context, settings, model, out);
    int64_t shorter = height < width ? height : width;
    if (settings->resize > 0 && settings->resize < shorter) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--resize %lld is smaller than the crop %lld x %lld",
                          (long long)settings->resize, (long long)width, (long long)height);
    }
    return SPADE_OK;
}
