/* test_settings.c - the table of settings: what every row takes and refuses, on random values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <unistd.h>

#include "config/settings.h"
#include "support/random.h"

enum { MAX_TEXT = 64, MAX_TEXTS = 4, ROUNDS = 200 };

/* Values of a setting, as texts. */
typedef struct value_texts {
    char text[MAX_TEXTS][MAX_TEXT];
    char *values[MAX_TEXTS];
    int count;
} value_texts;

static void put(value_texts *to, const char *text)
{
    snprintf(to->text[to->count], MAX_TEXT, "%s", text);
    to->values[to->count] = to->text[to->count];
    to->count++;
}

static void put_number(value_texts *to, double value)
{
    char text[32];
    put(to, spade_format_real(value, text));
}

static bool is_number(const spade_key *key)
{
    return key->type == SPADE_KEY_INTEGER || key->type == SPADE_KEY_REAL || key->type == SPADE_KEY_METHOD_OPTION;
}

static bool is_whole(const spade_key *key)
{
    return key->type == SPADE_KEY_INTEGER ||
           (key->type == SPADE_KEY_METHOD_OPTION && spade_key_method_option(key)->type == SPADE_OPTION_INTEGER);
}

static int number_count(const spade_key *key)
{
    return key->type == SPADE_KEY_REAL ? key->count : 1;
}

/* Refused with a message, and the settings are what they were. */
static void expect_refused(spade_settings *settings, const spade_key *key, value_texts *texts, const char *says)
{
    spade_context context = {.budget = UINT64_MAX};
    json_t *before = spade_settings_json(settings);
    spade_status status = spade_settings_set(&context, settings, key, NULL, texts->values, texts->count);
    if (status != SPADE_ERROR_ARGUMENT || !strstr(context.message, says)) {
        fail_msg("%s: '%s' and %d more: status %d, '%s'", key->name, texts->text[0], texts->count - 1, status,
                 context.message);
    }
    json_t *after = spade_settings_json(settings);
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

static void refuse_numbers(spade_settings *settings, const spade_key *key)
{
    static const char *const no_numbers[] = {"", "x", "0,5", "nan", "inf", "1 ", "0x1"};
    double min, max;
    spade_key_bounds(key, &min, &max);
    const bool endless = max >= (double)INT64_MAX;
    const double beyond[] = {is_whole(key) ? min - 1 : nextafter(min, -INFINITY),
                             is_whole(key) ? max + 1 : nextafter(max, INFINITY)};
    for (int bad = 0; bad < number_count(key); bad++) {
        for (int i = 0; i < 2 - endless; i++) {
            value_texts texts = {0};
            for (int k = 0; k < number_count(key); k++) { put_number(&texts, k == bad ? beyond[i] : (min + max) / 2); }
            expect_refused(settings, key, &texts, "is not from");
        }
        for (size_t i = 0; i < sizeof no_numbers / sizeof *no_numbers; i++) {
            value_texts texts = {0};
            for (int k = 0; k < number_count(key); k++) {
                if (k == bad) {
                    put(&texts, no_numbers[i]);
                } else {
                    put_number(&texts, min);
                }
            }
            expect_refused(settings, key, &texts, is_whole(key) ? "is not a whole number" : "is not a number");
        }
    }
    if (is_whole(key)) {
        value_texts texts = {0};
        put(&texts, "1.5");
        expect_refused(settings, key, &texts, "is not a whole number");
    }
    for (int count = 0; count < MAX_TEXTS; count++) {
        value_texts texts = {0};
        for (int k = 0; k < count; k++) { put_number(&texts, min); }
        if (count != number_count(key) && !(key->has_band && (count == key->count + 1 || count == 1))) {
            expect_refused(settings, key, &texts, "wanted, not");
        }
    }
    if (number_count(key) == 2) {
        value_texts texts = {0};
        put_number(&texts, max);
        put_number(&texts, min);
        expect_refused(settings, key, &texts, "is larger than");
    }
}

/* Whatever is outside of what the row says is refused: bounds, words, counts. */
static void test_bad_values(void **state)
{
    (void)state;
    spade_settings settings;
    spade_settings_init(&settings);
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        value_texts word = {0}, two = {0}, empty = {0};
        put(&word, "no-such-word");
        put(&two, "fast");
        put(&two, "fast");
        put(&empty, "");
        if (is_number(key)) { refuse_numbers(&settings, key); }
        if (key->type == SPADE_KEY_WORD) {
            expect_refused(&settings, key, &word, "'no-such-word' is none of");
            expect_refused(&settings, key, &empty, "'' is none of");
            expect_refused(&settings, key, &two, "one value is wanted, not 2");
        }
        if (key->type == SPADE_KEY_FLAG) {
            expect_refused(&settings, key, &word, "'no-such-word' is none of false, true");
            expect_refused(&settings, key, &empty, "'' is none of");
            expect_refused(&settings, key, &two, "one value is wanted, not 2");
        }
        if (key->type == SPADE_KEY_PATTERN) {
            value_texts large = {0};
            snprintf(large.text[0], MAX_TEXT, "1:%d", (int)key->max + 1);
            large.values[0] = large.text[0];
            large.count = 1;
            expect_refused(&settings, key, &word, "is no pattern");
            expect_refused(&settings, key, &large, "is no pattern");
        }
    }
    spade_settings_clear(&settings);
}

/* ---- random good values */
static double random_within(random_stream *random, const spade_key *key)
{
    double min, max;
    spade_key_bounds(key, &min, &max);
    switch (random_int(random, 0, 3)) {
    case 0: return min;
    case 1: return max >= (double)INT64_MAX ? 1e9 : max;
    default: break;
    }
    const double share = random_unit(random);
    if (max >= (double)INT64_MAX) { max = 1e15; }
    return is_whole(key) ? floor(min + share * (max - min)) : min + share * (max - min);
}

static void random_numbers(random_stream *random, const spade_key *key, value_texts *texts)
{
    double numbers[4];
    const bool one = key->has_band && random_int(random, 0, 3) == 0;
    const int count = one ? 1 : number_count(key) + (key->has_band && random_bool(random));
    for (int i = 0; i < count; i++) { numbers[i] = random_within(random, key); }
    const bool swap = count == 2 && numbers[0] > numbers[1];
    for (int i = 0; i < count; i++) { put_number(texts, numbers[swap ? 1 - i : i]); }
}

static void random_word(random_stream *random, const char *words, value_texts *texts)
{
    int count = 1;
    for (const char *at = words; *at; at++) { count += *at == '|'; }
    int64_t choice = random_int(random, 0, count - 1);
    while (choice--) { words = strchr(words, '|') + 1; }
    snprintf(texts->text[0], MAX_TEXT, "%.*s", (int)strcspn(words, "|"), words);
    texts->values[0] = texts->text[0];
    texts->count = 1;
}

static void random_values(random_stream *random, const spade_key *key, value_texts *texts)
{
    static const char *const globs[] = {"*", "layer4.*", "fc", "a\"b", "x: y", "#", "\xc3\xa4", "true", "~"};
    static const char *const methods[] = {"saliency", "smoothgrad:samples=3", "gradcam:layer=\"a:b\"", "deconvolution"};
    static const char *const metrics[] = {"roc_auc", "pointing", "pointing:tolerance=2"};
    const int64_t count = random_int(random, 1, 3);
    switch (key->type) {
    case SPADE_KEY_INTEGER:
    case SPADE_KEY_REAL:
    case SPADE_KEY_METHOD_OPTION: random_numbers(random, key, texts); break;
    case SPADE_KEY_WORD: random_word(random, key->words, texts); break;
    case SPADE_KEY_PATTERN: random_word(random, "none|1:2|2:4|1024:1024|7:9", texts); break;
    case SPADE_KEY_FLAG: random_word(random, "true|false", texts); break;
    case SPADE_KEY_TEXT: put(texts, "folder"); break;
    case SPADE_KEY_GLOBS:
        for (int i = 0; i < count; i++) { put(texts, globs[random_int(random, 0, 8)]); }
        break;
    case SPADE_KEY_METHODS:
        for (int i = 0; i < count; i++) { put(texts, methods[random_int(random, 0, 3)]); }
        break;
    case SPADE_KEY_METRICS:
        for (int i = 0; i < count; i++) { put(texts, metrics[random_int(random, 0, 2)]); }
        break;
    case SPADE_KEY_CLASSES:
        for (int i = 0; i < count; i++) { put_number(texts, (double)random_int(random, 10 * i, 10 * i + 9)); }
        break;
    case SPADE_KEY_RULES: break;
    }
}

static void read_back(const char *text, spade_settings *settings)
{
    char path[] = "/tmp/spade_test_settings_XXXXXX";
    spade_context context = {.budget = UINT64_MAX};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    spade_settings_init(settings);
    spade_status status = spade_settings_read(&context, settings, path);
    unlink(path);
    if (status != SPADE_OK) { fail_msg("%s\n%s", context.message, text); }
}

/* The configuration that results hold is a configuration (JSON is YAML), and the same one. */
static void test_configuration_reads_back(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    random_stream random = {.key = 11};
    for (int round = 0; round < ROUNDS; round++) {
        spade_settings settings, again;
        spade_settings_init(&settings);
        for (int change = 0; change < 12; change++) {
            const spade_key *key = spade_key_at((int)random_int(&random, 0, spade_key_count() - 1));
            const char *pattern = key->rule && random_bool(&random) ? "layer*" : NULL;
            value_texts texts = {0};
            random_values(&random, key, &texts);
            if (!texts.count) { continue; }
            spade_status status = spade_settings_set(&context, &settings, key, pattern, texts.values, texts.count);
            if (status != SPADE_OK) { fail_msg("%s: %s", key->name, context.message); }
        }
        json_t *before = spade_settings_json(&settings);
        char *text = json_dumps(before, JSON_INDENT(round % 3));
        read_back(text, &again);
        json_t *after = spade_settings_json(&again);
        if (!json_equal(before, after)) { fail_msg("%s\n%s", text, json_dumps(after, 0)); }
        free(text);
        json_decref(before);
        json_decref(after);
        spade_settings_clear(&settings);
        spade_settings_clear(&again);
    }
}

/* Each row's default is a value that the row takes, and changes nothing. */
static void test_defaults(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    spade_settings settings;
    spade_settings_init(&settings);
    json_t *defaults = spade_settings_json(&settings);
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        char text[256], *values[3];
        int count = 0;
        if (key->unset || key->type == SPADE_KEY_RULES) { continue; }
        spade_settings_default(key, text, sizeof text);
        for (char *at = strtok(text, ","); at && count < 3; at = strtok(NULL, ",")) { values[count++] = at; }
        spade_status status = spade_settings_set(&context, &settings, key, NULL, values, count);
        if (status != SPADE_OK) { fail_msg("%s: %s", key->name, context.message); }
    }
    json_t *after = spade_settings_json(&settings);
    assert_true(json_equal(defaults, after));
    json_decref(defaults);
    json_decref(after);
    spade_settings_clear(&settings);
}

/* Names are there once, and an option has what its help needs. */
static void test_rows(void **state)
{
    (void)state;
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        char about[1024];
        assert_ptr_equal(spade_key_find(key->name, strlen(key->name)), key);
        assert_true(!key->option || !key->argument == (key->type == SPADE_KEY_FLAG));
        assert_true(key->groups);
        spade_key_describe(key, about, sizeof about);
        assert_true(about[0] && strlen(about) < 200);
        for (int k = 0; k < i; k++) {
            const spade_key *other = spade_key_at(k);
            assert_true(!key->option || !other->option || strcmp(key->option, other->option) != 0);
            assert_true(!key->rule || key->rule != other->rule);
        }
    }
}

/* A short form is one option for several methods: it means the same for all of them, or its row says what it means. */
static void test_short_forms_mean_one_thing(void **state)
{
    (void)state;
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        if (key->type != SPADE_KEY_METHOD_OPTION) { continue; }
        const spade_option_info *first = spade_key_method_option(key);
        bool same_help = true, same_default = true;
        for (int m = 0; m < spade_method_count(); m++) {
            const spade_method_info *method = spade_method_at(m);
            for (int k = 0; k < method->option_count; k++) {
                const spade_option_info *option = &method->options[k];
                if (strcmp(option->name, key->name) != 0) { continue; }
                assert_int_equal(option->type, first->type);
                same_help = same_help && strcmp(option->help, first->help) == 0;
                same_default = same_default && strcmp(option->default_value, first->default_value) == 0;
            }
        }
        if (!same_help && !key->help) { fail_msg("%s: methods have different help texts", key->name); }
        if (!same_default && !key->unset) { fail_msg("%s: methods have different defaults", key->name); }
    }
}

/* What the table allows of variants, the library draws; what it does not, the library refuses too. */
static void test_bounds_are_the_library_s(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    uint8_t rgb[8 * 8 * 3] = {0};
    const spade_picture picture = {.height = 8, .width = 8, .rgb = rgb};
    int checked = 0;
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        if (key->type != SPADE_KEY_REAL || strncmp(key->name, "augment.", 8) != 0) { continue; }
        const double values[] = {key->min, key->max, nextafter(key->min, -INFINITY), nextafter(key->max, INFINITY)};
        for (int v = 0; v < 4; v++) {
            spade_settings settings;
            spade_variant variant;
            spade_settings_init(&settings);
            double *member = (double *)((char *)&settings + key->offset);
            for (int k = 0; k < key->count; k++) { member[k] = values[v]; }
            spade_status status = spade_augment_draw(&context, &settings.augment, &picture, 8, 8, 0, 1, &variant);
            if (status != (v < 2 ? SPADE_OK : SPADE_ERROR_ARGUMENT)) { fail_msg("%s: %g", key->name, values[v]); }
            checked++;
        }
    }
    assert_true(checked >= 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_values), cmocka_unit_test(test_configuration_reads_back),
        cmocka_unit_test(test_defaults),   cmocka_unit_test(test_bounds_are_the_library_s),
        cmocka_unit_test(test_rows),       cmocka_unit_test(test_short_forms_mean_one_thing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
