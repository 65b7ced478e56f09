/* value.c - one value of a setting, from text to its member and from there to JSON. */
#include <math.h>

#include "base/number.h"
#include "config/keys.h"

/* ---- numbers */
spade_status spade_parse_real_within(spade_context *context, const char *text, double min, double max, double *out)
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

spade_status spade_parse_integer_within(spade_context *context, const char *text, double min, double max, int64_t *out)
{
    const int64_t least = (int64_t)min, most = max >= (double)INT64_MAX ? INT64_MAX : (int64_t)max;
    int64_t value;
    if (!spade_parse_integer(text, &value)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%s' is not a whole number", text);
    }
    if (value < least || value > most) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s is not from %lld to %lld", text, (long long)least,
                          (long long)most);
    }
    *out = value;
    return SPADE_OK;
}

const char *spade_format_real(double value, char *buffer)
{
    int digits = 6; /* %g would write 1e+06 */
    if (value == (double)(int64_t)value && fabs(value) < 1e15) {
        snprintf(buffer, 32, "%lld", (long long)value);
        return buffer;
    }
    do {
        spade_print(buffer, 32, "%.*g", digits, value);
    } while (spade_read_real(buffer) != value && ++digits <= 17);
    return buffer;
}

spade_status spade_need_values(spade_context *context, int count, int wanted)
{
    if (count == wanted) { return SPADE_OK; }
    if (wanted == 1) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "one value is wanted, not %d", count); }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "%d numbers are wanted, not %d", wanted, count);
}

/* How many numbers the setting holds. */
static int number_count(const spade_key *key)
{
    return key->count + (key->has_band ? 1 : 0);
}

static spade_status parse_reals(spade_context *context, const spade_key *key, char *const *values, int count,
                                double *out)
{
    double numbers[4] = {0, 0, 0, key->band};
    if (key->word && strcmp(values[0], key->word) == 0) {
        *out = key->word_value;
        return SPADE_OK;
    }
    for (int i = 0; i < count; i++) {
        SPADE_TRY(spade_parse_real_within(context, values[i], key->min, key->max, &numbers[i]));
    }
    for (int i = 1; key->has_band && count == 1 && i < number_count(key); i++) { numbers[i] = numbers[0]; }
    if (key->count == 2 && numbers[0] > numbers[1]) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s is larger than %s", values[0], values[1]);
    }
    memcpy(out, numbers, sizeof *numbers * (size_t)number_count(key));
    return SPADE_OK;
}

/* ---- words */
static spade_status parse_word(spade_context *context, const char *text, const char *words, int *out)
{
    char known[128] = "";
    size_t used = 0;
    const int number = spade_word_number(words, text);
    if (number >= 0) {
        *out = number;
        return SPADE_OK;
    }
    for (const char *word = words; word && used < sizeof known; word = strchr(word, '|')) {
        word += *word == '|';
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%.*s", used ? ", " : "", (int)strcspn(word, "|"),
                                 word);
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%s' is none of %s", text, known);
}

static json_t *word_json(const char *words, int number)
{
    const char *word = words;
    for (int i = 0; i < number; i++) { word = strchr(word, '|') + 1; }
    return json_stringn(word, strcspn(word, "|"));
}

static spade_status parse_flag(spade_context *context, const char *text, bool *out)
{
    int number;
    SPADE_TRY(parse_word(context, text, "false|true", &number));
    *out = number == 1;
    return SPADE_OK;
}

/* ---- "2:4", or "none" */
static spade_status parse_pattern(spade_context *context, const char *text, int64_t max, int *out)
{
    int64_t keep, of;
    char first[16];
    const char *colon = strchr(text, ':');
    if (strcmp(text, "none") == 0) {
        out[0] = out[1] = 0;
        return SPADE_OK;
    }
    if (colon && colon - text < (int)sizeof first) {
        memcpy(first, text, (size_t)(colon - text));
        first[colon - text] = 0;
        if (spade_parse_integer(first, &keep) && spade_parse_integer(colon + 1, &of) && keep >= 1 && keep <= of &&
            of <= max) {
            out[0] = (int)keep;
            out[1] = (int)of;
            return SPADE_OK;
        }
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "'%s' is no pattern: N:M keeps N of every M weights (2:4; M up to %lld), none prunes without one",
                      text, (long long)max);
}

static json_t *pattern_json(const int *pattern)
{
    char text[32];
    snprintf(text, sizeof text, "%d:%d", pattern[0], pattern[1]);
    return json_string(pattern[1] ? text : "none");
}

/* ---- of any type */
spade_status spade_key_parse(spade_context *context, const spade_key *key, char *const *values, int count, void *out)
{
    if (key->has_band && count != 1 && count != key->count && count != number_count(key)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "1, %d or %d numbers are wanted, not %d", key->count,
                          number_count(key), count);
    }
    if (!key->has_band) { SPADE_TRY(spade_need_values(context, count, key->type == SPADE_KEY_REAL ? key->count : 1)); }
    switch (key->type) {
    case SPADE_KEY_INTEGER: return spade_parse_integer_within(context, values[0], key->min, key->max, out);
    case SPADE_KEY_REAL: return parse_reals(context, key, values, count, out);
    case SPADE_KEY_WORD: return parse_word(context, values[0], key->words, out);
    case SPADE_KEY_FLAG: return parse_flag(context, values[0], out);
    case SPADE_KEY_PATTERN: return parse_pattern(context, values[0], (int64_t)key->max, out);
    case SPADE_KEY_TEXT:
    case SPADE_KEY_GLOBS:
    case SPADE_KEY_METHODS:
    case SPADE_KEY_METRICS:
    case SPADE_KEY_CLASSES:
    case SPADE_KEY_METHOD_OPTION:
    case SPADE_KEY_RULES: break;
    }
    return spade_fail(context, SPADE_ERROR_INTERNAL, "the setting %s is no plain value", key->name);
}

json_t *spade_key_json(const spade_key *key, const void *value)
{
    switch (key->type) {
    case SPADE_KEY_INTEGER: return json_integer(*(const int64_t *)value);
    case SPADE_KEY_WORD: return word_json(key->words, *(const int *)value);
    case SPADE_KEY_FLAG: return json_boolean(*(const bool *)value);
    case SPADE_KEY_PATTERN: return pattern_json(value);
    case SPADE_KEY_REAL: break;
    case SPADE_KEY_TEXT:
    case SPADE_KEY_GLOBS:
    case SPADE_KEY_METHODS:
    case SPADE_KEY_METRICS:
    case SPADE_KEY_CLASSES:
    case SPADE_KEY_METHOD_OPTION:
    case SPADE_KEY_RULES: return json_null();
    }
    const double *numbers = value;
    if (key->word && numbers[0] == key->word_value) { return json_string(key->word); }
    if (key->count == 1) { return json_real(numbers[0]); }
    json_t *list = json_array();
    const bool with_band = key->has_band && numbers[key->count] != key->band;
    for (int i = 0; i < key->count + with_band; i++) { spade_json_append(&list, json_real(numbers[i])); }
    return list;
}
