/* defaults.c - the table of settings for people: defaults in the help, and configs/default.yaml. */
#include "config/settings.h"

enum { FILE_COLUMN = 29, FILE_WIDTH = 120, TEXT_BYTES = 1024 };

static const struct {
    unsigned group;
    const char *title;
} sections[] = {
    {SPADE_KEYS_RUN, "the run"},
    {SPADE_KEYS_PICTURE, "pictures"},
    {SPADE_KEYS_VARIANTS, "the variants of a picture that its trace is found on"},
    {SPADE_KEYS_TRACE, "the trace"},
    {SPADE_KEYS_MAPS, "the maps"},
    {SPADE_KEYS_QUALITY, "what is said of them"},
};
enum { SECTION_COUNT = sizeof sections / sizeof *sections };

void spade_print_column(FILE *file, const char *left, int column, int width, const char *mark, const char *text)
{
    int at = fprintf(file, "%-*s", column, left);
    bool begins = true;
    if ((int)strlen(left) >= column) { at += fprintf(file, " "); }
    fputs(mark, file);
    at += (int)strlen(mark);
    for (const char *word = text; *word;) {
        const int length = (int)strcspn(word, " ");
        if (!begins && at + 1 + length > width) {
            fprintf(file, "\n%*s%s", column, "", mark);
            at = column + (int)strlen(mark);
            begins = true;
        }
        at += fprintf(file, "%s%.*s", begins ? "" : " ", length, word);
        begins = false;
        word += length;
        word += strspn(word, " ");
    }
    putc('\n', file);
}

/* ---- values */
static void format_scalar(const json_t *value, char *buffer, size_t size)
{
    char number[32];
    if (json_is_string(value)) {
        snprintf(buffer, size, "%s", json_string_value(value));
    } else if (json_is_boolean(value)) {
        snprintf(buffer, size, "%s", json_is_true(value) ? "true" : "false");
    } else {
        snprintf(buffer, size, "%s", spade_format_real(json_number_value(value), number));
    }
}

/* between: what stands between the values of a list */
static void format_value(const json_t *value, const char *between, char *buffer, size_t size)
{
    size_t used = 0;
    buffer[0] = 0;
    if (!json_is_array(value)) {
        format_scalar(value, buffer, size);
        return;
    }
    for (size_t i = 0; i < json_array_size(value) && used < size; i++) {
        char item[64];
        format_scalar(json_array_get(value, i), item, sizeof item);
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", i ? between : "", item);
    }
}

/* The default of a key; null: there is none; NULL: out of memory. A new reference. */
static json_t *default_json(const spade_key *key)
{
    spade_settings settings;
    spade_settings_init(&settings);
    json_t *value = spade_setting_json(&settings, key);
    spade_settings_clear(&settings);
    if (key->unset && json_is_array(value)) { /* an empty list */
        json_decref(value);
        return json_null();
    }
    return value;
}

bool spade_settings_default(const spade_key *key, char *buffer, size_t size)
{
    json_t *value = default_json(key);
    if (!value) { return false; }
    if (json_is_null(value)) {
        snprintf(buffer, size, "%s", key->unset);
    } else {
        format_value(value, ",", buffer, size);
    }
    json_decref(value);
    return true;
}

/* ---- the file */

/* "hue: 0.3"; "# crop: N" where there is no default */
static void format_entry(const spade_key *key, char *buffer, size_t size)
{
    const char *dot = strchr(key->name, '.'), *name = dot ? dot + 1 : key->name, *indent = dot ? "  " : "";
    json_t *value = default_json(key);
    char text[256];
    if (value && !json_is_null(value)) {
        const bool list = json_is_array(value);
        format_value(value, ", ", text, sizeof text);
        snprintf(buffer, size, "%s%s%s: %s%s%s", key->type == SPADE_KEY_METHOD_OPTION ? "# " : "", indent, name,
                 list ? "[" : "", text, list ? "]" : "");
    } else if (spade_key_takes_list(key)) {
        snprintf(buffer, size, "# %s%s: [%.*s]", indent, name, (int)strcspn(key->argument, "["), key->argument);
    } else {
        snprintf(buffer, size, "# %s%s: %s", indent, name, key->argument);
    }
    json_decref(value);
}

static void write_key(const spade_key *key, FILE *file)
{
    char entry[TEXT_BYTES], help[TEXT_BYTES], bounds[64], comment[2 * TEXT_BYTES];
    format_entry(key, entry, sizeof entry);
    spade_key_describe(key, help, sizeof help);
    spade_key_describe_bounds(key, bounds, sizeof bounds);
    snprintf(comment, sizeof comment, "%s%s%s%s%s", help, bounds[0] ? "; " : "", bounds,
             key->unset ? "; default: " : "", key->unset ? key->unset : "");
    spade_print_column(file, entry, FILE_COLUMN, FILE_WIDTH, "# ", comment);
    if (key->example) { spade_print_column(file, "", FILE_COLUMN, FILE_WIDTH, "#   ", key->example); }
}

void spade_settings_write_defaults(FILE *file)
{
    const char *mapping = "";
    size_t length = 0;
    fputs("# default.yaml - every setting that a configuration may hold, with its default. Use it with --config FILE; "
          "options on\n"
          "# the command line win. Unknown keys are errors; numbers are written 0.5, not 0,5. Settings behind a # have "
          "no default,\n"
          "# or are short forms: options of every method that has one of this name and does not give its own.\n",
          file);
    for (int s = 0; s < SECTION_COUNT; s++) {
        fprintf(file, "\n# ---- %s\n", sections[s].title);
        for (int i = 0; i < spade_key_count(); i++) {
            const spade_key *key = spade_key_at(i);
            const char *dot = strchr(key->name, '.');
            if (!(key->groups & sections[s].group)) { continue; }
            if (dot && (length != (size_t)(dot - key->name) || memcmp(mapping, key->name, length) != 0)) {
                mapping = key->name;
                length = (size_t)(dot - key->name);
                fprintf(file, "%.*s:\n", (int)length, mapping);
            }
            write_key(key, file);
        }
    }
}
