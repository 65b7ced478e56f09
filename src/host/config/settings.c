/* settings.c - keys to settings: one table for numbers, one function for each key that is more than a number. */
#include "base/base.h"
#include "base/number.h"
#include "config/settings.h"

typedef enum value_kind { REAL, INTEGER, SEED, PAIR, TRIPLE } value_kind;

typedef struct number_key {
    const char *key;
    value_kind kind;
    size_t offset; /* of a double (REAL, PAIR, TRIPLE), int64_t (INTEGER) or uint64_t (SEED) in spade_settings */
    double min, max;
} number_key;

#define AT(member) offsetof(spade_settings, member)
static const number_key number_keys[] = {
    {"variants", INTEGER, AT(augment.variants), 1, 1000000},
    {"seed", SEED, AT(seed), 0, 0},
    {"damping", REAL, AT(trace.solve.damping), 0, 1000},
    {"linear_block", INTEGER, AT(trace.linear_block), 0, 1000000},
    {"steps", INTEGER, AT(steps), 1, 10000},
    {"samples", INTEGER, AT(samples), 1, 10000},
    {"sigma", REAL, AT(sigma), 0, 100},
    {"resize", INTEGER, AT(resize), 0, 16384},
    {"crop", INTEGER, AT(crop), 1, 16384},
    {"mean", TRIPLE, AT(mean), -1000, 1000},
    {"std", TRIPLE, AT(std), 1e-6, 1000},
    {"augment.area", PAIR, AT(augment.area), 1e-6, 1},
    {"augment.aspect", PAIR, AT(augment.aspect), 0.01, 100},
    {"augment.flip", REAL, AT(augment.flip), 0, 1},
    {"augment.brightness", REAL, AT(augment.brightness), 0, 1},
    {"augment.contrast", REAL, AT(augment.contrast), 0, 1},
    {"augment.saturation", REAL, AT(augment.saturation), 0, 1},
    {"augment.hue", REAL, AT(augment.hue), 0, 0.5},
    {"augment.erase", REAL, AT(augment.erase), 0, 1},
    {"augment.erase_area", PAIR, AT(augment.erase_area), 1e-6, 1},
    {"augment.erase_aspect", PAIR, AT(augment.erase_aspect), 0.01, 100},
    {"augment.noise", REAL, AT(augment.noise), 0, 100},
};
#undef AT

void spade_settings_init(spade_settings *settings)
{
    spade_preprocess preprocess;
    spade_preprocess_init(&preprocess, 1, 1);
    *settings = (spade_settings){.resize = -1, .top_class = true, .sigma = -1};
    memcpy(settings->mean, preprocess.mean, sizeof settings->mean);
    memcpy(settings->std, preprocess.std, sizeof settings->std);
    spade_augment_options_init(&settings->augment);
    spade_trace_options_init(&settings->trace);
}

static void clear_names(spade_names *names)
{
    for (int i = 0; i < names->count; i++) { free(names->items[i]); }
    free(names->items);
    *names = (spade_names){0};
}

void spade_settings_clear(spade_settings *settings)
{
    spade_settings_clear_rules(settings);
    clear_names(&settings->include);
    clear_names(&settings->skip);
    clear_names(&settings->methods);
    free(settings->checkpoint);
    settings->checkpoint = NULL;
}

/* ---- numbers */
spade_status spade_settings_real(spade_context *context, const char *text, double min, double max, double *out)
{
    double value;
    if (!spade_parse_number(text, &value)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%s' is not a number (write 0.5)", text);
    }
    if (value < min || value > max) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s is not from %g to %g", text, min, max);
    }
    *out = value;
    return SPADE_OK;
}

spade_status spade_settings_integer(spade_context *context, const char *text, int64_t min, int64_t max, int64_t *out)
{
    int64_t value;
    if (!spade_parse_integer(text, &value)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%s' is not a whole number", text);
    }
    if (value < min || value > max) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s is not from %lld to %lld", text, (long long)min,
                          (long long)max);
    }
    *out = value;
    return SPADE_OK;
}

static spade_status need(spade_context *context, int count, int wanted)
{
    if (count == wanted) { return SPADE_OK; }
    if (wanted == 1) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "one value is wanted, not %d", count); }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "%d numbers are wanted, not %d", wanted, count);
}

static spade_status set_number(spade_context *context, spade_settings *settings, const number_key *key,
                               char *const *values, int count)
{
    void *to = (char *)settings + key->offset;
    int wanted = key->kind == PAIR ? 2 : key->kind == TRIPLE ? 3 : 1;
    double numbers[3] = {0};
    int64_t whole;
    SPADE_TRY(need(context, count, wanted));
    switch (key->kind) {
    case SEED:
        SPADE_TRY(spade_settings_integer(context, values[0], 0, INT64_MAX, &whole));
        *(uint64_t *)to = (uint64_t)whole;
        break;
    case INTEGER:
        SPADE_TRY(spade_settings_integer(context, values[0], (int64_t)key->min, (int64_t)key->max, to));
        break;
    case REAL:
    case PAIR:
    case TRIPLE:
        for (int i = 0; i < wanted; i++) {
            SPADE_TRY(spade_settings_real(context, values[i], key->min, key->max, &numbers[i]));
        }
        if (key->kind == PAIR && numbers[0] > numbers[1]) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s is larger than %s", values[0], values[1]);
        }
        memcpy(to, numbers, sizeof *numbers * (size_t)wanted);
        break;
    }
    return SPADE_OK;
}

/* ---- words */
spade_status spade_settings_word(spade_context *context, const char *text, const char *const *words, int count,
                                 int *out)
{
    char known[128] = "";
    size_t length = 0;
    for (int i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return SPADE_OK;
        }
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", words[i]);
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%s' is none of %s", text, known);
}

static spade_status set_word(spade_context *context, spade_settings *settings, const char *key, const char *text)
{
    static const char *const precisions[] = {"fp32", "fp64"};
    static const char *const outputs[] = {"logits", "softmax"};
    static const char *const networks[] = {"fp32", "tf32", "bf16"}; /* in the order of spade_network_precision */
    int choice = 0;
    if (strcmp(key, "hessian") == 0) {
        SPADE_TRY(spade_settings_word(context, text, precisions, 2, &choice));
        settings->trace.hessian = choice ? SPADE_FP64 : SPADE_FP32;
    } else if (strcmp(key, "precision") == 0) {
        SPADE_TRY(spade_settings_word(context, text, networks, 3, &choice));
        settings->precision = (spade_network_precision)choice;
    } else if (strcmp(key, "sweep") == 0) {
        SPADE_TRY(spade_settings_word(context, text, precisions, 2, &choice));
        settings->trace.solve.sweep = choice ? SPADE_FP64 : SPADE_FP32;
    } else {
        SPADE_TRY(spade_settings_word(context, text, outputs, 2, &choice));
        settings->softmax = choice == 1;
    }
    return SPADE_OK;
}

/* ---- lists */
static spade_status set_names(spade_context *context, spade_names *names, char *const *values, int count)
{
    clear_names(names);
    names->items = calloc((size_t)count + 1, sizeof *names->items);
    if (!names->items) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < count; i++) {
        if (!values[i][0]) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "an empty pattern matches no layer"); }
        names->items[i] = strdup(values[i]);
        if (!names->items[i]) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
        names->count++;
    }
    return SPADE_OK;
}

static spade_status set_checkpoint(spade_context *context, spade_settings *settings, const char *folder)
{
    char *copy = *folder ? strdup(folder) : NULL;
    if (*folder && !copy) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    free(settings->checkpoint);
    settings->checkpoint = copy;
    return SPADE_OK;
}

static bool contains(const spade_names *names, const char *text)
{
    for (int i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], text) == 0) { return true; }
    }
    return false;
}

static spade_status set_methods(spade_context *context, spade_settings *settings, char *const *values, int count)
{
    spade_names methods = {.items = calloc((size_t)count + 1, sizeof *methods.items)};
    spade_status status = SPADE_OK;
    if (!methods.items) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    if (!count) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_ARGUMENT, "no method is given")); }
    for (int i = 0; i < count; i++) {
        spade_attribution *attribution;
        if (contains(&methods, values[i])) { continue; }
        SPADE_GOTO(spade_attribution_create(context, values[i], &attribution)); /* only to see whether it can be */
        spade_attribution_destroy(attribution);
        char *copy = methods.items[methods.count] = strdup(values[i]);
        if (!copy) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }
        methods.count++;
    }
    clear_names(&settings->methods);
    settings->methods = methods;
    return SPADE_OK;
done:
    clear_names(&methods);
    return status;
}

static spade_status set_classes(spade_context *context, spade_settings *settings, char *const *values, int count)
{
    settings->top_class = count == 1 && strcmp(values[0], "top") == 0;
    settings->class_count = 0;
    if (settings->top_class) { return SPADE_OK; }
    if (count == 1 && strcmp(values[0], "label") == 0) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "'label' needs labelled inputs; give class numbers or top");
    }
    if (count < 1 || count > SPADE_MAX_CLASSES) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "from 1 to %d classes are wanted, not %d", SPADE_MAX_CLASSES,
                          count);
    }
    for (int i = 0; i < count; i++) {
        int64_t value;
        if (!spade_parse_integer(values[i], &value) || value < 0 || value > INT32_MAX) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%s' is no class: give numbers (from 0) or top",
                              values[i]);
        }
        for (int k = 0; k < settings->class_count; k++) {
            if (settings->classes[k] == value) {
                return spade_fail(context, SPADE_ERROR_ARGUMENT, "class %s is given twice", values[i]);
            }
        }
        settings->classes[settings->class_count++] = value;
    }
    return SPADE_OK;
}

spade_status spade_settings_set(spade_context *context, spade_settings *settings, const char *key, const char *pattern,
                                char *const *values, int count)
{
    for (size_t i = 0; i < sizeof number_keys / sizeof *number_keys; i++) {
        if (strcmp(key, number_keys[i].key) == 0) {
            return set_number(context, settings, &number_keys[i], values, count);
        }
    }
    unsigned rule = spade_settings_rule_bit(key);
    if (strcmp(key, "layers") == 0) { return set_names(context, &settings->include, values, count); }
    if (strcmp(key, "skip") == 0) { return set_names(context, &settings->skip, values, count); }
    if (strcmp(key, "methods") == 0) { return set_methods(context, settings, values, count); }
    if (strcmp(key, "classes") == 0) { return set_classes(context, settings, values, count); }
    if (pattern && count == 0) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "the rule for %s changes nothing", pattern);
    }
    SPADE_TRY(need(context, count, 1));
    if (strcmp(key, "checkpoint") == 0) { return set_checkpoint(context, settings, values[0]); }
    if (rule) { return spade_settings_set_rule(context, settings, rule, pattern, values[0]); }
    static const char *const words[] = {"hessian", "precision", "sweep", "output"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(key, words[i]) == 0) { return set_word(context, settings, key, values[0]); }
    }
    return spade_fail(context, SPADE_ERROR_INTERNAL, "no setting '%s'", key);
}

spade_status spade_settings_read(spade_context *context, spade_settings *settings, const char *path)
{
    spade_config config;
    SPADE_TRY(spade_config_load(context, path, &config));
    spade_status status = SPADE_OK;
    for (int i = 0; i < config.count && status == SPADE_OK; i++) {
        const spade_config_entry *entry = &config.entries[i];
        status = spade_settings_set(context, settings, entry->key, entry->pattern, entry->values, entry->count);
        if (status != SPADE_OK) { spade_fail_in(context, status, "%s: %s", path, entry->key); }
    }
    spade_config_clear(&config);
    return status;
}

void spade_settings_finish(spade_settings *settings)
{
    settings->augment.seed = settings->seed;
    settings->trace.solve.seed = settings->seed;
    settings->trace.rules = settings->rules;
    settings->trace.rule_count = settings->rule_count;
    settings->trace.include = settings->include.count ? (const char *const *)settings->include.items : NULL;
    settings->trace.include_count = settings->include.count;
    settings->trace.skip = (const char *const *)settings->skip.items;
    settings->trace.skip_count = settings->skip.count;
    settings->trace.checkpoint = settings->checkpoint;
}
