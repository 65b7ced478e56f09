/* named_options.c - options by name: from text to members of a struct. */
#include <limits.h>

#include "base/number.h"
#include "base/named_options.h"

/* ---- where an option lies */
typedef struct option_slot {
    const spade_option_info *info;
    void *value;
    uint64_t bit; /* in `given` */
} option_slot;

/* False: there are not so many options. */
static bool slot_at(const spade_named_options *options, int index, option_slot *out)
{
    int first = 0; /* option of the group */
    for (int g = 0; g < SPADE_OPTION_GROUPS; g++) {
        const spade_option_group *group = &options->groups[g];
        const int own = index - first;
        if (own < group->count) {
            out->info = &group->infos[own];
            out->value = (char *)group->values + group->offsets[own];
            out->bit = UINT64_C(1) << index;
            return true;
        }
        first += group->count;
    }
    return false;
}

static bool find_slot(const spade_named_options *options, const char *name, size_t length, option_slot *out)
{
    for (int i = 0; slot_at(options, i, out); i++) {
        if (strlen(out->info->name) == length && memcmp(out->info->name, name, length) == 0) { return true; }
    }
    return false;
}

static spade_status fail_unknown_option(spade_context *context, const spade_named_options *options, const char *name,
                                        int length)
{
    char known[512] = "";
    size_t used = 0;
    option_slot slot, next;
    for (int i = 0; slot_at(options, i, &slot) && used < sizeof known; i++) {
        const char *separator = i == 0 ? "" : slot_at(options, i + 1, &next) ? ", " : " and ";
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", separator, slot.info->name);
    }
    const char *there = strchr(known, ' ') ? "there are" : *known ? "there is" : "there are none";
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "no option '%.*s' (%s%s%s)", length, name, there,
                      *known ? " " : "", known);
}

/* ---- values */

/* A value as it is written, taken apart: the text without its quotes, and what stands behind the closing one. */
typedef struct raw_value {
    const char *text;
    size_t length;
    const char *rest; /* NULL: the value is not in quotes */
    size_t rest_length;
} raw_value;

static spade_status take_quotes(spade_context *context, const char *text, size_t length, raw_value *out)
{
    *out = (raw_value){.text = text, .length = length};
    if (!length || (*text != '"' && *text != '\'')) { return SPADE_OK; }
    const char *end = memchr(text + 1, *text, length - 1);
    if (!end) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "the quote %c has no end", *text); }
    out->text = text + 1;
    out->length = (size_t)(end - out->text);
    out->rest = end + 1;
    out->rest_length = length - out->length - 2;
    return SPADE_OK;
}

static spade_status copy_text(spade_context *context, const char *text, size_t length, char **out)
{
    *out = strndup(text, length);
    return *out ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
}

static spade_status parse_integer(spade_context *context, const spade_option_info *info, const char *text, int64_t *out)
{
    const int64_t min = (int64_t)info->min, max = info->max >= (double)INT64_MAX ? INT64_MAX : (int64_t)info->max;
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

static spade_status parse_real(spade_context *context, const spade_option_info *info, const char *text, double *out)
{
    double value;
    if (!spade_parse_number(text, &value)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%s' is not a number (write 0.5)", text);
    }
    if (value < info->min || value > info->max) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s is not from %g to %g", text, info->min, info->max);
    }
    *out = value;
    return SPADE_OK;
}

static spade_status parse_word(spade_context *context, const spade_option_info *info, const char *text, int *out)
{
    const int number = spade_word_number(info->words, text);
    if (number >= 0) {
        *out = number;
        return SPADE_OK;
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%s' is none of %s", text, info->words);
}

/* NAME or NAME:INDEX; in quotes NAME may hold colons itself. */
static spade_status parse_layer(spade_context *context, const raw_value *raw, spade_layer_option *out)
{
    spade_layer_option layer = {0};
    size_t length = raw->length;
    const char *index = raw->rest_length ? raw->rest : NULL;
    const char *colon = raw->rest ? NULL : memrchr(raw->text, ':', raw->length);
    char *digits = NULL;
    if (colon) {
        int64_t number;
        SPADE_TRY(copy_text(context, colon + 1, raw->length - (size_t)(colon + 1 - raw->text), &digits));
        bool is_index = spade_parse_integer(digits, &number);
        free(digits);
        if (is_index) {
            index = colon;
            length = (size_t)(colon - raw->text);
        }
    }
    if (index) {
        size_t index_length = raw->rest ? raw->rest_length : raw->length - length;
        SPADE_TRY(copy_text(context, index + 1, index_length - 1, &digits));
        layer.has_index = *index == ':' && spade_parse_integer(digits, &layer.index) && layer.index >= 0;
        free(digits);
        if (!layer.has_index) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%.*s' is no index: write NAME:0", (int)index_length,
                              index);
        }
    }
    if (!length) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "the name of a layer is needed"); }
    SPADE_TRY(copy_text(context, raw->text, length, &layer.name));
    free(out->name);
    *out = layer;
    return SPADE_OK;
}

static spade_status parse_file(spade_context *context, const char *text, char **out)
{
    char *copy;
    if (!*text) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "the name of a file is needed"); }
    SPADE_TRY(copy_text(context, text, strlen(text), &copy));
    free(*out);
    *out = copy;
    return SPADE_OK;
}

/* "gradcam:layer='layer3':17" may have come in quotes but for its last number. */
static spade_status parse_method(spade_context *context, const raw_value *raw, char **out)
{
    char *text;
    if (!raw->length) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "the name of a method is needed"); }
    const int rest = raw->rest ? (int)raw->rest_length : 0;
    if (asprintf(&text, "%.*s%.*s", (int)raw->length, raw->text, rest, rest ? raw->rest : "") < 0) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
    }
    free(*out);
    *out = text;
    return SPADE_OK;
}

static spade_status parse_baseline(spade_context *context, const spade_option_info *info, const char *text,
                                   spade_baseline_option *out)
{
    spade_baseline_option baseline = {.word = spade_word_number(info->words, text)};
    if (baseline.word < 0) {
        if (spade_parse_number(text, &baseline.number)) {
            SPADE_TRY(parse_real(context, info, text, &baseline.number));
        } else {
            SPADE_TRY(parse_file(context, text, &baseline.path));
        }
    }
    free(out->path);
    *out = baseline;
    return SPADE_OK;
}

static spade_status parse_value(spade_context *context, const option_slot *slot, const char *value, size_t length)
{
    raw_value raw;
    char *text;
    SPADE_TRY(take_quotes(context, value, length, &raw));
    if (slot->info->type == SPADE_OPTION_METHOD) { return parse_method(context, &raw, slot->value); }
    if (slot->info->type == SPADE_OPTION_LAYER) { return parse_layer(context, &raw, slot->value); }
    if (raw.rest_length) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "'%.*s' behind the quotes", (int)raw.rest_length, raw.rest);
    }
    SPADE_TRY(copy_text(context, raw.text, raw.length, &text));
    spade_status status = SPADE_OK;
    switch (slot->info->type) {
    case SPADE_OPTION_INTEGER: status = parse_integer(context, slot->info, text, slot->value); break;
    case SPADE_OPTION_REAL: status = parse_real(context, slot->info, text, slot->value); break;
    case SPADE_OPTION_WORD: status = parse_word(context, slot->info, text, slot->value); break;
    case SPADE_OPTION_FILE: status = parse_file(context, text, slot->value); break;
    case SPADE_OPTION_BASELINE: status = parse_baseline(context, slot->info, text, slot->value); break;
    case SPADE_OPTION_METHOD:
    case SPADE_OPTION_LAYER: break;
    }
    free(text);
    return status;
}

static spade_status set_value(spade_context *context, const option_slot *slot, const char *value, size_t length)
{
    spade_status status = parse_value(context, slot, value, length);
    return status == SPADE_OK ? status : spade_fail_in(context, status, "%s", slot->info->name);
}

spade_status spade_named_options_set(spade_context *context, spade_named_options *options, const char *name,
                                     const char *value)
{
    option_slot slot;
    if (!find_slot(options, name, strlen(name), &slot)) {
        return fail_unknown_option(context, options, name, (int)strlen(name));
    }
    SPADE_TRY(set_value(context, &slot, value, strlen(value)));
    options->given |= slot.bit;
    return SPADE_OK;
}

spade_status spade_named_options_set_default(spade_context *context, spade_named_options *options, const char *name,
                                             const char *value)
{
    option_slot slot;
    if (!find_slot(options, name, strlen(name), &slot) || options->given & slot.bit) { return SPADE_OK; }
    return set_value(context, &slot, value, strlen(value));
}

bool spade_named_options_takes_default(const spade_named_options *options, const char *name)
{
    option_slot slot;
    return find_slot(options, name, strlen(name), &slot) && !(options->given & slot.bit);
}

bool spade_named_options_given(const spade_named_options *options, const char *name)
{
    option_slot slot;
    return find_slot(options, name, strlen(name), &slot) && options->given & slot.bit;
}

/* ---- the text */

/* The end of a number that follows a colon and is followed by a colon or the end; else `colon` itself. */
static const char *skip_index(const char *colon)
{
    const char *end = colon;
    if (*end == ':') {
        for (end++; *end >= '0' && *end <= '9'; end++) {}
    }
    return end > colon + 1 && (*end == ':' || !*end) ? end : colon;
}

/* Where the value of the option ends: a colon or the end of the text. */
static const char *find_value_end(const char *option, size_t length, const char *value)
{
    const char *end = value;
    const bool quoted = *value == '"' || *value == '\'';
    if (length == 2 && memcmp(option, "of", 2) == 0 && !quoted) { return value + strlen(value); }
    if (quoted) {
        const char *close = strchr(value + 1, *value);
        if (!close) { return value + strlen(value); }
        end = close + 1;
    }
    end += strcspn(end, ":");
    return skip_index(end);
}

static spade_status read_option(spade_context *context, spade_named_options *options, const char **at)
{
    const char *option = *at;
    size_t length = strcspn(option, "=:");
    option_slot slot;
    if (!find_slot(options, option, length, &slot)) {
        return fail_unknown_option(context, options, option, (int)length);
    }
    if (option[length] != '=') {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s needs a value: %s=VALUE", slot.info->name,
                          slot.info->name);
    }
    if (options->given & slot.bit) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s is given twice", slot.info->name);
    }
    const char *value = option + length + 1;
    *at = find_value_end(option, length, value);
    SPADE_TRY(set_value(context, &slot, value, (size_t)(*at - value)));
    options->given |= slot.bit;
    return SPADE_OK;
}

/* The word that the option has. */
static const char *word_at(const option_slot *slot, size_t *length)
{
    const char *word = slot->info->words;
    for (int i = *(const int *)slot->value; i > 0; i--) { word = strchr(word, '|') + 1; }
    *length = strcspn(word, "|");
    return word;
}

/* Of the option `name`, which the text sets: is it read with the others, as `with` asks? */
static spade_status check_with(spade_context *context, const spade_named_options *options, const char *name,
                               const char *with)
{
    option_slot other;
    size_t length;
    const size_t end = strcspn(with, "=");
    const char *decider = *with == '!' ? with + 1 : with;
    if (!find_slot(options, decider, *with == '!' ? strlen(decider) : end, &other)) { return SPADE_OK; }
    if (*with == '!') {
        return options->given & other.bit
                   ? spade_fail(context, SPADE_ERROR_ARGUMENT, "%s is not read where %s is given", name, decider)
                   : SPADE_OK;
    }
    if (other.info->read_with) { SPADE_TRY(check_with(context, options, name, other.info->read_with)); }
    const char *word = word_at(&other, &length);
    for (const char *at = with + end; *at; at += strcspn(at, "|")) {
        at++;
        if (strcspn(at, "|") == length && strncmp(at, word, length) == 0) { return SPADE_OK; }
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s is not read with %s=%.*s, only with %s", name,
                      other.info->name, (int)length, word, with);
}

spade_status spade_named_options_read(spade_context *context, spade_named_options *options, const char *text)
{
    option_slot slot;
    for (int i = 0; slot_at(options, i, &slot); i++) {
        const char *value = slot.info->default_value;
        if (value) { SPADE_TRY(set_value(context, &slot, value, strlen(value))); }
    }
    for (const char *at = text; *at;) {
        at++; /* the colon */
        SPADE_TRY(read_option(context, options, &at));
    }
    for (int i = 0; slot_at(options, i, &slot); i++) { /* nobody gives a value for nothing */
        if (!slot.info->read_with || !(options->given & slot.bit)) { continue; }
        SPADE_TRY(check_with(context, options, slot.info->name, slot.info->read_with));
    }
    return SPADE_OK;
}

static bool is_same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Two values of one type. */
static bool is_same_value(spade_option_type type, const void *a, const void *b)
{
    const spade_layer_option *layer = a, *other = b;
    const spade_baseline_option *baseline = a, *another = b;
    switch (type) {
    case SPADE_OPTION_INTEGER: return *(const int64_t *)a == *(const int64_t *)b;
    case SPADE_OPTION_REAL: return *(const double *)a == *(const double *)b;
    case SPADE_OPTION_WORD: return *(const int *)a == *(const int *)b;
    case SPADE_OPTION_LAYER:
        return is_same_text(layer->name, other->name) && layer->has_index == other->has_index &&
               layer->index == other->index;
    case SPADE_OPTION_FILE:
    case SPADE_OPTION_METHOD: return is_same_text(*(char *const *)a, *(char *const *)b);
    case SPADE_OPTION_BASELINE:
        return baseline->word == another->word && is_same_text(baseline->path, another->path) &&
               baseline->number == another->number;
    }
    return false;
}

bool spade_named_options_agree(const spade_named_options *a, const spade_named_options *b)
{
    option_slot mine, theirs;
    for (int i = 0; slot_at(a, i, &mine); i++) {
        const char *name = mine.info->name;
        if (!find_slot(b, name, strlen(name), &theirs)) { continue; }
        if (mine.info->type != theirs.info->type || !is_same_value(mine.info->type, mine.value, theirs.value)) {
            return false;
        }
    }
    return true;
}

void spade_named_options_clear(spade_named_options *options)
{
    option_slot slot;
    for (int i = 0; slot_at(options, i, &slot); i++) {
        if (slot.info->type == SPADE_OPTION_LAYER) {
            spade_layer_option *layer = slot.value;
            free(layer->name);
            *layer = (spade_layer_option){0};
        }
        if (slot.info->type == SPADE_OPTION_BASELINE) {
            spade_baseline_option *baseline = slot.value;
            free(baseline->path);
            *baseline = (spade_baseline_option){0};
        }
        if (slot.info->type == SPADE_OPTION_FILE || slot.info->type == SPADE_OPTION_METHOD) {
            char **path = slot.value;
            free(*path);
            *path = NULL;
        }
    }
}

spade_status spade_fail_unknown(spade_context *context, const char *kind, const char *text,
                                const char *(*name_at)(int index))
{
    char known[768] = "";
    size_t used = 0;
    for (int i = 0; name_at(i) && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", name_at(i));
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "unknown %s '%.*s' (there are %s)", kind, (int)strcspn(text, ":"),
                      text, known);
}
